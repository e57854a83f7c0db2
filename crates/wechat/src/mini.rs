//! The mini-program server APIs the mall needs: login, the access token, the phone number, subscription messages.
//!
//! HTTP is 200 even for errors and `errcode` may be absent on success; errors are told apart by number, never by
//! text. The URL of a call holds a secret or a token, so no error and no log line holds a URL.

use crate::error::ConfigError;
use crate::http::{self, encode};
use reqwest::{Client, Method, RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A token is renewed this long before it ends. WeChat hands out the next one from then on, the old one still valid.
const RENEW_BEFORE_S: u64 = 300;

/// What a [`MiniClient`] needs to know.
#[derive(Debug, Clone)]
pub struct MiniConfig {
    /// `https://api.weixin.qq.com`, or a simulator's origin.
    pub base_url: String,
    /// The mini program's appid.
    pub appid: String,
    /// Its AppSecret.
    pub secret: SecretString,
    /// Longest time for one call.
    pub timeout: Duration,
}

/// What a login code stands for.
#[derive(Clone)]
pub struct Session {
    /// The user under this appid.
    pub openid: String,
    /// The user across the apps of one open-platform account, if there is one.
    pub unionid: Option<String>,
    /// Stays on the server.
    pub session_key: SecretString,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A phone number the user agreed to give.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhoneNumber {
    /// With the country code if it is a foreign one.
    pub phone_number: String,
    /// Without the country code.
    pub pure_phone_number: String,
    /// `86` for China.
    pub country_code: String,
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhoneNumber").finish_non_exhaustive()
    }
}

/// Why a call has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MiniError {
    /// 40029: the code is wrong or has expired; the client asks for a new one.
    #[error("the code is invalid or has expired")]
    InvalidCode,
    /// 40163: the code was used before.
    #[error("the code was used before")]
    CodeUsed,
    /// 40226: WeChat blocks the user as high-risk.
    #[error("WeChat blocks this user")]
    UserBlocked,
    /// -1 or 45011: WeChat is busy, or there are too many calls; later.
    #[error("WeChat is busy or calls are too frequent")]
    Busy,
    /// Any other refusal.
    #[error("WeChat refused with {errcode} (rid {})", rid.as_deref().unwrap_or("-"))]
    Refused {
        /// WeChat's number of the error.
        errcode: i64,
        /// WeChat's number of the exchange.
        rid: Option<String>,
    },
    /// No connection: WeChat has not seen the call.
    #[error("no connection")]
    Unreached,
    /// No answer, or none that can be read.
    #[error("no usable answer: {0}")]
    Transport(String),
}

/// A message from a template, for a user who accepted one.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscribeMessage {
    /// To whom.
    pub openid: String,
    /// The template.
    pub template_id: String,
    /// The page of the mini program that a tap opens.
    pub page: Option<String>,
    /// What each field of the template says.
    pub values: Vec<(String, String)>,
}

impl fmt::Debug for SubscribeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeMessage").field("template_id", &self.template_id).finish_non_exhaustive()
    }
}

struct CachedToken {
    token: SecretString,
    renew_at: Instant,
}

/// The client of one mini program. Share it behind an `Arc`: it keeps the access token.
pub struct MiniClient {
    base_url: Url,
    appid: String,
    secret: SecretString,
    timeout: Duration,
    http: Client,
    /// Held while a token is fetched, so that many callers cause one fetch.
    token: Mutex<Option<CachedToken>>,
}

impl fmt::Debug for MiniClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniClient").field("appid", &self.appid).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SessionAnswer {
    openid: String,
    unionid: Option<String>,
    session_key: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct PhoneAnswer {
    phone_info: PhoneNumber,
}

