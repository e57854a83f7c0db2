//! The search over what was tried with vouchers, for the stores and for headquarters.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{Id as _, RecordId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::StoreScope;
use hexiao_core::time::Timestamp;
use hexiao_db::Conn;
use hexiao_db::attempts::{self, AttemptRow, Filter, Verdict};
use hexiao_db::page::PageRequest;
use hexiao_db::redemptions::{self, Method, RedemptionItem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::RedemptionItemView;
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Query, Staff};
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_staff_attempts)).routes(routes!(list_merchant_attempts))
}

/// Which attempts are looked for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Refused,
    Redeemed,
    All,
}

impl Wanted {
    fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Refused => Some(Verdict::Refused),
            Self::Redeemed => Some(Verdict::Redeemed),
            Self::All => None,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AttemptQuery {
    /// refused, redeemed or all; refused when not given.
    #[param(value_type = Option<String>)]
    verdict: Option<Wanted>,
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    #[param(value_type = Option<String>)]
    verifier_id: Option<StaffId>,
    #[param(value_type = Option<String>)]
    voucher_id: Option<VoucherId>,
    /// A code of docs/ERRORS.md, like `used_up`.
    #[param(value_type = Option<String>)]
    reason: Option<Reason>,
    /// How the voucher was shown: qr, code, order …
    #[param(value_type = Option<String>)]
    method: Option<Method>,
    /// The last four digits of a code, as typed or as the voucher's.
    #[param(value_type = Option<String>)]
    code_last4: Option<String>,
    /// At or after (RFC 3339 with zone).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl AttemptQuery {
    fn parts(self) -> ApiResult<(Filter, PageRequest)> {
        let page = page_request(self.cursor.as_deref(), self.limit)?;
        let four = |text: &String| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
        if self.code_last4.as_ref().is_some_and(|text| !four(text)) {
            return Err(Refusal::field("code_last4", "应为 4 位数字").into());
        }
        let filter = Filter {
            verdict: self.verdict.unwrap_or(Wanted::Refused).verdict(),
            store_id: self.store_id,
            verifier_id: self.verifier_id,
            voucher_id: self.voucher_id,
            reason: self.reason,
            method: self.method,
            code_last4: self.code_last4,
            from: self.from,
            to: self.to,
        };
        Ok((filter, page))
    }
}

/// Something that was tried with a voucher.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptView {
    id: String,
    /// refused or redeemed.
    #[schema(value_type = String)]
    verdict: Verdict,
    #[schema(value_type = String)]
    store_id: StoreId,
    store_name: String,
    #[schema(value_type = String)]
    verifier_id: StaffId,
    verifier_name: String,
    /// As it claims.
    #[schema(required)]
    device: Option<String>,
    /// prepare, confirm or reverse.
    step: String,
    method: String,
    /// Of a refused one, if the voucher was found.
    #[schema(value_type = Option<String>, required)]
    voucher_id: Option<VoucherId>,
    #[schema(required)]
    code_last4: Option<String>,
    /// Null when it was redeemed.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    message: Option<String>,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
    /// What was redeemed.
    items: Vec<RedemptionItemView>,
    at: At,
}

fn view(a: AttemptRow, items: Vec<RedemptionItem>) -> AttemptView {
    let redemption_id = a.redemption_id();
    AttemptView {
        id: redemption_id.map_or_else(|| RecordId::from_uuid(a.id).to_string(), |id| id.to_string()),
        verdict: a.verdict,
        store_id: a.store_id,
        store_name: a.store_name,
        verifier_id: a.staff_id,
        verifier_name: a.staff_name,
        device: a.device,
        step: a.step,
        method: a.method,
        voucher_id: a.voucher_id,
        code_last4: a.code_last4,
        reason: a.reason,
        message: a.message,
        redemption_id,
        items: items.into_iter().map(Into::into).collect(),
        at: at(a.at),
    }
}

async fn found(c: &impl Conn, scope: &StoreScope, query: AttemptQuery) -> ApiResult<List<AttemptView>> {
    let (filter, page) = query.parts()?;
    let rows = attempts::search(c, scope, &filter, &page).await?;
    let ids: Vec<RedemptionId> = rows.items.iter().filter_map(AttemptRow::redemption_id).collect();
    let mut items = redemptions::items(c, scope.merchant(), &ids).await?;
    Ok(List::of(rows, |row| {
        let of = row.redemption_id().and_then(|id| items.remove(&id)).unwrap_or_default();
        view(row, of)
    }))
}

/// What was tried in the caller's stores, newest first: refused, redeemed, or all.
#[utoipa::path(get, path = "/api/v1/staff/redemption-attempts", tag = "staff", security(("bearer" = [])), params(AttemptQuery),
    responses((status = 200, body = List<AttemptView>)))]
async fn list_staff_attempts(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<AttemptQuery>,
) -> ApiResult<JsonBody<List<AttemptView>>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(found(state.app.db.reader(), &staff.scope, query).await?))
}

/// The same for headquarters, of all stores in scope.
#[utoipa::path(get, path = "/api/v1/merchant/redemption-attempts", tag = "merchant", security(("bearer" = [])), params(AttemptQuery),
    responses((status = 200, body = List<AttemptView>)))]
async fn list_merchant_attempts(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<AttemptQuery>,
) -> ApiResult<JsonBody<List<AttemptView>>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(found(state.app.db.reader(), &staff.scope, query).await?))
}
