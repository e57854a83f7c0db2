//! `hexiao bench-seed`: fills a fresh development installation for the benchmarks: stores, a verifier for each, live
//! vouchers, customers. One of each kind comes from the real use cases, paid at a simulator that lives for the seeding
//! only; orders and vouchers are then copied in sets.

mod copies;

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use hexiao_app::App;
use hexiao_app::auth::StaffSignIn;
use hexiao_app::merchant::{NewProduct, NewSku, NewStaff, NewStore, StockPlan, Terms};
use hexiao_app::order::{OrderLineRequest, PlaceOrder, QuoteRequest};
use hexiao_core::catalog::Role;
use hexiao_core::hours::Span;
use hexiao_core::id::{OrderId, ProductId, SkuId, StoreId};
use hexiao_core::limit::VerifierLimit;
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::{Binding, BookingRule, RefundPolicy, StoreSet, Validity};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::text::{MobilePhone, StorePhone};
use hexiao_db::merchants;
use hexiao_wechat_sim::{PayArgs, SimHandle};
use serde_json::{Value, json};

use self::copies::Template;
use crate::config::{Config, Mode};
use crate::demo::data::{DEMO_PASSWORD, DEMO_SEED, OWNER_PHONE, demo_data};
use crate::demo::{load, sign_in};
use crate::{compose, secrets};

/// What to seed.
#[derive(Args)]
pub struct SeedArgs {
    /// Where to write the staff's tokens and the vouchers, as JSON
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How many vouchers of one use
    #[arg(long, default_value_t = 10_000)]
    pub vouchers: usize,
    /// How many stores, with a verifier each
    #[arg(long, default_value_t = 100)]
    pub stores: usize,
    /// For how many of the vouchers tickets are written; 0: for all
    #[arg(long, default_value_t = 0)]
    pub tickets: usize,
    /// How many customers, signed in
    #[arg(long, default_value_t = 0)]
    pub customers: usize,
    /// How many items of a second product there are for all of them
    #[arg(long, default_value_t = 100)]
    pub items: i64,
}

/// Requests to the use cases at the same time.
const AT_ONCE: usize = 32;

/// Units of one order: the most there may be.
const UNITS: u32 = 50;

/// Seeds.
pub async fn run(config: &Config, args: SeedArgs) -> anyhow::Result<()> {
    ensure!(config.mode == Mode::Dev, "bench-seed 只能用于 dev 模式");
    let db = compose::prepare_dev(config).await?;
    ensure!(merchants::first(db.reader()).await?.is_none(), "bench-seed 需要一个空的数据库");
    let simulator =
        hexiao_wechat_sim::start(crate::simulator::config(&config.keys_dir(), &config.mini_appid)?).await?;
    let urls = compose::wechat_urls(config, Some(&simulator.url()));
    let app = compose::app(config, db, urls, "http://127.0.0.1:9".to_owned()).await?;
    let mut data = demo_data(DEMO_SEED);
    data.stores.clear();
    data.products.clear();
    data.staff.retain(|m| m.role == Role::Owner);
    load(&app, &config.mini_appid, &data, |_| {}).await?;
    let (stores, staff) = people(&app, args.stores).await?;
    let first = *stores.first().context("no store")?;
    let (product_id, plenty) = product(&app, "压测券", StockPlan::Unlimited).await?;
    let (_, scarce) = product(&app, "抢购券", StockPlan::Shared(args.items)).await?;
    let mut vouchers = Vec::new();
    if args.vouchers > 0 {
        let order = buy(&app, &simulator, first, plenty).await?;
        let keys = secrets::load(&config.keys_dir(), config.mode)?;
        let tickets = if args.tickets == 0 { args.vouchers } else { args.tickets };
        let template = Template::new(&app, &keys, order.merchant, order.id).await?;
        vouchers = template.copy(&stores, args.vouchers, tickets).await?;
    }
    let customers = customers(&app, args.customers).await?;
    let seed = json!({
        "staff": staff, "vouchers": vouchers, "customers": customers,
        "store_id": first, "product_id": product_id, "plenty_sku_id": plenty, "scarce_sku_id": scarce,
    });
    std::fs::write(&args.out, serde_json::to_string(&seed)?)
        .with_context(|| format!("不能写入 {}", args.out.display()))?;
    simulator.shutdown().await;
    Ok(())
}

fn refused(error: hexiao_app::AppError) -> anyhow::Error {
    anyhow!("{error:?}")
}

