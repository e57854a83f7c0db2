//! Redemptions, their uses, and refused attempts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hexiao_core::id::{MerchantId, OrderId, RecordId, RedemptionId, StaffId, StoreId, UseId, VoucherId};
use hexiao_core::limit::Spent;
use hexiao_core::money::Money;
use hexiao_core::reason::Refusal;
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::{BusinessDate, Timestamp};
use hexiao_core::typing::WrongCodes;
use hexiao_core::voucher::UseState;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param, Row};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql, stores};

/// How the voucher was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Its signed QR.
    Qr,
    /// Its typed code.
    Code,
    /// The order's signed QR.
    Order,
    /// The customer's tap in their own app.
    Consent,
    /// Recorded after it happened.
    Backfill,
    /// Redeemed and signed by a device without a network.
    Offline,
}

impl Method {
    /// Its text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Code => "code",
            Self::Order => "order",
            Self::Consent => "consent",
            Self::Backfill => "backfill",
            Self::Offline => "offline",
        }
    }
}

/// A confirmed request.
#[derive(Debug, Clone)]
pub struct Redemption {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: RedemptionId,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// Their name then.
    pub staff_name: String,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// How the voucher was shown.
    pub method: Method,
    /// Its idempotency key.
    pub key: String,
    /// What it asked: store, items, atomicity.
    pub fingerprint: [u8; 32],
    /// The prepared scan it consumed.
    pub prepare_nonce: [u8; 16],
    /// What was answered, as JSON.
    pub answer: String,
    /// Uses.
    pub quantity: i64,
    /// What they are worth.
    pub amount: Money,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub at: Timestamp,
    /// Until when its verifier can undo it.
    pub undo_until: Timestamp,
    /// On which business day it was recorded.
    pub business_date: BusinessDate,
    /// Whether it counts against a daily limit of its verifier.
    pub limited: bool,
}

/// A use that was redeemed.
#[derive(Debug, Clone)]
pub struct Use {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: UseId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// Which.
    pub serial: u32,
    /// In which redemption.
    pub redemption_id: RedemptionId,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// Its state.
    pub state: UseState,
    /// What it is worth.
    pub amount: Money,
    /// When.
    pub redeemed_at: Timestamp,
    /// On which business day.
    pub business_date: BusinessDate,
    /// When its revenue is earned.
    pub matures_at: Timestamp,
}

impl FromRow for Use {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            voucher_id: row.get("voucher_id")?,
            serial: row.get("serial")?,
            redemption_id: row.get("redemption_id")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            state: row.get("state")?,
            amount: row.get("amount_fen")?,
            redeemed_at: row.get("redeemed_at")?,
            business_date: row.get("business_date")?,
            matures_at: row.get("matures_at")?,
        })
    }
}

/// Adds redemptions and their uses.
pub async fn insert(tx: &Tx, redemptions: &[Redemption], uses: &[Use]) -> Result<()> {
    let row = |r: &Redemption| {
        new_row! {
            merchant_id: r.merchant_id, id: r.id, store_id: r.store_id, staff_id: r.staff_id, staff_name: &r.staff_name, device: r.device,
            method: r.method.as_str(), idempotency_key: &r.key, fingerprint: r.fingerprint, prepare_nonce: r.prepare_nonce, answer: &r.answer,
            quantity: r.quantity, amount_fen: r.amount, occurred_at: r.occurred_at, recorded_at: r.at, undo_until: r.undo_until,
            business_date: r.business_date, limited: r.limited,
        }
    };
    sql::insert(tx, "redemptions", redemptions.iter().map(row).collect()).await?;
    let row = |u: &Use| {
        new_row! {
            merchant_id: u.merchant_id, id: u.id, voucher_id: u.voucher_id, serial: u.serial, redemption_id: u.redemption_id, store_id: u.store_id,
            staff_id: u.staff_id, state: u.state, amount_fen: u.amount, redeemed_at: u.redeemed_at, business_date: u.business_date,
            matures_at: u.matures_at,
        }
    };
    sql::insert(tx, "uses", uses.iter().map(row).collect()).await
}

