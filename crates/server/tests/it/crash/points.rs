//! Killed at each named point once, on both databases.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use hexiao_app::hold::POINTS;
use hexiao_testkit::{Backend, Client};
use hexiao_wechat_sim::{Fault, FaultAction};
use serde_json::{Value, json};

use super::intent::{InFlight, Intent, Sent, What};
use super::world::{PRICE_FEN, Time, USES, World, text};
use crate::support::eventually;

/// The callback of a payment is lost at these: polling has to find it.
const POLLED: [&str; 5] =
    ["settle.before_commit", "settle.after_commit", "prepay.before_call", "prepay.after_call", "job.claimed"];
/// Customers who order without pause until the server dies, so that requests are in flight when it does.
const SHOPPERS: usize = 4;

/// What was there before the load.
struct Before {
    customer: Client,
    /// Paid in the load: order and payment sheet.
    to_pay: Vec<(String, Value)>,
    /// Its time runs out while the server is dead.
    to_expire: String,
    /// Paid and closed at once.
    contested: (String, Value),
    requests: Vec<Intent>,
    /// What vouchers must come to: `(voucher, used, refunded)`.
    expected: Vec<(String, u32, u32)>,
    /// Whose payment sheets are opened in the load; paid after the restart.
    late_payers: Vec<String>,
    closed: Vec<String>,
    /// Of which one use is booked in the load, one booking confirmed, one moved and one given back.
    booked: String,
    /// What time brings while the server is dead.
    time: Time,
}

/// One of everything that can be under way.
async fn before(world: &World) -> Before {
    let customer = world.customer("顾客").await;
    let bought = join_all((0..14).map(|_| world.bought(&customer))).await;
    let [
        once,
        twice,
        undone,
        whole,
        rest,
        ended,
        matured,
        reminded,
        back,
        fused,
        looked_at,
        later,
        waiting,
        queued,
    ] = &bought[..]
    else {
        unreachable!()
    };
    let redeemed = |token: Value, voucher: &str| world.confirm(&token, voucher, 1);
    let confirmed = redeemed(world.prepared(&customer, &undone.1).await, &undone.1).repeat().await.body;
    redeemed(world.prepared(&customer, &rest.1).await, &rest.1).repeat().await;
    redeemed(world.prepared(&customer, &matured.1).await, &matured.1).repeat().await;
    world.hold_refunds(3600).await;
    let taken_back = text(&World::refund(&customer, &back.0).repeat().await.body["id"]);
    World::refund(&customer, &fused.0).repeat().await;
    world.hold_refunds(0).await;
    let fuse = world.asks_to_withdraw(&customer, &fused.1).await;
    let lookup = world.asks_to_see(&customer, &looked_at.0).await;
    let mut requests = vec![
        World::withdraw(&customer, &taken_back),
        World::approve(&customer, &fuse),
        World::approve(&customer, &lookup),
        redeemed(world.prepared(&customer, &once.1).await, &once.1),
        world.confirm(&world.prepared(&customer, &twice.1).await, &twice.1, 2),
        world.reverse(&text(&confirmed["id"])),
        World::refund(&customer, &whole.0),
        World::refund(&customer, &rest.0),
        world.order(&customer),
    ];
    let waits = world.backfill(&customer, &waiting.1, 2).await.repeat().await.body;
    requests.push(world.backfill(&customer, &later.1, 1).await);
    requests.extend(world.devices().await);
    requests.push(world.offline(&customer, &queued.1).await);
    requests.push(world.approve_backfill(&text(&waits["backfill"]["id"])));
    let mut late_payers = Vec::new();
    for _ in 0..2 {
        let order = text(&world.order(&customer).repeat().await.body["id"]);
        requests.push(World::sheet(&customer, &order));
        late_payers.push(order);
    }
    let mut unpaid = join_all((0..5).map(|_| world.unpaid(&customer))).await;
    let without_sheet = text(&world.order(&customer).repeat().await.body["id"]);
    let closed = vec![unpaid.pop().unwrap().0, without_sheet];
    requests.extend(closed.iter().map(|order| World::close(&customer, order)));
    let contested = unpaid.pop().unwrap();
    let to_expire = unpaid.pop().unwrap().0;
    let booked = world.bookable(&customer).await;
    requests.push(world.book(&customer, &booked, 24, true));
    for (confirm, what) in
        [(false, What::ConfirmBooking), (true, What::Reschedule), (true, What::CancelBooking)]
    {
        let made = world.book(&customer, &booked, 24, confirm).repeat().await.body;
        requests.push(World::change_booking(&customer, &text(&made["id"]), what));
    }
    let expected = vec![
        (once.1.clone(), 1, 0),
        (twice.1.clone(), 2, 0),
        (undone.1.clone(), 0, 0),
        (whole.1.clone(), 0, USES),
        (rest.1.clone(), 1, USES - 1),
        (ended.1.clone(), 0, USES),
        (matured.1.clone(), 1, 0),
        (reminded.1.clone(), 0, 0),
        (back.1.clone(), 0, 0),
        (fused.1.clone(), 1, 0),
        (looked_at.1.clone(), 0, 0),
        (later.1.clone(), 1, 0),
        (waiting.1.clone(), 2, 0),
        (queued.1.clone(), 1, 0),
    ];
    let time = Time {
        ended: ended.1.clone(),
        matured: matured.1.clone(),
        reminded: (reminded.0.clone(), reminded.1.clone()),
    };
    Before {
        customer,
        to_pay: unpaid,
        to_expire,
        contested,
        requests,
        expected,
        late_payers,
        closed,
        booked,
        time,
    }
}

