//! The loop closes by itself: rows arrive, answers are given, the truth comes late, and the host learns from it.

use serde_json::{Value, json};

use crate::client::Client;
use crate::harbour::{Minute, arrive, ask, labels, labels_file, minutes, right, settings};
use crate::host::World;
use crate::rows::Rows;
use crate::server::{Asked, Server};
use crate::service::{Service, wait};

/// Phases of the harbour's life: how many minutes, how much chance, whether the wind means the opposite.
const COLD: Phase = Phase { count: 800, noise: 0.1, flipped: false };
const FIRST_GATE: Phase = Phase { count: 250, ..COLD };
const CALM: Phase = Phase { count: 200, ..COLD };
const DRIFT: Phase = Phase { count: 250, flipped: true, ..COLD };
const FOG: Phase = Phase { count: 200, noise: 100.0, flipped: true };
const CLEAR: Phase = Phase { count: 300, ..DRIFT };
const AFTER: Phase = Phase { count: 10, ..DRIFT };

struct Phase {
    count: u64,
    noise: f64,
    flipped: bool,
}

/// A host at work, and the harbour that it watches.
struct Harbour {
    world: World,
    hook: Server,
    service: Service,
    labeller: Client,
    minute: u64,
}

impl Harbour {
    fn start() -> Harbour {
        let hook = Server::start(|_| (200, vec![], "thanks".to_owned()));
        let world = World::new(&watched(hook.port())).lock();
        arrive(&world, &[]);
        let service = Service::start(&world);
        let labeller = Client::with_token(service.address(), &service.token("label").unwrap());
        Harbour { world, hook, service, labeller, minute: 0 }
    }

    /// The next minutes; nobody has heard of them yet.
    fn next(&mut self, phase: &Phase) -> Vec<Minute> {
        let rows = Rows { first_day: self.minute, count: phase.count, seed: self.minute + 1, noise: phase.noise, flipped: phase.flipped };
        self.minute += phase.count;
        minutes(rows)
    }

    /// Minutes arrive in the growing file, and are taken in.
    fn arrive(&self, minutes: &[Minute]) {
        arrive(&self.world, minutes);
        let rows = minutes.last().unwrap().minute + 1;
        self.until(&format!("{rows} rows are in"), |pipeline| pipeline["rows"] == rows);
    }

    /// The truth about minutes comes, an hour late.
    fn label(&mut self, minutes: &[Minute]) {
        let reply = self.labeller.post("/v1/labels", &labels(minutes));
        assert_eq!((reply.status, reply.json()), (200, json!({ "added": minutes.len(), "unchanged": 0 })));
    }

    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.service.until("harbour", what, is)
    }

    /// Waits until requests are answered by `version`.
    fn served_by(&self, version: &str, minutes: &[Minute]) -> f64 {
        let mut client = self.service.client();
        let reply = wait(&format!("{version} answers"), || {
            let reply = ask(&mut client, minutes);
            (reply.status == 200 && reply.json()["model_version"] == version).then_some(reply)
        });
        right(&reply, minutes)
    }
}

