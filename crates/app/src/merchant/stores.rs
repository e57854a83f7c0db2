//! Creating and editing stores.

use chrono_tz::Tz;
use hexiao_core::catalog::{Capability, ReviewState};
use hexiao_core::geo::{GeoError, LatLng};
use hexiao_core::hours::{Exception, HoursError, OpeningHours, Span};
use hexiao_core::id::StoreId;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::text::StorePhone;
use hexiao_core::time::{BusinessDay, Timestamp};
use hexiao_db::stores::{self, Store};
use hexiao_db::{Tx, audit, merchants, transact};
use serde_json::{Value, json};

use super::{changes, check_version};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;

/// A store to create. Texts are clean already.
#[derive(Debug, Clone)]
pub struct NewStore {
    /// Its name.
    pub name: String,
    /// Its city; taken from the address when not given.
    pub city: Option<String>,
    /// Street and number.
    pub address: String,
    /// Degrees north, GCJ-02.
    pub lat: f64,
    /// Degrees east, GCJ-02.
    pub lng: f64,
    /// What customers call.
    pub phone: StorePhone,
    /// What customers read about it.
    pub description: String,
    /// Weekly hours.
    pub weekly: Vec<Span>,
    /// Days with other hours.
    pub exceptions: Vec<Exception>,
    /// Addresses of its pictures.
    pub photos: Vec<String>,
    /// What it is known for.
    pub tags: Vec<String>,
    /// Its zone; the merchant's when not given.
    pub zone: Option<Tz>,
    /// Its cut-off hour; the merchant's when not given.
    pub cutoff_hour: Option<u32>,
}

/// What to change of a store; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct StoreEdit {
    /// The version the editor saw.
    pub version: Option<i64>,
    /// Its name.
    pub name: Option<String>,
    /// Its city.
    pub city: Option<String>,
    /// Street and number.
    pub address: Option<String>,
    /// Degrees north, GCJ-02.
    pub lat: Option<f64>,
    /// Degrees east, GCJ-02.
    pub lng: Option<f64>,
    /// What customers call.
    pub phone: Option<StorePhone>,
    /// What customers read about it.
    pub description: Option<String>,
    /// Weekly hours.
    pub weekly: Option<Vec<Span>>,
    /// Days with other hours.
    pub exceptions: Option<Vec<Exception>>,
    /// Addresses of its pictures.
    pub photos: Option<Vec<String>>,
    /// What it is known for.
    pub tags: Option<Vec<String>>,
    /// Closed for now.
    pub resting: Option<bool>,
    /// Its zone.
    pub zone: Option<Tz>,
    /// Its cut-off hour.
    pub cutoff_hour: Option<u32>,
}

impl App {
    /// Creates a store, in use from now on.
    pub async fn create_store(&self, by: &StaffPrincipal, new: NewStore) -> Result<Store> {
        by.require(Capability::CreateStore)?;
        let store = Store {
            merchant_id: by.merchant_id,
            id: new_id(),
            state: ReviewState::Approved,
            city: new.city.unwrap_or_else(|| city_of(&new.address)),
            place: place(new.lat, new.lng)?,
            hours: hours(new.weekly, new.exceptions)?,
            // The merchant's own, once it is read.
            business_day: BusinessDay::default(),
            phone: new.phone.as_str().to_owned(),
            name: new.name,
            address: new.address,
            description: new.description,
            photos: new.photos,
            tags: new.tags,
            resting: false,
            version: 1,
            created_at: self.now(),
        };
        transact!(self.db, |tx| create(&tx, by, store.clone(), new.zone, new.cutoff_hour))
    }

    /// Edits a store, or lets it rest.
    pub async fn edit_store(&self, by: &StaffPrincipal, id: StoreId, edit: StoreEdit) -> Result<Store> {
        by.require(Capability::ManageStore)?;
        let now = self.now();
        transact!(self.db, |tx| edit_in(&tx, by, id, edit.clone(), now))
    }
}

async fn create(
    tx: &Tx,
    by: &StaffPrincipal,
    mut store: Store,
    zone: Option<Tz>,
    cutoff_hour: Option<u32>,
) -> Result<Store> {
    let merchant = merchants::get(tx, by.merchant()).await?.ok_or(Reason::NotFound)?;
    store.business_day = business_day(merchant.business_day, zone, cutoff_hour)?;
    stores::insert(tx, &store).await?;
    let (subject, detail) = (store.id.to_string(), editable(&store));
    audit::record(tx, by.merchant(), Some(by.staff_id), "store.create", &subject, &detail, store.created_at)
        .await?;
    Ok(store)
}

async fn edit_in(
    tx: &Tx,
    by: &StaffPrincipal,
    id: StoreId,
    edit: StoreEdit,
    now: Timestamp,
) -> Result<Store> {
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这个门店");
    let before = stores::lock(tx, &by.scope, id).await?.ok_or_else(missing)?;
    check_version(edit.version, before.version)?;
    let mut after = apply(before.clone(), edit)?;
    let detail = changes(&editable(&before), &editable(&after));
    if detail.is_empty() {
        return Ok(before);
    }
    stores::update(tx, &after, now).await?;
    after.version += 1;
    let subject = id.to_string();
    audit::record(tx, by.merchant(), Some(by.staff_id), "store.edit", &subject, &detail.into(), now).await?;
    Ok(after)
}

