//! A product with all that belongs to it, as its merchant sees and edits it.

use hexiao_core::id::{ProductId, StoreId};
use hexiao_core::rule::StoreSet;
use hexiao_core::scope::StoreScope;

use super::products::{self, Product};
use super::skus::{self, Sku};
use crate::pool::{Conn, Result};

/// The whole product.
#[derive(Debug, Clone)]
pub struct ProductDetail {
    /// Itself.
    pub product: Product,
    /// The name of its category.
    pub category: Option<String>,
    /// The stores that sell it; those that don't, when all others do.
    pub store_ids: Vec<StoreId>,
    /// Its SKUs in their order, also those that are not offered.
    pub skus: Vec<Sku>,
}

impl ProductDetail {
    /// The stores that sell it.
    pub fn stores(&self) -> StoreSet {
        match (self.product.all_stores, self.store_ids.is_empty()) {
            (true, true) => StoreSet::All,
            (true, false) => StoreSet::Except(self.store_ids.clone()),
            (false, _) => StoreSet::Only(self.store_ids.clone()),
        }
    }
}

/// A product sold in a store of the scope.
pub async fn detail(c: &impl Conn, scope: &StoreScope, id: ProductId) -> Result<Option<ProductDetail>> {
    let Some(product) = products::get(c, scope, id).await? else { return Ok(None) };
    let merchant = scope.merchant();
    let category = match product.category_id {
        Some(category_id) => products::category(c, merchant, category_id).await?,
        None => None,
    };
    let store_ids = products::store_ids(c, merchant, id).await?;
    let skus = skus::of_product(c, merchant, id).await?;
    Ok(Some(ProductDetail { product, category, store_ids, skus }))
}
