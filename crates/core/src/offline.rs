//! Offline redemption 离线核销: what a registered device redeemed without a network and signed. By then the goods are
//! handed over, so the question is not whether it may be, but what it was: right, against a rule, or a use that
//! somebody else has taken.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use chrono::Duration;
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::id::{DeviceId, StoreId};
use crate::money::Money;
use crate::order::OrderState;
use crate::reason::{Reason, Refusal};
use crate::redeem::{Allowed, StoreFacts, VoucherFacts, check_acknowledged, decide};
use crate::refund::uses_worth;
use crate::state::text_enum;
use crate::time::Timestamp;
use crate::voucher::{VoucherState, lowest_free};

/// Entries of one upload.
pub const MAX_ENTRIES: usize = 100;
/// The highest number of an entry.
pub const MAX_SEQ: i64 = 1_000_000_000;
/// The most uses of one entry.
pub const MAX_QUANTITY: u32 = 1000;
/// How long ago an entry may have happened.
pub const MAX_AGE_HOURS: i64 = 72;
/// How far ahead of us an entry may be, by a clock that is a little fast.
pub const MAX_AHEAD_MINUTES: i64 = 5;
/// The period over which a device's entries add up to its limits.
pub const LIMIT_HOURS: i64 = 24;
/// The highest limits (uses, and amount in fen) that can be set.
pub const MAX_LIMITS: (u32, i64) = (10_000, 10_000_000_000);

text_enum! {
    /// What became of an entry.
    pub enum OfflineVerdict {
        /// Redeemed; the rules allowed it.
        Accepted = "accepted",
        /// Redeemed although a rule would have refused: the customer has the goods, and the uses were free.
        Forced = "accepted_forced",
        /// Not redeemed: the uses were not free any more.
        Conflict = "conflict",
        /// Not redeemed, because it can never be right.
        Rejected = "rejected",
    }
}

text_enum! {
    /// Why a person has to look.
    pub enum ExceptionKind {
        /// An entry was redeemed against a rule.
        Forced = "offline_forced",
        /// The uses of an entry were not free any more.
        Conflict = "offline_conflict",
        /// An entry can never be right.
        Rejected = "offline_rejected",
        /// Entries of a device never came.
        Gap = "offline_gap",
        /// A number was used again for another entry.
        Altered = "offline_altered",
    }
}

text_enum! {
    /// Whether somebody has looked.
    pub enum ExceptionState {
        /// Not yet.
        Open = "Open",
        /// It is settled.
        Resolved = "Resolved",
    }
}

text_enum! {
    /// What was done about it.
    pub enum ExceptionOutcome {
        /// Nothing had to be.
        Fine = "fine",
        /// It was settled with the customer.
        Settled = "settled",
        /// It was recorded in another way.
        Corrected = "corrected",
        /// The merchant bears it.
        WrittenOff = "written_off",
    }
}

/// What one device may redeem offline within a day of what nobody booked; zero uses or amount: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflinePolicy {
    /// Uses.
    pub uses: u32,
    /// Their worth.
    pub amount: Money,
}

impl OfflinePolicy {
    /// Whether so much is too much.
    pub fn exceeded(self, uses: i64, amount: Money) -> bool {
        uses > i64::from(self.uses) || amount > self.amount
    }
}

/// What a device signs.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Which device.
    pub device: DeviceId,
    /// Where.
    pub store: StoreId,
    /// Its number on the device, from 1 without gaps.
    pub seq: i64,
    /// The ticket that was scanned.
    pub ticket: &'a str,
    /// Uses.
    pub quantity: u32,
    /// When, by the device's clock.
    pub occurred_at: Timestamp,
    /// Random.
    pub nonce: &'a str,
}

