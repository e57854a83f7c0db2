//! Redemptions as staff and headquarters see them.

use hexiao_app::redeem::{Answer, ItemResult};
use hexiao_core::id::{OrderId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::scope::{MerchantScope, StoreScope};
use hexiao_core::time::Timestamp;
use hexiao_db::Conn;
use hexiao_db::page::PageRequest;
use hexiao_db::redemptions::{self, Filter, Method, RedemptionItem, RedemptionRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::views::{At, RefusalBody, at};

/// What became of one item of a confirm.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemResultView {
    #[schema(value_type = String)]
    pub voucher_id: VoucherId,
    /// `redeemed` or `refused`.
    pub result: String,
    pub quantity: u32,
    pub serials: Vec<u32>,
    pub remaining: u32,
    #[schema(required)]
    pub refusal: Option<RefusalBody>,
}

impl From<ItemResult> for ItemResultView {
    fn from(r: ItemResult) -> Self {
        Self {
            voucher_id: r.voucher_id,
            result: r.result,
            quantity: r.quantity,
            serials: r.serials,
            remaining: r.remaining,
            refusal: r.refusal.map(RefusalBody::from),
        }
    }
}

/// A confirm that redeemed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfirmedView {
    #[schema(value_type = String)]
    pub id: RedemptionId,
    pub results: Vec<ItemResultView>,
    pub undo_until: At,
    /// The same request had done it before.
    pub replayed: bool,
}

impl ConfirmedView {
    pub fn of(answer: Answer, replayed: bool) -> Self {
        Self {
            id: answer.id,
            results: answer.results.into_iter().map(Into::into).collect(),
            undo_until: at(answer.undo_until),
            replayed,
        }
    }
}

/// What a confirm would answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewView {
    /// Always true: nothing was written.
    pub dry_run: bool,
    /// Whether something would be redeemed.
    pub would_redeem: bool,
    /// Item by item; empty when the request itself would be refused.
    pub results: Vec<ItemResultView>,
    /// Why nothing would be redeemed.
    #[schema(required)]
    pub refusal: Option<RefusalBody>,
}

/// A confirm's answer: what it did, or with `dry_run` what it would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ConfirmAnswer {
    Done(ConfirmedView),
    Preview(PreviewView),
}

/// A redemption in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedemptionView {
    #[schema(value_type = String)]
    pub id: RedemptionId,
    #[schema(value_type = String)]
    pub store_id: StoreId,
    pub store_name: String,
    #[schema(value_type = String)]
    pub verifier_id: StaffId,
    pub verifier_name: String,
    pub method: String,
    pub quantity: i64,
    pub amount_fen: i64,
    pub items: Vec<RedemptionItemView>,
    /// When it happened; before `at` where it was recorded later.
    pub occurred_at: At,
    pub at: At,
    pub undo_until: At,
    pub business_date: String,
}

/// What one voucher gave.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedemptionItemView {
    #[schema(value_type = String)]
    pub voucher_id: VoucherId,
    #[schema(value_type = String)]
    pub order_id: OrderId,
    pub product_name: String,
    pub sku_name: String,
    pub code_last4: String,
    pub serials: Vec<u32>,
    /// Those of the serials that were undone.
    pub reversed: Vec<u32>,
}

impl From<RedemptionItem> for RedemptionItemView {
    fn from(i: RedemptionItem) -> Self {
        Self {
            voucher_id: i.voucher_id,
            order_id: i.order_id,
            product_name: i.product_name,
            sku_name: i.sku_name,
            code_last4: i.code_last4,
            serials: i.serials,
            reversed: i.reversed,
        }
    }
}

/// What lists of redemptions are narrowed by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RedemptionQuery {
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    #[param(value_type = Option<String>)]
    verifier_id: Option<StaffId>,
    #[param(value_type = Option<String>)]
    voucher_id: Option<VoucherId>,
    #[param(value_type = Option<String>)]
    order_id: Option<OrderId>,
    /// How the voucher was shown: qr, code, order or backfill.
    #[param(value_type = Option<String>)]
    method: Option<Method>,
    /// At or after (RFC 3339 with zone).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl RedemptionQuery {
    pub fn parts(self) -> ApiResult<(Filter, PageRequest)> {
        let page = page_request(self.cursor.as_deref(), self.limit)?;
        let filter = Filter {
            store_id: self.store_id,
            verifier_id: self.verifier_id,
            voucher_id: self.voucher_id,
            order_id: self.order_id,
            method: self.method,
            from: self.from,
            to: self.to,
        };
        Ok((filter, page))
    }
}

/// Redemptions of the stores in scope, newest first.
pub async fn list_view(
    c: &impl Conn,
    scope: &StoreScope,
    query: RedemptionQuery,
) -> ApiResult<List<RedemptionView>> {
    let (filter, page) = query.parts()?;
    let found = redemptions::list(c, scope, &filter, &page).await?;
    let merchant: MerchantScope = scope.merchant();
    let ids: Vec<RedemptionId> = found.items.iter().map(|r| r.id).collect();
    let mut items = redemptions::items(c, merchant, &ids).await?;
    Ok(List::of(found, |r: RedemptionRow| RedemptionView {
        id: r.id,
        store_id: r.store_id,
        store_name: r.store_name,
        verifier_id: r.staff_id,
        verifier_name: r.staff_name,
        method: r.method,
        quantity: r.quantity,
        amount_fen: r.amount.as_fen(),
        items: items.remove(&r.id).unwrap_or_default().into_iter().map(Into::into).collect(),
        occurred_at: at(r.occurred_at),
        at: at(r.at),
        undo_until: at(r.undo_until),
        business_date: r.business_date,
    }))
}

/// The device a request names: a claim, kept for the record. At most 64 visible characters.
pub fn device(claim: Option<String>) -> ApiResult<Option<String>> {
    match claim {
        Some(text) if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(hexiao_core::reason::Refusal::field("device_id", "应为 1–64 个可见英文字符").into())
        }
        other => Ok(other),
    }
}
