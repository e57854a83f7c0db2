//! Makes the products out of the table in `goods`: scopes become store indices, texts become simple HTML.

use hexiao_core::rule::RefundPolicy;

use super::goods::{GOODS, Goods, Where};
use super::{DemoProduct, DemoScope, DemoSku, DemoStore};

pub(super) fn products(stores: &[DemoStore]) -> Vec<DemoProduct> {
    GOODS.iter().map(|goods| product(goods, stores)).collect()
}

fn product(goods: &Goods, stores: &[DemoStore]) -> DemoProduct {
    DemoProduct {
        name: goods.name,
        trade: goods.trade,
        category: goods.category,
        cover: "",
        cover_color: goods.color,
        description_html: description(goods),
        tags: goods.tags,
        skus: goods.skus.to_vec(),
        recommended: goods.recommended,
        hot: goods.hot,
        deal: goods.deal,
        scope: scope(goods, stores),
    }
}

fn scope(goods: &Goods, stores: &[DemoStore]) -> DemoScope {
    let wanted = |store: &DemoStore| match goods.place {
        Where::Everywhere => true,
        Where::Trade => store.trade == goods.trade,
        Where::Cities(cities) => cities.contains(&store.city),
    };
    if matches!(goods.place, Where::Everywhere) {
        return DemoScope::All;
    }
    DemoScope::Stores((0..).zip(stores).filter(|(_, store)| wanted(store)).map(|(index, _)| index).collect())
}

/// The table's texts hold no character that HTML would read: a test sees to it.
fn description(goods: &Goods) -> String {
    let items: String = goods.points.iter().map(|point| ["<li>", point, "</li>"].concat()).collect();
    let notes: String = notes(goods.skus).iter().map(|note| ["<li>", note, "</li>"].concat()).collect();
    format!("<p>{}</p><h3>内容</h3><ul>{items}</ul><h3>使用须知</h3><ul>{notes}</ul>", goods.intro)
}

fn notes(skus: &[DemoSku]) -> Vec<&'static str> {
    let mut notes = vec!["到店后出示核销码或二维码，由店员扫码核销"];
    if skus.iter().any(|sku| sku.uses > 1) {
        notes.push("次卡可分次使用，也可多人同时使用");
    }
    if skus.iter().any(|sku| sku.min_interval_minutes > 0 || sku.daily_cap.is_some()) {
        notes.push("两次使用的间隔和每日次数以规格说明为准");
    }
    notes.push(match skus.first().map(|sku| sku.refund) {
        Some(RefundPolicy::None) => "特价商品，购买后不可退款",
        Some(RefundPolicy::BeforeExpiry) => "过期前未使用的部分可退款",
        Some(RefundPolicy::AnyTime) | None => "未使用的部分随时可退",
    });
    notes
}
