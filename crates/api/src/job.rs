//! What goes on behind the requests, for headquarters: jobs that wait, run or are dead.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::jobs::JobKind;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{Id as _, JobId, RecordId};
use hexiao_core::job::JobState;
use hexiao_db::jobs::{self, Listed};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Path, Query, Staff};
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_jobs)).routes(routes!(retry_job))
}

/// The states that a list can be narrowed to. What is done is not listed: its traces are in what it did.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OpenState {
    Ready,
    Running,
    Dead,
}

impl From<OpenState> for JobState {
    fn from(state: OpenState) -> Self {
        match state {
            OpenState::Ready => Self::Ready,
            OpenState::Running => Self::Running,
            OpenState::Dead => Self::Dead,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobQuery {
    /// ready, running or dead.
    #[param(value_type = Option<String>)]
    state: Option<OpenState>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// A job. How its last run ended is in the logs and in `hexiao jobs list`: that text is the operator's.
#[derive(Serialize, ToSchema)]
struct JobView {
    #[schema(value_type = String)]
    id: JobId,
    /// payment_check, refund_submit or refund_check.
    kind: String,
    /// The same in Chinese.
    kind_text: String,
    /// The payment or refund that it is about.
    subject_id: String,
    /// ready, running, dead, or done.
    state: &'static str,
    /// Failures in a row.
    attempts: i64,
    /// When it runs next; null for a dead one.
    #[schema(required)]
    next_run_at: Option<At>,
    /// When it died; null for the others.
    #[schema(required)]
    died_at: Option<At>,
    /// Another job does its work by now; a retry only has that one run at once.
    taken_over: bool,
    created_at: At,
}

impl From<Listed> for JobView {
    fn from(job: Listed) -> Self {
        let kind = JobKind::from_text(&job.kind);
        let dead = job.state == JobState::Dead;
        Self {
            id: job.id,
            kind_text: kind.map_or("其他版本的任务", JobKind::words).to_owned(),
            subject_id: kind.map_or_else(
                || RecordId::from_uuid(job.subject_id).to_string(),
                |k| k.subject(job.subject_id),
            ),
            kind: job.kind,
            state: match job.state {
                JobState::Ready => "ready",
                JobState::Running => "running",
                JobState::Done => "done",
                JobState::Dead => "dead",
            },
            attempts: job.attempts,
            next_run_at: (!dead).then(|| at(job.run_at)),
            died_at: at_opt(job.finished_at.filter(|_| dead)),
            taken_over: job.taken_over,
            created_at: at(job.created_at),
        }
    }
}

/// Jobs that are not done, newest first. Dead ones failed too often and wait for a retry by hand.
#[utoipa::path(get, path = "/api/v1/merchant/jobs", tag = "merchant", security(("bearer" = [])), params(JobQuery),
    responses((status = 200, body = List<JobView>)))]
async fn list_jobs(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<JobQuery>,
) -> ApiResult<JsonBody<List<JobView>>> {
    staff.require(Capability::ManageRefunds)?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let found =
        jobs::list(state.app.db.reader(), staff.merchant(), q.state.map(JobState::from), &page).await?;
    Ok(JsonBody(List::of(found, JobView::from)))
}

/// Retries a dead job at once; answers with the job that does the work from now on. 409 if it is not dead.
#[utoipa::path(post, path = "/api/v1/merchant/jobs/{id}/retry", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = JobView)))]
async fn retry_job(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<JobId>,
) -> ApiResult<JsonBody<JobView>> {
    Ok(JsonBody(state.app.retry_job(&staff, id).await?.into()))
}
