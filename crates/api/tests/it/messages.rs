//! The customer's inbox: what happened, in Chinese, once each.

use hexiao_db::{DbError, params, sql, transact};
use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{ask_refund, items, key, order, order_path, placed, refund_in, text, titles};

const MESSAGES: &str = "/api/v1/customer/messages";

/// The messages, the oldest first.
async fn inbox(customer: &Client) -> Vec<Value> {
    let mut all = items(&customer.get(&format!("{MESSAGES}?limit=100")).await.expect(200)).clone();
    all.reverse();
    all
}

async fn inbox_of(customer: &Client, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} messages"), async || inbox(customer).await.len() >= count).await;
    inbox(customer).await
}

/// Orders and closes, which is one message each.
async fn closed_orders(app: &TestApp, customer: &Client, count: usize) {
    let shop = app.shop(1, 100, None).await;
    for _ in 0..count {
        let id = placed(app, customer, &shop, 1).await;
        customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    }
}

on_both!(the_inbox_tells_what_happened, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 9900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    let done = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 2).await.expect(201);
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "扫错了"})).await.expect(200);
    let asked = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    refund_in(&owner, text(&asked["id"]), "Succeeded").await;
    closed_orders(&app, &customer, 1).await;
    let found = inbox_of(&customer, 6).await;
    assert_eq!(
        titles(&customer).await,
        ["支付成功", "核销成功", "核销已撤销", "退款已申请", "退款成功", "订单已关闭"]
    );
    let number = order(&customer, &bought.order).await["number"].clone();
    let bodies: Vec<&str> = found.iter().map(|m| text(&m["body"])).collect();
    for (body, part) in
        bodies.iter().zip([text(&number), "「双人套餐」2 次", "2 次核销", "99.00", "99.00", "已取消"])
    {
        assert!(body.contains(part), "{body} lacks {part}");
    }
    assert!(bodies[1].contains("「人民广场店」"), "{}", bodies[1]);
    assert!(found[..5].iter().all(|m| m["order_id"] == json!(bought.order) && m["read"] == false));
    let topics: Vec<&str> = found.iter().map(|m| text(&m["topic"])).collect();
    assert_eq!(
        topics,
        [
            "voucher.issued",
            "redemption.created",
            "redemption.reversed",
            "refund.created",
            "refund.succeeded",
            "order.closed"
        ]
    );
    assert!(inbox(&app.customer("小李").await).await.is_empty());
    app.verify().await;
});

on_both!(once_each_however_often_the_consumer_is_interrupted, |app| async {
    let customer = app.customer("小王").await;
    let interrupted = async {
        for _ in 0..60 {
            let app = app.app.clone();
            let task = tokio::spawn(async move { app.deliver_messages().await });
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
        }
    };
    tokio::join!(closed_orders(&app, &customer, 12), interrupted);
    assert_eq!(inbox_of(&customer, 12).await.len(), 12);
    let all = futures::future::join_all((0..8).map(|_| app.app.deliver_messages())).await;
    assert!(all.into_iter().all(|read| read.is_ok()));
    assert_eq!(inbox(&customer).await.len(), 12);
    // Back to the beginning, as after a restored backup: what was delivered is not delivered again.
    let back: Result<u64, DbError> = transact!(app.app.db, |tx| async {
        sql::execute(
            &tx,
            "UPDATE consumer_positions SET tx = 0, seq = 0 WHERE consumer = $1",
            params!["inbox"],
        )
        .await
    });
    assert_eq!(back.unwrap(), 1);
    let before = inbox(&customer).await;
    let all = futures::future::join_all((0..8).map(|_| app.app.deliver_messages())).await;
    assert!(all.into_iter().all(|read| read.is_ok()));
    assert_eq!(inbox(&customer).await, before);
    app.verify().await;
});

on_both!(read_up_to_an_instant, |app| async {
    let customer = app.customer("小王").await;
    closed_orders(&app, &customer, 3).await;
    let found = inbox_of(&customer, 3).await;
    assert!(found.iter().all(|m| m["read"] == false));
    let read = format!("{MESSAGES}/read");
    customer.post(&read, json!({"until": found[1]["at"]})).await.expect(204);
    customer.post(&read, json!({"until": found[0]["at"]})).await.expect(204);
    let marks: Vec<bool> = inbox(&customer).await.iter().map(|m| m["read"] == true).collect();
    assert_eq!(marks, [true, true, false]);
    refused(
        &customer.post(&read, json!({"until": "2026-11-23T10:00:00"})).await,
        400,
        "invalid_field",
        "until",
    );
    let stranger = app.customer("小李").await;
    stranger.post(&read, json!({"until": found[2]["at"]})).await.expect(204);
    assert_eq!(inbox(&customer).await[2]["read"], false);
    let first = customer.get(&format!("{MESSAGES}?limit=2")).await.expect(200);
    let next = format!("{MESSAGES}?limit=2&cursor={}", text(&first["next_cursor"]));
    let rest = customer.get(&next).await.expect(200);
    assert_eq!((items(&rest).len(), &items(&rest)[0]["id"]), (1, &found[0]["id"]));
    app.verify().await;
});
