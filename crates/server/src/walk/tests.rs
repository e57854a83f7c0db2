//! The walk against the scripted server.

use clap::Parser;

use super::fake::{Fake, Fault};
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    walk: WalkArgs,
}

fn args(words: &[&str]) -> WalkArgs {
    Line::try_parse_from([&["walk"], words].concat()).unwrap().walk
}

fn walk_lat(words: &[&str]) -> String {
    args(words).lat.to_string()
}

/// What was printed, and how it ended.
async fn walked(fault: Fault) -> (String, anyhow::Result<()>, Fake) {
    let (fake, address) = Fake::start(fault).await;
    let mut out = Vec::new();
    let result = walk(args(&["--server", &format!("{address}/"), "--simulator", &address]), &mut out).await;
    (String::from_utf8(out).unwrap(), result, fake)
}

#[test]
fn defaults_are_the_demos() {
    let args = args(&[]);
    assert_eq!(
        (args.server.as_str(), args.simulator.as_str()),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8090")
    );
    assert_eq!((args.staff_phone.as_str(), args.manager_phone.as_str()), ("13800000021", "13800000001"));
    assert_eq!(walk_lat(&["--lat", "-33.86"]), "-33.86");
}

#[tokio::test]
async fn a_good_server_passes() {
    let (text, result, fake) = walked(Fault::None).await;
    result.unwrap();
    for line in [
        "str_2，2000 米",
        "核销码 1234 5678 9012",
        "还是 rdm_1（replayed）",
        "提醒 just_redeemed",
        "not_enough_uses：不行",
        "退款状态 Processing",
        "66.67 元 已按原路退回",
        "used_up：不行",
        "收款 100.00 元 = 待结算 33.33 元 + 已退款 66.67 元",
        "支付成功：请到店使用",
        "全部 21 步通过",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!fake.calls().contains(&"POST /merchant/products".to_owned()));
}

#[tokio::test]
async fn a_merchant_without_a_card_makes_one() {
    let (text, result, fake) = walked(Fault::NoCard).await;
    result.unwrap();
    assert!(text.contains("新建并上架 3 次卡"), "{text}");
    assert!(fake.calls().contains(&"POST /merchant/products/prd_1/publish".to_owned()));
}

#[tokio::test]
async fn what_is_off_ends_the_walk_and_is_named() {
    for (fault, step, reason) in [
        (Fault::Distances, "找最近的门店", "由近到远"),
        (Fault::OrderTwice, "下单", "应为 ord_1，实际 ord_2"),
        (Fault::Closed, "微信支付", "应为 Paid，实际 Closed"),
        (Fault::ConfirmTwice, "重发", ""),
        (Fault::TooMany, "核销 5 次", "应被拒绝"),
        (Fault::RefundShort, "退还", "应为 6667，实际 6666"),
        (Fault::RefundWithdrawn, "退还", "实际 Withdrawn"),
        (Fault::LedgerGap, "核对账本", "应为 3333，实际 0"),
    ] {
        let (text, result, _) = walked(fault).await;
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(step) && error.contains(reason), "{fault:?}: {error}\n{text}");
        assert!(error.starts_with("第 ") && !text.contains("全部"), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    let error = walk(args(&["--server", &server]), Vec::new()).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("第 1 步「顾客：微信登录」") && error.contains(&server), "{error}");
}
