//! A small HTTP load client: as many kept-alive connections as asked for, each sending its next request when
//! the last one was answered, or at a fixed rate for all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub type Body = Full<Bytes>;

/// No request may take longer; one that does counts as failed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So many failures are kept in words.
const SHOWN_FAILURES: usize = 5;

/// How the requests of a phase are sent.
#[derive(Clone, Copy)]
pub struct Pace {
    pub connections: u32,
    /// No new request after this time.
    pub at_most: Duration,
    /// The time between two requests of all connections together; `None`: each as soon as it can.
    /// Latencies then count from when a request was due, so that a stall is not forgotten.
    pub interval: Option<Duration>,
}

/// The requests of a phase, by number, and how to read their answers.
pub trait Requests: Send + Sync + 'static {
    type Answer: Send + 'static;
    fn count(&self) -> usize;
    fn make(&self, index: usize) -> anyhow::Result<Request<Body>>;
    fn read(&self, index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<Self::Answer>;
}

/// Something that takes one request or several, one after the other, on one connection.
pub trait Flow: Send + Sync + 'static {
    type Answer: Send + 'static;
    fn count(&self) -> usize;
    fn run(&self, index: usize, wire: &mut Wire)
    -> impl Future<Output = anyhow::Result<Self::Answer>> + Send;
}

impl<R: Requests> Flow for R {
    type Answer = R::Answer;

    fn count(&self) -> usize {
        Requests::count(self)
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<R::Answer> {
        let (status, body) = wire.ask(self.make(index)?).await?;
        self.read(index, status, &body)
    }
}

/// A connection.
pub struct Wire {
    address: String,
    connection: SendRequest<Body>,
    /// A request got no answer: nobody knows what would come next on it.
    lost: bool,
}

impl Wire {
    pub async fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self { address: address.to_owned(), connection: connect(address).await?, lost: false })
    }

    /// Sends a request; its answer.
    pub async fn ask(&mut self, request: Request<Body>) -> anyhow::Result<(StatusCode, Bytes)> {
        if self.lost {
            self.connection = connect(&self.address).await?;
            self.lost = false;
        }
        let answer = match tokio::time::timeout(TIMEOUT, send(&mut self.connection, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer in {} s", TIMEOUT.as_secs())),
        };
        self.lost = answer.is_err();
        answer
    }
}

/// What came back.
pub struct Phase<T> {
    pub answers: Vec<(usize, T)>,
    /// Microseconds.
    pub latencies: Histogram<u64>,
    pub elapsed: Duration,
    pub failed: usize,
    /// The first few failures in words.
    pub failures: Vec<String>,
}

impl<T> Phase<T> {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            answers: Vec::new(),
            latencies: histogram()?,
            elapsed: Duration::ZERO,
            failed: 0,
            failures: Vec::new(),
        })
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failed += 1;
        if self.failures.len() < SHOWN_FAILURES {
            self.failures.push(format!("{error:#}"));
        }
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.answers.extend(other.answers);
        self.latencies.add(&other.latencies)?;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(SHOWN_FAILURES);
        Ok(())
    }
}

/// From a microsecond to a minute, to three digits.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("cannot make a histogram")
}

/// Sends the requests and waits for all answers.
pub async fn drive<F: Flow>(address: &str, pace: Pace, flow: Arc<F>) -> anyhow::Result<Phase<F::Answer>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..pace.connections {
        connections.push(Wire::connect(address).await?);
    }
    let started = Instant::now();
    let workers: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let worker = Worker { pace, started, next: Arc::clone(&next) };
            tokio::spawn(worker.run(connection, Arc::clone(&flow)))
        })
        .collect();
    let mut phase = Phase::new()?;
    for worker in workers {
        phase.add(worker.await.context("a load worker died")??)?;
    }
    phase.elapsed = started.elapsed();
    Ok(phase)
}

struct Worker {
    pace: Pace,
    started: Instant,
    next: Arc<AtomicUsize>,
}

impl Worker {
    async fn run<F: Flow>(self, mut wire: Wire, flow: Arc<F>) -> anyhow::Result<Phase<F::Answer>> {
        let mut phase = Phase::new()?;
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= flow.count() || self.started.elapsed() >= self.pace.at_most {
                return Ok(phase);
            }
            let due = self.wait_until_due(index).await?;
            let answer = flow.run(index, &mut wire).await;
            phase.latencies.saturating_record(u64::try_from(due.elapsed().as_micros())?);
            match answer {
                Ok(read) => phase.answers.push((index, read)),
                Err(error) => phase.fail(&error),
            }
        }
    }

    /// When the request should be sent: now, or when its turn comes.
    async fn wait_until_due(&self, index: usize) -> anyhow::Result<Instant> {
        let Some(interval) = self.pace.interval else { return Ok(Instant::now()) };
        let due = self.started + interval * u32::try_from(index)?;
        tokio::time::sleep_until(due).await;
        Ok(due)
    }
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; what goes wrong on it shows in the requests.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    connection: &mut SendRequest<Body>,
    request: Request<Body>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    struct Numbers(usize);

    impl Requests for Numbers {
        type Answer = usize;
        fn count(&self) -> usize {
            self.0
        }
        fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
            Ok(Request::get(format!("/{index}")).body(Body::default())?)
        }
        fn read(&self, index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<usize> {
            anyhow::ensure!(status == StatusCode::OK, "{status}");
            anyhow::ensure!(body == format!("/{index}").as_bytes(), "another's answer");
            Ok(index)
        }
    }

    /// Answers each path with itself, and `/7` with 503.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut path = String::new();
                    let mut line = String::new();
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        if let Some(rest) = line.strip_prefix("GET ") {
                            path = rest.split(' ').next().unwrap().to_owned();
                        }
                        if line == "\r\n" {
                            let status = if path == "/7" { "503 Busy" } else { "200 OK" };
                            let answer =
                                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{path}", path.len());
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                        line.clear();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn every_request_is_sent_once_and_failures_are_counted() {
        let pace = Pace { connections: 4, at_most: Duration::from_secs(20), interval: None };
        let phase = drive(&echo().await, pace, Arc::new(Numbers(100))).await.unwrap();
        let mut answered: Vec<usize> = phase.answers.iter().map(|(index, _)| *index).collect();
        answered.sort_unstable();
        assert_eq!(answered, (0..100).filter(|index| *index != 7).collect::<Vec<_>>());
        assert_eq!(phase.failed, 1);
        assert!(phase.failures[0].contains("503"), "{:?}", phase.failures);
        assert_eq!(phase.latencies.len(), 100);
    }

    #[tokio::test]
    async fn a_pace_is_kept() {
        let interval = Some(Duration::from_millis(10));
        let pace = Pace { connections: 4, at_most: Duration::from_secs(20), interval };
        let phase = drive(&echo().await, pace, Arc::new(Numbers(6))).await.unwrap();
        // The last of six is due after five intervals.
        assert!(phase.elapsed >= Duration::from_millis(50), "{:?}", phase.elapsed);
    }
}
