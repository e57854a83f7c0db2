//! Products as customers see them. Nobody has to sign in to look.

use std::collections::{BTreeMap, HashMap};

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::StockMode;
use hexiao_core::id::{MerchantId, ProductId, RecordId, SkuId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::MerchantScope;
use hexiao_db::catalog::{self, ListFilter, ListKind, Offer, Product};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::view::{RuleView, picture};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Path, Query};
use crate::fields::Line;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_store_products))
        .routes(routes!(list_store_categories))
        .routes(routes!(get_product))
}

/// The lists of a store's page.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListName {
    /// 推荐
    Recommended,
    /// 热销
    Hot,
    /// 优惠
    Deals,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoreProductsQuery {
    /// All products, newest first, when not given.
    #[param(inline)]
    list: Option<ListName>,
    #[param(value_type = Option<String>)]
    category_id: Option<RecordId>,
    /// Words in the name.
    #[param(inline)]
    q: Option<Line<0, 50>>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProductQuery {
    /// For that store's prices and stock.
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
}

/// A product in a list.
#[derive(Serialize, ToSchema)]
struct ProductCard {
    #[schema(value_type = String)]
    id: ProductId,
    name: String,
    #[schema(required)]
    cover: Option<String>,
    /// The lowest price in this store.
    #[schema(value_type = i64)]
    from_price_fen: Money,
    /// The price struck out beside it.
    #[schema(value_type = Option<i64>, required)]
    list_price_fen: Option<Money>,
    sold_count: i64,
    /// Nothing is left of any SKU.
    sold_out: bool,
    tags: Vec<String>,
    /// The rule of the cheapest SKU in plain words.
    rule_text: Vec<String>,
    #[schema(value_type = Option<String>, required)]
    category_id: Option<RecordId>,
}

/// What can be bought.
#[derive(Serialize, ToSchema)]
struct StockState {
    #[schema(value_type = String, example = "shared")]
    mode: StockMode,
    /// Units left; null when not counted, or counted by store and no store was named.
    #[schema(required)]
    available: Option<i64>,
    sold_out: bool,
}

#[derive(Serialize, ToSchema)]
struct SkuView {
    #[schema(value_type = String)]
    id: SkuId,
    name: String,
    specs: BTreeMap<String, String>,
    #[schema(value_type = i64)]
    price_fen: Money,
    #[schema(value_type = Option<i64>, required)]
    list_price_fen: Option<Money>,
    uses: u32,
    stock: StockState,
    #[schema(required)]
    per_order_limit: Option<u32>,
    #[schema(required)]
    per_customer_limit: Option<u32>,
    rule: RuleView,
}

#[derive(Serialize, ToSchema)]
struct ProductView {
    #[schema(value_type = String)]
    id: ProductId,
    #[schema(value_type = String)]
    merchant_id: MerchantId,
    name: String,
    #[schema(value_type = String, example = "redeem")]
    kind: Fulfilment,
    #[schema(required)]
    cover: Option<String>,
    images: Vec<String>,
    description_html: String,
    #[schema(value_type = Option<String>, required)]
    category_id: Option<RecordId>,
    tags: Vec<String>,
    sold_count: i64,
    skus: Vec<SkuView>,
    /// How many stores sell it.
    eligible_stores_count: i64,
}

#[derive(Serialize, ToSchema)]
struct CategoryView {
    #[schema(value_type = String)]
    id: RecordId,
    name: String,
    product_count: i64,
}

impl ProductCard {
    /// `None` when its last offer went away between two queries.
    fn of(product: Product, offers: &[Offer]) -> Option<Self> {
        let cheapest = offers.iter().min_by_key(|o| o.price)?;
        Some(Self {
            id: product.id,
            name: product.name,
            cover: picture(product.cover),
            from_price_fen: cheapest.price,
            list_price_fen: cheapest.struck_out(),
            sold_count: product.sold_count,
            sold_out: offers.iter().all(Offer::sold_out),
            tags: product.tags,
            rule_text: cheapest.rule.texts(),
            category_id: product.category_id,
        })
    }
}

impl SkuView {
    fn of(offer: Offer, with_store: bool) -> Self {
        let available = match offer.stock_mode {
            StockMode::Shared => Some(offer.available),
            StockMode::Own => with_store.then_some(offer.available),
            StockMode::Unlimited => None,
        };
        Self {
            stock: StockState { mode: offer.stock_mode, available, sold_out: offer.sold_out() },
            list_price_fen: offer.struck_out(),
            id: offer.sku_id,
            name: offer.name,
            specs: offer.specs,
            price_fen: offer.price,
            uses: offer.rule.uses,
            per_order_limit: offer.per_order_limit,
            per_customer_limit: offer.per_customer_limit,
            rule: offer.rule.into(),
        }
    }
}

async fn merchant_of(state: &ApiState, store_id: StoreId) -> ApiResult<MerchantScope> {
    let merchant = catalog::merchant_of_store(state.app.db.reader(), store_id).await?;
    Ok(merchant.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有找到这个门店"))?)
}

/// What a store offers.
#[utoipa::path(get, path = "/api/v1/customer/stores/{id}/products", tag = "catalog",
    params(("id" = String, Path, description = "Store"), StoreProductsQuery), responses((status = 200, body = List<ProductCard>)))]
