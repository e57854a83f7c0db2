//! Limits hold for the caller's own address, whoever stands in between.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hexiao_api::{HttpSettings, Limits};
use hexiao_testkit::{TestApp, on_both};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt as _;

const CALLS: u8 = 40;

/// One request a second from an address, four at once.
fn narrow() -> Limits {
    let one = NonZeroU32::MIN;
    Limits { per_session: one, sign_in_per_address: one, anonymous_per_address: one }
}

fn router(app: &TestApp, settings: HttpSettings) -> Router {
    hexiao_api::router(app.app.clone(), settings, PrometheusBuilder::new().build_recorder().handle())
}

async fn call(router: &Router, peer: &str, mut request: Request<Body>) -> Response<Body> {
    let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.clone().oneshot(request).await.unwrap()
}

/// How many of the calls were refused; `header` says for whom each of them claims to come.
async fn limited(router: &Router, peer: &str, header: impl Fn(u8) -> String) -> usize {
    let mut limited = 0;
    for n in 0..CALLS {
        let request = Request::get("/api/v1/customer/cities").header("x-forwarded-for", header(n));
        let response = call(router, peer, request.body(Body::empty()).unwrap()).await;
        limited += usize::from(response.status().as_u16() == 429);
    }
    limited
}

on_both!(a_forged_address_gets_nobody_around_the_limit, |app| async {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let believing = router(&app, HttpSettings { limits: narrow(), trusted_proxies });
    let stranger = limited(&believing, "203.0.113.5", |n| format!("198.51.100.{n}")).await;
    assert!(stranger > 20, "the header of somebody who is not trusted was read: {stranger}");
    let many = limited(&believing, "10.0.0.1", |n| format!("198.51.100.{n}")).await;
    assert_eq!(many, 0, "callers behind the proxy share no limit");
    let chain = limited(&believing, "10.0.0.1", |n| format!("8.8.8.{n}, 198.51.101.1, 10.0.0.2")).await;
    assert!(chain > 20, "one caller behind two proxies: {chain}");
    let malformed = limited(&believing, "10.0.0.3", |n| format!("198.51.100.{n}, nonsense")).await;
    assert!(malformed > 20, "what can't be read counts for the proxy: {malformed}");
    let nobody = router(&app, HttpSettings { limits: narrow(), ..HttpSettings::default() });
    let forged = limited(&nobody, "10.0.0.1", |n| format!("198.51.100.{n}")).await;
    assert!(forged > 20, "by default no header is read: {forged}");
});
