//! Random customers and verifiers, a clock that moves, and a WeChat that is late, says things twice, in the wrong order
//! or not at all. A model that shares nothing with the product predicts every answer; the data stays sound throughout,
//! and at the end everything has come to what the model says. A seed decides all that is random; a failing one is named.

mod actions;
mod model;
mod run;

use hexiao_testkit::Backend;

use crate::support::seeds;

/// What each seed does; more with `HEXIAO_SEEDS`.
const SEEDS: u64 = 6;

/// Names the seed when a test ends badly.
struct Named(Backend, u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {} on {:?}", self.1, self.0);
        }
    }
}

async fn all_seeds(backend: Backend) {
    for seed in 0..seeds(SEEDS) {
        let _named = Named(backend, seed);
        let started = std::time::Instant::now();
        let summary = run::run(backend, seed).await;
        eprintln!("seed {seed}: {summary} in {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_users_on_sqlite() {
    all_seeds(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_users_on_postgres() {
    all_seeds(Backend::Postgres).await;
}