/// Orders one after the other until the server is gone.
async fn shop(world: &World, customer: &Client, in_flight: &InFlight) -> Vec<Sent> {
    let mut sent = Vec::new();
    loop {
        sent.push(world.order(customer).send(in_flight).await);
        if sent.last().is_some_and(|s| s.acknowledged.is_none()) {
            return sent;
        }
    }
}

async fn killed_at(backend: Backend, point: &str) {
    let (world, server) = World::new(backend).await;
    let before = before(&world).await;
    let shoppers = join_all((0..SHOPPERS).map(async |n| world.customer(&format!("顾客{n}")).await)).await;
    world.no_news().await;
    server.kill().await;
    world.passes(&before.time).await;

    let server = world.serve(Some(point)).await;
    if POLLED.contains(&point) {
        let lost = Fault::new(FaultAction::Drop {}).times(None);
        world.sim.set_fault(lost.order(&text(&before.to_pay[0].1["out_trade_no"]))).unwrap();
    }
    let in_flight = InFlight::default();
    for (_, sheet) in &before.to_pay {
        world.pay(sheet);
    }
    let load = async {
        let once = join_all(before.requests.iter().map(|request| request.send(&in_flight)));
        let race = async {
            world.pay(&before.contested.1);
            contest(&before).await;
        };
        let shopping = join_all(shoppers.iter().map(|c| shop(&world, c, &in_flight)));
        let (mut sent, (), shopping) = futures::join!(once, race, shopping);
        sent.extend(shopping.into_iter().flatten());
        sent
    };
    let kill = async {
        world.held(point).await;
        eventually("requests are in flight", Duration::from_secs(10), async || in_flight.now() > 0).await;
        server.kill().await;
    };
    let (sent, ()) = futures::join!(load, kill);
    let unanswered = sent.iter().filter(|s| s.acknowledged.is_none()).count();
    assert!(unanswered > 0, "killed while nothing was in flight");

    world.expire(&before.to_expire).await;
    let _server = world.serve(None).await;
    world.verify().await;
    prove(&world, &before, &sent).await;
}

/// Closes an order that is being paid; either may win, and the server may die before it answers.
async fn contest(before: &Before) {
    let path = format!("/api/v1/customer/orders/{}/close", before.contested.0);
    let answer = before.customer.try_send(reqwest::Method::POST, &path, Some(json!({})), None).await;
    if let Ok(answer) = answer {
        assert!(answer.status == 200 || answer.code() == "order_paid", "{}", answer.body);
    }
}

/// After the restart: what was acknowledged is there, what was not is done once, the rest goes on by itself.
async fn prove(world: &World, before: &Before, sent: &[Sent]) {
    let answers = join_all(sent.iter().map(Sent::prove_exactly_once)).await;
    let orders = sent.iter().filter(|s| s.intent.what == What::Order).count();
    let distinct: BTreeSet<String> = sent
        .iter()
        .zip(&answers)
        .filter(|(s, _)| s.intent.what == What::Order)
        .map(|(_, answer)| text(&answer["id"]))
        .collect();
    assert_eq!(distinct.len(), orders, "two requests made one order");
    for (sheet, _) in answers.iter().zip(sent).filter(|(_, s)| s.intent.what == What::Pay) {
        world.pay(sheet);
    }
    let customer = &before.customer;
    let order = async |id: &str| customer.get(&format!("/api/v1/customer/orders/{id}")).await.expect(200);
    let paid = before.to_pay.iter().map(|p| &p.0).chain(&before.late_payers);
    for id in paid {
        eventually("the payment settles", Duration::from_secs(45), async || {
            order(id).await["state"] == "Paid"
        })
        .await;
        let body = order(id).await;
        assert_eq!(body["vouchers"].as_array().unwrap().len(), 1, "{body}");
        assert_eq!(body["pay_fen"], PRICE_FEN);
    }
    eventually("the order expires", Duration::from_secs(45), async || {
        order(&before.to_expire).await["close_reason"] == "timeout"
    })
    .await;
    world.drained().await;
    for id in &before.closed {
        assert_eq!(order(id).await["close_reason"], "customer");
    }
    let contested = order(&before.contested.0).await;
    let refunds = contested["refunds"].as_array().unwrap();
    let returned = refunds.len() == 1 && refunds[0]["amount_fen"] == PRICE_FEN;
    assert!(contested["state"] == "Paid" && refunds.is_empty() || returned, "{contested}");
    for (voucher, used, refunded) in &before.expected {
        let path = format!("/api/v1/customer/vouchers/{voucher}");
        let body = customer.get(&path).await.expect(200);
        let found = (&body["used"], &body["refunded"], &body["locked"]);
        assert_eq!(found, (&json!(used), &json!(refunded), &json!(0)), "{body}");
    }
    let path = format!("/api/v1/customer/vouchers/{}", before.booked);
    assert_eq!(customer.get(&path).await.expect(200)["locked"], 3);
    world.settled_by_time(&before.time).await;
    world.verify().await;
    world.nothing_doubled().await;
}

