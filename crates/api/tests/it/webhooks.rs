//! Webhooks: what is told to whom, signed; what fails is tried again; a log, replays, rotation.

use std::collections::BTreeSet;

use hexiao_core::webhook::MAX_WEBHOOKS;
use hexiao_db::{DbError, params, sql, transact};
use hexiao_testkit::{Bought, Client, Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::receiver::{ALL_EVENTS, Act, DELIVERIES, Received, Receiver, WEBHOOKS, delivery_in};
use crate::steps::{ask_refund, days, items, key, owner_again, refund_in, seconds, shop_of, text};

/// Buys a card of three uses, redeems two, undoes one voucher's uses, gives all back.
async fn trade(app: &TestApp, customer: &Client) -> (Shop, Bought, Value) {
    let shop = app.shop(3, 9_901, None).await;
    let bought = app.buy(customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    let done = verifier.redeem(app, customer, shop.store, &bought.vouchers[0], 2).await.expect(201);
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
    let one = json!({"reason": "扫错了", "items": [{"voucher_id": bought.vouchers[0], "serials": [2]}]});
    verifier.post_key(&undo, &key(), one).await.expect(200);
    let asked = ask_refund(customer, &bought.order, Value::Null, &key()).await.expect(201);
    refund_in(&app.owner().await, text(&asked["id"]), "Succeeded").await;
    (shop, bought, done)
}

async fn one(owner: &Client, query: &str) -> Value {
    let found = owner.get(&format!("{DELIVERIES}?{query}")).await.expect(200);
    assert_eq!(items(&found).len(), 1, "{found}");
    items(&found)[0].clone()
}

async fn count(app: &TestApp, from: &str) -> i64 {
    let text = format!("SELECT COUNT(*) AS n FROM {from}");
    sql::row(app.app.db.reader(), &text, vec![]).await.unwrap().unwrap().get("n").unwrap()
}

on_both!(a_receiver_is_told_what_happens_signed_and_without_names, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (all, some) = (Receiver::start().await, Receiver::start().await);
    let (hook, secret) = all.webhook(&owner, &ALL_EVENTS).await;
    let (_, other_secret) = some.webhook(&owner, &["refund.succeeded"]).await;
    // Another merchant's business is none of theirs.
    let stranger = app.other_owner().await;
    let theirs = Receiver::start().await;
    theirs.webhook(&stranger, &ALL_EVENTS).await;

    let (shop, bought, done) = trade(&app, &customer).await;
    let told = all.wait_for(4).await;
    let kinds: BTreeSet<&str> = told.iter().map(Received::kind).collect();
    assert_eq!(kinds, ALL_EVENTS.into_iter().collect());
    let of = |kind: &str| told.iter().find(|r| r.kind() == kind).unwrap().clone();
    for r in &told {
        assert!(r.is_signed_by(&secret) && !r.is_signed_by(&other_secret), "{r:?}");
        assert_eq!((r.signatures(), r.header("content-type")), (1, "application/json"));
        let age = chrono::Utc::now().timestamp() - r.header("webhook-timestamp").parse::<i64>().unwrap();
        assert!(age.abs() < 60, "{age}");
        assert!(r.id().starts_with("evt_") && text(&r.body["created_at"]).ends_with('Z'));
        for personal in ["phone", "小王", "nickname", "openid", "customer", "code", "员工"] {
            assert!(!r.text.contains(personal), "{personal}: {}", r.text);
        }
    }
    let issued = of("voucher.issued").body["data"].clone();
    assert_eq!((&issued["order_id"], &issued["amount_fen"]), (&json!(bought.order), &json!(9_901)));
    assert_eq!(issued["vouchers"][0]["voucher_id"], json!(bought.vouchers[0]));
    assert_eq!((&issued["vouchers"][0]["uses"], &issued["store_id"]), (&json!(3), &json!(shop.store)));
    let redeemed = of("redemption.created").body["data"].clone();
    assert_eq!((&redeemed["redemption_id"], &redeemed["quantity"]), (&done["id"], &json!(2)));
    assert_eq!(redeemed["items"][0]["serials"], json!([1, 2]));
    assert_eq!((&redeemed["amount_fen"], &redeemed["method"]), (&json!(6_600), &json!("qr")));
    let undone = of("redemption.reversed").body["data"].clone();
    assert_eq!((&undone["items"][0]["serials"], &undone["quantity"]), (&json!([2]), &json!(1)));
    let refunded = of("refund.succeeded").body["data"].clone();
    assert_eq!((&refunded["amount_fen"], &refunded["by_hand"]), (&json!(6_601), &json!(false)));
    assert_eq!(refunded["items"][0]["serials"], json!([2, 3]));

    // The other one is told of the refund alone, under the same id.
    let other = some.wait_for(1).await;
    assert!(other[0].is_signed_by(&other_secret));
    assert_eq!((other[0].id(), &other[0].text), (of("refund.succeeded").id(), &of("refund.succeeded").text));
    wait_until("all are recorded", async || {
        count(&app, "webhook_deliveries WHERE state = 'Delivered'").await == 5
    })
    .await;
    assert_eq!((all.received().len(), some.received().len(), theirs.received().len()), (4, 1, 0));
    assert_eq!(count(&app, "webhook_deliveries").await, 5);
    let logged = one(&owner, &format!("webhook_id={hook}&event=refund.succeeded")).await;
    assert_eq!((&logged["state"], &logged["tries"]), (&json!("delivered"), &json!(1)));
    assert_eq!((&logged["log"][0]["status"], &logged["log"][0]["error"]), (&json!(204), &Value::Null));
    app.verify().await;
});

on_both!(what_fails_is_tried_again_with_the_same_id_and_body, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let receiver = Receiver::start().await;
    let (hook, secret) = receiver.webhook(&owner, &["voucher.issued"]).await;
    receiver.answers([Act::Status(500), Act::Redirect(receiver.url.clone()), Act::Status(429)]);
    let shop = app.shop(1, 100, None).await;
    app.buy(&customer, &shop, 1).await;
    let id = {
        receiver.wait_for(1).await;
        text(&one(&owner, "event=voucher.issued").await["id"]).to_owned()
    };
    for tries in 1..=3 {
        let failed = async || owner.get(&format!("{DELIVERIES}/{id}")).await.body;
        wait_until("the failure is recorded", async || failed().await["tries"] == tries).await;
        let failed = failed().await;
        assert_eq!(failed["state"], "failed", "{failed}");
        assert!(failed["next_try_at"].is_string() && failed["finished_at"].is_null());
        assert_eq!(receiver.received().len(), usize::try_from(tries).unwrap(), "it waits for its time");
        app.advance(seconds(200));
    }
    let failing = owner.get(&format!("{WEBHOOKS}/{hook}")).await.expect(200);
    assert!(failing["failing_since"].is_string() && failing["state"] == "active", "{failing}");
    let done = delivery_in(&owner, &id, "delivered").await;
    let statuses: Vec<&Value> = done["log"].as_array().unwrap().iter().map(|t| &t["status"]).collect();
    assert_eq!(statuses, [&json!(500), &json!(302), &json!(429), &json!(204)]);
    assert_eq!(done["log"][0]["excerpt"], "<b>维护中</b> ");
    let received = receiver.wait_for(4).await;
    assert_eq!(received.len(), 4, "a redirect is not followed");
    assert!(received.iter().all(|r| r.id() == received[0].id() && r.text == received[0].text));
    assert!(received.iter().all(|r| r.is_signed_by(&secret)));
    wait_until("it works again", async || {
        owner.get(&format!("{WEBHOOKS}/{hook}")).await.body["failing_since"].is_null()
    })
    .await;
    app.verify().await;
});

