//! Many orders from one: everything that a paid order is made of, copied with new ids by one statement for each table
//! and hundreds of orders. A million vouchers take a minute; bought one order at a time they would take an hour.

use anyhow::{Context, anyhow};
use hexiao_app::App;
use hexiao_app::keys::{Keys, entropy, new_id};
use hexiao_core::code::{Keyed as _, VoucherCode};
use hexiao_core::id::{Id as _, OrderId, StoreId, VoucherId};
use hexiao_core::number::OrderNumber;
use hexiao_core::scope::MerchantScope;
use hexiao_db::merchants::Merchant;
use hexiao_db::sql::{JsonType, hex, json_rows, json_table};
use hexiao_db::vouchers::{self, Voucher};
use hexiao_db::{Db, DbError, Tx, catalog, params, payments, sql, transact};
use serde_json::{Value, json};
use uuid::Uuid;

/// Orders of one transaction.
const ORDERS: usize = 200;

/// A paid order to copy.
pub struct Template<'a> {
    app: &'a App,
    keys: &'a Keys,
    owner: Merchant,
    merchant: MerchantScope,
    order: OrderId,
    checkout: Uuid,
    payment: Uuid,
    vouchers: Vec<Voucher>,
    tables: Vec<Copied>,
}

/// A table, its columns, and what a copy has instead of the template's values.
struct Copied {
    table: &'static str,
    text: String,
}

const ORDER: &[(&str, JsonType)] = &[
    ("order_id", JsonType::Uuid),
    ("checkout_id", JsonType::Uuid),
    ("payment_id", JsonType::Uuid),
    ("line_id", JsonType::Uuid),
    ("transfer_id", JsonType::Uuid),
    ("store_id", JsonType::Uuid),
    ("number", JsonType::Text),
    ("transaction_id", JsonType::Text),
];

const VOUCHER: &[(&str, JsonType)] = &[
    ("order_id", JsonType::Uuid),
    ("line_id", JsonType::Uuid),
    ("store_id", JsonType::Uuid),
    ("id", JsonType::Uuid),
    ("unit_no", JsonType::Int),
    ("code_hash", JsonType::Bytes),
    ("code_cipher", JsonType::Bytes),
    ("code_last4", JsonType::Text),
];

/// A column, and what a copy has in it.
type Own = (&'static str, &'static str);

/// `(table, the template's row, what is the copy's own)`; `checkout`, `order`, `payment` name the template's id.
const TABLES: &[(&str, &str, &[Own])] = &[
    ("checkouts", "t.id = $3", &[("id", "q.checkout_id")]),
    (
        "orders",
        "t.merchant_id = q.merchant_id AND t.id = $3",
        &[
            ("id", "q.order_id"),
            ("checkout_id", "q.checkout_id"),
            ("store_id", "q.store_id"),
            ("number", "q.number"),
        ],
    ),
    ("order_events", "t.merchant_id = q.merchant_id AND t.order_id = $3", &[("order_id", "q.order_id")]),
    (
        "order_lines",
        "t.merchant_id = q.merchant_id AND t.order_id = $3",
        &[("id", "q.line_id"), ("order_id", "q.order_id")],
    ),
    (
        "payments",
        "t.merchant_id = q.merchant_id AND t.id = $3",
        &[("id", "q.payment_id"), ("checkout_id", "q.checkout_id"), ("transaction_id", "q.transaction_id")],
    ),
    (
        "payment_orders",
        "t.merchant_id = q.merchant_id AND t.order_id = $3",
        &[("payment_id", "q.payment_id"), ("order_id", "q.order_id")],
    ),
    (
        "ledger_transfers",
        "t.merchant_id = q.merchant_id AND t.order_id = $3",
        &[
            ("id", "q.transfer_id"),
            ("source_id", "q.payment_id"),
            ("order_id", "q.order_id"),
            ("store_id", "q.store_id"),
        ],
    ),
    (
        "vouchers",
        "t.merchant_id = q.merchant_id AND t.order_id = $3 AND t.unit_no = 1",
        &[
            ("id", "q.id"),
            ("order_id", "q.order_id"),
            ("line_id", "q.line_id"),
            ("store_id", "q.store_id"),
            ("unit_no", "q.unit_no"),
            ("code_hash", "q.code_hash"),
            ("code_cipher", "q.code_cipher"),
            ("code_last4", "q.code_last4"),
        ],
    ),
];

async fn columns(db: &Db, table: &str) -> anyhow::Result<Vec<String>> {
    let text = if db.has_one_writer() {
        "SELECT name FROM pragma_table_info($1) ORDER BY cid"
    } else {
        "SELECT column_name::text AS name FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
    };
    let rows = sql::rows(db.reader(), text, params![table]).await?;
    Ok(rows.iter().map(|row| row.get::<String>("name")).collect::<Result<_, _>>()?)
}

