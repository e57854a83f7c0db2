//! The ledger: every movement of money is one immutable transfer from a credit account to a debit account, so it
//! balances by construction. `hexiao verify` recomputes the accounts from what happened.
//!
//! Identity, for each merchant: paid = earned + pending + breakage + refunded + refund in transit + liabilities + suspense.

use crate::money::Money;
use crate::state::text_enum;

text_enum! {
    /// Accounts of a merchant.
    pub enum Account {
        /// What WeChat holds for us.
        WechatReceivable = "wechat_receivable",
        /// WeChat's fee.
        WechatFee = "wechat_fee",
        /// Paid and not redeemed: owed to the customer.
        CustomerLiability = "customer_liability",
        /// Paid and not delivered.
        DeliveryLiability = "delivery_liability",
        /// Redeemed, can still be undone.
        MerchantPending = "merchant_pending",
        /// Earned.
        MerchantEarned = "merchant_earned",
        /// The platform's share.
        PlatformCommission = "platform_commission",
        /// On its way back to a customer.
        RefundInTransit = "refund_in_transit",
        /// Late or mismatched money.
        Suspense = "suspense",
        /// Our own promotions.
        PromotionCost = "promotion_cost",
        /// Expired without refund.
        Breakage = "breakage",
        /// Owed to others, also refunds paid outside WeChat.
        Payable = "payable",
        /// Prepaid principal.
        StoredValuePrincipal = "stored_value_principal",
        /// Prepaid bonus.
        StoredValueBonus = "stored_value_bonus",
        /// Between the store that sold and the store that redeemed.
        StoreClearing = "store_clearing",
    }
}

text_enum! {
    /// What moved money.
    pub enum LedgerEvent {
        /// A payment settled.
        Payment = "payment",
        /// A payment settled after its order had closed.
        LatePayment = "late_payment",
        /// Uses were redeemed.
        Redemption = "redemption",
        /// A redemption was undone.
        Reversal = "reversal",
        /// Revenue was earned.
        Maturity = "maturity",
        /// A refund left for the customer.
        RefundSubmitted = "refund_submitted",
        /// A refund of late money left for the customer.
        LateRefundSubmitted = "late_refund_submitted",
        /// The customer has the money.
        RefundSucceeded = "refund_succeeded",
        /// The refund was paid outside WeChat.
        RefundPaidManually = "refund_paid_manually",
        /// Uses expired without refund.
        Expiry = "expiry",
        /// A statement was paid out.
        Payout = "payout",
        /// Taken back by review.
        Clawback = "clawback",
    }
}

/// One movement: `debit` grows, `credit` shrinks (or owes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// What happened.
    pub event: LedgerEvent,
    /// Where the value arrives.
    pub debit: Account,
    /// Where it comes from.
    pub credit: Account,
    /// How much; > 0.
    pub amount: Money,
}

/// The accounts that an event moves value between.
pub const fn accounts(event: LedgerEvent) -> (Account, Account) {
    use Account as A;
    use LedgerEvent as E;
    match event {
        E::Payment => (A::WechatReceivable, A::CustomerLiability),
        E::LatePayment => (A::WechatReceivable, A::Suspense),
        E::Redemption => (A::CustomerLiability, A::MerchantPending),
        E::Reversal => (A::MerchantPending, A::CustomerLiability),
        E::Maturity => (A::MerchantPending, A::MerchantEarned),
        E::RefundSubmitted => (A::CustomerLiability, A::RefundInTransit),
        E::LateRefundSubmitted => (A::Suspense, A::RefundInTransit),
        E::RefundSucceeded => (A::RefundInTransit, A::WechatReceivable),
        E::RefundPaidManually => (A::RefundInTransit, A::Payable),
        E::Expiry => (A::CustomerLiability, A::Breakage),
        E::Payout => (A::MerchantEarned, A::WechatReceivable),
        E::Clawback => (A::MerchantEarned, A::CustomerLiability),
    }
}

/// The transfer of an event; none for an amount of zero, which moves nothing.
pub fn transfer(event: LedgerEvent, amount: Money) -> Option<Transfer> {
    let (debit, credit) = accounts(event);
    (amount > Money::ZERO).then_some(Transfer { event, debit, credit, amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_movements() {
        let mut table = String::new();
        for event in LedgerEvent::ALL {
            let (debit, credit) = accounts(*event);
            assert_ne!(debit, credit);
            table.push_str(&format!("{event:?}: {debit} <- {credit}\n"));
        }
        insta::assert_snapshot!(table);
        assert_eq!(transfer(LedgerEvent::Payment, Money::ZERO), None);
    }
}