on_both!(a_slow_receiver_holds_up_nobody_and_an_endless_answer_is_cut, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    let (hanging, _) = slow.webhook(&owner, &["voucher.issued"]).await;
    let (working, _) = quick.webhook(&owner, &["voucher.issued"]).await;
    slow.always(Some(Act::Hang));
    quick.always(Some(Act::Long(3_000_000)));
    let shop = app.shop(1, 100, None).await;
    for _ in 0..12 {
        app.buy(&customer, &shop, 1).await;
    }
    quick.wait_for(12).await;
    wait_until("the quick one has them all", async || {
        count(&app, "webhook_deliveries WHERE state = 'Delivered'").await == 12
    })
    .await;
    let some = slow.received().len();
    assert!((1..=8).contains(&some), "{some} of 12 were sent to who never answers");
    let logged = owner.get(&format!("{DELIVERIES}?webhook_id={working}")).await.expect(200);
    let excerpt = text(&items(&logged)[0]["log"][0]["excerpt"]).to_owned();
    assert_eq!(excerpt, "x".repeat(200));
    // The rest of the server goes on meanwhile, and the ones that wait end by themselves.
    wait_until("a try has timed out", async || {
        let found = owner.get(&format!("{DELIVERIES}?webhook_id={hanging}&state=failed")).await.expect(200);
        items(&found).iter().any(|d| d["log"][0]["error"] == "10 秒内没有应答")
    })
    .await;
    app.verify().await;
});

