//! Times inference over HTTP against a bare hyper echo of the same body, and prints a JSON row a figure: `figure, value, unit, against,
//! ratio, bar`. A bar is reached when `ratio` is at most `bar`.
//!
//! `cargo xtask bench serve` runs this with `--json`, which prints one list. By hand:
//! `cargo run --release -p tidegate-serve --example bench_serve`. Both servers run in this process, on one runtime, and one client that
//! writes the same raw bytes over kept connections asks them in turns, so that both see the same machine.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, StringArray};
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_model::{Family, Flow, Model, ModelSpec, train};
use tidegate_serve::{
    Arm, Clean, CleanedRequest, LabelError, LabelSink, LabelsAdded, ModelRoute, Ports, PredictionSink, Routes, ServeSettings, Server,
    SettingsStatus, Status, TokenFile, TriggerError, TriggerSink, Views,
};
use tidegate_vocab::{
    Batch, Contract, ContractColumn, DType, LabelColumn, LateLabel, LoggedPrediction, PipelineId, Role, Seed, SimulatedClock, Timestamp,
    VersionNo,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const FEATURES: usize = 8;
const TRAIN_ROWS: usize = 2_000;
/// Requests of each side in one timing of latency, after [`WARM_UP`] more.
const REQUESTS: usize = 20_000;
const WARM_UP: usize = 4_000;
/// Requests of one connection in one round of throughput, and rounds that a figure is the median of.
const ROUND_REQUESTS: usize = 2_000;
const ROUNDS: usize = 9;
/// Rows that wait to be taken by the log of this bench, and how often it takes them.
const LOG_ROWS_MAX: usize = 65_536;
const LOG_PERIOD: Duration = Duration::from_millis(50);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (plain, cleaned, echo) = runtime.block_on(async { (serve(false).await, serve(true).await, serve_echo().await) });
    let mut rows = Vec::new();
    let ours = request("/v2/models/rain/infer", 1);
    let theirs = request("/", 1);
    let (own, bare) = latencies(plain, &ours, echo, &theirs);
    let us = |seconds: f64| seconds * 1e6;
    let against = |bare: f64| format!("bare hyper echo of the same body: {:.1} us", us(bare));
    for (name, share, bar) in [("p50", 0.5, Some(1.5)), ("p99", 0.99, None)] {
        let (own, bare) = (quantile(&own, share), quantile(&bare, share));
        rows.push(row(&format!("one-row inference, {name}"), us(own), "us", against(bare), own / bare, bar));
    }
    let (own, bare) = latencies(cleaned, &ours, echo, &theirs);
    let (own, bare) = (quantile(&own, 0.5), quantile(&bare, 0.5));
    rows.push(row("one-row inference behind a cleaner, p50", us(own), "us", against(bare), own / bare, None));
    let many = (request("/v2/models/rain/infer", 1_000), request("/", 1_000));
    let (own, bare) = latencies_of(REQUESTS / 50, plain, &many.0, echo, &many.1);
    let (own, bare) = (quantile(&own, 0.5), quantile(&bare, 0.5));
    rows.push(row("1,000-row inference, p50", us(own), "us", against(bare), own / bare, None));
    for connections in [1, 8] {
        let (own, bare) = throughput(connections, plain, &ours, echo, &theirs);
        let against = format!("bare hyper echo of the same body: {bare:.0} a second");
        rows.push(row(&format!("requests a second on {connections} connections"), own, "1/s", against, bare / own, None));
    }
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::Value::from(rows));
    } else {
        rows.iter().for_each(|row| println!("{row}"));
    }
}

