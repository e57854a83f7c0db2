//! Closing unpaid orders: by their customer, or because their time is over. Stock is released in the same
//! transaction; WeChat is told afterwards by a job, so that a payment that slips in is seen and refunded.

use hexiao_core::id::{MerchantId, OrderId};
use hexiao_core::order::{CloseReason, OrderEvent, OrderState};
use hexiao_core::payment::PaymentState;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_db::orders::{self, Actor, Order};
use hexiao_db::{Tx, payments, stock, transact};

use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::{self, JobKind};
use crate::keys::new_id;
use crate::messages;

/// A request to close an order.
#[derive(Debug, Clone, Copy)]
pub struct CloseRequest {
    /// Whose books.
    pub merchant: MerchantScope,
    /// Which.
    pub order_id: OrderId,
    /// Why.
    pub reason: CloseReason,
    /// Who.
    pub actor: Actor,
}

impl App {
    /// A customer closes their unpaid order. Closing it again changes nothing.
    pub async fn close_order_of_customer(&self, customer: CustomerScope, order_id: OrderId) -> Result<()> {
        let order =
            orders::of_customer(self.db.reader(), customer, order_id).await?.ok_or(Reason::NotFound)?;
        let request = CloseRequest {
            merchant: MerchantScope::of_system(order.merchant_id),
            order_id,
            reason: CloseReason::Customer,
            actor: Actor::Customer(order.customer_id),
        };
        self.close_orders(&[request]).await?.pop().map_or(Ok(()), |verdict| verdict.map_err(AppError::from))
    }

    /// Closes orders whose time is over; how many were closed. Called by the worker until it answers 0.
    pub async fn close_expired_orders(&self, limit: u32) -> Result<usize> {
        let due: Vec<(MerchantId, OrderId)> = orders::expired(self.db.reader(), self.now(), limit).await?;
        let mut closed = 0;
        for (merchant_id, order_id) in &due {
            let merchant = MerchantScope::of_system(*merchant_id);
            let request = CloseRequest {
                merchant,
                order_id: *order_id,
                reason: CloseReason::Timeout,
                actor: Actor::System,
            };
            // One order that cannot be closed must not keep the others open.
            match self.close_orders(&[request]).await.map(|mut verdicts| verdicts.pop()) {
                Ok(Some(Ok(()))) => closed += 1,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(order = %order_id, error = error.log_text(), "cannot close an expired order");
                }
            }
        }
        Ok(closed)
    }

    async fn close_orders(&self, requests: &[CloseRequest]) -> Result<Vec<Result<(), Refusal>>> {
        let now = self.now();
        let verdicts = transact!(self.db, |tx| close_in(self, &tx, requests, now));
        self.hold_at("close.after_commit").await;
        self.wake.notify_one();
        verdicts
    }
}

/// Closes orders; each has its own verdict. Order of locks: payment, order, stock.
pub(crate) async fn close_in(
    app: &App,
    tx: &Tx,
    requests: &[CloseRequest],
    now: Timestamp,
) -> Result<Vec<Result<(), Refusal>>> {
    let mut verdicts = Vec::with_capacity(requests.len());
    for request in requests {
        let payment = payments::of_order(tx, request.merchant, request.order_id).await?;
        let payment = match payment {
            Some(p) => payments::lock(tx, request.merchant, &[p.id]).await?.pop(),
            None => None,
        };
        let Some(order) = orders::lock(tx, request.merchant, &[request.order_id]).await?.pop() else {
            verdicts.push(Err(Reason::NotFound.into()));
            continue;
        };
        let verdict = match (order.state, request.reason) {
            (OrderState::Closed, _) => Ok(()),
            (OrderState::PendingPayment, CloseReason::Timeout) if now < order.expires_at => {
                Err(Reason::IllegalState.into())
            }
            (OrderState::PendingPayment, _) => {
                close_one(tx, request, &order, now).await?;
                if let Some(payment) =
                    payment.filter(|p| matches!(p.state, PaymentState::Created | PaymentState::Pending))
                {
                    jobs::enqueue(tx, request.merchant, JobKind::PaymentCheck, payment.id.into(), now, now)
                        .await?;
                }
                Ok(())
            }
            (OrderState::Grouping | OrderState::Paid | OrderState::Refunding, _) => {
                Err(Reason::OrderPaid.into())
            }
        };
        verdicts.push(verdict);
    }
    app.hold_at("close.before_commit").await;
    Ok(verdicts)
}

async fn close_one(tx: &Tx, request: &CloseRequest, order: &Order, now: Timestamp) -> Result<()> {
    let to = order.state.after(OrderEvent::Close)?;
    orders::mark_closed(tx, request.merchant, order.id, request.reason, now).await?;
    let reservations = stock::open_reservations(tx, request.merchant, &[order.id]).await?;
    stock::release(tx, request.merchant, &reservations).await?;
    stock::uncount_purchases(tx, request.merchant, order.id, order.customer_id).await?;
    let event = orders::NewEvent {
        merchant_id: order.merchant_id,
        id: new_id(),
        order_id: order.id,
        event: "close",
        from: Some(order.state),
        to: Some(to),
        actor: request.actor,
        store_id: Some(order.store_id),
        device: None,
        note: Some(request.reason.as_str().to_owned()),
        at: now,
    };
    orders::append_events(tx, vec![event]).await?;
    let what = messages::Happened::OrderClosed {
        number: order.number.clone(),
        timeout: request.reason == CloseReason::Timeout,
    };
    hexiao_db::outbox::append(tx, vec![messages::event(order, order.id.into(), &what, now)]).await?;
    Ok(())
}
