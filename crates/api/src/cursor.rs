//! Page cursors: opaque to the caller, the sort key of the last row to us.

use hexiao_core::id::Id;
use hexiao_core::reason::Reason;
use hexiao_core::time::Timestamp;
use hexiao_db::page::{Cursor, DEFAULT_LIMIT, MAX_LIMIT, Page, PageRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;

/// The paging parameters of every list. Not flattened into other queries: serde cannot name unknown fields then.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the page begins: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

/// Reads `cursor` and `limit`.
pub fn page_request(cursor: Option<&str>, limit: Option<u32>) -> Result<PageRequest, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(hexiao_core::reason::Refusal::field("limit", "应为 1–100").into());
    }
    let after = cursor.map(parse).transpose()?;
    Ok(PageRequest { after, limit })
}

impl PageQuery {
    /// Reads it.
    pub fn request(&self) -> Result<PageRequest, ApiError> {
        page_request(self.cursor.as_deref(), self.limit)
    }
}

fn parse(text: &str) -> Result<Cursor, ApiError> {
    let (at, id) = text.split_once('.').ok_or(Reason::InvalidCursor)?;
    let at = i64::from_str_radix(at, 16).map_err(|_| Reason::InvalidCursor)?;
    let id = hexiao_core::id::RecordId::parse(&format!("rec_{id}")).map_err(|_| Reason::InvalidCursor)?;
    Ok(Cursor { at: Timestamp::from_micros(at), id: id.uuid() })
}

fn format(cursor: &Cursor) -> String {
    let id = hexiao_core::id::RecordId::from_uuid(cursor.id).to_string();
    format!("{:x}.{}", cursor.at.micros(), id.trim_start_matches("rec_"))
}

/// A page as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// Maps a page of rows.
    pub fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        Self {
            next_cursor: page.next.as_ref().map(format),
            items: page.items.into_iter().map(view).collect(),
        }
    }

    /// A list that is complete by nature, like the stores near a point up to the limit.
    pub fn complete(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_garbage_is_refused() {
        let cursor =
            Cursor { at: Timestamp::from_micros(1_790_000_000_123_456), id: uuid::Uuid::from_u128(42) };
        assert_eq!(parse(&format(&cursor)).unwrap(), cursor);
        for bad in ["", ".", "zz.00000000000000000000000000", "1.2", "1'; DROP TABLE orders"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(page_request(None, Some(0)).is_err());
        assert!(page_request(None, Some(101)).is_err());
    }
}
