//! The benchmarks' data is as whole as if it had been bought: a measurement of broken rows would mean nothing.

use super::*;

fn seeded_and_whole(place: &Place, url: &str) {
    let out = place.0.path().join("seed.json");
    let sizes = ["--vouchers", "230", "--stores", "3", "--tickets", "23", "--customers", "2", "--items", "7"];
    let mut command = place.command(&["bench-seed", "--database-url", url, "--out"]);
    command.arg(&out).args(sizes);
    ended(command).success();
    let seed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let count = |what: &str| seed[what].as_array().unwrap().len();
    assert_eq!((count("staff"), count("vouchers"), count("customers")), (3, 23, 2));
    let at = |n: usize| seed["vouchers"][n]["staff"].as_u64().unwrap();
    assert!((0..23).any(|n| at(n) != at(0)), "tickets of several stores");
    place.call(&["verify", "--database-url", url]).success();
}

#[test]
fn a_seed_is_whole_sqlite() {
    let place = Place::with_keys();
    seeded_and_whole(&place, &place.database_url());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_whole_postgres() {
    let place = Place::with_keys();
    let database = TestDatabaseUrl::postgres().await;
    seeded_and_whole(&place, &database.url);
}
