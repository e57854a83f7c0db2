//! What the demo promises.

use std::collections::{BTreeMap, BTreeSet};

use hexiao_core::geo::LatLng;
use hexiao_core::hours::OpeningHours;
use hexiao_core::rule::MAX_REFUNDABLE_DAYS;
use hexiao_core::text::{MobilePhone, StorePhone, clean_text};

use super::cities::CITIES;
use super::*;

/// City centres, GCJ-02.
const CENTRES: [(&str, f64, f64); 10] = [
    ("上海", 31.2304, 121.4737),
    ("北京", 39.9087, 116.3975),
    ("广州", 23.1291, 113.2644),
    ("深圳", 22.5431, 114.0579),
    ("杭州", 30.2741, 120.1551),
    ("成都", 30.6570, 104.0658),
    ("武汉", 30.5928, 114.3055),
    ("南京", 32.0603, 118.7969),
    ("西安", 34.2658, 108.9541),
    ("重庆", 29.5630, 106.5516),
];

fn data() -> DemoData {
    demo_data(DEMO_SEED)
}

fn assert_unique<T: Ord>(what: &str, items: impl IntoIterator<Item = T>) {
    let items: Vec<T> = items.into_iter().collect();
    let count = items.len();
    assert_eq!(items.into_iter().collect::<BTreeSet<_>>().len(), count, "{what} are unique");
}

#[test]
fn a_seed_decides_everything() {
    let text = |seed| serde_json::to_string(&demo_data(seed)).unwrap();
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
}

#[test]
fn counts() {
    let data = data();
    assert_eq!((data.stores.len(), data.products.len(), data.staff.len()), (100, 30, 16));
    let mut trades = BTreeMap::new();
    for store in &data.stores {
        trades.entry(store.trade.text()).or_insert((0, 0)).0 += 1;
    }
    for product in &data.products {
        trades.entry(product.trade.text()).or_insert((0, 0)).1 += 1;
    }
    let trades: Vec<_> = trades.into_iter().collect();
    assert_eq!(trades, [("亲子", (22, 7)), ("美容美发", (22, 7)), ("零售", (17, 7)), ("餐饮", (39, 9))]);
    let roles = |role| data.staff.iter().filter(|person| person.role == role).count();
    assert_eq!(Role::ALL.iter().map(|role| roles(*role)).collect::<Vec<_>>(), [1, 1, 1, 3, 10]);
    let everywhere = data.products.iter().filter(|product| product.scope == DemoScope::All).count();
    assert!(everywhere >= 15, "{everywhere}");
    for (list, count) in [
        ("recommended", data.products.iter().filter(|product| product.recommended).count()),
        ("hot", data.products.iter().filter(|product| product.hot).count()),
        ("deal", data.products.iter().filter(|product| product.deal).count()),
    ] {
        assert!((5..=12).contains(&count), "{list}: {count}");
    }
}

#[test]
fn names_and_phones_are_unique_and_fit_the_forms() {
    let data = data();
    assert_unique("store names", data.stores.iter().map(|store| &store.name));
    assert_unique("addresses", data.stores.iter().map(|store| &store.address));
    assert_unique("store phones", data.stores.iter().map(|store| &store.phone));
    assert_unique("products", data.products.iter().map(|product| product.name));
    assert_unique("staff names", data.staff.iter().map(|person| person.name));
    assert_unique("staff phones", data.staff.iter().map(|person| &person.phone));
    for store in &data.stores {
        assert_eq!(clean_text(&store.name, 1, 60).as_ref(), Ok(&store.name));
        assert_eq!(clean_text(&store.address, 1, 100).as_ref(), Ok(&store.address));
        assert_eq!(StorePhone::parse(&store.phone).unwrap().as_str(), store.phone);
        assert!((1..=4).contains(&store.tags.len()));
    }
    for person in &data.staff {
        assert_eq!(MobilePhone::parse(&person.phone).unwrap().as_str(), person.phone);
        assert_eq!(person.role.all_stores(), person.stores.is_empty(), "{}", person.name);
        assert!(person.stores.iter().all(|&index| index < data.stores.len()));
    }
}

#[test]
fn stores_lie_in_their_city_and_open() {
    for store in data().stores {
        let city = CITIES.iter().find(|city| city.name == store.city).unwrap();
        let (_, lat, lng) = CENTRES.iter().find(|(name, ..)| *name == store.city).unwrap();
        let centre = LatLng::new(*lat, *lng).unwrap();
        let metres = centre.distance_m(LatLng::new(store.lat, store.lng).unwrap());
        assert!(metres <= 60_000, "{} lies {metres} m from the centre of {}", store.name, store.city);
        for degrees in [store.lat, store.lng] {
            assert!(((degrees * 1e6).round() / 1e6 - degrees).abs() < 1e-12, "at most 6 decimals");
        }
        assert!(store.phone.starts_with(&format!("{}-6", city.area_code)));
        assert!(store.hours.iter().all(|span| (1..=7).contains(&span.weekday)));
        let json = serde_json::json!({"weekly": store.hours});
        let hours: OpeningHours = serde_json::from_value(json).unwrap();
        assert!(hours.weekly().len() >= 5, "{}: {}", store.name, hours.describe());
    }
}

#[test]
fn hours_are_of_several_kinds() {
    let stores = data().stores;
    let any = |test: fn(&[DemoSpan]) -> bool| stores.iter().any(|store| test(&store.hours));
    assert!(any(|hours| hours.windows(2).any(|pair| pair[0].weekday == pair[1].weekday)), "two spans a day");
    assert!(any(|hours| hours.iter().any(|span| span.to <= span.from)), "past midnight");
    assert!(any(|hours| hours.iter().all(|span| span.weekday != 1)), "closed on Mondays");
    assert!(any(|hours| hours.iter().all(|span| (span.from, span.to) == ("00:00", "24:00"))), "always open");
}

