//! A server in this process with scripted ports, and a client that writes raw bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use tempfile::TempDir;
use tidegate_model::{Family, Flow, Model, ModelSpec, train};
use tidegate_serve::{
    Arm, Clean, CleanedRequest, LabelError, LabelSink, LabelsAdded, ModelRoute, Ports, PredictionSink, Routes, ServeSettings, Server,
    Status, TokenFile, TokenRole, TriggerError, TriggerSink, Views,
};
use tidegate_vocab::{
    Batch, Contract, ContractColumn, DType, LabelColumn, LateLabel, LoggedPrediction, PipelineId, Role, Seed, SimulatedClock, TimeColumn,
    Timestamp, VersionNo,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::samples;

/// What time it is in the tests: 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// A running server and everything that it was given.
pub struct Host {
    pub address: SocketAddr,
    pub routes: watch::Sender<Arc<Routes>>,
    pub changes: watch::Sender<u64>,
    pub predictions: Arc<Predictions>,
    pub labels: Arc<Labels>,
    pub views: Arc<Shown>,
    pub tokens: TokenFile,
    pub secrets: BTreeMap<&'static str, String>,
    pub stop: CancellationToken,
    pub ended: JoinHandle<()>,
    _folder: TempDir,
}

/// A log of predictions that takes everything unless it is told to fall behind.
#[derive(Default)]
pub struct Predictions {
    pub logged: Mutex<Vec<LoggedPrediction>>,
    pub behind: Mutex<bool>,
}

impl PredictionSink for Predictions {
    fn log(&self, _pipeline: &PipelineId, predictions: Vec<LoggedPrediction>) -> bool {
        let takes = !*self.behind.lock().unwrap();
        if takes {
            self.logged.lock().unwrap().extend(predictions);
        }
        takes
    }
}

/// Labels for the rows `known`.
#[derive(Default)]
pub struct Labels {
    pub known: Mutex<BTreeSet<String>>,
    pub kept: Mutex<BTreeMap<String, LateLabel>>,
    pub broken: Mutex<bool>,
}

#[async_trait]
impl LabelSink for Labels {
    async fn add(&self, _pipeline: &PipelineId, labels: Vec<LateLabel>) -> Result<LabelsAdded, LabelError> {
        if *self.broken.lock().unwrap() {
            return Err(LabelError::Failed("the disk is full".into()));
        }
        let known = self.known.lock().unwrap();
        let unknown: Vec<String> = labels.iter().filter(|label| !known.contains(&label.row_id)).map(|label| label.row_id.clone()).collect();
        if !unknown.is_empty() {
            return Err(LabelError::Unknown(unknown));
        }
        let mut kept = self.kept.lock().unwrap();
        let mut added = LabelsAdded { added: 0, unchanged: 0 };
        for label in labels {
            let is_same = kept.get(&label.row_id).is_some_and(|earlier| earlier.class == label.class);
            *if is_same { &mut added.unchanged } else { &mut added.added } += 1;
            kept.insert(label.row_id.clone(), label);
        }
        Ok(added)
    }
}

/// A state to show.
pub struct Shown {
    pub status: Mutex<Status>,
    pub unready: Mutex<Vec<String>>,
}

#[async_trait]
impl Views for Shown {
    async fn status(&self) -> Status {
        self.status.lock().unwrap().clone()
    }

    fn unready(&self) -> Vec<String> {
        self.unready.lock().unwrap().clone()
    }
}

type Rule = dyn Fn(&Batch) -> Result<CleanedRequest, String> + Send + Sync;

/// A cleaner that is a function.
pub struct Scripted {
    pub name: &'static str,
    pub rule: Box<Rule>,
}

impl Clean for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn clean(&self, rows: &Batch) -> Result<CleanedRequest, String> {
        (self.rule)(rows)
    }
}

