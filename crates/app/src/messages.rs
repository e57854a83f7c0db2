//! What happened, as the outbox carries it, and what the customer's inbox says of it.

use hexiao_core::expiry::ExpiryPolicy;
use hexiao_core::id::{CustomerId, MerchantId, OrderId};
use hexiao_core::money::Money;
use hexiao_core::scope::CustomerScope;
use hexiao_core::time::Timestamp;
use hexiao_db::messages::{self, Message};
use hexiao_db::orders::Order;
use hexiao_db::outbox::{self, Event, NewEvent};
use hexiao_db::row::json_text;
use hexiao_db::{Tx, transact};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// Something that happened. One outbox row each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happened {
    /// An order was paid and its vouchers are issued.
    OrderPaid {
        /// The order's number.
        number: String,
        /// How much.
        amount_fen: i64,
    },
    /// An order was closed unpaid.
    OrderClosed {
        /// The order's number.
        number: String,
        /// By its deadline rather than by its customer.
        timeout: bool,
    },
    /// Money came for a closed order and goes back.
    LatePayment {
        /// The order's number.
        number: String,
        /// How much.
        amount_fen: i64,
    },
    /// Uses were redeemed.
    Redeemed {
        /// Which products, and how many uses.
        items: Vec<(String, i64)>,
        /// Where.
        store_name: String,
    },
    /// A redemption was undone.
    Reversed {
        /// How many uses are free again.
        quantity: i64,
        /// Where.
        store_name: String,
        /// Their time is over: they can't be used, and are settled as the rule says.
        #[serde(default)]
        expired: bool,
    },
    /// Vouchers with unused uses end soon.
    Expiring {
        /// Which products, how many uses, and their last minute.
        items: Vec<(String, i64, String)>,
        /// What becomes of them then, if it is the same for all.
        on_expiry: Option<ExpiryPolicy>,
    },
    /// Uses were not used in time.
    Expired {
        /// Which products, and how many uses: their money goes back.
        refunded: Vec<(String, i64)>,
        /// How much.
        refund_fen: i64,
        /// Which products, and how many uses: they are lost.
        forfeited: Vec<(String, i64)>,
    },
    /// A refund was taken back before it was sent.
    RefundWithdrawn {
        /// How much.
        amount_fen: i64,
    },
    /// A refund was asked for.
    RefundCreated {
        /// How much.
        amount_fen: i64,
    },
    /// The money is back.
    RefundSucceeded {
        /// How much.
        amount_fen: i64,
    },
    /// The refund was paid outside WeChat.
    RefundPaidByHand {
        /// How much.
        amount_fen: i64,
    },
    /// A refund does not go on by itself.
    RefundStuck {
        /// How much.
        amount_fen: i64,
    },
    /// A time in a store was booked.
    Booked {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// When, in the store's time.
        slot: String,
        /// How many uses.
        quantity: i64,
    },
    /// A booking was moved.
    BookingMoved {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// To when.
        slot: String,
    },
    /// A booking was cancelled.
    BookingCancelled {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// When it would have been.
        slot: String,
        /// Why, if the store did it.
        reason: Option<String>,
    },
    /// A booking is soon.
    BookingReminder {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// When.
        slot: String,
    },
    /// Nobody came.
    BookingMissed {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// When it was.
        slot: String,
    },
    /// The customer came, and nothing was redeemed.
    BookingLapsed {
        /// What for.
        product_name: String,
        /// Where.
        store_name: String,
        /// When it was.
        slot: String,
    },
}

