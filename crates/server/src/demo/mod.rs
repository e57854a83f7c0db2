//! The demo merchant: loads [`data`] through the use cases, once.

pub mod data;

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use hexiao_app::App;
use hexiao_app::auth::{Principal, StaffPrincipal, StaffSignIn};
use hexiao_app::merchant::{
    Agreements, NewBookingPlan, NewMerchant, NewOwner, NewPayAccount, NewProduct, NewSku, NewStaff, NewStore,
    StockPlan, Terms,
};
use hexiao_app::wechat::Account;
use hexiao_core::booking::BookingTerms;
use hexiao_core::catalog::Role;
use hexiao_core::hours::Span;
use hexiao_core::id::{ProductId, StoreId};
use hexiao_core::limit::VerifierLimit;
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::{BookingRule, StoreSet, Validity};
use hexiao_core::text::{MobilePhone, StorePhone};
use hexiao_db::merchants;
use serde_json::json;

use crate::init::agreements;
use crate::simulator::{DIRECT_MCHID, DIRECT_REF};
use data::{DEMO_PASSWORD, DemoData, DemoProduct, DemoScope, DemoSku, DemoStore};

/// Loads the demo data unless a merchant is there already; whether it did. `progress` hears what is being done.
pub async fn load(
    app: &App,
    mini_appid: &str,
    data: &DemoData,
    progress: impl Fn(&str),
) -> anyhow::Result<bool> {
    if merchants::first(app.db.reader()).await?.is_some() {
        return Ok(false);
    }
    progress("创建演示商家");
    let owner = create_merchant(app, mini_appid, data).await?;
    progress(&format!("创建 {} 家门店", data.stores.len()));
    let mut stores: Vec<StoreId> = Vec::with_capacity(data.stores.len());
    for store in &data.stores {
        let created = app.create_store(&owner, new_store(store)?).await.map_err(refused)?;
        stores.push(created.id);
    }
    progress(&format!("创建 {} 个员工账号", data.staff.len()));
    for member in data.staff.iter().filter(|m| m.role != Role::Owner) {
        let new = NewStaff {
            name: member.name.to_string(),
            phone: phone(&member.phone)?,
            password: DEMO_PASSWORD.to_owned(),
            role: member.role,
            store_ids: member.stores.iter().map(|i| stores[*i]).collect(),
            limit: VerifierLimit::default(),
        };
        app.create_staff(&owner, new).await.map_err(refused)?;
    }
    progress(&format!("上架 {} 个商品", data.products.len()));
    for product in &data.products {
        let created = app.create_product(&owner, new_product(product, &stores)).await.map_err(refused)?;
        if product.skus.iter().any(|sku| sku.booking == BookingRule::Required) {
            plan_bookings(app, &owner, created.product.id, product, &stores).await?;
        }
        app.publish_product(&owner, created.product.id).await.map_err(refused)?;
    }
    Ok(true)
}

/// Slots of the length of the service, every day, in the stores of a product that is used at a booked time.
async fn plan_bookings(
    app: &App,
    owner: &StaffPrincipal,
    product_id: ProductId,
    product: &DemoProduct,
    stores: &[StoreId],
) -> anyhow::Result<()> {
    let window =
        |day: u8| json!({"weekday": day, "from": "10:00", "to": "20:30", "slot_minutes": 150, "capacity": 3});
    let slots = serde_json::from_value(json!({"windows": (1..=7).map(window).collect::<Vec<_>>()}))?;
    let plan = NewBookingPlan { product_id: Some(product_id), slots, terms: BookingTerms::default() };
    let sold_in: Vec<StoreId> = match &product.scope {
        DemoScope::All => stores.to_vec(),
        DemoScope::Stores(indices) => indices.iter().map(|i| stores[*i]).collect(),
    };
    for store_id in sold_in {
        app.set_booking_plans(owner, store_id, std::slice::from_ref(&plan)).await.map_err(refused)?;
    }
    Ok(())
}

fn refused(error: hexiao_app::AppError) -> anyhow::Error {
    anyhow!("演示数据被拒绝：{error:?}")
}

