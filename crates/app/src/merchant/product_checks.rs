//! What may be wrong with a product, and what is done to its rich text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use chrono::Datelike as _;
use hexiao_core::money::MAX_AMOUNT_FEN;
use hexiao_core::picture::{BAD_PICTURE_URL, is_picture_url};
use hexiao_core::reason::{FieldError, Reason, Refusal};
use hexiao_core::rule::{StoreSet, Validity};
use hexiao_core::text::{clean_multiline, clean_text};
use hexiao_db::catalog::Sku;

use super::product_input::{MAX_STOCK, MAX_STORES, StockPlan};

/// The most pictures beside the cover.
pub const MAX_IMAGES: usize = 20;
/// The most tags.
pub const MAX_TAGS: usize = 10;
/// The most pairs in the specs of a SKU.
pub const MAX_SPECS: usize = 10;
/// An order takes no more units than this.
const MAX_PER_ORDER: u32 = 50;
const MAX_PER_CUSTOMER: u32 = 10_000;
const MAX_INTERVAL_MINUTES: u32 = 365 * 24 * 60;
/// Rich text as stored; what is entered is bounded by its field.
const MAX_HTML_CHARS: usize = 40_000;
/// Years in which a date of a rule may lie.
const YEARS: RangeInclusive<i32> = 2000..=2199;

pub(super) fn problem(path: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { path: path.into(), message: message.into() }
}

/// Refuses when there are problems.
pub(super) fn refuse_if(reason: Reason, fields: Vec<FieldError>) -> Result<(), Refusal> {
    if fields.is_empty() { Ok(()) } else { Err(Refusal { fields, ..Refusal::new(reason) }) }
}

/// What is wrong with a SKU that is about to be written, as problems of the fields under `path`.
pub(super) fn sku_problems(path: &str, sku: &Sku) -> Vec<FieldError> {
    let mut out = sku.rule.problems(path);
    let mut wrong = |field: &str, message: &str| out.push(problem(format!("{path}{field}"), message));
    let price_range = 0..=MAX_AMOUNT_FEN;
    if !price_range.contains(&sku.price.as_fen()) {
        wrong("price_fen", "价格应为 0–1000000 元");
    }
    if sku.list_price.is_some_and(|list| !price_range.contains(&list.as_fen())) {
        wrong("list_price_fen", "价格应为 0–1000000 元");
    } else if sku.list_price.is_some_and(|list| list < sku.price) {
        wrong("list_price_fen", "划线价不能低于售价");
    }
    if sku.per_order_limit.is_some_and(|n| n == 0 || n > MAX_PER_ORDER) {
        wrong("per_order_limit", "每单限购应为 1–50");
    }
    if sku.per_customer_limit.is_some_and(|n| n == 0 || n > MAX_PER_CUSTOMER) {
        wrong("per_customer_limit", "每人限购应为 1–10000");
    }
    if sku.rule.min_interval_minutes > MAX_INTERVAL_MINUTES {
        wrong("min_interval_minutes", "间隔最长 365 天");
    }
    if !(0..=10_000).contains(&sku.sort) {
        wrong("sort", "排序应为 0–10000");
    }
    if let Validity::Fixed { from, to } = &sku.rule.validity
        && !(YEARS.contains(&from.year()) && YEARS.contains(&to.year()))
    {
        wrong("validity", "日期不正确");
    }
    if sku.rule.blackout_dates.iter().any(|day| !YEARS.contains(&day.year())) {
        wrong("blackout_dates", "日期不正确");
    }
    if sku.specs.len() > MAX_SPECS {
        wrong("specs", "规格属性最多 10 项");
    }
    for (name, value) in &sku.specs {
        if let Err(error) = clean_text(name, 1, 20).and_then(|_| clean_text(value, 1, 40)) {
            wrong("specs", &error.to_string());
        }
    }
    out
}

