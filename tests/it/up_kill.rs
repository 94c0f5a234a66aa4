//! `kill -9` at a hundred instants of a living host under load: rows arrive, requests are answered, labels come back, versions are
//! trained. After each the next start goes on, and in the end every row, label and logged prediction is there once.
//!
//! Stated loss: predictions of the last moment before a kill may not be in the log. What a label was accepted for is in it for good:
//! the ids that are asked about here are never ingested, so that a label for one proves that its prediction was logged.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::client::Client;
use crate::harbour::{Minute, arrive, labels, minutes, settings};
use crate::host::World;
use crate::rows::{Chance, Rows};
use crate::service::{Service, wait};

/// Kills in all.
const KILLS: u32 = 100;
/// Minutes that arrive in one life.
const ARRIVING: u64 = 12;
/// The first id that is asked about and never ingested.
const ASKED_FROM: u64 = 10_000;
/// Requests of one life at most.
const REQUESTS_MAX: u64 = 80;
/// One life in so many is killed while it starts.
const STARTING: u64 = 4;

/// What the world outside knows.
#[derive(Default)]
struct Ledger {
    /// Minutes in the growing file.
    arrived: u64,
    /// Requests sent in this life.
    requests: u64,
    /// Ids that were asked about.
    asked: BTreeSet<u64>,
    /// Of these, ids whose answer came.
    answered: BTreeSet<u64>,
    /// Of these, ids whose answer came in an earlier life: a kill may have taken their place in the log.
    before: BTreeSet<u64>,
    /// Of these, ids that are not in the log.
    lost: BTreeSet<u64>,
    /// Labels that were acknowledged.
    acknowledged: BTreeSet<u64>,
    /// Labels that were sent; those of the request in flight may have been kept or not.
    sent: BTreeSet<u64>,
}

#[test]
fn a_killed_host_loses_and_doubles_nothing() {
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x71DE);
    eprintln!("seed {seed}; `KILL_SEED=N` takes another");
    let mut chance = Chance(seed);
    let world = World::new(&settings());
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    first_champion(&world, &ledger);
    let (mut under_load, mut at_start) = (0, 0);
    for kill in 0..KILLS {
        more_rows(&world, &ledger, ARRIVING);
        let mut life = Life::start(&world);
        if chance.below(STARTING) == 0 {
            life.seen(chance.below(12) as usize);
            at_start += 1;
        } else {
            let address = life.address();
            let load = load(address, &ledger);
            let after = chance.below(REQUESTS_MAX);
            wait("the load goes on", || (ledger.lock().unwrap().requests >= after || load.is_finished()).then_some(()));
            assert!(!load.is_finished(), "kill {kill}: the host broke a connection by itself: {:?}", life.said());
            life.kill();
            load.join().unwrap();
            under_load += 1;
        }
        life.kill();
        consistent(&world, &format!("kill {kill}, seed {seed}"));
    }
    eprintln!("{under_load} kills under load, {at_start} while starting");
    assert!(under_load >= KILLS / 2 && at_start >= KILLS / 20, "{under_load} under load, {at_start} while starting");
    accounted_for(&world, &ledger);
}

/// An unbroken life until somebody serves: rows that have their labels when the next one makes a run due, then rows to judge on.
fn first_champion(world: &World, ledger: &Mutex<Ledger>) {
    let mut service: Option<Service> = None;
    let mut first = 0;
    for count in [799, 1, 250] {
        more_rows(world, ledger, count);
        let service = service.get_or_insert_with(|| Service::start(world));
        service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == first + count);
        let known = minutes(Rows { first_day: first, count, seed: 1, noise: 0.1, flipped: false });
        let mut client = Client::with_token(service.address(), &service.token("label").unwrap());
        assert_eq!(client.post("/v1/labels", &labels(&known)).status, 200);
        first += count;
    }
    let service = service.unwrap();
    service.until("harbour", "somebody serves", |pipeline| !pipeline["champion"].is_null());
    let mut ledger = ledger.lock().unwrap();
    ledger.acknowledged.extend(0..first);
    ledger.sent.extend(0..first);
    world.write("token", service.token("label").unwrap());
    service.stop();
}

fn more_rows(world: &World, ledger: &Mutex<Ledger>, count: u64) {
    let mut ledger = ledger.lock().unwrap();
    arrive(world, &minutes(Rows { first_day: ledger.arrived, count, seed: 1, noise: 0.1, flipped: false }));
    ledger.arrived += count;
    ledger.requests = 0;
    ledger.before = ledger.answered.clone();
}

/// Asks and labels, one request after the other, until the connection breaks.
fn load(address: SocketAddr, ledger: &Arc<Mutex<Ledger>>) -> std::thread::JoinHandle<()> {
    let ledger = Arc::clone(ledger);
    let token = LABEL_TOKEN.lock().unwrap().clone();
    std::thread::spawn(move || {
        let (mut asking, mut labelling) = (Client::new(address), Client::with_token(address, &token));
        while step(&mut asking, &mut labelling, &ledger).is_ok() {}
    })
}

/// The label token of the one world that this test has.
static LABEL_TOKEN: Mutex<String> = Mutex::new(String::new());

