//! The mini-program APIs: paths, the token's cache, errors by number, nothing secret in them.

use crate::support::{OPENID, Reply, Server, Signer, refusing_url};
use hexiao_wechat::{ConfigError, MiniClient, MiniConfig, MiniError, SubscribeMessage};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn config(base_url: &str) -> MiniConfig {
    MiniConfig {
        base_url: base_url.to_owned(),
        appid: "wxd678efh567hg6787".into(),
        secret: "s3cr&t".into(),
        timeout: Duration::from_secs(5),
    }
}

fn client(server: &Server) -> MiniClient {
    MiniClient::new(config(&server.url)).expect("good")
}

fn reply(body: &Value) -> Reply {
    Reply::ok(body).by(Signer::Nobody)
}

fn token(name: &str, expires_in: i64) -> Reply {
    reply(&json!({"access_token": name, "expires_in": expires_in}))
}

fn phone() -> Reply {
    reply(&json!({"errcode": 0, "errmsg": "ok", "phone_info": {
        "phoneNumber": "13800138000", "purePhoneNumber": "13800138000", "countryCode": "86",
        "watermark": {"timestamp": 1_763_888_400, "appid": "wxd678efh567hg6787"}}}))
}

#[tokio::test]
async fn code2session_gives_the_identity() {
    let answer = json!({"openid": OPENID, "session_key": "tiihtNczf5v6AKRyjwEUhQ==", "unionid": ""});
    let server = Server::start([reply(&answer)]).await;
    let session = client(&server).code2session("a b+c").await.expect("known");
    assert_eq!(
        server.only().line(),
        "GET /sns/jscode2session?appid=wxd678efh567hg6787&secret=s3cr%26t&js_code=a%20b%2Bc\
         &grant_type=authorization_code"
    );
    assert_eq!((session.openid.as_str(), session.unionid.as_deref()), (OPENID, None));
    assert_eq!(session.session_key.expose_secret(), "tiihtNczf5v6AKRyjwEUhQ==");
    let shown = format!("{session:?}");
    assert!(!shown.contains(OPENID) && !shown.contains("tiiht"), "{shown}");
}

#[tokio::test]
async fn errors_are_told_apart_by_number() {
    for (errcode, expected) in [
        (40029, MiniError::InvalidCode),
        (40163, MiniError::CodeUsed),
        (40226, MiniError::UserBlocked),
        (-1, MiniError::Busy),
        (45011, MiniError::Busy),
        (40125, MiniError::Refused { errcode: 40125, rid: Some("5f8d-1".into()) }),
    ] {
        let body = json!({"errcode": errcode, "errmsg": "whatever rid: 5f8d-1"});
        let server = Server::start([reply(&body)]).await;
        assert_eq!(client(&server).code2session("c").await.map(|_| ()), Err(expected));
        assert_eq!(server.seen().len(), 1, "a code counts once");
    }
    let server = Server::start([Reply::new(502, "<html>")]).await;
    let error = client(&server).code2session("c").await.expect_err("502");
    assert_eq!(error, MiniError::Transport("HTTP 502".into()));
    let server = Server::start([reply(&json!({"errcode": 0}))]).await;
    assert!(matches!(client(&server).code2session("c").await, Err(MiniError::Transport(_))));
}

#[tokio::test]
async fn a_transport_error_does_not_show_the_url() {
    let slow = Reply { after: Duration::from_secs(5), ..token("t", 7200) };
    let server = Server::start([slow]).await;
    let timeout = Duration::from_millis(200);
    let late = MiniClient::new(MiniConfig { timeout, ..config(&server.url) }).expect("good");
    let unconnected = MiniClient::new(config(&refusing_url().await)).expect("good");
    for client in [late, unconnected] {
        let error = client.code2session("the-code").await.expect_err("no answer");
        let shown = format!("{error} {error:?} {client:?}");
        assert!(matches!(error, MiniError::Transport(_) | MiniError::Unreached), "{error:?}");
        assert!(!shown.contains("s3cr") && !shown.contains("the-code"), "{shown}");
    }
}

#[tokio::test]
async fn access_token_is_fetched_once_for_many_callers() {
    let server = Server::start([Reply { after: Duration::from_millis(100), ..token("T1", 7200) }]).await;
    let client = Arc::new(client(&server));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.access_token().await })
        })
        .collect();
    for caller in callers {
        let token = caller.await.expect("ran").expect("fetched");
        assert_eq!(token.expose_secret(), "T1");
    }
    let seen = server.only();
    assert_eq!(seen.line(), "POST /cgi-bin/stable_token");
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    assert_eq!(
        body,
        json!({"grant_type": "client_credential", "appid": "wxd678efh567hg6787", "secret": "s3cr&t"})
    );
}

