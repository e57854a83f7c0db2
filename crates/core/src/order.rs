//! Orders: the stored state, what moves it, and what is derived from the units.
//!
//! Stored is only what cannot be derived. How far an order is fulfilled or refunded follows from its vouchers'
//! counters by [`Units`], which screens, filters and reports share.

use serde::Serialize;

use crate::state::{IllegalTransition, text_enum};

/// A customer's orders at one merchant that wait for their payment: each reserves stock, and nobody needs more.
pub const MAX_UNPAID_ORDERS: i64 = 20;

text_enum! {
    /// The stored state of an order.
    pub enum OrderState {
        /// Waiting for its payment; its stock is reserved.
        PendingPayment = "PendingPayment",
        /// Paid, waiting for its group-buy.
        Grouping = "Grouping",
        /// Paid; its vouchers are issued.
        Paid = "Paid",
        /// Its group-buy failed; the money is on its way back.
        Refunding = "Refunding",
        /// Over without fulfilment. Never re-opens: a payment that comes later is refunded.
        Closed = "Closed",
    }
}

text_enum! {
    /// Why an order was closed.
    pub enum CloseReason {
        /// Not paid in time.
        Timeout = "timeout",
        /// By the customer.
        Customer = "customer",
        /// By the merchant.
        Merchant = "merchant",
        /// By risk control.
        Risk = "risk",
        /// Its group-buy failed.
        GroupFailed = "group_failed",
    }
}

text_enum! {
    /// How the goods reach the customer.
    pub enum Fulfilment {
        /// Redeemed in a store.
        Redeem = "redeem",
        /// Delivered.
        Delivery = "delivery",
    }
}

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvent {
    /// Its payment settled.
    Pay,
    /// Its payment settled and it waits for a group-buy.
    PayIntoGroup,
    /// The group-buy succeeded.
    GroupSucceed,
    /// The group-buy failed.
    GroupFail,
    /// The refund of a failed group-buy is done.
    GroupRefunded,
    /// Closed before payment.
    Close,
}

impl OrderEvent {
    /// Every event, for the table of transitions.
    pub const ALL: &'static [OrderEvent] = &[
        Self::Pay,
        Self::PayIntoGroup,
        Self::GroupSucceed,
        Self::GroupFail,
        Self::GroupRefunded,
        Self::Close,
    ];

    /// Its name in event rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::PayIntoGroup => "pay_into_group",
            Self::GroupSucceed => "group_succeed",
            Self::GroupFail => "group_fail",
            Self::GroupRefunded => "group_refunded",
            Self::Close => "close",
        }
    }
}

impl OrderState {
    /// The state after an event.
    pub fn after(self, event: OrderEvent) -> Result<OrderState, IllegalTransition> {
        use OrderEvent as E;
        use OrderState as S;
        match (event, self) {
            (E::Pay, S::PendingPayment) | (E::GroupSucceed, S::Grouping) => Ok(S::Paid),
            (E::PayIntoGroup, S::PendingPayment) => Ok(S::Grouping),
            (E::GroupFail, S::Grouping) => Ok(S::Refunding),
            (E::GroupRefunded, S::Refunding) | (E::Close, S::PendingPayment) => Ok(S::Closed),
            (E::Pay | E::PayIntoGroup, S::Grouping | S::Paid | S::Refunding | S::Closed)
            | (E::GroupSucceed | E::GroupFail, S::PendingPayment | S::Paid | S::Refunding | S::Closed)
            | (E::GroupRefunded, S::PendingPayment | S::Grouping | S::Paid | S::Closed)
            | (E::Close, S::Grouping | S::Paid | S::Refunding | S::Closed) => {
                Err(IllegalTransition { state: self.as_str(), event: event.as_str() })
            }
        }
    }
}

text_enum! {
    /// How far a paid order is fulfilled.
    pub enum FulfilmentState {
        /// Nothing is used yet.
        Fulfilling = "fulfilling",
        /// Some uses are redeemed and some are open.
        PartlyFulfilled = "partly_fulfilled",
        /// Nothing is open any more.
        Completed = "completed",
    }
}

text_enum! {
    /// How much of an order was refunded.
    pub enum RefundedState {
        /// Nothing.
        None = "none",
        /// Some uses.
        Partial = "partial",
        /// All uses.
        Full = "full",
    }
}

text_enum! {
    /// The customer's tabs over their orders.
    pub enum OrderTab {
        /// 待付款
        Unpaid = "unpaid",
        /// 待核销
        ToRedeem = "to_redeem",
        /// 已核销
        Redeemed = "redeemed",
        /// 已退款
        Refunded = "refunded",
        /// 售后中
        AfterSale = "after_sale",
        /// Closed without payment; shown under "all" only.
        Closed = "closed",
    }
}

