//! The composition of a running host: what is opened in which order, who is told of what, and how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::json;
use tidegate_pipeline::{Pipeline, Stores, accept_contract};
use tidegate_policy::GateRows;
use tidegate_sandbox::Sandbox;
use tidegate_serve::{LabelSink as _, Ports, ServeError, ServeSettings, Server, TokenFile, TokenRole};
use tidegate_store::{StateFolder, Upkeep};
use tidegate_vocab::{Clock, Digest, PipelineId, PluginName, SimulatedClock, Timestamp};
use tokio::sync::{Mutex, RwLock, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::{Actor, INBOX_MAX, Message};
use super::board::Board;
use super::caretaker::Caretaker;
use super::check::Check;
use super::control::{Answer, Command, Socket};
use super::labels::{LabelPlace, Labels};
use super::observer::{self, Watch};
use super::prediction_log::prediction_log;
use super::reload::{Look, Place, Reloader};
use super::replay::Replay;
use super::routes::{RouteTable, Router};
use super::views::HostViews;
use super::webhooks::Webhooks;
use crate::compose::clock::SystemClock;
use crate::compose::{self, load_plugin};
use crate::config::{Config, PipelineConfig};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Time until a pipeline that broke off for a bug of ours is opened again.
const RESTART_MS: u64 = 1_000;

/// Where the clock of a replay stands before its first row, where the contract names no origin: 0001-01-01.
const REPLAY_START_US: i64 = -62_135_596_800_000_000;

/// How `tidegate up` was called.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The address to listen on instead of the settings'.
    pub listen: Option<SocketAddr>,
    /// Replay the sources at so many rows a second, on a simulated clock.
    pub replay: Option<u32>,
    /// Stop when the replayed histories have ended.
    pub once: bool,
    /// The only pipeline of the settings that is run.
    pub only: Option<PipelineId>,
}

/// Runs the host until it is told to stop.
///
/// # Errors
/// A [`Failure`] when something it needs cannot be opened; what breaks later is mended or shown, and ends nothing.
pub async fn up(config: Config, state: &StateFolder, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    let config = Arc::new(config);
    let (settings, in_force) = watch::channel(Arc::clone(&config));
    let calls = |name: &str| Matcher::Full(format!("tidegate_plugin_{name}_seconds"));
    let counters = PrometheusBuilder::new().set_buckets_for_metric(calls("call"), &observer::CALL_BUCKETS_S);
    let counters = counters.and_then(|builder| builder.set_buckets_for_metric(calls("guest"), &observer::CALL_BUCKETS_S));
    let counters = counters.and_then(PrometheusBuilder::install_recorder).map_err(|error| Failure::new(&error, None))?;
    observer::describe();
    let gathered = counters.clone();
    let tokens = tokens(&config, terminal)?;
    let bound = Server::bind(options.listen.unwrap_or(config.serve_listen())).await.map_err(unserved)?;
    let address = bound.address();
    let socket = Socket::bind(&config.store.folder)?;
    let (caretaker, collecting, no_room) = Caretaker::new(in_force.clone());
    let host = Host::open(in_force.clone(), state, no_room, &options)?;
    let (serving, working, logging) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (log, writer) = prediction_log(host.stores.clone());
    let logged = tokio::spawn(writer.run(logging.clone()));
    let (changes, changed) = watch::channel(0);
    let Crew { inboxes, boards, places, in_use, replays, actors } = Crew::start(&host, &changes, &working).await?;
    let labels = Labels { stores: host.stores.clone(), log: log.clone(), pipelines: Arc::new(inboxes) };
    let reloader = Arc::new(host.reloader(settings, options.only.clone(), places, &in_use, working.clone())?);
    actors.spawn(Arc::clone(&reloader).follow());
    actors.spawn(Arc::clone(&reloader).follow_settings());
    actors.spawn(reload_when_told(Arc::clone(&reloader), working.clone()));
    let views = HostViews {
        settings: in_force.clone(),
        stand: reloader.stand(),
        stores: host.stores.clone(),
        boards,
        plugins: Arc::clone(&reloader.book),
        log: log.clone(),
        counters,
        replayed: options.replay.is_some(),
        started_at: SystemClock.now(),
    };
    let ports = Ports {
        routes: host.table.routes(),
        predictions: Arc::new(log),
        labels: Arc::new(labels.clone()),
        triggers: Arc::new(Webhooks { settings: in_force.clone(), pipelines: Arc::clone(&labels.pipelines) }),
        views: Arc::new(views),
        changes: changed,
        clock: host.request_clock(),
    };
    let hosts = config.serve.as_ref().map_or_else(Vec::new, |serve| serve.hosts.clone());
    let how = ServeSettings { hosts, ..ServeSettings::default() };
    let served = tokio::spawn(bound.serve(ports, tokens, how, serving.clone()));
    let orders = Orders { settings: in_force, stores: host.stores.clone(), labels, reloader, collecting };
    let controlled = async { socket.answer(move |pipeline, command| orders.clone().execute(pipeline, command)).await };
    terminal.said(&format!("tidegate up: http://{address}/ (Ctrl-C stops)"), || json!({ "listening": address.to_string() }));
    tokio::select! {
        () = controlled => {}
        () = caretaker.run(state, &host.quiet) => {}
        () = observer::put_away(gathered) => {}
        () = told_to_stop() => {}
        () = all_ended(replays), if options.once => {}
    }
    terminal.said("stopping: requests in flight are answered, predictions written", || json!({ "stopping": true }));
    // The server goes first, so that no request finds a host that has half stopped; the log goes last, so that none is lost.
    serving.cancel();
    let served = served.await.map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    working.cancel();
    actors.close();
    actors.wait().await;
    logging.cancel();
    let _ = logged.await;
    served.map_err(unserved)
}

