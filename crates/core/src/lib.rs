//! The pure domain of Hexiao: what may happen to orders, payments, vouchers, refunds and stock, and why not.
//!
//! **Invariant:** nothing here blocks, reads a clock, draws a random number or knows SQL, HTTP or async.
//! Time and entropy are arguments, so every rule can be tested as a table of cases.

pub mod agreement;
pub mod backfill;
pub mod booking;
pub mod catalog;
pub mod code;
pub mod commission;
pub mod consent;
pub mod damm;
pub mod device;
pub mod expiry;
pub mod geo;
pub mod hours;
pub mod id;
pub mod job;
pub mod ledger;
pub mod limit;
pub mod money;
pub mod number;
pub mod offline;
pub mod order;
pub mod payment;
pub mod picture;
pub mod price;
pub mod reason;
pub mod redeem;
pub mod refund;
pub mod reminder;
pub mod risk;
pub mod rule;
pub mod scope;
pub mod slots;
pub mod split;
pub mod state;
pub mod stock;
pub mod text;
pub mod ticket;
pub mod time;
pub mod typing;
pub mod voucher;
pub mod webhook;
