//! Risk flags, and what the rules behind them need to know of many redemptions at once.

use std::collections::HashMap;

use hexiao_core::geo::LatLng;
use hexiao_core::hours::OpeningHours;
use hexiao_core::id::{
    CustomerId, Id as _, MerchantId, RedemptionId, RiskFlagId, StaffId, StoreId, VoucherId,
};
use hexiao_core::risk::{RiskKind, RiskState};
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::{BusinessDay, Timestamp};

use crate::merchants::business_day;
use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// Something that looks wrong.
#[derive(Debug, Clone)]
pub struct Flag {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: RiskFlagId,
    /// What.
    pub kind: RiskKind,
    /// About what it is told once.
    pub subject: String,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// Whose voucher, where that is what is wrong.
    pub customer_id: Option<CustomerId>,
    /// Which voucher, if it is about one.
    pub voucher_id: Option<VoucherId>,
    /// Which redemption.
    pub redemption_id: Option<RedemptionId>,
    /// What was measured.
    pub detail: serde_json::Value,
    /// The same for people.
    pub message: String,
    /// Whether somebody has looked.
    pub state: RiskState,
    /// When it happened.
    pub at: Timestamp,
    /// What was found.
    pub note: Option<String>,
    /// By whom.
    pub acknowledged_by: Option<StaffId>,
    /// When.
    pub acknowledged_at: Option<Timestamp>,
}

impl FromRow for Flag {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            kind: row.get("kind")?,
            subject: row.get("subject")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            device: row.get("device")?,
            customer_id: row.get("customer_id")?,
            voucher_id: row.get("voucher_id")?,
            redemption_id: row.get("redemption_id")?,
            detail: row.json("detail")?,
            message: row.get("message")?,
            state: row.get("state")?,
            at: row.get("created_at")?,
            note: row.get("note")?,
            acknowledged_by: row.get("acknowledged_by")?,
            acknowledged_at: row.get("acknowledged_at")?,
        })
    }
}

/// Adds flags; what was told before stays as it is. How many are new.
pub async fn insert(tx: &Tx, flags: &[&Flag]) -> Result<u64> {
    let row = |f: &&Flag| {
        new_row! {
            merchant_id: f.merchant_id, id: f.id, kind: f.kind, subject: &f.subject, store_id: f.store_id, staff_id: f.staff_id,
            device: f.device, customer_id: f.customer_id, voucher_id: f.voucher_id, redemption_id: f.redemption_id,
            detail: json_text(&f.detail), message: &f.message, state: f.state, created_at: f.at,
        }
    };
    let conflict = "ON CONFLICT (merchant_id, kind, subject) DO NOTHING";
    sql::insert_with(tx, "risk_flags", flags.iter().map(row).collect(), conflict).await
}

/// One of the stores in scope, locked.
pub async fn lock(tx: &Tx, scope: &StoreScope, id: RiskFlagId) -> Result<Option<Flag>> {
    let text =
        format!("SELECT * FROM risk_flags f WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "f"));
    let found: Option<Flag> = sql::find(tx, &text, params![scope.merchant_id(), id]).await?;
    Ok(found.filter(|f| scope.contains(f.store_id)))
}

/// Writes what was found about an open one.
pub async fn acknowledge(tx: &Tx, f: &Flag) -> Result<()> {
    let text =
        "UPDATE risk_flags SET state = 'Acknowledged', note = $3, acknowledged_by = $4, acknowledged_at = $5
                WHERE merchant_id = $1 AND id = $2 AND state = 'Open'";
    let values = params![f.merchant_id, f.id, f.note.as_deref(), f.acknowledged_by, f.acknowledged_at];
    sql::execute_exactly(tx, 1, "open risk flag", text, values).await
}

/// What flags are looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of one kind.
    pub kind: Option<RiskKind>,
    /// Of one store.
    pub store: Option<StoreId>,
    /// Of one member of staff.
    pub staff: Option<StaffId>,
    /// Whether somebody has looked.
    pub state: Option<RiskState>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// Flags of the stores in scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: Filter,
    page: &PageRequest,
) -> Result<Page<Flag>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let mut parts = String::new();
    if let Stores::Only(ids) = scope.stores() {
        values.push(id_set(ids));
        parts.push_str(&format!(" AND store_id {}", in_ids(c, values.len())));
    }
    let conditions = [
        ("kind =", filter.kind.map(|v| v.value())),
        ("store_id =", filter.store.map(|v| v.value())),
        ("staff_id =", filter.staff.map(|v| v.value())),
        ("state =", filter.state.map(|v| v.value())),
        ("created_at >=", filter.from.map(|v| v.value())),
        ("created_at <", filter.to.map(|v| v.value())),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            values.push(value);
            parts.push_str(&format!(" AND {condition} ${}", values.len()));
        }
    }
    let text = format!(
        "SELECT * FROM risk_flags WHERE merchant_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)){parts}
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |f: &Flag| Cursor { at: f.at, id: f.id.into() }))
}

