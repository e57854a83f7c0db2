//! A strict simulator of WeChat Pay APIv3 and of the mini-program server APIs.
//!
//! WeChat offers no sandbox for APIv3, so development and tests talk to this server instead. It
//! promises to refuse whatever WeChat is known to refuse (signatures, field rules, order and refund
//! states, frequencies), to sign and encrypt as WeChat does, and to misbehave on request in the ways
//! WeChat misbehaves: late, repeated, lost, reordered and forged notifications, answers lost after the
//! commit. Nothing is random unless a fault rule carries a seed.
//!
//! It is never part of production: a server that is told to use it must refuse production mode.
//! It shares no code with the client crate, and both are pinned by vectors made with openssl, so the
//! two cannot agree on a mistake.

mod auth;
mod clock;
mod config;
mod control;
mod control_forge;
mod crypto;
mod delivery;
mod der;
mod error;
mod faults;
mod journal;
mod listener;
mod miniprogram;
mod model;
mod orders;
mod payment;
mod platform;
mod refunds;
mod reply;
mod route;
mod schema;
mod server;
mod sim;
mod state;
mod subscribe;
mod v3;
mod views;
mod worker;

pub use config::{SimConfig, SimMerchant, SimMiniProgram, SubMerchant};
pub use control_forge::{Forgery, ForgeryKind};
pub use error::SimError;
pub use faults::{Chance, Fault, FaultAction, Matching};
pub use model::{
    Attempt, Delivery, NotificationKind, NotificationRecord, NotificationState, NotifyKey, Payer, Prepay,
    Refund, RefundOutcome, RefundStatus, TradeState, Transaction,
};
pub use payment::{PayArgs, PayReceipt};
pub use platform::{PlatformKeys, PlatformPem};
pub use server::{SimHandle, start};
pub use sim::Sim;
pub use subscribe::SentMessage;