/// What a verifier with a limit redeemed on a business day, without what was undone. Lock their row first.
pub async fn spent_on(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: StaffId,
    date: BusinessDate,
) -> Result<Spent> {
    let text = "SELECT COUNT(*) AS uses, CAST(COALESCE(SUM(u.amount_fen), 0) AS BIGINT) AS amount FROM redemptions r
                JOIN uses u ON u.merchant_id = r.merchant_id AND u.redemption_id = r.id
                WHERE r.merchant_id = $1 AND r.staff_id = $2 AND r.business_date = $3 AND r.limited AND u.state <> 'Reversed'";
    let row = sql::row(c, text, params![merchant.merchant_id(), staff, date]).await?;
    row.map_or(Ok(Spent::default()), |r| Ok(Spent { uses: r.get("uses")?, amount: r.get("amount")? }))
}

/// What a request to redeem brings that works once.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// By whom.
    pub staff_id: StaffId,
    /// Its idempotency key.
    pub key: &'a str,
    /// Of the prepared scan, if that could be read.
    pub nonce: Option<&'a [u8; 16]>,
}

/// What was redeemed before under the key or with the scan of a request.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The redemption that the verifier's key made.
    pub replay: Option<Replay>,
    /// Whether a redemption consumed the scan.
    pub scan_used: bool,
}

/// What a key was used for before.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What it asked then.
    pub fingerprint: Vec<u8>,
    /// What it was answered.
    pub answer: String,
}

#[derive(serde::Serialize)]
struct OnceRow<'a> {
    n: usize,
    staff_id: String,
    idempotency_key: &'a str,
    nonce: Option<String>,
}

/// Which of the requests were redeemed before, by their position.
pub async fn seen<'a>(
    c: &impl Conn,
    merchant: MerchantScope,
    requests: &[Once<'a>],
) -> Result<HashMap<usize, Seen>> {
    use hexiao_core::id::Id as _;
    let row = |(n, r): (usize, Once<'a>)| OnceRow {
        n,
        staff_id: r.staff_id.uuid().simple().to_string(),
        idempotency_key: r.key,
        nonce: r.nonce.map(sql::hex),
    };
    let rows: Vec<OnceRow<'a>> = requests.iter().copied().enumerate().map(row).collect();
    let columns = [
        ("n", JsonType::Int),
        ("staff_id", JsonType::Uuid),
        ("idempotency_key", JsonType::Text),
        ("nonce", JsonType::Bytes),
    ];
    // Sub-selects, because a join may be planned for a table that is still empty and kept when it no longer is.
    let text = format!(
        "SELECT n, by_key, by_scan FROM (
           SELECT q.n,
             (SELECT r.id FROM redemptions r WHERE r.merchant_id = q.merchant_id AND r.staff_id = q.staff_id AND r.idempotency_key = q.idempotency_key) AS by_key,
             (SELECT r.id FROM redemptions r WHERE r.merchant_id = q.merchant_id AND r.prepare_nonce = q.nonce) AS by_scan
           FROM {}{}) x WHERE by_key IS NOT NULL OR by_scan IS NOT NULL",
        json_table(c, 2, "q", &columns),
        sql::apart(c)
    );
    let found = sql::rows(c, &text, vec![merchant.merchant_id().value(), json_rows(&rows)]).await?;
    let mut seen = HashMap::new();
    for row in found {
        let n: u32 = row.get("n")?;
        let by_scan: Option<RedemptionId> = row.get("by_scan")?;
        let replay = match row.get::<Option<RedemptionId>>("by_key")? {
            Some(id) => replay(c, merchant, id).await?,
            None => None,
        };
        if let Ok(n) = usize::try_from(n) {
            seen.insert(n, Seen { replay, scan_used: by_scan.is_some() });
        }
    }
    Ok(seen)
}

