//! Bookings: uses of a voucher at a time in a store.
//!
//! Whoever changes a booking holds the lock of its voucher: what is read of bookings under that lock stays.

use std::collections::BTreeMap;

use hexiao_core::booking::{BookingFacts, BookingState, BookingTerms, CancelReason};
use hexiao_core::id::{
    BookingId, BookingPlanId, CustomerId, Id, LockId, MerchantId, OrderId, ProductId, RecordId, RedemptionId,
    StoreId, VoucherId,
};
use hexiao_core::money::Money;
use hexiao_core::rule::BookingRule;
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use serde::Serialize;
use uuid::Uuid;

use crate::orders::Actor;
use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{JsonType, apart, for_update, id_set, in_ids, json_rows, json_table};
use crate::vouchers::Loaded;
use crate::{new_row, params, sql};

/// A booking.
#[derive(Debug, Clone)]
pub struct Booking {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: BookingId,
    /// Who booked.
    pub customer_id: CustomerId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// Of which order.
    pub order_id: OrderId,
    /// What.
    pub product_id: ProductId,
    /// Where.
    pub store_id: StoreId,
    /// By which plan.
    pub plan_id: BookingPlanId,
    /// When it begins.
    pub slot_start: Timestamp,
    /// When it ends.
    pub slot_end: Timestamp,
    /// How many uses.
    pub quantity: u32,
    /// How many of them were redeemed.
    pub redeemed: u32,
    /// Its state.
    pub state: BookingState,
    /// By whom it was cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// Why, in words.
    pub cancel_note: Option<String>,
    /// What the customer wrote to the store.
    pub note: String,
    /// The terms it was made with.
    pub terms: BookingTerms,
    /// How often it was moved before.
    pub reschedules: u32,
    /// What replaced it.
    pub rescheduled_to: Option<BookingId>,
    /// When the system ends it.
    pub due_at: Option<Timestamp>,
    /// When the customer is reminded.
    pub remind_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
}

impl Booking {
    /// The scope of what belongs to this row.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_row(self.merchant_id)
    }
}

impl FromRow for Booking {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            customer_id: row.get("customer_id")?,
            voucher_id: row.get("voucher_id")?,
            order_id: row.get("order_id")?,
            product_id: row.get("product_id")?,
            store_id: row.get("store_id")?,
            plan_id: row.get("plan_id")?,
            slot_start: row.get("slot_start")?,
            slot_end: row.get("slot_end")?,
            quantity: row.get("quantity")?,
            redeemed: row.get("redeemed")?,
            state: row.get("state")?,
            cancel_reason: row.get("cancel_reason")?,
            cancel_note: row.get("cancel_note")?,
            note: row.get("note")?,
            terms: row.json("terms")?,
            reschedules: row.get("reschedules")?,
            rescheduled_to: row.get("rescheduled_to")?,
            due_at: row.get("due_at")?,
            remind_at: row.get("remind_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// A booking with the names that people read.
#[derive(Debug, Clone)]
pub struct Named {
    /// The booking.
    pub booking: Booking,
    /// The store's name.
    pub store_name: String,
    /// The store's zone.
    pub zone: chrono_tz::Tz,
    /// What the product was called.
    pub product_name: String,
    /// What the specification was called.
    pub sku_name: String,
    /// Of the voucher's code.
    pub code_last4: String,
    /// The customer's name.
    pub nickname: String,
    /// The customer's number, masked.
    pub phone_masked: Option<String>,
}

impl Named {
    /// As decisions see it that need none of its locked uses.
    pub fn facts(&self) -> BookingFacts {
        facts(&self.booking, (self.store_name.clone(), self.zone), Vec::new())
    }
}

impl FromRow for Named {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            booking: Booking::from_row(row)?,
            store_name: row.get("store_name")?,
            zone: row.get("zone")?,
            product_name: row.get("product_name")?,
            sku_name: row.get("sku_name")?,
            code_last4: row.get("code_last4")?,
            nickname: row.get("nickname")?,
            phone_masked: row.get("phone_masked")?,
        })
    }
}