async fn list_store_products(
    State(state): State<ApiState>,
    Path(store_id): Path<StoreId>,
    Query(query): Query<StoreProductsQuery>,
) -> ApiResult<JsonBody<List<ProductCard>>> {
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = ListFilter {
        kind: match query.list {
            None => ListKind::All,
            Some(ListName::Recommended) => ListKind::Recommended,
            Some(ListName::Hot) => ListKind::Hot,
            Some(ListName::Deals) => ListKind::Deals,
        },
        category_id: query.category_id,
        q: query.q.map(|q| q.0).filter(|q| !q.is_empty()),
    };
    let merchant = merchant_of(&state, store_id).await?;
    let reader = state.app.db.reader();
    let products = catalog::public_products(reader, merchant, store_id, &filter, &page).await?;
    let ids: Vec<ProductId> = products.items.iter().map(|p| p.id).collect();
    let mut offers: HashMap<ProductId, Vec<Offer>> = HashMap::new();
    for offer in catalog::offers(reader, merchant, Some(store_id), &ids).await? {
        offers.entry(offer.product_id).or_default().push(offer);
    }
    let list = List::of(products, |p| {
        let offers = offers.remove(&p.id).unwrap_or_default();
        ProductCard::of(p, &offers)
    });
    let items = list.items.into_iter().flatten().collect();
    Ok(JsonBody(List { items, next_cursor: list.next_cursor }))
}

/// The categories in which a store offers something.
#[utoipa::path(get, path = "/api/v1/customer/stores/{id}/categories", tag = "catalog",
    params(("id" = String, Path, description = "Store")), responses((status = 200, body = List<CategoryView>)))]
async fn list_store_categories(
    State(state): State<ApiState>,
    Path(store_id): Path<StoreId>,
) -> ApiResult<JsonBody<List<CategoryView>>> {
    let merchant = merchant_of(&state, store_id).await?;
    let categories = catalog::categories_of_store(state.app.db.reader(), merchant, store_id).await?;
    let view = |(id, name, product_count)| CategoryView { id, name, product_count };
    Ok(JsonBody(List::complete(categories.into_iter().map(view).collect())))
}

/// A product: in one store with its prices and stock, or in general.
#[utoipa::path(get, path = "/api/v1/customer/products/{id}", tag = "catalog",
    params(("id" = String, Path, description = "Product"), ProductQuery), responses((status = 200, body = ProductView)))]
async fn get_product(
    State(state): State<ApiState>,
    Path(id): Path<ProductId>,
    Query(query): Query<ProductQuery>,
) -> ApiResult<JsonBody<ProductView>> {
    let reader = state.app.db.reader();
    let missing = |text: &'static str| move || Refusal::with_message(Reason::NotFound, text);
    let found = catalog::public_product(reader, id).await?.ok_or_else(missing("商品不存在或已下架"))?;
    let merchant = found.merchant;
    let (here, eligible_stores_count) =
        catalog::eligible_stores(reader, merchant, id, query.store_id).await?;
    if query.store_id.is_some() && !here {
        return Err(missing("这家门店不售该商品")().into());
    }
    let offers = catalog::offers(reader, merchant, query.store_id, &[id]).await?;
    let p = found.product;
    Ok(JsonBody(ProductView {
        id: p.id,
        merchant_id: merchant.merchant_id(),
        name: p.name,
        kind: p.kind,
        cover: picture(p.cover),
        images: p.images,
        description_html: p.description_html,
        category_id: p.category_id,
        tags: p.tags,
        sold_count: p.sold_count,
        skus: offers.into_iter().map(|o| SkuView::of(o, query.store_id.is_some())).collect(),
        eligible_stores_count,
    }))
}