async fn replay(c: &impl Conn, merchant: MerchantScope, id: RedemptionId) -> Result<Option<Replay>> {
    let text = "SELECT fingerprint, answer FROM redemptions WHERE merchant_id = $1 AND id = $2";
    let Some(row) = sql::row(c, text, params![merchant.merchant_id(), id]).await? else { return Ok(None) };
    Ok(Some(Replay { fingerprint: row.get("fingerprint")?, answer: row.get("answer")? }))
}

/// Whether something was redeemed with this scan.
pub async fn scan_used(c: &impl Conn, merchant: MerchantScope, nonce: &[u8; 16]) -> Result<bool> {
    let text = "SELECT id FROM redemptions WHERE merchant_id = $1 AND prepare_nonce = $2";
    Ok(sql::row(c, text, params![merchant.merchant_id(), nonce.to_vec()]).await?.is_some())
}

/// A refused attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: RecordId,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// `prepare`, `confirm` or `reverse`.
    pub step: &'static str,
    /// How the voucher was shown.
    pub method: Method,
    /// Which voucher, if it was found.
    pub voucher_id: Option<VoucherId>,
    /// The last four digits that were typed or shown.
    pub code_last4: Option<String>,
    /// Why it was refused.
    pub refusal: Refusal,
    /// When.
    pub at: Timestamp,
}

/// Logs refused attempts.
///
/// A store that is not the merchant's was only claimed by the caller: nothing is recorded of it.
pub async fn insert_attempts(tx: &Tx, attempts: &[Attempt]) -> Result<()> {
    let Some(merchant) = attempts.first().map(|a| MerchantScope::of_row(a.merchant_id)) else {
        return Ok(());
    };
    let claimed: Vec<StoreId> = attempts.iter().map(|a| a.store_id).collect();
    let known = stores::names(tx, merchant, &claimed).await?;
    let known: BTreeSet<StoreId> = known.into_iter().map(|(id, _)| id).collect();
    let row = |a: &Attempt| {
        new_row! {
            merchant_id: a.merchant_id, id: a.id, store_id: a.store_id, staff_id: a.staff_id, device: a.device, step: a.step,
            method: a.method.as_str(), voucher_id: a.voucher_id, code_last4: a.code_last4, reason: a.refusal.reason.code(),
            message: &a.refusal.message, at: a.at,
        }
    };
    let rows = attempts.iter().filter(|a| known.contains(&a.store_id)).map(row).collect();
    sql::insert(tx, "redemption_attempts", rows).await
}

/// Wrong codes that were typed since an instant by a member of staff, with a device and at a store: lockouts survive
/// a restart.
pub async fn wrong_codes_since(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: StaffId,
    store: StoreId,
    device: Option<&str>,
    since: Timestamp,
) -> Result<WrongCodes> {
    const WRONG: &str = "step = 'prepare' AND method = 'code' AND reason = 'not_found'";
    let text = format!(
        "SELECT COUNT(*) AS n FROM redemption_attempts WHERE merchant_id = $1 AND staff_id = $2 AND at >= $3 AND {WRONG}"
    );
    let own = sql::row(c, &text, params![merchant.merchant_id(), staff, since]).await?;
    let text = format!(
        "SELECT COUNT(*) AS n, COUNT(CASE WHEN device = $4 THEN 1 END) AS here FROM redemption_attempts
         WHERE merchant_id = $1 AND store_id = $2 AND at >= $3 AND {WRONG}"
    );
    let all = sql::row(c, &text, params![merchant.merchant_id(), store, since, device]).await?;
    Ok(WrongCodes {
        of_staff: own.map_or(Ok(0), |r| r.get("n"))?,
        of_device: all.as_ref().map_or(Ok(0), |r| r.get("here"))?,
        of_store: all.as_ref().map_or(Ok(0), |r| r.get("n"))?,
    })
}

/// A redemption's own data, for undoing it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// How the voucher was shown.
    pub method: Method,
    /// When.
    pub recorded_at: Timestamp,
}