on_both!(after_days_of_failure_it_is_dead_and_the_webhook_stopped, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let receiver = Receiver::start().await;
    let (hook, _) = receiver.webhook(&owner, &["voucher.issued"]).await;
    receiver.always(Some(Act::Status(503)));
    let shop = app.shop(1, 100, None).await;
    app.buy(&customer, &shop, 1).await;
    let mut tries = 1;
    loop {
        receiver.wait_for(tries).await;
        let states = async || {
            let query =
                "SELECT d.state, w.state AS webhook, d.tries, d.leased FROM webhook_deliveries d, webhooks w";
            let row = sql::row(app.app.db.reader(), query, vec![]).await.unwrap().unwrap();
            let get = |name: &str| row.get::<String>(name).unwrap();
            (
                get("state"),
                get("webhook"),
                row.get::<i64>("tries").unwrap(),
                row.get::<bool>("leased").unwrap(),
            )
        };
        let wanted = i64::try_from(tries).unwrap();
        wait_until("the try is recorded", async || states().await.2 == wanted).await;
        let (state, webhook, ..) = states().await;
        if state == "Dead" || webhook == "Disabled" {
            assert_eq!(webhook, "Disabled", "after {tries} tries");
            break;
        }
        app.advance(seconds(27 * 3600));
        tries += 1;
    }
    assert!(tries >= 4, "{tries}");
    let owner = owner_again(&app).await;
    let found = owner.get(&format!("{WEBHOOKS}/{hook}")).await.expect(200);
    assert_eq!(found["state"], "disabled");
    assert_eq!(count(&app, "audit_log WHERE action = 'webhook.disable' AND staff_id IS NULL").await, 1);
    let waiting = one(&owner, "").await;
    let path = format!("{DELIVERIES}/{}/replay", text(&waiting["id"]));
    assert_eq!(owner.post(&path, json!({})).await.code(), "illegal_state", "it is stopped");
    // Switched on again, what waited is sent.
    receiver.always(None);
    let on = owner.patch(&format!("{WEBHOOKS}/{hook}"), json!({"active": true})).await.expect(200);
    assert!(on["state"] == "active" && on["failing_since"].is_null());
    app.advance(seconds(27 * 3600));
    let owner = owner_again(&app).await;
    let done = delivery_in(&owner, text(&waiting["id"]), "delivered").await;
    assert!(done["log"].as_array().unwrap().len() <= 20);
    app.verify().await;
});

on_both!(a_replay_sends_the_same_event_again_and_a_test_sends_a_ping, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let receiver = Receiver::start().await;
    let (hook, secret) = receiver.webhook(&owner, &["voucher.issued"]).await;
    let shop = app.shop(1, 100, None).await;
    app.buy(&customer, &shop, 1).await;
    receiver.wait_for(1).await;
    let id = text(&one(&owner, "").await["id"]).to_owned();
    delivery_in(&owner, &id, "delivered").await;
    let replayed = owner.post(&format!("{DELIVERIES}/{id}/replay"), json!({})).await.expect(202);
    assert_eq!((&replayed["id"], &replayed["state"]), (&json!(id), &json!("pending")));
    let received = receiver.wait_for(2).await;
    assert_eq!((received[0].id(), &received[0].text), (received[1].id(), &received[1].text));
    let done = delivery_in(&owner, &id, "delivered").await;
    assert_eq!((&done["tries"], done["log"].as_array().unwrap().len()), (&json!(2), 2));

    let ping = owner.post(&format!("{WEBHOOKS}/{hook}/test"), json!({})).await.expect(202);
    let pinged = receiver.wait_for(3).await[2].clone();
    assert_eq!(
        (pinged.kind(), pinged.id(), &pinged.body["data"]),
        ("ping", text(&ping["event_id"]), &json!({}))
    );
    assert!(pinged.is_signed_by(&secret));
    delivery_in(&owner, text(&ping["id"]), "delivered").await;
    assert_eq!(one(&owner, "event=ping&state=delivered").await["id"], ping["id"]);
    assert_eq!(items(&owner.get(&format!("{DELIVERIES}?state=dead")).await.expect(200)).len(), 0);
    let stranger = app.other_owner().await;
    for path in [format!("{DELIVERIES}/{id}/replay"), format!("{WEBHOOKS}/{hook}/test")] {
        assert_eq!(stranger.post(&path, json!({})).await.status, 404, "{path}");
    }
    app.verify().await;
});

