//! Field types that cannot hold a wrong value: parsed once, at the edge.

use hexiao_core::text;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

/// One line of text, trimmed, of MIN to MAX characters, without control or direction-changing characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line<const MIN: usize, const MAX: usize>(pub String);

/// The same with line breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Paragraphs<const MAX: usize>(pub String);

/// A mobile phone number.
#[derive(Debug, Clone)]
pub struct Mobile(pub text::MobilePhone);

/// A store's phone number: mobile, landline or 400.
#[derive(Debug, Clone)]
pub struct StorePhone(pub text::StorePhone);

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Line<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text::clean_text(&text, MIN, MAX).map(Self).map_err(D::Error::custom)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Paragraphs<MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text::clean_multiline(&text, 0, MAX).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Mobile {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::MobilePhone::parse(&String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for StorePhone {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::StorePhone::parse(&String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

fn text_schema(min: usize, max: usize) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(min)).max_length(Some(max)).into()
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Line<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        text_schema(MIN, MAX)
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Line<MIN, MAX> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Line{MIN}To{MAX}").into()
    }
}

impl<const MAX: usize> PartialSchema for Paragraphs<MAX> {
    fn schema() -> RefOr<Schema> {
        text_schema(0, MAX)
    }
}

impl<const MAX: usize> ToSchema for Paragraphs<MAX> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Paragraphs{MAX}").into()
    }
}

macro_rules! string_schema {
    ($($t:ident, $example:literal;)*) => {$(
        impl PartialSchema for $t {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).examples([$example]).into()
            }
        }
        impl ToSchema for $t {}
    )*};
}
string_schema! { Mobile, "13800000001"; StorePhone, "021-62580000"; }