impl<'a> Template<'a> {
    /// Looks at an order with one line.
    pub async fn new(
        app: &'a App,
        keys: &'a Keys,
        merchant: MerchantScope,
        order: OrderId,
    ) -> anyhow::Result<Template<'a>> {
        let owner = hexiao_db::merchants::get(app.db.reader(), merchant).await?.context("merchant")?;
        let payment = payments::of_order(app.db.reader(), merchant, order).await?.context("payment")?;
        let vouchers = vouchers::of_order(app.db.reader(), merchant, order).await?;
        let mut tables = Vec::new();
        for &(table, row, own) in TABLES {
            let columns = columns(&app.db, table).await?;
            let values: Vec<String> = columns
                .iter()
                .map(|column| {
                    let found = own.iter().find(|(name, _)| name == column);
                    found.map_or_else(|| format!("t.{column}"), |(_, value)| (*value).to_owned())
                })
                .collect();
            let text = format!(
                "INSERT INTO {table} ({}) SELECT {} FROM {{q}} JOIN {table} t ON {row}",
                columns.join(", "),
                values.join(", ")
            );
            tables.push(Copied { table, text });
        }
        let (checkout, payment) = (payment.checkout_id.uuid(), payment.id.uuid());
        Ok(Self { app, keys, owner, merchant, order, checkout, payment, vouchers, tables })
    }

    /// Copies it until there are so many vouchers; tickets for so many of them, spread over all, as JSON.
    pub async fn copy(
        &self,
        stores: &[StoreId],
        vouchers: usize,
        tickets: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let rules =
            catalog::rules(self.app.db.reader(), self.merchant, self.vouchers.iter().map(|v| v.rule_id))
                .await?;
        let first = self.vouchers.first().context("a template without vouchers")?;
        let rule = rules.get(&first.rule_id).context("rule")?;
        let ticket = |voucher: &Voucher, staff: usize| -> anyhow::Result<Value> {
            let shown = self.app.show_voucher(&self.owner, voucher, rule).map_err(|e| anyhow!("{e:?}"))?;
            Ok(json!({"voucher_id": voucher.id, "staff": staff, "qr": shown.qr}))
        };
        // The template itself was sold in the first store.
        let mut out = Vec::new();
        let every = (vouchers / tickets.max(1)).max(1);
        for voucher in self.vouchers.iter().step_by(every) {
            out.push(ticket(voucher, 0)?);
        }
        let units = self.vouchers.len();
        let (mut made, mut orders, mut told) = (units, 1, std::time::Instant::now());
        while made < vouchers {
            let mut order_rows = Vec::new();
            let mut voucher_rows = Vec::new();
            for _ in 0..ORDERS.min((vouchers - made).div_ceil(units)) {
                let staff = orders % stores.len();
                orders += 1;
                let order = Self::order_row(stores[staff], orders);
                for unit in 1..=units {
                    let (row, voucher) = self.voucher_row(&order, first, unit);
                    voucher_rows.push(row);
                    if made % every == 0 && out.len() < tickets {
                        out.push(ticket(&voucher, staff)?);
                    }
                    made += 1;
                }
                order_rows.push(order);
            }
            let done: Result<(), DbError> =
                transact!(self.app.db, |tx| self.write(&tx, &order_rows, &voucher_rows));
            done?;
            if told.elapsed().as_secs() >= 5 {
                told = std::time::Instant::now();
                eprintln!("  {made} / {vouchers}");
            }
        }
        Ok(out)
    }

    async fn write(&self, tx: &Tx, orders: &[Value], vouchers: &[Value]) -> Result<(), DbError> {
        for Copied { table, text } in &self.tables {
            let (columns, rows) = match *table {
                "vouchers" => (VOUCHER, vouchers),
                _ => (ORDER, orders),
            };
            let id = match *table {
                "checkouts" => self.checkout,
                "payments" => self.payment,
                _ => self.order.uuid(),
            };
            let text = text.replace("{q}", &json_table(tx, 2, "q", columns));
            sql::execute(
                tx,
                &text,
                vec![self.merchant.merchant_id().uuid().into(), json_rows(rows), id.into()],
            )
            .await?;
        }
        Ok(())
    }

    fn order_row(store: StoreId, n: usize) -> Value {
        let id = || Uuid::now_v7().simple().to_string();
        json!({
            "order_id": id(), "checkout_id": id(), "payment_id": id(), "line_id": id(), "transfer_id": id(),
            "store_id": store.uuid().simple().to_string(),
            "number": OrderNumber::new(chrono::Utc::now(), chrono_tz::Asia::Shanghai, entropy()).to_string(),
            "transaction_id": format!("seed{n:024}"),
        })
    }

    fn voucher_row(&self, order: &Value, first: &Voucher, unit: usize) -> (Value, Voucher) {
        let id: VoucherId = new_id();
        let code = VoucherCode::from_entropy(entropy());
        let pepper = self.keys.peppers.current();
        debug_assert_eq!(i64::from(pepper.id()), first.pepper_id);
        let cipher = self.keys.code_keys.seal(&code, entropy(), id.uuid().as_bytes());
        let row = json!({
            "order_id": order["order_id"], "line_id": order["line_id"], "store_id": order["store_id"],
            "id": id.uuid().simple().to_string(), "unit_no": unit, "code_hash": hex(pepper.hash(&code).0),
            "code_cipher": hex(&cipher), "code_last4": code.last4(),
        });
        (row, Voucher { id, code_cipher: cipher, ..first.clone() })
    }
}
