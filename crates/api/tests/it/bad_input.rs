//! Whatever is sent: a clear 4xx with a code, never a 5xx, nothing written.

use hexiao_testkit::{Client, TestApp, on_both};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bad_bodies::{hostile_texts, wrong_bodies};
use crate::operations::{self, Operation, Who};
use crate::snapshot::{self, Rows};
use crate::wire::{Reply, Request, Wire, assert_refusal};
use crate::world::{World, world};

/// The server refuses larger bodies.
const MAX_BODY_BYTES: usize = 256 * 1024;

struct Bench<'a> {
    app: &'a TestApp,
    world: World,
    wire: Wire,
    document: Value,
    before: Rows,
}

impl<'a> Bench<'a> {
    async fn new(app: &'a TestApp) -> Self {
        let world = world(app).await;
        let before = snapshot::rows(app).await;
        Self { app, world, wire: Wire::new(app), document: operations::document(), before }
    }

    /// Somebody who may.
    fn caller(&self, operation: &Operation) -> &Client {
        match operation.who {
            Who::Public | Who::SignedIn | Who::Customer => &self.world.customer,
            Who::Staff(_) => &self.world.staff["owner"],
        }
    }

    fn request(&self, operation: &Operation) -> Request<'_> {
        let token = self.caller(operation).token.as_deref();
        Request::new(operation.method.clone(), operation.path(&self.world.ids), token)
    }

    /// Those whose body the document describes, with its schema.
    fn with_body(&self) -> Vec<(Operation, Value, Value)> {
        let described = |operation: Operation| {
            let details = operations::details(&self.document, &operation);
            let schema = details["requestBody"]["content"]["application/json"].get("schema")?.clone();
            let body = operation.body(&self.world.ids).expect("a documented body has an example here");
            Some((operation, schema, body))
        };
        operations::operations().into_iter().filter_map(described).collect()
    }

    async fn refused(&self, request: Request<'_>, what: &str) -> Reply {
        let context = format!("{} {}: {what}", request.method, request.path);
        let reply = self.wire.send(request).await;
        assert_refusal(&reply, &context);
        reply
    }

    async fn refused_as(&self, request: Request<'_>, what: &str, status: u16, code: &str) -> Reply {
        let context = format!("{} {}: {what}", request.method, request.path);
        let reply = self.refused(request, what).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{context}: {}", reply.text);
        reply
    }

    async fn assert_nothing_written(&self, context: &str) {
        snapshot::assert_unchanged(&self.before, &snapshot::rows(self.app).await, context);
    }
}