/// A redemption, as the rules look at it.
#[derive(Debug, Clone)]
pub struct Redeemed {
    /// Its id.
    pub id: RedemptionId,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// Whether it was redeemed while it was recorded.
    pub at_once: bool,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl FromRow for Redeemed {
    fn from_row(row: &Row) -> Result<Self> {
        let method: String = row.get("method")?;
        Ok(Self {
            id: row.get("id")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            device: row.get("device")?,
            at_once: !matches!(method.as_str(), "backfill" | "offline"),
            occurred_at: row.get("occurred_at")?,
        })
    }
}

/// Some redemptions, in the order in which they happened.
pub async fn redeemed(c: &impl Conn, merchant: MerchantScope, ids: &[RedemptionId]) -> Result<Vec<Redeemed>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT id, store_id, staff_id, device, method, occurred_at FROM redemptions WHERE merchant_id = $1 AND id {} ORDER BY occurred_at, id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// Which of these pairs have one phone number.
pub async fn same_phone(
    c: &impl Conn,
    merchant: MerchantScope,
    pairs: &[(StaffId, CustomerId)],
) -> Result<Vec<(StaffId, CustomerId)>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = json_table(c, 2, "q", &[("staff_id", JsonType::Uuid), ("customer_id", JsonType::Uuid)]);
    let text = format!(
        "SELECT q.staff_id, q.customer_id FROM {wanted}
         JOIN staff s ON s.merchant_id = q.merchant_id AND s.id = q.staff_id
         JOIN customers c ON c.id = q.customer_id AND c.phone_hash = s.phone_hash"
    );
    let row = |(staff, customer): &(StaffId, CustomerId)| serde_json::json!({ "staff_id": staff.uuid().simple().to_string(), "customer_id": customer.uuid().simple().to_string() });
    let rows: Vec<_> = pairs.iter().map(row).collect();
    let found = sql::rows(c, &text, vec![merchant.merchant_id().value(), json_rows(&rows)]).await?;
    found.iter().map(|r| Ok((r.get("staff_id")?, r.get("customer_id")?))).collect()
}

/// A store, as the rules look at it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: LatLng,
    /// When it is open.
    pub hours: OpeningHours,
    /// Its zone and cut-off.
    pub day: BusinessDay,
}

/// Some stores.
pub async fn sites(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[StoreId],
) -> Result<HashMap<StoreId, Site>> {
    let text = format!(
        "SELECT id, name, lat, lng, hours, zone, cutoff_hour FROM stores WHERE merchant_id = $1 AND id {}",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    let site = |row: &Row| {
        let place = LatLng::new(row.get("lat")?, row.get("lng")?)
            .map_err(|e| crate::DbError::Corrupt { column: "lat".into(), detail: e.to_string() })?;
        let site = Site { name: row.get("name")?, place, hours: row.json("hours")?, day: business_day(row)? };
        Ok((row.get("id")?, site))
    };
    rows.iter().map(site).collect()
}

/// Where a verifier was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub store_id: StoreId,
    /// When.
    pub at: Timestamp,
}