/// The sums of an order's voucher counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Units {
    /// All uses bought.
    pub total: i64,
    /// Redeemed.
    pub used: i64,
    /// Asked back, money not yet returned.
    pub locked_refund: i64,
    /// Returned.
    pub refunded: i64,
    /// Given to somebody else.
    pub transferred: i64,
    /// Expired without refund.
    pub forfeited: i64,
}

impl Units {
    /// What may still be redeemed or refunded.
    pub fn open(self) -> i64 {
        self.total - self.used - self.refunded - self.transferred - self.forfeited
    }

    /// How far the order is fulfilled.
    pub fn fulfilment(self) -> FulfilmentState {
        if self.total > 0 && self.open() == 0 {
            FulfilmentState::Completed
        } else if self.used > 0 {
            FulfilmentState::PartlyFulfilled
        } else {
            FulfilmentState::Fulfilling
        }
    }

    /// How much was refunded.
    pub fn refunded_state(self) -> RefundedState {
        if self.refunded == 0 {
            RefundedState::None
        } else if self.refunded == self.total {
            RefundedState::Full
        } else {
            RefundedState::Partial
        }
    }

    /// The tab an order belongs to. A refund under way comes first: that is what its customer looks for.
    pub fn tab(self, state: OrderState) -> OrderTab {
        match state {
            OrderState::PendingPayment => OrderTab::Unpaid,
            OrderState::Closed => OrderTab::Closed,
            OrderState::Refunding => OrderTab::AfterSale,
            OrderState::Grouping => OrderTab::ToRedeem,
            OrderState::Paid if self.locked_refund > 0 => OrderTab::AfterSale,
            OrderState::Paid if self.open() > 0 => OrderTab::ToRedeem,
            OrderState::Paid if self.refunded == self.total => OrderTab::Refunded,
            OrderState::Paid => OrderTab::Redeemed,
        }
    }
}

/// What a person reads for an order's state.
pub fn state_text(state: OrderState, units: Units) -> &'static str {
    match (state, units.tab(state)) {
        (OrderState::PendingPayment, _) => "待付款",
        (OrderState::Grouping, _) => "拼团中",
        (OrderState::Refunding, _) => "退款中",
        (OrderState::Closed, _) => "已关闭",
        (OrderState::Paid, OrderTab::AfterSale) => "退款中",
        (OrderState::Paid, OrderTab::Refunded) => "已退款",
        (OrderState::Paid, OrderTab::ToRedeem) if units.used > 0 => "部分核销",
        (OrderState::Paid, OrderTab::ToRedeem) => "待核销",
        (OrderState::Paid, OrderTab::Unpaid | OrderTab::Redeemed | OrderTab::Closed) => "已核销",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_transitions() {
        let mut table = String::new();
        let mut reached = vec![OrderState::PendingPayment];
        for event in OrderEvent::ALL {
            for state in OrderState::ALL {
                let after = state.after(*event);
                table.push_str(&format!(
                    "{:<15} {:<15} {}\n",
                    event.as_str(),
                    state.as_str(),
                    after.map_or("-", OrderState::as_str)
                ));
                reached.extend(after);
            }
        }
        assert!(OrderState::ALL.iter().all(|s| reached.contains(s)), "every state is reachable");
        insta::assert_snapshot!(table);
    }

    #[test]
    fn fulfilment_and_tabs_follow_the_units() {
        let units = |total, used, locked_refund, refunded| Units {
            total,
            used,
            locked_refund,
            refunded,
            ..Units::default()
        };
        assert_eq!(units(3, 0, 0, 0).fulfilment(), FulfilmentState::Fulfilling);
        assert_eq!(units(3, 1, 0, 0).fulfilment(), FulfilmentState::PartlyFulfilled);
        assert_eq!(units(3, 1, 0, 2).fulfilment(), FulfilmentState::Completed);
        assert_eq!(units(3, 1, 0, 2).refunded_state(), RefundedState::Partial);
        assert_eq!(units(3, 0, 0, 3).tab(OrderState::Paid), OrderTab::Refunded);
        assert_eq!(units(3, 1, 2, 0).tab(OrderState::Paid), OrderTab::AfterSale);
        assert_eq!(units(3, 3, 0, 0).tab(OrderState::Paid), OrderTab::Redeemed);
        assert_eq!(units(3, 2, 0, 0).tab(OrderState::Paid), OrderTab::ToRedeem);
    }
}
