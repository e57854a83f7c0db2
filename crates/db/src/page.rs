//! Pages: bounded and stable under inserts. A cursor is the sort key of the last row seen, not an offset.

use hexiao_core::time::Timestamp;
use uuid::Uuid;

/// The most rows one page may have.
pub const MAX_LIMIT: u32 = 100;
/// The rows of a page when nobody says.
pub const DEFAULT_LIMIT: u32 = 20;

/// Where a page begins: after the row with this instant and id, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The row's instant.
    pub at: Timestamp,
    /// The row's id.
    pub id: Uuid,
}

/// What a list was asked for.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// After which row.
    pub after: Option<Cursor>,
    /// How many rows, 1–100.
    pub limit: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { after: None, limit: DEFAULT_LIMIT }
    }
}

impl PageRequest {
    /// The bounds to bind: before this instant, or at it with a smaller id.
    pub(crate) fn bounds(&self) -> (Timestamp, Uuid) {
        self.after.map_or((Timestamp::from_micros(Timestamp::MAX_MICROS), Uuid::max()), |c| (c.at, c.id))
    }

    /// One more than asked, to know whether a next page exists.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// A page of rows and where the next one begins.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    pub(crate) fn new(mut items: Vec<T>, request: &PageRequest, key: impl Fn(&T) -> Cursor) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}
