//! Redemption 核销: prepare (scan or type → what may be redeemed, how many, why not) and confirm (exactly once).

mod confirm;
mod prepare;
mod token;

pub use confirm::{Answer, Confirm, ConfirmItem, Confirmed, ItemResult, RefusalView, Refused};
pub use prepare::{Input, Prepare, Prepared, PreparedVoucher};
