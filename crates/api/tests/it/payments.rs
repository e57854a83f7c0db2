//! Payments over HTTP and WeChat's protocol: settled once whatever the callbacks do, and never by a message that does
//! not fit.

use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use hexiao_wechat_sim::{Fault, FaultAction, Forgery, ForgeryKind, NotificationState, NotifyKey, TradeState};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{
    anomalies, ask_refund, at_wechat, available, balance, broken, key, no_callbacks, no_questions, order,
    order_in, order_path, placed, refund_in, seconds, shop_of, text, titles,
};

/// An order with its payment sheet.
async fn sheet_of_new_order(app: &TestApp, customer: &Client) -> (String, Value) {
    let shop = app.shop(2, 9900, Some(5)).await;
    let id = placed(app, customer, &shop, 1).await;
    let sheet = app.sheet(customer, &id).await;
    (id, sheet)
}

/// Waits until WeChat has delivered its only notification of an order; its attempts.
async fn delivered(app: &TestApp, out_trade_no: &str) -> Vec<(String, Option<u16>)> {
    let found = || app.sim.notifications().into_iter().find(|n| n.out_trade_no == out_trade_no);
    wait_until("the notification is delivered", async || {
        found().is_some_and(|n| n.state == NotificationState::Delivered)
    })
    .await;
    found().unwrap().attempts.into_iter().map(|a| (a.note, a.delivery.http_status)).collect()
}

async fn forged(app: &TestApp, kind: ForgeryKind, out_trade_no: &str) -> u16 {
    app.sim.forge(Forgery::new(kind, out_trade_no)).await.unwrap().http_status.unwrap()
}

async fn still_unpaid(customer: &Client, id: &str) {
    let unpaid = order(customer, id).await;
    assert_eq!((&unpaid["state"], &unpaid["vouchers"]), (&json!("PendingPayment"), &json!([])));
}

on_both!(a_payment_settles_the_order, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 9900, Some(5)).await;
    let id = placed(&app, &customer, &shop, 2).await;
    assert_eq!(available(&owner).await, 3, "reserved while it is unpaid");
    let sheet = app.sheet(&customer, &id).await;
    assert_eq!(sheet["payment_id"], sheet["out_trade_no"]);
    app.pay(&sheet);
    let paid = order_in(&customer, &id, "Paid").await;
    assert_eq!((&paid["tab"], &paid["state_text"]), (&json!("to_redeem"), &json!("待核销")));
    assert_eq!(
        paid["units"],
        json!({"total": 6, "used": 0, "locked_refund": 0, "refunded": 0, "forfeited": 0, "open": 6})
    );
    assert_eq!(paid["vouchers"].as_array().unwrap().len(), 2);
    assert_ne!(paid["paid_at"], Value::Null);
    let payment = &paid["payment"];
    assert_eq!((&payment["state"], &payment["method"]), (&json!("Succeeded"), &json!("wechat")));
    assert_eq!(payment["amount_fen"], 19800);
    let theirs = at_wechat(&app, text(&sheet["out_trade_no"]));
    assert_eq!(payment["transaction_id"], json!(theirs.transaction_id));
    assert_eq!(available(&owner).await, 3, "sold");
    assert_eq!(balance(&owner, "wechat_receivable").await, 19800);
    assert_eq!(balance(&owner, "customer_liability").await, -19800);
    let again = customer.post_key(&format!("{}/pay", order_path(&id)), &key(), json!({})).await;
    refused(&again, 409, "order_paid", "");
    let seen = owner.get(&format!("/api/v1/merchant/orders/{id}")).await.expect(200);
    let events: Vec<&str> = seen["events"].as_array().unwrap().iter().map(|e| text(&e["event"])).collect();
    assert_eq!(events, ["create", "pay"]);
    app.verify().await;
});

on_both!(opening_the_sheet_again_gives_the_same_payment, |app| async {
    let customer = app.customer("小王").await;
    let (id, first) = sheet_of_new_order(&app, &customer).await;
    let second = app.sheet(&customer, &id).await;
    assert_eq!(first["out_trade_no"], second["out_trade_no"]);
    let (a, b) = (&first["request_payment"], &second["request_payment"]);
    assert_eq!(a["package"], b["package"]);
    assert_ne!(a["nonceStr"], b["nonceStr"]);
    assert_ne!(a["paySign"], b["paySign"]);
    assert_eq!(a["signType"], "RSA");
    assert_eq!(app.sim.transactions().len(), 1);
    // WeChat's handle lives for two hours, an order for a quarter of one: the same handle is good to the end.
    app.advance(seconds(600));
    let third = app.sheet(&customer, &id).await;
    assert_eq!(third["out_trade_no"], first["out_trade_no"]);
    app.pay(&third);
    order_in(&customer, &id, "Paid").await;
    app.verify().await;
});

