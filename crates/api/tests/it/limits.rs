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
    Limits { per_session: one, sign_in_per_address: one, anonymous_per_address: one, notify_per_address: one }
}

pub(crate) fn router(app: &TestApp, settings: HttpSettings) -> Router {
    hexiao_api::router(app.app.clone(), settings, PrometheusBuilder::new().build_recorder().handle())
}

pub(crate) async fn call(router: &Router, peer: &str, mut request: Request<Body>) -> Response<Body> {
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
    let believing =
        router(&app, HttpSettings { limits: narrow(), trusted_proxies, ..HttpSettings::default() });
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

/// What a notification that WeChat did not sign is answered with, from an address.
async fn forged(router: &Router, peer: &str) -> (u16, Option<String>) {
    let request = Request::post("/api/v1/notify/wechat/payments").header("wechatpay-signature", "bm8=");
    let response = call(router, peer, request.body(Body::from("{}")).unwrap()).await;
    let retry_after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    (response.status().as_u16(), retry_after)
}

on_both!(notifications_have_a_limit_of_their_own, |app| async {
    let narrow = router(&app, HttpSettings { limits: narrow(), ..HttpSettings::default() });
    limited(&narrow, "203.0.113.5", |_| String::new()).await;
    let mut answers = Vec::new();
    for _ in 0..CALLS {
        answers.push(forged(&narrow, "203.0.113.5").await);
    }
    assert!(answers[..4].iter().all(|a| *a == (401, None)), "the limit of others is not theirs: {answers:?}");
    let refused = answers.iter().filter(|a| **a == (429, Some("1".to_owned()))).count();
    assert!(refused > 20, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| [401, 429].contains(status)), "{answers:?}");
    assert_eq!(forged(&narrow, "203.0.113.6").await, (401, None), "another address has its own");
    let get = Request::get("/api/v1/customer/cities").body(Body::empty()).unwrap();
    assert_eq!(call(&narrow, "203.0.113.6", get).await.status(), 200, "nor is theirs that of others");

    let generous = router(&app, HttpSettings::default());
    let burst = futures::future::join_all((0..1000).map(|_| forged(&generous, "203.0.113.5"))).await;
    assert!(burst.iter().all(|a| *a == (401, None)), "a burst passes");
});
