//! What receivers are told: ids, amounts and times. No phone number, no name of a person, no voucher code.

use std::collections::BTreeMap;

use hexiao_core::id::{
    EventId, Id as _, OrderId, ProductId, RedemptionId, RefundId, SkuId, StaffId, StoreId, VoucherId,
};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::webhook::WebhookEvent;
use hexiao_db::Tx;
use hexiao_db::outbox::Event;
use hexiao_db::row::json_text;
use hexiao_db::used::{self, Used};
use hexiao_db::vouchers::{self, RefundLock, Voucher};
use serde::Serialize;

use crate::error::Result;
use crate::messages::{Happened, Payload};

/// What is sent.
#[derive(Serialize)]
struct Envelope<T> {
    id: EventId,
    r#type: WebhookEvent,
    created_at: Timestamp,
    data: T,
}

/// The data of an event.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Data {
    Ping {},
    Redeemed(Redeemed),
    Reversed(Reversed),
    Issued(Issued),
    Refunded(Refunded),
}

impl Data {
    /// The body, as it is stored and sent.
    pub(super) fn sealed(self, id: EventId, what: WebhookEvent, at: Timestamp) -> String {
        json_text(&Envelope { id, r#type: what, created_at: at, data: self })
    }
}

#[derive(Serialize)]
struct Uses {
    voucher_id: VoucherId,
    product_id: ProductId,
    serials: Vec<u32>,
    amount_fen: i64,
}

#[derive(Serialize)]
pub(super) struct Redeemed {
    redemption_id: RedemptionId,
    order_id: OrderId,
    store_id: Option<StoreId>,
    verifier_id: Option<StaffId>,
    method: Option<String>,
    occurred_at: Option<Timestamp>,
    quantity: usize,
    amount_fen: i64,
    items: Vec<Uses>,
}

#[derive(Serialize)]
pub(super) struct Reversed {
    redemption_id: RedemptionId,
    order_id: OrderId,
    store_id: Option<StoreId>,
    occurred_at: Timestamp,
    quantity: usize,
    amount_fen: i64,
    items: Vec<Uses>,
}

#[derive(Serialize)]
struct IssuedVoucher {
    voucher_id: VoucherId,
    product_id: ProductId,
    sku_id: SkuId,
    product_name: String,
    sku_name: String,
    uses: u32,
    amount_fen: i64,
    valid_from: Timestamp,
    valid_to: Timestamp,
}

#[derive(Serialize)]
pub(super) struct Issued {
    order_id: OrderId,
    order_number: String,
    store_id: Option<StoreId>,
    amount_fen: i64,
    vouchers: Vec<IssuedVoucher>,
}

#[derive(Serialize)]
struct RefundedUses {
    voucher_id: VoucherId,
    serials: Vec<u32>,
    amount_fen: i64,
}

#[derive(Serialize)]
pub(super) struct Refunded {
    refund_id: RefundId,
    order_id: OrderId,
    amount_fen: i64,
    /// The merchant paid it outside WeChat.
    by_hand: bool,
    items: Vec<RefundedUses>,
}

/// A body that is to be written, with its row.
type Told<'e> = (&'e Event, WebhookEvent, Data);

/// The data of some events of one merchant. A row that this version does not understand is left out.
pub(super) async fn bodies<'e>(
    tx: &Tx,
    merchant: MerchantScope,
    told: &[(WebhookEvent, &'e Event)],
) -> Result<Vec<Told<'e>>> {
    let read = |(what, event): &(WebhookEvent, &'e Event)| Some((*what, *event, Payload::read(event)?));
    let read: Vec<(WebhookEvent, &Event, Payload)> = told.iter().filter_map(read).collect();
    let (mut redemptions, mut orders, mut refunds) = (Vec::new(), Vec::new(), Vec::new());
    for (_, event, payload) in &read {
        match &payload.what {
            Happened::Redeemed { .. } | Happened::Reversed { .. } => {
                redemptions.push(RedemptionId::from_uuid(event.subject_id));
            }
            Happened::OrderPaid { .. } => orders.push(payload.order_id),
            Happened::RefundSucceeded { .. } | Happened::RefundPaidByHand { .. } => {
                refunds.push(RefundId::from_uuid(event.subject_id));
            }
            _ => {}
        }
    }
    let mut uses: BTreeMap<RedemptionId, Vec<Used>> = BTreeMap::new();
    for u in used::of_redemptions(tx, merchant, &redemptions).await? {
        uses.entry(u.redemption_id).or_default().push(u);
    }
    let mut issued: BTreeMap<OrderId, Vec<Voucher>> = BTreeMap::new();
    for voucher in used::vouchers_of(tx, merchant, &orders).await? {
        issued.entry(voucher.order_id).or_default().push(voucher);
    }
    let mut locks: BTreeMap<RefundId, Vec<RefundLock>> = BTreeMap::new();
    if !refunds.is_empty() {
        for lock in vouchers::locks_of_refunds(tx, merchant, &refunds).await? {
            locks.entry(lock.refund_id).or_default().push(lock);
        }
    }
    let mut bodies = Vec::new();
    for (what, event, payload) in read {
        let order_id = payload.order_id;
        let of_order = || {
            let all = uses.get(&RedemptionId::from_uuid(event.subject_id)).into_iter().flatten();
            all.filter(move |u| u.order_id == order_id)
        };
        let data = match payload.what {
            Happened::Redeemed { .. } => Data::Redeemed(redeemed(event, order_id, of_order().collect())),
            Happened::Reversed { .. } => {
                let undone = of_order().filter(|u| u.reversed_at == Some(event.at)).collect();
                Data::Reversed(reversed(event, order_id, undone))
            }
            Happened::OrderPaid { number, amount_fen } => {
                let vouchers = issued.get(&order_id).map(Vec::as_slice).unwrap_or_default();
                Data::Issued(issued_of(order_id, number, amount_fen, vouchers))
            }
            Happened::RefundSucceeded { amount_fen } => {
                Data::Refunded(refunded(event, order_id, amount_fen, false, &locks))
            }
            Happened::RefundPaidByHand { amount_fen } => {
                Data::Refunded(refunded(event, order_id, amount_fen, true, &locks))
            }
            _ => continue,
        };
        bodies.push((event, what, data));
    }
    Ok(bodies)
}

/// By voucher.
fn items(uses: &[&Used]) -> Vec<Uses> {
    let mut items: Vec<Uses> = Vec::new();
    for u in uses {
        if items.last().is_none_or(|item| item.voucher_id != u.voucher_id) {
            items.push(Uses {
                voucher_id: u.voucher_id,
                product_id: u.product_id,
                serials: Vec::new(),
                amount_fen: 0,
            });
        }
        if let Some(item) = items.last_mut() {
            item.serials.push(u.serial);
            item.amount_fen += u.worth.as_fen();
        }
    }
    items
}

fn redeemed(event: &Event, order_id: OrderId, uses: Vec<&Used>) -> Redeemed {
    let first = uses.first();
    Redeemed {
        redemption_id: RedemptionId::from_uuid(event.subject_id),
        order_id,
        store_id: first.map(|u| u.store_id),
        verifier_id: first.map(|u| u.staff_id),
        method: first.map(|u| u.method.clone()),
        occurred_at: first.map(|u| u.at),
        quantity: uses.len(),
        amount_fen: uses.iter().map(|u| u.worth.as_fen()).sum(),
        items: items(&uses),
    }
}

fn reversed(event: &Event, order_id: OrderId, uses: Vec<&Used>) -> Reversed {
    Reversed {
        redemption_id: RedemptionId::from_uuid(event.subject_id),
        order_id,
        store_id: uses.first().map(|u| u.store_id),
        occurred_at: event.at,
        quantity: uses.len(),
        amount_fen: uses.iter().map(|u| u.worth.as_fen()).sum(),
        items: items(&uses),
    }
}

fn issued_of(order_id: OrderId, order_number: String, amount_fen: i64, vouchers: &[Voucher]) -> Issued {
    let of = |v: &Voucher| IssuedVoucher {
        voucher_id: v.id,
        product_id: v.product_id,
        sku_id: v.sku_id,
        product_name: v.product_name.clone(),
        sku_name: v.sku_name.clone(),
        uses: v.counters.total,
        amount_fen: v.amount.as_fen(),
        valid_from: v.valid_from,
        valid_to: v.valid_to,
    };
    let store_id = vouchers.first().map(|v| v.store_id);
    Issued { order_id, order_number, store_id, amount_fen, vouchers: vouchers.iter().map(of).collect() }
}

fn refunded(
    event: &Event,
    order_id: OrderId,
    amount_fen: i64,
    by_hand: bool,
    locks: &BTreeMap<RefundId, Vec<RefundLock>>,
) -> Refunded {
    let refund_id = RefundId::from_uuid(event.subject_id);
    let of = |l: &RefundLock| RefundedUses {
        voucher_id: l.voucher_id,
        serials: l.serials.clone(),
        amount_fen: l.amount.as_fen(),
    };
    let items = locks.get(&refund_id).into_iter().flatten().map(of).collect();
    Refunded { refund_id, order_id, amount_fen, by_hand, items }
}