fn step(asking: &mut Client, labelling: &mut Client, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
    let (id, due) = {
        let mut ledger = ledger.lock().unwrap();
        ledger.requests += 1;
        let id = ledger.asked.last().map_or(ASKED_FROM, |last| last + 1);
        let due: Vec<u64> = ledger.answered.difference(&ledger.sent).filter(|id| !ledger.lost.contains(id)).copied().collect();
        (id, due)
    };
    if due.len() >= 5 {
        let known: Vec<u64> = {
            let ledger = ledger.lock().unwrap();
            due.iter().filter(|id| !ledger.before.contains(id)).copied().collect()
        };
        // Those of this life are in the log by the time that a label asks for them; of those before, some may be lost.
        let due = if known.len() >= 5 { known } else { due };
        ledger.lock().unwrap().sent.extend(&due);
        let truth: Vec<Minute> = due.iter().map(|id| minute(*id)).collect();
        let reply = labelling.send("POST", "/v1/labels", &labels(&truth).to_string())?;
        let mut ledger = ledger.lock().unwrap();
        if reply.status == 422 {
            let lost =
                reply.json()["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect::<BTreeSet<u64>>();
            assert!(lost.is_subset(&ledger.before), "answers of this very life are lost: {lost:?}");
            due.iter().for_each(|id| _ = ledger.sent.remove(id));
            ledger.lost.extend(lost);
            return Ok(());
        }
        assert_eq!(reply.status, 200, "labels for {due:?}: {}", reply.body);
        ledger.acknowledged.extend(&due);
        return Ok(());
    }
    ledger.lock().unwrap().asked.insert(id);
    let reply = crate::harbour::send(asking, &[minute(id)])?;
    assert_eq!(reply.status, 200, "{}", reply.body);
    ledger.lock().unwrap().answered.insert(id);
    Ok(())
}

/// A minute that nobody ingests, with its truth.
fn minute(id: u64) -> Minute {
    minutes(Rows { first_day: id, count: 1, seed: id, noise: 0.1, flipped: false }).remove(0)
}

/// What has to hold after every kill.
fn consistent(world: &World, when: &str) {
    let verified = world.run(["journal", "verify"]);
    assert_eq!(verified.code, Some(0), "{when}: {}", verified.stderr);
    let models = world.json(&["models"]);
    let champions = models.as_array().unwrap().iter().filter(|version| version["aliases"].to_string().contains("champion")).count();
    assert_eq!(champions, 1, "{when}: {models:#}");
}

/// A last life, and what came of everything.
fn accounted_for(world: &World, ledger: &Mutex<Ledger>) {
    let ledger = ledger.lock().unwrap();
    let service = Service::start(world);
    let settled = service.until("harbour", "every row is in", |pipeline| pipeline["rows"] == ledger.arrived);
    let mut client = Client::with_token(service.address(), &LABEL_TOKEN.lock().unwrap());
    let again = |ids: Vec<u64>| -> Vec<Minute> { ids.into_iter().map(minute).collect() };
    // Labels of predictions that were acknowledged are known, and so are the predictions.
    let acknowledged = again(ledger.acknowledged.range(ASKED_FROM..).copied().collect());
    let count = acknowledged.len();
    assert_eq!(client.post("/v1/labels", &labels(&acknowledged)).json(), json!({ "added": 0, "unchanged": count }));
    // The request in flight was kept whole or not at all; sending it again leaves one label each.
    for id in ledger.sent.difference(&ledger.acknowledged) {
        let status = client.post("/v1/labels", &labels(&again(vec![*id]))).status;
        assert!(status == 200 || status == 422, "label {id}: {status}");
    }
    let labelled =
        service.until("harbour", "labels are counted", |pipeline| pipeline["labels"].as_u64().is_some())["labels"].as_u64().unwrap();
    let (least, most) = (ledger.acknowledged.len() as u64, ledger.sent.len() as u64);
    assert!((least..=most).contains(&labelled), "{labelled} labels, {least} were acknowledged and {most} sent");
    let predictions = settled["predictions"].as_u64().unwrap();
    let (least, most) = (count as u64, ledger.asked.len() as u64);
    assert!((least..=most).contains(&predictions), "{predictions} predictions logged, {least} were labelled and {most} asked for");
    let (answered, lost, arrived) = (ledger.answered.len(), ledger.lost.len(), ledger.arrived);
    eprintln!("{predictions} predictions logged of {answered} answered, {lost} seen to be lost, {labelled} labels, {arrived} rows");
    service.stop();
    let journal = world.json(&["journal", "show"]);
    let of = |kind: &str| {
        journal.as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).map(|entry| entry["body"].clone()).collect::<Vec<_>>()
    };
    // Raw parts follow one another without a gap and without an overlap; every label was looked at once.
    let end = of("ingest").iter().filter(|body| !body["rows"].is_null()).fold(json!(0), |end, body| {
        assert_eq!(body["rows"][0], end, "rows were lost or doubled");
        body["rows"][1].clone()
    });
    assert_eq!(end, ledger.arrived);
    let scored: u64 = of("labels").iter().map(|body| body["count"].as_u64().unwrap()).sum();
    assert_eq!(scored, labelled, "labels were looked at more or less than once");
}

/// A host that is going to be killed.
struct Life {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Life {
    fn start(world: &World) -> Life {
        let mut token = LABEL_TOKEN.lock().unwrap();
        if token.is_empty() {
            *token = world.read("token");
        }
        let mut command = world.command(["up", "--listen", "127.0.0.1:0", "--json", "--log", "debug"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stderr) = (Arc::clone(&lines), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        Life { child, lines }
    }

    fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Returns once it has said so many lines, or listens.
    fn seen(&mut self, lines: usize) {
        wait("the host starts", || {
            let said = self.said();
            assert!(self.child.try_wait().unwrap().is_none(), "the host ended by itself: {said:?}");
            (said.len() >= lines || listening(&said).is_some()).then_some(())
        });
    }

    fn address(&mut self) -> SocketAddr {
        self.seen(usize::MAX);
        listening(&self.said()).unwrap()
    }

    /// SIGKILL: the process has no chance to tidy up.
    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listening(said: &[String]) -> Option<SocketAddr> {
    said.iter().find_map(|line| serde_json::from_str::<Value>(line).ok()?["listening"].as_str()?.parse().ok())
}
