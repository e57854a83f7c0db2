//! The verifiers' commission 提成: their own figures, headquarters' figures, and the rules.

use std::collections::HashMap;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{Days as CalendarDays, NaiveDate};
use hexiao_core::catalog::Capability;
use hexiao_core::commission::Terms;
use hexiao_core::id::{CommissionRuleId, ProductId, StaffId};
use hexiao_core::money::Money;
use hexiao_core::reason::Refusal;
use hexiao_core::time::BusinessDate;
use hexiao_db::commission::{self, By, Days, Rule, Sums};
use hexiao_db::staff as staff_db;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, PageQuery, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

/// The most days that sums cover.
const MAX_DAYS: i64 = 366;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(own_commission))
        .routes(routes!(list_commission))
        .routes(routes!(list_commission_rules, set_commission_rule))
        .routes(routes!(end_commission_rule))
}

#[derive(Debug, Serialize, ToSchema)]
struct SumsView {
    /// Uses that stand.
    uses: i64,
    /// What they were worth.
    worth_fen: i64,
    /// Earned, while the uses can still be undone.
    pending_fen: i64,
    /// Earned for good.
    matured_fen: i64,
    /// Uses that were undone.
    reversed_uses: i64,
    /// What those would have earned.
    reversed_fen: i64,
}

impl From<Sums> for SumsView {
    fn from(s: Sums) -> Self {
        Self {
            uses: s.uses,
            worth_fen: s.worth.as_fen(),
            pending_fen: s.pending.as_fen(),
            matured_fen: s.matured.as_fen(),
            reversed_uses: s.reversed_uses,
            reversed_fen: s.reversed.as_fen(),
        }
    }
}

/// From a first to a last business day, at most a year; without them the last 31 days.
fn days(from: Option<NaiveDate>, to: Option<NaiveDate>, today: NaiveDate) -> Result<Days, Refusal> {
    let to = to.unwrap_or(today);
    let from = from.unwrap_or_else(|| to.checked_sub_days(CalendarDays::new(30)).unwrap_or(to));
    let n = to.signed_duration_since(from).num_days() + 1;
    if n < 1 {
        return Err(Refusal::field("to", "不能早于 from"));
    }
    if n > MAX_DAYS {
        return Err(Refusal::field("from", format!("一次最多查询 {MAX_DAYS} 天")));
    }
    Ok(Days { from: BusinessDate(from), to: BusinessDate(to) })
}

fn today(state: &ApiState) -> NaiveDate {
    // Where the people are. A store's own day may differ by its cut-off; `from` and `to` name it exactly.
    state.app.now().datetime().with_timezone(&chrono_tz::Asia::Shanghai).date_naive()
}

/// How sums over time are cut.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cut {
    Day,
    Month,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OwnQuery {
    /// The first business day, like 2026-11-01.
    #[param(value_type = Option<String>, example = "2026-11-01")]
    from: Option<NaiveDate>,
    /// The last business day.
    #[param(value_type = Option<String>, example = "2026-11-30")]
    to: Option<NaiveDate>,
    /// day or month; day when not given.
    #[param(value_type = Option<String>)]
    by: Option<Cut>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PeriodView {
    /// `2026-11-23`, or `2026-11` by month.
    period: String,
    #[serde(flatten)]
    sums: SumsView,
}

/// One's own commission by business day or month, the newest first.
#[utoipa::path(get, path = "/api/v1/staff/commission", tag = "staff", security(("bearer" = [])), params(OwnQuery),
    responses((status = 200, body = List<PeriodView>)))]
