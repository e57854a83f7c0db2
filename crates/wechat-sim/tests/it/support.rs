//! A tiny signing client, a notification receiver, and a simulator with fixed keys.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use hexiao_wechat_sim::{
    PayArgs, PlatformKeys, SimConfig, SimHandle, SimMerchant, SimMiniProgram, SubMerchant, start,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

pub const MCHID: &str = "1900000001";
pub const PROVIDER: &str = "1900000100";
pub const SUB: &str = "1900000101";
pub const APPID: &str = "wx0000000000000001";
pub const SP_APPID: &str = "wx0000000000000100";
pub const SUB_APPID: &str = "wx0000000000000101";
pub const SERIAL: &str = "3775B6A45ACD588826D15E583A95F5DD";
pub const API_V3_KEY: &str = "0123456789abcdef0123456789ABCDEF";

pub const MERCHANT_PUBLIC: &str = include_str!("../vectors/merchant_public.pem");
const MERCHANT_PRIVATE: &str = include_str!("../vectors/merchant_private.pem");
const PLATFORM_KEYS: &str = concat!(
    include_str!("../vectors/platform_private.pem"),
    include_str!("../vectors/platform_second_private.pem")
);
const PLATFORM_CERT: &str = include_str!("../vectors/platform_cert.pem");
pub const CERT_SERIAL: &str = "5A0B1C2D3E4F60718293A4B5C6D7E8F90A1B2C3D";
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000012024101100337800001234";

fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap()
}

/// Whether the platform key named by `serial` signed the message. Uses the public halves that openssl wrote.
pub fn platform_verifies(serial: &str, message: &[u8], signature: &str) -> bool {
    let pem = match serial {
        CERT_SERIAL => include_str!("../vectors/platform_public.pem"),
        PUBLIC_KEY_ID => include_str!("../vectors/platform_second_public.pem"),
        _ => return false,
    };
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(pem)).verify(message, &signature).is_ok()
}

pub fn sign(message: &str) -> String {
    sign_bytes(message.as_bytes())
}

pub fn sign_bytes(message: &[u8]) -> String {
    let key = KeyPair::from_pkcs8(&der(MERCHANT_PRIVATE)).unwrap();
    let mut bytes = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut bytes).unwrap();
    STANDARD.encode(bytes)
}

pub fn open(resource: &Value) -> Value {
    serde_json::from_str(&open_text(resource)).unwrap()
}

pub fn open_text(resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut data = STANDARD.decode(text("ciphertext")).unwrap();
    let aad = Aad::from(text("associated_data").as_bytes());
    String::from_utf8(key.open_in_place(nonce, aad, &mut data).unwrap().to_vec()).unwrap()
}

pub fn platform() -> PlatformKeys {
    PlatformKeys::from_pem(PLATFORM_KEYS, PLATFORM_CERT, PUBLIC_KEY_ID).unwrap()
}

pub fn merchant(mchid: &str, appid: &str, subs: Vec<SubMerchant>) -> SimMerchant {
    SimMerchant {
        mchid: mchid.into(),
        appids: vec![appid.into()],
        serial: SERIAL.into(),
        public_key_pem: MERCHANT_PUBLIC.into(),
        api_v3_key: API_V3_KEY.into(),
        subs,
    }
}

pub fn config() -> SimConfig {
    let sub = SubMerchant { mchid: SUB.into(), appid: Some(SUB_APPID.into()) };
    let mut config = SimConfig::new(platform());
    config.merchants = vec![merchant(MCHID, APPID, Vec::new()), merchant(PROVIDER, SP_APPID, vec![sub])];
    config.mini_programs = vec![SimMiniProgram { appid: APPID.into(), secret: "secret".into() }];
    config.notify_speed = 1000.0;
    config.notify_delay = Duration::ZERO;
    config
}

/// A simulator and a client of it.
pub struct Bed {
    pub sim: SimHandle,
    pub http: reqwest::Client,
    pub hook: Hook,
}

