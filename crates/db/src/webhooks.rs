//! Webhooks of merchants, and what was sent to them: one delivery for each webhook and event.
//!
//! A delivery is claimed with a lease, sent outside any transaction, and recorded only while the lease is still ours.

use chrono::Duration;
use hexiao_core::id::{DeliveryId, EventId, MerchantId, WebhookId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::webhook::{DeliveryState, WebhookEvent, WebhookState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// Where a merchant's own system is told what happens.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: WebhookId,
    /// What staff call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What it is told.
    pub events: Vec<WebhookEvent>,
    /// Whether it is told anything.
    pub state: WebhookState,
    /// What happened before is not told.
    pub active_since: Timestamp,
    /// Its secret, sealed.
    pub secret: Vec<u8>,
    /// The secret before and until when it signs as well.
    pub old_secret: Option<(Vec<u8>, Timestamp)>,
    /// Since when no try has succeeded.
    pub failing_since: Option<Timestamp>,
    /// Counts edits.
    pub version: i64,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was edited last.
    pub updated_at: Timestamp,
}

impl FromRow for Webhook {
    fn from_row(row: &Row) -> Result<Self> {
        let old: Option<Vec<u8>> = row.get("old_secret_cipher")?;
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            name: row.get("name")?,
            url: row.get("url")?,
            events: row.json("events")?,
            state: row.get("state")?,
            active_since: row.get("active_since")?,
            secret: row.get("secret_cipher")?,
            old_secret: old.zip(row.get("old_secret_until")?),
            failing_since: row.get("failing_since")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

/// Adds a webhook.
pub async fn insert(tx: &Tx, w: &Webhook) -> Result<()> {
    let row = new_row! {
        merchant_id: w.merchant_id, id: w.id, name: &w.name, url: &w.url, events: json_text(&w.events), state: w.state,
        active_since: w.active_since, secret_cipher: w.secret, version: w.version, created_at: w.created_at, updated_at: w.updated_at,
    };
    sql::insert_one(tx, "webhooks", row).await
}

/// Writes what an edit may change; fails as stale when `w.version` is not the stored one.
pub async fn update(tx: &Tx, w: &Webhook, now: Timestamp) -> Result<()> {
    let (old, until) = w.old_secret.clone().unzip();
    let text = "UPDATE webhooks SET name = $4, url = $5, events = $6, state = $7, active_since = $8, secret_cipher = $9,
                old_secret_cipher = $10, old_secret_until = $11, failing_since = $12, version = version + 1, updated_at = $13
                WHERE merchant_id = $1 AND id = $2 AND version = $3";
    let values = params![
        w.merchant_id,
        w.id,
        w.version,
        &w.name,
        &w.url,
        json_text(&w.events),
        w.state,
        w.active_since,
        w.secret,
        old,
        until,
        w.failing_since,
        now
    ];
    sql::execute_exactly(tx, 1, "webhook version", text, values).await
}

/// A merchant's webhooks that are not deleted, newest first. There are few.
pub async fn all(c: &impl Conn, merchant: MerchantScope) -> Result<Vec<Webhook>> {
    let text = "SELECT * FROM webhooks WHERE merchant_id = $1 AND state <> 'Deleted' ORDER BY created_at DESC, id DESC LIMIT 100";
    sql::list(c, text, params![merchant.merchant_id()]).await
}

/// One of them.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: WebhookId) -> Result<Option<Webhook>> {
    let text = "SELECT * FROM webhooks WHERE merchant_id = $1 AND id = $2 AND state <> 'Deleted'";
    sql::find(c, text, params![merchant.merchant_id(), id]).await
}

/// Whether it was there and was deleted.
pub async fn is_deleted(c: &impl Conn, merchant: MerchantScope, id: WebhookId) -> Result<bool> {
    let text = "SELECT id FROM webhooks WHERE merchant_id = $1 AND id = $2 AND state = 'Deleted'";
    Ok(sql::row(c, text, params![merchant.merchant_id(), id]).await?.is_some())
}

/// One of them, locked.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: WebhookId) -> Result<Option<Webhook>> {
    let text = format!(
        "SELECT * FROM webhooks w WHERE merchant_id = $1 AND id = $2 AND state <> 'Deleted'{}",
        for_update(tx, "w")
    );
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// The active webhooks of some merchants: who is to be told of what the outbox says.
pub async fn listening(c: &impl Conn, merchants: &[MerchantId]) -> Result<Vec<Webhook>> {
    let text = format!(
        "SELECT * FROM webhooks WHERE state = 'Active' AND merchant_id {} ORDER BY merchant_id, id",
        in_ids(c, 1)
    );
    sql::list(c, &text, vec![id_set(merchants)]).await
}

/// Active webhooks, of whatever merchant, after this one, that have something due: what a worker sends next.
pub async fn waiting(c: &impl Conn, after: (Uuid, Uuid), now: Timestamp, limit: u32) -> Result<Vec<Webhook>> {
    let text = "SELECT * FROM webhooks w WHERE w.state = 'Active' AND (w.merchant_id, w.id) > ($1, $2)
                AND EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.merchant_id = w.merchant_id AND d.webhook_id = w.id AND d.next_at <= $3)
                ORDER BY w.merchant_id, w.id LIMIT $4";
    sql::list(c, text, params![after.0, after.1, now, limit]).await
}

/// Marks since when a webhook fails, or that it works again.
pub async fn set_failing(
    tx: &Tx,
    merchant: MerchantScope,
    id: WebhookId,
    since: Option<Timestamp>,
) -> Result<()> {
    let otherwise = if since.is_some() { "failing_since IS NULL" } else { "failing_since IS NOT NULL" };
    let text =
        format!("UPDATE webhooks SET failing_since = $3 WHERE merchant_id = $1 AND id = $2 AND {otherwise}");
    sql::execute(tx, &text, params![merchant.merchant_id(), id, since]).await?;
    Ok(())
}

/// Stops a webhook that has failed since before an instant; whether it was this call that stopped it.
pub async fn disable(
    tx: &Tx,
    merchant: MerchantScope,
    id: WebhookId,
    failing_since_before: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let text = "UPDATE webhooks SET state = 'Disabled', version = version + 1, updated_at = $4
                WHERE merchant_id = $1 AND id = $2 AND state = 'Active' AND failing_since <= $3";
    let values = params![merchant.merchant_id(), id, failing_since_before, now];
    Ok(sql::execute(tx, text, values).await? == 1)
}

/// One try, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u32,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How the answer began.
    pub excerpt: Option<String>,
}

