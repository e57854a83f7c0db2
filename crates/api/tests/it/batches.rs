//! Requests that are written together keep their own verdicts.

use hexiao_app::AppError;
use hexiao_app::order::{OrderLineRequest, PlaceOrder, QuoteRequest};
use hexiao_core::id::{CustomerId, Id as _, SkuId};
use hexiao_core::reason::Reason;
use hexiao_testkit::{Shop, TestApp, on_both};
use uuid::Uuid;

fn order(shop: &Shop, customer_id: CustomerId, quantity: u32, key: &str) -> PlaceOrder {
    let line = OrderLineRequest { sku_id: SkuId::parse(&shop.sku).unwrap(), quantity };
    PlaceOrder {
        customer_id,
        quote: QuoteRequest { store_id: shop.store, lines: vec![line] },
        remark: String::new(),
        key: key.to_owned(),
    }
}

async fn customers(app: &TestApp, count: usize) -> Vec<CustomerId> {
    let mut all = Vec::new();
    for n in 0..count {
        all.push(app.app.sign_in_customer(&format!("sim-c{n}")).await.unwrap().0.id);
    }
    all
}

async fn on_hand_and_reserved(app: &TestApp, shop: &Shop) -> (i64, i64) {
    let list = app.owner().await.get("/api/v1/merchant/stock?limit=100").await.expect(200);
    let row = list["items"].as_array().unwrap().iter().find(|r| r["sku_id"] == shop.sku).unwrap();
    (row["on_hand"].as_i64().unwrap(), row["reserved"].as_i64().unwrap())
}

// No route lets such a request through: its customer does not exist, and the database refuses the whole batch for it.
on_both!(one_that_the_database_refuses_fails_alone, |app| async {
    let shop = app.shop(1, 1001, Some(100)).await;
    let customers = customers(&app, 63).await;
    let nobody = CustomerId::from_uuid(Uuid::now_v7());
    let mut requests: Vec<PlaceOrder> =
        customers.iter().map(|customer| order(&shop, *customer, 1, "one")).collect();
    requests.insert(40, order(&shop, nobody, 1, "one"));
    let answers = futures::future::join_all(requests.into_iter().map(|r| app.app.place_order(r))).await;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(placed) => assert!(n != 40 && !placed.replayed),
            Err(error) => assert!(n == 40 && error.reason() == Reason::Internal, "{n}: {error:?}"),
        }
    }
    assert_eq!(on_hand_and_reserved(&app, &shop).await, (100, 63));
    app.verify().await;
});

on_both!(refused_ones_leave_the_others_their_stock, |app| async {
    let shop = app.shop(1, 1001, Some(10)).await;
    let customers = customers(&app, 20).await;
    // Every second one asks for more than there will ever be.
    let requests = customers.iter().enumerate().map(|(n, customer)| {
        let quantity = if n % 2 == 0 { 1 } else { 11 };
        app.app.place_order(order(&shop, *customer, quantity, "one"))
    });
    let answers = futures::future::join_all(requests).await;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) => assert_eq!(n % 2, 0),
            Err(AppError::Refused(refusal)) => assert!(n % 2 == 1 && refusal.reason == Reason::OutOfStock),
            Err(error) => panic!("{n}: {error:?}"),
        }
    }
    assert_eq!(on_hand_and_reserved(&app, &shop).await, (10, 10));
    app.verify().await;
});

on_both!(a_key_that_comes_twice_at_once_places_one_order, |app| async {
    let shop = app.shop(1, 1001, Some(10)).await;
    let customer = customers(&app, 1).await[0];
    let requests = (0..8).map(|n| {
        // The last two ask for something else under the same key.
        app.app.place_order(order(&shop, customer, if n < 6 { 1 } else { 2 }, "same"))
    });
    let answers = futures::future::join_all(requests).await;
    let placed: Vec<_> = answers.iter().flatten().collect();
    assert!(placed.iter().all(|p| p.order_id == placed[0].order_id), "{placed:?}");
    assert_eq!(placed.iter().filter(|p| !p.replayed).count(), 1);
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|error| error.reason() == Reason::IdempotencyConflict));
    assert_eq!(placed.len() + refused.count(), 8);
    let (on_hand, reserved) = on_hand_and_reserved(&app, &shop).await;
    assert!(on_hand == 10 && (reserved == 1 || reserved == 2));
    app.verify().await;
});