on_both!(with_less_than_a_minute_left_nothing_is_sent_to_wechat, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, Some(5)).await;
    let id = placed(&app, &customer, &shop, 1).await;
    app.advance(seconds(14 * 60 + 1));
    let late = customer.post_key(&format!("{}/pay", order_path(&id)), &key(), json!({})).await;
    refused(&late, 409, "order_expired", "");
    assert!(app.sim.transactions().is_empty());
    let stranger = app.customer("小李").await;
    let theirs = stranger.post_key(&format!("{}/pay", order_path(&id)), &key(), json!({})).await;
    refused(&theirs, 404, "not_found", "");
    app.verify().await;
});

on_both!(a_lost_callback_is_made_up_for_by_asking, |app| async {
    let customer = app.customer("小王").await;
    no_callbacks(&app, "transaction");
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    app.advance(seconds(6));
    app.pay(&sheet);
    // The questions come 5, 30, 60, 180 … seconds after the sheet was opened.
    app.advance(seconds(30));
    let paid = order_in(&customer, &id, "Paid").await;
    assert_eq!(paid["vouchers"].as_array().unwrap().len(), 1);
    let attempts: Vec<_> = app.sim.notifications().into_iter().flat_map(|n| n.attempts).collect();
    assert!(attempts.iter().all(|a| a.note == "dropped"), "{attempts:?}");
    // The callback comes after all.
    app.sim.clear_faults();
    let lost = app.sim.notifications().remove(0);
    assert!(app.sim.resend(&lost.id).await.unwrap().accepted());
    assert_eq!(order(&customer, &id).await["vouchers"], paid["vouchers"]);
    app.verify().await;
});

on_both!(a_late_callback_settles, |app| async {
    let customer = app.customer("小王").await;
    no_questions(&app);
    app.sim.set_fault(Fault::new(FaultAction::Late { delay_ms: 200_000 })).unwrap();
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    app.pay(&sheet);
    app.advance(seconds(100));
    still_unpaid(&customer, &id).await;
    app.advance(seconds(250));
    order_in(&customer, &id, "Paid").await;
    app.verify().await;
});

on_both!(a_callback_twenty_times_at_once_settles_once, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    no_questions(&app);
    app.sim.set_fault(Fault::new(FaultAction::Duplicate { copies: 20 })).unwrap();
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    app.pay(&sheet);
    let attempts = delivered(&app, text(&sheet["out_trade_no"])).await;
    assert_eq!(attempts.len(), 20);
    assert!(attempts.iter().all(|(_, status)| *status == Some(200)), "{attempts:?}");
    let paid = order_in(&customer, &id, "Paid").await;
    assert_eq!(paid["vouchers"].as_array().unwrap().len(), 1);
    assert_eq!(balance(&owner, "wechat_receivable").await, 9900);
    assert!(anomalies(&owner).await.is_empty());
    app.verify().await;
});

on_both!(callbacks_out_of_order_settle_both, |app| async {
    let customer = app.customer("小王").await;
    no_questions(&app);
    let shop = app.shop(1, 100, None).await;
    let (first, second) = (placed(&app, &customer, &shop, 1).await, placed(&app, &customer, &shop, 2).await);
    let sheets = [app.sheet(&customer, &first).await, app.sheet(&customer, &second).await];
    app.sim.set_fault(Fault::new(FaultAction::Reorder {}).order(text(&sheets[0]["out_trade_no"]))).unwrap();
    app.pay(&sheets[0]);
    app.pay(&sheets[1]);
    order_in(&customer, &second, "Paid").await;
    order_in(&customer, &first, "Paid").await;
    app.verify().await;
});

on_both!(changed_and_probing_callbacks_are_refused_and_the_true_one_settles, |app| async {
    let customer = app.customer("小王").await;
    no_questions(&app);
    for (fault, note) in [(FaultAction::Tamper {}, "tampered"), (FaultAction::ProbeFirst {}, "probe")] {
        app.sim.set_fault(Fault::new(fault).kind("transaction")).unwrap();
        let (id, sheet) = sheet_of_new_order(&app, &customer).await;
        app.pay(&sheet);
        order_in(&customer, &id, "Paid").await;
        let attempts = delivered(&app, text(&sheet["out_trade_no"])).await;
        let expected = [(note.to_owned(), Some(401)), ("scheduled".to_owned(), Some(200))];
        assert_eq!(attempts, expected);
    }
    app.verify().await;
});

