//! A running host with a plugin that fails: what the page, the metrics and the commands say, and how it goes on.

use serde_json::Value;

use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// A world whose only cleaner crashes on rows with a feature above 1000, or on all.
fn world(only_above: bool) -> World {
    let config = if only_above { "mode = \"trap\", above = 1000.0" } else { "mode = \"trap\"" };
    let used = r#"plugin = "missing", config = { columns = { "*" = "drop-row" } }"#;
    let world = World::new(&BASE.replace(used, &format!("plugin = \"hostile-cleaner\", config = {{ {config} }}")));
    world.add_guest("hostile-cleaner");
    let rows = Rows { first_day: 0, count: 100, seed: 1, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}", rows.lines()));
    world
}

/// What the status says of the cleaner in the pipeline.
fn struck(service: &Service) -> Value {
    let status = service.status();
    let cleaner = status["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "hostile-cleaner");
    // Before its first step a pipeline shows no plugin.
    cleaner.map_or(Value::Null, |cleaner| cleaner["struck"][0].clone())
}

fn metrics(service: &Service) -> String {
    service.client().get("/metrics").body
}

#[test]
fn a_batch_that_fails_is_set_aside_and_the_host_goes_on() {
    let world = world(true);
    let service = Service::start(&world);
    service.until("harbour", "the first rows are in", |pipeline| pipeline["rows"] == 100);
    let before = world.read("input.csv");
    world.write("input.csv", format!("{before}100,5000.0,1.0,1\n"));
    let pipeline = service.until("harbour", "the batch is set aside", |pipeline| pipeline["dead_letters"][0]["first_row"] == 100);
    assert_eq!((&pipeline["dead_letters"][0]["plugin"], &pipeline["stalled"]), (&"hostile-cleaner".into(), &Value::Null));
    let before = world.read("input.csv");
    let more = Rows { first_day: 101, count: 30, seed: 2, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{before}{}", more.lines()));
    service.until("harbour", "later rows are in", |pipeline| pipeline["rows"] == 131);
    let page = service.client().get("/p/harbour").body;
    assert!(page.contains("tidegate dead-letter retry") && page.contains("crashed in step"), "{page}");
    let counted = metrics(&service);
    for series in [
        "tidegate_dead_letters{pipeline=\"harbour\"} 1",
        "tidegate_dead_letter_rows{pipeline=\"harbour\"} 1",
        "tidegate_plugin_call_seconds_count{plugin=\"hostile-cleaner\",step=\"clean\"}",
        "tidegate_plugin_guest_seconds_count{plugin=\"hostile-cleaner\",step=\"clean\"}",
        "tidegate_plugin_host_calls_total{plugin=\"hostile-cleaner\"}",
        "tidegate_plugin_rows_in_total{pipeline=\"harbour\",plugin=\"hostile-cleaner\"}",
        "tidegate_plugin_rows_out_total{pipeline=\"harbour\",plugin=\"hostile-cleaner\"}",
        "tidegate_plugin_calls_total{plugin=\"hostile-cleaner\",outcome=\"trapped\"} 2",
    ] {
        assert!(counted.contains(series), "no `{series}` in\n{counted}");
    }
    let again = world.run(["dead-letter", "retry", "1"]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stdout.contains("1: rows 100 to 100 stay aside"), "{}", again.stdout);
    assert_eq!(world.run(["plugin", "replay", "1"]).code, Some(0));
    assert_eq!(world.run(["dead-letter", "drop", "1", "--reason", "a broken gauge"]).code, Some(0));
    service.until("harbour", "nothing is set aside", |pipeline| pipeline["dead_letters"] == Value::Array(Vec::new()));
    service.stop();
}

#[test]
fn a_quarantined_cleaner_is_shown_and_waits_for_a_person_across_a_restart() {
    let world = world(false);
    let service = Service::start(&world);
    let quarantined = |service: &Service| {
        wait("the cleaner is quarantined", || Some(struck(service)).filter(|struck| struck["quarantined"].is_array()));
        let why = "plugin `hostile-cleaner` is quarantined, and step `cleaner` waits";
        service.until("harbour", "it says why", |pipeline| pipeline["stalled"].as_str().is_some_and(|text| text.contains(why)));
    };
    quarantined(&service);
    let counted = metrics(&service);
    let labels = "{pipeline=\"harbour\",plugin=\"hostile-cleaner\"}";
    for series in [format!("tidegate_plugin_quarantined{labels} 1"), format!("tidegate_plugin_strikes_total{labels} 3")] {
        assert!(counted.contains(&series), "no `{series}` in\n{counted}");
    }
    let page = service.client().get("/p/harbour").body;
    assert!(page.contains("quarantined") && page.contains("tidegate plugin release hostile-cleaner"), "{page}");
    assert_eq!(service.client().get("/readyz").status, 503);
    service.stop();

    let service = Service::start(&world);
    quarantined(&service);
    assert!(!metrics(&service).contains("tidegate_plugin_calls_total{plugin=\"hostile-cleaner\",outcome=\"trapped\"}"), "it was called");
    let released = world.run(["plugin", "resume", "hostile-cleaner", "--reason", "let us see"]);
    assert_eq!(released.stdout, "hostile-cleaner: 3 strikes are forgiven in `harbour`\n", "{}", released.stderr);
    quarantined(&service);
    service.stop();
    let journal = world.json(&["journal", "show"]);
    let kinds: Vec<&str> = journal.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    let told = ["strike", "plugin-quarantined", "plugin-released"];
    let story: Vec<&str> = kinds.into_iter().filter(|kind| told.contains(kind)).collect();
    let three = [&["strike"; 3][..], &["plugin-quarantined"]].concat();
    assert_eq!(story, [&three[..], &["plugin-released"], &three].concat());
}