on_both!(bodies_that_are_no_json, |app| async {
    let bench = Bench::new(&app).await;
    for (operation, _, right) in bench.with_body() {
        let request = || bench.request(&operation).fresh_key();
        let values: Vec<&Value> = right.as_object().unwrap().values().collect();
        let values = json!(values).to_string();
        let right = right.to_string();
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let wrong: [(&str, Vec<u8>); 12] = [
            ("nothing", Vec::new()),
            ("blanks", b"  \n".to_vec()),
            ("half a body", right.as_bytes()[..right.len() - 1].to_vec()),
            ("two bodies", format!("{right}{right}").into_bytes()),
            ("a comment", format!("{right}//").into_bytes()),
            ("single quotes", right.replace('"', "'").into_bytes()),
            ("a byte order mark", format!("\u{FEFF}{right}").into_bytes()),
            ("UTF-16", right.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("no UTF-8", [right.as_bytes(), b"\xff\xfe"].concat()),
            ("NUL", b"\0".to_vec()),
            ("deep lists", deep("[", "]").into_bytes()),
            ("deep objects", deep("{\"a\":", "}").into_bytes()),
        ];
        for (what, body) in wrong {
            let reply = bench.refused(request().raw("application/json", body), what).await;
            assert_eq!(reply.status, 400, "{what}: {}", reply.text);
            assert!(matches!(reply.code(), "malformed" | "invalid_field"), "{what}: {}", reply.text);
        }
        for (what, body) in [
            ("null", "null"),
            ("a list", "[]"),
            ("a text", "\"x\""),
            ("a number", "1"),
            ("the values without names", &values),
        ] {
            bench.refused_as(request().raw("application/json", body), what, 400, "invalid_field").await;
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json5", ""] {
            let request = request().raw(content_type, right.clone());
            bench.refused_as(request, content_type, 415, "unsupported_media_type").await;
        }
        let mut untyped = request();
        untyped.body = right.clone().into_bytes();
        bench.refused_as(untyped, "no content type", 415, "unsupported_media_type").await;
        let large = format!("{right}{}", " ".repeat(MAX_BODY_BYTES));
        let large = request().raw("application/json", large);
        bench.refused_as(large, "a large body", 413, "body_too_large").await;
        bench.assert_nothing_written(&format!("{:?}", operation.key())).await;
    }
});

on_both!(bodies_that_are_wrong_in_one_place, |app| async {
    let bench = Bench::new(&app).await;
    let mut sent = 0;
    for (operation, schema, right) in bench.with_body() {
        for wrong in wrong_bodies(&bench.document, &schema, &right) {
            let request = bench.request(&operation).fresh_key().raw("application/json", wrong.body);
            let reply = bench.refused(request, &wrong.what).await;
            let context = format!("{:?}: {}: {}", operation.key(), wrong.what, reply.text);
            if let Some(field) = &wrong.field {
                let named = match field.strip_suffix('…') {
                    Some(outer) => reply.code() != "invalid_field" || reply.field().starts_with(outer),
                    None => reply.field() == field,
                };
                assert!(named, "{context}");
            }
            sent += 1;
        }
        bench.assert_nothing_written(&format!("{:?}", operation.key())).await;
    }
    assert!(sent > 2000, "only {sent} wrong bodies were made");
});

on_both!(hostile_texts_do_no_harm, |app| async {
    let bench = Bench::new(&app).await;
    for (operation, _, right) in bench.with_body() {
        for (what, body) in hostile_texts(&right) {
            let request = bench.request(&operation).fresh_key().json(&body);
            let context = format!("{:?}: {what}", operation.key());
            let reply = bench.wire.send(request).await;
            if reply.status >= 300 {
                assert_refusal(&reply, &context);
            }
            let rich = reply.body["description_html"].as_str().unwrap_or_default();
            assert!(!rich.contains("<script") && !rich.contains("onerror"), "{context}: {rich}");
            let shown_as = reply.header("content-type");
            assert!(reply.text.is_empty() || shown_as == "application/json", "{context}: {shown_as}");
        }
    }
    let after = snapshot::rows(&app).await;
    for table in ["orders", "vouchers", "products", "staff"] {
        assert!(after[table].len() >= bench.before[table].len(), "{table} lost rows");
    }
    app.verify().await;
});

on_both!(paths_that_name_nothing, |app| async {
    let bench = Bench::new(&app).await;
    let long = "a".repeat(5000);
    let wrong = [
        "1",
        "x",
        "%00",
        "%FF",
        "%F0%9F%8D%B2",
        "..%2F..%2Fetc%2Fpasswd",
        "'%20OR%201=1%20--",
        "zzz_00000000000000000000000000",
        "ord_0000000000000000000000000",
        "str_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        &long,
    ];
    for operation in operations::operations() {
        for row in wrong {
            let Some(path) = operation.path_with(row) else { break };
            let mut request = bench.request(&operation).fresh_key();
            request.path = path;
            if let Some(body) = operation.body(&bench.world.ids) {
                request = request.json(&body);
            }
            bench.refused_as(request, row, 404, "not_found").await;
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/auth/me",
        "/api/v1/merchant/stores/",
        "//healthz",
        "/.env",
    ] {
        bench.refused_as(Request::get(path, None), "an unknown path", 404, "not_found").await;
    }
    bench.assert_nothing_written("wrong paths").await;
});

on_both!(methods_that_a_path_does_not_have, |app| async {
    let bench = Bench::new(&app).await;
    let owner = bench.world.staff["owner"].token.as_deref();
    for (path, item) in bench.document["paths"].as_object().unwrap() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        {
            if item.get(method.as_str().to_lowercase()).is_none() {
                let request = Request::new(method, path.replace(['{', '}'], ""), owner).json(&json!({}));
                let reply = bench.refused_as(request, "another method", 405, "method_not_allowed").await;
                assert!(!reply.header("allow").is_empty(), "{path}: a 405 says what is allowed");
            }
        }
    }
    bench.assert_nothing_written("wrong methods").await;
});

on_both!(idempotency_keys_that_are_none, |app| async {
    let bench = Bench::new(&app).await;
    let mut seen = 0;
    for operation in operations::operations() {
        let details = operations::details(&bench.document, &operation);
        let mut parameters = details["parameters"].as_array().into_iter().flatten();
        if !parameters.any(|p| p["name"] == "Idempotency-Key") {
            continue;
        }
        seen += 1;
        let request = || match operation.body(&bench.world.ids) {
            Some(body) => bench.request(&operation).json(&body),
            None => bench.request(&operation),
        };
        let mut wrong = vec![("none", request()), ("two", request().fresh_key().fresh_key())];
        for (what, key) in [
            ("empty", Vec::new()),
            ("too long", vec![b'k'; 256]),
            ("with a blank", b"a b".to_vec()),
            ("with a tab", b"a\tb".to_vec()),
            ("Chinese", "键".as_bytes().to_vec()),
            ("no UTF-8", vec![0xFF, 0xFE]),
        ] {
            wrong.push((what, request().header("idempotency-key", key)));
        }
        for (what, request) in wrong {
            bench.refused_as(request, what, 400, "idempotency_key_required").await;
        }
    }
    assert!(seen >= 5, "only {seen} operations take a key");
    bench.assert_nothing_written("wrong keys").await;
});

/// What is wrong for a parameter of this name.
fn wrong_values(path: &str, name: &str) -> &'static [&'static str] {
    match name {
        // Business days, not instants.
        "from" | "to" if path.contains("/commission") => {
            &["", "yesterday", "2026-13-01", "2026-02-30", "2026-10-01T00:00:00Z", "１"]
        }
        "limit" => &["", "0", "101", "abc", "-1", "1.5", "1e2", "99999999999999999999", "１"],
        "cursor" => {
            &["", "x", ".", "zz.00000000000000000000000000", "1'%20OR%20'1'='1", "ffffffffffffffff.0"]
        }
        "from" | "to" => {
            &["", "yesterday", "2026-10-01", "2026-10-01T00:00:00", "1790000000", "2026-13-01T00:00:00Z"]
        }
        "date" => &["", "yesterday", "2026-13-01", "2026-02-30", "2026-10-01T00:00:00Z", "１"],
        "tab" | "state" | "list" | "method" | "kind" | "verdict" | "reason" | "by" | "event" => {
            &["", "zzz", "PAID", "unpaid,closed"]
        }
        "low" | "resting" => &["", "1", "yes", "TRUE"],
        "lat" | "lng" => &["", "x", "NaN", "inf", "181", "-181", "1e400", "0x1"],
        "code_last4" => &["", "12", "abcd", "12345", "１２３４"],
        "city" | "q" | "number" => &["%00", "a%0Ab", "a%E2%80%AEb"],
        name if name.ends_with("_id") => &["", "1", "msg_00000000000000000000000000", "str_", "'%20OR%201=1"],
        _ => panic!("say what is wrong for {name}"),
    }
}

