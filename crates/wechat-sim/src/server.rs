//! Starts and stops the simulator.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    config::SimConfig,
    control,
    error::SimError,
    listener::{CuttableListener, Scissors},
    sim::Sim,
    v3, worker,
};

/// How long a stop waits for connections to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A running simulator. Stops when `shutdown` is called or when it is dropped.
#[derive(Debug)]
pub struct SimHandle {
    sim: Sim,
    address: SocketAddr,
    server: JoinHandle<()>,
    worker: JoinHandle<()>,
}

/// Starts a simulator; it serves until its handle is shut down or dropped.
pub async fn start(config: SimConfig) -> Result<SimHandle, SimError> {
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let sim = Sim::open(config)?;
    let app = Router::new()
        .merge(control::router())
        .fallback(v3::handle)
        .with_state(sim.clone())
        .into_make_service_with_connect_info::<Scissors>();
    let stop = sim.stop().clone();
    let server = tokio::spawn(async move {
        let serving = axum::serve(CuttableListener(listener), app)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "the simulator's listener failed");
        }
    });
    let worker = tokio::spawn(worker::run(sim.clone()));
    tracing::info!(%address, "WeChat simulator listening");
    Ok(SimHandle { sim, address, server, worker })
}

impl SimHandle {
    /// `http://address:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The simulator itself.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// Stops serving and sending, and waits for both to end.
    pub async fn shutdown(mut self) {
        self.sim.stop().cancel();
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, &mut self.server).await;
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, &mut self.worker).await;
    }
}

impl std::ops::Deref for SimHandle {
    type Target = Sim;

    fn deref(&self) -> &Sim {
        &self.sim
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.sim.stop().cancel();
        self.server.abort();
        self.worker.abort();
    }
}
