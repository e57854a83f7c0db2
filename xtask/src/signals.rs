//! Ctrl-C while a task runs: the terminal sends it to the task's children too, and they stop by themselves.
//! The task itself must live on until they have, so that it can stop what it started and say so.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The child that runs now; 0 for none.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// From here on Ctrl-C and SIGTERM no longer end this process: they are remembered, and SIGTERM (which only
/// this process got) is passed on to the child that runs.
pub fn hold() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => INTERRUPTED.store(true, Ordering::SeqCst),
                    _ = terminate.recv() => {
                        INTERRUPTED.store(true, Ordering::SeqCst);
                        pass_on_terminate();
                    }
                }
            }
        });
    });
    Ok(())
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Names the child that SIGTERM is passed on to; `None` when it has ended.
pub fn watch(child: Option<u32>) {
    CHILD.store(child.unwrap_or(0), Ordering::SeqCst);
}

fn pass_on_terminate() {
    let child = CHILD.load(Ordering::SeqCst);
    if child != 0 {
        // The child may have ended just now: nothing is lost then.
        let _ = Command::new("kill").arg("-TERM").arg(child.to_string()).status();
    }
}
