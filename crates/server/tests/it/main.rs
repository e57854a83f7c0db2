//! The program as a whole: killed and restarted, left to random users, called from the command line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test stops where it fails"
)]

mod cli;
mod cli_private;
mod crash;
mod simulation;
mod support;