/// Some bookings with their names: `bookings` is a select of its own, which is looked up row by row.
fn named(c: &impl Conn, bookings: &str) -> String {
    format!(
        "SELECT b.*, s.name AS store_name, s.zone, v.product_name, v.sku_name, v.code_last4, p.nickname, p.phone_masked
         FROM ({bookings}{}) b
         JOIN stores s ON s.merchant_id = b.merchant_id AND s.id = b.store_id
         JOIN vouchers v ON v.merchant_id = b.merchant_id AND v.id = b.voucher_id
         JOIN customers p ON p.id = b.customer_id",
        apart(c)
    )
}

/// Adds a booking.
pub async fn insert(tx: &Tx, b: &Booking) -> Result<()> {
    let row = new_row! {
        merchant_id: b.merchant_id, id: b.id, customer_id: b.customer_id, voucher_id: b.voucher_id, order_id: b.order_id,
        product_id: b.product_id, store_id: b.store_id, plan_id: b.plan_id, slot_start: b.slot_start, slot_end: b.slot_end,
        quantity: b.quantity, redeemed: b.redeemed, state: b.state, cancel_reason: b.cancel_reason, cancel_note: b.cancel_note,
        note: &b.note, terms: json_text(&b.terms), reschedules: b.reschedules, rescheduled_to: b.rescheduled_to, due_at: b.due_at,
        remind_at: b.remind_at, created_at: b.created_at, updated_at: b.created_at,
    };
    sql::insert_one(tx, "bookings", row).await
}

/// Bookings of the merchant by their ids, in the order of their ids.
pub async fn of(c: &impl Conn, merchant: MerchantScope, ids: &[BookingId]) -> Result<Vec<Named>> {
    let some = format!("SELECT * FROM bookings WHERE merchant_id = $1 AND id {}", in_ids(c, 2));
    let text = format!("{} ORDER BY b.id", named(c, &some));
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// A customer's booking.
pub async fn of_customer(c: &impl Conn, customer: CustomerScope, id: BookingId) -> Result<Option<Named>> {
    let text = named(c, "SELECT * FROM bookings WHERE customer_id = $1 AND id = $2");
    sql::find(c, &text, params![customer.customer_id(), id]).await
}

/// A booking in the stores in scope.
pub async fn in_scope(c: &impl Conn, scope: &StoreScope, id: BookingId) -> Result<Option<Named>> {
    let found = of(c, scope.merchant(), &[id]).await?.pop();
    Ok(found.filter(|n| scope.contains(n.booking.store_id)))
}

/// What a customer's list is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct CustomerFilter {
    /// Those of this voucher.
    pub voucher_id: Option<VoucherId>,
    /// Those in this state.
    pub state: Option<BookingState>,
}

/// A customer's bookings, newest first.
pub async fn list_of_customer(
    c: &impl Conn,
    customer: CustomerScope,
    filter: CustomerFilter,
    page: &PageRequest,
) -> Result<Page<Named>> {
    let (at, id) = page.bounds();
    let mut values = params![customer.customer_id(), at, id, page.fetch()];
    let mut more = String::new();
    if let Some(voucher) = filter.voucher_id {
        values.push(voucher.value());
        more.push_str(&format!(" AND voucher_id = ${}", values.len()));
    }
    if let Some(state) = filter.state {
        values.push(state.value());
        more.push_str(&format!(" AND state = ${}", values.len()));
    }
    let some = format!(
        "SELECT * FROM bookings WHERE customer_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)){more}
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let text = format!("{} ORDER BY b.created_at DESC, b.id DESC", named(c, &some));
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |n: &Named| Cursor { at: n.booking.created_at, id: n.booking.id.into() }))
}