/// A cleaner that is a function.
pub fn cleaner(name: &'static str, rule: impl Fn(&Batch) -> Result<CleanedRequest, String> + Send + Sync + 'static) -> Arc<dyn Clean> {
    Arc::new(Scripted { name, rule: Box::new(rule) })
}

/// The contract of `rain`: a column of every type.
pub fn contract() -> Contract {
    let column = |name: &str, dtype, nullable| ContractColumn {
        name: name.into(),
        dtype,
        role: Role::Feature,
        nullable,
        low: None,
        high: None,
        categories: None,
    };
    Contract {
        id: Some("station".into()),
        time: Some(TimeColumn { column: "day".into(), unit: None, origin_us: 0 }),
        label: LabelColumn { column: "rain".into(), classes: vec!["no".into(), "yes".into()], delay_us: 0, by_id: true },
        columns: vec![
            ContractColumn { low: Some(-100.0), high: Some(100.0), ..column("x", DType::F64, false) },
            column("n", DType::I64, true),
            column("sunny", DType::Bool, true),
            ContractColumn { categories: Some(vec!["oslo".into(), "rome".into()]), ..column("town", DType::Utf8, true) },
            column("at", DType::TimestampUs, true),
            ContractColumn { role: Role::Weight, ..column("w", DType::F64, true) },
        ],
    }
}

/// A model that was trained on 64 rows of [`contract`].
pub fn model() -> Arc<Model> {
    let rows = 64;
    let feature = |name: &str, array: ArrayRef| (name.to_owned(), Role::Feature, array);
    let truth = |row: i32| if row % 7 < 3 { "yes" } else { "no" };
    let batch = Batch::new(vec![
        feature("x", Arc::new((0..rows).map(|row| Some(f64::from(row % 7))).collect::<Float64Array>())),
        feature("n", Arc::new((0..rows).map(|row| Some(i64::from(row % 5))).collect::<Int64Array>())),
        feature("sunny", Arc::new((0..rows).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>())),
        feature("town", Arc::new((0..rows).map(|row| Some(if row % 2 == 0 { "oslo" } else { "rome" })).collect::<StringArray>())),
        feature("at", Arc::new((0..rows).map(|row| Some(i64::from(row))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        ("w".into(), Role::Weight, Arc::new(Float64Array::from(vec![1.0; 64])) as ArrayRef),
        ("rain".into(), Role::Label, Arc::new((0..rows).map(|row| Some(truth(row))).collect::<StringArray>()) as ArrayRef),
    ]);
    let (batch, spec) = (batch.unwrap(), ModelSpec::new(Family::Linear));
    let trained = train(&spec, &contract(), &batch, &batch.slice(0, 0), Seed(1), None, &mut |_| Flow::Continue).unwrap();
    Arc::new(Model::load(&trained.artefact.weights, &trained.artefact.manifest).unwrap())
}

/// `rain` has a trigger called `nightly` and one that is always busy; `snow` has none.
pub struct Nightly;

#[async_trait]
impl TriggerSink for Nightly {
    async fn post(&self, pipeline: &PipelineId, name: &str) -> Result<(), TriggerError> {
        match (pipeline.as_str(), name) {
            ("rain", "nightly") => Ok(()),
            ("rain", "busy") => Err(TriggerError::Busy),
            ("rain", _) => Err(TriggerError::Unknown(vec!["nightly".into(), "busy".into()])),
            _ => Err(TriggerError::Unknown(Vec::new())),
        }
    }
}

/// `rain`, answered by `v2` behind `cleaners`, with `v1` beside it; and `snow`, which nobody answers.
pub fn routes(cleaners: Vec<Arc<dyn Clean>>) -> Routes {
    let (model, contract) = (model(), Arc::new(contract()));
    let first = Arc::new(Arm::new(VersionNo(1), "11".repeat(32), model.clone(), Vec::new()));
    let second = Arc::new(Arm::new(VersionNo(2), "22".repeat(32), model, cleaners));
    let versions = BTreeMap::from([(VersionNo(1), first), (VersionNo(2), second.clone())]);
    let rain = ModelRoute::new("rain".parse().unwrap(), contract.clone(), Ok(second), versions);
    let reason = "no version was promoted; the gate waits for 120 more labelled rows".to_owned();
    let snow = ModelRoute::new("snow".parse().unwrap(), contract, Err(reason), BTreeMap::new());
    Routes { models: BTreeMap::from([("rain".into(), rain), ("snow".into(), snow)]) }
}

/// Small limits, so that tests meet them.
pub fn settings() -> ServeSettings {
    ServeSettings { rows_max: 1_000, labels_max: 500, ..ServeSettings::default() }
}

/// A server behind `cleaners` with `settings`.
pub async fn host_with(cleaners: Vec<Arc<dyn Clean>>, settings: ServeSettings) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenFile::open(folder.path().join("tokens")).unwrap();
    let secrets = TokenRole::ALL.map(|role| (role.word(), tokens.create(role.word(), role, NOW).unwrap())).into();
    let (routes, watched) = watch::channel(Arc::new(routes(cleaners)));
    let (changes, counted) = watch::channel(0);
    let (predictions, labels) = (Arc::new(Predictions::default()), Arc::new(Labels::default()));
    let views = Arc::new(Shown { status: Mutex::new(samples::status()), unready: Mutex::default() });
    let ports = Ports {
        routes: watched,
        predictions: predictions.clone(),
        labels: labels.clone(),
        triggers: Arc::new(Nightly),
        views: views.clone(),
        changes: counted,
        clock: Arc::new(SimulatedClock::new(NOW)),
    };
    let stop = CancellationToken::new();
    let bound = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = bound.address();
    let (their_tokens, until) = (tokens.clone(), stop.clone());
    let ended = tokio::spawn(async move { bound.serve(ports, their_tokens, settings, until).await.unwrap() });
    Host { address, routes, changes, predictions, labels, views, tokens, secrets, stop, ended, _folder: folder }
}

/// A server without cleaners and with small limits.
pub async fn host() -> Host {
    host_with(Vec::new(), settings()).await
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl Host {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[], body).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(self.request(method, path, headers, body).as_bytes()).await.unwrap();
        read(&mut stream).await
    }

    /// A request as bytes, with a `Host` unless `headers` has one.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + &format!("content-length: {}\r\n\r\n{body}", body.len())
    }
}