/// Pictures and tags.
pub(super) fn media_problems(cover: &str, images: &[String], tags: &[String]) -> Vec<FieldError> {
    let mut out = Vec::new();
    if !cover.is_empty() && !is_picture_url(cover) {
        out.push(problem("cover", BAD_PICTURE_URL));
    }
    if images.len() > MAX_IMAGES {
        out.push(problem("images", "图片最多 20 张"));
    }
    let bad_images = images.iter().enumerate().filter(|(_, image)| !is_picture_url(image)).take(MAX_IMAGES);
    out.extend(bad_images.map(|(i, _)| problem(format!("images[{i}]"), BAD_PICTURE_URL)));
    if tags.len() > MAX_TAGS {
        out.push(problem("tags", "标签最多 10 个"));
    }
    out
}

fn local_picture(url: &str) -> Option<Cow<'_, str>> {
    is_picture_url(url).then_some(Cow::Borrowed(url))
}

/// Keeps text, lists, tables and pictures; everything that could run or lead away is gone.
static SANITISER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(
            [
                "p",
                "br",
                "hr",
                "h1",
                "h2",
                "h3",
                "h4",
                "b",
                "strong",
                "i",
                "em",
                "u",
                "s",
                "ul",
                "ol",
                "li",
                "blockquote",
                "img",
                "table",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
                "span",
                "div",
            ]
            .into(),
        )
        .clean_content_tags(["script", "style"].into())
        .tag_attributes([("img", ["src", "alt"].into()), ("td", ["colspan", "rowspan"].into())].into())
        .url_schemes(["https"].into())
        .url_relative(ammonia::UrlRelative::Custom(Box::new(local_picture)));
    builder
});

/// Rich text without what could do harm. Characters that hide text are refused, also when written as entities.
pub(super) fn sanitise(html: &str) -> Result<String, Refusal> {
    let clean = SANITISER.clean(html).to_string();
    clean_multiline(&clean, 0, MAX_HTML_CHARS).map_err(|e| Refusal::field("description_html", e.to_string()))
}

/// What is wrong with a first count, as problems of the fields under `path`.
pub(super) fn stock_problems(path: &str, plan: &StockPlan, stores: &StoreSet) -> Vec<FieldError> {
    let mut out = Vec::new();
    let counts = 0..=MAX_STOCK;
    match plan {
        StockPlan::Unlimited => {}
        StockPlan::Shared(n) if counts.contains(n) => {}
        StockPlan::Shared(_) => out.push(problem(format!("{path}stock"), "库存应为 0–10000000")),
        StockPlan::Own(rows) => {
            if rows.len() > MAX_STORES {
                return vec![problem(format!("{path}stock_by_store"), "最多 2000 家门店")];
            }
            let mut seen = HashSet::new();
            for (i, (store_id, n)) in rows.iter().enumerate() {
                let row = format!("{path}stock_by_store[{i}]");
                if !counts.contains(n) {
                    out.push(problem(format!("{row}.quantity"), "库存应为 0–10000000"));
                }
                if !seen.insert(*store_id) {
                    out.push(problem(format!("{row}.store_id"), "同一门店只能填写一次"));
                } else if !stores.contains(*store_id) {
                    out.push(problem(format!("{row}.store_id"), "不在适用门店中"));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rich_text_keeps_form_and_loses_what_runs() {
        let dirty = r#"<p onclick="x()">双人<b>套餐</b><script>alert(1)</script><a href="https://evil.example">点我</a>
            <img src="javascript:alert(1)"><img src="//evil.example/x.png"><img src="/media/a.png" onerror="x()"></p>"#;
        let clean = sanitise(dirty).unwrap();
        assert!(clean.contains("<b>套餐</b>") && clean.contains(r#"<img src="/media/a.png">"#), "{clean}");
        for bad in ["script", "alert", "onclick", "onerror", "href", "evil"] {
            assert!(!clean.contains(bad), "{bad}: {clean}");
        }
        assert!(sanitise("a&#x202E;b").is_err(), "hidden direction changes as entities");
        assert_eq!(sanitise("").unwrap(), "");
    }
}