fn unserved(error: ServeError) -> Failure {
    let hint = error.hint();
    Failure::new(&error, hint)
}

/// The pipelines at work, and the ways to each.
struct Crew {
    inboxes: BTreeMap<PipelineId, LabelPlace>,
    boards: BTreeMap<PipelineId, Board>,
    places: BTreeMap<PipelineId, Place>,
    in_use: BTreeMap<PluginName, Digest>,
    /// One a pipeline: whether its replayed history has ended.
    replays: Vec<watch::Receiver<bool>>,
    actors: TaskTracker,
}

impl Crew {
    async fn start(host: &Host, changes: &watch::Sender<u64>, stop: &CancellationToken) -> Result<Crew, Failure> {
        let mut crew = Crew {
            inboxes: BTreeMap::new(),
            boards: BTreeMap::new(),
            places: BTreeMap::new(),
            in_use: BTreeMap::new(),
            replays: Vec::new(),
            actors: TaskTracker::new(),
        };
        for pipeline in &host.config().pipelines {
            let (sender, inbox) = mpsc::channel(INBOX_MAX);
            let board = Board::new(changes.clone());
            let (replay_ended, end) = watch::channel(false);
            let id = pipeline.id.clone();
            let keeper = Keeper { host: host.clone(), pipeline: id.clone(), board: board.clone(), replay_ended, stop: stop.clone() };
            // Opened here the first time, so that a plugin that does not load ends `up` with its reason.
            let first = keeper.open().await?;
            crew.in_use.extend(first.pipeline.plugins().components());
            crew.actors.spawn(keeper.keep(first, inbox));
            crew.inboxes.insert(id.clone(), (Arc::new(pipeline.contract.clone()), sender.clone()));
            crew.boards.insert(id.clone(), board);
            crew.places.insert(id, Place { inbox: sender, clock: host.clock_of(pipeline) });
            crew.replays.push(end);
        }
        Ok(crew)
    }
}