/// Reads one reply; a server that does not answer fails the test.
pub async fn read(stream: &mut TcpStream) -> Reply {
    tokio::time::timeout(Duration::from_secs(20), read_reply(stream)).await.expect("no reply within 20 s")
}

async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed before a reply: `{}`", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body: String::new() };
    let length = reply.header("content-length").map(|length| length.parse::<usize>().unwrap());
    let mut body = bytes.split_off(end + 4);
    while let Some(length) = length
        && body.len() < length
    {
        assert!(stream.read_buf(&mut body).await.unwrap() > 0, "closed within a body");
    }
    reply.body = String::from_utf8(body).unwrap();
    reply
}

/// An inference request for one row; `replaced` tensors take the place of those of their name, or are added.
pub fn one_row(replaced: &[(&str, serde_json::Value)]) -> serde_json::Value {
    let tensor = |name: &str, datatype: &str, value: serde_json::Value| serde_json::json!({ "name": name, "shape": [1], "datatype": datatype, "data": [value] });
    let mut inputs = vec![
        tensor("x", "FP64", 1.5.into()),
        tensor("n", "INT64", 3.into()),
        tensor("sunny", "BOOL", true.into()),
        tensor("town", "BYTES", "oslo".into()),
        tensor("at", "BYTES", "2026-01-01T00:00:00Z".into()),
    ];
    for (name, tensor) in replaced {
        inputs.retain(|input| input["name"] != *name);
        if !tensor.is_null() {
            inputs.push(tensor.clone());
        }
    }
    serde_json::json!({ "inputs": inputs })
}