/// The bookings of a store whose slots begin between two instants, first to last.
pub async fn list_of_store(
    c: &impl Conn,
    merchant: MerchantScope,
    store: StoreId,
    (from, to): (Timestamp, Timestamp),
    state: Option<BookingState>,
    page: &PageRequest,
) -> Result<Page<Named>> {
    let (at, id) = page.after.map_or((from, Uuid::nil()), |after| (after.at, after.id));
    let mut values = params![merchant.merchant_id(), store, from, to, at, id, page.fetch()];
    let state = state.map_or(String::new(), |state| {
        values.push(state.value());
        " AND state = $8".to_owned()
    });
    let some = format!(
        "SELECT * FROM bookings WHERE merchant_id = $1 AND store_id = $2 AND slot_start >= $3 AND slot_start < $4
           AND (slot_start > $5 OR (slot_start = $5 AND id > $6)){state} ORDER BY slot_start, id LIMIT $7"
    );
    let text = format!("{} ORDER BY b.slot_start, b.id", named(c, &some));
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |n: &Named| Cursor { at: n.booking.slot_start, id: n.booking.id.into() }))
}

/// Bookings whose time has come, of any merchant.
pub async fn due(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, BookingId)>> {
    let text = "SELECT merchant_id, id FROM bookings WHERE due_at <= $1 ORDER BY due_at LIMIT $2";
    let rows = sql::rows(c, text, params![now, limit]).await?;
    rows.iter().map(|r| Ok((r.get("merchant_id")?, r.get("id")?))).collect()
}

/// Bookings of which the customer is to be reminded, of any merchant.
pub async fn to_remind(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, BookingId)>> {
    let text = "SELECT merchant_id, id FROM bookings WHERE remind_at <= $1 ORDER BY remind_at LIMIT $2";
    let rows = sql::rows(c, text, params![now, limit]).await?;
    rows.iter().map(|r| Ok((r.get("merchant_id")?, r.get("id")?))).collect()
}