/// A test for each point and database.
macro_rules! points {
    ($($name:ident: $point:literal),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::killed_at(hexiao_testkit::Backend::Sqlite, $point).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::killed_at(hexiao_testkit::Backend::Postgres, $point).await;
            })*
        }
        const TESTED: &[&str] = &[$($point),*];
    };
}

points! {
    order_before_commit: "order.before_commit",
    order_after_commit: "order.after_commit",
    prepay_before_call: "prepay.before_call",
    prepay_after_call: "prepay.after_call",
    settle_before_commit: "settle.before_commit",
    settle_after_commit: "settle.after_commit",
    close_before_commit: "close.before_commit",
    close_after_commit: "close.after_commit",
    confirm_before_commit: "confirm.before_commit",
    confirm_after_commit: "confirm.after_commit",
    reverse_before_commit: "reverse.before_commit",
    reverse_after_commit: "reverse.after_commit",
    device_register_before_commit: "device_register.before_commit",
    device_register_after_commit: "device_register.after_commit",
    device_revoke_before_commit: "device_revoke.before_commit",
    device_revoke_after_commit: "device_revoke.after_commit",
    offline_before_commit: "offline.before_commit",
    offline_after_commit: "offline.after_commit",
    backfill_before_commit: "backfill.before_commit",
    backfill_after_commit: "backfill.after_commit",
    backfill_approve_before_commit: "backfill_approve.before_commit",
    backfill_approve_after_commit: "backfill_approve.after_commit",
    refund_before_commit: "refund.before_commit",
    refund_after_commit: "refund.after_commit",
    refund_submit_before_call: "refund_submit.before_call",
    refund_submit_after_call: "refund_submit.after_call",
    refund_record_before_commit: "refund_record.before_commit",
    refund_record_after_commit: "refund_record.after_commit",
    booking_before_commit: "booking.before_commit",
    booking_after_commit: "booking.after_commit",
    booking_confirm_before_commit: "booking_confirm.before_commit",
    booking_confirm_after_commit: "booking_confirm.after_commit",
    booking_reschedule_before_commit: "booking_reschedule.before_commit",
    booking_reschedule_after_commit: "booking_reschedule.after_commit",
    booking_end_before_commit: "booking_end.before_commit",
    booking_end_after_commit: "booking_end.after_commit",
    withdraw_before_commit: "withdraw.before_commit",
    withdraw_after_commit: "withdraw.after_commit",
    consent_before_commit: "consent.before_commit",
    consent_after_commit: "consent.after_commit",
    fuse_before_commit: "fuse.before_commit",
    fuse_after_commit: "fuse.after_commit",
    maturity_before_commit: "maturity.before_commit",
    maturity_after_commit: "maturity.after_commit",
    expiry_before_commit: "expiry.before_commit",
    expiry_after_commit: "expiry.after_commit",
    reminder_before_commit: "reminder.before_commit",
    reminder_after_commit: "reminder.after_commit",
    inbox_before_commit: "inbox.before_commit",
    inbox_after_commit: "inbox.after_commit",
    job_claimed: "job.claimed",
    webhook_feed_before_commit: "webhook_feed.before_commit",
    webhook_feed_after_commit: "webhook_feed.after_commit",
    webhook_send_before_call: "webhook_send.before_call",
    webhook_send_after_call: "webhook_send.after_call",
    webhook_record_before_commit: "webhook_record.before_commit",
    webhook_record_after_commit: "webhook_record.after_commit",
    commission_before_commit: "commission.before_commit",
    commission_after_commit: "commission.after_commit",
    risk_before_commit: "risk.before_commit",
    risk_after_commit: "risk.after_commit",
}

#[test]
fn every_point_has_its_test() {
    assert_eq!(TESTED, POINTS);
}