/// The harbour's settings with a trigger on errors, and an alerter that posts to `port`.
fn watched(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/hooks/harbour");
    let alerters = format!(r#"alerters = [{{ plugin = "webhook", config = {{ url = "{url}" }} }}]"#);
    let grant = format!(r#"http = [{{ host = "127.0.0.1", port = {port}, methods = ["POST"], path = "/hooks/" }}]"#);
    let trigger = "[[pipeline.harbour.trigger]]\nkind = \"error\"\ndetector = \"adwin\"\ncooldown_rows = 300\n";
    let settings = settings().replace(r#"alerters = [{ plugin = "log" }]"#, &alerters);
    settings.replace("[pipeline.harbour.gate]", &format!("{trigger}\n[pipeline.harbour.gate]"))
        + &format!("\n[plugin.webhook.grant]\n{grant}\n")
}

#[test]
fn the_loop_closes_by_itself() {
    let mut harbour = Harbour::start();
    first_champion(&mut harbour);
    drift_is_learned(&mut harbour);
    an_operator_steps_in(&mut harbour);
    let Harbour { world, hook, service, .. } = harbour;
    let alerts: Vec<String> = hook.asked().iter().map(title).collect();
    assert_eq!(alerts, ["v1 of `harbour` is champion", "v2 of `harbour` is champion", "v1 of `harbour` is champion again"]);
    let running = world.json(&["journal", "show"]);
    service.stop();
    let stopped = world.json(&["journal", "show"]);
    assert!(stopped.as_array().unwrap().starts_with(running.as_array().unwrap()), "what a running host shows, stays");
    told(&stopped);
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}

fn title(asked: &Asked) -> String {
    let alert: Value = serde_json::from_str(&asked.body).unwrap();
    alert["title"].as_str().unwrap().to_owned()
}

/// From nothing to a champion that a gate let through.
fn first_champion(harbour: &mut Harbour) {
    let cold = harbour.next(&COLD);
    let nobody = ask(&mut harbour.service.client(), &cold[..1]);
    assert_eq!(nobody.status, 503, "{}", nobody.body);
    assert!(nobody.refusal().starts_with("nobody serves `harbour` yet"), "{}", nobody.body);
    // All but one row have their labels when the last row makes the run due.
    let (known, last) = cold.split_at(cold.len() - 1);
    harbour.arrive(known);
    harbour.label(known);
    harbour.arrive(last);
    let waiting = harbour.until("the gate waits", |pipeline| pipeline["run"]["waiting_rows"] == 200);
    assert_eq!(waiting["run"]["trigger"], "800 new rows arrived, 800 were awaited");
    harbour.label(last);
    let arriving = harbour.next(&FIRST_GATE);
    harbour.arrive(&arriving);
    harbour.label(&arriving);
    assert!(harbour.served_by("v1", &arriving) > 0.9);
}

/// Answers are given, turn out right, then turn out wrong; a better version is held until its case is clear.
fn drift_is_learned(harbour: &mut Harbour) {
    let calm = harbour.next(&CALM);
    assert!(harbour.served_by("v1", &calm[..100]) > 0.9);
    harbour.arrive(&calm);
    harbour.label(&calm);
    harbour.until("the answers were looked at", |pipeline| pipeline["champion"]["rows"] == 200);

    let drift = harbour.next(&DRIFT);
    assert!(harbour.served_by("v1", &drift[..125]) < 0.1);
    harbour.arrive(&drift);
    harbour.label(&drift);
    let waiting = harbour.until("the gate waits for the second version", |pipeline| pipeline["run"]["waiting_rows"] == 200);
    let trigger = waiting["run"]["trigger"].as_str().unwrap();
    assert!(trigger.starts_with("the share of wrong predictions rose from"), "{trigger}");

    let fog = harbour.next(&FOG);
    harbour.arrive(&fog);
    harbour.label(&fog);
    harbour.until("the second version is held", |pipeline| pipeline["decisions"][0][1]["kind"] == "hold");
    assert_eq!(harbour.until("v1 serves on", |_| true)["champion"]["version"], 1);

    let clear = harbour.next(&CLEAR);
    harbour.arrive(&clear);
    harbour.label(&clear);
    assert!(harbour.served_by("v2", &clear) > 0.9);
    harbour.until("answers are logged", |pipeline| pipeline["predictions"].as_u64() >= Some(250 + 100 + 125 + 300));
}

/// A rollback, labels and predictions by commands, beside the running host.
fn an_operator_steps_in(harbour: &mut Harbour) {
    let back = harbour.world.json(&["rollback", "--reason", "the fog was no fair judge"]);
    assert_eq!((&back["kind"], &back["version"], &back["parent"]), (&"roll-back".into(), &1.into(), &2.into()));
    let after = harbour.next(&AFTER);
    assert!(harbour.served_by("v1", &after) < 0.1);

    harbour.arrive(&after);
    harbour.world.write("late.csv", labels_file(&after));
    assert_eq!(harbour.world.json(&["labels", "late.csv"]), json!({ "added": 10, "unchanged": 0 }));
    assert_eq!(harbour.world.json(&["labels", "late.csv"]), json!({ "added": 0, "unchanged": 10 }));
    let labels = harbour.minute;
    harbour.until("all labels are in", |pipeline| pipeline["labels"] == labels);

    harbour.world.write("ask.csv", "minute,wind,swell\n9000,0.9,0.9\n9001,-0.9,-0.9\n9002,,0.1\n");
    let answered = harbour.world.run(["predict", "ask.csv"]);
    assert_eq!(answered.code, Some(0), "{}", answered.stderr);
    let lines: Vec<&str> = answered.stdout.lines().collect();
    assert!(lines[1].starts_with("0,9000,1,") && lines[2].starts_with("1,9001,0,"), "{}", answered.stdout);
    assert!(lines[3].starts_with("2,9002,,") && lines[3].ends_with("missing: missing"), "{}", answered.stdout);
}

/// The journal tells the story in its order.
fn told(journal: &Value) {
    let story: Vec<String> = journal.as_array().unwrap().iter().filter_map(chapter).collect();
    let expected = [
        "799 labels",
        "run 1 queued: 800 new rows arrived, 800 were awaited",
        "version 1 challenger",
        "1 labels",
        "250 labels",
        "decision: promote 1 by \"gate\"",
        "champion 1",
        "run 1 done",
        "200 labels",
        "250 labels",
        "run 2 queued: the share of wrong predictions rose",
        "version 2 challenger",
        "200 labels",
        "decision: hold 2 by \"gate\"",
        "300 labels",
        "decision: promote 2 by \"gate\"",
        "champion 2",
        "run 2 done",
        "decision: roll-back 1 by {\"operator\":\"tester\"}",
        "champion 1",
        "10 labels",
    ];
    assert_eq!(story, expected);
}

/// What an entry adds to the story, if it does.
fn chapter(entry: &Value) -> Option<String> {
    let body = &entry["body"];
    let to = body["to"].as_str();
    Some(match (entry["kind"].as_str()?, to) {
        ("labels", _) => format!("{} labels", body["count"]),
        ("run", Some("queued")) => {
            let trigger = body["trigger"].as_str()?;
            format!("run {} queued: {}", body["run"], trigger.split(" from ").next()?)
        }
        ("run", Some("done")) => format!("run {} done", body["run"]),
        ("version", Some("challenger")) => format!("version {} challenger", body["trained"]["number"]),
        ("decision", _) => {
            let decision = &body["decision"];
            format!("decision: {} {} by {}", decision["kind"].as_str()?, decision["version"], decision["by"])
        }
        ("alias", _) if body["alias"] == "champion" => format!("champion {}", body["to"]),
        _ => return None,
    })
}
