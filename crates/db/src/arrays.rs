//! Rows as parameters of one statement: a JSON array for SQLite, an array for each column for PostgreSQL.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sea_orm::Value;

use crate::pool::{DbError, Result};
use crate::sql::NewRow;

/// PostgreSQL's type of a column, by what is put in it.
pub(crate) fn type_of(column: &str, value: &Value) -> Result<&'static str> {
    Ok(match value {
        Value::Uuid(_) => "uuid",
        Value::BigInt(_) => "bigint",
        Value::String(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::Bool(_) => "boolean",
        Value::Double(_) => "double precision",
        _ => return Err(unknown(column, value)),
    })
}

fn unknown(column: &str, value: &Value) -> DbError {
    DbError::Corrupt { column: column.to_owned(), detail: format!("cannot insert a {value:?}") }
}

/// `[[…],[…]]`; ids and bytes are hexadecimal.
pub(crate) fn rows_as_json(rows: &[NewRow]) -> Result<String> {
    let mut text = String::with_capacity(rows.len() * 400);
    text.push('[');
    for (n, row) in rows.iter().enumerate() {
        text.push_str(if n == 0 { "[" } else { ",[" });
        for (n, (column, value)) in row.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            push_json(&mut text, column, value)?;
        }
        text.push(']');
    }
    text.push(']');
    Ok(text)
}

fn push_json(text: &mut String, column: &str, value: &Value) -> Result<()> {
    match value {
        Value::Uuid(Some(id)) => push(text, format_args!("\"{}\"", id.simple())),
        Value::BigInt(Some(n)) => push(text, format_args!("{n}")),
        Value::Bool(Some(yes)) => push(text, format_args!("{yes}")),
        Value::Double(Some(n)) if n.is_finite() => push(text, format_args!("{n:?}")),
        Value::String(Some(s)) => text.push_str(&crate::row::json_text(s)),
        Value::Bytes(Some(bytes)) => {
            text.push('"');
            HEXLOWER.encode_append(bytes, text);
            text.push('"');
        }
        Value::Uuid(None)
        | Value::BigInt(None)
        | Value::Bool(None)
        | Value::Double(None)
        | Value::String(None)
        | Value::Bytes(None) => text.push_str("null"),
        other => return Err(unknown(column, other)),
    }
    Ok(())
}

/// For each column a text such as `{1,NULL,2}`.
pub(crate) fn columns_as_arrays(rows: &[NewRow]) -> Result<Vec<Value>> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns: Vec<String> = vec![String::with_capacity(rows.len() * 24); width];
    for row in rows {
        for (text, (column, value)) in columns.iter_mut().zip(row) {
            text.push(if text.is_empty() { '{' } else { ',' });
            push_element(text, column, value)?;
        }
    }
    let closed = |mut text: String| {
        text.push('}');
        Value::from(text)
    };
    Ok(columns.into_iter().map(closed).collect())
}

fn push_element(text: &mut String, column: &str, value: &Value) -> Result<()> {
    match value {
        Value::Uuid(Some(id)) => push(text, format_args!("{}", id.simple())),
        Value::BigInt(Some(n)) => push(text, format_args!("{n}")),
        Value::Bool(Some(yes)) => push(text, format_args!("{yes}")),
        Value::Double(Some(n)) => push(text, format_args!("{n:?}")),
        Value::String(Some(s)) => {
            text.push('"');
            for c in s.chars() {
                if matches!(c, '"' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
            text.push('"');
        }
        Value::Bytes(Some(bytes)) => {
            text.push_str("\"\\\\x");
            HEXLOWER.encode_append(bytes, text);
            text.push('"');
        }
        Value::Uuid(None)
        | Value::BigInt(None)
        | Value::Bool(None)
        | Value::Double(None)
        | Value::String(None)
        | Value::Bytes(None) => text.push_str("NULL"),
        other => return Err(unknown(column, other)),
    }
    Ok(())
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new_row;

    fn awkward() -> Vec<NewRow> {
        let row = |text: Option<&str>, n: Option<i64>| {
            new_row! { id: uuid::Uuid::from_u128(1), text: text, n: n, bytes: [0u8, 255], yes: true, x: 0.1f64 }
        };
        vec![row(Some("\"a\\,{}\n券'"), Some(i64::MAX)), row(None, None), row(Some(""), Some(-1))]
    }

    #[test]
    fn rows_are_a_json_array_of_arrays() {
        let parsed: serde_json::Value = serde_json::from_str(&rows_as_json(&awkward()).unwrap()).unwrap();
        assert_eq!(parsed[0][1], "\"a\\,{}\n券'");
        assert_eq!(parsed[0][2], i64::MAX);
        assert_eq!(parsed[0][3], "00ff");
        assert_eq!(parsed[0][4], true);
        assert_eq!(parsed[0][5], 0.1);
        assert!(parsed[1][1].is_null() && parsed[1][2].is_null());
    }

    #[test]
    fn columns_are_array_literals() {
        let columns = columns_as_arrays(&awkward()).unwrap();
        let text = |n: usize| columns[n].clone().unwrap::<String>();
        assert_eq!(text(1), "{\"\\\"a\\\\,{}\n券'\",NULL,\"\"}");
        assert_eq!(text(2), format!("{{{},NULL,-1}}", i64::MAX));
        assert_eq!(text(3), r#"{"\\x00ff","\\x00ff","\\x00ff"}"#);
    }

    #[test]
    fn what_no_column_holds_is_refused() {
        assert!(rows_as_json(&[vec![("n", Value::Int(Some(1)))]]).is_err());
        assert!(type_of("n", &Value::Int(None)).is_err());
    }
}