fn apply(store: Store, edit: StoreEdit) -> Result<Store, Refusal> {
    let hours = match (edit.weekly, edit.exceptions) {
        (None, None) => store.hours,
        (weekly, exceptions) => hours(
            weekly.unwrap_or_else(|| store.hours.weekly().to_vec()),
            exceptions.unwrap_or_else(|| store.hours.exceptions().cloned().collect()),
        )?,
    };
    Ok(Store {
        hours,
        place: place(edit.lat.unwrap_or(store.place.lat()), edit.lng.unwrap_or(store.place.lng()))?,
        name: edit.name.unwrap_or(store.name),
        city: edit.city.unwrap_or(store.city),
        address: edit.address.unwrap_or(store.address),
        phone: edit.phone.map_or(store.phone, String::from),
        description: edit.description.unwrap_or(store.description),
        photos: edit.photos.unwrap_or(store.photos),
        tags: edit.tags.unwrap_or(store.tags),
        resting: edit.resting.unwrap_or(store.resting),
        business_day: business_day(store.business_day, edit.zone, edit.cutoff_hour)?,
        ..store
    })
}

fn place(lat: f64, lng: f64) -> Result<LatLng, Refusal> {
    LatLng::new(lat, lng).map_err(|e| {
        let field = match e {
            GeoError::Latitude => "lat",
            GeoError::Longitude => "lng",
        };
        Refusal::field(field, e.to_string())
    })
}

fn business_day(
    known: BusinessDay,
    zone: Option<Tz>,
    cutoff_hour: Option<u32>,
) -> Result<BusinessDay, Refusal> {
    let cutoff_hour = cutoff_hour.unwrap_or(known.cutoff_hour);
    if cutoff_hour > 23 {
        return Err(Refusal::field("cutoff_hour", "应为 0–23"));
    }
    Ok(BusinessDay { zone: zone.unwrap_or(known.zone), cutoff_hour })
}

/// The API's `hours` are the weekly spans.
fn hours(weekly: Vec<Span>, exceptions: Vec<Exception>) -> Result<OpeningHours, Refusal> {
    OpeningHours::new(weekly, exceptions)
        .map_err(|e: HoursError| Refusal::field(e.path().replacen("weekly", "hours", 1), e.to_string()))
}

/// What staff can change, for the audit log.
fn editable(store: &Store) -> Value {
    json!({
        "name": store.name, "city": store.city, "address": store.address, "place": store.place, "phone": store.phone,
        "description": store.description, "hours": store.hours, "photos": store.photos, "tags": store.tags,
        "resting": store.resting, "zone": store.business_day.zone.name(), "cutoff_hour": store.business_day.cutoff_hour,
    })
}

const MUNICIPALITIES: [&str; 4] = ["北京", "上海", "天津", "重庆"];

/// The most characters of a city's name, 市 included: the longest ones have six.
const MAX_CITY_CHARS: usize = 8;

/// The city that an address begins with: `广东省深圳市南山区…` → `深圳市`. Empty when it begins with none.
fn city_of(address: &str) -> String {
    let mut rest = address.trim_start_matches("中国").trim_start();
    for province in ["自治区", "省"] {
        if let Some((before, after)) = rest.split_once(province)
            && before.chars().count() <= MAX_CITY_CHARS
        {
            rest = after.trim_start();
        }
    }
    if let Some(name) = MUNICIPALITIES.iter().find(|name| rest.starts_with(**name)) {
        return format!("{name}市");
    }
    let city = rest.split_once('市').map_or("", |(name, _)| name);
    let plausible = (2..MAX_CITY_CHARS).contains(&city.chars().count())
        && city.chars().all(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c) && !"区县镇街路".contains(c));
    if plausible { format!("{city}市") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_of_addresses() {
        for (address, city) in [
            ("上海市静安区南京西路 1601 号", "上海市"),
            ("上海静安区南京西路 1601 号", "上海市"),
            ("广东省深圳市南山区科技园", "深圳市"),
            ("中国广东省 深圳市南山区", "深圳市"),
            ("杭州市西湖区文三路 90 号", "杭州市"),
            ("新疆维吾尔自治区乌鲁木齐市天山区", "乌鲁木齐市"),
            ("内蒙古自治区呼和浩特市新城区", "呼和浩特市"),
            ("人民路 1 号超市旁", ""),
            ("朝阳区建国路 88 号（华联超市二楼）", ""),
            ("1 Main Street", ""),
            ("市", ""),
            ("", ""),
        ] {
            assert_eq!(city_of(address), city, "{address}");
        }
    }

    #[test]
    fn bad_places_and_hours_name_their_field() {
        let field = |refusal: Refusal| refusal.fields[0].path.clone();
        assert_eq!(field(place(91.0, 0.0).unwrap_err()), "lat");
        assert_eq!(field(place(0.0, f64::NAN).unwrap_err()), "lng");
        let span: Span =
            serde_json::from_value(json!({"weekday": 1, "from": "09:00", "to": "21:00"})).unwrap();
        assert_eq!(field(hours(vec![span, span], vec![]).unwrap_err()), "hours[1]");
        let day: Exception = serde_json::from_value(json!({"date": "2026-10-01"})).unwrap();
        assert_eq!(field(hours(vec![], vec![day]).unwrap_err()), "exceptions[0]");
    }
}
