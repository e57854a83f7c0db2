//! Downloading platform certificates: decrypted first, verified by what came, kept only if both hold.

use crate::orders::prepay;
use crate::support::{CERT_SERIAL, NEXT_CERT, NEXT_SERIAL, PLATFORM_CERT, Reply, Server, Signer, config};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hexiao_wechat::{CallError, ErrorCode, PayClient, PayConfig};
use serde_json::{Value, json};

fn listed(serial: &str, pem: &str, key: &[u8; 32]) -> Value {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
    let mut data = pem.as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key(*b"61f9c719728a");
    key.seal_in_place_append_tag(nonce, Aad::from(b"certificate"), &mut data).expect("seals");
    json!({
        "serial_no": serial, "effective_time": "2025-06-08T10:34:56+08:00",
        "expire_time": "2030-06-08T10:34:56+08:00",
        "encrypt_certificate": {"algorithm": "AEAD_AES_256_GCM", "nonce": "61f9c719728a",
            "associated_data": "certificate", "ciphertext": BASE64.encode(data)},
    })
}

const KEY: &[u8; 32] = b"TEST-ONLY-apiv3-key-32-bytes-000";

fn keyless(server: &Server) -> PayClient {
    PayClient::new(PayConfig { platform_keys: Vec::new(), ..config(&server.url) }).expect("good")
}

#[tokio::test]
async fn first_download_bootstraps_the_key_set() {
    let both =
        json!({"data": [listed(CERT_SERIAL, PLATFORM_CERT, KEY), listed(NEXT_SERIAL, NEXT_CERT, KEY)]});
    let prepaid = Reply::ok(&json!({"prepay_id": "wx1"})).by(Signer::NextCertificate);
    let server = Server::start([Reply::ok(&both), prepaid, Reply::ok(&both)]).await;
    let client = keyless(&server);
    assert_eq!(client.fetch_platform_certificates().await, Ok(2));
    client.prepay(&prepay()).await.expect("verified with a downloaded certificate");
    assert_eq!(client.fetch_platform_certificates().await, Ok(0), "nothing new");
    let seen = server.seen();
    assert_eq!(seen[0].line(), "GET /v3/certificates");
    assert_eq!(seen[1].header("wechatpay-serial"), Some(CERT_SERIAL));
}

#[tokio::test]
async fn nothing_is_kept_of_a_download_that_fails() {
    let next = |serial| json!({"data": [listed(serial, NEXT_CERT, KEY)]});
    let good = next(NEXT_SERIAL);
    for (what, reply) in [
        ("unsigned", Reply::ok(&good).by(Signer::Nobody)),
        ("signed by a stranger", Reply::ok(&good).by(Signer::PublicKey)),
        ("signed by a key it doesn't bring", Reply::ok(&good).by(Signer::Certificate)),
        ("serial of another", Reply::ok(&next(CERT_SERIAL)).by(Signer::NextCertificate)),
        (
            "another APIv3 key",
            Reply::ok(&json!({"data": [listed(NEXT_SERIAL, NEXT_CERT, &[7; 32])]}))
                .by(Signer::NextCertificate),
        ),
    ] {
        let server = Server::start([reply.clone(), reply.clone(), reply]).await;
        let client = keyless(&server);
        let error = client.fetch_platform_certificates().await.expect_err(what);
        assert!(error.outcome_unknown(), "{what}: {error:?}");
        let error = client.prepay(&prepay()).await.expect_err(what);
        assert!(matches!(error, CallError::NotSent { .. }), "{what}: no key was kept");
    }
}

#[tokio::test]
async fn a_merchant_on_a_public_key_is_told_so() {
    let body = "{\"code\":\"RESOURCE_NOT_EXISTS\",\"message\":\"无可用的平台证书\"}";
    let server = Server::start([Reply::new(404, body).by(Signer::Nobody)]).await;
    let error = keyless(&server).fetch_platform_certificates().await.expect_err("none");
    assert_eq!(error.code(), Some(&ErrorCode::ResourceNotExists));
}
