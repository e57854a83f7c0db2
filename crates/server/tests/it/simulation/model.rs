//! What should be true, in the simplest words: sets of serials and sums of fen.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};

/// A kind of card.
#[derive(Debug, Clone)]
pub struct Card {
    pub sku: String,
    pub uses: u32,
    pub price_fen: i64,
    /// What is not used in time goes back; else it is lost.
    pub back_at_end: bool,
}

/// An order.
#[derive(Debug)]
pub struct Order {
    pub id: String,
    pub customer: usize,
    pub card: usize,
    pub quantity: u32,
    /// The last payment sheet that was answered.
    pub sheet: Option<serde_json::Value>,
    /// The customer's money is at WeChat.
    pub paid: bool,
    /// The server agreed to close it.
    pub closed: bool,
    /// Its vouchers, once the customer saw them.
    pub vouchers: Vec<Voucher>,
    /// What its refunds sum up to.
    pub refunded_fen: i64,
}

/// A voucher.
#[derive(Debug)]
pub struct Voucher {
    pub id: String,
    pub uses: u32,
    pub price_fen: i64,
    pub valid_to: DateTime<Utc>,
    pub used: BTreeSet<u32>,
    /// Given back, or about to be.
    pub refunded: BTreeSet<u32>,
    /// Lost when its time was over.
    pub forfeited: BTreeSet<u32>,
    pub back_at_end: bool,
    pub undone: u32,
}

/// A redemption.
#[derive(Debug)]
pub struct Redemption {
    pub id: String,
    /// Order and voucher.
    pub of: (usize, usize),
    pub serials: Vec<u32>,
    pub verifier: usize,
    pub at: DateTime<Utc>,
    pub undone: bool,
}

/// What an undo must come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Undo {
    Succeeds,
    Refused(&'static [&'static str]),
    /// Close to the border of a business day, where the model is too simple to tell.
    Either,
}

impl Voucher {
    fn free(&self) -> Vec<u32> {
        let taken =
            |s: &u32| self.used.contains(s) || self.refunded.contains(s) || self.forfeited.contains(s);
        (1..=self.uses).filter(|s| !taken(s)).collect()
    }

    /// The uses that redeeming takes: the lowest.
    pub fn lowest(&self, quantity: u32) -> Option<Vec<u32>> {
        let free = self.free();
        let quantity = usize::try_from(quantity).unwrap();
        (quantity <= free.len()).then(|| free[..quantity].to_vec())
    }

    /// The uses that a refund takes: the highest.
    pub fn highest(&self, quantity: u32) -> Option<Vec<u32>> {
        let free = self.free();
        let quantity = usize::try_from(quantity).unwrap();
        (quantity <= free.len()).then(|| free[free.len() - quantity..].to_vec())
    }

    /// What is left when its time is over goes back or is lost; what goes back.
    pub fn expire(&mut self, now: DateTime<Utc>) -> i64 {
        if now < self.valid_to {
            return 0;
        }
        let free = self.free();
        if self.back_at_end {
            self.refunded.extend(&free);
            return self.worth(&free);
        }
        self.forfeited.extend(&free);
        0
    }

    /// How many uses are left.
    pub fn left(&self) -> u32 {
        u32::try_from(self.free().len()).unwrap()
    }

    /// What uses are worth: each the difference of two rounded parts of the whole, so that all are the whole.
    pub fn worth(&self, serials: &[u32]) -> i64 {
        let part = |n: u32| self.price_fen * i64::from(n) / i64::from(self.uses);
        serials.iter().map(|s| part(*s) - part(*s - 1)).sum()
    }

    /// The codes with which redeeming so many must be refused; nothing when it must succeed.
    pub fn refusal(&self, quantity: u32, now: DateTime<Utc>) -> Option<&'static [&'static str]> {
        const GONE: &[&str] = &["used_up", "refund_pending", "refunded"];
        const GONE_OR_EXPIRED: &[&str] =
            &["used_up", "refund_pending", "refunded", "not_enough_uses", "expired"];
        match self.left() {
            _ if now >= self.valid_to => Some(GONE_OR_EXPIRED),
            0 => Some(GONE),
            left if left < quantity => Some(&["not_enough_uses"]),
            _ => None,
        }
    }
}

impl Redemption {
    /// What undoing it must come to; `undone` is how often its voucher's uses were undone.
    pub fn undo(&self, by_manager: bool, undone: u32, now: DateTime<Utc>) -> Undo {
        let age = now - self.at;
        if self.undone {
            return Undo::Refused(&["already_reversed"]);
        }
        if by_manager && age >= Duration::hours(24) && age < Duration::hours(49) {
            return Undo::Either;
        }
        if age >= Duration::hours(49) {
            return Undo::Refused(&["undo_settled", "undo_window_passed"]);
        }
        if undone >= 10 {
            return Undo::Refused(&["undo_cycles_exceeded", "undo_settled", "undo_window_passed"]);
        }
        if !by_manager && age >= Duration::minutes(10) {
            return Undo::Refused(&["undo_window_passed", "undo_settled"]);
        }
        Undo::Succeeds
    }
}