impl Happened {
    /// The outbox topic.
    pub const fn topic(&self) -> &'static str {
        match self {
            Self::OrderPaid { .. } => "voucher.issued",
            Self::OrderClosed { .. } => "order.closed",
            Self::LatePayment { .. } => "payment.late",
            Self::Redeemed { .. } => "redemption.created",
            Self::Reversed { .. } => "redemption.reversed",
            Self::Expiring { .. } => "voucher.expiring",
            Self::Expired { .. } => "voucher.expired",
            Self::RefundCreated { .. } => "refund.created",
            Self::RefundWithdrawn { .. } => "refund.withdrawn",
            Self::RefundSucceeded { .. } | Self::RefundPaidByHand { .. } => "refund.succeeded",
            Self::RefundStuck { .. } => "refund.stuck",
            Self::Booked { .. } => "booking.booked",
            Self::BookingMoved { .. } => "booking.rescheduled",
            Self::BookingCancelled { .. } => "booking.cancelled",
            Self::BookingReminder { .. } => "booking.reminder",
            Self::BookingMissed { .. } => "booking.missed",
            Self::BookingLapsed { .. } => "booking.lapsed",
        }
    }

    /// Title and body for the customer.
    fn words(&self) -> (&'static str, String) {
        let yuan = |fen: &i64| Money::fen(*fen).yuan_text();
        match self {
            Self::OrderPaid { number, amount_fen } => (
                "支付成功",
                format!("订单 {number} 已支付 {}，券码已发放，到店出示即可使用。", yuan(amount_fen)),
            ),
            Self::OrderClosed { number, timeout: true } => {
                ("订单已关闭", format!("订单 {number} 超时未支付，已自动关闭。"))
            }
            Self::OrderClosed { number, timeout: false } => ("订单已关闭", format!("订单 {number} 已取消。")),
            Self::LatePayment { number, amount_fen } => (
                "支付超时，正在退款",
                format!("订单 {number} 关闭后收到您的付款 {}，将原路退回。", yuan(amount_fen)),
            ),
            Self::Redeemed { items, store_name } => {
                ("核销成功", format!("您在「{store_name}」使用了{}。", uses(items)))
            }
            Self::Reversed { quantity, store_name, expired: true } => (
                "核销已撤销",
                format!("「{store_name}」撤销了 {quantity} 次核销。券已过期，将按购买时的规则处理。"),
            ),
            Self::Reversed { quantity, store_name, expired: false } => {
                ("核销已撤销", format!("「{store_name}」撤销了 {quantity} 次核销，次数已恢复。"))
            }
            Self::Expiring { items, on_expiry } => {
                let what: Vec<String> = items
                    .iter()
                    .map(|(name, n, last)| format!("「{name}」{n} 次（{last} 前有效）"))
                    .collect();
                let then = match on_expiry {
                    Some(ExpiryPolicy::Refund) => "到期后未使用的部分自动退款。",
                    Some(ExpiryPolicy::Forfeit) => "到期后未使用的部分作废。",
                    None => "到期后未使用的部分按购买时的规则处理。",
                };
                ("券快到期了", format!("您有{}，请尽快使用。{then}", what.join("、")))
            }
            Self::Expired { refunded, refund_fen, forfeited } => {
                let mut body = String::new();
                if !refunded.is_empty() {
                    body += &format!("{}已过期，{} 将原路退回。", uses(refunded), yuan(refund_fen));
                }
                if !forfeited.is_empty() {
                    body += &format!("{}已过期，按购买时的规则作废。", uses(forfeited));
                }
                ("券已过期", body)
            }
            Self::RefundCreated { amount_fen } => {
                ("退款已申请", format!("退款 {} 已申请，将原路退回。", yuan(amount_fen)))
            }
            Self::RefundWithdrawn { amount_fen } => {
                ("退款已撤回", format!("退款 {} 已撤回，次数已恢复。", yuan(amount_fen)))
            }
            Self::RefundSucceeded { amount_fen } => {
                ("退款成功", format!("退款 {} 已原路退回，请留意微信支付通知。", yuan(amount_fen)))
            }
            Self::RefundPaidByHand { amount_fen } => {
                ("退款已完成", format!("商家已线下退给您 {}，如未收到请联系门店。", yuan(amount_fen)))
            }
            Self::RefundStuck { amount_fen } => {
                ("退款需要商家处理", format!("退款 {} 未能自动完成，商家会尽快处理。", yuan(amount_fen)))
            }
            Self::Booked { product_name, store_name, slot, quantity } => (
                "预约成功",
                format!("「{product_name}」{quantity} 次，{slot}，「{store_name}」，请准时到店。"),
            ),
            Self::BookingMoved { product_name, store_name, slot } => {
                ("改约成功", format!("「{product_name}」已改到 {slot}，「{store_name}」。"))
            }
            Self::BookingCancelled { product_name, store_name, slot, reason: None } => (
                "预约已取消",
                format!("「{product_name}」{slot} 在「{store_name}」的预约已取消，次数可重新预约。"),
            ),
            Self::BookingCancelled { product_name, store_name, slot, reason: Some(reason) } => (
                "门店取消了预约",
                format!(
                    "「{store_name}」取消了您「{product_name}」{slot} 的预约：{reason}。次数可重新预约。"
                ),
            ),
            Self::BookingReminder { product_name, store_name, slot } => {
                ("预约提醒", format!("您预约了「{product_name}」，{slot}，「{store_name}」，请准时到店。"))
            }
            Self::BookingMissed { product_name, store_name, slot } => (
                "预约未到店",
                format!("「{product_name}」{slot} 在「{store_name}」的预约未到店，次数已释放，可重新预约。"),
            ),
            Self::BookingLapsed { product_name, store_name, slot } => (
                "预约已结束",
                format!(
                    "「{product_name}」{slot} 在「{store_name}」的预约没有核销，次数已释放，可重新预约。"
                ),
            ),
        }
    }
}