on_both!(what_cannot_be_verified_changes_nothing, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    let number = text(&sheet["out_trade_no"]);
    for key in [NotifyKey::Certificate, NotifyKey::PublicKey] {
        app.sim.set_notify_key(key).unwrap();
        for kind in [
            ForgeryKind::Probe,
            ForgeryKind::Tampered,
            ForgeryKind::WrongSerial,
            ForgeryKind::OldTimestamp,
            ForgeryKind::WrongKey,
        ] {
            assert_eq!(forged(&app, kind, number).await, 401, "{kind:?} {key:?}");
        }
        let future = Forgery { age_s: Some(-301), ..Forgery::new(ForgeryKind::OldTimestamp, number) };
        assert_eq!(app.sim.forge(future).await.unwrap().http_status, Some(401));
    }
    let nobody = app.anonymous().post("/api/v1/notify/wechat/payments", json!({"id": "x"})).await;
    refused(&nobody, 401, "notification_unverified", "");
    still_unpaid(&customer, &id).await;
    assert!(anomalies(&owner).await.is_empty());
    app.pay(&sheet);
    order_in(&customer, &id, "Paid").await;
    app.verify().await;
});

on_both!(what_is_verified_and_does_not_fit_is_an_anomaly_and_never_paid, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    let number = text(&sheet["out_trade_no"]);
    assert_eq!(forged(&app, ForgeryKind::WrongAmount, number).await, 200);
    assert_eq!(forged(&app, ForgeryKind::OtherMerchant, number).await, 200);
    let found = anomalies(&owner).await;
    let mut kinds: Vec<&str> = found.iter().map(|a| text(&a["kind"])).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["account_mismatch", "amount_mismatch"]);
    assert!(found.iter().all(|a| a["number"] == sheet["out_trade_no"] && a["seen"] == 1), "{found:?}");
    assert!(!found.iter().any(|a| text(&a["got"]).contains("openid")), "{found:?}");
    still_unpaid(&customer, &id).await;
    assert_eq!(balance(&owner, "wechat_receivable").await, 0);
    let manager = app.manager(&[app.store("另一店").await]).await;
    refused(&manager.get("/api/v1/merchant/payment-anomalies").await, 403, "forbidden", "");
    let other = app.other_owner().await;
    assert!(anomalies(&other).await.is_empty());
    app.pay(&sheet);
    order_in(&customer, &id, "Paid").await;
    assert_eq!(forged(&app, ForgeryKind::WrongAmount, number).await, 200);
    assert_eq!(order(&customer, &id).await["payment"]["amount_fen"], 9900);
    app.verify().await;
});

on_both!(an_unknown_number_is_recorded_and_asked_for_again, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    let number = text(&sheet["out_trade_no"]);
    assert_eq!(forged(&app, ForgeryKind::UnknownOrder, number).await, 500);
    let found = anomalies(&owner).await;
    assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("unknown_number")));
    still_unpaid(&customer, &id).await;
    app.verify().await;
});

on_both!(an_unknown_outcome_of_the_prepay_is_retried_with_the_same_number, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    for action in [
        FaultAction::ErrorAfterCommit { close: false },
        FaultAction::ErrorAfterCommit { close: true },
        FaultAction::Timeout { commit: true, hang_ms: 50 },
        FaultAction::Timeout { commit: false, hang_ms: 50 },
    ] {
        let before = app.sim.transactions().len();
        let id = placed(&app, &customer, &shop, 1).await;
        app.sim.set_fault(Fault::new(action.clone()).kind("order_create")).unwrap();
        let path = format!("{}/pay", order_path(&id));
        let same_key = key();
        let lost = customer.post_key(&path, &same_key, json!({})).await;
        refused(&lost, 503, "wechat_unavailable", "");
        assert_eq!(lost.body["error"]["retryable"], true);
        let number = order(&customer, &id).await["payment"]["out_trade_no"].clone();
        let sheet = customer.post_key(&path, &same_key, json!({})).await.expect(200);
        assert_eq!(sheet["out_trade_no"], number, "{action:?}");
        assert_eq!(app.sim.transactions().len(), before + 1, "{action:?}");
        app.pay(&sheet);
        order_in(&customer, &id, "Paid").await;
    }
    app.verify().await;
});