/// Where some verifiers were seen last.
pub async fn places(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: &[StaffId],
) -> Result<HashMap<StaffId, Place>> {
    if staff.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT staff_id, store_id, at FROM risk_places WHERE merchant_id = $1 AND staff_id {}",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(staff)]).await?;
    rows.iter()
        .map(|r| Ok((r.get("staff_id")?, Place { store_id: r.get("store_id")?, at: r.get("at")? })))
        .collect()
}

/// Notes where verifiers were seen last.
pub async fn note_places(
    tx: &Tx,
    merchant: MerchantScope,
    places: impl IntoIterator<Item = (StaffId, Place)>,
) -> Result<()> {
    let row = |(staff, place): (StaffId, Place)| new_row! { merchant_id: merchant.merchant_id(), staff_id: staff, store_id: place.store_id, at: place.at };
    let conflict =
        "ON CONFLICT (merchant_id, staff_id) DO UPDATE SET store_id = excluded.store_id, at = excluded.at";
    sql::insert_with(tx, "risk_places", places.into_iter().map(row).collect(), conflict).await?;
    Ok(())
}

/// Uses of a voucher that were undone together.
#[derive(Debug, Clone)]
pub struct Undone {
    /// Of which redemption.
    pub redemption_id: RedemptionId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// Where they were redeemed.
    pub store_id: StoreId,
    /// By whom they were undone.
    pub by: StaffId,
    /// When.
    pub at: Timestamp,
}

impl FromRow for Undone {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            redemption_id: row.get("redemption_id")?,
            voucher_id: row.get("voucher_id")?,
            store_id: row.get("store_id")?,
            by: row.get("reversed_by")?,
            at: row.get("reversed_at")?,
        })
    }
}

/// What was undone of some redemptions.
pub async fn undone(c: &impl Conn, merchant: MerchantScope, ids: &[RedemptionId]) -> Result<Vec<Undone>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT DISTINCT redemption_id, voucher_id, store_id, reversed_by, reversed_at FROM uses
         WHERE merchant_id = $1 AND redemption_id {} AND reversed_at IS NOT NULL AND reversed_by IS NOT NULL ORDER BY reversed_at, redemption_id, voucher_id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// When some vouchers were undone since an instant.
pub async fn undos_of_vouchers(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[VoucherId],
    since: Timestamp,
) -> Result<HashMap<VoucherId, Vec<Timestamp>>> {
    let wanted = json_table(c, 2, "q", &[("voucher_id", JsonType::Uuid)]);
    let text = format!(
        "SELECT DISTINCT u.voucher_id, u.redemption_id, u.reversed_at FROM {wanted}
         JOIN uses u ON u.merchant_id = q.merchant_id AND u.voucher_id = q.voucher_id AND u.reversed_at > $3"
    );
    let rows: Vec<_> =
        ids.iter().map(|id| serde_json::json!({ "voucher_id": id.uuid().simple().to_string() })).collect();
    let values = vec![merchant.merchant_id().value(), json_rows(&rows), since.value()];
    let mut found: HashMap<VoucherId, Vec<Timestamp>> = HashMap::new();
    for row in sql::rows(c, &text, values).await? {
        found.entry(row.get("voucher_id")?).or_default().push(row.get("reversed_at")?);
    }
    Ok(found)
}

/// When some members of staff undid something since an instant.
pub async fn undos_of_staff(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[StaffId],
    since: Timestamp,
) -> Result<HashMap<StaffId, Vec<Timestamp>>> {
    let text = format!(
        "SELECT DISTINCT reversed_by, redemption_id, reversed_at FROM uses
         WHERE merchant_id = $1 AND reversed_by {} AND reversed_at > $3",
        in_ids(c, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(ids), since.value()];
    let mut found: HashMap<StaffId, Vec<Timestamp>> = HashMap::new();
    for row in sql::rows(c, &text, values).await? {
        found.entry(row.get("reversed_by")?).or_default().push(row.get("reversed_at")?);
    }
    Ok(found)
}