#[tokio::test]
async fn access_token_is_renewed_300_seconds_before_it_ends() {
    let server = Server::start([token("T1", 300), token("T2", 301), token("T3", 7200)]).await;
    let client = client(&server);
    let get = async || client.access_token().await.expect("fetched").expose_secret().to_owned();
    assert_eq!(get().await, "T1");
    assert_eq!(get().await, "T2", "T1 had no second left to use");
    assert_eq!(get().await, "T2");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(get().await, "T3");
    assert_eq!(get().await, "T3");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn phone_number_sends_the_token_and_the_code() {
    let server = Server::start([token("T/1", 7200), phone()]).await;
    let number = client(&server).phone_number("p1").await.expect("known");
    assert_eq!((number.pure_phone_number.as_str(), number.country_code.as_str()), ("13800138000", "86"));
    assert!(!format!("{number:?}").contains("138"));
    let seen = server.seen();
    assert_eq!(seen[1].line(), "POST /wxa/business/getuserphonenumber?access_token=T%2F1");
    assert_eq!(seen[1].body_text(), "{\"code\":\"p1\"}");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    for errcode in [40001, 40014, 42001] {
        let refused = || reply(&json!({"errcode": errcode, "errmsg": "token rid: 1"}));
        let server = Server::start([token("T1", 7200), refused(), token("T2", 7200), phone()]).await;
        client(&server).phone_number("p1").await.expect("with the second token");
        let seen = server.seen();
        assert_eq!(seen[3].path_query, "/wxa/business/getuserphonenumber?access_token=T2");
        assert!(!seen[2].body_text().contains("force_refresh"), "a forced one kills everybody's token");

        let server =
            Server::start([token("T1", 7200), refused(), token("T2", 7200), refused(), phone()]).await;
        let error = client(&server).phone_number("p1").await.expect_err("refused twice");
        assert_eq!(error, MiniError::Refused { errcode, rid: Some("1".into()) });
        assert_eq!(server.seen().len(), 4);
    }
    // Any other refusal is final.
    let server = Server::start([token("T1", 7200), reply(&json!({"errcode": 40029})), phone()]).await;
    assert_eq!(client(&server).phone_number("p1").await, Err(MiniError::InvalidCode));
    assert_eq!(server.seen().len(), 2);
}

fn message() -> SubscribeMessage {
    SubscribeMessage {
        openid: OPENID.to_owned(),
        template_id: "T".to_owned(),
        page: Some("pages/order/order".to_owned()),
        values: vec![("thing1".to_owned(), "双人套餐".to_owned())],
    }
}

#[tokio::test]
async fn a_message_is_sent_with_its_values() {
    let sent = reply(&json!({"errcode": 0, "errmsg": "ok", "msgid": 1}));
    let server = Server::start([token("T1", 7200), sent]).await;
    client(&server).send_message(&message()).await.expect("sent");
    let seen = server.seen();
    assert_eq!(seen[1].line(), "POST /cgi-bin/message/subscribe/send?access_token=T1");
    let body: Value = serde_json::from_str(seen[1].body_text()).expect("JSON");
    let expected = json!({"touser": OPENID, "template_id": "T", "page": "pages/order/order", "lang": "zh_CN",
        "data": {"thing1": {"value": "双人套餐"}}});
    assert_eq!(body, expected);
    assert!(!format!("{:?}", message()).contains(OPENID));
}

#[tokio::test]
async fn why_a_message_was_not_sent() {
    for errcode in [43101, 40037, 47003, 45009] {
        let refused = reply(&json!({"errcode": errcode, "errmsg": "no"}));
        let server = Server::start([token("T1", 7200), refused]).await;
        let error = client(&server).send_message(&message()).await.expect_err("refused");
        assert_eq!(error, MiniError::Refused { errcode, rid: None });
        assert_eq!(server.seen().len(), 2, "it is not repeated");
    }
    let unreached = MiniClient::new(config(&refusing_url().await)).expect("good");
    assert_eq!(unreached.send_message(&message()).await, Err(MiniError::Unreached));
}

#[test]
fn configurations_are_checked() {
    let new = |config| MiniClient::new(config).map(|_| ());
    let good = || config("https://api.weixin.qq.com");
    assert_eq!(new(good()), Ok(()));
    assert!(matches!(
        new(MiniConfig { base_url: "https://api.weixin.qq.com/cgi-bin".into(), ..good() }),
        Err(ConfigError::BaseUrl(_))
    ));
    assert_eq!(new(MiniConfig { appid: "wx&x".into(), ..good() }), Err(ConfigError::Identity("appid")));
    assert!(new(MiniConfig { secret: "".into(), ..good() }).is_err());
    assert!(!format!("{:?}", good()).contains("s3cr"));
}
