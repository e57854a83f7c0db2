//! The cryptography against vectors that openssl made (`tests/vectors/make-vectors.sh`).

use super::*;
use serde_json::Value;

const MERCHANT_KEY: &str = include_str!("../tests/vectors/test-only-merchant-key.pem");
const PUBKEY_KEY: &str = include_str!("../tests/vectors/test-only-pubkey-key.pem");
const PUBKEY_PUBLIC: &str = include_str!("../tests/vectors/pubkey-public.pem");
const PLATFORM_CERT: &str = include_str!("../tests/vectors/platform-cert.pem");
const NEXT_CERT: &str = include_str!("../tests/vectors/next-platform-cert.pem");

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors/vectors.json")).expect("vectors.json is JSON")
}

fn text<'a>(vectors: &'a Value, pointer: &str) -> &'a str {
    vectors.pointer(pointer).and_then(Value::as_str).expect(pointer)
}

fn merchant() -> MerchantKey {
    MerchantKey::from_pem(&MERCHANT_KEY.into()).expect("a good key")
}

#[test]
fn request_get_has_an_empty_last_line() {
    let v = vectors();
    let message =
        request_message("GET", text(&v, "/request/get_path"), 1_763_888_400, text(&v, "/request/nonce"), b"");
    assert_eq!(message, text(&v, "/request/get_message").as_bytes());
    assert_eq!(merchant().sign(&message), text(&v, "/request/get_signature"));
}

#[test]
fn request_post_covers_the_body_bytes() {
    let v = vectors();
    let body = text(&v, "/request/post_body").as_bytes();
    let message = request_message(
        "POST",
        text(&v, "/request/post_path"),
        1_763_888_400,
        text(&v, "/request/nonce"),
        body,
    );
    assert_eq!(message, text(&v, "/request/post_message").as_bytes());
    assert_eq!(merchant().sign(&message), text(&v, "/request/post_signature"));
}

#[test]
fn pay_sign_covers_four_lines() {
    let v = vectors();
    let package = format!("prepay_id={}", text(&v, "/pay_sign/prepay_id"));
    let message = payment_message(
        text(&v, "/pay_sign/appid"),
        text(&v, "/pay_sign/timestamp"),
        text(&v, "/pay_sign/nonce"),
        &package,
    );
    assert_eq!(message, text(&v, "/pay_sign/message").as_bytes());
    assert_eq!(merchant().sign(&message), text(&v, "/pay_sign/signature"));
}

#[test]
fn answers_verify_with_the_key_that_signed_and_no_other() {
    let v = vectors();
    let of = |body: &[u8]| answer_message(text(&v, "/answer/timestamp"), text(&v, "/answer/nonce"), body);
    let (full, empty) = (of(text(&v, "/answer/body").as_bytes()), of(b""));
    assert_eq!(full, text(&v, "/answer/message").as_bytes());
    assert_eq!(empty, text(&v, "/answer/empty_message").as_bytes(), "a 204 signs an empty body");
    let (cert, public) =
        (certificate(PLATFORM_CERT).expect("good").key, public_key(PUBKEY_PUBLIC).expect("good"));
    assert!(cert.verifies(&full, text(&v, "/answer/certificate_signature")));
    assert!(public.verifies(&full, text(&v, "/answer/public_key_signature")));
    assert!(cert.verifies(&empty, text(&v, "/answer/empty_certificate_signature")));
    assert!(public.verifies(&empty, text(&v, "/answer/empty_public_key_signature")));
    assert!(!cert.verifies(&full, text(&v, "/answer/public_key_signature")));
    assert!(!cert.verifies(&empty, text(&v, "/answer/certificate_signature")));
    assert!(!cert.verifies(&full, "not base64!"));
}

#[test]
fn gcm_opens_with_and_without_associated_data() {
    let v = vectors();
    let key = ApiV3Key::new(&text(&v, "/api_v3_key").into()).expect("32 bytes");
    let cases = v["gcm"].as_array().expect("an array");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (nonce, aad) = (text(case, "/nonce"), text(case, "/associated_data"));
        let cipher = text(case, "/ciphertext");
        assert_eq!(
            key.open(nonce, aad, cipher).as_deref(),
            Some(text(case, "/plain").as_bytes()),
            "aad {aad:?}"
        );
        assert_eq!(key.open(nonce, "other", cipher), None);
        assert_eq!(key.open("too short", aad, cipher), None);
        assert_eq!(key.open(nonce, aad, "AAAA"), None, "shorter than a tag");
    }
}

#[test]
fn api_v3_key_has_32_ascii_bytes() {
    assert!(ApiV3Key::new(&"x".repeat(32).into()).is_some());
    for bad in ["x".repeat(31), "x".repeat(33), "é".repeat(16)] {
        assert!(ApiV3Key::new(&bad.into()).is_none());
    }
}

#[test]
fn oaep_is_the_one_openssl_calls_sha1() {
    use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey};
    let v = vectors();
    let der = pem_contents(PUBKEY_KEY, "PRIVATE KEY").expect("PEM");
    let private = PrivateDecryptingKey::from_pkcs8(&der).expect("a good key");
    let private = OaepPrivateDecryptingKey::new(private).expect("a good key");
    let open = |cipher: &str| {
        let cipher = BASE64.decode(cipher).expect("base64");
        let mut out = vec![0; private.min_output_size()];
        let plain = private.decrypt(&OAEP_SHA1_MGF1SHA1, &cipher, &mut out, None).expect("our padding");
        String::from_utf8(plain.to_vec()).expect("UTF-8")
    };
    let plain = text(&v, "/oaep/plain");
    // The first pins the parameters to openssl's, the second that we encrypt with the same.
    assert_eq!(open(text(&v, "/oaep/ciphertext")), plain);
    let key = public_key(PUBKEY_PUBLIC).expect("good");
    assert_eq!(open(&key.encrypt(plain).expect("short enough")), plain);
    assert!(key.encrypt(&"x".repeat(214)).is_some());
    assert!(key.encrypt(&"x".repeat(215)).is_none());
}

#[test]
fn certificate_serials_compare_in_one_form() {
    assert_eq!(certificate(PLATFORM_CERT).expect("good").serial, "7DFD3FBB17F6B6F2FB1C4A9E50B0E10D5C0F9A21");
    // Its highest bit is set, so DER begins with a zero byte that the serial doesn't have.
    assert_eq!(certificate(NEXT_CERT).expect("good").serial, "F1C4A9E50B0E10D5C0F9A217DFD3FBB17F6B6F2F");
    assert_eq!(normal_serial("00f1c4"), "F1C4");
    assert!(certificate(PUBKEY_PUBLIC).is_none());
    assert!(public_key(PLATFORM_CERT).is_none());
}
