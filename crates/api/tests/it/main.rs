//! The API over HTTP, on both databases, with the real worker and the WeChat simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test stops where it fails")]

mod agreements;
mod auth;
mod backfills;
mod bad_bodies;
mod bad_input;
mod batches;
mod bookings;
mod commission;
mod consents;
mod contract;
mod evidence;
mod expiry;
mod fuse;
mod jobs;
mod limits;
mod machine;
mod maturity;
mod messages;
mod operations;
mod orders;
mod payments;
mod phones;
mod plans;
mod products;
mod prune;
mod race;
mod receiver;
mod redemptions;
mod refund_numbers;
mod refunds;
mod reminders;
mod reversals;
mod rules;
mod sellable;
mod settings;
mod snapshot;
mod staff_accounts;
mod steps;
mod stock;
mod stores;
mod sweep;
mod webhooks;
mod wire;
mod world;
