//! Refunds: asked for under the vouchers' locks, sent to WeChat by a job, finished by its callback or by asking.
//!
//! A refund and a redemption of the same use can never both succeed: asking for a refund takes the uses out of
//! what is free, in the transaction in which redemption would take them.

mod create;
mod record;
mod staff;
mod submit;
pub(crate) mod withdraw;

pub use create::{CreateRefund, Created, RefundItem};
pub use staff::AbnormalTarget;
