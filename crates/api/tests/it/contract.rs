//! What clients lean on: the shape of errors and lists, request ids, times, money, the document itself.

use std::collections::BTreeSet;

use hexiao_testkit::{Client, Shop, TestApp, on_both};
use serde_json::{Value, json};

use crate::operations::{self, Who};
use crate::wire::{Request, Wire, assert_shape};
use crate::world::world;

on_both!(an_error_has_one_shape, |app| async {
    let reply = Wire::new(&app).send(Request::get("/api/v1/customer/stores?limit=0", None)).await;
    let mut body = reply.body.clone();
    let id = body["error"]["request_id"].take();
    assert_eq!(id, reply.header("x-request-id"));
    let expected = json!({"error": {
        "code": "invalid_field",
        "message": "填写的内容不符合要求",
        "next_action": "请按提示修改标出的项目",
        "retryable": false,
        "fields": [{"path": "limit", "message": "应为 1–100"}],
        "request_id": null,
    }});
    assert_eq!((reply.status, body), (400, expected));
    let reply = Wire::new(&app).send(Request::get("/api/v1/auth/me", None)).await;
    let members: Vec<_> = reply.body["error"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        members,
        ["code", "message", "next_action", "request_id", "retryable"],
        "no empty list of fields"
    );
});

on_both!(a_sane_request_id_comes_back_and_another_is_replaced, |app| async {
    let wire = Wire::new(&app);
    for path in ["/healthz", "/api/v1/auth/me", "/nowhere"] {
        let with = async |id: &[u8]| wire.send(Request::get(path, None).header("x-request-id", id)).await;
        for sane in ["abcdefgh", "01a2-Z_9", &"x".repeat(64)] {
            let reply = with(sane.as_bytes()).await;
            assert_eq!(reply.header("x-request-id"), sane, "{path}");
            if reply.status >= 400 {
                assert_eq!(reply.body["error"]["request_id"], sane);
            }
        }
        let long = "x".repeat(65);
        for insane in ["", "short", "with blank", "<script>", "a,b,c,d,e", "编号编号编号编号", &long]
        {
            let reply = with(insane.as_bytes()).await;
            let id = reply.header("x-request-id");
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{path}: {insane} → {id}");
            if reply.status >= 400 {
                assert_eq!(reply.body["error"]["request_id"], id);
            }
        }
    }
});