on_both!(queries_that_make_no_sense, |app| async {
    let bench = Bench::new(&app).await;
    let mut seen = 0;
    for operation in operations::operations() {
        let details = operations::details(&bench.document, &operation);
        let parameters = details["parameters"].as_array().into_iter().flatten();
        let names: Vec<&str> =
            parameters.filter(|p| p["in"] == "query").map(|p| p["name"].as_str().unwrap()).collect();
        if names.is_empty() {
            continue;
        }
        let with = |query: String| {
            let mut request = bench.request(&operation);
            let path = request.path.split('?').next().unwrap_or_default().to_owned();
            // A parameter that is required stays beside what is wrong.
            let required = if query.contains("store_id=") { "" } else { "store_id=" };
            let rest = match request.path.split_once('?') {
                Some((_, rest)) if !required.is_empty() => format!("&{rest}"),
                _ => String::new(),
            };
            request.path = format!("{path}?{query}{rest}");
            request
        };
        let reply = bench.refused_as(with("zzz_unknown=1".to_owned()), "unknown", 400, "invalid_field").await;
        assert_eq!(reply.field(), "zzz_unknown");
        for name in names {
            seen += 1;
            for value in wrong_values(&bench.request(&operation).path, name) {
                let query = format!("{name}={value}");
                let reply = bench.refused(with(query.clone()), "malformed").await;
                let code = if name == "cursor" { "invalid_cursor" } else { "invalid_field" };
                assert_eq!(
                    (reply.status, reply.code()),
                    (400, code),
                    "{:?} {query}: {}",
                    operation.key(),
                    reply.text
                );
                let other = if name == "lat" { "lng" } else { "lat" };
                let named = name == "cursor"
                    || reply.field() == name
                    || (name.starts_with('l') && reply.field() == other);
                assert!(named, "{:?} {query}: {}", operation.key(), reply.text);
            }
            let long = format!("{name}={}", "9".repeat(5000));
            bench.refused(with(long), "very long").await;
            // Bytes that are no text are read as U+FFFD, for which a search finds nothing.
            let reply = bench.wire.send(with(format!("{name}=%FF%FE"))).await;
            assert!(reply.status == 200 || reply.status == 400, "{name}: {}", reply.text);
            bench.refused(with(format!("{name}=1&{name}=1")), "twice").await;
        }
    }
    assert!(seen > 40, "only {seen} parameters were seen");
    bench.assert_nothing_written("wrong queries").await;
});
