//! What tests stand on: the real server on SQLite or PostgreSQL with the real simulator, clients that speak HTTP, a
//! clock that can be moved, and `hexiao serve` as separate processes.
//!
//! Nothing here is a mock: a [`TestApp`] is composed by the same code as `hexiao serve`.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a test that cannot set up its world must stop there"
)]

mod app;
mod client;
mod keys;
pub mod postgres;
mod process;
mod shop;

pub use app::verify;
pub use app::{Backend, PASSWORD, TestApp, wait_until};
pub use client::{Answer, Client};
pub use process::{ServerProcess, TestDatabaseUrl, binary, free_port, prepare_data};
pub use shop::{Bought, Shop};

/// A client that a member of staff holds.
pub type StaffClient = Client;

/// A test on both databases: `on_both!(name, |app| async { … });`
#[macro_export]
macro_rules! on_both {
    ($name:ident, |$app:ident| async $body:block) => {
        mod $name {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let $app = $crate::TestApp::start($crate::Backend::Sqlite).await;
                $body
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let $app = $crate::TestApp::start($crate::Backend::Postgres).await;
                $body
            }
        }
    };
}
