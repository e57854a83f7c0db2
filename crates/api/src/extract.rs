//! Extractors: who calls, and what they sent, parsed so that wrong types, unknown fields and bad ids are answered in
//! our error form with the field's name.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header, request::Parts};
use hexiao_app::auth::{CustomerPrincipal, Principal, StaffPrincipal};
use hexiao_core::id::Id;
use hexiao_core::reason::{Reason, Refusal};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::router::ApiState;

/// A signed-in customer.
pub struct Customer(pub CustomerPrincipal);

/// A signed-in member of staff.
pub struct Staff(pub StaffPrincipal);

/// Anybody signed in.
pub struct AnyPrincipal(pub Arc<Principal>);

impl FromRequestParts<ApiState> for AnyPrincipal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or(Reason::Unauthenticated)?;
        Ok(Self(state.app.authenticate(token).await?))
    }
}

impl FromRequestParts<ApiState> for Customer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        match &*AnyPrincipal::from_request_parts(parts, state).await?.0 {
            Principal::Customer(customer) => Ok(Self(customer.clone())),
            Principal::Staff(_) => Err(Reason::Forbidden.into()),
        }
    }
}

impl FromRequestParts<ApiState> for Staff {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        match &*AnyPrincipal::from_request_parts(parts, state).await?.0 {
            Principal::Staff(staff) => Ok(Self(staff.clone())),
            Principal::Customer(_) => Err(Reason::Forbidden.into()),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The key that makes an unsafe request safe to repeat: 1–255 visible ASCII characters.
pub struct IdempotencyKey(pub String);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = values.next().and_then(|v| v.to_str().ok()).unwrap_or_default();
        let good = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if good && values.next().is_none() {
            Ok(Self(key.to_owned()))
        } else {
            Err(Reason::IdempotencyKeyRequired.into())
        }
    }
}

/// An id in the path. One that is malformed names nothing: 404.
pub struct Path<T>(pub T);

impl<T: Id, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(text) = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Reason::NotFound)?;
        T::parse(&text).map(Self).map_err(|_| Reason::NotFound.into())
    }
}

/// The query string. Unknown or malformed parameters are named.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let text = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|e| field_error(&e).into())
    }
}

/// A body as it came: WeChat signs the bytes.
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Bytes::from_request(request, state).await.map(Self).map_err(|_| Reason::BodyTooLarge.into())
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json =
            request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| {
                let kind = v.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("application/json")
            });
        if !is_json {
            return Err(Reason::UnsupportedMediaType.into());
        }
        let body = Bytes::from_request(request, state).await.map_err(|_| Reason::BodyTooLarge)?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let parsed = serde_path_to_error::deserialize(&mut json);
        // serde would take a list of the members' values for the object.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let value = match parsed {
            Err(e) if !e.inner().is_data() => return Err(Reason::Malformed.into()),
            _ if !is_object => {
                return Err(Refusal::with_message(Reason::InvalidField, "请求内容应为一个 JSON 对象").into());
            }
            Err(e) => return Err(field_error(&e).into()),
            Ok(value) => value,
        };
        json.end().map_err(|_| Reason::Malformed)?;
        Ok(Self(value))
    }
}

/// Names the field. Texts of our own types are Chinese and shown; serde's are English and go after a Chinese word.
fn field_error<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> Refusal {
    let inner = error.inner().to_string();
    // serde_json adds " at line 1 column 9", which helps nobody here.
    let text = inner.split(" at line ").next().unwrap_or_default();
    let mut path = error.path().to_string();
    let unknown = text.strip_prefix("unknown field `").and_then(|t| t.split('`').next());
    let missing = text.strip_prefix("missing field `").and_then(|t| t.split('`').next());
    let message = match (unknown, missing) {
        (Some(_), _) => "没有这个字段".to_owned(),
        (_, Some(_)) => "必填".to_owned(),
        // Ours begin in Chinese. serde's repeat what was sent, which may hold characters that hide something.
        _ if text.starts_with(|c: char| !c.is_ascii()) => truncated(text),
        _ => format!("格式不正确：{}", truncated(&text.replace(|c: char| !c.is_ascii(), ""))),
    };
    if let Some(field) = missing.or(unknown) {
        let at_root = path == "." || path == "?" || path.is_empty();
        if at_root {
            field.clone_into(&mut path);
        } else if !path.ends_with(field) {
            path = format!("{path}.{field}");
        }
    }
    let shown: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
    Refusal::field(shown, message)
}

fn truncated(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}