impl MiniClient {
    /// Checks the configuration and builds the client. Touches no network.
    pub fn new(config: MiniConfig) -> Result<Self, ConfigError> {
        if config.appid.is_empty() || !config.appid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(ConfigError::Identity("appid"));
        }
        if config.secret.expose_secret().is_empty() {
            return Err(ConfigError::Identity("mini-program secret"));
        }
        Ok(Self {
            base_url: http::base_url(&config.base_url)
                .ok_or(ConfigError::BaseUrl("mini-program base URL"))?,
            http: http::client().ok_or(ConfigError::HttpClient)?,
            appid: config.appid,
            secret: config.secret,
            timeout: config.timeout,
            token: Mutex::new(None),
        })
    }

    /// Exchanges the code of `wx.login` (5 minutes, once) for the user's identity.
    pub async fn code2session(&self, code: &str) -> Result<Session, MiniError> {
        let path_query = format!(
            "/sns/jscode2session?appid={}&secret={}&js_code={}&grant_type=authorization_code",
            self.appid,
            encode(self.secret.expose_secret()),
            encode(code)
        );
        let answer: SessionAnswer = self.send(self.request(Method::GET, &path_query)?).await?;
        Ok(Session {
            openid: answer.openid,
            unionid: answer.unionid.filter(|id| !id.is_empty()),
            session_key: answer.session_key.into(),
        })
    }

    /// The access token, from the cache or fetched. Everything that needs one takes it from here.
    pub async fn access_token(&self) -> Result<SecretString, MiniError> {
        self.token_other_than(None).await
    }

    /// Exchanges the code of a `getPhoneNumber` button (5 minutes, once; WeChat charges for each) for the number.
    pub async fn phone_number(&self, code: &str) -> Result<PhoneNumber, MiniError> {
        let answer: PhoneAnswer =
            self.call("/wxa/business/getuserphonenumber", &json!({ "code": code })).await?;
        Ok(answer.phone_info)
    }

    /// Sends a message to a user who accepted one. Not safe to repeat: whoever got no answer does not know whether
    /// the user has it.
    pub async fn send_message(&self, message: &SubscribeMessage) -> Result<(), MiniError> {
        #[derive(Deserialize)]
        struct Sent {}
        let data: Map<String, Value> =
            message.values.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect();
        let mut body = json!({
            "touser": message.openid, "template_id": message.template_id, "data": data, "lang": "zh_CN",
        });
        if let Some(page) = &message.page {
            body["page"] = json!(page);
        }
        let Sent {} = self.call("/cgi-bin/message/subscribe/send", &body).await?;
        Ok(())
    }

    /// Posts with the access token, with another one if that was refused: the call was not done then.
    async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, MiniError> {
        let token = self.access_token().await?;
        match self.send(self.post(path, &token, body)?).await {
            Err(MiniError::Refused { errcode: 40001 | 40014 | 42001, .. }) => {
                let token = self.token_other_than(Some(&token)).await?;
                self.send(self.post(path, &token, body)?).await
            }
            other => other,
        }
    }

    /// The cached token if it is fresh and not the one that was just refused, else a new one. The fetch is not
    /// forced: a forced one kills the token other processes use, and only 20 a day are allowed.
    async fn token_other_than(&self, refused: Option<&SecretString>) -> Result<SecretString, MiniError> {
        let mut cached = self.token.lock().await;
        if let Some(CachedToken { token, renew_at }) = &*cached {
            let was_refused = refused.is_some_and(|old| old.expose_secret() == token.expose_secret());
            if Instant::now() < *renew_at && !was_refused {
                return Ok(token.clone());
            }
        }
        let body = json!({
            "grant_type": "client_credential", "appid": self.appid, "secret": self.secret.expose_secret(),
        });
        let request = self.request(Method::POST, "/cgi-bin/stable_token")?.json(&body);
        let answer: TokenAnswer = self.send(request).await?;
        let token = SecretString::from(answer.access_token);
        // Documented to be 7200 at most; bounded so that no answer can keep a token for ever.
        let lives_s = answer.expires_in.min(7200).saturating_sub(RENEW_BEFORE_S);
        *cached = Some(CachedToken {
            token: token.clone(),
            renew_at: Instant::now() + Duration::from_secs(lives_s),
        });
        Ok(token)
    }

    fn post(&self, path: &str, token: &SecretString, body: &Value) -> Result<RequestBuilder, MiniError> {
        let path_query = format!("{path}?access_token={}", encode(token.expose_secret()));
        Ok(self.request(Method::POST, &path_query)?.json(body))
    }

    fn request(&self, method: Method, path_query: &str) -> Result<RequestBuilder, MiniError> {
        let url = self.base_url.join(path_query).map_err(|_| transport("the path cannot be sent"))?;
        Ok(self.http.request(method, url).timeout(self.timeout))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, MiniError> {
        #[derive(Deserialize)]
        struct Status {
            #[serde(default)]
            errcode: i64,
            #[serde(default)]
            errmsg: String,
        }
        let failed = |error: reqwest::Error| {
            if error.is_connect() { MiniError::Unreached } else { transport(http::failure(&error)) }
        };
        let response = request.send().await.map_err(failed)?;
        let http_status = response.status();
        let body = http::body(response).await.map_err(transport)?;
        if !http_status.is_success() {
            return Err(MiniError::Transport(format!("HTTP {}", http_status.as_u16())));
        }
        let unreadable = |_| transport("the answer is not of the documented form");
        let status: Status = serde_json::from_slice(&body).map_err(unreadable)?;
        match status.errcode {
            0 => serde_json::from_slice(&body).map_err(unreadable),
            40029 => Err(MiniError::InvalidCode),
            40163 => Err(MiniError::CodeUsed),
            40226 => Err(MiniError::UserBlocked),
            -1 | 45011 => Err(MiniError::Busy),
            errcode => Err(MiniError::Refused { errcode, rid: rid(&status.errmsg) }),
        }
    }
}

fn transport(reason: &'static str) -> MiniError {
    MiniError::Transport(reason.to_owned())
}

/// The number of the exchange at the end of an errmsg: `… rid: 5f8d-…`.
fn rid(errmsg: &str) -> Option<String> {
    let (_, rid) = errmsg.rsplit_once("rid: ")?;
    let rid: String = rid.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    (!rid.is_empty()).then_some(rid)
}

#[cfg(test)]
mod tests {
    use super::rid;

    #[test]
    fn rid_is_read_from_the_end_of_errmsg() {
        assert_eq!(rid("invalid code, rid: 5f8d-12ab-77"), Some("5f8d-12ab-77".to_owned()));
        assert_eq!(rid("invalid appid hint: [x] rid: "), None);
        assert_eq!(rid("ok"), None);
    }
}