impl Signed<'_> {
    /// The text whose UTF-8 is signed: a line each, the instant in milliseconds since 1970.
    pub fn text(&self) -> String {
        let Self { device, store, seq, ticket, quantity, occurred_at, nonce } = self;
        let millis = occurred_at.micros().div_euclid(1000);
        format!("hexiao-offline-v1\n{device}\n{store}\n{seq}\n{ticket}\n{quantity}\n{millis}\n{nonce}")
    }

    /// Whether the device's key made this signature.
    pub fn verify(&self, public_key: [u8; 32], signature: &[u8]) -> bool {
        ParsedPublicKey::new(&ED25519, public_key)
            .is_ok_and(|key| key.verify_sig(self.text().as_bytes(), signature).is_ok())
    }
}

/// Reads a signature: 128 hexadecimal digits.
pub fn parse_signature(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|bytes| bytes.len() == 64)
}

/// When an entry happened by our clock: the device's is corrected by how far it was off when it sent.
pub fn instant(occurred_at: Timestamp, skew: Duration, now: Timestamp) -> Result<Timestamp, Refusal> {
    let at = occurred_at.plus(skew);
    if at > now.plus(Duration::minutes(MAX_AHEAD_MINUTES)) {
        return Err(Refusal::field("occurred_at", "核销时间晚于现在，请校准设备时间"));
    }
    if now.since(at) > Duration::hours(MAX_AGE_HOURS) {
        let text = format!("离线核销已超过 {MAX_AGE_HOURS} 小时，请店长处理");
        return Err(Refusal::with_message(Reason::ApprovalRequired, text));
    }
    Ok(at.min(now))
}

/// What an entry was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// Right.
    Accepted(Allowed),
    /// Against a rule, with free uses.
    Forced(Allowed, Refusal),
    /// The uses are not free.
    Conflict(Refusal),
}

/// Judges `quantity` uses as it was at an instant. That the store rests now says nothing of then, and a second use
/// shortly after another is one that somebody has to look at.
pub fn decide_offline(v: &VoucherFacts, store: StoreFacts, at: Timestamp, quantity: u32) -> Judged {
    match decide(v, StoreFacts { resting: false, ..store }, at, quantity) {
        Ok(allowed) => match check_acknowledged(&allowed, &[]) {
            Ok(()) => Judged::Accepted(allowed),
            Err(refusal) => Judged::Forced(allowed, refusal),
        },
        Err(refusal) => match free(v, quantity) {
            Some(allowed) => Judged::Forced(allowed, refusal),
            None => Judged::Conflict(refusal),
        },
    }
}

