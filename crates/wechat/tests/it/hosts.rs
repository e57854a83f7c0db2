//! The backup host, and what a configuration is refused for.

use crate::orders::prepay;
use crate::support::{PUBKEY_PUBLIC, Reply, Server, certificate, config, partner, public_key, refusing_url};
use hexiao_wechat::{Account, ConfigError, PayClient, PayConfig, PlatformKey};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::net::TcpListener;

fn good() -> Reply {
    Reply::ok(&json!({"prepay_id": "wx1"}))
}

#[tokio::test]
async fn backup_host_is_used_after_two_failed_connections_and_left_again() {
    let primary = refusing_url().await;
    let backup = Server::start([good(), good(), good()]).await;
    let now = Arc::new(AtomicI64::new(crate::support::NOW));
    let clock = Arc::clone(&now);
    let client = PayClient::new(PayConfig {
        backup_base_url: Some(backup.url.clone()),
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        ..config(&primary)
    })
    .expect("good");
    client.prepay(&prepay()).await.expect("by the backup host");
    assert_eq!(backup.seen().len(), 1);

    // The primary is back, but the backup is preferred for a while.
    let listener = TcpListener::bind(primary.trim_start_matches("http://")).await.expect("still free");
    client.prepay(&prepay()).await.expect("by the backup host again");
    assert_eq!(backup.seen().len(), 2);

    // Afterwards the primary is asked first; this one hangs up, which is not a failed connection.
    now.fetch_add(299, Ordering::Relaxed);
    let hang_up = tokio::spawn(async move { drop(listener.accept().await) });
    now.fetch_add(1, Ordering::Relaxed);
    let error = client.prepay(&prepay()).await.expect_err("hung up");
    assert!(error.outcome_unknown(), "{error:?}");
    assert_eq!(backup.seen().len(), 2, "what may have arrived is not sent to the other host");
    hang_up.await.expect("accepted");
}

#[tokio::test]
async fn backup_host_is_not_used_for_a_failing_answer() {
    let primary = Server::start([Reply::new(500, "{\"code\":\"SYSTEM_ERROR\"}")]).await;
    let backup = Server::start([good()]).await;
    let client =
        PayClient::new(PayConfig { backup_base_url: Some(backup.url.clone()), ..config(&primary.url) })
            .expect("good");
    assert!(client.prepay(&prepay()).await.expect_err("unknown").outcome_unknown());
    assert!(backup.seen().is_empty());
}

#[test]
fn configurations_are_checked() {
    let good = || config("https://api.mch.weixin.qq.com");
    let new = |config| PayClient::new(config).map(|_| ());
    assert_eq!(new(good()), Ok(()));
    assert_eq!(new(PayConfig { account: partner(Some("wxsub1")), ..good() }), Ok(()));
    let account = |appid: &str, mchid: &str| Account::Direct { appid: appid.into(), mchid: mchid.into() };
    let key = |key| PayConfig { platform_keys: vec![certificate(), key], ..good() };
    let id = |id: &str| PlatformKey::PublicKey { id: id.into(), pem: PUBKEY_PUBLIC.into() };
    for (bad, error) in [
        (PayConfig { base_url: "api.mch.weixin.qq.com".into(), ..good() }, ConfigError::BaseUrl("base URL")),
        (PayConfig { base_url: "https://a/v3".into(), ..good() }, ConfigError::BaseUrl("base URL")),
        (PayConfig { backup_base_url: Some("x".into()), ..good() }, ConfigError::BaseUrl("backup base URL")),
        (PayConfig { account: account("", "1230000109"), ..good() }, ConfigError::Identity("appid")),
        (PayConfig { account: account("wx1", "12300\"0109"), ..good() }, ConfigError::Identity("mchid")),
        (PayConfig { merchant_serial: "5157F09".into(), ..good() }, ConfigError::MerchantSerial),
        (PayConfig { merchant_serial: "Z".repeat(40), ..good() }, ConfigError::MerchantSerial),
        (PayConfig { merchant_private_key_pem: PUBKEY_PUBLIC.into(), ..good() }, ConfigError::MerchantKey),
        (PayConfig { merchant_private_key_pem: "".into(), ..good() }, ConfigError::MerchantKey),
        (PayConfig { api_v3_key: "short".into(), ..good() }, ConfigError::ApiV3Key),
        (key(PlatformKey::Certificate { pem: PUBKEY_PUBLIC.into() }), ConfigError::PlatformKey(1)),
        (key(id("7DFD3FBB")), ConfigError::PublicKeyId(1)),
        (key(id("PUB_KEY_ID_0\r\nx: y")), ConfigError::PublicKeyId(1)),
    ] {
        assert_eq!(new(bad), Err(error));
    }
    assert_eq!(new(PayConfig { platform_keys: vec![public_key()], ..good() }), Ok(()));
}

#[test]
fn debug_shows_no_secret() {
    let config = config("https://api.mch.weixin.qq.com");
    let shown = format!("{config:?}");
    let shown = format!("{shown} {:?}", PayClient::new(config).expect("good"));
    assert!(!shown.contains("TEST-ONLY") && !shown.contains("PRIVATE KEY"), "{shown}");
}
