//! Places and distances.
//!
//! Coordinates are GCJ-02 throughout, as WeChat's maps and `wx.getLocation({type: "gcj02"})` give them: nothing here
//! converts, and mixing in WGS-84 would shift a store by some hundred metres. Distances are great circles on a sphere:
//! within 0.5 % of the truth, which is enough to sort stores by.

use serde::{Deserialize, Serialize};

/// Mean radius of the Earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Why coordinates were refused. `Display` is the text for the person who entered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// Latitude is not within ±90 degrees.
    #[error("纬度应在 -90 至 90 之间")]
    Latitude,
    /// Longitude is not within ±180 degrees.
    #[error("经度应在 -180 至 180 之间")]
    Longitude,
}

/// A place: latitude and longitude in degrees (GCJ-02), finite and in range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawLatLng", into = "RawLatLng")]
pub struct LatLng {
    lat: f64,
    lng: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatLng {
    lat: f64,
    lng: f64,
}

impl TryFrom<RawLatLng> for LatLng {
    type Error = GeoError;

    fn try_from(raw: RawLatLng) -> Result<Self, GeoError> {
        Self::new(raw.lat, raw.lng)
    }
}

impl From<LatLng> for RawLatLng {
    fn from(place: LatLng) -> Self {
        Self { lat: place.lat, lng: place.lng }
    }
}

impl LatLng {
    /// A place from degrees. NaN and infinity are out of range.
    pub fn new(lat: f64, lng: f64) -> Result<Self, GeoError> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(GeoError::Latitude);
        }
        if !(-180.0..=180.0).contains(&lng) {
            return Err(GeoError::Longitude);
        }
        Ok(Self { lat, lng })
    }

    /// Degrees north.
    #[must_use]
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    #[must_use]
    pub fn lng(self) -> f64 {
        self.lng
    }

    /// Metres to another place along the great circle (haversine), rounded to the nearest.
    #[must_use]
    pub fn distance_m(self, other: Self) -> i64 {
        let sin2_half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let h = sin2_half(other.lat - self.lat)
            + self.lat.to_radians().cos() * other.lat.to_radians().cos() * sin2_half(other.lng - self.lng);
        // Rounding can push `h` of opposite points just above 1.
        let metres = 2.0 * EARTH_RADIUS_M * h.min(1.0).sqrt().asin();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "0 to half the circumference"
        )]
        let metres = metres.round() as i64;
        metres
    }

    /// A box of coordinates that holds every place within `radius_m` metres (and corners that are farther): for an
    /// indexed query, to be narrowed by [`Self::distance_m`].
    #[must_use]
    pub fn bounding_box(self, radius_m: u32) -> BoundingBox {
        // One metre more: distances are rounded, and floating point isn't exact at the edge.
        let angle = (f64::from(radius_m) + 1.0) / EARTH_RADIUS_M;
        let min_lat = self.lat - angle.to_degrees();
        let max_lat = self.lat + angle.to_degrees();
        let whole_circle = BoundingBox {
            min_lat: min_lat.max(-90.0),
            max_lat: max_lat.min(90.0),
            min_lng: -180.0,
            max_lng: 180.0,
        };
        // Around a pole every longitude is near. (Also keeps the arcsine below in its domain.)
        if min_lat <= -90.0 || max_lat >= 90.0 {
            return whole_circle;
        }
        let half_width = (angle.sin() / self.lat.to_radians().cos()).asin().to_degrees();
        let (min_lng, max_lng) = (self.lng - half_width, self.lng + half_width);
        // Across the date line one box can't be a range; no store is there, so the wide box costs nothing.
        if min_lng < -180.0 || max_lng > 180.0 {
            return whole_circle;
        }
        BoundingBox { min_lng, max_lng, ..whole_circle }
    }
}

/// Bounds in degrees, inclusive, with `min` ≤ `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Southern edge.
    pub min_lat: f64,
    /// Northern edge.
    pub max_lat: f64,
    /// Western edge.
    pub min_lng: f64,
    /// Eastern edge.
    pub max_lng: f64,
}

impl BoundingBox {
    /// Whether a place lies in the box.
    #[must_use]
    pub fn contains(&self, place: LatLng) -> bool {
        (self.min_lat..=self.max_lat).contains(&place.lat)
            && (self.min_lng..=self.max_lng).contains(&place.lng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(lat: f64, lng: f64) -> LatLng {
        LatLng::new(lat, lng).unwrap()
    }

    #[test]
    fn ranges() {
        assert!(LatLng::new(90.0, -180.0).is_ok());
        for lat in [90.01, -91.0, f64::NAN, f64::INFINITY] {
            assert_eq!(LatLng::new(lat, 0.0), Err(GeoError::Latitude));
        }
        for lng in [180.01, -181.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(LatLng::new(0.0, lng), Err(GeoError::Longitude));
        }
        let json = serde_json::to_string(&place(39.9, 116.4)).unwrap();
        assert_eq!(json, r#"{"lat":39.9,"lng":116.4}"#);
        assert_eq!(serde_json::from_str::<LatLng>(&json).unwrap(), place(39.9, 116.4));
        assert!(serde_json::from_str::<LatLng>(r#"{"lat":116.4,"lng":39.9}"#).is_err());
    }

    #[test]
    fn known_distances() {
        let beijing = place(39.9042, 116.4074);
        let shanghai = place(31.2304, 121.4737);
        assert_eq!(beijing.distance_m(beijing), 0);
        let metres = beijing.distance_m(shanghai);
        assert!((1_066_000..1_069_000).contains(&metres), "{metres}");
        assert_eq!(place(0.0, 0.0).distance_m(place(0.0, 1.0)), 111_195, "a degree of the equator");
        assert_eq!(place(0.0, 0.0).distance_m(place(0.0, 180.0)), 20_015_114, "half way round");
        assert_eq!(place(0.0, -179.5).distance_m(place(0.0, 179.5)), 111_195, "across the date line");
        assert_eq!(place(90.0, 10.0).distance_m(place(90.0, -50.0)), 0, "the pole is one place");
    }

    #[test]
    fn box_is_not_much_wider_than_needed() {
        let around = place(31.2304, 121.4737).bounding_box(3_000);
        let corner = place(around.max_lat, around.max_lng);
        assert!(place(31.2304, 121.4737).distance_m(corner) < 4_300);
    }

    fn any_place() -> impl Strategy<Value = LatLng> {
        (-90.0..=90.0, -180.0..=180.0).prop_map(|(lat, lng)| place(lat, lng))
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_bounded(a in any_place(), b in any_place()) {
            prop_assert_eq!(a.distance_m(b), b.distance_m(a));
            prop_assert!((0..=20_015_115).contains(&a.distance_m(b)));
        }

        /// Places near each other, everywhere on Earth, and any two places.
        #[test]
        fn box_holds_everything_within_the_radius(
            a in any_place(), d_lat in -0.5..0.5_f64, d_lng in -0.5..0.5_f64, far in any_place(), anywhere: bool,
        ) {
            let near = place((a.lat + d_lat).clamp(-90.0, 90.0), (a.lng + d_lng).clamp(-180.0, 180.0));
            let b = if anywhere { far } else { near };
            let radius_m = u32::try_from(a.distance_m(b)).unwrap();
            let around = a.bounding_box(radius_m);
            prop_assert!(around.contains(b), "{a:?} {b:?} {around:?}");
            prop_assert!(around.min_lat <= around.max_lat && around.min_lng <= around.max_lng);
        }
    }
}
