//! The server's door: how connections come in, and how it is shut without hurting anybody.
//!
//! Promise: a connection that the system has accepted for us is served. When a stop is asked for, those that wait in
//! the system's queue are taken in, and only then the door is shut: who comes later is refused at once, and asks
//! again elsewhere.

use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use axum::serve::Listener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be taken in: a flash sale's crowd comes within a second. The system may allow fewer
/// (`net.core.somaxconn`).
const BACKLOG: u32 = 8192;

/// Listens.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As every server does: after a restart the old connections' last packets may still be on their way.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets this process have as many connections as the system allows it: many shells start with 1024, and a customer who
/// waits for an answer holds one.
pub fn raise_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}

/// A listener that is shut when a stop is asked for.
pub struct Door {
    /// None: shut.
    listener: Option<TcpListener>,
    address: SocketAddr,
    stop: CancellationToken,
    /// Who waited when it was shut.
    last: Vec<(TcpStream, SocketAddr)>,
}

impl Door {
    /// Opens it.
    pub fn new(listener: TcpListener, stop: CancellationToken) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener: Some(listener), address, stop, last: Vec::new() })
    }

    /// Takes in who waits, and shuts it.
    fn shut(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        let taken = listener.into_std().and_then(|listener| {
            loop {
                match listener.accept() {
                    Ok((stream, peer)) => {
                        stream.set_nonblocking(true)?;
                        self.last.push((TcpStream::from_std(stream)?, peer));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    // Who hung up while waiting.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        if let Err(error) = taken {
            tracing::warn!(%error, "cannot take in the last connections");
        }
    }
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                taken = Listener::accept(listener) => return taken,
            }
            self.shut();
        }
        match self.last.pop() {
            Some(taken) => taken,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_taken_in_and_who_comes_later_is_refused() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut door = Door::new(listener, stop.clone()).unwrap();
        let waiting =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        stop.cancel();
        let mut taken = [door.accept().await.1, door.accept().await.1];
        let mut came = waiting.map(|stream| stream.local_addr().unwrap());
        taken.sort_unstable();
        came.sort_unstable();
        assert_eq!(taken, came);
        TcpStream::connect(address).await.unwrap_err();
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), door.accept()).await;
        assert!(nobody.is_err());
    }

    #[test]
    fn all_files_that_the_system_allows_may_be_open() {
        raise_open_files().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