/// What every part of a host shares.
#[derive(Clone)]
struct Host {
    /// The settings in force; the reloader owns them.
    settings: watch::Receiver<Arc<Config>>,
    sandbox: Sandbox,
    stores: Stores,
    upkeep: Arc<dyn Upkeep>,
    quiet: Arc<RwLock<()>>,
    no_room: watch::Receiver<Option<String>>,
    table: RouteTable,
    /// The simulated clocks of pipelines whose history is replayed.
    replayed: Arc<BTreeMap<PipelineId, Arc<SimulatedClock>>>,
    rows_per_second: Option<u32>,
}

impl Host {
    fn open(
        settings: watch::Receiver<Arc<Config>>,
        state: &StateFolder,
        no_room: watch::Receiver<Option<String>>,
        options: &Options,
    ) -> Result<Host, Failure> {
        let config = Arc::clone(&settings.borrow());
        let sandbox = compose::sandbox(&config, state)?;
        let stores = compose::stores(state, Arc::new(SystemClock));
        // Rows without an event time of their own have the system's.
        let timed = config.pipelines.iter().filter(|_| options.replay.is_some()).filter_map(|pipeline| {
            let time = pipeline.contract.time.as_ref()?;
            let start = if time.unit.is_some() { time.origin_us } else { REPLAY_START_US };
            Some((pipeline.id.clone(), Arc::new(SimulatedClock::new(Timestamp(start)))))
        });
        let replayed: BTreeMap<_, _> = timed.collect();
        let table = RouteTable::new(&config);
        let (upkeep, quiet) = (Arc::clone(&state.meta) as _, Arc::new(RwLock::new(())));
        Ok(Host { settings, sandbox, stores, upkeep, quiet, no_room, table, replayed: Arc::new(replayed), rows_per_second: options.replay })
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.settings.borrow())
    }

    fn clock_of(&self, pipeline: &PipelineConfig) -> Arc<dyn Clock> {
        match self.replayed.get(&pipeline.id) {
            Some(clock) => Arc::clone(clock) as _,
            None => Arc::new(SystemClock),
        }
    }

    /// The clock of requests: the system's, or the only pipeline's where that is simulated.
    fn request_clock(&self) -> Arc<dyn Clock> {
        match self.replayed.values().next() {
            Some(clock) if self.replayed.len() == 1 => Arc::clone(clock) as _,
            _ => Arc::new(SystemClock),
        }
    }

    fn reloader(
        &self,
        settings: watch::Sender<Arc<Config>>,
        only: Option<PipelineId>,
        places: BTreeMap<PipelineId, Place>,
        in_use: &BTreeMap<PluginName, Digest>,
        stop: CancellationToken,
    ) -> Result<Reloader, Failure> {
        let config = self.config();
        let loaded = in_use.keys().map(|name| load_plugin(&config, &self.sandbox, name)).collect::<Result<_, _>>()?;
        Reloader::new(settings, only, self.sandbox.clone(), places, loaded, stop)
    }
}

