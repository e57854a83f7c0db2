//! `hexiao serve`: the API and the worker, with the simulator in development, until SIGINT or SIGTERM.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt as _;
use hexiao_api::{HttpSettings, Limits};
use hexiao_app::App;
use hexiao_wechat_sim::SimHandle;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::config::{Config, Mode, Switch};
use crate::door::{self, Door};

/// How long a connection on which nothing is under way stays open after a stop was asked for: a request may be on its
/// way. It gets its answer, which says that it is the last one.
const LINGER: Duration = Duration::from_millis(300);

/// A running server.
pub struct Running {
    /// Where the API listens.
    pub url: String,
    /// Where the metrics are.
    pub metrics_url: String,
    /// Where the simulator listens, if it runs here.
    pub simulator: Option<SimHandle>,
    /// The use cases.
    pub app: App,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    drain: Duration,
}

impl Running {
    /// Stops: is not ready any more, takes in nobody, answers what was asked (with the batches that wait for it), then
    /// has the worker finish what it has begun. What takes longer than `drain_s` is left to the next start: nothing
    /// depends on it, as nothing depends on a server that is killed.
    pub async fn stop(self) {
        let started = std::time::Instant::now();
        self.stop.cancel();
        let all = futures::future::join_all(self.tasks);
        match tokio::time::timeout(self.drain, all).await {
            Ok(_) => tracing::info!(millis = started.elapsed().as_millis(), "all that was under way is done"),
            Err(_) => tracing::warn!("some work did not finish in time; it will go on at the next start"),
        }
        if let Some(simulator) = self.simulator {
            simulator.shutdown().await;
        }
    }
}

/// The recorder of metrics of this process; the first call makes it.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])?
        .install_recorder()
        .context("metrics")?;
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// Limits for callers, or hardly any when they are switched off.
fn limits(switch: Switch) -> Limits {
    match switch {
        Switch::On => Limits::default(),
        Switch::Off => {
            let n = NonZeroU32::MAX.min(NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MIN));
            Limits { per_session: n, sign_in_per_address: n, anonymous_per_address: n, notify_per_address: n }
        }
    }
}

/// What a configuration says of the HTTP side.
pub fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        limits: limits(config.rate_limits),
        trusted_proxies: config.trusted_proxies.iter().map(|network| network.0).collect(),
        metrics_elsewhere: config.metrics_listen.is_some(),
        stop: CancellationToken::new(),
    }
}

/// Starts everything.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    config.check()?;
    if let Err(error) = door::raise_open_files() {
        tracing::warn!(error = format!("{error:#}"), "fewer connections than the system has");
    }
    let listener = door::listen(config.listen)
        .with_context(|| format!("不能监听 {}（端口被占用？可用 --listen 换一个）", config.listen))?;
    let metrics_listener = match config.metrics_listen {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| {
                format!("不能监听 {address}（端口被占用？请在配置里换一个 metrics_listen）")
            })?)
        }
    };
    let address = listener.local_addr()?;
    let db = match config.mode {
        Mode::Dev => compose::prepare_dev(config).await?,
        Mode::Production => compose::open_db(config).await?,
    };
    let simulator = match config.simulator {
        Switch::On => Some(crate::simulator::start(config).await?),
        Switch::Off => None,
    };
    let urls = compose::wechat_urls(config, simulator.as_ref().map(SimHandle::url).as_deref());
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let app = compose::app(config, db, urls, public_url).await?;
    if config.mode == Mode::Production {
        compose::check_pay_accounts(&app).await?;
    }
    let drain = Duration::from_secs(config.drain_s.into());
    let (stop, mut tasks) = run(app.clone(), listener, http_settings(config))?;
    let mut metrics_url = format!("http://{address}/metrics");
    if let Some(listener) = metrics_listener {
        metrics_url = format!("http://{}/metrics", listener.local_addr()?);
        let service = hexiao_api::metrics_router(metrics()?).into_make_service();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.push(tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the listener for metrics stopped");
            }
        }));
    }
    Ok(Running { url: format!("http://{address}"), metrics_url, simulator, app, stop, tasks, drain })
}

/// Looks at everything that a start would refuse, and starts nothing: configuration, schema, keys, pay accounts.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    config.check()?;
    let db = compose::open_db(config).await?;
    let app = compose::app(config, db, compose::wechat_urls(config, None), String::new()).await?;
    compose::check_pay_accounts(&app).await
}

/// Serves use cases on a listener, and their worker, until the token is cancelled: the requests first, since some of
/// them wake the worker.
pub fn run(
    app: App,
    listener: TcpListener,
    settings: HttpSettings,
) -> anyhow::Result<(CancellationToken, Vec<tokio::task::JoinHandle<()>>)> {
    let stop = settings.stop.clone();
    let router = hexiao_api::router(app.clone(), settings, metrics()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // Small answers go out at once; and axum knows the peer's address of a tapped listener.
    let door = Door::new(listener, stop.clone())?.tap_io(|stream| drop(stream.set_nodelay(true)));
    let (asked, worker_stop) = (stop.clone(), CancellationToken::new());
    let worker = tokio::spawn(app.run_worker(worker_stop.clone()));
    let server = tokio::spawn(async move {
        // Cancelled when this task ends, in whatever way.
        let _then_the_worker = worker_stop.drop_guard();
        let last_request = async move {
            asked.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        if let Err(error) = axum::serve(door, service).with_graceful_shutdown(last_request).await {
            tracing::error!(%error, "the server stopped");
        }
    });
    Ok((stop, vec![server, worker]))
}

/// Waits for SIGINT or SIGTERM.
pub async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
