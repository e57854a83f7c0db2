//! A scripted server in WeChat's place, and clients configured for it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, header::HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hexiao_wechat::{Account, PayClient, PayConfig, PlatformKey};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use x509_parser::pem::Pem;

pub const NOW: i64 = 1_763_888_400;
pub const PUB_KEY_ID: &str = "PUB_KEY_ID_0112300001092025112300000000000000";
pub const CERT_SERIAL: &str = "7DFD3FBB17F6B6F2FB1C4A9E50B0E10D5C0F9A21";
pub const NEXT_SERIAL: &str = "F1C4A9E50B0E10D5C0F9A217DFD3FBB17F6B6F2F";
pub const MERCHANT_SERIAL: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

const MERCHANT_KEY: &str = include_str!("../vectors/test-only-merchant-key.pem");
const MERCHANT_PUBLIC: &str = include_str!("../vectors/merchant-public.pem");
const PLATFORM_KEY: &str = include_str!("../vectors/test-only-platform-key.pem");
const PUBKEY_KEY: &str = include_str!("../vectors/test-only-pubkey-key.pem");
const NEXT_KEY: &str = include_str!("../vectors/test-only-next-platform-key.pem");
pub const PLATFORM_CERT: &str = include_str!("../vectors/platform-cert.pem");
pub const NEXT_CERT: &str = include_str!("../vectors/next-platform-cert.pem");
pub const PUBKEY_PUBLIC: &str = include_str!("../vectors/pubkey-public.pem");

pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/vectors.json")).expect("vectors.json is JSON")
}

pub fn direct() -> Account {
    Account::Direct { appid: "wxd678efh567hg6787".into(), mchid: "1230000109".into() }
}

pub fn partner(sub_appid: Option<&str>) -> Account {
    Account::Partner {
        sp_appid: "wx8888888888888888".into(),
        sp_mchid: "1230000109".into(),
        sub_appid: sub_appid.map(str::to_owned),
        sub_mchid: "1900000109".into(),
    }
}

pub fn certificate() -> PlatformKey {
    PlatformKey::Certificate { pem: PLATFORM_CERT.into() }
}

pub fn public_key() -> PlatformKey {
    PlatformKey::PublicKey { id: PUB_KEY_ID.into(), pem: PUBKEY_PUBLIC.into() }
}

pub fn config(base_url: &str) -> PayConfig {
    PayConfig {
        account: direct(),
        base_url: base_url.to_owned(),
        backup_base_url: None,
        merchant_serial: MERCHANT_SERIAL.into(),
        merchant_private_key_pem: MERCHANT_KEY.into(),
        api_v3_key: "TEST-ONLY-apiv3-key-32-bytes-000".into(),
        platform_keys: vec![certificate()],
        clock: Arc::new(|| NOW),
        timeout: Duration::from_secs(5),
        refund_timeout: Duration::from_secs(5),
    }
}

pub fn client(server: &Server, account: Account) -> PayClient {
    PayClient::new(PayConfig { account, ..config(&server.url) }).expect("a good configuration")
}

/// Who signs an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    Certificate,
    PublicKey,
    NextCertificate,
    Nobody,
    Probe,
}

/// One scripted answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub signer: Signer,
    /// What is signed instead of the body.
    pub signed_body: Option<String>,
    pub timestamp: i64,
    pub after: Duration,
}

impl Reply {
    pub fn ok(body: &Value) -> Self {
        Self::new(200, body.to_string())
    }

    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            signer: Signer::Certificate,
            signed_body: None,
            timestamp: NOW,
            after: Duration::ZERO,
        }
    }

    pub fn by(self, signer: Signer) -> Self {
        Self { signer, ..self }
    }

    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, text: &str| {
            headers.insert(name, HeaderValue::from_str(text).expect("visible ASCII"));
        };
        set("request-id", "08F78BB4AF0610D302-268562704");
        let (key, serial) = match self.signer {
            Signer::Certificate | Signer::Probe => (PLATFORM_KEY, CERT_SERIAL),
            Signer::PublicKey => (PUBKEY_KEY, PUB_KEY_ID),
            Signer::NextCertificate => (NEXT_KEY, NEXT_SERIAL),
            Signer::Nobody => ("", ""),
        };
        if !key.is_empty() {
            let body = self.signed_body.as_ref().unwrap_or(&self.body);
            let signature = sign(key, format!("{}\nAnswerNonce\n{body}\n", self.timestamp).as_bytes());
            let probe = if self.signer == Signer::Probe { "WECHATPAY/SIGNTEST/" } else { "" };
            set("wechatpay-timestamp", &self.timestamp.to_string());
            set("wechatpay-nonce", "AnswerNonce");
            set("wechatpay-signature", &format!("{probe}{signature}"));
            set("wechatpay-serial", serial);
            set("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048");
        }
        (StatusCode::from_u16(self.status).expect("a status"), headers, self.body).into_response()
    }
}

fn der(pem: &str) -> Vec<u8> {
    Pem::read(std::io::Cursor::new(pem)).expect("PEM").0.contents
}

fn sign(key_pem: &str, message: &[u8]) -> String {
    let pair = RsaKeyPair::from_pkcs8(&der(key_pem)).expect("a good key");
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("signs");
    BASE64.encode(signature)
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path_query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path_query)
    }

    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Reads `Authorization` and checks the signature over what came over the wire.
    pub fn authorization(&self) -> BTreeMap<String, String> {
        let header = self.header("authorization").expect("signed");
        let fields = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").expect("the scheme");
        let fields: BTreeMap<String, String> = fields
            .split(',')
            .map(|field| {
                let (name, value) = field.split_once('=').expect("name=value");
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect("quoted");
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["mchid", "nonce_str", "serial_no", "signature", "timestamp"]);
        let mut message = format!(
            "{}\n{}\n{}\n{}\n",
            self.method, self.path_query, fields["timestamp"], fields["nonce_str"]
        )
        .into_bytes();
        message.extend_from_slice(&self.body);
        message.push(b'\n');
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(MERCHANT_PUBLIC))
            .verify(&message, &BASE64.decode(&fields["signature"]).expect("base64"))
            .expect("the signature covers method, path, time, nonce and body as sent");
        fields
    }
}

#[derive(Clone, Default)]
struct Shared {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A server that gives the scripted answers in turn and keeps what it was asked.
pub struct Server {
    pub url: String,
    shared: Shared,
}

impl Server {
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared =
            Shared { replies: Arc::new(Mutex::new(replies.into_iter().collect())), ..Shared::default() };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// What came so far; every request to the pay API must have carried a good signature.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.shared.seen.lock().expect("not poisoned").clone();
        for request in seen.iter().filter(|request| request.path_query.starts_with("/v3/")) {
            request.authorization();
        }
        seen
    }

    /// The only request there was.
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path_query = uri.path_and_query().expect("a path").to_string();
    shared.seen.lock().expect("not poisoned").push(Seen { method, path_query, headers, body: body.to_vec() });
    let reply = shared.replies.lock().expect("not poisoned").pop_front();
    let Some(reply) = reply else { return (StatusCode::IM_A_TEAPOT, "nothing scripted").into_response() };
    tokio::time::sleep(reply.after).await;
    reply.into_response()
}

/// An address where nothing listens.
pub async fn refusing_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}