on_both!(both_secrets_sign_for_a_day_and_then_the_new_one_alone, |app| async {
    let owner = app.owner().await;
    let receiver = Receiver::start().await;
    let (hook, old) = receiver.webhook(&owner, &["voucher.issued"]).await;
    let ping = async |owner: &Client, n: usize| {
        owner.post(&format!("{WEBHOOKS}/{hook}/test"), json!({})).await.expect(202);
        receiver.wait_for(n).await[n - 1].clone()
    };
    let rotated = owner.post(&format!("{WEBHOOKS}/{hook}/rotate-secret"), json!({})).await.expect(200);
    let new = text(&rotated["secret"]).to_owned();
    assert!(new != old && rotated["old_secret_until"].is_string());
    let both = ping(&owner, 1).await;
    assert!(both.is_signed_by(&old) && both.is_signed_by(&new) && both.signatures() == 2);
    // Secrets are never shown again, nor are they in the database or the audit log.
    let shown = owner.get(&format!("{WEBHOOKS}/{hook}")).await.expect(200).to_string();
    assert!(!shown.contains("whsec_") && !shown.contains(&new[6..]), "{shown}");
    assert_eq!(count(&app, "audit_log WHERE detail LIKE '%whsec%' OR subject LIKE '%whsec%'").await, 0);
    assert_eq!(count(&app, "audit_log WHERE action = 'webhook.rotate_secret'").await, 1);
    app.advance(seconds(24 * 3600 + 1));
    let one = ping(&owner_again(&app).await, 2).await;
    assert!(one.is_signed_by(&new) && !one.is_signed_by(&old) && one.signatures() == 1);
});

on_both!(webhooks_are_set_up_edited_and_deleted, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let receiver = Receiver::start().await;
    let body = |url: &str, events: Value| json!({"name": "ERP", "url": url, "events": events});
    for (url, events, field) in [
        ("http://erp.example.com/x", json!(["voucher.issued"]), "url"),
        ("https://10.0.0.1/x", json!(["voucher.issued"]), "url"),
        ("https://u:p@erp.example.com/x", json!(["voucher.issued"]), "url"),
        ("https://erp.example.com/x", json!([]), "events"),
        ("https://erp.example.com/x", json!(["voucher.issued", "ping"]), "events[1]"),
        ("https://erp.example.com/x", json!(["order.closed"]), "events[0]"),
    ] {
        refused(&owner.post(WEBHOOKS, body(url, events)).await, 400, "invalid_field", field);
    }
    let (hook, _) = receiver.webhook(&owner, &["voucher.issued", "voucher.issued"]).await;
    let path = format!("{WEBHOOKS}/{hook}");
    assert_eq!(owner.get(&path).await.expect(200)["events"], json!(["voucher.issued"]));
    assert_eq!(owner.patch(&path, json!({"version": 7, "name": "x"})).await.code(), "stale");
    let paused = owner.patch(&path, json!({"version": 1, "active": false})).await.expect(200);
    assert_eq!((&paused["state"], &paused["version"]), (&json!("paused"), &json!(2)));
    assert_eq!(owner.post(&format!("{path}/test"), json!({})).await.code(), "illegal_state");
    // What happens while it is paused is not told later.
    let shop = app.shop(1, 100, None).await;
    app.buy(&customer, &shop, 1).await;
    crate::snapshot::settled(&app).await;
    let on = owner.patch(&path, json!({"active": true, "name": "新 ERP"})).await.expect(200);
    assert_eq!((&on["state"], &on["name"]), (&json!("active"), &json!("新 ERP")));
    app.buy(&customer, &shop, 1).await;
    receiver.wait_for(1).await;
    crate::snapshot::settled(&app).await;
    assert_eq!(count(&app, "webhook_deliveries").await, 1);
    for _ in 1..MAX_WEBHOOKS {
        receiver.webhook(&owner, &["refund.succeeded"]).await;
    }
    let full = owner.post(WEBHOOKS, body(&receiver.url, json!(["voucher.issued"]))).await;
    assert_eq!((full.status, full.code()), (409, "illegal_state"));
    owner.delete(&path).await.expect(204);
    assert_eq!(owner.get(&path).await.status, 404);
    assert_eq!(items(&owner.get(WEBHOOKS).await.expect(200)).len(), MAX_WEBHOOKS - 1);
    let actions = ["create", "edit", "delete"].map(|a| format!("audit_log WHERE action = 'webhook.{a}'"));
    assert_eq!(count(&app, &actions[0]).await, 10);
    assert_eq!((count(&app, &actions[1]).await, count(&app, &actions[2]).await), (2, 1));
    // Its log stays, and is no way back.
    let left = one(&owner, &format!("webhook_id={hook}")).await;
    let replay = format!("{DELIVERIES}/{}/replay", text(&left["id"]));
    assert_eq!(owner.post(&replay, json!({})).await.code(), "illegal_state");
});