async fn own_commission(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<OwnQuery>,
) -> ApiResult<JsonBody<List<PeriodView>>> {
    staff.require(Capability::Redeem)?;
    let days = days(q.from, q.to, today(&state))?;
    let by = match q.by {
        None | Some(Cut::Day) => By::Day,
        Some(Cut::Month) => By::Month,
    };
    let found =
        commission::of_staff(state.app.db.reader(), staff.merchant(), staff.staff_id, days, by).await?;
    let view = |(period, sums): (String, Sums)| PeriodView { period, sums: sums.into() };
    Ok(JsonBody(List::complete(found.into_iter().map(view).collect())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CommissionQuery {
    /// The first business day, like 2026-11-01.
    #[param(value_type = Option<String>, example = "2026-11-01")]
    from: Option<NaiveDate>,
    /// The last business day.
    #[param(value_type = Option<String>, example = "2026-11-30")]
    to: Option<NaiveDate>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
struct VerifierView {
    #[schema(value_type = String)]
    verifier_id: StaffId,
    verifier_name: String,
    /// Whether the account still works.
    active: bool,
    #[serde(flatten)]
    sums: SumsView,
}

/// What each member of staff has earned in these days, the newest account first.
#[utoipa::path(get, path = "/api/v1/merchant/commission", tag = "merchant", security(("bearer" = [])), params(CommissionQuery),
    responses((status = 200, body = List<VerifierView>)))]
async fn list_commission(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<CommissionQuery>,
) -> ApiResult<JsonBody<List<VerifierView>>> {
    staff.require(Capability::ReadLedger)?;
    let days = days(q.from, q.to, today(&state))?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let reader = state.app.db.reader();
    let found = staff_db::list(reader, &staff.scope, &page).await?;
    let ids: Vec<StaffId> = found.items.iter().map(|s| s.id).collect();
    let sums: HashMap<StaffId, Sums> =
        commission::by_staff(reader, staff.merchant(), &ids, days).await?.into_iter().collect();
    Ok(JsonBody(List::of(found, |s| VerifierView {
        verifier_id: s.id,
        verifier_name: s.name,
        active: s.active,
        sums: sums.get(&s.id).copied().unwrap_or_default().into(),
    })))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RuleBody {
    /// For one product; without it for all that have no rule of their own.
    #[schema(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// Of each use's worth, in ten thousandths: 250 is 2.5 %.
    #[schema(minimum = 0, maximum = 10000)]
    basis_points: u32,
    /// For each use besides.
    #[schema(minimum = 0, maximum = 100_000)]
    per_use_fen: u32,
}

#[derive(Debug, Serialize, ToSchema)]
struct RuleView {
    #[schema(value_type = String)]
    id: CommissionRuleId,
    #[schema(value_type = Option<String>, required)]
    product_id: Option<ProductId>,
    basis_points: u32,
    per_use_fen: i64,
    started_at: At,
    /// Null while it is in force.
    #[schema(required)]
    ended_at: Option<At>,
}

impl From<Rule> for RuleView {
    fn from(r: Rule) -> Self {
        Self {
            id: r.id,
            product_id: r.product_id,
            basis_points: r.terms.basis_points,
            per_use_fen: r.terms.per_use.as_fen(),
            started_at: at(r.started_at),
            ended_at: at_opt(r.ended_at),
        }
    }
}

/// The rules, newest first, also those that have ended.
#[utoipa::path(get, path = "/api/v1/merchant/commission-rules", tag = "merchant", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = List<RuleView>)))]
async fn list_commission_rules(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(page): Query<PageQuery>,
) -> ApiResult<JsonBody<List<RuleView>>> {
    staff.require(Capability::ReadLedger)?;
    let found = commission::rules(state.app.db.reader(), staff.merchant(), &page.request()?).await?;
    Ok(JsonBody(List::of(found, RuleView::from)))
}

/// Puts a rule in force for what is redeemed from now on, in the place of the one for the same products. The same
/// terms again change nothing.
#[utoipa::path(post, path = "/api/v1/merchant/commission-rules", tag = "merchant", security(("bearer" = [])), request_body = RuleBody,
    responses((status = 201, body = RuleView)))]
async fn set_commission_rule(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<RuleBody>,
) -> ApiResult<(StatusCode, JsonBody<RuleView>)> {
    let terms = Terms { basis_points: body.basis_points, per_use: Money::fen(body.per_use_fen.into()) };
    let rule = state.app.set_commission_rule(&staff, body.product_id, terms).await?;
    Ok((StatusCode::CREATED, JsonBody(rule.into())))
}

/// Ends a rule. What was redeemed before keeps what it earned.
#[utoipa::path(delete, path = "/api/v1/merchant/commission-rules/{id}", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 204)))]
async fn end_commission_rule(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<CommissionRuleId>,
) -> ApiResult<StatusCode> {
    state.app.end_commission_rule(&staff, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