/// Takes reminders off some bookings; those that had one, which are to be sent by who took them.
pub async fn take_reminders(
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[BookingId],
    now: Timestamp,
) -> Result<Vec<BookingId>> {
    let text = format!(
        "SELECT id FROM bookings b WHERE merchant_id = $1 AND id {} AND remind_at <= $3 ORDER BY id{}",
        in_ids(tx, 2),
        for_update(tx, "b")
    );
    let values = || vec![merchant.merchant_id().value(), id_set(ids), now.value()];
    let rows = sql::rows(tx, &text, values()).await?;
    let taken: Vec<BookingId> = rows.iter().map(|r| r.get("id")).collect::<Result<_>>()?;
    let text = format!(
        "UPDATE bookings SET remind_at = NULL WHERE merchant_id = $1 AND id {} AND remind_at <= $3",
        in_ids(tx, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(&taken), now.value()];
    sql::execute_exactly(tx, taken.len(), "reminders", &text, values).await?;
    Ok(taken)
}

/// Locks the vouchers of bookings, in the order of their ids: the first lock of whoever changes bookings.
pub async fn lock_vouchers(tx: &Tx, merchant: MerchantScope, ids: &[VoucherId]) -> Result<()> {
    let text = format!(
        "SELECT id FROM vouchers v WHERE merchant_id = $1 AND id {} ORDER BY id{}",
        in_ids(tx, 2),
        for_update(tx, "v")
    );
    sql::rows(tx, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await.map(|_| ())
}

/// Adds to vouchers what decides over their bookings, if any has to do with bookings at all.
pub async fn attach(
    c: &impl Conn,
    merchant: MerchantScope,
    loaded: &mut BTreeMap<VoucherId, Loaded>,
) -> Result<()> {
    let concerned =
        |l: &&Loaded| l.facts.counters.locked_booking > 0 || l.facts.rule.booking != BookingRule::None;
    let ids: Vec<VoucherId> = loaded.values().filter(concerned).map(|l| l.voucher.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let text = format!(
        "SELECT b.*, s.name AS store_name, s.zone, k.serials FROM
           (SELECT * FROM bookings WHERE merchant_id = $1 AND voucher_id {}
              AND state IN ('Held', 'Booked', 'Arrived', 'NoShow'){}) b
         JOIN stores s ON s.merchant_id = b.merchant_id AND s.id = b.store_id
         LEFT JOIN voucher_locks k ON k.merchant_id = b.merchant_id AND k.kind = 'booking' AND k.owner_id = b.id
           AND k.voucher_id = b.voucher_id AND k.state = 'Active'
         ORDER BY b.slot_start, b.id",
        in_ids(c, 2),
        apart(c)
    );
    for row in sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(&ids)]).await? {
        let booking = Booking::from_row(&row)?;
        let serials = match row.get::<Option<String>>("serials")? {
            Some(_) => row.json("serials")?,
            None => Vec::new(),
        };
        if let Some(l) = loaded.get_mut(&booking.voucher_id) {
            l.facts.bookings.push(facts(&booking, (row.get("store_name")?, row.get("zone")?), serials));
        }
    }
    Ok(())
}

/// A booking as decisions see it.
pub fn facts(b: &Booking, (store_name, zone): (String, chrono_tz::Tz), serials: Vec<u32>) -> BookingFacts {
    BookingFacts {
        id: b.id,
        state: b.state,
        store_id: b.store_id,
        store_name,
        zone,
        slot_start: b.slot_start,
        slot_end: b.slot_end,
        quantity: b.quantity,
        serials,
        reschedules: b.reschedules,
        terms: b.terms,
    }
}

/// How a booking changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub id: BookingId,
    /// From which state; a guard.
    pub from: BookingState,
    /// To which.
    pub to: BookingState,
    /// By whom it was cancelled, and why.
    pub cancelled: Option<(CancelReason, Option<String>)>,
    /// What replaces it.
    pub rescheduled_to: Option<BookingId>,
    /// How many more of its uses were redeemed.
    pub redeemed: u32,
    /// When the system ends it from now on.
    pub due_at: Option<Timestamp>,
    /// When the customer is reminded from now on.
    pub remind_at: Option<Timestamp>,
}

impl Change {
    /// Nothing but the state, to one in which it is over.
    pub fn to(booking: &Booking, to: BookingState) -> Self {
        Self {
            id: booking.id,
            from: booking.state,
            to,
            cancelled: None,
            rescheduled_to: None,
            redeemed: 0,
            due_at: None,
            remind_at: None,
        }
    }
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    id: String,
    from_state: &'a str,
    to_state: &'a str,
    cancel_reason: Option<&'a str>,
    cancel_note: Option<&'a str>,
    rescheduled_to: Option<String>,
    redeemed: u32,
    due_at: Option<i64>,
    remind_at: Option<i64>,
}

fn hex(id: impl Id) -> String {
    id.uuid().simple().to_string()
}

