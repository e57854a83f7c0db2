//! Redemption 核销: prepare (scan or type → what may be redeemed, how many, why not) and confirm (exactly once).

mod answer;
mod backfill;
mod backfill_decide;
mod booked;
mod confirm;
mod fuse;
mod limits;
mod nearest;
mod offline;
mod prepare;
mod token;
mod writes;

pub use answer::{Answer, Confirmed, ItemResult, RefusalView, Refused};
pub use backfill::{Backfilled, RecordBackfill};
pub use confirm::{Confirm, ConfirmItem};
pub use fuse::AskWithdrawal;
pub use nearest::NearestStore;
pub use offline::{OfflineEntry, OfflineResult, UploadOffline, UploadedOffline};
pub use prepare::{Input, Prepare, Prepared, PreparedVoucher};
