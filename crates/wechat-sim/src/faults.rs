//! Misbehaviour on request: rules that the API pipeline and the notification worker consult.
//!
//! Rules are tried in the order they were set and used up by count, so a run can be repeated exactly.
//! Only a rule with a `chance` is not certain, and its seed decides. They live in memory only.

use serde::Deserialize;
use serde_json::Value;

/// Rules kept at once; setting more is refused.
const MAX_RULES: usize = 1000;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// Notification: its first sending is this much later, by the simulator's clock.
    Late {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// Notification: an attempt is sent this many times in parallel.
    Duplicate {
        /// Sendings in all, 2 to 20.
        copies: u8,
    },
    /// Notification: an attempt is lost on its way; the retry table goes on.
    Drop {},
    /// Notification: its first sending waits until the next other notification has been sent.
    Reorder {},
    /// Notification: an attempt's body is changed after it was signed.
    Tamper {},
    /// Notification: a SIGNTEST probe goes ahead of an attempt.
    ProbeFirst {},
    /// Call: done, but the caller is told 500 SYSTEM_ERROR or loses the connection.
    ErrorAfterCommit {
        /// Close the connection instead of answering 500.
        #[serde(default)]
        close: bool,
    },
    /// Call: no answer; the connection is closed after the wait.
    Timeout {
        /// Whether the call takes effect.
        commit: bool,
        /// Milliseconds, real time.
        hang_ms: u64,
    },
    /// Call: refused before anything is done. For mini-program calls `code` is the errcode.
    Error {
        /// HTTP status (mini-program calls always answer 200).
        status: u16,
        /// Error code.
        code: String,
        /// Message.
        #[serde(default)]
        message: String,
    },
    /// Call: answered normally after a wait.
    Delay {
        /// Milliseconds, real time.
        delay_ms: u64,
    },
    /// Call: a 2xx answer is changed after it was signed.
    ResponseTamper {},
    /// Call: a 2xx answer carries a SIGNTEST signature.
    ResponseProbe {},
}

impl FaultAction {
    fn is_for_notifications(&self) -> bool {
        match self {
            Self::Late { .. }
            | Self::Duplicate { .. }
            | Self::Drop {}
            | Self::Reorder {}
            | Self::Tamper {}
            | Self::ProbeFirst {} => true,
            Self::ErrorAfterCommit { .. }
            | Self::Timeout { .. }
            | Self::Error { .. }
            | Self::Delay { .. }
            | Self::ResponseTamper {}
            | Self::ResponseProbe {} => false,
        }
    }
}

/// What a rule applies to; everything given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// Part of the call's path, or of the notification's URL.
    pub path: Option<String>,
    /// The order, of a refund too.
    pub out_trade_no: Option<String>,
    /// Call: `order_create`, `order_query`, `order_close`, `refund_create`, `refund_query`,
    /// `refund_abnormal`, `certificates`, `jscode2session`, `stable_token`, `phone_number`,
    /// `subscribe_send`.
    /// Notification: `transaction`, `refund`.
    pub kind: Option<String>,
}

/// Makes a rule apply to some of its occasions, the same ones for the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// 0 to 100.
    pub percent: u8,
    /// Decides which.
    pub seed: u64,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub action: FaultAction,
    /// Where.
    pub matching: Matching,
    /// How many times; `None` until cleared.
    pub times: Option<u32>,
    /// On some occasions only.
    pub chance: Option<Chance>,
}

impl Fault {
    /// Once, anywhere.
    pub fn new(action: FaultAction) -> Self {
        Self { action, matching: Matching::default(), times: Some(1), chance: None }
    }

    /// This many times (`None`: until cleared).
    #[must_use]
    pub fn times(self, times: impl Into<Option<u32>>) -> Self {
        Self { times: times.into(), ..self }
    }

    /// Only for this order.
    #[must_use]
    pub fn order(mut self, out_trade_no: &str) -> Self {
        self.matching.out_trade_no = Some(out_trade_no.to_owned());
        self
    }

    /// Only for this kind of call or notification.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.matching.kind = Some(kind.to_owned());
        self
    }

    /// Reads the JSON form: the action's fields beside `matching`, `times` (absent: 1, null: until
    /// cleared) and `chance`.
    pub(crate) fn from_json(rule: Value) -> Result<Self, String> {
        let Value::Object(mut rule) = rule else { return Err("a rule is an object".into()) };
        let matching = match rule.remove("matching") {
            None => Matching::default(),
            Some(value) => serde_json::from_value(value).map_err(|e| format!("matching: {e}"))?,
        };
        let times = match rule.remove("times") {
            None => Some(1),
            Some(Value::Null) => None,
            Some(value) => Some(serde_json::from_value(value).map_err(|e| format!("times: {e}"))?),
        };
        let chance = match rule.remove("chance") {
            None => None,
            Some(value) => Some(serde_json::from_value(value).map_err(|e| format!("chance: {e}"))?),
        };
        let action = serde_json::from_value(Value::Object(rule)).map_err(|e| e.to_string())?;
        Ok(Self { action, matching, times, chance })
    }
}

/// What a rule is matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    pub(crate) path: &'a str,
    pub(crate) out_trade_no: Option<&'a str>,
    pub(crate) kind: &'a str,
}

/// The faults of one sending of a notification.
#[derive(Debug, Default)]
pub(crate) struct SendFaults {
    pub(crate) late_ms: Option<u64>,
    pub(crate) copies: Option<u8>,
    pub(crate) dropped: bool,
    pub(crate) reordered: bool,
    pub(crate) tampered: bool,
    pub(crate) probe_first: bool,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    occasions: u64,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
}

