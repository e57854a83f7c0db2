//! Stores: found by customers, run by their staff, set up by headquarters.

mod customer;
mod merchant;
mod staff;

use chrono::NaiveDate;
use hexiao_core::hours::OpeningHours;
use hexiao_core::picture::{BAD_PICTURE_URL, is_picture_url};
use hexiao_core::reason::Refusal;
use hexiao_core::text;
use hexiao_core::time::Timestamp;
use hexiao_db::stores::Store;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::fields::Line;
use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(staff::routes()).merge(merchant::routes())
}

/// Part of a name or address; nothing when empty.
type Words = Line<0, 50>;
/// A city's name in a query; nothing when empty.
type CityName = Line<0, 30>;

/// What was typed, unless that is nothing.
fn typed<const MAX: usize>(text: Option<Line<0, MAX>>) -> Option<String> {
    text.map(|line| line.0).filter(|text| !text.is_empty())
}

/// Whether a store is open, and until or from when.
#[derive(Serialize, ToSchema)]
struct OpeningView {
    /// Open by its hours, and not resting.
    open_now: bool,
    /// The next opening; null when it rests or no opening is in sight.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    next_open_at: Option<Timestamp>,
    /// When it closes; null when it is closed or always open.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    closes_at: Option<Timestamp>,
}

impl OpeningView {
    fn of(store: &Store, now: Timestamp) -> Self {
        if store.resting {
            return Self { open_now: false, next_open_at: None, closes_at: None };
        }
        let (zone, now) = (store.business_day.zone, now.datetime());
        Self {
            open_now: store.hours.is_open(zone, now),
            next_open_at: store.hours.next_open_at(zone, now).map(Timestamp::from_datetime),
            closes_at: store.hours.closes_at(zone, now).map(Timestamp::from_datetime),
        }
    }
}

/// A weekly span; `to` not after `from` means the next day.
#[derive(Serialize, ToSchema)]
struct SpanView {
    /// 1 Monday to 7 Sunday.
    #[schema(minimum = 1, maximum = 7)]
    weekday: u8,
    #[schema(example = "09:00")]
    from: String,
    #[schema(example = "21:00")]
    to: String,
}

/// A span of one day.
#[derive(Serialize, ToSchema)]
struct DaySpanView {
    #[schema(example = "10:00")]
    from: String,
    #[schema(example = "16:00")]
    to: String,
}

/// A date with other hours than its weekday.
#[derive(Serialize, ToSchema)]
struct ExceptionView {
    #[schema(value_type = String, format = Date)]
    date: NaiveDate,
    #[schema(required = false)]
    closed: bool,
    #[schema(required = false)]
    spans: Vec<DaySpanView>,
    #[schema(required = false)]
    note: String,
}

/// Opening hours as written on the door.
#[derive(Serialize, ToSchema)]
struct HoursView {
    /// The weekly spans.
    hours: Vec<SpanView>,
    exceptions: Vec<ExceptionView>,
    /// The weekly hours in words.
    #[schema(example = "周一至周五 09:00–21:00，周六、周日休息")]
    hours_text: String,
}

impl From<&OpeningHours> for HoursView {
    fn from(hours: &OpeningHours) -> Self {
        let weekly = hours.weekly().iter();
        let weekly = weekly.map(|s| SpanView {
            weekday: s.weekday.number(),
            from: s.from.to_string(),
            to: s.to.to_string(),
        });
        let exceptions = hours.exceptions().map(|e| ExceptionView {
            date: e.date,
            closed: e.closed,
            spans: e
                .spans
                .iter()
                .map(|s| DaySpanView { from: s.from.to_string(), to: s.to.to_string() })
                .collect(),
            note: e.note.clone(),
        });
        Self { hours: weekly.collect(), exceptions: exceptions.collect(), hours_text: hours.describe() }
    }
}

/// Where a picture is: on the web, or a path on this server that stays below its root.
#[derive(Clone, ToSchema)]
#[schema(value_type = String, example = "https://example.com/door.jpg")]
struct Picture(String);

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let address = text::clean_text(&String::deserialize(d)?, 1, 500).map_err(D::Error::custom)?;
        if is_picture_url(&address) { Ok(Self(address)) } else { Err(D::Error::custom(BAD_PICTURE_URL)) }
    }
}

const MAX_PICTURES: usize = 20;
const MAX_TAGS: usize = 20;

fn pictures(given: Vec<Picture>) -> Result<Vec<String>, Refusal> {
    bounded("photos", given.into_iter().map(|p| p.0).collect(), MAX_PICTURES)
}

/// In the order given, each once.
fn tags(given: Vec<Line<1, 20>>) -> Result<Vec<String>, Refusal> {
    let mut tags: Vec<String> = Vec::new();
    for tag in given {
        if !tags.contains(&tag.0) {
            tags.push(tag.0);
        }
        if tags.len() > MAX_TAGS {
            break;
        }
    }
    bounded("tags", tags, MAX_TAGS)
}

fn bounded(field: &str, items: Vec<String>, max: usize) -> Result<Vec<String>, Refusal> {
    if items.len() > max { Err(Refusal::field(field, format!("最多 {max} 个"))) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pictures_have_an_address_that_shows_a_picture() {
        let read = |text: &str| serde_json::from_value::<Picture>(json!(text)).map(|p| p.0);
        assert_eq!(read(" /media/01/door.webp ").unwrap(), "/media/01/door.webp");
        assert!(read("/media/../secret").unwrap_err().to_string().contains("https://"));
        assert!(read("").is_err());
    }

    #[test]
    fn tags_are_few_and_different() {
        let line = |n: usize| Line::<1, 20>(n.to_string());
        assert_eq!(tags(vec![line(2), line(1), line(2)]).unwrap(), ["2", "1"]);
        assert!(tags((0..20).map(line).collect()).is_ok());
        assert_eq!(tags((0..21).map(line).collect()).unwrap_err().fields[0].path, "tags");
    }
}