on_both!(machines_get_what_they_read, |app| async {
    let wire = Wire::new(&app);
    let get = async |path: &str| wire.send(Request::get(path, None)).await;
    let (alive, ready) = (get("/healthz").await, get("/readyz").await);
    assert_eq!((alive.status, alive.text.as_str()), (200, "ok"));
    assert_eq!((ready.status, ready.text.as_str()), (200, "ready"));
    let metrics = get("/metrics").await;
    assert!(metrics.text.contains("http_requests_total{"), "{}", metrics.text);
    assert!(metrics.text.contains("route=\"/healthz\""), "routes are templates: {}", metrics.text);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let docs = get("/api/docs").await;
    assert_eq!((docs.status, docs.header("content-type")), (200, "text/html; charset=utf-8"));
    let served = get("/api/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.body, operations::document());
});

on_both!(times_carry_their_zone_and_money_is_whole_fen, |app| async {
    let world = world(&app).await;
    let wire = Wire::new(&app);
    let (mut times, mut money) = (0, 0);
    for operation in operations::operations().iter().filter(|o| o.method == reqwest::Method::GET) {
        let caller = match operation.who {
            Who::Staff(_) => &world.staff["owner"],
            Who::Public | Who::SignedIn | Who::Customer => &world.customer,
        };
        let path = operation.path(&world.ids);
        let reply = wire.send(Request::get(&path, caller.token.as_deref())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        assert_shape(&reply.body, &path);
        times += reply.text.matches("_at\":\"20").count() + reply.text.matches("\"at\":\"20").count();
        money += reply.text.matches("_fen\":").count();
    }
    assert!(times > 50 && money > 50, "{times} times and {money} sums were looked at");
});

fn walk(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                visit(name, member);
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_is_whole() {
    let document = operations::document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    walk(&document, &mut |name, value| {
        if let ("$ref", Some(reference)) = (name, value.as_str()) {
            assert!(
                document.pointer(reference.trim_start_matches('#')).is_some(),
                "{reference} leads nowhere"
            );
        }
    });
    let mut ids = BTreeSet::new();
    for (key, path, details) in operations::documented(&document) {
        let id = details["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "two operations are called {id}");
        assert!(
            details["summary"].as_str().or(details["description"].as_str()).is_some(),
            "{key:?} says nothing"
        );
        let responses = details["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{key:?} never succeeds");
        let documented: BTreeSet<_> = details["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["in"] == "path")
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        let in_path: BTreeSet<_> =
            path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(documented, in_path, "{key:?}");
    }
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!((&bearer["type"], &bearer["scheme"]), (&json!("http"), &json!("bearer")));
}

#[test]
fn what_is_not_public_says_so() {
    let document = operations::document();
    for operation in operations::operations() {
        let details = operations::details(&document, &operation);
        let secured = details["security"].as_array().is_some_and(|s| s.contains(&json!({"bearer": []})));
        assert_eq!(secured, operation.who != Who::Public, "{:?}", operation.key());
    }
}

/// Buys, uses one of two uses, and gives the other one back; opens a store; hires somebody; makes a product.
async fn everything_once_more(app: &TestApp, shop: &Shop, customer: &Client, n: usize) {
    let bought = app.buy(customer, shop, 1).await;
    app.owner().await.redeem(app, customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let path = format!("/api/v1/customer/orders/{}/refunds", bought.order);
    customer.post_key(&path, &format!("refund-{n}"), json!({"reason": "不想要了"})).await.expect(201);
    let store = app.store(&format!("店 {n}")).await;
    app.verifier(&[store]).await;
    let product = json!({
        "name": "饮料", "kind": "redeem", "store_scope": {"all": true}, "skus": [{"name": "杯", "price_fen": 1, "stock": 1}],
    });
    app.owner().await.post("/api/v1/merchant/products", product).await.expect(201);
}

struct Paged<'a> {
    path: &'static str,
    client: &'a Client,
    /// What was there before the first page.
    before: Vec<String>,
    seen: Vec<String>,
    /// Where the next page begins; nothing at the end.
    cursor: Option<String>,
}

impl<'a> Paged<'a> {
    async fn start(path: &'static str, client: &'a Client) -> Self {
        let (before, cursor) = page(client, &format!("{path}?limit=100")).await;
        assert!(cursor.is_none() && before.len() >= 3, "{path}: {before:?}");
        Self { path, client, before, seen: Vec::new(), cursor: Some(String::new()) }
    }

    async fn turn(&mut self) {
        let Some(cursor) = self.cursor.take() else { return };
        let cursor = if cursor.is_empty() { cursor } else { format!("&cursor={cursor}") };
        let (items, next) = page(self.client, &format!("{}?limit=2{cursor}", self.path)).await;
        assert!(items.len() <= 2, "{}: {items:?}", self.path);
        assert!(next.is_none() || items.len() == 2, "{}: a page that is not the last is full", self.path);
        self.seen.extend(items);
        self.cursor = next;
    }
}

async fn page(client: &Client, path: &str) -> (Vec<String>, Option<String>) {
    let body = client.get(path).await.expect(200);
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["items", "next_cursor"], "{path}");
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    let items = body["items"].as_array().unwrap().iter().map(id).collect();
    (items, body["next_cursor"].as_str().map(str::to_owned))
}

on_both!(pages_stay_in_place_while_rows_come_in, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小明").await);
    let shop = app.shop(2, 1000, None).await;
    for n in 0..3 {
        everything_once_more(&app, &shop, &customer, n).await;
    }
    crate::snapshot::settled(&app).await;
    let of_customer = [
        "/api/v1/customer/orders",
        "/api/v1/customer/vouchers",
        "/api/v1/customer/messages",
        "/api/v1/customer/stores",
    ];
    let of_owner = [
        "/api/v1/merchant/orders",
        "/api/v1/merchant/redemptions",
        "/api/v1/merchant/refunds",
        "/api/v1/merchant/ledger",
        "/api/v1/merchant/stores",
        "/api/v1/merchant/staff",
        "/api/v1/merchant/products",
        "/api/v1/merchant/stock",
        "/api/v1/staff/orders",
        "/api/v1/staff/redemptions",
        "/api/v1/staff/stores",
    ];
    let mut paged = Vec::new();
    for (paths, client) in [(of_customer.as_slice(), &customer), (of_owner.as_slice(), &owner)] {
        for path in paths {
            paged.push(Paged::start(path, client).await);
        }
    }
    for n in 3.. {
        for list in &mut paged {
            list.turn().await;
        }
        // The first pages are disturbed; after that the rest only has to come to its end.
        if n < 6 {
            everything_once_more(&app, &shop, &customer, n).await;
        }
        if paged.iter().all(|list| list.cursor.is_none()) {
            break;
        }
    }
    for list in &paged {
        let distinct: BTreeSet<_> = list.seen.iter().collect();
        assert_eq!(distinct.len(), list.seen.len(), "{}: a row came twice: {:?}", list.path, list.seen);
        let old: Vec<_> = list.seen.iter().filter(|id| list.before.contains(id)).collect();
        let all: Vec<_> = list.before.iter().collect();
        assert_eq!(old, all, "{}: rows are missing or out of order", list.path);
    }
});