impl Faults {
    pub(crate) fn set(&mut self, fault: Fault) -> Result<(), String> {
        if self.rules.len() >= MAX_RULES {
            return Err(format!("more than {MAX_RULES} rules"));
        }
        if let FaultAction::Duplicate { copies } = fault.action
            && !(2..=20).contains(&copies)
        {
            return Err("copies must be 2 to 20".into());
        }
        if let FaultAction::Error { status, .. } = fault.action
            && !(400..=599).contains(&status)
        {
            return Err("status must be 400 to 599".into());
        }
        self.rules.push(Rule { fault, occasions: 0 });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The fault of a call: the first rule that fits.
    pub(crate) fn take_for_call(&mut self, occasion: Occasion<'_>) -> Option<FaultAction> {
        self.take(occasion, |action| !action.is_for_notifications())
    }

    /// The faults of a sending: the first fitting rule of each sort. `first`: lateness and reordering
    /// are for a notification's first sending only.
    pub(crate) fn take_for_send(&mut self, occasion: Occasion<'_>, first: bool) -> SendFaults {
        let mut faults = SendFaults::default();
        if first {
            let late = self.take(occasion, |action| matches!(action, FaultAction::Late { .. }));
            if let Some(FaultAction::Late { delay_ms }) = late {
                // It will be asked again when it is due, and the other faults belong to that sending.
                return SendFaults { late_ms: Some(delay_ms), ..faults };
            }
            faults.reordered =
                self.take(occasion, |action| matches!(action, FaultAction::Reorder {})).is_some();
            if faults.reordered {
                return faults;
            }
        }
        self.take_for_resend(occasion, &mut faults);
        faults
    }

    fn take_for_resend(&mut self, occasion: Occasion<'_>, faults: &mut SendFaults) {
        faults.dropped = self.take(occasion, |a| matches!(a, FaultAction::Drop {})).is_some();
        if faults.dropped {
            return;
        }
        faults.tampered = self.take(occasion, |a| matches!(a, FaultAction::Tamper {})).is_some();
        faults.probe_first = self.take(occasion, |a| matches!(a, FaultAction::ProbeFirst {})).is_some();
        let duplicate = self.take(occasion, |a| matches!(a, FaultAction::Duplicate { .. }));
        if let Some(FaultAction::Duplicate { copies }) = duplicate {
            faults.copies = Some(copies);
        }
    }

    fn take(&mut self, occasion: Occasion<'_>, wanted: fn(&FaultAction) -> bool) -> Option<FaultAction> {
        let index = self.rules.iter_mut().position(|rule| {
            if !wanted(&rule.fault.action) || !fits(&rule.fault.matching, occasion) {
                return false;
            }
            rule.occasions += 1;
            rule.fault.chance.is_none_or(|chance| chance_says_yes(chance, rule.occasions))
        })?;
        let rule = &mut self.rules[index];
        let action = rule.fault.action.clone();
        if let Some(times) = &mut rule.fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.rules.remove(index);
            }
        }
        Some(action)
    }
}

fn fits(matching: &Matching, occasion: Occasion<'_>) -> bool {
    matching.path.as_deref().is_none_or(|path| occasion.path.contains(path))
        && matching.kind.as_deref().is_none_or(|kind| occasion.kind == kind)
        && (matching.out_trade_no.is_none() || matching.out_trade_no.as_deref() == occasion.out_trade_no)
}

/// SplitMix64 of seed and count: no state besides the count, so the choice is repeatable.
fn chance_says_yes(chance: Chance, occasion: u64) -> bool {
    let mut z = chance.seed.wrapping_add(occasion.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % 100 < u64::from(chance.percent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OCCASION: Occasion<'_> = Occasion { path: "/v3/x", out_trade_no: Some("A1"), kind: "order_create" };

    #[test]
    fn json_is_strict() {
        let ok = json!({"fault": "late", "delay_ms": 5, "matching": {"kind": "refund"}, "times": null});
        let fault = Fault::from_json(ok).unwrap();
        assert_eq!(fault.times, None);
        for bad in [
            json!({"fault": "drop", "matchng": {}}),
            json!({"fault": "late"}),
            json!({"fault": "nonsense"}),
            json!({"fault": "drop", "matching": {"order": "x"}}),
            json!({"fault": "drop", "times": -1}),
            json!([]),
        ] {
            assert!(Fault::from_json(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn used_up_by_count_and_only_where_it_fits() {
        let mut faults = Faults::default();
        let delay = FaultAction::Delay { delay_ms: 1 };
        faults.set(Fault::new(delay.clone()).times(2).order("A1").kind("order_create")).unwrap();
        assert_eq!(faults.take_for_call(Occasion { out_trade_no: Some("B"), ..OCCASION }), None);
        assert_eq!(faults.take_for_call(Occasion { kind: "order_query", ..OCCASION }), None);
        assert_eq!(faults.take_for_call(Occasion { out_trade_no: None, ..OCCASION }), None);
        assert_eq!(faults.take_for_call(OCCASION), Some(delay.clone()));
        assert_eq!(faults.take_for_call(OCCASION), Some(delay));
        assert_eq!(faults.take_for_call(OCCASION), None);
    }

    #[test]
    fn chance_is_repeatable() {
        let run = |seed| {
            let mut faults = Faults::default();
            let chance = Some(Chance { percent: 30, seed });
            faults.set(Fault { times: None, chance, ..Fault::new(FaultAction::Drop {}) }).unwrap();
            (0..1000).map(|_| faults.take_for_send(OCCASION, false).dropped).collect::<Vec<_>>()
        };
        let first = run(7);
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((230..370).contains(&hits), "{hits} of 1000");
    }
}
