//! What machines ask: ready in time, or not ready in time.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use hexiao_api::HttpSettings;
use hexiao_testkit::{TestApp, on_both};

use crate::limits::{call, router};

/// The status of `/readyz` to each of so many who ask at once; nobody waits for long. (The limit in the server is below
/// a second; the ceiling leaves room for a busy machine.)
async fn ready(app: &TestApp, callers: usize) -> Vec<u16> {
    let started = Instant::now();
    let one = async || app.anonymous().get("/readyz").await.status;
    let statuses = futures::future::join_all((0..callers).map(|_| one())).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    statuses
}

on_both!(ready_while_somebody_writes, |app| async {
    let writing = app.app.db.begin().await.unwrap();
    // More than have a connection already: new ones are opened meanwhile.
    assert_eq!(ready(&app, 8).await, [200; 8]);
    drop(writing);
});

on_both!(not_ready_while_the_database_has_no_connection_left, |app| async {
    let mut held = Vec::new();
    while let Ok(Ok(snapshot)) = tokio::time::timeout(Duration::from_millis(500), app.app.db.snapshot()).await
    {
        held.push(snapshot);
    }
    assert_eq!(held.len(), 12, "the pool of a test");
    assert_eq!(ready(&app, 3).await, [503; 3]);
    drop(held);
    assert_eq!(ready(&app, 3).await, [200; 3]);
});

on_both!(metrics_are_for_this_machine_only, |app| async {
    let here = router(&app, HttpSettings::default());
    let elsewhere = router(&app, HttpSettings { metrics_elsewhere: true, ..HttpSettings::default() });
    let get = |header: Option<&str>| {
        let request = Request::get("/metrics");
        let request = match header {
            Some(name) => request.header(name, "203.0.113.5"),
            None => request,
        };
        request.body(Body::empty()).unwrap()
    };
    for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(call(&here, peer, get(None)).await.status(), 200, "{peer}");
        assert_eq!(call(&elsewhere, peer, get(None)).await.status(), 404, "{peer}");
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
            assert_eq!(call(&here, peer, get(Some(header))).await.status(), 404, "a proxy on this machine");
        }
    }
    for peer in ["203.0.113.5", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
        assert_eq!(call(&here, peer, get(None)).await.status(), 404, "{peer}");
    }
});
