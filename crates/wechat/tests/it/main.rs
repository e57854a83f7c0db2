//! The clients against a scripted server, and notifications against vectors that openssl signed.

mod certificates;
mod hosts;
mod mini;
mod notifications;
mod orders;
mod outcomes;
mod refunds;
mod support;
