//! The worker: what goes on by itself. Closes expired orders, runs jobs, delivers messages.
//!
//! Reconcilers take no input and jobs carry their own lease, so that any number of workers may run on one database
//! and a killed one leaves nothing stuck.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::App;
use crate::error::Result;

/// The longest a due job or an expired order waits when nobody wakes the worker.
const TICK: Duration = Duration::from_millis(500);
const BATCH: u32 = 32;

impl App {
    /// Works until cancelled; finishes what it has begun.
    pub async fn run_worker(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.work_once().await {
                Ok(0) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep(TICK) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(?error, "the worker failed; it goes on");
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }

    /// Does everything that is due once; how much there was.
    pub async fn work_once(&self) -> Result<usize> {
        let closed = self.close_expired_orders(BATCH).await?;
        let jobs = self.run_due_jobs(BATCH).await?;
        let messages = self.deliver_messages().await?;
        Ok(closed + jobs + messages)
    }
}
