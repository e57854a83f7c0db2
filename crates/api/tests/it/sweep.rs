//! Every operation of the OpenAPI document, called by everybody who might try.

use std::collections::BTreeSet;

use hexiao_testkit::{Client, TestApp, on_both};
use serde_json::Value;

use crate::operations::{self, Operation, Others, Who};
use crate::snapshot;
use crate::wire::{self, Reply, Request, Wire};
use crate::world::{World, world};

/// The operations and their callers.
pub(crate) struct Sweep<'a> {
    app: &'a TestApp,
    world: &'a World,
    wire: Wire,
    document: Value,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(app: &'a TestApp, world: &'a World) -> Self {
        Self { app, world, wire: Wire::new(app), document: operations::document() }
    }

    /// Every operation, by everybody who may.
    pub(crate) async fn everybody_may(&self) {
        for operation in &operations::operations() {
            self.allowed(operation).await;
        }
    }

    async fn call(&self, operation: &Operation, path: &str, who: &Client) -> (Reply, String) {
        let mut request = Request::new(operation.method.clone(), path, who.token.as_deref()).fresh_key();
        let body = operation.body(&self.world.ids);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let sent = format!("{path} {}", body.unwrap_or_default());
        let reply = self.wire.send(request).await;
        wire::assert_shape(&reply.body, &sent);
        if reply.status >= 400 {
            wire::assert_refusal(&reply, &sent);
            let documented = &operations::details(&self.document, operation)["responses"];
            let status = reply.status.to_string();
            assert!(documented.get(&status).is_some(), "{sent}: {status} is not documented");
        }
        (reply, sent)
    }

    /// Calls with the rows of merchant A; none of `hidden` may come back unless the caller sent it.
    async fn expect(
        &self,
        operation: &Operation,
        (name, who): (&str, &Client),
        hidden: &BTreeSet<&str>,
        expected: impl Fn(u16) -> bool,
    ) {
        for path in self.paths(operation) {
            let (reply, sent) = self.call(operation, &path, who).await;
            let context = format!("{name}: {} {sent} → {} {}", operation.method, reply.status, reply.text);
            // A list that is narrowed to somebody else's row may be empty, or say that there is no such row.
            let narrowed_away = path.contains('?') && operation.others == Others::Own && reply.status == 404;
            assert!(expected(reply.status) || (narrowed_away && !hidden.is_empty()), "{context}");
            for id in hidden {
                assert!(!reply.text.contains(id) || sent.contains(id), "{id} came out: {context}");
            }
        }
    }

    /// The operation's path, and for lists once more with each filter that names a row of merchant A.
    fn paths(&self, operation: &Operation) -> Vec<String> {
        let path = operation.path(&self.world.ids);
        let mut paths = vec![path.clone()];
        if operation.others == Others::Own && operation.who != Who::Public {
            let details = operations::details(&self.document, operation);
            for parameter in details["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default();
                let row = name.strip_suffix("_id").unwrap_or_default();
                if let Some(id) = self.world.ids.get(row) {
                    let joint = if path.contains('?') { '&' } else { '?' };
                    paths.push(format!("{path}{joint}{name}={id}"));
                }
            }
        }
        paths
    }

    /// Those who may not, and those who may not with these rows. Nothing is written.
    async fn denied(&self, operation: &Operation) {
        let world = self.world;
        let everything = world.of_the_merchant();
        if operation.who != Who::Public {
            for (name, who) in &world.dead {
                self.expect(operation, (name, who), &everything, |s| s == 401).await;
            }
        }
        let staff = world.staff.iter().map(|(role, who)| (*role, *role, who));
        let elsewhere = world.elsewhere.iter().map(|(role, who)| ("of another store", *role, who));
        let stranger = [("of another merchant", "owner", &world.stranger)];
        for (name, role, who) in staff.chain(elsewhere).chain(stranger) {
            let forbidden = match operation.who {
                Who::Customer => true,
                Who::Staff(roles) => !roles.contains(&role),
                Who::Public | Who::SignedIn => false,
            };
            if forbidden {
                self.expect(operation, (name, who), &everything, |s| s == 403).await;
            }
        }
        if matches!(operation.who, Who::Staff(_)) {
            for who in [&world.customer, &world.other_customer] {
                self.expect(operation, ("a customer", who), &everything, |s| s == 403).await;
            }
        }
    }

    /// Those who may, but not with rows that are not theirs.
    async fn others(&self, operation: &Operation) {
        let world = self.world;
        let expected = |s: u16| match operation.others {
            Others::Missing => s == 404,
            Others::Refused => matches!(s, 400 | 404 | 409),
            Others::Own => (200..300).contains(&s) || s == 409,
        };
        match operation.who {
            Who::Public => {}
            Who::SignedIn => {
                let callers =
                    [("another customer", &world.other_customer), ("another owner", &world.stranger)];
                for caller in callers {
                    self.expect(operation, caller, &world.of_the_merchant(), expected).await;
                }
            }
            Who::Customer => {
                let caller = ("another customer", &world.other_customer);
                self.expect(operation, caller, &world.of_the_customer(), expected).await;
            }
            Who::Staff(roles) => {
                let caller = ("the owner of another merchant", &world.stranger);
                self.expect(operation, caller, &world.of_the_merchant(), expected).await;
                for (role, who) in world.elsewhere.iter().filter(|(role, _)| roles.contains(role)) {
                    self.expect(operation, (role, who), &world.of_the_store(), expected).await;
                }
            }
        }
    }

    /// Those who may: it is done, or the state of the row does not allow it any more.
    async fn allowed(&self, operation: &Operation) {
        let world = self.world;
        let nothing = BTreeSet::new();
        let writes = operation.method != reqwest::Method::GET;
        let expected = |s: u16| match operation.answers {
            Some(status) => s == status,
            None => (200..300).contains(&s) || (writes && s == 409),
        };
        let everybody = || {
            let staff = world.staff.iter().map(|(role, who)| (*role, who));
            staff.chain([("the customer", &world.customer)])
        };
        match operation.who {
            Who::Public => {
                for caller in everybody().chain(world.dead.iter().map(|(name, who)| (*name, who))) {
                    self.expect(operation, caller, &world.of_the_order(), expected).await;
                }
            }
            Who::SignedIn => {
                for caller in everybody() {
                    self.expect(operation, caller, &nothing, expected).await;
                }
            }
            Who::Customer => {
                self.expect(operation, ("the customer", &world.customer), &nothing, expected).await;
            }
            Who::Staff(roles) => {
                for role in roles {
                    self.expect(operation, (role, &world.staff[role]), &nothing, expected).await;
                }
            }
        }
    }
}

#[test]
fn every_operation_of_the_document_is_swept() {
    operations::assert_complete();
}

on_both!(everybody_gets_what_is_theirs_and_nothing_else, |app| async {
    let world = world(&app).await;
    let sweep = Sweep::new(&app, &world);
    let operations = operations::operations();
    // What is denied writes nothing. Nothing else happens meanwhile: what is allowed comes after it.
    let before = snapshot::rows(sweep.app).await;
    for operation in &operations {
        sweep.denied(operation).await;
        if operation.others != Others::Own {
            sweep.others(operation).await;
        }
        let after = snapshot::rows(sweep.app).await;
        snapshot::assert_unchanged(&before, &after, &format!("{:?}", operation.key()));
    }
    for operation in &operations {
        if operation.others == Others::Own {
            sweep.others(operation).await;
        }
        sweep.allowed(operation).await;
    }
    for who in world.staff.values().chain([&world.customer]) {
        assert_eq!(who.get("/api/v1/auth/me").await.status, 401, "signing out was the last thing they did");
    }
    app.verify().await;
});