fn row(figure: &str, value: f64, unit: &str, against: String, ratio: f64, bar: Option<f64>) -> serde_json::Value {
    serde_json::json!({ "figure": figure, "value": value, "unit": unit, "against": against, "ratio": ratio, "bar": bar })
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// A request for `rows` rows as bytes.
fn request(path: &str, rows: usize) -> Vec<u8> {
    let value = |row: usize, column: usize| (((row * 31 + column * 17) % 200) as f64 - 100.0) / 37.0;
    let tensor = |column: usize| {
        let data: Vec<f64> = (0..rows).map(|row| value(row, column)).collect();
        serde_json::json!({ "name": format!("x{column}"), "shape": [rows], "datatype": "FP64", "data": data })
    };
    let inputs: Vec<serde_json::Value> = (0..FEATURES).map(tensor).collect();
    let body = serde_json::json!({ "inputs": inputs }).to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

/// A kept connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: vec![0; 1 << 20] }
    }

    /// Sends `request` and reads the reply to its end.
    fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).unwrap();
            let text = &self.buffer[..filled];
            let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&text[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(text));
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            if filled >= end + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

fn latencies(own: SocketAddr, ours: &[u8], echo: SocketAddr, theirs: &[u8]) -> (Vec<f64>, Vec<f64>) {
    latencies_of(REQUESTS, own, ours, echo, theirs)
}

/// Sorted seconds of requests to both, in turns.
fn latencies_of(count: usize, own: SocketAddr, ours: &[u8], echo: SocketAddr, theirs: &[u8]) -> (Vec<f64>, Vec<f64>) {
    let (mut own, mut echo) = (Client::new(own), Client::new(echo));
    let time = |client: &mut Client, request: &[u8]| {
        let start = Instant::now();
        client.ask(request);
        start.elapsed().as_secs_f64()
    };
    let both = |_| (time(&mut own, ours), time(&mut echo, theirs));
    let (mut firsts, mut seconds): (Vec<f64>, Vec<f64>) = (0..WARM_UP.min(count) + count).map(both).skip(WARM_UP.min(count)).unzip();
    firsts.sort_by(f64::total_cmp);
    seconds.sort_by(f64::total_cmp);
    (firsts, seconds)
}

/// Median requests a second of both, over rounds in turns.
fn throughput(connections: usize, own: SocketAddr, ours: &[u8], echo: SocketAddr, theirs: &[u8]) -> (f64, f64) {
    let round = |address: SocketAddr, request: &[u8]| {
        let barrier = Barrier::new(connections + 1);
        std::thread::scope(|scope| {
            let work = || {
                let mut client = Client::new(address);
                client.ask(request);
                barrier.wait();
                (0..ROUND_REQUESTS).for_each(|_| client.ask(request));
            };
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            barrier.wait();
            let start = Instant::now();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            (connections * ROUND_REQUESTS) as f64 / start.elapsed().as_secs_f64()
        })
    };
    let (mut own, mut echo): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| (round(own, ours), round(echo, theirs))).unzip();
    own.sort_by(f64::total_cmp);
    echo.sort_by(f64::total_cmp);
    (own[ROUNDS / 2], echo[ROUNDS / 2])
}

/// A bare hyper server that sends back the body it got.
async fn serve_echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let echo = service_fn(|request: hyper::Request<Incoming>| async move {
                let body: Bytes = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(hyper::Response::new(Full::new(body)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), echo));
        }
    });
    address
}

/// A Tidegate server for a trained model, behind a cleaner that changes nothing if asked for.
async fn serve(behind_cleaner: bool) -> SocketAddr {
    let (contract, model) = model();
    let cleaners: Vec<Arc<dyn Clean>> = if behind_cleaner { vec![Arc::new(Nothing)] } else { Vec::new() };
    let arm = Arc::new(Arm::new(VersionNo(1), "ab".repeat(32), Arc::new(model), cleaners));
    let versions = BTreeMap::from([(VersionNo(1), arm.clone())]);
    let route = ModelRoute::new("rain".parse().unwrap(), Arc::new(contract), Ok(arm), versions);
    let log = Arc::new(Log::default());
    let taken = log.clone();
    tokio::spawn(async move {
        let mut period = tokio::time::interval(LOG_PERIOD);
        loop {
            period.tick().await;
            drop(std::mem::take(&mut *taken.0.lock().unwrap()));
        }
    });
    let ports = Ports {
        routes: watch::channel(Arc::new(Routes { models: BTreeMap::from([("rain".to_owned(), route)]) })).1,
        predictions: log,
        labels: Arc::new(Nothing),
        triggers: Arc::new(Nothing),
        views: Arc::new(Nothing),
        changes: watch::channel(0).1,
        clock: Arc::new(SimulatedClock::new(Timestamp(0))),
    };
    let bound = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    let tokens = TokenFile::open("no-such-file-of-tokens").unwrap();
    tokio::spawn(bound.serve(ports, tokens, ServeSettings::default(), CancellationToken::new()));
    address
}

