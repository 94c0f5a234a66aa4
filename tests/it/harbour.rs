//! A harbour whose truth comes late and by id: minutes on a simulated clock, the settings that read them, and what is asked about them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::host::World;
use crate::rows::Rows;
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// The first line of the rows: the truth is not among them.
const HEADER: &str = "minute,wind,swell\n";
/// Minutes until somebody knows whether the harbour was closed.
const KNOWN_AFTER: u64 = 60;

/// One minute, with its truth.
#[derive(Debug, Clone)]
pub struct Minute {
    /// Its number, which is its id too.
    pub minute: u64,
    /// What the model sees.
    pub wind: f64,
    /// What the model sees.
    pub swell: f64,
    /// The class that it turned out to have.
    pub closed: String,
}

/// The minutes that `rows` stand for.
pub fn minutes(rows: Rows) -> Vec<Minute> {
    let lines = rows.lines();
    let minute = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |index: usize| cells[index].parse::<f64>().unwrap();
        Minute { minute: cells[0].parse().unwrap(), wind: number(1), swell: number(2), closed: cells[3].to_owned() }
    };
    lines.lines().map(minute).collect()
}

/// The usual settings for such rows: labels by id, a small window, and a gate on what arrives.
pub fn settings() -> String {
    let changes = [
        (
            r#"time = { column = "day", unit = "d", origin = "2000-01-01" }"#,
            "id = \"minute\"\ntime = { column = \"minute\", unit = \"min\", origin = \"2001-05-01\" }",
        ),
        (r#"classes = ["0", "1"], delay = "1d" }"#, r#"classes = ["0", "1"], delay = "1h", by_id = true }"#),
        ("window_rows = 1000\nheld_out_rows = 300\n", "window_rows = 300\nheld_out_rows = 60\n"),
        ("new_rows = 500", "new_rows = 800"),
    ];
    changes.iter().fold(BASE.to_owned(), |settings, (old, new)| {
        assert_eq!(settings.matches(old).count(), 1, "the base settings hold `{old}` once");
        settings.replace(old, new)
    })
}

/// Adds rows to the growing file; the file keeps its inode.
pub fn arrive(world: &World, minutes: &[Minute]) {
    use std::io::Write as _;
    let path = world.path("input.csv");
    let mut text = if path.exists() { String::new() } else { HEADER.to_owned() };
    for Minute { minute, wind, swell, .. } in minutes {
        writeln!(text, "{minute},{wind},{swell}").unwrap();
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A host in `world` with a champion, and the minutes that it has seen.
pub fn with_champion(world: &World) -> (Service, Vec<Minute>) {
    arrive(world, &[]);
    let service = Service::start(world);
    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    let all = minutes(Rows { first_day: 0, count: 1_100, seed: 1, noise: 0.1, flipped: false });
    // The row that makes a run due comes when all others before it have their labels; the gate judges the rows behind it.
    for rows in [&all[..799], &all[799..800], &all[800..]] {
        arrive(world, rows);
        let upto = rows.last().map(|last| last.minute + 1);
        service.until("harbour", "the rows are in", |pipeline| pipeline["rows"].as_u64() == upto);
        if upto == Some(800) {
            service.until("harbour", "the gate waits", |pipeline| pipeline["run"]["waiting_rows"] == 200);
        }
        assert_eq!(labeller.post("/v1/labels", &labels(rows)).status, 200);
    }
    let mut client = service.client();
    wait("a version answers", || (ask(&mut client, &all[..1]).status == 200).then_some(()));
    (service, all)
}

/// When the truth of a minute is known.
pub fn known_at(minute: u64) -> String {
    let (day, minute) = ((minute + KNOWN_AFTER) / 1440, (minute + KNOWN_AFTER) % 1440);
    format!("2001-05-{:02}T{:02}:{:02}:00Z", day + 1, minute / 60, minute % 60)
}

/// The truth about minutes, as `POST /v1/labels` takes it.
pub fn labels(minutes: &[Minute]) -> Value {
    let label = |of: &Minute| json!({ "id": of.minute.to_string(), "label": of.closed, "known_at": known_at(of.minute) });
    json!({ "pipeline": "harbour", "labels": minutes.iter().map(label).collect::<Vec<_>>() })
}

/// The same as a file that `tidegate labels` takes.
pub fn labels_file(minutes: &[Minute]) -> String {
    let line = |of: &Minute| format!("{},{},{}\n", of.minute, of.closed, known_at(of.minute));
    format!("id,label,known_at\n{}", minutes.iter().map(line).collect::<String>())
}

/// Asks for the answers to minutes, in the Open Inference Protocol; panics where nothing comes back.
pub fn ask(client: &mut Client, minutes: &[Minute]) -> Reply {
    send(client, minutes).unwrap()
}

/// The same where the connection may break.
pub fn send(client: &mut Client, minutes: &[Minute]) -> std::io::Result<Reply> {
    let tensor = |name: &str, datatype: &str, value: &dyn Fn(&Minute) -> Value| {
        let data: Vec<Value> = minutes.iter().map(value).collect();
        json!({ "name": name, "datatype": datatype, "shape": [data.len()], "data": data })
    };
    let inputs = [
        tensor("minute", "BYTES", &|of| of.minute.to_string().into()),
        tensor("wind", "FP64", &|of| of.wind.into()),
        tensor("swell", "FP64", &|of| of.swell.into()),
    ];
    client.send("POST", "/v2/models/harbour/infer", &json!({ "inputs": inputs }).to_string())
}

/// The share of minutes that a reply got right.
pub fn right(reply: &Reply, minutes: &[Minute]) -> f64 {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply = reply.json();
    let outputs = reply["outputs"].as_array().unwrap();
    let answers = outputs.iter().find(|output| output["name"] == "closed").unwrap()["data"].as_array().unwrap();
    assert_eq!(answers.len(), minutes.len());
    let right = answers.iter().zip(minutes).filter(|(answer, minute)| **answer == minute.closed.as_str()).count();
    right as f64 / minutes.len() as f64
}
