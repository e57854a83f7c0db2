//! One try: a signed POST, without redirects, with a deadline and a bounded answer.

use std::error::Error as StdError;
use std::time::Duration;

use hexiao_core::time::Timestamp;
use hexiao_core::webhook::is_taken;
use hexiao_db::webhooks::{Delivery, Try, Webhook};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::time::Instant;

use super::guard::{self, Guard, NotPublic};
use super::{Outgoing, sign};
use crate::context::App;
use crate::error::{AppError, Result};

/// From the first byte sent to the last one read.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read of an answer.
const ANSWER_BYTES: usize = 2_048;
/// Characters kept of it.
const EXCERPT_CHARS: usize = 200;

/// How a try ended.
pub(super) struct Tried {
    pub(super) taken: bool,
    pub(super) entry: Try,
}

impl Outgoing {
    /// The client; it is made once, when first needed.
    fn client(&self, dev: bool) -> Result<&Client> {
        let make = || {
            Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(Policy::none())
                // A proxy would resolve names by itself, behind the guard's back.
                .no_proxy()
                .dns_resolver(Guard { dev })
                .user_agent(concat!("hexiao-webhooks/", env!("CARGO_PKG_VERSION")))
                .build()
                .ok()
        };
        let client = self.client.get_or_init(make).as_ref();
        client.ok_or_else(|| AppError::Internal("cannot make a client for webhooks".to_owned()))
    }
}

impl App {
    /// Tries a delivery once. Whatever happens is the try's result.
    pub(super) async fn try_delivery(&self, webhook: &Webhook, delivery: &Delivery) -> Tried {
        let (now, begun) = (self.now(), Instant::now());
        let answer = self.post(webhook, delivery, now).await;
        let mut entry = Try { at: now, took_ms: 0, status: None, error: None, excerpt: None };
        match answer {
            Ok(answer) => {
                entry.status = Some(answer.status().as_u16());
                entry.excerpt = excerpt(answer).await;
            }
            Err(error) => entry.error = Some(error),
        }
        entry.took_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        Tried { taken: entry.status.is_some_and(is_taken), entry }
    }

    async fn post(
        &self,
        webhook: &Webhook,
        delivery: &Delivery,
        now: Timestamp,
    ) -> std::result::Result<Response, String> {
        let ours = |error: AppError| {
            tracing::error!(webhook = %webhook.id, error = error.log_text(), "cannot sign or send a webhook");
            "系统内部错误".to_owned()
        };
        let dev = self.settings.dev;
        if !guard::may_call_url(&webhook.url, dev) {
            return Err("地址不是公网可以访问的 https 地址".to_owned());
        }
        let signers = sign::signers(&self.keys, webhook, now).map_err(ours)?;
        let (id, timestamp) = (delivery.event_id.to_string(), now.seconds());
        let request = self
            .outgoing
            .client(dev)
            .map_err(ours)?
            .post(&webhook.url)
            .header("content-type", "application/json")
            .header("webhook-signature", sign::signature(&signers, &id, timestamp, &delivery.body))
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-id", id)
            .body(delivery.body.clone());
        self.hold_at("webhook_send.before_call").await;
        let sent = request.send().await;
        self.hold_at("webhook_send.after_call").await;
        sent.map_err(|error| problem(&error).to_owned())
    }
}

/// What went wrong, for the merchant's technician: nothing of our network.
fn problem(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(at) = cause {
        if at.is::<NotPublic>() {
            return "域名没有解析到公网地址";
        }
        cause = at.source();
    }
    if error.is_timeout() {
        "10 秒内没有应答"
    } else if error.is_connect() {
        "连接失败（域名、端口或证书不正确，或对方没有运行）"
    } else {
        "连接中断"
    }
}

/// How an answer begins, as printable text; nothing when it is empty or breaks off at once.
async fn excerpt(mut answer: Response) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_BYTES);
    let text = String::from_utf8_lossy(&bytes);
    let shown = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { ' ' } else { c };
    let text: String = text.trim().chars().map(shown).take(EXCERPT_CHARS).collect();
    (!text.is_empty()).then_some(text)
}