/// One event for one webhook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub webhook_id: WebhookId,
    /// The event's id, the same for every receiver and try.
    pub event_id: EventId,
    /// What happened.
    pub event: WebhookEvent,
    /// The outbox row it tells of.
    pub source_seq: Option<i64>,
    /// What is sent, byte by byte.
    pub body: String,
    /// Where it is.
    pub state: DeliveryState,
    /// Tries so far.
    pub tries: i64,
    /// Failures in a row.
    pub failures: i64,
    /// The last tries.
    pub log: Vec<Try>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// Whether a worker has it.
    pub leased: bool,
    /// The lease under which it was claimed.
    pub lease: i64,
    /// When it happened.
    pub created_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

impl Delivery {
    /// A new one, due at once.
    pub fn new(
        webhook: &Webhook,
        id: DeliveryId,
        event: (EventId, WebhookEvent),
        source_seq: Option<i64>,
        body: String,
        now: Timestamp,
    ) -> Self {
        Self {
            merchant_id: webhook.merchant_id,
            id,
            webhook_id: webhook.id,
            event_id: event.0,
            event: event.1,
            source_seq,
            body,
            state: DeliveryState::Pending,
            tries: 0,
            failures: 0,
            log: Vec::new(),
            next_at: Some(now),
            leased: false,
            lease: 0,
            created_at: now,
            finished_at: None,
        }
    }
}

