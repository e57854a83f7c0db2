//! A shop with something to sell, and buying it.

use hexiao_core::id::{Id as _, StoreId};
use hexiao_wechat_sim::PayArgs;
use serde_json::{Value, json};

use crate::app::{TestApp, wait_until};
use crate::client::{Answer, Client};

/// A store that sells one product with one SKU.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The store.
    pub store: StoreId,
    /// The product.
    pub product: String,
    /// Its SKU.
    pub sku: String,
}

/// A paid order.
#[derive(Debug, Clone)]
pub struct Bought {
    /// Its id.
    pub order: String,
    /// Its payment's number.
    pub out_trade_no: String,
    /// Its vouchers' ids.
    pub vouchers: Vec<String>,
}

impl TestApp {
    /// A store that is open around the clock.
    pub async fn store(&self, name: &str) -> StoreId {
        let owner = self.owner().await;
        let hours: Vec<Value> =
            (1..=7).map(|d| json!({"weekday": d, "from": "00:00", "to": "24:00"})).collect();
        let body = json!({"name": name, "address": "上海市黄浦区南京东路 1 号", "lat": 31.2381, "lng": 121.4847, "phone": "021-62580000", "hours": hours});
        let made = owner.post("/api/v1/merchant/stores", body).await.expect(201);
        StoreId::parse(made["id"].as_str().unwrap()).unwrap()
    }

    /// A shop that sells a card of `uses` uses for `price_fen`; without `stock` it never sells out.
    pub async fn shop(&self, uses: u32, price_fen: i64, stock: Option<i64>) -> Shop {
        let store = self.store("人民广场店").await;
        self.shop_in(store, json!({"name": "次卡", "price_fen": price_fen, "stock": stock, "uses": uses, "validity": {"days": 30}})).await
    }

    /// A product with one SKU of this body, sold in all stores.
    pub async fn shop_in(&self, store: StoreId, mut sku: Value) -> Shop {
        if sku["stock"].is_null() {
            sku.as_object_mut().unwrap().remove("stock");
        }
        let owner = self.owner().await;
        let body = json!({"name": "双人套餐", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}});
        let made = owner.post("/api/v1/merchant/products", body).await.expect(201);
        let product = made["id"].as_str().unwrap().to_owned();
        owner.post(&format!("/api/v1/merchant/products/{product}/publish"), json!({})).await.expect(200);
        Shop { store, product, sku: made["skus"][0]["id"].as_str().unwrap().to_owned() }
    }

    /// Places an order.
    pub async fn order(&self, customer: &Client, shop: &Shop, quantity: u32) -> Answer {
        let key = uuid::Uuid::now_v7().to_string();
        let body = json!({"store_id": shop.store, "lines": [{"sku_id": shop.sku, "quantity": quantity}]});
        customer.post_key("/api/v1/customer/orders", &key, body).await
    }

    /// Opens the payment sheet; answers its whole body.
    pub async fn sheet(&self, customer: &Client, order: &str) -> Value {
        let key = uuid::Uuid::now_v7().to_string();
        customer.post_key(&format!("/api/v1/customer/orders/{order}/pay"), &key, json!({})).await.expect(200)
    }

    /// The customer pays at WeChat, as their phone would.
    pub fn pay(&self, sheet: &Value) {
        let args = PayArgs {
            out_trade_no: sheet["out_trade_no"].as_str().unwrap().to_owned(),
            openid: None,
            request_payment: Some(sheet["request_payment"].clone()),
        };
        self.sim.pay(args).unwrap();
    }

    /// Orders and pays, and waits until the vouchers are there.
    pub async fn buy(&self, customer: &Client, shop: &Shop, quantity: u32) -> Bought {
        let order = self.order(customer, shop, quantity).await.expect(201)["id"].as_str().unwrap().to_owned();
        let sheet = self.sheet(customer, &order).await;
        self.pay(&sheet);
        let path = format!("/api/v1/customer/orders/{order}");
        wait_until("the order is paid", async || customer.get(&path).await.body["state"] == "Paid").await;
        let body = customer.get(&path).await.expect(200);
        let vouchers = body["vouchers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["id"].as_str().unwrap().to_owned())
            .collect();
        Bought { order, out_trade_no: sheet["out_trade_no"].as_str().unwrap().to_owned(), vouchers }
    }

    /// A voucher as its customer sees it, with code and QR.
    pub async fn voucher(&self, customer: &Client, id: &str) -> Value {
        customer.get(&format!("/api/v1/customer/vouchers/{id}")).await.expect(200)
    }
}

impl Client {
    /// Scans a QR.
    pub async fn prepare(&self, store: StoreId, qr: &Value) -> Answer {
        self.post("/api/v1/staff/redemptions/prepare", json!({"store_id": store, "input": {"qr": qr}})).await
    }

    /// Confirms what a prepare answered, for one voucher; acknowledges what asks for attention.
    pub async fn confirm(
        &self,
        store: StoreId,
        prepared: &Value,
        voucher: &str,
        quantity: u32,
        key: &str,
    ) -> Answer {
        let body = json!({
            "store_id": store, "prepare_token": prepared["prepare_token"], "items": [{"voucher_id": voucher, "quantity": quantity}],
            "atomicity": "all", "acknowledge": ["just_redeemed"],
        });
        self.post_key("/api/v1/staff/redemptions", key, body).await
    }

    /// Scans and confirms in one go.
    pub async fn redeem(
        &self,
        app: &TestApp,
        customer: &Client,
        store: StoreId,
        voucher: &str,
        quantity: u32,
    ) -> Answer {
        let qr = app.voucher(customer, voucher).await["qr"].clone();
        let prepared = self.prepare(store, &qr).await.expect(200);
        self.confirm(store, &prepared, voucher, quantity, &uuid::Uuid::now_v7().to_string()).await
    }
}
