//! Notifications against vectors: signed by openssl, encrypted by python's `cryptography`.

use crate::support::{
    CERT_SERIAL, NEXT_SERIAL, OPENID, PUB_KEY_ID, certificate, config, direct, partner, public_key, vectors,
};
use hexiao_wechat::{
    NotificationError, NotificationHeaders, NotificationKind, PayClient, PayConfig, RefundStatus, TradeState,
};
use serde_json::Value;
use std::sync::Arc;

/// When the vectors were signed.
const SIGNED_AT: i64 = 1_763_888_401;

fn client(keys: Vec<hexiao_wechat::PlatformKey>, now: i64) -> PayClient {
    let base = config("http://127.0.0.1:9");
    PayClient::new(PayConfig { platform_keys: keys, clock: Arc::new(move || now), ..base }).expect("good")
}

fn both() -> PayClient {
    client(vec![certificate(), public_key()], SIGNED_AT)
}

fn text(v: &Value, name: &str) -> String {
    v["notification"][name].as_str().expect(name).to_owned()
}

fn headers(v: &Value, signature: &str, serial: &str) -> NotificationHeaders {
    NotificationHeaders {
        timestamp: Some(text(v, "timestamp")),
        nonce: Some(text(v, "nonce")),
        signature: Some(text(v, signature)),
        serial: Some(serial.to_owned()),
        signature_type: Some("WECHATPAY2-SHA256-RSA2048".to_owned()),
    }
}

/// The payment notification signed with the certificate: good unless a test spoils it.
fn payment(v: &Value) -> (NotificationHeaders, String) {
    (headers(v, "payment_certificate_signature", CERT_SERIAL), text(v, "payment_body"))
}

#[test]
fn payment_opens_with_either_key() {
    let v = vectors();
    for (signature, serial) in [
        ("payment_certificate_signature", CERT_SERIAL.to_owned()),
        ("payment_certificate_signature", CERT_SERIAL.to_lowercase()),
        ("payment_public_key_signature", PUB_KEY_ID.to_owned()),
    ] {
        let opened = both()
            .open_notification(&headers(&v, signature, &serial), text(&v, "payment_body").as_bytes())
            .expect("genuine");
        assert_eq!(opened.id, "EV-2018022511223320873");
        assert_eq!(opened.event_type, "TRANSACTION.SUCCESS");
        assert_eq!(opened.create_time.timestamp(), SIGNED_AT);
        assert!(!format!("{opened:?}").contains(OPENID));
        let NotificationKind::Payment(order) = opened.kind else { panic!("{:?}", opened.kind) };
        assert_eq!(order.out_trade_no, "HX20261123000001");
        assert_eq!(order.transaction_id.as_deref(), Some("4200001234202611230123456789"));
        assert_eq!((order.trade_state.clone(), order.total_fen), (TradeState::Success, Some(10_000)));
        assert_eq!(order.payer_openid.as_deref(), Some(OPENID));
        assert!(order.belongs_to(&direct()) && !order.belongs_to(&partner(None)));
    }
}

#[test]
fn refund_opens_without_associated_data() {
    let v = vectors();
    let opened = both()
        .open_notification(
            &headers(&v, "refund_public_key_signature", PUB_KEY_ID),
            text(&v, "refund_body").as_bytes(),
        )
        .expect("genuine");
    let NotificationKind::Refund(refund) = opened.kind else { panic!("{:?}", opened.kind) };
    assert_eq!((refund.refund_fen, refund.total_fen), (3_000, 10_000));
    assert_eq!(refund.status, RefundStatus::Success);
    assert_eq!(refund.out_refund_no, "RF20261123000001");
    assert!(refund.belongs_to(&direct()) && !refund.belongs_to(&partner(None)));
}

#[test]
fn a_missing_signature_type_means_the_only_one() {
    let v = vectors();
    let (headers, body) = payment(&v);
    let untyped = NotificationHeaders { signature_type: None, ..headers.clone() };
    both().open_notification(&untyped, body.as_bytes()).expect("genuine");
    let other = NotificationHeaders { signature_type: Some("WECHATPAY2-SM2-WITH-SM3".into()), ..headers };
    assert_eq!(both().open_notification(&other, body.as_bytes()), Err(NotificationError::BadSignature));
}

