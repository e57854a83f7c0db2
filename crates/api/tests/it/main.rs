//! The API over HTTP, on both databases, with the real worker and the WeChat simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test stops where it fails")]

mod products;
mod sellable;
mod staff_accounts;
mod stock;
mod stores;
