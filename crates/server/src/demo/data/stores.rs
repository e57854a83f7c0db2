//! The stores: a brand of each trade at each place, with hours as such a store would have.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::cities::{CITIES, City, Place};
use super::{DemoSpan, DemoStore, Trade};

/// Stores stand at most so many degrees (about 80 m) from the corner that names them.
const JITTER: f64 = 0.0007;

/// The trades along the places of a city: dining is the most frequent.
const TRADES: [Trade; 5] = [Trade::Dining, Trade::Beauty, Trade::Family, Trade::Retail, Trade::Dining];

/// Hours as on the door: the weekdays, opening and closing.
type Hours = &'static [(&'static [u8], &'static str, &'static str)];

const DAILY: &[u8] = &[1, 2, 3, 4, 5, 6, 7];
const WORKDAYS: &[u8] = &[1, 2, 3, 4, 5];
const WEEKEND: &[u8] = &[6, 7];
const NOT_MONDAY: &[u8] = &[2, 3, 4, 5, 6, 7];
const NOT_TUESDAY: &[u8] = &[1, 3, 4, 5, 6, 7];

struct Style {
    brand: &'static str,
    about: &'static str,
    tags: &'static [&'static str],
    hours: &'static [Hours],
}

const CANTEEN: Style = Style {
    brand: "禾悦小馆",
    about: "时令家常菜与手冲咖啡，适合两三好友小聚",
    tags: &["可包间", "有宝宝椅", "可停车", "免费 Wi-Fi", "可外带"],
    hours: &[
        &[(DAILY, "10:00", "22:00")],
        &[(DAILY, "11:00", "14:00"), (DAILY, "17:00", "21:30")],
        &[(WORKDAYS, "10:30", "21:30"), (WEEKEND, "10:00", "22:30")],
    ],
};

const NIGHT: Style = Style {
    brand: "禾悦夜食",
    about: "炭火烧烤与热锅，营业到凌晨",
    tags: &["营业到凌晨", "露天座位", "可停车", "可外带"],
    hours: &[
        &[(DAILY, "17:00", "02:00")],
        &[(DAILY, "11:00", "14:00"), (DAILY, "17:00", "02:00")],
        &[(&[1, 2, 3, 4, 7], "16:30", "00:30"), (&[5, 6], "16:30", "03:00")],
    ],
};

const HAIR: Style = Style {
    brand: "禾悦造型",
    about: "剪发、染烫与头皮护理，价格透明，不推销办卡",
    tags: &["免费洗头", "可预约", "价格透明", "有茶水"],
    hours: &[
        &[(DAILY, "10:00", "21:00")],
        &[(NOT_TUESDAY, "10:00", "20:30")],
        &[(WORKDAYS, "10:30", "21:00"), (WEEKEND, "09:30", "21:30")],
    ],
};

const PARK: Style = Style {
    brand: "禾悦亲子乐园",
    about: "室内游乐、绘本与手作课堂，每日闭店后全场消毒",
    tags: &["母婴室", "推车友好", "每日消毒", "家长休息区"],
    hours: &[
        &[(WORKDAYS, "10:00", "19:00"), (WEEKEND, "09:00", "20:30")],
        &[(NOT_MONDAY, "09:30", "20:00")],
        &[(WORKDAYS, "09:30", "11:30"), (WORKDAYS, "14:00", "20:00"), (WEEKEND, "09:00", "20:00")],
    ],
};

const SHOP: Style = Style {
    brand: "禾悦鲜选",
    about: "产地水果、粮油与日用品，线上下单到店自提",
    tags: &["到店自提", "产地直采", "可停车", "会员日"],
    hours: &[&[(DAILY, "08:00", "22:00")], &[(DAILY, "07:30", "23:00")], &[(DAILY, "00:00", "24:00")]],
};

pub(super) fn stores(rng: &mut ChaCha8Rng) -> Vec<DemoStore> {
    let mut phones = BTreeSet::new();
    let mut stores = Vec::with_capacity(100);
    for city in &CITIES {
        for (place, index) in city.places.iter().zip(0_usize..) {
            let trade = TRADES[index % TRADES.len()];
            let style = style(trade, index);
            stores.push(store(rng, city, place, trade, style, &mut phones));
        }
    }
    stores
}

/// Every fifth place has a restaurant of the night.
fn style(trade: Trade, index: usize) -> &'static Style {
    match trade {
        Trade::Dining if index % TRADES.len() == 4 => &NIGHT,
        Trade::Dining => &CANTEEN,
        Trade::Beauty => &HAIR,
        Trade::Family => &PARK,
        Trade::Retail => &SHOP,
    }
}

fn store(
    rng: &mut ChaCha8Rng,
    city: &City,
    place: &Place,
    trade: Trade,
    style: &Style,
    phones: &mut BTreeSet<String>,
) -> DemoStore {
    let hours = style.hours[rng.random_range(0..style.hours.len())];
    let floor = ["B1层", "1层", "1层", "2层", "3层"][rng.random_range(0..5)];
    DemoStore {
        name: format!("{}（{}店）", style.brand, place.label),
        trade,
        city: city.name,
        district: place.district,
        address: format!("{}市{}{}{floor}", city.name, place.district, place.street),
        lat: near(rng, place.lat),
        lng: near(rng, place.lng),
        phone: phone(rng, city.area_code, phones),
        hours: spans(hours),
        tags: tags(rng, style),
        description: format!("位于{}市{}{}附近。{}。", city.name, place.district, place.label, style.about),
    }
}

/// A coordinate nearby, to 6 decimals (about 10 cm).
fn near(rng: &mut ChaCha8Rng, degrees: f64) -> f64 {
    ((degrees + rng.random_range(-JITTER..=JITTER)) * 1e6).round() / 1e6
}

/// An eight-digit landline that no store has yet.
fn phone(rng: &mut ChaCha8Rng, area_code: &str, taken: &mut BTreeSet<String>) -> String {
    loop {
        let phone = format!("{area_code}-6{:07}", rng.random_range(0..10_000_000_u32));
        if taken.insert(phone.clone()) {
            return phone;
        }
    }
}

/// By weekday and time, as the API gives them back.
fn spans(hours: Hours) -> Vec<DemoSpan> {
    let mut spans: Vec<DemoSpan> = hours
        .iter()
        .flat_map(|&(weekdays, from, to)| weekdays.iter().map(move |&weekday| DemoSpan { weekday, from, to }))
        .collect();
    spans.sort_by_key(|span| (span.weekday, span.from));
    spans
}

/// Two or three of the style's, in its order.
fn tags(rng: &mut ChaCha8Rng, style: &Style) -> Vec<&'static str> {
    let mut tags = style.tags.to_vec();
    let wanted = rng.random_range(2..=3);
    while tags.len() > wanted {
        tags.remove(rng.random_range(0..tags.len()));
    }
    tags
}
