//! The catalogue: products, their SKUs and rules, what each store does differently, and what customers see of it.

mod browse;
mod detail;
mod listings;
mod products;
mod rules;
mod sellable;
mod skus;

pub use browse::{
    ListFilter, ListKind, Offer, PublicProduct, categories_of_store, eligible_stores, merchant_of_store,
    offers, public_product, public_products,
};
pub use detail::{ProductDetail, detail};
pub use listings::{Listing, ListingStore, listing_stores, listings, upsert_listings};
pub use products::{
    Product, ProductFilter, ProductSummary, category, category_names, find_or_insert_category, get, insert,
    list, lock, set_state, set_stores, store_ids, stores_known, summaries, update,
};
pub use rules::{put_rule, rules};
pub use sellable::{SellableSku, sellable};
pub use skus::{Sku, insert_skus, lock_sku, of_product, product_of_sku, update_sku};

pub(crate) use products::{only, sold_in_one_of};