/// Changes bookings from the states they were read in.
pub async fn change(tx: &Tx, merchant: MerchantScope, changes: &[Change], now: Timestamp) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<ChangeRow<'_>> = changes
        .iter()
        .map(|c| ChangeRow {
            id: hex(c.id),
            from_state: c.from.as_str(),
            to_state: c.to.as_str(),
            cancel_reason: c.cancelled.as_ref().map(|(reason, _)| reason.as_str()),
            cancel_note: c.cancelled.as_ref().and_then(|(_, note)| note.as_deref()),
            rescheduled_to: c.rescheduled_to.map(hex),
            redeemed: c.redeemed,
            due_at: c.due_at.map(Timestamp::micros),
            remind_at: c.remind_at.map(Timestamp::micros),
        })
        .collect();
    let columns = [
        ("id", JsonType::Uuid),
        ("from_state", JsonType::Text),
        ("to_state", JsonType::Text),
        ("cancel_reason", JsonType::Text),
        ("cancel_note", JsonType::Text),
        ("rescheduled_to", JsonType::Uuid),
        ("redeemed", JsonType::Int),
        ("due_at", JsonType::Int),
        ("remind_at", JsonType::Int),
    ];
    let text = format!(
        "UPDATE bookings SET state = q.to_state, cancel_reason = q.cancel_reason, cancel_note = q.cancel_note,
           rescheduled_to = q.rescheduled_to, redeemed = bookings.redeemed + q.redeemed, due_at = q.due_at,
           remind_at = q.remind_at, updated_at = $3 FROM {}
         WHERE bookings.merchant_id = q.merchant_id AND bookings.id = q.id AND bookings.state = q.from_state",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows), now.value()];
    sql::execute_exactly(tx, changes.len(), "booking state", &text, values).await
}

/// Uses of a voucher that a booking keeps.
#[derive(Debug, Clone)]
pub struct BookingLock {
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// For which booking.
    pub booking_id: BookingId,
    /// Which uses.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
    /// What became of it.
    pub state: LockState,
}

/// Adds the lock of a booking.
pub async fn insert_lock(tx: &Tx, merchant: MerchantScope, id: LockId, lock: &BookingLock) -> Result<()> {
    let row = new_row! {
        merchant_id: merchant.merchant_id(), id: id, voucher_id: lock.voucher_id, kind: "booking", owner_id: lock.booking_id,
        serials: json_text(&lock.serials), quantity: i64::try_from(lock.serials.len()).unwrap_or(i64::MAX),
        amount_fen: lock.amount, state: lock.state,
    };
    sql::insert_one(tx, "voucher_locks", row).await
}

/// Sets the uses of bookings free.
pub async fn release_locks(tx: &Tx, merchant: MerchantScope, ids: &[BookingId]) -> Result<()> {
    let text = format!(
        "UPDATE voucher_locks SET state = 'Released' WHERE merchant_id = $1 AND kind = 'booking' AND owner_id {} AND state = 'Active'",
        in_ids(tx, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(ids)];
    sql::execute_exactly(tx, ids.len(), "booking locks", &text, values).await
}

/// Hands the lock of a booking on to the one that replaces it.
pub async fn hand_on_lock(tx: &Tx, merchant: MerchantScope, from: BookingId, to: BookingId) -> Result<()> {
    let text = "UPDATE voucher_locks SET owner_id = $3 WHERE merchant_id = $1 AND kind = 'booking' AND owner_id = $2 AND state = 'Active'";
    sql::execute_exactly(tx, 1, "booking lock", text, params![merchant.merchant_id(), from, to]).await
}

#[derive(Serialize)]
struct LockRow<'a> {
    owner_id: String,
    voucher_id: String,
    serials: String,
    quantity: usize,
    amount_fen: i64,
    state: &'a str,
}

