//! Running statements: one text with `$1, $2 …` for both databases, and the few words in which they differ.

use data_encoding::HEXLOWER;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use serde::Serialize;

use crate::arrays;
use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{FromRow, Row, json_text};

/// SQLite numbers `$2 … $1` by first appearance; `?2 … ?1` keep their numbers.
fn statement(backend: DbBackend, text: &str, values: Vec<Value>) -> Statement {
    match backend {
        DbBackend::Sqlite => Statement::from_sql_and_values(backend, text.replace('$', "?"), values),
        _ => Statement::from_sql_and_values(backend, text, values),
    }
}

/// All rows.
pub async fn rows(c: &impl Conn, text: &str, values: Vec<Value>) -> Result<Vec<Row>> {
    let found = c.inner().query_all_raw(statement(c.backend(), text, values)).await?;
    Ok(found.into_iter().map(Row).collect())
}

/// All rows, in a type.
pub async fn list<T: FromRow>(c: &impl Conn, text: &str, values: Vec<Value>) -> Result<Vec<T>> {
    rows(c, text, values).await?.iter().map(T::from_row).collect()
}

/// The first row, if there is one.
pub async fn row(c: &impl Conn, text: &str, values: Vec<Value>) -> Result<Option<Row>> {
    Ok(c.inner().query_one_raw(statement(c.backend(), text, values)).await?.map(Row))
}

/// The first row in a type, if there is one.
pub async fn find<T: FromRow>(c: &impl Conn, text: &str, values: Vec<Value>) -> Result<Option<T>> {
    row(c, text, values).await?.as_ref().map(T::from_row).transpose()
}

/// Writes; how many rows it hit.
pub async fn execute(tx: &Tx, text: &str, values: Vec<Value>) -> Result<u64> {
    Ok(tx.inner().execute_raw(statement(tx.backend(), text, values)).await?.rows_affected())
}

/// Writes exactly `expected` rows or fails the transaction: the guard in the text no longer holds.
pub async fn execute_exactly(
    tx: &Tx,
    expected: usize,
    what: &'static str,
    text: &str,
    values: Vec<Value>,
) -> Result<()> {
    let hit = execute(tx, text, values).await?;
    if usize::try_from(hit).ok() == Some(expected) { Ok(()) } else { Err(DbError::Stale(what)) }
}

/// A row to insert: columns and values, so that the two cannot get out of step.
pub type NewRow = Vec<(&'static str, Value)>;

/// `row![merchant_id: scope.merchant_id(), id: id, …]`
#[macro_export]
macro_rules! new_row {
    ($($column:ident: $value:expr),* $(,)?) => { vec![$((stringify!($column), $crate::row::Param::value(&$value))),*] };
}

/// Rows of one statement: bounds the text of its parameters.
const MAX_ROWS: usize = 1_000;

/// Inserts rows that have the same columns.
pub async fn insert(tx: &Tx, table: &str, rows: Vec<NewRow>) -> Result<()> {
    insert_with(tx, table, rows, "").await.map(|_| ())
}

/// Inserts one row.
pub async fn insert_one(tx: &Tx, table: &str, row: NewRow) -> Result<()> {
    insert(tx, table, vec![row]).await
}

/// Inserts rows with an `ON CONFLICT …` clause; how many rows it hit.
///
/// The text is the same for one row and for many, so that the databases prepare it once: on SQLite the rows are one
/// JSON parameter, on PostgreSQL each column is an array.
pub async fn insert_with(tx: &Tx, table: &str, rows: Vec<NewRow>, conflict: &str) -> Result<u64> {
    let Some(first) = rows.first() else { return Ok(0) };
    let text = insert_text(tx, table, first, conflict)?;
    let mut hit = 0;
    for chunk in rows.chunks(MAX_ROWS) {
        let values = match tx.backend() {
            DbBackend::Sqlite => vec![arrays::rows_as_json(chunk)?.into()],
            _ => arrays::columns_as_arrays(chunk)?,
        };
        hit += execute(tx, &text, values).await?;
    }
    Ok(hit)
}

fn insert_text(tx: &Tx, table: &str, row: &NewRow, conflict: &str) -> Result<String> {
    let columns: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let columns = columns.join(", ");
    let each = row.iter().enumerate();
    Ok(match tx.backend() {
        DbBackend::Sqlite => {
            let part = |(n, (_, value)): (usize, &(&str, Value))| match value {
                Value::Uuid(_) | Value::Bytes(_) => format!("unhex(value->>{n})"),
                _ => format!("value->>{n}"),
            };
            let parts: Vec<String> = each.map(part).collect();
            // Without the WHERE, SQLite takes ON CONFLICT for the condition of a join.
            format!(
                "INSERT INTO {table} ({columns}) SELECT {} FROM json_each($1) WHERE true {conflict}",
                parts.join(", ")
            )
        }
        _ => {
            let part = |(n, (name, value)): (usize, &(&str, Value))| {
                Ok(format!("${}::text::{}[]", n + 1, arrays::type_of(name, value)?))
            };
            let parts: Vec<String> = each.map(part).collect::<Result<_>>()?;
            format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({}) {conflict}", parts.join(", "))
        }
    })
}

/// Locks the rows read, where the writer itself is not the lock. `NO KEY`: no locked row is deleted or gets another
/// key, and rows that refer to it may be inserted meanwhile — their foreign keys would deadlock with a full lock.
pub fn for_update(c: &impl Conn, alias: &str) -> String {
    match c.backend() {
        DbBackend::Sqlite => String::new(),
        _ => format!(" FOR NO KEY UPDATE OF {alias}"),
    }
}

/// Passes over rows that somebody else has locked, for queues and cleaning: `SELECT … LIMIT n {skip_locked}`.
pub fn skip_locked(c: &impl Conn) -> &'static str {
    match c.backend() {
        DbBackend::Sqlite => "",
        _ => "FOR UPDATE SKIP LOCKED",
    }
}

