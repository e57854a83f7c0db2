//! Small helpers for the forms WeChat writes its JSON in.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, de};

/// An instant as WeChat reads it: RFC3339, `+08:00`, whole seconds.
pub(super) fn beijing(instant: DateTime<Utc>) -> String {
    let offset = FixedOffset::east_opt(8 * 3600).expect("8 hours is a valid offset");
    instant.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and cuts no character in two. WeChat counts
/// bytes and refuses the whole call over one too many.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `None` for a missing or empty text: an empty one counts as a value and fails WeChat's length check.
pub(super) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A time that may be missing, null or empty.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<FixedOffset>>, D::Error> {
    match Option::<String>::deserialize(from)? {
        Some(text) if !text.is_empty() => {
            DateTime::parse_from_rfc3339(&text).map(Some).map_err(de::Error::custom)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beijing_has_an_offset_and_no_fraction() {
        let instant = DateTime::from_timestamp(1_763_888_400, 987_000_000).expect("in range");
        assert_eq!(beijing(instant), "2025-11-23T17:00:00+08:00");
    }

    #[test]
    fn cut_counts_bytes_and_keeps_characters_whole() {
        assert_eq!(cut("abc", 80), "abc");
        assert_eq!(cut("退款退款", 7), "退款");
        assert_eq!(cut(&"x".repeat(81), 80).len(), 80);
        assert_eq!(cut("退", 2), "");
    }
}
