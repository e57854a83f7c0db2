//! The redemption rule of a SKU: when, where and how its vouchers can be used and refunded.
//!
//! A rule is immutable and addressed by its content: a voucher keeps the id of the rule that was in force when it
//! was paid, so a later edit of the product never changes what a customer bought.

use std::ops::Range;

use chrono::{Duration, NaiveDate, NaiveTime, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::expiry::ExpiryPolicy;
use crate::hours::{self, SEARCH_DAYS, Weekday};
use crate::id::StoreId;
use crate::reason::FieldError;
use crate::state::text_enum;
use crate::time::{BusinessDay, Timestamp};

/// A refund must be asked within WeChat's 365 days, so a refundable voucher lives no longer than this.
pub const MAX_REFUNDABLE_DAYS: u32 = 350;
/// Default validity (product rule 4).
pub const DEFAULT_VALID_DAYS: u32 = 30;
/// The most uses one voucher may have.
pub const MAX_USES: u32 = 1_000;

/// When a voucher is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Validity {
    /// From payment, so many days: to the end of the last day.
    FromPayment {
        /// 1–3650.
        days: u32,
    },
    /// From the first use, so many days: to the end of the last day. Until then it can be begun for a while.
    FromActivation {
        /// 1–3650.
        days: u32,
        /// Days after the payment within which the first use must be; 1–3650.
        activate_within_days: u32,
    },
    /// Between two dates, both included.
    Fixed {
        /// First day.
        from: NaiveDate,
        /// Last day.
        to: NaiveDate,
    },
}

impl Default for Validity {
    fn default() -> Self {
        Self::FromPayment { days: DEFAULT_VALID_DAYS }
    }
}

/// A weekly window in which a voucher can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsableWindow {
    /// 1 = Monday … 7 = Sunday.
    pub weekdays: Vec<u8>,
    /// `HH:MM`.
    #[serde(with = "hhmm")]
    pub from: NaiveTime,
    /// `HH:MM`; at or before `from` means the next day.
    #[serde(with = "hhmm")]
    pub to: NaiveTime,
}

text_enum! {
    /// Which of the eligible stores redeem a voucher.
    pub enum Binding {
        /// Only the store chosen at purchase.
        ChosenStore = "chosen_store",
        /// Any store in scope.
        AnyInScope = "any_in_scope",
    }
}

text_enum! {
    /// Whether unused uses can be refunded by the customer.
    pub enum RefundPolicy {
        /// 随时退
        AnyTime = "any_time",
        /// 过期前可退
        BeforeExpiry = "before_expiry",
        /// 不可退, shown as such before the purchase.
        None = "none",
    }
}

text_enum! {
    /// Whether a voucher is used at a booked time.
    pub enum BookingRule {
        /// Without a booking.
        None = "none",
        /// With one, and only in its store and time.
        Required = "required",
    }
}

impl BookingRule {
    /// Rules without bookings keep the text, and so the id, that they had before there were bookings.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

const fn no_booking() -> BookingRule {
    BookingRule::None
}

/// The stores of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreSet {
    /// All stores of the merchant, also those that open later.
    All,
    /// These.
    Only(Vec<StoreId>),
    /// All but these, also those that open later.
    Except(Vec<StoreId>),
}

impl StoreSet {
    /// Whether a store belongs to it.
    pub fn contains(&self, store_id: StoreId) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&store_id),
            Self::Except(ids) => !ids.contains(&store_id),
        }
    }

    /// Whether a store that opens later belongs to it.
    pub const fn open_ended(&self) -> bool {
        match self {
            Self::All | Self::Except(_) => true,
            Self::Only(_) => false,
        }
    }

    /// The stores it names: those that belong to it, or those that don't.
    pub fn named(&self) -> &[StoreId] {
        match self {
            Self::All => &[],
            Self::Only(ids) | Self::Except(ids) => ids,
        }
    }
}