async fn people(app: &App, count: usize) -> anyhow::Result<(Vec<StoreId>, Vec<Value>)> {
    let owner = sign_in(app, OWNER_PHONE, DEMO_PASSWORD).await?;
    let all_day = |weekday| json!({"weekday": weekday, "from": "00:00", "to": "24:00"});
    let weekly: Vec<Span> = serde_json::from_value((1..=7).map(all_day).collect())?;
    let (owner, weekly) = (&owner, &weekly);
    let each = futures::stream::iter(0..count).map(|n| async move {
        let store = NewStore {
            name: format!("压测门店 {n}"),
            city: Some("上海".to_owned()),
            address: format!("上海市黄浦区压测路 {n} 号"),
            lat: 31.23,
            lng: 121.47,
            phone: StorePhone::parse("021-62580000").map_err(|e| anyhow!("{e}"))?,
            description: String::new(),
            weekly: weekly.clone(),
            exceptions: Vec::new(),
            photos: Vec::new(),
            tags: Vec::new(),
            zone: None,
            cutoff_hour: None,
        };
        let store_id = app.create_store(owner, store).await.map_err(refused)?.id;
        let phone = MobilePhone::parse(&format!("139{n:08}")).map_err(|e| anyhow!("{e}"))?;
        let member = NewStaff {
            name: format!("核销员 {n}"),
            phone: phone.clone(),
            password: DEMO_PASSWORD.to_owned(),
            role: Role::Verifier,
            store_ids: vec![store_id],
            limit: VerifierLimit::default(),
        };
        app.create_staff(owner, member).await.map_err(refused)?;
        let request = StaffSignIn { phone, password: DEMO_PASSWORD.to_owned(), merchant_id: None };
        let (_, tokens) =
            app.sign_in_staff(request).await.map_err(refused)?.map_err(|_| anyhow!("several merchants"))?;
        let member = json!({"store_id": store_id, "access_token": tokens.access_token, "refresh_token": tokens.refresh_token});
        anyhow::Ok((store_id, member))
    });
    let made: Vec<(StoreId, Value)> = each.buffered(AT_ONCE).try_collect().await?;
    Ok(made.into_iter().unzip())
}

async fn product(app: &App, name: &str, stock: StockPlan) -> anyhow::Result<(ProductId, SkuId)> {
    let owner = sign_in(app, OWNER_PHONE, DEMO_PASSWORD).await?;
    let sku = NewSku {
        name: "单次".to_owned(),
        specs: std::collections::BTreeMap::new(),
        price: Money::fen(100),
        list_price: None,
        terms: Terms {
            uses: 1,
            validity: Validity::FromPayment { days: 30 },
            usable: Vec::new(),
            blackout_dates: Vec::new(),
            min_interval_minutes: 0,
            daily_cap: None,
            min_quantity: 1,
            max_quantity: None,
            refund: RefundPolicy::AnyTime,
            on_expiry: None,
            binding: Some(Binding::AnyInScope),
            booking: BookingRule::None,
        },
        stock,
        per_order_limit: None,
        per_customer_limit: None,
        return_on_refund: false,
    };
    let new = NewProduct {
        name: name.to_owned(),
        kind: Fulfilment::Redeem,
        category: None,
        cover: String::new(),
        images: Vec::new(),
        description_html: String::new(),
        tags: Vec::new(),
        recommended: false,
        stores: StoreSet::All,
        skus: vec![sku],
    };
    let created = app.create_product(&owner, new).await.map_err(refused)?;
    app.publish_product(&owner, created.product.id).await.map_err(refused)?;
    let sku = created.skus.first().context("no SKU")?;
    Ok((created.product.id, sku.id))
}

/// An order like all others, bought through the use cases.
async fn buy(app: &App, simulator: &SimHandle, store_id: StoreId, sku_id: SkuId) -> anyhow::Result<Order> {
    let (customer, _) = app.sign_in_customer("sim-bench").await.map_err(refused)?;
    let request = PlaceOrder {
        customer_id: customer.id,
        quote: QuoteRequest { store_id, lines: vec![OrderLineRequest { sku_id, quantity: UNITS }] },
        remark: String::new(),
        key: "seed-order".to_owned(),
    };
    let placed = app.place_order(request).await.map_err(refused)?;
    let scope = CustomerScope::of_session(customer.id);
    let sheet = app.pay_order(scope, placed.order_id, "seed-pay").await.map_err(refused)?;
    let args = PayArgs { out_trade_no: sheet.payment_id.to_string(), openid: None, request_payment: None };
    simulator.pay(args).map_err(|e| anyhow!("{e}"))?;
    app.settle_now(placed.merchant, sheet.payment_id).await.map_err(refused)?;
    Ok(Order { merchant: placed.merchant, id: placed.order_id })
}

struct Order {
    merchant: MerchantScope,
    id: OrderId,
}

/// Customers who are signed in.
async fn customers(app: &App, count: usize) -> anyhow::Result<Vec<Value>> {
    let each = futures::stream::iter(0..count).map(|n| async move {
        let (_, tokens) = app.sign_in_customer(&format!("sim-crowd{n}")).await.map_err(refused)?;
        anyhow::Ok(json!({"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}))
    });
    each.buffered(AT_ONCE).try_collect().await
}
