//! What customers agree to: read by anybody, written by the merchant's owner. Plain text.

mod customer;
mod merchant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hexiao_core::agreement::AgreementKind;
use hexiao_core::id::{Id as _, MerchantId};
use hexiao_core::reason::Reason;
use hexiao_core::time::Timestamp;
use hexiao_db::agreements::{Agreement, Heading};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(merchant::routes())
}

/// A text in force, without its words.
#[derive(Serialize, ToSchema)]
struct AgreementHeading {
    #[schema(value_type = String, example = "privacy_policy")]
    kind: AgreementKind,
    #[schema(example = "隐私政策")]
    title: &'static str,
    /// Grows with each edit.
    version: i64,
    /// Since when it is in force.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Heading> for AgreementHeading {
    fn from(h: Heading) -> Self {
        Self { kind: h.kind, title: h.kind.title(), version: h.version, updated_at: h.published_at }
    }
}

/// A text in force.
#[derive(Serialize, ToSchema)]
struct AgreementView {
    #[serde(flatten)]
    heading: AgreementHeading,
    /// Plain text with line breaks; it may be written as Markdown. Show it as text, not as HTML.
    body: String,
}

impl From<Agreement> for AgreementView {
    fn from(agreement: Agreement) -> Self {
        Self { heading: agreement.heading.into(), body: agreement.body }
    }
}

/// One of the four in the path. Another word names nothing: 404.
struct Kind(AgreementKind);

impl<S: Send + Sync> FromRequestParts<S> for Kind {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(text) = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Reason::NotFound)?;
        Ok(Self(AgreementKind::from_text(&text).ok_or(Reason::NotFound)?))
    }
}

/// A merchant and one of its four texts in the path.
struct OfMerchant(MerchantId, AgreementKind);

impl<S: Send + Sync> FromRequestParts<S> for OfMerchant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<(String, String)>::from_request_parts(parts, state).await;
        let axum::extract::Path((merchant, kind)) = path.map_err(|_| Reason::NotFound)?;
        let merchant = MerchantId::parse(&merchant).map_err(|_| Reason::NotFound)?;
        Ok(Self(merchant, AgreementKind::from_text(&kind).ok_or(Reason::NotFound)?))
    }
}
