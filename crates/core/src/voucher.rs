//! Vouchers: the counters that account for every use, and which serials are free.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::state::text_enum;

text_enum! {
    /// The stored state of a voucher; *active, used up, locked, refunded* follow from the counters.
    pub enum VoucherState {
        /// Paid, waiting for its group-buy.
        PendingIssue = "PendingIssue",
        /// Issued.
        Live = "Live",
        /// Stopped by risk control.
        Frozen = "Frozen",
        /// Offered to somebody else.
        Transferring = "Transferring",
        /// Taken by somebody else.
        Transferred = "Transferred",
        /// Its unlocked uses expired.
        Expired = "Expired",
    }
}

text_enum! {
    /// Who keeps uses of a voucher.
    pub enum LockKind {
        /// A refund.
        Refund = "refund",
        /// A booking.
        Booking = "booking",
        /// Their time was over and the rule refunds nothing: they are forfeited.
        Expiry = "expiry",
    }
}

text_enum! {
    /// What became of a lock.
    pub enum LockState {
        /// It holds its uses.
        Active = "Active",
        /// Its uses are gone: refunded, or redeemed by the booking.
        Consumed = "Consumed",
        /// Its uses are free again.
        Released = "Released",
    }
}

text_enum! {
    /// The state of one use.
    pub enum UseState {
        /// Redeemed; can be undone until it matures.
        Done = "Done",
        /// Undone; its serial is free again.
        Reversed = "Reversed",
        /// Its revenue is earned.
        Matured = "Matured",
        /// It is in a statement.
        Settled = "Settled",
        /// Taken back by review.
        ClawedBack = "ClawedBack",
    }
}

/// Where all uses of a voucher are. All ≥ 0, and their sum without `total` is at most `total`: the database says
/// the same in a CHECK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Uses bought.
    pub total: u32,
    /// Redeemed.
    pub used: u32,
    /// Kept by refunds.
    pub locked_refund: u32,
    /// Kept by bookings.
    pub locked_booking: u32,
    /// Refunded.
    pub refunded: u32,
    /// Given away.
    pub transferred: u32,
    /// Expired without refund.
    pub forfeited: u32,
}

impl Counters {
    /// Uses that can be redeemed, refunded or locked now.
    pub fn free(self) -> u32 {
        self.total.saturating_sub(self.taken())
    }

    /// Uses that are gone or kept by somebody.
    pub fn taken(self) -> u32 {
        self.used
            + self.locked_refund
            + self.locked_booking
            + self.refunded
            + self.transferred
            + self.forfeited
    }
}

text_enum! {
    /// What a customer sees of a voucher.
    pub enum VoucherStatus {
        /// 可使用
        Usable = "usable",
        /// 退款中: nothing else is left.
        Refunding = "refunding",
        /// 已核销
        Used = "used",
        /// 已退款
        Refunded = "refunded",
        /// 已过期
        Expired = "expired",
        /// 待成团
        Pending = "pending",
        /// 已冻结
        Frozen = "frozen",
        /// 转赠中
        Transferring = "transferring",
        /// 已转赠
        Transferred = "transferred",
    }
}

/// The status of a voucher at an instant, from its state and counters alone.
pub fn voucher_status(state: VoucherState, counters: Counters, expired_by_time: bool) -> VoucherStatus {
    match state {
        VoucherState::PendingIssue => VoucherStatus::Pending,
        VoucherState::Frozen => VoucherStatus::Frozen,
        VoucherState::Transferring => VoucherStatus::Transferring,
        VoucherState::Transferred => VoucherStatus::Transferred,
        VoucherState::Live | VoucherState::Expired => {
            let expired = expired_by_time || state == VoucherState::Expired;
            if counters.locked_refund > 0 && counters.free() == 0 {
                VoucherStatus::Refunding
            } else if counters.free() + counters.locked_booking > 0 {
                if expired { VoucherStatus::Expired } else { VoucherStatus::Usable }
            } else if counters.forfeited > 0 {
                VoucherStatus::Expired
            } else if counters.used > 0 {
                VoucherStatus::Used
            } else if counters.refunded > 0 {
                VoucherStatus::Refunded
            } else {
                VoucherStatus::Expired
            }
        }
    }
}

/// The lowest `quantity` free serials, for a redemption; `None` when there are fewer.
pub fn lowest_free(total: u32, taken: &BTreeSet<u32>, quantity: u32) -> Option<Vec<u32>> {
    take(1..=total, taken, quantity)
}

/// The highest `quantity` free serials, for a refund, in ascending order; `None` when there are fewer.
pub fn highest_free(total: u32, taken: &BTreeSet<u32>, quantity: u32) -> Option<Vec<u32>> {
    let mut serials = take((1..=total).rev(), taken, quantity)?;
    serials.reverse();
    Some(serials)
}

fn take(candidates: impl Iterator<Item = u32>, taken: &BTreeSet<u32>, quantity: u32) -> Option<Vec<u32>> {
    let wanted = usize::try_from(quantity).ok()?;
    let serials: Vec<u32> = candidates.filter(|s| !taken.contains(s)).take(wanted).collect();
    (serials.len() == wanted).then_some(serials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redeeming_takes_low_serials_and_refunding_high_ones() {
        let taken = BTreeSet::from([1, 4]);
        assert_eq!(lowest_free(5, &taken, 2), Some(vec![2, 3]));
        assert_eq!(highest_free(5, &taken, 2), Some(vec![3, 5]));
        assert_eq!(lowest_free(5, &taken, 4), None);
        assert_eq!(highest_free(5, &taken, 0), Some(vec![]));
    }

    #[test]
    fn status_follows_the_counters() {
        let c = |total, used, locked_refund, refunded| Counters {
            total,
            used,
            locked_refund,
            refunded,
            ..Counters::default()
        };
        let status = |c, late| voucher_status(VoucherState::Live, c, late);
        assert_eq!(status(c(3, 1, 0, 0), false), VoucherStatus::Usable);
        assert_eq!(status(c(3, 1, 0, 0), true), VoucherStatus::Expired);
        assert_eq!(status(c(3, 1, 2, 0), false), VoucherStatus::Refunding);
        assert_eq!(status(c(3, 1, 1, 0), false), VoucherStatus::Usable);
        assert_eq!(status(c(3, 1, 0, 2), false), VoucherStatus::Used);
        assert_eq!(status(c(3, 0, 0, 3), true), VoucherStatus::Refunded);
        let forfeited = Counters { forfeited: 2, ..c(3, 1, 0, 0) };
        assert_eq!(voucher_status(VoucherState::Expired, forfeited, true), VoucherStatus::Expired);
        // Its time is over, but nothing was left to expire.
        assert_eq!(voucher_status(VoucherState::Expired, c(3, 3, 0, 0), true), VoucherStatus::Used);
        assert_eq!(voucher_status(VoucherState::Expired, c(3, 1, 2, 0), true), VoucherStatus::Refunding);
    }
}