#[test]
fn the_store_nearest_to_peoples_square_is_the_first_and_has_a_verifier() {
    let data = data();
    let here = LatLng::new(31.2304, 121.4737).unwrap();
    let metres = |store: &DemoStore| here.distance_m(LatLng::new(store.lat, store.lng).unwrap());
    let nearest = data.stores.iter().min_by_key(|store| metres(store)).unwrap();
    assert_eq!(nearest.name, data.stores[0].name);
    let of = |phone: &str| data.staff.iter().find(|person| person.phone == phone).unwrap();
    assert_eq!(of(OWNER_PHONE).role, Role::Owner);
    assert_eq!(of(OPERATOR_PHONE).role, Role::Operator);
    assert_eq!(of(FINANCE_PHONE).role, Role::Finance);
    assert!(
        of(SHANGHAI_MANAGER_PHONE).role == Role::StoreManager
            && of(SHANGHAI_MANAGER_PHONE).stores.contains(&0)
    );
    assert!(
        of(SHANGHAI_VERIFIER_PHONE).role == Role::Verifier && of(SHANGHAI_VERIFIER_PHONE).stores.contains(&0)
    );
    let verified: BTreeSet<usize> = data
        .staff
        .iter()
        .filter(|p| p.role == Role::Verifier)
        .flat_map(|p| p.stores.iter().copied())
        .collect();
    assert_eq!(verified.len(), data.stores.len(), "someone redeems in every store");
}

#[test]
fn products_make_sense() {
    let data = data();
    for product in &data.products {
        assert_eq!(clean_text(product.name, 1, 60).as_deref(), Ok(product.name));
        assert!((1..=3).contains(&product.skus.len()) && product.tags.len() <= 4, "{}", product.name);
        assert_unique("SKU names", product.skus.iter().map(|sku| sku.name));
        assert!(product.cover_color.len() == 7 && product.cover_color.starts_with('#'));
        if let DemoScope::Stores(indices) = &product.scope {
            assert!(
                !indices.is_empty() && indices.is_sorted() && indices.iter().all(|&i| i < data.stores.len())
            );
        }
        for sku in &product.skus {
            sku_makes_sense(product, sku);
        }
    }
}

fn sku_makes_sense(product: &DemoProduct, sku: &DemoSku) {
    let what = format!("{} {}", product.name, sku.name);
    assert_eq!(clean_text(sku.name, 1, 60).as_deref(), Ok(sku.name));
    assert!((100..=200_000).contains(&sku.price_fen), "{what}");
    assert!(sku.list_price_fen.is_none_or(|list| list > sku.price_fen && list <= 200_000), "{what}");
    assert!([1, 3, 5, 10].contains(&sku.uses), "{what}");
    assert!(sku.stock.is_none_or(|stock| (1..=5_000).contains(&stock)), "{what}");
    assert!((7..=MAX_REFUNDABLE_DAYS).contains(&sku.valid_days), "{what}");
    assert!(sku.daily_cap.is_none_or(|cap| cap > 0) && sku.min_interval_minutes <= 10_080, "{what}");
    assert!(sku.per_order_limit.is_none_or(|limit| limit > 0), "{what}");
    assert!(sku.per_customer_limit.is_none_or(|limit| limit > 0), "{what}");
    assert!(sku.usable.iter().all(|w| w.weekdays.iter().all(|day| (1..=7).contains(day))), "{what}");
}

/// `hexiao walk` needs a times card of 3 uses that any hour and store redeems and refunds.
#[test]
fn there_is_a_card_of_three_uses_without_conditions() {
    let free = |sku: &DemoSku| {
        sku.uses == 3
            && sku.usable.is_empty()
            && sku.daily_cap.is_none()
            && sku.min_interval_minutes == 0
            && sku.per_customer_limit.is_none()
            && sku.refund == RefundPolicy::AnyTime
    };
    let data = data();
    assert!(data.products.iter().any(|p| p.scope == DemoScope::All && p.skus.iter().any(free)));
    let skus = || data.products.iter().flat_map(|product| &product.skus);
    for uses in [3, 5, 10] {
        assert!(skus().any(|sku| sku.uses == uses), "a card of {uses}");
    }
    for refund in RefundPolicy::ALL {
        assert!(skus().any(|sku| sku.refund == *refund), "refund {refund}");
    }
    assert!(skus().any(|sku| sku.daily_cap.is_some()) && skus().any(|sku| sku.min_interval_minutes > 0));
    assert!(
        skus().any(|sku| sku.per_order_limit.is_some()) && skus().any(|sku| sku.per_customer_limit.is_some())
    );
    assert!(skus().any(|sku| !sku.usable.is_empty()) && skus().any(|sku| sku.stock.is_none()));
}

#[test]
fn descriptions_are_simple_html() {
    for product in data().products {
        let mut rest = product.description_html.as_str();
        let mut open = Vec::new();
        while let Some((text, tail)) = rest.split_once('<') {
            assert!(!text.contains(['>', '&', '"']), "{}: {text}", product.name);
            let (tag, tail) = tail.split_once('>').unwrap();
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed), "{}", product.name),
                None => open.push(tag),
            }
            assert!(["p", "h3", "ul", "li"].contains(&tag.trim_start_matches('/')), "{tag}");
            rest = tail;
        }
        assert!(rest.is_empty() && open.is_empty(), "{}", product.name);
    }
}
