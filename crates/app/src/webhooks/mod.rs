//! Signed outgoing webhooks: a merchant's own systems are told what happened.
//!
//! A consumer turns outbox rows into deliveries, one for each webhook that listens; a loop of its own sends them
//! outside any transaction and records how it went. Every try of an event carries the same id and the same body, so a
//! receiver that has seen the id is done. Order is not promised.

mod guard;
mod manage;
mod payload;
mod send;
mod sign;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use hexiao_core::id::{EventId, MerchantId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::webhook::WebhookEvent;
use hexiao_db::outbox::{self, Event};
use hexiao_db::webhooks::{self, Delivery, Webhook};
use hexiao_db::{Tx, transact};
use reqwest::Client;
use tokio::sync::Notify;

use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;

pub use manage::{NewWebhook, WebhookEdit};

/// What sending needs, shared by all use cases.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Wakes the loop when something is due.
    wake: Notify,
    client: OnceLock<Option<Client>>,
}

/// The name under which webhooks keep their position in the outbox.
pub(crate) const CONSUMER: &str = "webhooks";
const BATCH: u32 = 500;

impl App {
    /// Turns new outbox rows into deliveries; how many rows were read. Called by the worker until it answers 0.
    pub async fn feed_webhooks(&self) -> Result<usize> {
        if !outbox::any_new(self.db.reader(), CONSUMER).await? {
            return Ok(0);
        }
        let now = self.now();
        let fed: Result<(usize, usize)> = transact!(self.db, |tx| feed(self, &tx, now));
        let (read, made) = fed?;
        if made > 0 {
            self.hold_at("webhook_feed.after_commit").await;
            self.outgoing.wake.notify_one();
        }
        Ok(read)
    }
}

async fn feed(app: &App, tx: &Tx, now: Timestamp) -> Result<(usize, usize)> {
    let events = outbox::take(tx, CONSUMER, BATCH).await?;
    let told: Vec<(WebhookEvent, &Event)> = events.iter().filter_map(|e| Some((kind(e)?, e))).collect();
    let merchants: BTreeSet<MerchantId> = told.iter().map(|(_, e)| e.merchant_id).collect();
    if merchants.is_empty() {
        return Ok((events.len(), 0));
    }
    let mut listening: BTreeMap<MerchantId, Vec<Webhook>> = BTreeMap::new();
    for webhook in webhooks::listening(tx, &Vec::from_iter(merchants)).await? {
        listening.entry(webhook.merchant_id).or_default().push(webhook);
    }
    let mut deliveries = Vec::new();
    for (merchant_id, webhooks) in &listening {
        let heard = |(what, e): &&(WebhookEvent, &Event)| {
            e.merchant_id == *merchant_id && webhooks.iter().any(|w| listens(w, *what, e.at))
        };
        let told: Vec<(WebhookEvent, &Event)> = told.iter().filter(heard).copied().collect();
        let merchant = MerchantScope::of_system(*merchant_id);
        for (event, what, body) in payload::bodies(tx, merchant, &told).await? {
            let id: EventId = new_id();
            let body = body.sealed(id, what, event.at);
            let of = |w: &Webhook| Delivery {
                created_at: event.at,
                ..Delivery::new(w, new_id(), (id, what), Some(event.seq), body.clone(), now)
            };
            deliveries.extend(webhooks.iter().filter(|w| listens(w, what, event.at)).map(of));
        }
    }
    webhooks::insert_deliveries(tx, &deliveries).await?;
    if !deliveries.is_empty() {
        app.hold_at("webhook_feed.before_commit").await;
    }
    Ok((events.len(), deliveries.len()))
}

/// What an outbox row is to receivers, if it is anything to them.
fn kind(event: &Event) -> Option<WebhookEvent> {
    WebhookEvent::from_text(&event.topic).filter(|what| what.can_be_chosen())
}

fn listens(webhook: &Webhook, what: WebhookEvent, at: Timestamp) -> bool {
    webhook.active_since <= at && webhook.events.contains(&what)
}
