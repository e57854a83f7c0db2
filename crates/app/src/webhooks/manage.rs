//! Setting webhooks up, and sending again by hand. Each change leaves a row in the audit log.
//!
//! A secret is shown once, when it is made. A new one takes over at once; the one before signs as well for a day, so
//! that receivers can change it without losing anything.

use hexiao_core::catalog::Capability;
use hexiao_core::id::{DeliveryId, EventId, WebhookId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_core::webhook::{MAX_WEBHOOKS, WebhookEvent, WebhookState, secret_overlap};
use hexiao_db::webhooks::{self, Delivery, Webhook};
use hexiao_db::{Tx, audit, merchants, transact};
use serde_json::{Value, json};

use super::payload::Data;
use super::{guard, sign};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;
use crate::merchant::{changes, check_version};

/// A webhook to set up.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// What staff call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What it is told.
    pub events: Vec<WebhookEvent>,
}

/// What an edit changes; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookEdit {
    /// The version that was edited.
    pub version: Option<i64>,
    /// What staff call it.
    pub name: Option<String>,
    /// Where it is.
    pub url: Option<String>,
    /// What it is told.
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether it is told anything. Switched on again, it hears what happens from then on.
    pub active: Option<bool>,
}

impl App {
    /// Sets a webhook up; it and its secret, which is never shown again.
    pub async fn create_webhook(&self, by: &StaffPrincipal, new: NewWebhook) -> Result<(Webhook, String)> {
        by.require(Capability::ManageWebhooks)?;
        let url = self.checked_url(&new.url)?;
        let events = checked_events(new.events)?;
        let (id, secret, now): (WebhookId, _, _) = (new_id(), sign::new_secret(), self.now());
        let webhook = Webhook {
            merchant_id: by.merchant_id,
            id,
            name: new.name,
            url,
            events,
            state: WebhookState::Active,
            active_since: now,
            secret: sign::seal(&self.keys, &secret, id),
            old_secret: None,
            failing_since: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let made: Result<()> = transact!(self.db, |tx| create(&tx, by, &webhook, now));
        made.map(|()| (webhook, secret))
    }

    /// Edits a webhook, stops it, or starts it again.
    pub async fn edit_webhook(
        &self,
        by: &StaffPrincipal,
        id: WebhookId,
        edit: WebhookEdit,
    ) -> Result<Webhook> {
        by.require(Capability::ManageWebhooks)?;
        let url = edit.url.as_deref().map(|url| self.checked_url(url)).transpose()?;
        let events = edit.events.clone().map(checked_events).transpose()?;
        let edit = WebhookEdit { url, events, ..edit };
        let now = self.now();
        let edited = transact!(self.db, |tx| edit_in(&tx, by, id, &edit, now));
        self.outgoing.wake.notify_one();
        edited
    }

    /// Deletes a webhook. Its log stays as long as any.
    pub async fn delete_webhook(&self, by: &StaffPrincipal, id: WebhookId) -> Result<()> {
        by.require(Capability::ManageWebhooks)?;
        let now = self.now();
        transact!(self.db, |tx| delete(&tx, by, id, now))
    }

    /// Gives a webhook a new secret, which is shown this once. The one before signs as well for a day.
    pub async fn rotate_webhook_secret(
        &self,
        by: &StaffPrincipal,
        id: WebhookId,
    ) -> Result<(Webhook, String)> {
        by.require(Capability::ManageWebhooks)?;
        let (secret, now) = (sign::new_secret(), self.now());
        let sealed = sign::seal(&self.keys, &secret, id);
        let rotated: Result<Webhook> = transact!(self.db, |tx| rotate(&tx, by, id, sealed.clone(), now));
        rotated.map(|webhook| (webhook, secret))
    }

    /// Sends a `ping` to a webhook, whatever it listens to.
    pub async fn test_webhook(&self, by: &StaffPrincipal, id: WebhookId) -> Result<Delivery> {
        by.require(Capability::ManageWebhooks)?;
        let now = self.now();
        let made = transact!(self.db, |tx| ping(&tx, by, id, now));
        self.outgoing.wake.notify_one();
        made
    }

    /// Sends a delivery again that is over or waits for its next try: the same event, under the same id.
    pub async fn replay_webhook(&self, by: &StaffPrincipal, id: DeliveryId) -> Result<Delivery> {
        by.require(Capability::ManageWebhooks)?;
        let now = self.now();
        let replayed = transact!(self.db, |tx| replay(&tx, by, id, now));
        self.outgoing.wake.notify_one();
        replayed
    }

    fn checked_url(&self, url: &str) -> Result<String, Refusal> {
        guard::checked(url, self.settings.dev).map_err(|problem| Refusal::field("url", problem))
    }
}

/// Without repetitions, in their fixed order.
fn checked_events(mut events: Vec<WebhookEvent>) -> Result<Vec<WebhookEvent>, Refusal> {
    if events.is_empty() {
        return Err(Refusal::field("events", "请至少选择一种事件"));
    }
    if let Some(i) = events.iter().position(|e| !e.can_be_chosen()) {
        return Err(Refusal::field(format!("events[{i}]"), "这种事件不能订阅"));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

/// What the audit log says of it.
fn seen(w: &Webhook) -> Value {
    json!({"name": w.name, "url": w.url, "events": w.events, "state": w.state})
}

async fn create(tx: &Tx, by: &StaffPrincipal, webhook: &Webhook, now: Timestamp) -> Result<()> {
    let merchant = by.merchant();
    merchants::lock(tx, merchant).await?;
    if webhooks::all(tx, merchant).await?.len() >= MAX_WEBHOOKS {
        let text = format!("最多 {MAX_WEBHOOKS} 个推送地址，请先删除不用的");
        return Err(Refusal::with_message(Reason::IllegalState, text).into());
    }
    webhooks::insert(tx, webhook).await?;
    let id = webhook.id.to_string();
    Ok(audit::record(tx, merchant, Some(by.staff_id), "webhook.create", &id, &seen(webhook), now).await?)
}

async fn locked(tx: &Tx, by: &StaffPrincipal, id: WebhookId) -> Result<Webhook> {
    Ok(webhooks::lock(tx, by.merchant(), id).await?.ok_or(Reason::NotFound)?)
}

/// Writes an edited webhook and its row in the audit log; the webhook as it is stored then.
async fn write(
    tx: &Tx,
    by: &StaffPrincipal,
    (action, detail): (&str, Value),
    webhook: Webhook,
    now: Timestamp,
) -> Result<Webhook> {
    webhooks::update(tx, &webhook, now).await?;
    let id = webhook.id.to_string();
    audit::record(tx, by.merchant(), Some(by.staff_id), action, &id, &detail, now).await?;
    Ok(Webhook { version: webhook.version + 1, updated_at: now, ..webhook })
}

async fn edit_in(
    tx: &Tx,
    by: &StaffPrincipal,
    id: WebhookId,
    edit: &WebhookEdit,
    now: Timestamp,
) -> Result<Webhook> {
    let before = locked(tx, by, id).await?;
    check_version(edit.version, before.version)?;
    let mut after = before.clone();
    if let Some(name) = &edit.name {
        after.name.clone_from(name);
    }
    if let Some(url) = &edit.url {
        after.url.clone_from(url);
    }
    if let Some(events) = &edit.events {
        after.events.clone_from(events);
    }
    match (edit.active, before.state) {
        (Some(true), WebhookState::Paused | WebhookState::Disabled) => {
            after.state = WebhookState::Active;
            after.active_since = now;
            after.failing_since = None;
        }
        (Some(false), WebhookState::Active) => after.state = WebhookState::Paused,
        (Some(true), WebhookState::Active | WebhookState::Deleted)
        | (Some(false), WebhookState::Paused | WebhookState::Disabled | WebhookState::Deleted)
        | (None, _) => {}
    }
    let changed = changes(&seen(&before), &seen(&after));
    if changed.is_empty() {
        return Ok(before);
    }
    write(tx, by, ("webhook.edit", Value::Object(changed)), after, now).await
}

async fn delete(tx: &Tx, by: &StaffPrincipal, id: WebhookId, now: Timestamp) -> Result<()> {
    let Some(before) = webhooks::lock(tx, by.merchant(), id).await? else {
        // Gone already is as good as gone now.
        let gone = webhooks::is_deleted(tx, by.merchant(), id).await?;
        return if gone { Ok(()) } else { Err(Reason::NotFound.into()) };
    };
    let detail = seen(&before);
    let gone = Webhook { state: WebhookState::Deleted, ..before };
    write(tx, by, ("webhook.delete", detail), gone, now).await.map(|_| ())
}

async fn rotate(
    tx: &Tx,
    by: &StaffPrincipal,
    id: WebhookId,
    secret: Vec<u8>,
    now: Timestamp,
) -> Result<Webhook> {
    let before = locked(tx, by, id).await?;
    let until = now.plus(secret_overlap());
    let old_secret = Some((before.secret.clone(), until));
    let after = Webhook { secret, old_secret, ..before };
    write(tx, by, ("webhook.rotate_secret", json!({"old_until": until})), after, now).await
}

fn not_active() -> AppError {
    Refusal::with_message(Reason::IllegalState, "推送已停用，请先启用").into()
}

async fn ping(tx: &Tx, by: &StaffPrincipal, id: WebhookId, now: Timestamp) -> Result<Delivery> {
    let webhook = locked(tx, by, id).await?;
    if webhook.state != WebhookState::Active {
        return Err(not_active());
    }
    let event: EventId = new_id();
    let body = Data::Ping {}.sealed(event, WebhookEvent::Ping, now);
    let delivery = Delivery::new(&webhook, new_id(), (event, WebhookEvent::Ping), None, body, now);
    webhooks::insert_deliveries(tx, std::slice::from_ref(&delivery)).await?;
    let (subject, detail) = (id.to_string(), json!({"delivery": delivery.id}));
    audit::record(tx, by.merchant(), Some(by.staff_id), "webhook.test", &subject, &detail, now).await?;
    Ok(delivery)
}

async fn replay(tx: &Tx, by: &StaffPrincipal, id: DeliveryId, now: Timestamp) -> Result<Delivery> {
    let merchant = by.merchant();
    let found = webhooks::delivery(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    // A deleted webhook is nowhere, its log is.
    let webhook = webhooks::lock(tx, merchant, found.webhook_id).await?.ok_or_else(not_active)?;
    if webhook.state != WebhookState::Active {
        return Err(not_active());
    }
    let delivery = webhooks::lock_delivery(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    if delivery.leased {
        return Err(Refusal::with_message(Reason::IllegalState, "正在发送，请稍后查看结果").into());
    }
    webhooks::replay(tx, &delivery, now).await?;
    let detail = json!({"event": delivery.event_id, "was": delivery.state});
    audit::record(tx, merchant, Some(by.staff_id), "webhook.replay", &id.to_string(), &detail, now).await?;
    webhooks::delivery(tx, merchant, id)
        .await?
        .ok_or_else(|| AppError::Internal("a delivery that was replayed is not there".to_owned()))
}