#[test]
fn every_header_is_needed() {
    let v = vectors();
    let (good, body) = payment(&v);
    for headers in [
        NotificationHeaders { timestamp: None, ..good.clone() },
        NotificationHeaders { nonce: None, ..good.clone() },
        NotificationHeaders { signature: None, ..good.clone() },
        NotificationHeaders { serial: None, ..good.clone() },
        NotificationHeaders { timestamp: Some("yesterday".into()), ..good },
    ] {
        let error = both().open_notification(&headers, body.as_bytes());
        assert_eq!(error, Err(NotificationError::MissingHeader), "{headers:?}");
    }
}

#[test]
fn a_tampered_part_fails_the_signature() {
    let v = vectors();
    let (good, body) = payment(&v);
    let other_body = body.replace("TRANSACTION.SUCCESS", "TRANSACTION.SUCCESX");
    let spaced = format!("{body} ");
    let later = NotificationHeaders { timestamp: Some((SIGNED_AT + 1).to_string()), ..good.clone() };
    let nonce = NotificationHeaders { nonce: Some("other".into()), ..good.clone() };
    let cut = NotificationHeaders { signature: Some("AAAA".into()), ..good.clone() };
    let crossed = NotificationHeaders { serial: Some(PUB_KEY_ID.into()), ..good.clone() };
    for (headers, body) in [
        (&good, &other_body),
        (&good, &spaced),
        (&later, &body),
        (&nonce, &body),
        (&cut, &body),
        (&crossed, &body),
    ] {
        let error = both().open_notification(headers, body.as_bytes());
        assert_eq!(error, Err(NotificationError::BadSignature), "{headers:?}");
    }
}

#[test]
fn a_probe_is_refused_as_one() {
    let v = vectors();
    let (good, body) = payment(&v);
    let signature = good.signature.as_ref().map(|real| format!("WECHATPAY/SIGNTEST/{real}"));
    let probe = NotificationHeaders { signature, ..good };
    assert_eq!(both().open_notification(&probe, body.as_bytes()), Err(NotificationError::Probe));
}

#[test]
fn a_serial_not_known_is_refused() {
    let v = vectors();
    let (good, body) = payment(&v);
    let next = NotificationHeaders { serial: Some(NEXT_SERIAL.into()), ..good.clone() };
    assert_eq!(both().open_notification(&next, body.as_bytes()), Err(NotificationError::UnknownSerial));
    let only_public = client(vec![public_key()], SIGNED_AT);
    assert_eq!(only_public.open_notification(&good, body.as_bytes()), Err(NotificationError::UnknownSerial));
}

#[test]
fn stale_begins_at_300_seconds_either_way() {
    let v = vectors();
    let (good, body) = payment(&v);
    for (age, stale) in [(299, false), (300, true), (-299, false), (-300, true)] {
        let result = client(vec![certificate()], SIGNED_AT + age).open_notification(&good, body.as_bytes());
        assert_eq!(result.err(), stale.then_some(NotificationError::Stale), "{age}");
    }
    let absurd = NotificationHeaders { timestamp: Some(i64::MIN.to_string()), ..good };
    assert_eq!(both().open_notification(&absurd, body.as_bytes()), Err(NotificationError::Stale));
}

#[test]
fn another_api_v3_key_cannot_open_it() {
    let v = vectors();
    let (headers, body) = payment(&v);
    let base = config("http://127.0.0.1:9");
    let other = PayClient::new(PayConfig {
        api_v3_key: "another-apiv3-key-of-32-bytes-00".into(),
        clock: Arc::new(|| SIGNED_AT),
        ..base
    })
    .expect("good");
    assert_eq!(other.open_notification(&headers, body.as_bytes()), Err(NotificationError::BadCipher));
}
