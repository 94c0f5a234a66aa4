//! Requests of plugins, carried out of the host: one connection a request, over hyper and rustls.
//!
//! Invariant: the addresses of a host are looked up once, all of them are checked, and the connection goes to one that was checked.
//! A name that anybody can register never leads to this machine or its network.

mod address;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tidegate_sandbox::{Answer, Egress, EgressError, Exchange};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// Addresses of one host that are tried, one after the other.
const ADDRESSES_MAX: usize = 4;
/// How long one address may take to accept a connection.
const CONNECT_MS_MAX: u64 = 5_000;
/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// Bytes of all headers of an answer.
const HEADER_BYTES_MAX: usize = 1 << 16;
/// What a caller waits beyond the time of its request, for the runtime to say that it is over.
const GRACE: Duration = Duration::from_millis(250);

/// The addresses of a name.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, with `port`.
    fn resolve(&self, host: String, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
}

/// The resolver of the system.
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// What opens connections.
pub trait Connect: Send + Sync {
    /// A connection to `address`, and to no other.
    fn connect(&self, address: SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;
}

/// Connections of the system.
pub struct SystemConnector;

impl Connect for SystemConnector {
    fn connect(&self, address: SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// The way out.
#[derive(Clone)]
pub struct NetEgress {
    resolver: Arc<dyn Resolve>,
    connector: Arc<dyn Connect>,
}

impl NetEgress {
    /// A way out that asks `resolver` for addresses.
    pub fn new(resolver: Arc<dyn Resolve>) -> NetEgress {
        NetEgress::over(resolver, Arc::new(SystemConnector))
    }

    /// A way out whose connections are `connector`'s: nothing leaves this process but through it.
    pub fn over(resolver: Arc<dyn Resolve>, connector: Arc<dyn Connect>) -> NetEgress {
        NetEgress { resolver, connector }
    }
}

impl Egress for NetEgress {
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError> {
        let (within, way_out, exchange) = (exchange.within, self.clone(), exchange.clone());
        let timed_out = || EgressError::TimedOut { within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) };
        let (send, receive) = sync_channel(1);
        runtime()?.spawn(async move {
            let answer = tokio::time::timeout(within, carry(&way_out, exchange)).await;
            // The caller is gone when it waited long enough; the answer is then nobody's.
            let _ = send.send(answer);
        });
        match receive.recv_timeout(within + GRACE) {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => Err(failed("the request broke off inside the host", false)),
        }
    }
}

/// The runtime of all requests: one thread of its own. A guest is called from threads of every kind, those of the program's runtime
/// among them; a request that needed one of these to go on while its caller holds it up would never end.
fn runtime() -> Result<&'static Handle, EgressError> {
    static RUNTIME: OnceLock<io::Result<Handle>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let serve = move || runtime.block_on(std::future::pending::<()>());
        std::thread::Builder::new().name("egress".to_owned()).spawn(serve)?;
        Ok(handle)
    });
    started.as_ref().map_err(|error| failed(format!("the thread that sends requests could not be started: {error}"), true))
}

async fn carry(way_out: &NetEgress, exchange: Exchange) -> Result<Answer, EgressError> {
    let addresses = address::checked(way_out.resolver.as_ref(), &exchange.host, exchange.port).await?;
    let stream = connect(way_out.connector.as_ref(), &exchange.host, &addresses).await?;
    if exchange.is_tls {
        let stream = tls::handshake(&exchange.host, stream).await?;
        speak(TokioIo::new(stream), exchange).await
    } else {
        speak(TokioIo::new(stream), exchange).await
    }
}

async fn connect(connector: &dyn Connect, host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, EgressError> {
    let mut last = "it has no address".to_owned();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let tried = tokio::time::timeout(Duration::from_millis(CONNECT_MS_MAX), connector.connect(*address)).await;
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("`{address}`: {error}"),
            Err(_) => last = format!("`{address}` accepted no connection within {CONNECT_MS_MAX} ms"),
        }
    }
    Err(failed(format!("could not connect to `{host}`: {last}"), true))
}

async fn speak<S>(stream: S, exchange: Exchange) -> Result<Answer, EgressError>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| failed(format!("the connection broke: {}", with_causes(&error)), true);
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(HEADERS_MAX).max_buf_size(HEADER_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(broken)?;
    let bytes_max = exchange.answer_bytes_max;
    let request = request(exchange)?;
    // The connection makes progress only while it is polled; it ends with this future, whatever the other side does.
    let connection = std::pin::pin!(connection);
    let answered = std::pin::pin!(async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let taken = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let body = Limited::new(body, taken).collect().await.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(error) if error.is::<LengthLimitError>() => EgressError::TooLarge { bytes_max },
            Err(error) => failed(format!("the answer could not be read: {error}"), true),
        })?;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Ok(Answer { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
    });
    match futures::future::select(answered, connection).await {
        futures::future::Either::Left((answer, _)) => answer,
        // The connection is over before the answer was looked at: what came of it is in the answer's future still.
        futures::future::Either::Right((_, answered)) => answered.await,
    }
}

fn request(exchange: Exchange) -> Result<http::Request<Full<Bytes>>, EgressError> {
    let is_default = exchange.port == if exchange.is_tls { 443 } else { 80 };
    let host = if exchange.host.contains(':') { format!("[{}]", exchange.host) } else { exchange.host };
    let host = if is_default { host } else { format!("{host}:{}", exchange.port) };
    let mut request = http::Request::builder()
        .method(exchange.method.as_str())
        .uri(exchange.target)
        .header("host", host)
        .header("connection", "close")
        .header("accept-encoding", "identity");
    if !exchange.headers.iter().any(|(name, _)| name == "user-agent") {
        request = request.header("user-agent", concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in exchange.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(exchange.body))).map_err(|error| failed(format!("this is not a request: {error}"), false))
}

fn failed(message: impl Into<String>, retryable: bool) -> EgressError {
    EgressError::Failed { message: message.into(), retryable }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