/// A perceptron of one hidden layer on [`FEATURES`] features, trained on made-up rows.
fn model() -> (Contract, Model) {
    let column = |index: usize| ContractColumn {
        name: format!("x{index}"),
        dtype: DType::F64,
        role: Role::Feature,
        nullable: true,
        low: None,
        high: None,
        categories: None,
    };
    let label = LabelColumn { column: "rain".into(), classes: vec!["no".into(), "yes".into()], delay_us: 0, by_id: true };
    let contract = Contract { id: None, time: None, label, columns: (0..FEATURES).map(column).collect() };
    let value = |row: usize, column: usize| ((row * 7_919 + column * 104_729) % 1_009) as f64 / 504.5 - 1.0;
    let feature = |index: usize| {
        let values: Float64Array = (0..TRAIN_ROWS).map(|row| Some(value(row, index))).collect();
        (format!("x{index}"), Role::Feature, Arc::new(values) as ArrayRef)
    };
    let truth = |row: usize| if value(row, 0) * value(row, 1) > 0.1 { "yes" } else { "no" };
    let labels: StringArray = (0..TRAIN_ROWS).map(|row| Some(truth(row))).collect();
    let columns = (0..FEATURES).map(feature).chain([("rain".to_owned(), Role::Label, Arc::new(labels) as ArrayRef)]);
    let rows = Batch::new(columns.collect()).unwrap();
    let (spec, held) = (ModelSpec { epochs_max: 3, ..ModelSpec::new(Family::Mlp) }, TRAIN_ROWS / 5);
    let (learn, stop) = (rows.slice(0, TRAIN_ROWS - held), rows.slice(TRAIN_ROWS - held, held));
    let trained = train(&spec, &contract, &learn, &stop, Seed(1), None, &mut |_| Flow::Continue).unwrap();
    let model = Model::load(&trained.artefact.weights, &trained.artefact.manifest).unwrap();
    (contract, model)
}

/// A log that gathers rows and wakes nobody: its reader comes by itself.
#[derive(Default)]
struct Log(Mutex<Vec<LoggedPrediction>>);

impl PredictionSink for Log {
    fn log(&self, _pipeline: &PipelineId, predictions: Vec<LoggedPrediction>) -> bool {
        let mut gathered = self.0.lock().unwrap();
        let has_room = gathered.len() < LOG_ROWS_MAX;
        if has_room {
            gathered.extend(predictions);
        }
        has_room
    }
}

/// The ports that the bench does not use.
struct Nothing;

impl Clean for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn clean(&self, rows: &Batch) -> Result<CleanedRequest, String> {
        Ok(CleanedRequest { rows: rows.clone(), dropped: Vec::new() })
    }
}

#[async_trait]
impl LabelSink for Nothing {
    async fn add(&self, _pipeline: &PipelineId, _labels: Vec<LateLabel>) -> Result<LabelsAdded, LabelError> {
        Ok(LabelsAdded { added: 0, unchanged: 0 })
    }
}

#[async_trait]
impl TriggerSink for Nothing {
    async fn post(&self, _pipeline: &PipelineId, _name: &str) -> Result<(), TriggerError> {
        Ok(())
    }
}

#[async_trait]
impl Views for Nothing {
    async fn status(&self) -> Status {
        let (settings, pipelines, plugins) = (SettingsStatus::default(), Vec::new(), Vec::new());
        Status { host_version: String::new(), started_at: Timestamp(0), settings, pipelines, plugins }
    }

    fn unready(&self) -> Vec<String> {
        Vec::new()
    }
}
