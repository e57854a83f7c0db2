//! The redemption rule of a SKU: when, where and how its vouchers can be used and refunded.
//!
//! A rule is immutable and addressed by its content: a voucher keeps the id of the rule that was in force when it
//! was paid, so a later edit of the product never changes what a customer bought.

use chrono::{Datelike, Duration, NaiveDate, NaiveTime, TimeZone, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::id::StoreId;
use crate::reason::FieldError;
use crate::state::text_enum;
use crate::time::Timestamp;

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

/// The stores of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreSet {
    /// All stores of the merchant, also those that open later.
    All,
    /// These.
    Only(Vec<StoreId>),
}

impl StoreSet {
    /// Whether a store belongs to it.
    pub fn contains(&self, store_id: StoreId) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&store_id),
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
    /// Where.
    pub stores: StoreSet,
    /// Which of them.
    pub binding: Binding,
    /// Refunds.
    pub refund: RefundPolicy,
    /// Zone of the dates and hours in this rule.
    pub zone: Tz,
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
            Validity::FromPayment { days }
                if self.refund != RefundPolicy::None && *days > MAX_REFUNDABLE_DAYS =>
            {
                wrong("validity.days", "可退款的商品有效期最长 350 天（微信只支持一年内退款）");
            }
            Validity::Fixed { from, to } if from > to => wrong("validity.to", "结束日期不能早于开始日期"),
            Validity::FromPayment { .. } | Validity::Fixed { .. } => {}
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
        if let StoreSet::Only(ids) = &self.stores
            && (ids.is_empty() || ids.len() > 2_000)
        {
            wrong("store_ids", "适用门店应为 1–2000 家");
        }
        out
    }

    /// The instants between which a voucher paid at `paid_at` is valid: `from` included, `to` excluded.
    pub fn validity_from(&self, paid_at: Timestamp) -> (Timestamp, Timestamp) {
        match &self.validity {
            Validity::FromPayment { days } => {
                let last_day = paid_at.datetime().with_timezone(&self.zone).date_naive()
                    + Duration::days(i64::from(*days));
                (paid_at, self.day_start(last_day + Duration::days(1)))
            }
            Validity::Fixed { from, to } => (self.day_start(*from), self.day_start(*to + Duration::days(1))),
        }
    }

    /// Midnight in the rule's zone; where clocks skip it, the first instant that exists.
    fn day_start(&self, day: NaiveDate) -> Timestamp {
        let midnight = day.and_time(NaiveTime::MIN);
        let local = self
            .zone
            .from_local_datetime(&midnight)
            .earliest()
            .or_else(|| self.zone.from_local_datetime(&(midnight + Duration::hours(1))).earliest());
        local.map_or(Timestamp::from_micros(midnight.and_utc().timestamp_micros()), |at| {
            Timestamp::from_datetime(at.with_timezone(&chrono::Utc))
        })
    }

    /// Whether the weekly windows allow an instant.
    pub fn usable_at(&self, at: Timestamp) -> bool {
        if self.usable.is_empty() {
            return true;
        }
        let local = at.datetime().with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        let today = u8::try_from(local.weekday().number_from_monday()).unwrap_or(1);
        let yesterday = if today == 1 { 7 } else { today - 1 };
        self.usable.iter().any(|w| {
            let (from, to) = (minutes(w.from), minutes(w.to));
            if to > from {
                w.weekdays.contains(&today) && (from..to).contains(&minute)
            } else {
                (w.weekdays.contains(&today) && minute >= from)
                    || (w.weekdays.contains(&yesterday) && minute < to)
            }
        })
    }

    /// Whether the local day of an instant is blacked out.
    pub fn blacked_out(&self, at: Timestamp) -> bool {
        self.blackout_dates.contains(&at.datetime().with_timezone(&self.zone).date_naive())
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
        if self.binding == Binding::ChosenStore {
            out.push("限所选门店使用".to_owned());
        }
        out
    }
}

fn minutes(t: NaiveTime) -> u32 {
    t.hour() * 60 + t.minute()
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
            stores: StoreSet::All,
            binding: Binding::AnyInScope,
            refund: RefundPolicy::AnyTime,
            zone: Tz::Asia__Shanghai,
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
    fn windows_may_cross_midnight() {
        let late = UsableWindow {
            weekdays: vec![5],
            from: NaiveTime::from_hms_opt(22, 0, 0).unwrap(),
            to: NaiveTime::from_hms_opt(2, 0, 0).unwrap(),
        };
        let rule = RedemptionRule { usable: vec![late], ..rule() };
        // 2026-11-27 is a Friday.
        assert!(rule.usable_at(at("2026-11-27T22:00:00+08:00")));
        assert!(rule.usable_at(at("2026-11-28T01:59:59+08:00")));
        assert!(!rule.usable_at(at("2026-11-28T02:00:00+08:00")));
        assert!(!rule.usable_at(at("2026-11-27T21:59:00+08:00")));
        assert!(!rule.usable_at(at("2026-11-28T22:30:00+08:00")));
    }

    #[test]
    fn json_forms() {
        let v: Validity = serde_json::from_str(r#"{"days":30}"#).unwrap();
        assert_eq!(v, Validity::FromPayment { days: 30 });
        assert!(serde_json::from_str::<Validity>(r#"{"days":30,"x":1}"#).is_err());
        let text = serde_json::to_string(&rule()).unwrap();
        assert_eq!(serde_json::from_str::<RedemptionRule>(&text).unwrap(), rule());
    }

    #[test]
    fn words() {
        assert_eq!(rule().texts(), ["有效期 30 天", "随时退", "共 3 次，可分次使用"]);
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
        let paths: Vec<_> = bad.problems("skus[0].").into_iter().map(|p| p.path).collect();
        assert_eq!(paths, ["skus[0].uses", "skus[0].validity.days", "skus[0].min_quantity"]);
    }
}