/// The order was closed, the money came, and it all went back.
async fn returned(app: &TestApp, owner: &Client, customer: &Client, id: &str) {
    wait_until("the late payment is refunded", async || {
        order(customer, id).await["refunds"][0]["state"] == "Succeeded"
    })
    .await;
    let closed = order(customer, id).await;
    assert_eq!((&closed["state"], &closed["tab"]), (&json!("Closed"), &json!("closed")));
    assert_eq!(closed["vouchers"], json!([]));
    assert_eq!(closed["refunds"].as_array().unwrap().len(), 1);
    let refund = &closed["refunds"][0];
    assert_eq!((&refund["cause"], &refund["amount_fen"]), (&json!("late_payment"), &json!(9900)));
    assert_eq!(refund["items"], json!([]));
    assert_eq!(closed["payment"]["state"], "Succeeded");
    for account in ["suspense", "refund_in_transit", "wechat_receivable", "customer_liability"] {
        assert_eq!(balance(owner, account).await, 0, "{account}");
    }
    assert_eq!(available(owner).await, 5);
    wait_until("the customer is told", async || titles(customer).await.len() == 3).await;
    assert_eq!(titles(customer).await, ["订单已关闭", "支付超时，正在退款", "退款成功"]);
    let refunds = app.sim.refunds();
    assert_eq!((refunds.len(), refunds[0].amount), (1, 9900));
    app.verify().await;
}

on_both!(money_for_a_closed_order_goes_back_by_callback, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    no_questions(&app);
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    app.pay(&sheet);
    returned(&app, &owner, &customer, &id).await;
});

on_both!(money_for_a_closed_order_goes_back_by_asking, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    no_callbacks(&app, "transaction");
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    app.pay(&sheet);
    customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    returned(&app, &owner, &customer, &id).await;
    app.sim.clear_faults();
    let lost = app.sim.notifications().remove(0);
    assert!(app.sim.resend(&lost.id).await.unwrap().accepted());
    assert_eq!(app.sim.refunds().len(), 1);
    app.verify().await;
});

on_both!(paid_in_the_moment_of_closing_at_wechat, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    no_callbacks(&app, "transaction");
    broken(&app, "order_close");
    let (id, sheet) = sheet_of_new_order(&app, &customer).await;
    customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    app.pay(&sheet);
    app.advance(seconds(10));
    returned(&app, &owner, &customer, &id).await;
});

on_both!(a_merchant_below_a_service_provider_sells_redeems_and_refunds, |app| async {
    let (first, owner, customer) = (app.owner().await, app.other_owner().await, app.customer("小王").await);
    let shop = shop_of(&owner, 100, 3).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let theirs = at_wechat(&app, &bought.out_trade_no);
    assert_eq!(theirs.sub_mchid.as_deref(), Some("1900000003"));
    assert_eq!(theirs.mchid, "1900000002");
    assert!(theirs.payer.sp_openid.is_some());
    // Sealed for the service provider, and not for this sub-merchant.
    assert_eq!(forged(&app, ForgeryKind::OtherMerchant, &bought.out_trade_no).await, 200);
    let found = anomalies(&owner).await;
    assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("account_mismatch")));
    assert!(anomalies(&first).await.is_empty());
    owner.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let asked = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    assert_eq!(asked["amount_fen"], 67);
    refund_in(&owner, text(&asked["id"]), "Succeeded").await;
    assert_eq!(app.sim.refunds().len(), 1);
    assert_eq!(balance(&owner, "wechat_receivable").await, 33);
    assert_eq!(balance(&first, "wechat_receivable").await, 0);
    app.verify().await;
});

on_both!(both_kinds_of_platform_key_are_believed, |app| async {
    let customer = app.customer("小王").await;
    no_questions(&app);
    for key in [NotifyKey::Certificate, NotifyKey::PublicKey, NotifyKey::Mixed, NotifyKey::Mixed] {
        app.sim.set_notify_key(key).unwrap();
        let (id, sheet) = sheet_of_new_order(&app, &customer).await;
        app.pay(&sheet);
        order_in(&customer, &id, "Paid").await;
        assert_eq!(delivered(&app, text(&sheet["out_trade_no"])).await.len(), 1);
        assert_eq!(at_wechat(&app, text(&sheet["out_trade_no"])).state, TradeState::Success);
    }
    app.verify().await;
});

on_both!(a_pay_account_without_its_keys_is_named, |app| async {
    app.other_owner().await;
    assert!(app.app.pay_account_problems().await.unwrap().is_empty());
    let folder = app.data().join("keys/wechat/demo-partner");
    std::fs::remove_file(folder.join("merchant_key.pem")).unwrap();
    let problems = app.app.pay_account_problems().await.unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("1900000002"), "{problems:?}");
    assert!(problems[0].contains("merchant_key.pem"), "{problems:?}");
});
