//! The mini program's server APIs: login code, access token, telephone number. (Messages: [`crate::subscribe`].)
//!
//! They answer HTTP 200 whatever happens; `errcode` is absent on success where WeChat leaves it out.

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    crypto::{hash, nonce},
    error::ApiError,
    journal::{Mutation, Token},
    route::{Call, MiniOp},
    sim::Sim,
    subscribe,
};

/// Life of an access token.
const TOKEN_LIFE: TimeDelta = TimeDelta::seconds(7200);
/// In normal mode a new token is given out this long before the old one ends.
const TOKEN_OVERLAP: TimeDelta = TimeDelta::minutes(5);
/// Least time between two forced refreshes, and how many a day has.
const FORCED_INTERVAL: TimeDelta = TimeDelta::seconds(30);
const FORCED_A_DAY: usize = 20;
/// WeChat asks to store up to 512 characters; a real token has fewer, ours takes it at its word.
const TOKEN_LENGTH: usize = 512;

/// Letters after the `o` that all openids of a mini program share.
const TAG_LENGTH: usize = 5;
const OPENID_LENGTH: usize = 28;

pub(crate) type Outcome = Result<Value, (i64, &'static str)>;

/// Runs a call; errors are part of the answer.
pub(crate) fn execute(sim: &Sim, op: MiniOp, call: &Call, body: &[u8]) -> Value {
    let now = sim.now();
    let outcome = match op {
        MiniOp::Jscode2Session => session(sim, call),
        MiniOp::StableToken => stable_token(sim, call, body, now),
        MiniOp::PhoneNumber => phone_number(sim, call, body, now),
        MiniOp::SubscribeSend => subscribe::send(sim, call, body, now),
    };
    outcome.unwrap_or_else(|(code, message)| error(code, message))
}

fn error(errcode: i64, errmsg: &str) -> Value {
    json!({"errcode": errcode, "errmsg": format!("{errmsg} rid: {}", nonce(8).to_lowercase())})
}

/// A fault's error in the form of these APIs: the code is the errcode.
pub(crate) fn error_from(fault: &ApiError) -> Value {
    error(fault.code.parse().unwrap_or(-1), &fault.message)
}

/// The answer. WeChat sends JSON as text/plain here.
pub(crate) fn response(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn tag(appid: &str) -> String {
    let mut tag = URL_SAFE_NO_PAD.encode(hash(&["openid tag", appid]));
    tag.truncate(TAG_LENGTH);
    tag
}

/// The openid of a name in a mini program: 28 characters beginning with `o`, always the same.
pub(crate) fn openid(appid: &str, name: &str) -> String {
    let mut openid = format!("o{}{}", tag(appid), URL_SAFE_NO_PAD.encode(hash(&["openid", appid, name])));
    openid.truncate(OPENID_LENGTH);
    openid
}

/// Whether an openid has the form of this mini program's.
pub(crate) fn is_openid_of(appid: &str, openid: &str) -> bool {
    openid.len() == OPENID_LENGTH
        && openid.strip_prefix('o').is_some_and(|rest| rest.starts_with(&tag(appid)))
}

fn check_program(sim: &Sim, appid: &str, secret: &str) -> Result<(), (i64, &'static str)> {
    if appid.is_empty() {
        return Err((41002, "appid missing"));
    }
    if secret.is_empty() {
        return Err((41004, "appsecret missing"));
    }
    let program = sim.program(appid).ok_or((40013, "invalid appid"))?;
    if program.secret == secret { Ok(()) } else { Err((40125, "invalid appsecret")) }
}

fn session(sim: &Sim, call: &Call) -> Outcome {
    if call.is_post {
        return Err((43001, "require GET method"));
    }
    let param = |name: &str| call.param(name).unwrap_or_default();
    if param("grant_type") != "authorization_code" {
        return Err((40002, "invalid grant_type"));
    }
    let appid = param("appid");
    check_program(sim, appid, param("secret"))?;
    let code = param("js_code");
    if code.is_empty() {
        return Err((41008, "missing code"));
    }
    let (name, once) = parse_code(code).ok_or((40029, "invalid code"))?;
    if once {
        use_code(sim, &format!("{appid} {code}"), (40163, "code been used"))?;
    }
    let mut key = hash(&["session_key", appid, code]);
    key.truncate(16);
    Ok(json!({"openid": openid(appid, name), "session_key": STANDARD.encode(key)}))
}

/// `sim-<name>` any number of times, `sim-<name>-<nonce>` once. A telephone code is not a login code.
fn parse_code(code: &str) -> Option<(&str, bool)> {
    let rest = code.strip_prefix("sim-")?;
    let (name, once) = match rest.rsplit_once('-') {
        Some((name, nonce)) if !nonce.is_empty() => (name, true),
        Some(_) => return None,
        None => (rest, false),
    };
    (!name.is_empty() && name.len() <= 64 && name != "phone").then_some((name, once))
}

fn use_code(sim: &Sim, code: &str, used: (i64, &'static str)) -> Result<(), (i64, &'static str)> {
    let mut store = sim.store();
    if store.codes_used.contains(code) {
        return Err(used);
    }
    store.commit(Mutation::CodeUsed { code: code.to_owned() }).map_err(|_| (-1, "system error"))
}

pub(crate) fn body_object(call: &Call, body: &[u8]) -> Outcome {
    if !call.is_post {
        return Err((43002, "require POST method"));
    }
    if body.is_empty() {
        return Err((44002, "empty post data"));
    }
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err((47001, "data format error")),
    }
}

fn stable_token(sim: &Sim, call: &Call, body: &[u8], now: DateTime<Utc>) -> Outcome {
    let body = body_object(call, body)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("grant_type") != "client_credential" {
        return Err((40002, "invalid grant_type"));
    }
    let appid = text("appid");
    check_program(sim, appid, text("secret"))?;
    let forced = match body.get("force_refresh") {
        None => false,
        Some(Value::Bool(forced)) => *forced,
        Some(_) => return Err((47001, "data format error")),
    };
    let mut store = sim.store();
    let tokens = store.tokens.get(appid).map(Vec::as_slice).unwrap_or_default();
    if forced {
        let today = tokens.iter().filter(|token| token.forced && now - token.issued_at < TimeDelta::days(1));
        if today.clone().next_back().is_some_and(|last| now - last.issued_at < FORCED_INTERVAL) {
            return Err((45011, "api minute-quota reach limit, must slower, retry next minute"));
        }
        if today.count() >= FORCED_A_DAY {
            return Err((45009, "reach max api daily quota limit"));
        }
    } else if let Some(current) = tokens.last() {
        let left = current.issued_at + TOKEN_LIFE - now;
        if left > TOKEN_OVERLAP {
            return Ok(json!({"access_token": current.secret, "expires_in": left.num_seconds()}));
        }
    }
    let token = Token { appid: appid.to_owned(), secret: nonce(TOKEN_LENGTH), issued_at: now, forced };
    let answer = json!({"access_token": token.secret, "expires_in": TOKEN_LIFE.num_seconds()});
    store.commit(Mutation::TokenIssued { token }).map_err(|_| (-1, "system error"))?;
    Ok(answer)
}

/// The appid behind an access token: the newest is good until it ends, the one before it too unless the
/// newest was forced.
pub(crate) fn token_appid(sim: &Sim, token: &str, now: DateTime<Utc>) -> Result<String, (i64, &'static str)> {
    let invalid = (40001, "invalid credential, access_token is invalid or not latest");
    let store = sim.store();
    let appid = store.token_app.get(token).ok_or(invalid)?;
    let tokens = store.tokens.get(appid).map(Vec::as_slice).unwrap_or_default();
    let index = tokens.iter().position(|known| known.secret == token).ok_or(invalid)?;
    if tokens[index + 1..].iter().any(|later| later.forced) {
        return Err(invalid);
    }
    if now - tokens[index].issued_at >= TOKEN_LIFE {
        return Err((42001, "access_token expired"));
    }
    Ok(appid.clone())
}

fn phone_number(sim: &Sim, call: &Call, body: &[u8], now: DateTime<Utc>) -> Outcome {
    let token = call.param("access_token").unwrap_or_default();
    if token.is_empty() {
        return Err((41001, "access_token missing"));
    }
    let body = body_object(call, body)?;
    let appid = token_appid(sim, token, now)?;
    let code = body.get("code").and_then(Value::as_str).unwrap_or_default();
    let invalid = (40029, "invalid code");
    let number = phone_in(code).ok_or(invalid)?;
    use_code(sim, &format!("{appid} {code}"), invalid)?;
    Ok(json!({"errcode": 0, "errmsg": "ok", "phone_info": {
        "phoneNumber": number,
        "purePhoneNumber": number,
        "countryCode": "86",
        "watermark": {"timestamp": now.timestamp(), "appid": appid},
    }}))
}

/// The number in `sim-phone-<number>` or `sim-phone-<number>-<nonce>`: each works once, so that a number can be given
/// again with another nonce.
fn phone_in(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("sim-phone-")?;
    let (number, nonce) = rest.split_once('-').unwrap_or((rest, "1"));
    (is_mobile(number) && !nonce.is_empty() && nonce.len() <= 64).then_some(number)
}

/// Eleven digits, beginning 13 to 19.
fn is_mobile(number: &str) -> bool {
    let bytes = number.as_bytes();
    bytes.len() == 11
        && bytes.iter().all(u8::is_ascii_digit)
        && bytes[0] == b'1'
        && (b'3'..=b'9').contains(&bytes[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openids() {
        let ann = openid("wx1", "ann");
        assert_eq!(ann.len(), 28);
        assert_eq!(ann, openid("wx1", "ann"));
        assert_ne!(ann, openid("wx1", "bob"));
        assert_ne!(ann, openid("wx2", "ann"));
        assert!(is_openid_of("wx1", &ann));
        assert!(!is_openid_of("wx2", &ann));
        assert!(!is_openid_of("wx1", &ann[..27]));
    }

    #[test]
    fn codes() {
        assert_eq!(parse_code("sim-ann"), Some(("ann", false)));
        assert_eq!(parse_code("sim-ann-7"), Some(("ann", true)));
        assert_eq!(parse_code("sim-ann-lee-7"), Some(("ann-lee", true)));
        for bad in ["", "sim-", "ann", "sim-ann-", "sim--7", "sim-phone-13800138000"] {
            assert_eq!(parse_code(bad), None, "{bad}");
        }
    }
}
