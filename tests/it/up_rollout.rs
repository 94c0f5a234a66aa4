//! A version takes over requests step by step through the real binary: it is checked in a process of its own, gets copies, answers a
//! share, and serves; or is taken back, and no request fails for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::client::Client;
use crate::harbour::{Minute, arrive, ask, labels, minutes, settings, with_champion};
use crate::host::World;
use crate::rows::Rows;
use crate::service::{Service, wait};
use crate::up_reload::{build, install};

/// The first id that is asked about and never ingested.
const ASKED_FROM: u64 = 100_000;

/// The harbour's settings with a cleaner that requests pass through, and a rollout of `keys`.
fn rolling(keys: &str) -> String {
    let cleaners = "cleaners = [{";
    let base = settings();
    assert_eq!(base.matches(cleaners).count(), 1, "the base settings list cleaners once");
    let base = base.replace(cleaners, "cleaners = [{ plugin = \"turncoat-cleaner\", config = {}, serving = true }, {");
    format!("{base}\n[pipeline.harbour.rollout]\n{keys}\n")
}

/// Rows in which the wind means the opposite, until a second version has passed its gate.
fn until_second_passes(world: &World, service: &Service) {
    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    let turned = minutes(Rows { first_day: 1_100, count: 700, seed: 2, noise: 0.1, flipped: true });
    for rows in [&turned[..499], &turned[499..500], &turned[500..]] {
        arrive(world, rows);
        let upto = rows.last().map(|last| last.minute + 1);
        service.until("harbour", "the rows are in", |pipeline| pipeline["rows"].as_u64() == upto);
        if upto == Some(1_600) {
            service.until("harbour", "the gate waits", |pipeline| pipeline["run"]["waiting_rows"] == 200);
        }
        assert_eq!(labeller.post("/v1/labels", &labels(rows)).status, 200);
    }
}

/// Requests by several clients at once, each of one row that nobody has asked about, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    /// Requests answered by each of the first versions, and those that failed.
    answered: Arc<[AtomicU64; 4]>,
    failed: Arc<AtomicU64>,
    /// What the wind is, in hundredths.
    wind: Arc<AtomicU64>,
}

impl Load {
    fn start(service: &Service) -> Load {
        let (stop, wind, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(50)), Arc::new(AtomicU64::new(0)));
        let (answered, next) = (Arc::new([const { AtomicU64::new(0) }; 4]), Arc::new(AtomicU64::new(ASKED_FROM)));
        let client = |_| {
            let (stop, wind, failed, answered, next) =
                (Arc::clone(&stop), Arc::clone(&wind), Arc::clone(&failed), Arc::clone(&answered), Arc::clone(&next));
            let address = service.address();
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                while !stop.load(Ordering::Relaxed) {
                    let minute = next.fetch_add(1, Ordering::Relaxed);
                    let wind = wind.load(Ordering::Relaxed) as f64 / 100.0;
                    let reply = ask(&mut client, &[Minute { minute, wind, swell: 0.1, closed: "1".to_owned() }]);
                    let version = reply.json()["model_version"].as_str().and_then(|version| version[1..].parse::<usize>().ok());
                    match version.filter(|_| reply.status == 200) {
                        Some(version) => answered[version].fetch_add(1, Ordering::Relaxed),
                        None => failed.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        };
        let clients = (0..3).map(client).collect();
        Load { stop, clients, answered, failed, wind }
    }

    fn answered_by(&self, version: usize) -> u64 {
        self.answered[version].load(Ordering::Relaxed)
    }

    /// Stops; how many requests failed.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.failed.load(Ordering::Relaxed)
    }
}

/// What the journal tells of rollouts.
fn story(world: &World) -> Vec<String> {
    let journal = world.json(&["journal", "show"]);
    let rollout = |entry: &&Value| entry["kind"] == "rollout";
    let told = |entry: &Value| format!("{} {}", entry["body"]["stage"].as_str().unwrap(), entry["body"]["verdict"].as_str().unwrap());
    journal.as_array().unwrap().iter().filter(rollout).map(told).collect()
}