async fn create_merchant(app: &App, mini_appid: &str, data: &DemoData) -> anyhow::Result<StaffPrincipal> {
    let owner = data.staff.iter().find(|m| m.role == Role::Owner).context("demo data without owner")?;
    let texts: Agreements = agreements(data.merchant_name);
    let new = NewMerchant {
        name: data.merchant_name.to_owned(),
        zone: chrono_tz::Tz::Asia__Shanghai,
        owner: NewOwner {
            name: owner.name.to_string(),
            phone: phone(&owner.phone)?,
            password: DEMO_PASSWORD.to_owned(),
        },
        pay_account: NewPayAccount {
            account: Account::Direct { appid: mini_appid.to_owned(), mchid: DIRECT_MCHID.to_owned() },
            key_ref: DIRECT_REF.to_owned(),
        },
        agreements: texts,
    };
    app.create_merchant(new).await.map_err(refused)?;
    sign_in(app, &owner.phone, DEMO_PASSWORD).await
}

/// Signs a member of staff in and answers who they are.
pub async fn sign_in(app: &App, number: &str, password: &str) -> anyhow::Result<StaffPrincipal> {
    let request = StaffSignIn { phone: phone(number)?, password: password.to_owned(), merchant_id: None };
    let signed_in = app.sign_in_staff(request).await.map_err(refused)?;
    let (_, tokens) = signed_in.map_err(|_| anyhow!("several merchants"))?;
    match &*app.authenticate(&tokens.access_token).await.map_err(refused)? {
        Principal::Staff(staff) => Ok(staff.clone()),
        Principal::Customer(_) => Err(anyhow!("not staff")),
    }
}

fn phone(text: &str) -> anyhow::Result<MobilePhone> {
    MobilePhone::parse(text).map_err(|e| anyhow!("{e}"))
}

fn new_store(store: &DemoStore) -> anyhow::Result<NewStore> {
    let weekly: Vec<Span> = serde_json::from_value(serde_json::to_value(&store.hours)?)?;
    Ok(NewStore {
        name: store.name.clone(),
        city: Some(store.city.to_owned()),
        address: store.address.clone(),
        lat: store.lat,
        lng: store.lng,
        phone: StorePhone::parse(&store.phone).map_err(|e| anyhow!("{e}"))?,
        description: store.description.clone(),
        weekly,
        exceptions: Vec::new(),
        photos: Vec::new(),
        tags: store.tags.iter().map(ToString::to_string).collect(),
        zone: None,
        cutoff_hour: None,
    })
}

fn new_product(product: &DemoProduct, stores: &[StoreId]) -> NewProduct {
    NewProduct {
        name: product.name.to_string(),
        kind: Fulfilment::Redeem,
        category: Some(product.category.to_string()),
        cover: String::new(),
        images: Vec::new(),
        description_html: product.description_html.clone(),
        tags: product.tags.iter().map(ToString::to_string).collect(),
        recommended: product.recommended,
        stores: match &product.scope {
            DemoScope::All => StoreSet::All,
            DemoScope::Stores(indices) => StoreSet::Only(indices.iter().map(|i| stores[*i]).collect()),
        },
        skus: product.skus.iter().map(new_sku).collect(),
    }
}

fn new_sku(sku: &DemoSku) -> NewSku {
    // The demo's windows have the JSON form of the rule's own.
    let usable = serde_json::from_value(json!(sku.usable)).unwrap_or_default();
    NewSku {
        name: sku.name.to_string(),
        specs: BTreeMap::new(),
        price: Money::fen(sku.price_fen),
        list_price: sku.list_price_fen.map(Money::fen),
        terms: Terms {
            uses: sku.uses,
            validity: Validity::FromPayment { days: sku.valid_days },
            usable,
            blackout_dates: Vec::new(),
            min_interval_minutes: sku.min_interval_minutes,
            daily_cap: sku.daily_cap,
            min_quantity: 1,
            max_quantity: None,
            refund: sku.refund,
            on_expiry: None,
            binding: None,
            booking: sku.booking,
        },
        stock: sku.stock.map_or(StockPlan::Unlimited, StockPlan::Shared),
        per_order_limit: sku.per_order_limit.and_then(|n| u32::try_from(n).ok()),
        per_customer_limit: sku.per_customer_limit.and_then(|n| u32::try_from(n).ok()),
        return_on_refund: true,
    }
}
