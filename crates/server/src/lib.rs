//! The program `hexiao`: configuration, secrets, and the composition of database, use cases, API, worker and, in
//! development, the WeChat simulator. A library, so that tests start the very same thing.

pub mod bench_seed;
pub mod cli;
pub mod compose;
pub mod config;
pub mod demo;
pub mod documents;
pub mod door;
pub mod init;
pub mod jobs;
pub mod password;
pub mod private;
pub mod secrets;
pub mod serve;
pub mod simulator;
pub mod staff;
pub mod verify;
pub mod walk;
