//! Errors as the API shows them: a real status, a code from the closed set, a Chinese text, fields, a request id.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hexiao_app::AppError;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_db::DbError;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What a handler answers when it does not succeed.
#[derive(Debug)]
pub struct ApiError {
    // Boxed: a handler's Result stays small.
    refusal: Box<Refusal>,
    /// For the log only.
    internal: Option<String>,
    /// Further members beside `error`, such as the results of a confirm.
    extra: Option<(&'static str, Value)>,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// One of the codes in docs/ERRORS.md.
    #[schema(example = "used_up")]
    pub code: String,
    /// What happened, in Chinese.
    #[schema(example = "该券已核销完")]
    pub message: String,
    /// What to do next, in Chinese.
    pub next_action: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What is wrong where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDetail>,
    /// Quote it when asking for help.
    pub request_id: String,
}

/// One field's problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldDetail {
    /// Where, like `items[0].quantity`.
    pub path: String,
    /// What.
    pub message: String,
}

impl ApiError {
    /// Adds a member beside `error`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.extra = Some((name, value));
        self
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), internal: None, extra: None }
    }
}

impl From<Reason> for ApiError {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        let internal = match &error {
            AppError::Refused(_) => None,
            AppError::Db(e) => Some(format!("database: {e}")),
            AppError::Wechat(text) => Some(format!("wechat: {text}")),
            AppError::Internal(text) => Some(text.clone()),
        };
        Self { refusal: Box::new(error.refusal()), internal, extra: None }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        AppError::from(error).into()
    }
}

/// Carried in the response's extensions so that the outermost middleware can add the request id and log.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) internal: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let refusal = *self.refusal;
        let reason = refusal.reason;
        let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = ErrorBody {
            error: ErrorDetail {
                code: reason.code().to_owned(),
                message: refusal.message,
                next_action: reason.next_action().to_owned(),
                retryable: reason.retryable(),
                fields: refusal
                    .fields
                    .into_iter()
                    .map(|f| FieldDetail { path: f.path, message: f.message })
                    .collect(),
                request_id: crate::middleware::current_request_id(),
            },
        };
        let mut response = match self.extra {
            None => Json(body).into_response(),
            Some((name, value)) => {
                let mut object = serde_json::to_value(body).unwrap_or_default();
                object[name] = value;
                Json(object).into_response()
            }
        };
        *response.status_mut() = status;
        if matches!(reason, Reason::Busy | Reason::RateLimited) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Failure { reason, internal: self.internal });
        response
    }
}

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;
