//! Metrics on a listener of their own.

use super::*;

#[tokio::test]
async fn metrics_move_to_their_own_listener() {
    let place = Place::with_keys();
    let port = Port::reserve();
    let address = format!("127.0.0.1:{}", port.number);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |url: String| {
        let response = http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };

    let env = [("HEXIAO_METRICS_LISTEN", address.as_str())];
    let server = ServerProcess::start(&place.data(), &place.database_url(), "http://127.0.0.1:9", &env).await;
    let (status, text) = get(format!("http://{address}/metrics")).await;
    assert!(status == 200 && text.contains("http_requests_total{"), "{text}");
    assert_eq!(get(format!("http://{address}/readyz")).await.0, 404, "nothing else is there");
    assert_eq!(get(format!("{}/metrics", server.url)).await.0, 404);
    server.kill().await;

    let server = ServerProcess::start(&place.data(), &place.database_url(), "http://127.0.0.1:9", &[]).await;
    assert_eq!(get(format!("{}/metrics", server.url)).await.0, 200, "for this machine");

    place.configure("metrics_listen = \"0.0.0.0:9091\"");
    place.call(&["serve"]).refused(&["dev", "127.0.0.1"]);
}

#[tokio::test]
async fn proxies_are_read_from_the_environment() {
    let place = Place::with_keys();
    place.call(&["migrate"]).success();
    let with = |proxies: &str| {
        let mut command = place.command(&["verify"]);
        command.env("HEXIAO_TRUSTED_PROXIES", proxies);
        ended(command)
    };
    with("[10.0.0.0/8, 192.0.2.7]").success();
    with("[\"2001:db8::/32\"]").success();
    with("[10.0.0.0/64]").refused(&["10.0.0.0/64"]);
}