/// The whole rule, as it is snapshotted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedemptionRule {
    /// Uses of one unit.
    pub uses: u32,
    /// When.
    pub validity: Validity,
    /// Weekly windows; none = any time.
    #[serde(default)]
    pub usable: Vec<UsableWindow>,
    /// Days on which it cannot be used.
    #[serde(default)]
    pub blackout_dates: Vec<NaiveDate>,
    /// Minutes between two redemptions of a voucher; 0 = none.
    #[serde(default)]
    pub min_interval_minutes: u32,
    /// Uses of a voucher on one day.
    #[serde(default)]
    pub daily_cap: Option<u32>,
    /// The least number of uses in one redemption.
    #[serde(default = "one")]
    pub min_quantity: u32,
    /// The most uses in one redemption.
    #[serde(default)]
    pub max_quantity: Option<u32>,
    /// Where.
    pub stores: StoreSet,
    /// Which of them.
    pub binding: Binding,
    /// Refunds.
    pub refund: RefundPolicy,
    /// What becomes of unused uses at the end, where the refund policy does not say it already: see
    /// [`RedemptionRule::expiry_policy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<ExpiryPolicy>,
    /// Zone in which its days of validity begin and end. Windows and days of use are those of the store.
    pub zone: Tz,
    /// Whether it is used at a booked time.
    #[serde(default = "no_booking", skip_serializing_if = "BookingRule::is_none")]
    pub booking: BookingRule,
}

/// What the weekly windows and the blackout dates say of an instant at a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It can be used.
    Usable,
    /// It is a day on which it cannot be used.
    BlackedOut,
    /// No window is open.
    OutsideHours,
}

const fn one() -> u32 {
    1
}