/// The parts of a call a test may spoil.
pub struct Call {
    pub method: Method,
    pub url: String,
    pub body: Vec<u8>,
    pub mchid: String,
    pub serial: String,
    pub nonce: String,
    pub timestamp: i64,
    pub wechatpay_serial: Option<String>,
    /// Replaces the whole header.
    pub authorization: Option<String>,
    pub signed_body: Option<Vec<u8>>,
    pub headers: Vec<(&'static str, &'static str)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub async fn read(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let raw = response.bytes().await.unwrap().to_vec();
        let json = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        Self { status, headers, raw, json }
    }

    /// Whether the signature verifies with the key that the answer names.
    pub fn verifies(&self) -> bool {
        let mut message =
            format!("{}\n{}\n", self.header("Wechatpay-Timestamp"), self.header("Wechatpay-Nonce"))
                .into_bytes();
        message.extend_from_slice(&self.raw);
        message.push(b'\n');
        platform_verifies(self.header("Wechatpay-Serial"), &message, self.header("Wechatpay-Signature"))
    }

    /// 2xx and properly signed; the JSON.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(matches!(self.status, 200 | 204), "{} {}", self.status, self.json);
        assert!(self.verifies(), "the answer's signature");
        self.json
    }

    /// An error with this status and code, unsigned.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert!(!self.headers.contains_key("Wechatpay-Signature"));
        assert!(!self.header("Request-ID").is_empty());
        self.json
    }
}

impl Bed {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: SimConfig) -> Self {
        let sim = start(config).await.unwrap();
        Self { sim, http: reqwest::Client::builder().no_proxy().build().unwrap(), hook: Hook::start().await }
    }

    pub fn call(&self, method: Method, url: &str, body: &Value) -> Call {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut headers = vec![("Accept", "application/json"), ("User-Agent", "test")];
        if method == Method::POST {
            headers.push(("Content-Type", "application/json"));
        }
        Call {
            method,
            url: url.into(),
            body,
            mchid: MCHID.into(),
            serial: SERIAL.into(),
            nonce: "5K8264ILTKCH16CQ2502SI8ZNMTM67VS".into(),
            timestamp: self.sim.now().timestamp(),
            wechatpay_serial: Some(CERT_SERIAL.into()),
            authorization: None,
            signed_body: None,
            headers,
        }
    }

    pub async fn try_send(&self, call: Call) -> reqwest::Result<Answer> {
        let signed_body = call.signed_body.as_ref().unwrap_or(&call.body);
        let message = format!(
            "{}\n{}\n{}\n{}\n{}\n",
            call.method,
            call.url,
            call.timestamp,
            call.nonce,
            String::from_utf8_lossy(signed_body)
        );
        let authorization = call.authorization.clone().unwrap_or_else(|| {
            format!(
                "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{}\",timestamp=\"{}\",serial_no=\"{}\",signature=\"{}\"",
                call.mchid, call.nonce, call.timestamp, call.serial, sign(&message)
            )
        });
        let mut request = self
            .http
            .request(call.method, format!("{}{}", self.sim.url(), call.url))
            .timeout(Duration::from_secs(10))
            .body(call.body);
        if !authorization.is_empty() {
            request = request.header("Authorization", authorization);
        }
        if let Some(serial) = call.wechatpay_serial {
            request = request.header("Wechatpay-Serial", serial);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        Ok(Answer::read(request.send().await?).await)
    }

    pub async fn send(&self, call: Call) -> Answer {
        self.try_send(call).await.unwrap()
    }

    pub async fn post(&self, url: &str, body: &Value) -> Answer {
        self.send(self.call(Method::POST, url, body)).await
    }

    pub async fn get(&self, url: &str) -> Answer {
        self.send(self.call(Method::GET, url, &Value::Null)).await
    }

    /// As the service provider.
    pub async fn provider(&self, method: Method, url: &str, body: &Value) -> Answer {
        let call = Call { mchid: PROVIDER.into(), ..self.call(method, url, body) };
        self.send(call).await
    }

    pub fn openid(&self) -> String {
        self.sim.openid(APPID, "ann")
    }

    pub fn order(&self, number: &str) -> Value {
        json!({
            "appid": APPID,
            "mchid": MCHID,
            "description": "咖啡券",
            "out_trade_no": number,
            "notify_url": self.hook.url,
            "attach": "a",
            "amount": {"total": 100, "currency": "CNY"},
            "payer": {"openid": self.openid()},
        })
    }

    pub fn refund(&self, number: &str, refund: &str, fen: i64) -> Value {
        json!({
            "out_trade_no": number,
            "out_refund_no": refund,
            "notify_url": self.hook.url,
            "amount": {"refund": fen, "total": 100, "currency": "CNY"},
        })
    }

    pub async fn create(&self, number: &str) -> String {
        let answer = self.post("/v3/pay/transactions/jsapi", &self.order(number)).await.ok();
        answer["prepay_id"].as_str().unwrap().to_owned()
    }

    pub fn pay(&self, number: &str) -> String {
        let args = PayArgs { out_trade_no: number.into(), ..PayArgs::default() };
        self.sim.pay(args).unwrap().transaction_id
    }

    /// Created and paid.
    pub async fn paid(&self, number: &str) -> String {
        self.create(number).await;
        self.pay(number)
    }

    pub async fn query(&self, number: &str) -> Value {
        self.get(&format!("/v3/pay/transactions/out-trade-no/{number}?mchid={MCHID}")).await.ok()
    }

    pub async fn apply_refund(&self, number: &str, refund: &str, fen: i64) -> Answer {
        self.post("/v3/refund/domestic/refunds", &self.refund(number, refund, fen)).await
    }

    /// A control call.
    pub async fn control(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/_sim{path}", self.sim.url());
        let response = self.http.request(method, url).body(body.to_string()).send().await.unwrap();
        let answer = Answer::read(response).await;
        (answer.status, answer.json)
    }

    pub async fn fault(&self, rule: Value) {
        let (status, answer) = self.control(Method::POST, "/faults", &rule).await;
        assert_eq!(status, 200, "{rule}: {answer}");
    }
}