/// A redemption of the stores in scope.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: RedemptionId) -> Result<Option<Recorded>> {
    let text =
        "SELECT store_id, staff_id, method, recorded_at FROM redemptions WHERE merchant_id = $1 AND id = $2";
    let Some(row) = sql::row(c, text, params![scope.merchant_id(), id]).await? else { return Ok(None) };
    let method: String = row.get("method")?;
    let recorded = Recorded {
        store_id: row.get("store_id")?,
        staff_id: row.get("staff_id")?,
        method: match method.as_str() {
            "code" => Method::Code,
            "order" => Method::Order,
            "consent" => Method::Consent,
            "backfill" => Method::Backfill,
            "offline" => Method::Offline,
            _ => Method::Qr,
        },
        recorded_at: row.get("recorded_at")?,
    };
    Ok(Some(recorded).filter(|r| scope.contains(r.store_id)))
}

/// What a redemption answered, as JSON.
pub async fn answer(c: &impl Conn, merchant: MerchantScope, id: RedemptionId) -> Result<Option<String>> {
    let text = "SELECT answer FROM redemptions WHERE merchant_id = $1 AND id = $2";
    sql::row(c, text, params![merchant.merchant_id(), id]).await?.map(|r| r.get("answer")).transpose()
}

/// The vouchers a redemption touched.
pub async fn voucher_ids(c: &impl Conn, merchant: MerchantScope, id: RedemptionId) -> Result<Vec<VoucherId>> {
    let text = "SELECT DISTINCT voucher_id FROM uses WHERE merchant_id = $1 AND redemption_id = $2 ORDER BY voucher_id";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), id]).await?;
    rows.iter().map(|r| r.get("voucher_id")).collect()
}

/// Locks the uses of a redemption. Lock its vouchers first.
pub async fn lock_uses(tx: &Tx, merchant: MerchantScope, id: RedemptionId) -> Result<Vec<Use>> {
    let text = format!(
        "SELECT * FROM uses u WHERE merchant_id = $1 AND redemption_id = $2 ORDER BY voucher_id, serial, id{}",
        for_update(tx, "u")
    );
    sql::list(tx, &text, params![merchant.merchant_id(), id]).await
}

/// Marks uses as undone.
pub async fn reverse_uses(
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[UseId],
    by: StaffId,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let text = format!(
        "UPDATE uses SET state = 'Reversed', reversed_at = $3, reversed_by = $4, reverse_reason = $5
         WHERE merchant_id = $1 AND id {} AND state = 'Done'",
        in_ids(tx, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(ids), now.value(), by.value(), reason.value()];
    sql::execute_exactly(tx, ids.len(), "uses to undo", &text, values).await
}

/// A redemption as lists show it.
#[derive(Debug, Clone)]
pub struct RedemptionRow {
    /// Its id.
    pub id: RedemptionId,
    /// Where.
    pub store_id: StoreId,
    /// The store's name.
    pub store_name: String,
    /// By whom.
    pub staff_id: StaffId,
    /// Their name then.
    pub staff_name: String,
    /// How the voucher was shown.
    pub method: String,
    /// Uses.
    pub quantity: i64,
    /// What they are worth.
    pub amount: Money,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub at: Timestamp,
    /// Until when its verifier can undo it.
    pub undo_until: Timestamp,
    /// On which business day.
    pub business_date: String,
}

impl FromRow for RedemptionRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            store_id: row.get("store_id")?,
            store_name: row.get("store_name")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            method: row.get("method")?,
            quantity: row.get("quantity")?,
            amount: row.get("amount_fen")?,
            occurred_at: row.get("occurred_at")?,
            at: row.get("recorded_at")?,
            undo_until: row.get("undo_until")?,
            business_date: row.get("business_date")?,
        })
    }
}

/// What one voucher gave in a redemption.
#[derive(Debug, Clone)]
pub struct RedemptionItem {
    /// Which voucher.
    pub voucher_id: VoucherId,
    /// Of which order.
    pub order_id: OrderId,
    /// What.
    pub product_name: String,
    /// Which specification.
    pub sku_name: String,
    /// The last digits of its code.
    pub code_last4: String,
    /// Which uses.
    pub serials: Vec<u32>,
    /// Which of them were undone.
    pub reversed: Vec<u32>,
}

