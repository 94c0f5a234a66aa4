//! Two pipelines in one process: what goes wrong with one is told, and does not touch the other.

use serde_json::Value;

use crate::client::Client;
use crate::harbour::{arrive, labels, minutes, settings, with_champion};
use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// The usual settings twice: `harbour` reads `input.csv`, `bay` reads `bay.csv`.
fn twice() -> String {
    let input = "[input.days]\npath = \"input.csv\"\n";
    let (before, pipeline) = BASE.split_once("[pipeline.harbour]").unwrap();
    let before = before.replace(input, &format!("{input}\n[input.bay-days]\npath = \"bay.csv\"\n"));
    let before = before.replace(r#"inputs = ["days"]"#, r#"inputs = ["days", "bay-days"]"#);
    let harbour = format!("[pipeline.harbour]{pipeline}");
    let bay = harbour.replace("pipeline.harbour", "pipeline.bay").replace(r#"input = "days""#, r#"input = "bay-days""#);
    format!("{before}{harbour}\n{bay}")
}

fn days(first_day: u64, count: u64) -> String {
    Rows { first_day, count, seed: first_day + 1, noise: 0.1, flipped: false }.lines()
}

fn append(world: &World, file: &str, text: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(world.path(file)).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Both champions answer.
fn both_answer(service: &Service) {
    let mut client = service.client();
    for model in ["harbour", "bay"] {
        let body = serde_json::json!({ "inputs": [
            { "name": "wind", "datatype": "FP64", "shape": [1], "data": [0.9] },
            { "name": "swell", "datatype": "FP64", "shape": [1], "data": [0.9] },
        ] });
        let reply = client.post(&format!("/v2/models/{model}/infer"), &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["model_version"], "v1");
    }
}

#[test]
fn a_pipeline_that_stalls_leaves_the_other_alone() {
    let world = World::new(&twice());
    for file in ["input.csv", "bay.csv"] {
        world.write(file, format!("{HEADER}{}", days(0, 600)));
    }
    let service = Service::start(&world);
    for (id, file) in [("harbour", "input.csv"), ("bay", "bay.csv")] {
        service.until(id, "its gate waits", |pipeline| pipeline["run"]["waiting_rows"] == 200);
        append(&world, file, &days(600, 250));
    }
    for id in ["harbour", "bay"] {
        service.until(id, "it has a champion", |pipeline| pipeline["champion"]["version"] == 1);
    }
    let mut client = service.client();
    wait("the host is ready", || (client.get("/readyz").status == 200).then_some(()));
    both_answer(&service);

    // Somebody writes a file anew, with other columns.
    let good = world.read("bay.csv");
    world.write("bay.csv", good.replacen("wind", "gusts", 1));
    stalled(&service, "was replaced or cut");
    append(&world, "input.csv", &days(850, 20));
    service.until("harbour", "its rows are in", |pipeline| pipeline["rows"] == 870);
    world.write("bay.csv", good);
    mended(&service);

    let hidden = world.path("hidden.csv");
    std::fs::rename(world.path("bay.csv"), &hidden).unwrap();
    stalled(&service, "could not read input `bay-days`");
    append(&world, "input.csv", &days(870, 20));
    service.until("harbour", "its rows are in", |pipeline| pipeline["rows"] == 890);
    std::fs::rename(&hidden, world.path("bay.csv")).unwrap();
    append(&world, "bay.csv", &days(850, 30));
    service.until("bay", "its rows are in", |pipeline| pipeline["rows"] == 880);
    mended(&service);
    service.stop();
}

/// `bay` stalls with a reason that holds `word`, and says so; both champions go on.
fn stalled(service: &Service, word: &str) {
    service.until("bay", "it stalls", |pipeline| pipeline["stalled"].as_str().is_some_and(|why| why.contains(word)));
    assert_eq!(service.pipeline("harbour")["stalled"], Value::Null);
    let ready = service.client().get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(ready.refusal().contains("pipeline `bay` is stalled: "), "{}", ready.body);
    both_answer(service);
}

fn mended(service: &Service) {
    service.until("bay", "it goes on", |pipeline| pipeline["stalled"].is_null());
    let mut client = service.client();
    wait("the host is ready again", || (client.get("/readyz").status == 200).then_some(()));
}

#[test]
fn labels_that_come_do_not_hide_that_the_source_is_broken() {
    let world = World::new(&settings());
    let (service, _) = with_champion(&world);
    let late = minutes(Rows { first_day: 1_100, count: 10, seed: 2, noise: 0.1, flipped: false });
    arrive(&world, &late);
    let before = service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 1_110)["champion"]["rows"].clone();
    std::fs::rename(world.path("input.csv"), world.path("hidden.csv")).unwrap();
    service.until("harbour", "it stalls", |pipeline| !pipeline["stalled"].is_null());

    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    assert_eq!(labeller.post("/v1/labels", &labels(&late)).status, 200);
    let looked = service.until("harbour", "the labels are looked at", |pipeline| pipeline["champion"]["rows"] != before);
    assert!(looked["stalled"].as_str().is_some_and(|why| why.contains("could not read input `days`")), "{looked:#}");
    assert_eq!(service.client().get("/readyz").status, 503);
    service.stop();
}
