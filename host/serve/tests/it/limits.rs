//! Slow and many: each limit is met, and the server goes on.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use tidegate_serve::{CleanedRequest, ServeSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{cleaner, host_with, one_row, read, settings};

const INFER: &str = "/v2/models/rain/infer";
/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_header_that_does_not_end_closes_its_connection() {
    let host = host_with(Vec::new(), ServeSettings { header_ms_max: 50, ..settings() }).await;
    let mut stream = host.connect().await;
    stream.write_all(b"POST /v2/models/rain/infer HTTP/1.1\r\nhost: ").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("closed").unwrap();
    assert_eq!(host.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let host = host_with(Vec::new(), ServeSettings { body_ms_max: 50, ..settings() }).await;
    let mut stream = host.connect().await;
    let head = format!("POST {INFER} HTTP/1.1\r\nhost: {}\r\ncontent-length: 100\r\n\r\n{{", host.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = read(&mut stream).await;
    assert!(reply.status == 408 && reply.body.contains("did not come whole within 50 ms"), "{reply:?}");
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_read_and_while_it_is() {
    let host = host_with(Vec::new(), ServeSettings { body_bytes_max: 1_000, ..settings() }).await;
    let announced = host.post(INFER, &" ".repeat(1_001)).await;
    assert!(announced.status == 413 && announced.body.contains("longer than 1000 bytes"), "{announced:?}");
    let mut stream = host.connect().await;
    let head = format!("POST {INFER} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", host.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(format!("3e8\r\n{}\r\n3e8\r\n{}\r\n", " ".repeat(1_000), " ".repeat(1_000)).as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.status, 413);
}

#[tokio::test]
async fn large_bodies_are_held_a_few_at_a_time() {
    let host = host_with(Vec::new(), ServeSettings { bodies_large_max: 0, ..settings() }).await;
    let padded = one_row(&[]).to_string() + &" ".repeat(70_000);
    let reply = host.post(INFER, &padded).await;
    assert!(reply.status == 503 && reply.header("retry-after").is_some(), "{reply:?}");
    assert_eq!(host.post(INFER, &one_row(&[]).to_string()).await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let host = host_with(Vec::new(), ServeSettings { connections_max: 1, ..settings() }).await;
    let mut first = host.connect().await;
    first.write_all(host.request("GET", "/healthz", &[], "").as_bytes()).await.unwrap();
    assert_eq!(read(&mut first).await.status, 200);
    let mut second = host.connect().await;
    let reply = read(&mut second).await;
    assert!(reply.status == 503 && reply.body.contains("as many connections as it takes"), "{reply:?}");
    assert_eq!(reply.header("retry-after"), Some("1"));
}

/// A cleaner that hangs until the sender is dropped, and says when it has begun.
fn hanging() -> (Arc<dyn tidegate_serve::Clean>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let hang = cleaner("hang", move |rows| {
        begun.send(()).unwrap();
        let _ = held.lock().unwrap().recv_timeout(NEVER);
        Ok(CleanedRequest { rows: rows.clone(), dropped: Vec::new() })
    });
    (hang, release, begins)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_guest_that_hangs_holds_no_thread_that_reads_http() {
    let (hang, release, begins) = hanging();
    let settings = ServeSettings { request_ms_max: 100, blocking_requests_max: 1, ..settings() };
    let host = host_with(vec![hang], settings).await;
    let row = one_row(&[]).to_string();
    let late = host.post(INFER, &row).await;
    assert!(late.status == 504 && late.body.contains("no answer within 100 ms"), "{late:?}");
    begins.recv().unwrap();
    let busy = host.post(INFER, &row).await;
    assert!(busy.status == 503 && busy.body.contains("1 requests are with cleaners and models already"), "{busy:?}");
    assert_eq!(host.post("/v2/models/rain/versions/1/infer", &row).await.status, 200, "a version without the cleaner answers");
    drop(release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_end_and_new_ones_do_not_begin() {
    let (hang, release, begins) = hanging();
    let host = host_with(vec![hang], settings()).await;
    let mut stream = host.connect().await;
    stream.write_all(host.request("POST", INFER, &[], &one_row(&[]).to_string()).as_bytes()).await.unwrap();
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    let mut idle = host.connect().await;
    idle.write_all(host.request("GET", "/healthz", &[], "").as_bytes()).await.unwrap();
    assert_eq!(read(&mut idle).await.status, 200);
    host.stop.cancel();
    let mut nothing = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), idle.read_to_end(&mut nothing)).await.expect("an idle connection is closed").unwrap();
    drop(release);
    let reply = read(&mut stream).await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{reply:?}");
    let address = host.address;
    tokio::time::timeout(Duration::from_secs(20), host.ended).await.expect("drained").unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_has_an_end() {
    let (hang, release, begins) = hanging();
    let host = host_with(vec![hang], ServeSettings { drain_ms_max: 50, ..settings() }).await;
    let mut stream = host.connect().await;
    stream.write_all(host.request("POST", INFER, &[], &one_row(&[]).to_string()).as_bytes()).await.unwrap();
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    host.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), host.ended).await.expect("the drain ends").unwrap();
    let mut nothing = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut nothing)).await.expect("cut off").unwrap();
    assert!(nothing.is_empty());
    drop(release);
}

#[tokio::test]
async fn a_nest_of_lists_is_refused_in_words() {
    let host = host_with(Vec::new(), settings()).await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let body =
        json!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "FP64", "data": "DEEP" }] }).to_string().replace("\"DEEP\"", &deep);
    let reply = host.post(INFER, &body).await;
    assert!(reply.status == 400 && reply.body.contains("recursion limit"), "{reply:?}");
}