/// Writes what is left of locks, or that nothing is.
pub async fn consume_locks(tx: &Tx, merchant: MerchantScope, locks: &[BookingLock]) -> Result<()> {
    if locks.is_empty() {
        return Ok(());
    }
    let rows: Vec<LockRow<'_>> = locks
        .iter()
        .map(|l| LockRow {
            owner_id: hex(l.booking_id),
            voucher_id: hex(l.voucher_id),
            serials: json_text(&l.serials),
            quantity: l.serials.len(),
            amount_fen: l.amount.as_fen(),
            state: l.state.as_str(),
        })
        .collect();
    let columns = [
        ("owner_id", JsonType::Uuid),
        ("voucher_id", JsonType::Uuid),
        ("serials", JsonType::Text),
        ("quantity", JsonType::Int),
        ("amount_fen", JsonType::Int),
        ("state", JsonType::Text),
    ];
    let text = format!(
        "UPDATE voucher_locks SET serials = q.serials, quantity = q.quantity, amount_fen = q.amount_fen, state = q.state FROM {}
         WHERE voucher_locks.merchant_id = q.merchant_id AND voucher_locks.kind = 'booking'
           AND voucher_locks.owner_id = q.owner_id AND voucher_locks.voucher_id = q.voucher_id AND voucher_locks.state = 'Active'",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, locks.len(), "booking locks", &text, values).await
}

#[derive(Serialize)]
struct LockedRow {
    id: String,
    delta: i64,
}

/// Locks uses of vouchers for bookings, or frees them when negative, under the guard that all uses still add up.
pub async fn change_locked(
    tx: &Tx,
    merchant: MerchantScope,
    changes: &BTreeMap<VoucherId, i64>,
) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<LockedRow> =
        changes.iter().map(|(id, delta)| LockedRow { id: hex(*id), delta: *delta }).collect();
    let text = format!(
        "UPDATE vouchers SET locked_booking = vouchers.locked_booking + q.delta FROM {}
         WHERE vouchers.merchant_id = q.merchant_id AND vouchers.id = q.id AND vouchers.locked_booking + q.delta >= 0
           AND vouchers.used + vouchers.locked_refund + vouchers.locked_booking + q.delta + vouchers.refunded
             + vouchers.transferred + vouchers.forfeited <= vouchers.total",
        json_table(tx, 2, "q", &[("id", JsonType::Uuid), ("delta", JsonType::Int)])
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, changes.len(), "booked uses", &text, values).await
}

/// Something that happened to a booking.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// A fresh id.
    pub id: RecordId,
    /// To which booking.
    pub booking_id: BookingId,
    /// What.
    pub event: &'static str,
    /// From which state, if it moved.
    pub from: Option<BookingState>,
    /// To which state, if it moved.
    pub to: Option<BookingState>,
    /// Who.
    pub actor: Actor,
    /// With which redemption.
    pub redemption_id: Option<RedemptionId>,
    /// Why.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Appends events.
pub async fn append_events(tx: &Tx, merchant: MerchantScope, events: Vec<NewEvent>) -> Result<()> {
    let row = |e: NewEvent| {
        new_row! {
            merchant_id: merchant.merchant_id(), id: e.id, booking_id: e.booking_id, event: e.event, from_state: e.from,
            to_state: e.to, actor: e.actor.kind(), actor_id: e.actor.id(), redemption_id: e.redemption_id, note: e.note, at: e.at,
        }
    };
    sql::insert(tx, "booking_events", events.into_iter().map(row).collect()).await
}

/// The bookings that a redemption was of.
pub async fn of_redemption(
    c: &impl Conn,
    merchant: MerchantScope,
    redemption: RedemptionId,
) -> Result<Vec<BookingId>> {
    let text = "SELECT DISTINCT booking_id FROM booking_events WHERE merchant_id = $1 AND redemption_id = $2 ORDER BY booking_id";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), redemption]).await?;
    rows.iter().map(|r| r.get("booking_id")).collect()
}

/// An event of a booking's history.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// What.
    pub event: String,
    /// To which state, if it moved.
    pub to: Option<BookingState>,
    /// Who.
    pub actor: String,
    /// Why.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl FromRow for EventRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            event: row.get("event")?,
            to: row.get("to_state")?,
            actor: row.get("actor")?,
            note: row.get("note")?,
            at: row.get("at")?,
        })
    }
}

/// What happened to a booking, first to last (the first 200).
pub async fn events(c: &impl Conn, merchant: MerchantScope, id: BookingId) -> Result<Vec<EventRow>> {
    let text = "SELECT event, to_state, actor, note, at FROM booking_events WHERE merchant_id = $1 AND booking_id = $2
                ORDER BY id LIMIT 200";
    sql::list(c, text, params![merchant.merchant_id(), id]).await
}