impl FromRow for Delivery {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            webhook_id: row.get("webhook_id")?,
            event_id: row.get("event_id")?,
            event: row.get("event")?,
            source_seq: row.get("source_seq")?,
            body: row.get("body")?,
            state: row.get("state")?,
            tries: row.get("tries")?,
            failures: row.get("failures")?,
            log: row.json("log")?,
            next_at: row.get("next_at")?,
            leased: row.get("leased")?,
            lease: row.get("lease")?,
            created_at: row.get("created_at")?,
            finished_at: row.get("finished_at")?,
        })
    }
}

/// Adds deliveries; one that is there already is left alone.
pub async fn insert_deliveries(tx: &Tx, deliveries: &[Delivery]) -> Result<u64> {
    let row = |d: &Delivery| {
        new_row! {
            merchant_id: d.merchant_id, id: d.id, webhook_id: d.webhook_id, event_id: d.event_id, event: d.event, source_seq: d.source_seq,
            body: &d.body, state: d.state, tries: d.tries, failures: d.failures, log: json_text(&d.log), next_at: d.next_at,
            leased: d.leased, lease: d.lease, created_at: d.created_at,
        }
    };
    let conflict = "ON CONFLICT (merchant_id, webhook_id, source_seq) DO NOTHING";
    sql::insert_with(tx, "webhook_deliveries", deliveries.iter().map(row).collect(), conflict).await
}

