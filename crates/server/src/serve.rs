//! `hexiao serve`: the API and the worker, with the simulator in development, until SIGINT or SIGTERM.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use hexiao_api::{HttpSettings, Limits};
use hexiao_app::App;
use hexiao_wechat_sim::SimHandle;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::config::{Config, Mode, Switch};

/// How long requests may finish after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(15);

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
}

impl Running {
    /// Stops: takes no new requests, lets those under way finish, then the worker.
    pub async fn stop(self) {
        self.stop.cancel();
        let all = futures::future::join_all(self.tasks);
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("some work did not finish in time; it will go on at the next start");
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
    }
}

/// Starts everything.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    config.check()?;
    let listener = TcpListener::bind(config.listen)
        .await
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
    Ok(Running { url: format!("http://{address}"), metrics_url, simulator, app, stop, tasks })
}

/// Looks at everything that a start would refuse, and starts nothing: configuration, schema, keys, pay accounts.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    config.check()?;
    let db = compose::open_db(config).await?;
    let app = compose::app(config, db, compose::wechat_urls(config, None), String::new()).await?;
    compose::check_pay_accounts(&app).await
}

/// Serves use cases on a listener, and their worker.
pub fn run(
    app: App,
    listener: TcpListener,
    settings: HttpSettings,
) -> anyhow::Result<(CancellationToken, Vec<tokio::task::JoinHandle<()>>)> {
    let stop = CancellationToken::new();
    let router = hexiao_api::router(app.clone(), settings, metrics()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let drain = stop.clone();
    let server = tokio::spawn(async move {
        let served = axum::serve(listener, service).with_graceful_shutdown(drain.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the server stopped");
        }
    });
    let worker = tokio::spawn(app.run_worker(stop.clone()));
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
