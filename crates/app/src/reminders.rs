//! Reminders: a customer hears 7, 3 and 1 days before that vouchers with unused uses end, never at night.
//!
//! An order knows when its customer is reminded next, and up to when they were: each moment counts once, whatever
//! crashes. Several vouchers of an order are one message.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hexiao_core::expiry::ExpiryPolicy;
use hexiao_core::id::{CustomerId, MerchantId, OrderId, StoreId};
use hexiao_core::reminder::{Hours, has_come, next_look};
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::VoucherState;
use hexiao_db::reminders::{self, DueOrder, Ending, Plan};
use hexiao_db::{Tx, catalog, outbox, store_facts};

use crate::bulk::{self, Bulk};
use crate::context::App;
use crate::error::Result;
use crate::messages::{self, Happened};

/// Orders of one round.
const ROUND: u32 = 100;

struct Reminders;

impl Bulk for Reminders {
    type Row = OrderId;
    const NAME: &'static str = "reminders";
    const SET: usize = 100;
    const AFTER_COMMIT: &'static str = "reminder.after_commit";

    async fn due(app: &App, now: Timestamp) -> Result<Vec<(MerchantId, OrderId)>> {
        Ok(reminders::due(app.db.reader(), now, ROUND).await?)
    }

    async fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        rows: &[OrderId],
        now: Timestamp,
    ) -> Result<usize> {
        remind(app, tx, merchant, rows, now).await
    }
}

impl App {
    /// Reminds customers whose vouchers end; how many orders were looked at. Called by the worker, one round for each
    /// tick.
    pub async fn remind_customers(&self) -> Result<usize> {
        bulk::round::<Reminders>(self).await
    }
}

async fn remind(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[OrderId],
    now: Timestamp,
) -> Result<usize> {
    let due = reminders::lock(tx, merchant, ids, now).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let orders: Vec<OrderId> = due.iter().map(|o| o.id).collect();
    let mut of_order: HashMap<OrderId, Vec<Ending>> = HashMap::new();
    let endings = reminders::vouchers(tx, merchant, &orders).await?;
    let rules = catalog::rules(tx, merchant, endings.iter().map(|e| e.rule_id)).await?;
    for ending in endings {
        of_order.entry(ending.order_id).or_default().push(ending);
    }
    let stores: Vec<StoreId> = due.iter().map(|o| o.store_id).collect();
    let stores = store_facts::of(tx, merchant, &stores).await?;
    let (mut plans, mut happened) = (Vec::new(), Vec::new());
    for order in &due {
        let day = stores.get(&order.store_id).map(|s| s.business_day).unwrap_or_default();
        let vouchers = of_order.get(&order.id).map_or(&[][..], Vec::as_slice);
        let (plan, messages) = look(order, vouchers, &rules, Hours::of(order.id, day.zone), now);
        plans.push(plan);
        for (customer, endings) in messages {
            let what = Happened::Expiring {
                items: items(&endings, day.zone),
                on_expiry: common_policy(&endings, &rules),
            };
            let merchant_id = merchant.merchant_id();
            let event = messages::event_for(merchant_id, customer, order.id, order.id.into(), &what, now);
            happened.push(event);
        }
    }
    reminders::plan(tx, merchant, &plans).await?;
    outbox::append(tx, happened).await?;
    app.hold_at("reminder.before_commit").await;
    Ok(due.len())
}

/// Of which vouchers whom to remind now, and when to look at the order again.
fn look<'v>(
    order: &DueOrder,
    vouchers: &'v [Ending],
    rules: &BTreeMap<i64, Arc<RedemptionRule>>,
    hours: Hours,
    now: Timestamp,
) -> (Plan, BTreeMap<CustomerId, Vec<&'v Ending>>) {
    let mut messages: BTreeMap<CustomerId, Vec<&Ending>> = BTreeMap::new();
    // The server was away when it was due, and now it is night.
    let open = hours.next(now);
    if open > now {
        let plan = Plan { order_id: order.id, remind_at: Some(open), reminded_until: order.reminded_until };
        return (plan, messages);
    }
    let live = vouchers.iter().filter(|v| v.state == VoucherState::Live && now < v.valid_to);
    for v in live.clone().filter(|v| v.usable > 0) {
        let since = order.reminded_until.unwrap_or(v.created_at).max(v.created_at);
        if has_come(v.valid_to, since, now) {
            messages.entry(v.customer_id).or_default().push(v);
        }
    }
    // Also of those that are used up: a use may be undone.
    let moves = |v: &Ending| rules.get(&v.rule_id).is_some_and(|rule| rule.end_moves());
    let remind_at = live.filter_map(|v| next_look(v.valid_to, moves(v), now, hours)).min();
    (Plan { order_id: order.id, remind_at, reminded_until: Some(now) }, messages)
}

/// How many uses of what end when.
fn items(endings: &[&Ending], zone: chrono_tz::Tz) -> Vec<(String, i64, String)> {
    let mut items: BTreeMap<(Timestamp, &str), i64> = BTreeMap::new();
    for e in endings {
        *items.entry((e.valid_to, &e.product_name)).or_insert(0) += e.usable;
    }
    let last = |valid_to: Timestamp| valid_to.minus(chrono::Duration::seconds(1)).local_text(zone);
    items.into_iter().map(|((valid_to, name), uses)| (name.to_owned(), uses, last(valid_to))).collect()
}

/// What becomes of all of them, if it is the same.
fn common_policy(endings: &[&Ending], rules: &BTreeMap<i64, Arc<RedemptionRule>>) -> Option<ExpiryPolicy> {
    let mut policies = endings.iter().map(|e| rules.get(&e.rule_id).map(|rule| rule.expiry_policy()));
    let first = policies.next()??;
    policies.all(|policy| policy == Some(first)).then_some(first)
}