/// `「双人套餐」2 次、「洗剪吹」1 次`
fn uses(items: &[(String, i64)]) -> String {
    let what: Vec<String> = items.iter().map(|(name, n)| format!("「{name}」{n} 次")).collect();
    what.join("、")
}

/// What a row of the outbox holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Payload {
    /// To whom.
    pub(crate) customer_id: CustomerId,
    /// About which order.
    pub(crate) order_id: OrderId,
    /// What happened.
    #[serde(flatten)]
    pub(crate) what: Happened,
}

impl Payload {
    /// Reads a row; nothing when it is of a newer version on a shared database, whose own consumer will have read it.
    pub(crate) fn read(event: &Event) -> Option<Self> {
        let read = serde_json::from_str(&event.payload);
        if let Err(error) = &read {
            tracing::warn!(topic = %event.topic, seq = event.seq, %error, "outbox row not understood");
        }
        read.ok()
    }
}

/// An outbox row about an order. `subject` is the row that happened: the order, a redemption, a refund.
pub(crate) fn event(order: &Order, subject: Uuid, what: &Happened, at: Timestamp) -> NewEvent {
    event_for(order.merchant_id, order.customer_id, order.id, subject, what, at)
}

/// The same, where the order's row is not at hand.
pub(crate) fn event_for(
    merchant_id: MerchantId,
    customer_id: CustomerId,
    order_id: OrderId,
    subject_id: Uuid,
    what: &Happened,
    at: Timestamp,
) -> NewEvent {
    let payload = json_text(&Payload { customer_id, order_id, what: what.clone() });
    NewEvent { merchant_id, topic: what.topic(), subject_id, payload, at }
}

/// The name under which the inbox keeps its position in the outbox.
pub(crate) const CONSUMER: &str = "inbox";
const BATCH: u32 = 200;

impl App {
    /// Turns new outbox rows into messages; how many rows were read. Called by the worker until it answers 0.
    pub async fn deliver_messages(&self) -> Result<usize> {
        if !outbox::any_new(self.db.reader(), CONSUMER).await? {
            return Ok(0);
        }
        let delivered = transact!(self.db, |tx| deliver(self, &tx));
        self.hold_at("inbox.after_commit").await;
        delivered
    }
}

impl App {
    /// Mends the outbox of a database that was restored from another PostgreSQL cluster. Before anything is written.
    pub async fn rebase_outbox(&self) -> Result<()> {
        if !outbox::is_foreign(self.db.reader()).await? {
            return Ok(());
        }
        let rebased: Result<bool> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(outbox::rebase(&tx).await?) });
        if rebased? {
            tracing::warn!("this database comes from another PostgreSQL cluster: its outbox was renumbered");
        }
        Ok(())
    }

    /// Marks a customer's messages up to an instant as read.
    pub async fn read_messages(&self, customer: CustomerScope, until: Timestamp) -> Result<()> {
        let now = self.now();
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(messages::mark_read(&tx, customer, until, now).await.map(|_| ())?)
        })
    }
}

async fn deliver(app: &App, tx: &Tx) -> Result<usize> {
    let events = outbox::take(tx, CONSUMER, BATCH).await?;
    let inbox: Vec<Message> = events.iter().filter_map(message).collect();
    messages::insert(tx, &inbox).await?;
    app.hold_at("inbox.before_commit").await;
    Ok(events.len())
}

fn message(event: &Event) -> Option<Message> {
    let payload = Payload::read(event)?;
    let (title, body) = payload.what.words();
    Some(Message {
        merchant_id: event.merchant_id,
        id: new_id(),
        customer_id: payload.customer_id,
        topic: event.topic.clone(),
        title: title.to_owned(),
        body,
        order_id: Some(payload.order_id),
        source_seq: event.seq,
        read_at: None,
        at: event.at,
    })
}
