//! The API over HTTP, on both databases, with the real worker and the WeChat simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test stops where it fails")]

mod messages;
mod orders;
mod payments;
mod products;
mod redemptions;
mod refunds;
mod reversals;
mod sellable;
mod staff_accounts;
mod steps;
mod stock;
mod stores;