/// Keeps the actor of one pipeline alive: one that breaks off for a bug of ours is opened again from what is committed.
struct Keeper {
    host: Host,
    pipeline: PipelineId,
    board: Board,
    replay_ended: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Keeper {
    async fn open(&self) -> Result<Actor, Failure> {
        let host = &self.host;
        let in_force = host.config();
        let pipeline = in_force.pipeline(Some(self.pipeline.as_str()))?.clone();
        let clock = host.clock_of(&pipeline);
        let (config, sandbox, of) = (Arc::clone(&in_force), host.sandbox.clone(), pipeline.clone());
        let plugins = tokio::task::spawn_blocking({
            let clock = Arc::clone(&clock);
            move || compose::plugins(&config, &of, &sandbox, &clock)
        });
        let plugins = plugins.await.map_err(|error| Failure::from(anyhow::Error::new(error)))??;
        let stores = Stores { clock: Arc::clone(&clock), ..host.stores.clone() };
        let watch = Watch { pipeline: self.pipeline.clone(), board: self.board.clone() };
        let mut settings = compose::settings(&pipeline, GateRows::Arriving, in_force.plugins.failures);
        let replay = self.replay(&pipeline);
        match &replay {
            // Nobody asks while a history goes by.
            Some(replay) => settings.poll_rows_max = replay.step_rows,
            None => settings.rollout = pipeline.rollout.as_ref().map(|rollout| rollout.settings.clone()),
        }
        let mut opened = Pipeline::open(settings, plugins, stores.clone(), Box::new(watch)).await?;
        if let (Some(replay), Some(last)) = (&replay, opened.last_event_time()) {
            replay.clock.advance_to(last);
        }
        let mut router = Router::new(host.settings.clone(), self.pipeline.clone(), stores, host.sandbox.clone(), host.table.clone());
        // Before anybody listens: whoever served before the start answers the first request.
        if let Err(failure) = router.refresh(&mut opened).await {
            tracing::error!(pipeline = %self.pipeline, "who answers is not all announced: {}", failure.line());
        }
        let (upkeep, quiet, no_room) = (Arc::clone(&host.upkeep), Arc::clone(&host.quiet), host.no_room.clone());
        let check = Check {
            settings: in_force.file.path.clone(),
            pipeline: self.pipeline.clone(),
            answer_ms_max: pipeline.rollout.as_ref().map_or(u64::MAX, |rollout| rollout.answer_ms_max),
        };
        Ok(Actor { check, pipeline: opened, board: self.board.clone(), router, replay, upkeep, quiet, no_room, stop: self.stop.clone() })
    }

    fn replay(&self, pipeline: &PipelineConfig) -> Option<Replay> {
        Some(Replay {
            clock: Arc::clone(self.host.replayed.get(&self.pipeline)?),
            step_rows: u32::try_from(self.host.config().backtest.step_rows).unwrap_or(u32::MAX),
            rows_per_second: self.host.rows_per_second?,
            label_delay_us: pipeline.contract.label.delay_us,
            ended: self.replay_ended.clone(),
        })
    }

    async fn keep(self, first: Actor, inbox: mpsc::Receiver<Message>) {
        // The inbox outlives an actor, so that whoever sends into it need not know.
        let inbox = Arc::new(Mutex::new(inbox));
        let mut next = Some(first);
        while !self.stop.is_cancelled() {
            let actor = match next.take() {
                Some(actor) => actor,
                None => match self.open().await {
                    Ok(actor) => actor,
                    Err(failure) => {
                        tracing::error!(pipeline = %self.pipeline, "could not be opened again: {}", failure.line());
                        self.board.write(|live| live.stalled = Some(failure.line()));
                        self.pause().await;
                        continue;
                    }
                },
            };
            let (shared, runtime) = (Arc::clone(&inbox), tokio::runtime::Handle::current());
            // A thread of its own: whatever a pipeline waits for, requests are read on.
            let run = move || runtime.block_on(async { actor.run(&mut *shared.lock().await).await });
            let done = tokio::task::spawn_blocking(run).await;
            if let Err(error) = done {
                tracing::error!(pipeline = %self.pipeline, %error, "a pipeline broke off; it is opened again");
                self.board.write(|live| live.stalled = Some("it broke off, and is opened again".to_owned()));
                self.pause().await;
            }
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(RESTART_MS)) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Carries out what comes through the control socket.
#[derive(Clone)]
struct Orders {
    settings: watch::Receiver<Arc<Config>>,
    stores: Stores,
    collecting: mpsc::Sender<oneshot::Sender<Answer>>,
    labels: Labels,
    reloader: Arc<Reloader>,
}

impl Orders {
    async fn execute(self, pipeline: PipelineId, command: Command) -> Answer {
        match command {
            Command::Labels { labels } => match self.labels.add(&pipeline, labels).await {
                Ok(added) => Answer::Labelled { added: added.added, unchanged: added.unchanged },
                Err(error) => crate::commands::label_failure(&error).into(),
            },
            Command::Reload { plugins, accept } => {
                Answer::Reloaded { attempts: self.reloader.look(Look { only: plugins, again: true, accept }).await }
            }
            Command::ReloadSettings { accept } => {
                let attempt = self.reloader.look_at_settings(&Look { only: Vec::new(), again: true, accept }).await;
                Answer::SettingsReloaded { attempt: attempt.map(Box::new) }
            }
            Command::ShowSettings => self.reloader.show_settings().await,
            Command::TakeBack { plugin, reason, operator } => {
                match self.reloader.take_back(&plugin, &format!("{operator} said so: {reason}")).await {
                    Ok(attempt) => Answer::Reloaded { attempts: vec![attempt] },
                    Err(failure) => failure.into(),
                }
            }
            Command::Collect => {
                let (answer, told) = oneshot::channel();
                let stopping = || Failure::from(anyhow::anyhow!("the host is stopping")).into();
                match self.collecting.send(answer).await {
                    Ok(()) => told.await.unwrap_or_else(|_| stopping()),
                    Err(_) => stopping(),
                }
            }
            Command::AcceptContract { reason, operator } => self.accept_contract(&pipeline, &operator, &reason).await,
            command => {
                let gone = || Failure::from(anyhow::anyhow!("pipeline `{pipeline}` does not run here")).into();
                let Some((_, inbox)) = self.labels.pipelines.get(&pipeline) else { return gone() };
                let (answer, told) = oneshot::channel();
                if inbox.send(Message::Command(command, answer)).await.is_err() {
                    return gone();
                }
                told.await.unwrap_or_else(|_| gone())
            }
        }
    }
}

impl Orders {
    async fn accept_contract(&self, pipeline: &PipelineId, operator: &str, reason: &str) -> Answer {
        let config = Arc::clone(&self.settings.borrow());
        let settings = match config.pipeline(Some(pipeline.as_str())) {
            Ok(settings) => settings,
            Err(error) => return Failure::from(error).into(),
        };
        match accept_contract(&self.stores, pipeline, &settings.contract, operator, reason).await {
            Ok(difference) => {
                if let Some((_, inbox)) = self.labels.pipelines.get(pipeline) {
                    // A full inbox is one that will be looked at anyway.
                    let _ = inbox.try_send(Message::Mended);
                }
                Answer::Accepted { difference }
            }
            Err(error) => Failure::from(error).into(),
        }
    }
}

/// Looks at the settings and at the plugin folder whenever the process is told to, by SIGHUP.
async fn reload_when_told(reloader: Arc<Reloader>, stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut told) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            _ = told.recv() => {}
            () = stop.cancelled() => return,
        }
        let look = Look { only: Vec::new(), again: true, accept: false };
        reloader.look_at_settings(&look).await;
        reloader.look(look).await;
    }
}

/// The file of tokens; on the first start one token to label and one to operate are made, and shown once.
fn tokens(config: &Config, terminal: &Terminal) -> Result<TokenFile, Failure> {
    let path = config.tokens_file();
    let tokens = TokenFile::open(path).map_err(unserved)?;
    if tokens.is_empty() {
        for (name, role) in [("first-label", TokenRole::Label), ("first-operate", TokenRole::Operate)] {
            let secret = tokens.create(name, role, SystemClock.now()).map_err(unserved)?;
            let word = role.word();
            terminal.said(&format!("token to {word}, shown once: {secret}"), || json!({ "token": secret, "role": word }));
        }
    }
    Ok(tokens)
}

/// Returns when the process is asked to end: Ctrl-C, or SIGTERM.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn all_ended(replays: Vec<watch::Receiver<bool>>) {
    for mut replay in replays {
        // A sender that is gone has ended, too.
        let _ = replay.wait_for(|ended| *ended).await;
    }
}
