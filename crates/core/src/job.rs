//! The states of a job.

use crate::state::text_enum;

text_enum! {
    /// Where a job is.
    pub enum JobState {
        /// Waits for its time.
        Ready = "Ready",
        /// A worker has it, for as long as its lease.
        Running = "Running",
        /// Nothing is left to do, or another job of its kind and subject does it.
        Done = "Done",
        /// Failed too often: nobody runs it any more until a person retries it.
        Dead = "Dead",
    }
}