impl RedemptionRule {
    /// What is wrong with the rule, as problems of the fields under `path`.
    pub fn problems(&self, path: &str) -> Vec<FieldError> {
        let mut out = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            out.push(FieldError { path: format!("{path}{field}"), message: message.to_owned() });
        };
        if self.uses == 0 || self.uses > MAX_USES {
            wrong("uses", "次数应为 1–1000");
        }
        match &self.validity {
            Validity::FromPayment { days } if *days == 0 || *days > 3650 => {
                wrong("validity.days", "有效天数应为 1–3650");
            }
            Validity::FromPayment { days } if self.may_refund() && *days > MAX_REFUNDABLE_DAYS => {
                wrong("validity.days", "可退款的商品有效期最长 350 天（微信只支持一年内退款）");
            }
            Validity::FromActivation { days, activate_within_days }
                if !(1..=3650).contains(days) || !(1..=3650).contains(activate_within_days) =>
            {
                wrong("validity.days", "有效天数和激活期限应为 1–3650");
            }
            Validity::FromActivation { days, activate_within_days }
                if self.may_refund() && days + activate_within_days > MAX_REFUNDABLE_DAYS =>
            {
                wrong(
                    "validity.activate_within_days",
                    "可退款的商品，激活期限与有效天数之和最长 350 天（微信只支持一年内退款）",
                );
            }
            Validity::Fixed { from, to } if from > to => wrong("validity.to", "结束日期不能早于开始日期"),
            Validity::FromPayment { .. } | Validity::FromActivation { .. } | Validity::Fixed { .. } => {}
        }
        if self.refund == RefundPolicy::AnyTime && self.expiry_policy() == ExpiryPolicy::Forfeit {
            wrong("on_expiry", "随时退的商品过期后自动退款；要过期作废，请选择过期前可退或不可退");
        }
        if self.usable.len() > 21 {
            wrong("usable", "可用时段最多 21 个");
        }
        if self
            .usable
            .iter()
            .any(|w| w.weekdays.is_empty() || w.weekdays.iter().any(|d| !(1..=7).contains(d)))
        {
            wrong("usable", "星期应为 1–7（周一至周日）");
        }
        if self.blackout_dates.len() > 366 {
            wrong("blackout_dates", "不可用日期最多 366 个");
        }
        if self.min_quantity == 0 || self.min_quantity > self.uses {
            wrong("min_quantity", "单次最少次数应为 1 到总次数之间");
        }
        if self.daily_cap.is_some_and(|cap| cap == 0 || cap < self.min_quantity) {
            wrong("daily_cap", "每日上限不能小于单次最少次数");
        }
        if self.max_quantity.is_some_and(|most| most < self.min_quantity || most > MAX_USES) {
            wrong("max_quantity", "单次最多次数不能小于单次最少次数，最大 1000");
        }
        match &self.stores {
            StoreSet::Only(ids) if ids.is_empty() || ids.len() > 2_000 => {
                wrong("store_ids", "适用门店应为 1–2000 家");
            }
            StoreSet::Except(ids) if ids.is_empty() || ids.len() > 2_000 => {
                wrong("except_store_ids", "不适用门店应为 1–2000 家");
            }
            StoreSet::All | StoreSet::Only(_) | StoreSet::Except(_) => {}
        }
        out
    }

    /// The instants between which a voucher paid at `paid_at` is valid: `from` included, `to` excluded. One that runs
    /// from its first use has until `to` to be used for the first time.
    pub fn validity_from(&self, paid_at: Timestamp) -> (Timestamp, Timestamp) {
        match &self.validity {
            Validity::FromPayment { days } | Validity::FromActivation { activate_within_days: days, .. } => {
                (paid_at, self.end_of_day_after(paid_at, *days))
            }
            Validity::Fixed { from, to } => (self.day_start(*from), self.day_start(*to + Duration::days(1))),
        }
    }

    /// Until when a voucher is valid (excluded) that runs from its first use, by the first of its uses that stands;
    /// `None` when the rule says something else, and the validity never changes.
    pub fn valid_to_by_use(&self, paid_at: Timestamp, first_use: Option<Timestamp>) -> Option<Timestamp> {
        match &self.validity {
            Validity::FromActivation { days, .. } => Some(match first_use {
                Some(at) => self.end_of_day_after(at, *days),
                None => self.validity_from(paid_at).1,
            }),
            Validity::FromPayment { .. } | Validity::Fixed { .. } => None,
        }
    }

    /// The last instant (excluded) to which a voucher can ever become valid: what its signed ticket says, which must
    /// not change when the first use starts the clock.
    pub fn latest_valid_to(&self, paid_at: Timestamp) -> Timestamp {
        match &self.validity {
            Validity::FromActivation { days, activate_within_days } => {
                self.end_of_day_after(paid_at, days.saturating_add(*activate_within_days))
            }
            Validity::FromPayment { .. } | Validity::Fixed { .. } => self.validity_from(paid_at).1,
        }
    }

    fn end_of_day_after(&self, at: Timestamp, days: u32) -> Timestamp {
        let day = at.datetime().with_timezone(&self.zone).date_naive();
        self.day_start(day + Duration::days(i64::from(days) + 1))
    }

    /// Midnight in the rule's zone; where clocks skip it, the first instant that exists.
    fn day_start(&self, day: NaiveDate) -> Timestamp {
        Timestamp::from_datetime(hours::local_instant(self.zone, day, 0))
    }

    /// When the windows that begin on a day are open at a store, in their order.
    fn windows_on(&self, date: NaiveDate, zone: Tz) -> Vec<Range<Timestamp>> {
        let at = |minutes: u16| Timestamp::from_datetime(hours::local_instant(zone, date, minutes));
        let weekday = Weekday::of(date).number();
        let open = |w: &UsableWindow| {
            let (from, to) = (minutes(w.from), minutes(w.to));
            at(from)..at(if to > from { to } else { to + 24 * 60 })
        };
        let mut found: Vec<_> =
            self.usable.iter().filter(|w| w.weekdays.contains(&weekday)).map(open).collect();
        found.sort_unstable_by_key(|range| range.start);
        found
    }

    /// What the windows and dates say of an instant at a store that lives by `day`. A window belongs to the day on
    /// which it begins: Friday's night goes on until Saturday 02:00 even if Saturday is blacked out. Without windows
    /// a day is the store's business day.
    pub fn moment(&self, at: Timestamp, day: BusinessDay) -> Moment {
        let blacked_out = |date: NaiveDate| self.blackout_dates.contains(&date);
        let business_date = day.date(at).0;
        if self.usable.is_empty() {
            return if blacked_out(business_date) { Moment::BlackedOut } else { Moment::Usable };
        }
        let today = at.datetime().with_timezone(&day.zone).date_naive();
        let open =
            |date: &NaiveDate| self.windows_on(*date, day.zone).iter().any(|range| range.contains(&at));
        let days: Vec<NaiveDate> =
            [today.pred_opt(), Some(today)].into_iter().flatten().filter(open).collect();
        if days.iter().any(|date| !blacked_out(*date)) {
            Moment::Usable
        } else if days.is_empty() && !blacked_out(business_date) {
            Moment::OutsideHours
        } else {
            Moment::BlackedOut
        }
    }

    /// The stretches of time from `from` on in which windows and dates allow a use, as far as we look ahead.
    pub fn openings(&self, from: Timestamp, day: BusinessDay) -> impl Iterator<Item = Range<Timestamp>> {
        // Yesterday's window may still be open.
        let first = day.date(from).0.pred_opt().unwrap_or(NaiveDate::MIN);
        let days = first.iter_days().take(usize::from(SEARCH_DAYS));
        let allowed = days.filter(|date| !self.blackout_dates.contains(date));
        let open = move |date: NaiveDate| {
            if self.usable.is_empty() {
                return vec![day.start_of(date)..day.start_of(date + Duration::days(1))];
            }
            self.windows_on(date, day.zone)
        };
        allowed.flat_map(open).filter(move |range| range.end > from)
    }

    /// The weekly windows in words: `周一至周五 11:00–14:00`.
    pub fn usable_text(&self) -> String {
        if self.usable.is_empty() {
            return "营业时间内可用".to_owned();
        }
        let part = |w: &UsableWindow| {
            format!("{} {}–{}", weekdays_text(&w.weekdays), w.from.format("%H:%M"), w.to.format("%H:%M"))
        };
        self.usable.iter().map(part).collect::<Vec<_>>().join("，")
    }

    /// The rule in plain words, for product pages: `有效期 30 天`, `随时退` …
    pub fn texts(&self) -> Vec<String> {
        let mut out = vec![match &self.validity {
            Validity::FromPayment { days } => format!("有效期 {days} 天"),
            Validity::FromActivation { days, activate_within_days } => {
                format!("首次使用后 {days} 天内有效，请在购买后 {activate_within_days} 天内首次使用")
            }
            Validity::Fixed { from, to } => format!("{from} 至 {to} 可用"),
        }];
        out.push(
            match self.refund {
                RefundPolicy::AnyTime => "随时退",
                RefundPolicy::BeforeExpiry => "过期前可退",
                RefundPolicy::None => "不可退款",
            }
            .to_owned(),
        );
        out.push(
            match self.expiry_policy() {
                ExpiryPolicy::Refund => "过期自动退",
                ExpiryPolicy::Forfeit => "过期作废",
            }
            .to_owned(),
        );
        if self.uses > 1 {
            out.push(format!("共 {} 次，可分次使用", self.uses));
        }
        if !self.usable.is_empty() {
            out.push(self.usable_text());
        }
        if !self.blackout_dates.is_empty() {
            out.push("部分日期不可用".to_owned());
        }
        if let Some(cap) = self.daily_cap {
            out.push(format!("每天最多 {cap} 次"));
        }
        if self.min_interval_minutes > 0 {
            out.push(format!("两次使用至少间隔 {} 分钟", self.min_interval_minutes));
        }
        if self.min_quantity > 1 {
            out.push(format!("每次至少使用 {} 次", self.min_quantity));
        }
        if let Some(most) = self.max_quantity.filter(|most| *most < self.uses) {
            out.push(format!("每次最多使用 {most} 次"));
        }
        if self.binding == Binding::ChosenStore {
            out.push("限所选门店使用".to_owned());
        }
        if self.booking == BookingRule::Required {
            out.push("需提前预约".to_owned());
        }
        out
    }
}

