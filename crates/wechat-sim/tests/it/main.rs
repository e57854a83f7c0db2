//! The simulator over HTTP: every rule it enforces, every fault it can make.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod auth;
mod faults;
mod mini;
mod notify;
mod orders;
mod partner;
mod payment;
mod refunds;
mod restart;
mod support;