/// Claims what is due for a webhook, the oldest first.
pub async fn claim(
    tx: &Tx,
    webhook: &Webhook,
    now: Timestamp,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Delivery>> {
    let text = format!(
        "UPDATE webhook_deliveries SET lease = lease + 1, leased = TRUE, next_at = $4 WHERE merchant_id = $1 AND id IN
           (SELECT id FROM webhook_deliveries WHERE merchant_id = $1 AND webhook_id = $2 AND next_at <= $3 ORDER BY next_at, id LIMIT $5 {})
         RETURNING *",
        sql::skip_locked(tx)
    );
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    sql::list(tx, &text, params![webhook.merchant_id, webhook.id, now, now.plus(lease), limit]).await
}

/// Makes due what a killed worker had. Only on SQLite, which has one worker: on PostgreSQL another process may be at
/// them, and their leases end by themselves.
pub async fn recover(tx: &Tx, now: Timestamp) -> Result<u64> {
    if tx.backend() != sea_orm::DbBackend::Sqlite {
        return Ok(0);
    }
    let text = "UPDATE webhook_deliveries SET leased = FALSE, next_at = $1 WHERE leased";
    sql::execute(tx, text, params![now]).await
}

#[derive(Serialize)]
struct RecordRow {
    id: String,
    lease: i64,
    state: &'static str,
    tries: i64,
    failures: i64,
    log: String,
    next_at: Option<i64>,
    finished_at: Option<i64>,
}

/// Records how tries of one merchant's deliveries ended, as they are given. What somebody else has taken over
/// meanwhile is left alone.
pub async fn record(tx: &Tx, merchant: MerchantScope, tried: &[Delivery]) -> Result<()> {
    use hexiao_core::id::Id as _;
    let row = |d: &Delivery| RecordRow {
        id: d.id.uuid().simple().to_string(),
        lease: d.lease,
        state: d.state.as_str(),
        tries: d.tries,
        failures: d.failures,
        log: json_text(&d.log),
        next_at: d.next_at.map(Timestamp::micros),
        finished_at: d.finished_at.map(Timestamp::micros),
    };
    let rows: Vec<RecordRow> = tried.iter().map(row).collect();
    let columns = [
        ("id", JsonType::Uuid),
        ("lease", JsonType::Int),
        ("state", JsonType::Text),
        ("tries", JsonType::Int),
        ("failures", JsonType::Int),
        ("log", JsonType::Text),
        ("next_at", JsonType::Int),
        ("finished_at", JsonType::Int),
    ];
    let text = format!(
        "UPDATE webhook_deliveries SET state = q.state, tries = q.tries, failures = q.failures, log = q.log, next_at = q.next_at,
         finished_at = q.finished_at, leased = FALSE
         FROM {} WHERE webhook_deliveries.merchant_id = q.merchant_id AND webhook_deliveries.id = q.id
         AND webhook_deliveries.lease = q.lease AND webhook_deliveries.leased",
        json_table(tx, 2, "q", &columns)
    );
    sql::execute(tx, &text, vec![merchant.merchant_id().value(), json_rows(&rows)]).await?;
    Ok(())
}

/// A delivery.
pub async fn delivery(c: &impl Conn, merchant: MerchantScope, id: DeliveryId) -> Result<Option<Delivery>> {
    let text = "SELECT * FROM webhook_deliveries WHERE merchant_id = $1 AND id = $2";
    sql::find(c, text, params![merchant.merchant_id(), id]).await
}

/// A delivery, locked. Lock its webhook first.
pub async fn lock_delivery(tx: &Tx, merchant: MerchantScope, id: DeliveryId) -> Result<Option<Delivery>> {
    let text = format!(
        "SELECT * FROM webhook_deliveries d WHERE merchant_id = $1 AND id = $2{}",
        for_update(tx, "d")
    );
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// Makes a locked delivery due again, as if it had never failed. Whoever still has it can't record it any more.
pub async fn replay(tx: &Tx, d: &Delivery, now: Timestamp) -> Result<()> {
    let text = "UPDATE webhook_deliveries SET state = 'Pending', failures = 0, next_at = $4, finished_at = NULL, leased = FALSE,
                lease = lease + 1 WHERE merchant_id = $1 AND id = $2 AND lease = $3";
    let values = params![d.merchant_id, d.id, d.lease, now];
    sql::execute_exactly(tx, 1, "delivery to replay", text, values).await
}

/// What lists of deliveries are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One webhook.
    pub webhook_id: Option<WebhookId>,
    /// One state.
    pub state: Option<DeliveryState>,
    /// One kind of event.
    pub event: Option<WebhookEvent>,
}

/// A merchant's deliveries, newest first.
pub async fn deliveries(
    c: &impl Conn,
    merchant: MerchantScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Delivery>> {
    let (at, id) = page.bounds();
    let mut values = params![merchant.merchant_id(), at, id, page.fetch()];
    let mut parts = String::new();
    let mut and = |column: &str, value: sea_orm::Value| {
        values.push(value);
        parts.push_str(&format!(" AND {column} = ${}", values.len()));
    };
    if let Some(webhook) = filter.webhook_id {
        and("webhook_id", webhook.value());
    }
    if let Some(state) = filter.state {
        and("state", state.value());
    }
    if let Some(event) = filter.event {
        and("event", event.value());
    }
    let text = format!(
        "SELECT * FROM webhook_deliveries WHERE merchant_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)){parts}
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |d: &Delivery| Cursor { at: d.created_at, id: d.id.into() }))
}

/// Deletes some deliveries that were over before an instant, or waited since before it for a webhook that is stopped;
/// and what waited for a deleted one. How many.
pub async fn prune(tx: &Tx, before: Timestamp, limit: u32) -> Result<u64> {
    let text = format!(
        "DELETE FROM webhook_deliveries WHERE (merchant_id, id) IN
           (SELECT merchant_id, id FROM webhook_deliveries WHERE finished_at < $1 LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    let over = sql::execute(tx, &text, params![before, limit]).await?;
    let text = "DELETE FROM webhook_deliveries WHERE (merchant_id, id) IN
                  (SELECT d.merchant_id, d.id FROM webhooks w JOIN webhook_deliveries d ON d.merchant_id = w.merchant_id AND d.webhook_id = w.id
                   WHERE d.next_at IS NOT NULL AND (w.state = 'Deleted' OR (w.state <> 'Active' AND d.next_at < $1)) LIMIT $2)";
    Ok(over + sql::execute(tx, text, params![before, limit]).await?)
}