/// What lists of redemptions are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One store.
    pub store_id: Option<StoreId>,
    /// One verifier.
    pub verifier_id: Option<StaffId>,
    /// One voucher.
    pub voucher_id: Option<VoucherId>,
    /// One order.
    pub order_id: Option<OrderId>,
    /// One way of showing the voucher.
    pub method: Option<Method>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// Redemptions of the stores in scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<RedemptionRow>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let mut parts: Vec<String> = Vec::new();
    let mut and = |text: &str, value: sea_orm::Value| {
        values.push(value);
        parts.push(format!(" AND {}", text.replace('?', &format!("${}", values.len()))));
    };
    if let Some(store) = filter.store_id {
        and("r.store_id = ?", store.value());
    }
    if let Some(verifier) = filter.verifier_id {
        and("r.staff_id = ?", verifier.value());
    }
    if let Some(voucher) = filter.voucher_id {
        let uses = "SELECT 1 FROM uses u WHERE u.merchant_id = r.merchant_id AND u.redemption_id = r.id AND u.voucher_id = ?";
        and(&format!("EXISTS ({uses})"), voucher.value());
    }
    if let Some(order) = filter.order_id {
        let uses =
            "SELECT 1 FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
                    WHERE u.merchant_id = r.merchant_id AND u.redemption_id = r.id AND v.order_id = ?";
        and(&format!("EXISTS ({uses})"), order.value());
    }
    if let Some(method) = filter.method {
        and("r.method = ?", method.as_str().value());
    }
    if let Some(from) = filter.from {
        and("r.recorded_at >= ?", from.value());
    }
    if let Some(to) = filter.to {
        and("r.recorded_at < ?", to.value());
    }
    if let Stores::Only(ids) = scope.stores() {
        values.push(id_set(ids));
        parts.push(format!(" AND r.store_id {}", in_ids(c, values.len())));
    }
    let text = format!(
        "SELECT r.*, s.name AS store_name FROM redemptions r JOIN stores s ON s.merchant_id = r.merchant_id AND s.id = r.store_id
         WHERE r.merchant_id = $1 AND (r.recorded_at < $2 OR (r.recorded_at = $2 AND r.id < $3)){}
         ORDER BY r.recorded_at DESC, r.id DESC LIMIT $4",
        parts.concat()
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |r: &RedemptionRow| Cursor { at: r.at, id: r.id.into() }))
}

/// What the vouchers gave in some redemptions.
pub async fn items(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[RedemptionId],
) -> Result<BTreeMap<RedemptionId, Vec<RedemptionItem>>> {
    let text = format!(
        "SELECT u.redemption_id, u.voucher_id, u.serial, u.state, v.order_id, v.product_name, v.sku_name, v.code_last4 FROM uses u
         JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
         WHERE u.merchant_id = $1 AND u.redemption_id {} ORDER BY u.redemption_id, u.voucher_id, u.serial",
        in_ids(c, 2)
    );
    let mut all: BTreeMap<RedemptionId, Vec<RedemptionItem>> = BTreeMap::new();
    for row in sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await? {
        let list = all.entry(row.get("redemption_id")?).or_default();
        let voucher_id: VoucherId = row.get("voucher_id")?;
        if list.last().is_none_or(|i| i.voucher_id != voucher_id) {
            list.push(RedemptionItem {
                voucher_id,
                order_id: row.get("order_id")?,
                product_name: row.get("product_name")?,
                sku_name: row.get("sku_name")?,
                code_last4: row.get("code_last4")?,
                serials: Vec::new(),
                reversed: Vec::new(),
            });
        }
        if let Some(item) = list.last_mut() {
            let serial: u32 = row.get("serial")?;
            item.serials.push(serial);
            if row.get::<UseState>("state")? == UseState::Reversed {
                item.reversed.push(serial);
            }
        }
    }
    Ok(all)
}
