//! Listening, connections and the end: who is let in, for how long, and how all of it stops.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::app::{self, App};
use crate::error::ServeError;
use crate::ports::Ports;
use crate::settings::ServeSettings;
use crate::token_file::TokenFile;

/// Bytes of the header of one request; hyper answers 431 to more.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// Pause after the system refused a connection, such as for want of file handles.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Period of what is done beside requests: histograms are put away and the file of tokens is looked at.
const UPKEEP_MS: u64 = 2_000;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
content-length: 72\r\n\r\n{\"error\":\"this server has as many connections as it takes; try again\"}\r\n";

/// The server, not yet listening.
pub struct Server;

/// An address that is listened on; nobody is answered before [`Bound::serve`].
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `listen`; with port 0 the system chooses one.
    ///
    /// # Errors
    /// Something else listens there, the address is not this machine's, or the system does not permit it.
    pub async fn bind(listen: SocketAddr) -> Result<Bound, ServeError> {
        let failed = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound { listener, address })
    }
}

impl Bound {
    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, then lets requests in flight end within `drain_ms_max`.
    ///
    /// # Errors
    /// The address is public and there is no token, or the system gives no random bytes.
    pub async fn serve(self, ports: Ports, tokens: TokenFile, settings: ServeSettings, stop: CancellationToken) -> Result<(), ServeError> {
        if !self.address.ip().is_loopback() && tokens.is_empty() {
            return Err(ServeError::Unguarded { listen: self.address });
        }
        let connections = Arc::new(Semaphore::new(settings.connections_max));
        let app = Arc::new(App::new(ports, tokens.clone(), settings, self.address, stop.clone())?);
        let router = app::router(app.clone());
        let (graceful, cut) = (GracefulShutdown::new(), CancellationToken::new());
        let upkeep = tokio::spawn(upkeep(app.clone(), tokens, stop.clone()));
        info!(address = %self.address, "serving");
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            let Ok(permit) = connections.clone().try_acquire_owned() else {
                refuse(stream);
                continue;
            };
            let connection = cut.clone().run_until_cancelled_owned(connection(stream, app.clone(), router.clone(), &graceful));
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        let drain = Duration::from_millis(app.settings.drain_ms_max);
        if timeout(drain, graceful.shutdown()).await.is_err() {
            warn!(drain_ms_max = app.settings.drain_ms_max, "requests were cut off");
        }
        cut.cancel();
        upkeep.abort();
        info!("stopped serving");
        Ok(())
    }
}

/// Serves one connection to its end.
fn connection(
    stream: TcpStream,
    app: Arc<App>,
    router: TowerToHyperService<Router>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Replies are written whole; waiting to fill packets would only add to the time they take.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "could not set no-delay");
    }
    let header_time = Duration::from_millis(app.settings.header_ms_max);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = app::handle(app.clone(), router.clone(), request.map(Body::new));
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection ended early");
        }
    }
}

/// Tells one connection too many to come again. A new socket has room for so few bytes; if not, closing says enough.
fn refuse(stream: TcpStream) {
    if let Err(error) = stream.try_write(FULL) {
        debug!(%error, "could not refuse a connection in words");
    }
}

async fn upkeep(app: Arc<App>, tokens: TokenFile, stop: CancellationToken) {
    let mut period = interval(Duration::from_millis(UPKEEP_MS));
    loop {
        tokio::select! {
            _ = period.tick() => {}
            () = stop.cancelled() => return,
        }
        app.metrics.upkeep();
        match tokens.refresh() {
            Ok(true) => info!(path = %tokens.path().display(), "tokens read again"),
            Ok(false) => {}
            Err(error) => warn!(error = &error as &dyn std::error::Error, "could not read the tokens again; those read last stay"),
        }
    }
}