#[test]
fn a_version_takes_over_requests_and_serves() {
    let world = World::new(&rolling("shadow_requests = 20\ncanary = [10, 50]\nrequests_max = 120\nburn_in = 20\nmetrics = [\"errors\"]"));
    install(&world, &build("plain"));
    let (service, _) = with_champion(&world);
    until_second_passes(&world, &service);
    let shadow = service.until("harbour", "it is checked", |pipeline| pipeline["rollout"]["stage"] == "shadow");
    let reason = shadow["rollout"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("next step: a fresh process loaded it in ") && reason.contains(" it answered 64 rows"), "{reason}");
    assert_eq!((&shadow["champion"]["version"], &shadow["rollout"]["version"]), (&1.into(), &2.into()), "nobody has asked yet");

    let load = Load::start(&service);
    let served = service.until("harbour", "it serves", |pipeline| pipeline["champion"]["version"] == 2);
    assert_eq!((&served["rollout"], &served["champion"]["by"]), (&Value::Null, &"the rollout".into()));
    let before = load.answered_by(2);
    wait("the new version answers everybody", || (load.answered_by(2) > before + 50).then_some(()));
    assert!(load.answered_by(1) > 0, "the champion answered meanwhile");
    assert_eq!(load.stop(), 0, "requests failed");
    assert_eq!(story(&world), ["shadow next-step", "canary next-step", "canary next-step"]);
    let told = world.run(["explain", "v2"]);
    assert!(told.stdout.contains(": promote by the gate, look 1") && told.stdout.contains(": promote by the rollout"), "{}", told.stdout);
    service.stop();
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}

#[test]
fn a_canary_that_fails_is_taken_back_and_no_request_notices() {
    let world = World::new(&rolling("shadow_requests = 5\ncanary = [50]\nrequests_max = 1_000_000\nmetrics = [\"errors\"]"));
    install(&world, &build("plain"));
    let (service, _) = with_champion(&world);
    // The second version learns behind a build that cannot take much wind; requests of the first pass the old one.
    install(&world, &build("brittle"));
    until_second_passes(&world, &service);
    let load = Load::start(&service);
    wait("the canary answers", || (load.answered_by(2) > 20).then_some(()));
    load.wind.store(9_500, Ordering::Relaxed);
    let after = service.until("harbour", "it is taken back", |pipeline| pipeline["rollout"].is_null());
    assert_eq!(after["champion"]["version"], 1);
    let canary = load.answered_by(2);
    let before = load.answered_by(1);
    wait("the champion answers everybody", || (load.answered_by(1) > before + 100).then_some(()));
    assert_eq!(load.answered_by(2), canary, "nobody is sent to it any more");
    assert_eq!(load.stop(), 0, "requests failed");
    let versions = world.json(&["models"]);
    let second = versions.as_array().unwrap().iter().find(|version| version["version"]["number"] == 2).unwrap();
    assert_eq!(second["version"]["state"], "quarantined", "{second}");
    let told = world.run(["explain", "v2"]);
    let why = "rolled back: the canary answered with an internal error, which stops it at once";
    assert!(told.stdout.contains(": reject by the rollout") && told.stdout.contains(why), "{}", told.stdout);
    service.stop();
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}

#[test]
fn an_operator_takes_a_version_back_while_it_is_rolled_out() {
    let world = World::new(&rolling("shadow_requests = 1_000_000"));
    install(&world, &build("plain"));
    let (service, _) = with_champion(&world);
    until_second_passes(&world, &service);
    service.until("harbour", "it gets copies", |pipeline| pipeline["rollout"]["stage"] == "shadow");
    let busy = world.run(["run", "--force"]);
    assert_eq!(busy.code, Some(1), "{}", busy.stderr);
    assert!(busy.stderr.starts_with("error: no run starts while v2 is rolled out"), "{}", busy.stderr);
    service.stop();
    // What is left behind by a host that has stopped waits for the next, or for a person.
    let service = Service::start(&world);
    service.until("harbour", "it gets copies again", |pipeline| pipeline["rollout"]["stage"] == "shadow");
    service.stop();
    // The champion answers, whatever has become of the version that is rolled out.
    let versions = world.json(&["models"]);
    let second = versions.as_array().unwrap().iter().find(|version| version["version"]["number"] == 2).unwrap();
    let weights = second["version"]["weights"].as_str().unwrap();
    let weights = weights.rsplit(':').next().unwrap();
    let blob = world.path(&format!("state/blobs/{}/{}/{weights}", &weights[..2], &weights[2..4]));
    std::fs::remove_file(&blob).unwrap();
    let service = Service::start(&world);
    let waits = service.until("harbour", "it does not load", |pipeline| pipeline["rollout"]["stage"] == "shadow");
    let reason = waits["rollout"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("waits: v2 does not load, and is tried again: "), "{reason}");
    let reply = ask(&mut Client::new(service.address()), &[Minute { minute: ASKED_FROM, wind: 0.5, swell: 0.1, closed: "1".to_owned() }]);
    assert_eq!((reply.status, &reply.json()["model_version"]), (200, &"v1".into()));
    let taken = world.json(&["rollback", "--reason", "second thoughts"]);
    assert_eq!((&taken["kind"], &taken["version"]), (&"reject".into(), &2.into()));
    let after = service.pipeline("harbour");
    assert_eq!((&after["champion"]["version"], &after["rollout"]), (&1.into(), &Value::Null));
    service.stop();
}