/// `column {in_ids}`: whether it is among the ids in a JSON parameter. Bind it with [`id_set`].
///
/// On PostgreSQL an array and no sub-select, which is looked up by the index whatever the planner believes of the
/// table: on one that it knows nothing about yet, it would rather walk all rows of the merchant.
pub fn in_ids(c: &impl Conn, param: usize) -> String {
    match c.backend() {
        DbBackend::Sqlite => format!("IN (SELECT unhex(value) FROM json_each(${param}))"),
        _ => format!("= ANY(translate(${param}, '[]', '{{}}')::uuid[])"),
    }
}

/// The parameter for [`in_ids`].
pub fn id_set<T: hexiao_core::id::Id>(ids: &[T]) -> Value {
    let hex: Vec<String> = ids.iter().map(|id| id.uuid().simple().to_string()).collect();
    json_text(&hex).into()
}

/// `column {in_bytes}`: whether it is among the bytes in a JSON parameter. Bind it with [`bytes_set`].
pub fn in_bytes(c: &impl Conn, param: usize) -> String {
    match c.backend() {
        DbBackend::Sqlite => format!("IN (SELECT unhex(substr(value, 3)) FROM json_each(${param}))"),
        _ => format!("= ANY(translate(${param}, '[]', '{{}}')::bytea[])"),
    }
}

/// The parameter for [`in_bytes`]: hexadecimal as PostgreSQL writes it, `\x0123`.
pub fn bytes_set<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Value {
    json_text(&values.into_iter().map(hex).collect::<Vec<_>>()).into()
}

/// Bytes as PostgreSQL writes them: `\\x0123`.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("\\x{}", HEXLOWER.encode(bytes.as_ref()))
}

/// Ends a sub-select that PostgreSQL must run by itself. Merged into the statement, its `merchant_id = $1` would hold
/// for the tables it is joined to, and they would be read along their merchant instead of row by row.
pub fn apart(c: &impl Conn) -> &'static str {
    match c.backend() {
        DbBackend::Sqlite => "",
        _ => " OFFSET 0",
    }
}

/// Types of the columns of a JSON table.
#[derive(Debug, Clone, Copy)]
pub enum JsonType {
    /// 32 hex digits.
    Uuid,
    /// `\\x` and hex digits.
    Bytes,
    /// A number.
    Int,
    /// A text.
    Text,
}

/// A table made of a JSON array of objects, for set-based writes:
/// `UPDATE t SET … FROM {json_table} WHERE t.merchant_id = q.merchant_id AND t.id = q.id`.
///
/// `$1` is the merchant, and a column of this table. Said as `t.merchant_id = $1`, both databases may walk all of the
/// merchant's rows and look each up in the array; like this they can only look up the array's rows, one by one.
pub fn json_table(c: &impl Conn, param: usize, alias: &str, columns: &[(&str, JsonType)]) -> String {
    match c.backend() {
        DbBackend::Sqlite => {
            let part = |(name, kind): &(&str, JsonType)| match kind {
                JsonType::Uuid => format!("unhex(value->>'{name}') AS {name}"),
                JsonType::Bytes => format!("unhex(substr(value->>'{name}', 3)) AS {name}"),
                JsonType::Int | JsonType::Text => format!("value->>'{name}' AS {name}"),
            };
            let columns: Vec<String> = columns.iter().map(part).collect();
            // LIMIT (and OFFSET) keep it a table of its own: merged into the statement, `$1` would be seen through.
            format!(
                "(SELECT $1 AS merchant_id, {} FROM json_each(${param}) LIMIT -1) AS {alias}",
                columns.join(", ")
            )
        }
        _ => {
            let part = |(name, kind): &(&str, JsonType)| match kind {
                JsonType::Uuid => format!("{name} uuid"),
                JsonType::Bytes => format!("{name} bytea"),
                JsonType::Int => format!("{name} bigint"),
                JsonType::Text => format!("{name} text"),
            };
            let columns: Vec<String> = columns.iter().map(part).collect();
            format!(
                "(SELECT $1::uuid AS merchant_id, x.* FROM jsonb_to_recordset(${param}::jsonb) AS x({}) OFFSET 0) AS {alias}",
                columns.join(", ")
            )
        }
    }
}

/// The parameter for [`json_table`].
pub fn json_rows<T: Serialize>(rows: &[T]) -> Value {
    json_text(&rows).into()
}