/// A received notification.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub json: Value,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn verifies(&self) -> bool {
        let mut message =
            format!("{}\n{}\n", self.header("Wechatpay-Timestamp"), self.header("Wechatpay-Nonce"))
                .into_bytes();
        message.extend_from_slice(&self.raw);
        message.push(b'\n');
        platform_verifies(self.header("Wechatpay-Serial"), &message, self.header("Wechatpay-Signature"))
    }

    pub fn plain(&self) -> Value {
        open(&self.json["resource"])
    }

    pub fn order(&self) -> String {
        self.plain()["out_trade_no"].as_str().unwrap().to_owned()
    }
}

/// A merchant's `notify_url`: remembers what came, answers from a list and then 204.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    state: Arc<HookState>,
}

#[derive(Default)]
struct HookState {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<(u16, Duration)>>,
}

impl Hook {
    async fn start() -> Self {
        let state = Arc::new(HookState::default());
        let app = Router::new().fallback(receive).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/notify", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    pub fn answer(&self, status: u16) {
        self.answer_after(status, Duration::ZERO);
    }

    pub fn answer_after(&self, status: u16, wait: Duration) {
        self.state.answers.lock().unwrap().push_back((status, wait));
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until this many have come.
    #[track_caller]
    pub fn wait(&self, count: usize) -> impl Future<Output = Vec<Received>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..1000 {
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{} of {count} notifications came, at {caller}", self.received().len());
        }
    }
}

async fn receive(State(state): State<Arc<HookState>>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let json = serde_json::from_slice(&raw).unwrap_or(Value::Null);
    state.received.lock().unwrap().push(Received { headers, raw, json });
    let (status, wait) = state.answers.lock().unwrap().pop_front().unwrap_or((204, Duration::ZERO));
    tokio::time::sleep(wait).await;
    StatusCode::from_u16(status).unwrap()
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..1000 {
            if check() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came true, at {caller}");
    }
}