on_both!(a_consumer_that_is_interrupted_makes_one_delivery_of_each_event, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let receiver = Receiver::start().await;
    receiver.webhook(&owner, &ALL_EVENTS).await;
    let shop = app.shop(1, 100, None).await;
    let interrupted = async {
        for _ in 0..60 {
            let app = app.app.clone();
            let task = tokio::spawn(async move { app.feed_webhooks().await });
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
        }
    };
    let bought = async {
        for _ in 0..8 {
            app.buy(&customer, &shop, 1).await;
        }
    };
    tokio::join!(bought, interrupted);
    receiver.wait_for(8).await;
    // Back to the beginning, as after a restored backup: what was told is not told again.
    let back: Result<u64, DbError> = transact!(app.app.db, |tx| async {
        let text = "UPDATE consumer_positions SET tx = 0, seq = 0 WHERE consumer = $1";
        sql::execute(&tx, text, params!["webhooks"]).await
    });
    assert_eq!(back.unwrap(), 1);
    let all = futures::future::join_all((0..8).map(|_| app.app.feed_webhooks())).await;
    assert!(all.into_iter().all(|read| read.is_ok()));
    wait_until("all are delivered", async || {
        count(&app, "webhook_deliveries WHERE state = 'Delivered'").await == 8
    })
    .await;
    assert_eq!(count(&app, "webhook_deliveries").await, 8);
    let ids: BTreeSet<String> = receiver.received().iter().map(|r| r.id().to_owned()).collect();
    assert_eq!((ids.len(), receiver.received().len()), (8, 8));
    app.verify().await;
});

on_both!(an_old_log_goes_and_so_does_what_waited_for_a_deleted_webhook, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (gone, kept) = (Receiver::start().await, Receiver::start().await);
    let (hook, _) = gone.webhook(&owner, &["voucher.issued"]).await;
    kept.webhook(&owner, &["voucher.issued"]).await;
    gone.always(Some(Act::Status(500)));
    let shop = app.shop(1, 100, None).await;
    app.buy(&customer, &shop, 1).await;
    wait_until("one is through, one has failed", async || {
        count(&app, "webhook_deliveries WHERE tries = 1").await == 2
    })
    .await;
    owner.delete(&format!("{WEBHOOKS}/{hook}")).await.expect(204);
    app.app.prune().await.unwrap();
    assert_eq!(count(&app, "webhook_deliveries").await, 1);
    app.advance(days(31));
    while app.app.prune().await.unwrap() > 0 {}
    assert_eq!(count(&app, "webhook_deliveries").await, 0);
    app.verify().await;
});

on_both!(another_merchant_is_told_its_own, |app| async {
    let stranger = app.other_owner().await;
    let receiver = Receiver::start().await;
    receiver.webhook(&stranger, &ALL_EVENTS).await;
    let theirs = shop_of(&stranger, 500, 1).await;
    let customer = app.customer("小李").await;
    let bought = app.buy(&customer, &theirs, 1).await;
    let told = receiver.wait_for(1).await;
    assert_eq!(told[0].body["data"]["order_id"], json!(bought.order));
    assert_eq!(items(&app.owner().await.get(DELIVERIES).await.expect(200)).len(), 0);
});