/// The lowest free uses, whatever the rule says of place and time.
fn free(v: &VoucherFacts, quantity: u32) -> Option<Allowed> {
    let usable = v.order_state == OrderState::Paid && v.state == VoucherState::Live;
    if !usable || quantity == 0 || quantity > v.counters.free() {
        return None;
    }
    let serials = lowest_free(v.counters.total, &v.taken, quantity)?;
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    Some(Allowed { serials, amount, attention: Vec::new(), booked: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::Id as _;
    use crate::redeem::RecentUse;
    use crate::rule::{Binding, RedemptionRule, RefundPolicy, StoreSet, Validity};
    use crate::time::BusinessDay;
    use crate::voucher::Counters;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn store(n: u128) -> StoreFacts {
        let store_id = StoreId::from_uuid(uuid::Uuid::from_u128(n));
        StoreFacts { store_id, in_use: true, resting: true, day: BusinessDay::default() }
    }

    fn voucher() -> VoucherFacts {
        let rule: RedemptionRule = RedemptionRule {
            uses: 3,
            validity: Validity::FromPayment { days: 30 },
            usable: Vec::new(),
            blackout_dates: Vec::new(),
            min_interval_minutes: 0,
            daily_cap: None,
            min_quantity: 1,
            max_quantity: None,
            stores: StoreSet::All,
            binding: Binding::ChosenStore,
            refund: RefundPolicy::None,
            on_expiry: None,
            zone: chrono_tz::Asia::Shanghai,
            booking: crate::rule::BookingRule::None,
        };
        VoucherFacts {
            state: VoucherState::Live,
            counters: Counters { total: 3, used: 1, ..Counters::default() },
            order_state: OrderState::Paid,
            chosen_store: store(1).store_id,
            chosen_store_name: "一店".to_owned(),
            valid_from: at("2026-11-01T00:00:00+08:00"),
            valid_to: at("2026-12-01T00:00:00+08:00"),
            rule,
            amount: Money::fen(300),
            taken: BTreeSet::from([1]),
            recent: vec![RecentUse { at: at("2026-11-10T10:00:00+08:00"), store_id: store(1).store_id }],
            bookings: Vec::new(),
        }
    }

    fn said(judged: &Judged) -> String {
        match judged {
            Judged::Accepted(a) => format!("accepted {:?}", a.serials),
            Judged::Forced(a, r) => format!("forced {:?} {}", a.serials, r.reason.code()),
            Judged::Conflict(r) => format!("conflict {}", r.reason.code()),
        }
    }

    #[test]
    fn what_an_entry_was() {
        let noon = at("2026-11-20T12:00:00+08:00");
        let judge = |v: &VoucherFacts, place, when, n| said(&decide_offline(v, store(place), when, n));
        let v = voucher();
        assert_eq!(judge(&v, 1, noon, 2), "accepted [2, 3]");
        assert_eq!(judge(&v, 1, noon, 3), "conflict not_enough_uses");
        assert_eq!(judge(&v, 1, noon, 0), "conflict not_enough_uses");
        assert_eq!(judge(&v, 2, noon, 1), "forced [2] wrong_store");
        assert_eq!(judge(&v, 1, at("2026-12-02T12:00:00+08:00"), 1), "forced [2] expired");
        assert_eq!(judge(&v, 1, at("2026-11-10T10:01:00+08:00"), 1), "forced [2] acknowledge_required");
        let with = |change: &dyn Fn(&mut VoucherFacts)| {
            let mut v = voucher();
            change(&mut v);
            judge(&v, 1, noon, 1)
        };
        assert_eq!(with(&|v| v.state = VoucherState::Frozen), "conflict frozen");
        assert_eq!(with(&|v| v.order_state = OrderState::Refunding), "conflict refund_pending");
        assert_eq!(with(&|v| v.counters.used = 3), "conflict used_up");
        assert_eq!(with(&|v| v.counters.refunded = 2), "conflict used_up");
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_within_bounds() {
        let now = at("2026-11-20T12:00:00+08:00");
        let minutes = Duration::minutes;
        assert_eq!(instant(now.minus(minutes(30)), minutes(0), now), Ok(now.minus(minutes(30))));
        // An hour slow.
        assert_eq!(instant(now.minus(minutes(70)), minutes(60), now), Ok(now.minus(minutes(10))));
        assert_eq!(instant(now.plus(minutes(5)), minutes(0), now), Ok(now));
        assert!(instant(now.plus(minutes(6)), minutes(0), now).is_err());
        assert!(instant(now.minus(Duration::hours(72)), minutes(0), now).is_ok());
        assert!(instant(now.minus(Duration::hours(73)), minutes(0), now).is_err());
    }

    /// The text is a published format: devices sign it.
    #[test]
    fn the_signed_text_does_not_change() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
        let signed = Signed {
            device: DeviceId::from_uuid(uuid::Uuid::from_u128(1)),
            store: StoreId::from_uuid(uuid::Uuid::from_u128(2)),
            seq: 7,
            ticket: "HX1ABC",
            quantity: 2,
            occurred_at: at("2026-11-20T12:00:00.123+08:00"),
            nonce: "n",
        };
        let text = "hexiao-offline-v1\ndev_00000000000000000000000001\nstr_00000000000000000000000002\n7\nHX1ABC\n2\n1795147200123\nn";
        assert_eq!(signed.text(), text);
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let public: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        let signature = key.sign(text.as_bytes());
        assert!(signed.verify(public, signature.as_ref()));
        assert!(!Signed { seq: 8, ..signed }.verify(public, signature.as_ref()));
        assert!(!signed.verify(public, &[]));
    }
}
