//! Subscription messages 订阅消息: what users allowed, and what they were sent.
//!
//! One acceptance is one message. A user accepts in the app, which here is the control path `/_sim/subscribe`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    error::SimError,
    journal::Mutation,
    miniprogram::{Outcome, body_object, is_openid_of, token_appid},
    route::Call,
    sim::Sim,
};

/// Letters of a template's id.
const TEMPLATE_LENGTH: usize = 43;
/// Messages remembered; older ones are forgotten.
pub(crate) const MESSAGES_KEPT: usize = 10_000;
/// Most acceptances that one control call gives.
const MAX_ACCEPTED: u32 = 1_000;

/// A message that reached a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// WeChat's number of it.
    pub msgid: i64,
    /// The user.
    pub openid: String,
    /// The template.
    pub template_id: String,
    /// Where a tap leads.
    pub page: Option<String>,
    /// `{"thing1": {"value": "…"}}`.
    pub data: Value,
    /// Sent at.
    pub at: DateTime<Utc>,
}

/// What a user taps in the app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    openid: String,
    template_id: String,
    /// How often; 0 takes back what is left, as a user does who switches messages off.
    #[serde(default = "once")]
    count: u32,
}

const fn once() -> u32 {
    1
}

fn is_template(id: &str) -> bool {
    id.len() == TEMPLATE_LENGTH
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Sends a message if the user allowed one.
pub(crate) fn send(sim: &Sim, call: &Call, body: &[u8], now: DateTime<Utc>) -> Outcome {
    let token = call.param("access_token").unwrap_or_default();
    if token.is_empty() {
        return Err((41001, "access_token missing"));
    }
    let body = body_object(call, body)?;
    let appid = token_appid(sim, token, now)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (openid, template_id) = (text("touser"), text("template_id"));
    if !is_openid_of(&appid, &openid) {
        return Err((40003, "invalid openid"));
    }
    if !is_template(&template_id) {
        return Err((40037, "invalid template_id"));
    }
    let invalid = (47003, "argument invalid! data");
    let data = body.get("data").and_then(Value::as_object).filter(|data| !data.is_empty()).ok_or(invalid)?;
    if !data.iter().all(|(name, value)| is_value(name, value)) {
        return Err(invalid);
    }
    let states = ["", "developer", "trial", "formal"];
    if !states.contains(&text("miniprogram_state").as_str()) {
        return Err((47003, "argument invalid! miniprogram_state"));
    }
    let mut store = sim.store();
    if store.accepted.get(&(openid.clone(), template_id.clone())).copied().unwrap_or_default() == 0 {
        return Err((43101, "user refuse to accept the msg"));
    }
    let msgid = i64::try_from(store.sequence).unwrap_or(i64::MAX);
    let page = body.get("page").and_then(Value::as_str).map(str::to_owned);
    let message =
        SentMessage { msgid, openid, template_id, page, data: Value::Object(data.clone()), at: now };
    store.commit(Mutation::MessageSent { message }).map_err(|_| (-1, "system error"))?;
    Ok(json!({"errcode": 0, "errmsg": "ok", "msgid": msgid}))
}

/// Whether a value keeps to the limits of its field's type, which is the field's name without its number.
fn is_value(name: &str, value: &Value) -> bool {
    let members: Option<&Map<String, Value>> = value.as_object();
    let Some(value) = members.filter(|m| m.len() == 1).and_then(|m| m.get("value")).and_then(Value::as_str)
    else {
        return false;
    };
    let chars = value.chars().count();
    let ascii = value.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if chars == 0 || value.chars().any(char::is_control) {
        return false;
    }
    let numbered = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if numbered == name {
        return false;
    }
    match numbered {
        "thing" => chars <= 20,
        "number" => chars <= 32 && digits(value),
        "letter" => chars <= 32 && value.chars().all(|c| c.is_ascii_alphabetic()),
        "symbol" => chars <= 5 && !value.chars().any(char::is_alphanumeric),
        "character_string" => chars <= 32 && ascii,
        "time" | "date" => chars <= 40 && value.contains(|c: char| c.is_ascii_digit()),
        "amount" => {
            let number = value.trim_start_matches(['¥', '￥', '$']).trim_end_matches('元');
            digits(number) && number.chars().filter(char::is_ascii_digit).count() <= 12
        }
        "phone_number" => chars <= 17 && ascii,
        "car_number" => chars <= 8,
        "name" => chars <= if ascii { 20 } else { 10 },
        "phrase" => chars <= 5 && !value.contains(|c: char| c.is_ascii_alphanumeric()),
        "enum" => true,
        _ => false,
    }
}

impl Sim {
    /// A user accepts so many messages of a template; 0 takes back what is left.
    pub fn accept_messages(&self, openid: &str, template_id: &str, count: u32) -> Result<(), SimError> {
        self.accept(Acceptance { openid: openid.to_owned(), template_id: template_id.to_owned(), count })
    }

    pub(crate) fn accept(&self, wanted: Acceptance) -> Result<(), SimError> {
        if wanted.count > MAX_ACCEPTED {
            return Err(SimError::refused("count_invalid", format!("at most {MAX_ACCEPTED}")));
        }
        let Acceptance { openid, template_id, count } = wanted;
        self.store().commit(Mutation::MessagesAccepted { openid, template_id, count })
    }

    /// What was sent, the oldest first.
    pub fn messages(&self) -> Vec<SentMessage> {
        self.store().messages.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_to_their_type() {
        for (name, value, good) in [
            ("thing1", "双人套餐", true),
            ("thing1", "一二三四五六七八九十一二三四五六七八九十一", false),
            ("thing1", "two\nlines", false),
            ("thing1", "", false),
            ("thing", "no number", false),
            ("number2", "12.5", true),
            ("number2", "两", false),
            ("character_string3", "2611230000000006", true),
            ("character_string3", "订单", false),
            ("amount4", "¥12.50", true),
            ("amount4", "12.50元", true),
            ("amount4", "十二元", false),
            ("time5", "2026年11月23日 15:01", true),
            ("phrase6", "已核销", true),
            ("phrase6", "已经核销完成", false),
            ("name7", "人民广场店", true),
            ("other8", "x", false),
        ] {
            assert_eq!(is_value(name, &json!({"value": value})), good, "{name} {value}");
        }
        assert!(!is_value("thing1", &json!("双人套餐")));
    }
}