fn minutes(t: NaiveTime) -> u16 {
    u16::try_from(t.hour() * 60 + t.minute()).unwrap_or(0)
}

/// `周一至周五`, `周六、周日`.
pub fn weekdays_text(days: &[u8]) -> String {
    const NAMES: [&str; 7] = ["周一", "周二", "周三", "周四", "周五", "周六", "周日"];
    let name = |d: u8| NAMES.get(usize::from(d.saturating_sub(1))).copied().unwrap_or("");
    let mut sorted: Vec<u8> = days.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    match sorted.as_slice() {
        [1, 2, 3, 4, 5, 6, 7] => "每天".to_owned(),
        [first, .., last] if sorted.len() > 2 && usize::from(last - first) + 1 == sorted.len() => {
            format!("{}至{}", name(*first), name(*last))
        }
        _ => sorted.iter().map(|d| name(*d)).collect::<Vec<_>>().join("、"),
    }
}

/// `HH:MM` in JSON; `24:00` reads as midnight, which ends a window on the next day.
mod hhmm {
    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(time: &NaiveTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&time.format("%H:%M"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NaiveTime, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        if text == "24:00" {
            return Ok(NaiveTime::MIN);
        }
        if text.len() != 5 {
            return Err(serde::de::Error::custom("expected a time like 09:30"));
        }
        NaiveTime::parse_from_str(&text, "%H:%M")
            .map_err(|_| serde::de::Error::custom("expected a time like 09:30"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn rule() -> RedemptionRule {
        RedemptionRule {
            uses: 3,
            validity: Validity::FromPayment { days: 30 },
            usable: vec![],
            blackout_dates: vec![],
            min_interval_minutes: 0,
            daily_cap: None,
            min_quantity: 1,
            max_quantity: None,
            stores: StoreSet::All,
            binding: Binding::AnyInScope,
            refund: RefundPolicy::AnyTime,
            on_expiry: None,
            zone: Tz::Asia__Shanghai,
            booking: BookingRule::None,
        }
    }

    #[test]
    fn validity_ends_with_the_last_day_in_the_zone() {
        let paid = at("2026-11-23T23:59:59+08:00");
        let (from, to) = rule().validity_from(paid);
        assert_eq!(from, paid);
        assert_eq!(to, at("2026-12-24T00:00:00+08:00"));
        let fixed = RedemptionRule {
            validity: Validity::Fixed {
                from: "2026-10-01".parse().unwrap(),
                to: "2026-10-07".parse().unwrap(),
            },
            ..rule()
        };
        assert_eq!(
            fixed.validity_from(paid),
            (at("2026-10-01T00:00:00+08:00"), at("2026-10-08T00:00:00+08:00"))
        );
    }

    #[test]
    fn validity_from_the_first_use() {
        let rule = RedemptionRule {
            validity: Validity::FromActivation { days: 30, activate_within_days: 90 },
            ..rule()
        };
        let paid = at("2026-11-23T12:00:00+08:00");
        let until = |text: &str| Some(at(text));
        assert_eq!(
            rule.validity_from(paid),
            (paid, at("2027-02-22T00:00:00+08:00")),
            "the 90th day is the last"
        );
        assert_eq!(rule.valid_to_by_use(paid, None), until("2027-02-22T00:00:00+08:00"));
        // The first use starts the clock, on the last evening too; it may shorten or lengthen what there was.
        for (used, ends) in [
            ("2026-11-23T12:00:01+08:00", "2026-12-24T00:00:00+08:00"),
            ("2027-02-21T23:59:59+08:00", "2027-03-24T00:00:00+08:00"),
            // 23:30 in Beijing is the next day in Tokyo: the rule's own zone counts.
            ("2026-12-02T00:30:00+09:00", "2027-01-01T00:00:00+08:00"),
        ] {
            assert_eq!(rule.valid_to_by_use(paid, Some(at(used))), until(ends), "{used}");
            assert!(rule.latest_valid_to(paid) >= at(ends), "{used}");
        }
        assert_eq!(rule.latest_valid_to(paid), at("2027-03-24T00:00:00+08:00"));
        let fixed = super::tests::rule();
        assert_eq!(fixed.valid_to_by_use(paid, Some(paid)), None, "nothing else moves");
        assert_eq!(fixed.latest_valid_to(paid), fixed.validity_from(paid).1);
    }

    fn window(weekdays: &[u8], from: (u32, u32), to: (u32, u32)) -> UsableWindow {
        let time = |(h, m)| NaiveTime::from_hms_opt(h, m, 0).unwrap();
        UsableWindow { weekdays: weekdays.to_vec(), from: time(from), to: time(to) }
    }

    const SHANGHAI: BusinessDay = BusinessDay { zone: Tz::Asia__Shanghai, cutoff_hour: 0 };

    /// 2026-11-27 is a Friday.
    #[test]
    fn windows_dates_and_zones() {
        use Moment::{BlackedOut, OutsideHours, Usable};
        let night = RedemptionRule { usable: vec![window(&[5], (22, 0), (2, 0))], ..rule() };
        let saturday_off =
            RedemptionRule { blackout_dates: vec!["2026-11-28".parse().unwrap()], ..night.clone() };
        let off = RedemptionRule { usable: vec![], ..saturday_off.clone() };
        let all_day = RedemptionRule { usable: vec![window(&[5], (9, 0), (9, 0))], ..rule() };
        let tokyo = BusinessDay { zone: Tz::Asia__Tokyo, cutoff_hour: 0 };
        let bar = BusinessDay { cutoff_hour: 4, ..SHANGHAI };
        let cases = [
            (&night, SHANGHAI, "2026-11-27T21:59:59+08:00", OutsideHours),
            (&night, SHANGHAI, "2026-11-27T22:00:00+08:00", Usable),
            (&night, SHANGHAI, "2026-11-28T01:59:59+08:00", Usable),
            (&night, SHANGHAI, "2026-11-28T02:00:00+08:00", OutsideHours),
            (&night, SHANGHAI, "2026-11-28T22:30:00+08:00", OutsideHours),
            // The hours on the door of the store, wherever it is.
            (&night, tokyo, "2026-11-27T21:00:00+08:00", Usable),
            (&night, tokyo, "2026-11-28T01:00:00+08:00", OutsideHours),
            // A night belongs to the day on which it begins.
            (&saturday_off, SHANGHAI, "2026-11-28T01:59:59+08:00", Usable),
            (&saturday_off, SHANGHAI, "2026-11-28T12:00:00+08:00", BlackedOut),
            (&off, SHANGHAI, "2026-11-27T23:59:59+08:00", Usable),
            (&off, SHANGHAI, "2026-11-28T00:00:00+08:00", BlackedOut),
            (&off, tokyo, "2026-11-27T23:30:00+08:00", BlackedOut),
            (&off, SHANGHAI, "2026-11-28T23:59:59+08:00", BlackedOut),
            (&off, SHANGHAI, "2026-11-29T00:00:00+08:00", Usable),
            // A bar's Friday ends at four in the morning.
            (&off, bar, "2026-11-28T03:59:59+08:00", Usable),
            (&off, bar, "2026-11-28T04:00:00+08:00", BlackedOut),
            (&off, bar, "2026-11-29T03:59:59+08:00", BlackedOut),
            (&all_day, SHANGHAI, "2026-11-28T08:59:59+08:00", Usable),
            (&all_day, SHANGHAI, "2026-11-28T09:00:00+08:00", OutsideHours),
        ];
        for (rule, day, when, expected) in cases {
            assert_eq!(rule.moment(at(when), day), expected, "{when} {day:?}");
        }
    }

    #[test]
    fn openings_come_in_order_and_contain_usable_instants_only() {
        let rule = RedemptionRule {
            usable: vec![
                window(&[1, 2, 3, 4, 5], (17, 0), (20, 0)),
                window(&[1, 2, 3, 4, 5], (11, 0), (14, 0)),
            ],
            blackout_dates: vec!["2026-11-30".parse().unwrap()],
            ..rule()
        };
        let from = at("2026-11-27T12:00:00+08:00");
        let found: Vec<_> = rule.openings(from, SHANGHAI).take(3).collect();
        let expected = [
            ("2026-11-27T11:00:00+08:00", "2026-11-27T14:00:00+08:00"),
            ("2026-11-27T17:00:00+08:00", "2026-11-27T20:00:00+08:00"),
            ("2026-12-01T11:00:00+08:00", "2026-12-01T14:00:00+08:00"),
        ];
        assert_eq!(found, expected.map(|(a, b)| at(a)..at(b)));
        for range in rule.openings(from, SHANGHAI) {
            assert_eq!(rule.moment(range.start, SHANGHAI), Moment::Usable);
        }
        let never = RedemptionRule { usable: vec![], ..rule };
        let midnight = |n: u32| at(&format!("2026-11-{n}T00:00:00+08:00"));
        assert_eq!(never.openings(from, SHANGHAI).next(), Some(midnight(27)..midnight(28)));
    }

    #[test]
    fn store_sets() {
        let id = |n| crate::id::Id::from_uuid(uuid::Uuid::from_u128(n));
        let (one, two): (StoreId, StoreId) = (id(1), id(2));
        for (set, first, second) in [
            (StoreSet::All, true, true),
            (StoreSet::Only(vec![one]), true, false),
            (StoreSet::Except(vec![one]), false, true),
        ] {
            assert_eq!((set.contains(one), set.contains(two)), (first, second), "{set:?}");
            assert_eq!(set.open_ended(), second);
        }
    }

    #[test]
    fn json_forms() {
        let v: Validity = serde_json::from_str(r#"{"days":30}"#).unwrap();
        assert_eq!(v, Validity::FromPayment { days: 30 });
        assert!(serde_json::from_str::<Validity>(r#"{"days":30,"x":1}"#).is_err());
        let v: Validity = serde_json::from_str(r#"{"days":30,"activate_within_days":90}"#).unwrap();
        assert_eq!(v, Validity::FromActivation { days: 30, activate_within_days: 90 });
        let text = serde_json::to_string(&rule()).unwrap();
        assert_eq!(serde_json::from_str::<RedemptionRule>(&text).unwrap(), rule());
        assert!(!text.contains("booking"), "the id of a rule without bookings stays: {text}");
        let booked = RedemptionRule { booking: BookingRule::Required, ..rule() };
        let text = serde_json::to_string(&booked).unwrap();
        assert_eq!(serde_json::from_str::<RedemptionRule>(&text).unwrap(), booked);
    }

    #[test]
    fn words() {
        assert_eq!(rule().texts(), ["有效期 30 天", "随时退", "过期自动退", "共 3 次，可分次使用"]);
        assert_eq!(weekdays_text(&[1, 2, 3, 4, 5]), "周一至周五");
        assert_eq!(weekdays_text(&[6, 7]), "周六、周日");
    }

    #[test]
    fn problems_name_their_fields() {
        let bad = RedemptionRule {
            uses: 0,
            validity: Validity::FromPayment { days: 360 },
            min_quantity: 2,
            ..rule()
        };
        let sum = |days, refund| RedemptionRule {
            validity: Validity::FromActivation { days, activate_within_days: 90 },
            refund,
            ..rule()
        };
        assert!(sum(260, RefundPolicy::AnyTime).problems("").is_empty());
        assert!(!sum(261, RefundPolicy::AnyTime).problems("").is_empty());
        assert!(sum(261, RefundPolicy::None).problems("").is_empty());
        assert!(!sum(0, RefundPolicy::None).problems("").is_empty());
        let most = |n| RedemptionRule { min_quantity: 2, max_quantity: Some(n), ..rule() };
        assert!(most(2).problems("").is_empty() && !most(1).problems("").is_empty());
        let paths: Vec<_> = bad.problems("skus[0].").into_iter().map(|p| p.path).collect();
        assert_eq!(paths, ["skus[0].uses", "skus[0].validity.days", "skus[0].min_quantity"]);
    }
}
