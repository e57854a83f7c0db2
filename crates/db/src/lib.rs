//! All SQL of Hexiao: connection pools, migrations, one module for each aggregate, the job queue and the outbox.
//!
//! One SQL text serves SQLite and PostgreSQL; where they must differ, [`sql`] has the few words for it.
//!
//! **Invariant:** this crate knows no HTTP and decides no rule. Functions that write take a [`Tx`], and only
//! `hexiao-app` opens one. Every query of tenant data takes its scope as an argument.

pub mod migrate;
pub mod page;
pub mod pool;
pub mod row;
pub mod sql;

pub use pool::{Conn, Db, DbError, Reader, Result, Tx};
