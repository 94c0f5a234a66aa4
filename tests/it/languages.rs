//! One plugin in three languages: the cleaner `range` and the evaluator `classification` in Rust, JavaScript and Python do the same,
//! on golden and hostile batches and in the loop of the demo.

use std::path::PathBuf;

use serde_json::Value;

use crate::host::{Ended, World, built, own_folder};

/// Days of weather that the loop is given: enough for two trainings.
const DAYS: usize = 4_000;

/// The languages, as names of components end.
const LANGUAGES: [&str; 3] = ["", "-javascript", "-python"];

fn root() -> PathBuf {
    own_folder().parent().unwrap().to_owned()
}

/// What was written by the Rust plugin is expected of all; so is to survive what nobody expects, and to be pure.
fn passes_the_tests_of(plugin: &str, language: &str) {
    let world = World::cold(crate::scenarios::BASE);
    let folder = root().join("plugins").join(plugin);
    let component = built().plugins.join(format!("{plugin}{language}.wasm"));
    let shown = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (folder, component) = (shown(&folder), shown(&component));
    let ended = world.run(["plugin", "test", &folder, "--component", &component, "--json"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let verdicts = |part: &str| {
        let named = checks.iter().filter(|check| check["check"].as_str().unwrap().starts_with(part));
        named.map(|check| check["verdict"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert!(verdicts("golden").len() >= 7 && verdicts("golden").iter().all(|verdict| *verdict == "ok"), "{checks:?}");
    assert!(verdicts("hostile").len() >= 9 && verdicts("hostile").iter().all(|verdict| *verdict == "ok"), "{checks:?}");
    assert_eq!(verdicts("pure"), ["ok"]);
}

#[test]
fn the_cleaner_does_the_same_in_javascript() {
    passes_the_tests_of("range", "-javascript");
}

#[test]
fn the_cleaner_does_the_same_in_python() {
    passes_the_tests_of("range", "-python");
}

#[test]
fn the_evaluator_does_the_same_in_javascript() {
    passes_the_tests_of("classification", "-javascript");
}

#[test]
fn the_evaluator_does_the_same_in_python() {
    passes_the_tests_of("classification", "-python");
}

/// What `plugin new` writes builds without a network, and passes the tests that come with it.
#[test]
fn every_template_in_rust_builds_and_passes_its_tests() {
    let world = World::cold(crate::scenarios::BASE);
    for kind in ["source", "cleaner", "evaluator", "alerter"] {
        let name = format!("my-{kind}");
        let made = world.run(["plugin", "new", &name, "--kind", kind, "--lang", "rust"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        // What all of them depend on is built once.
        std::fs::create_dir_all(world.path("built")).unwrap();
        std::os::unix::fs::symlink(world.path("built"), world.path(&name).join("target")).unwrap();
        let mut test = world.command(["plugin", "test", &name, "--json"]);
        let cargos = ["CARGO", "CARGO_HOME", "HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        test.envs(cargos.iter().filter_map(|variable| Some((variable, std::env::var_os(variable)?))));
        let ended = Ended::of(test.env("CARGO_NET_OFFLINE", "true").output().unwrap());
        assert_eq!(ended.code, Some(0), "{kind}: {}{}", ended.stdout, ended.stderr);
        let told: Value = serde_json::from_str(&ended.stdout).unwrap();
        let golden = told["checks"].as_array().unwrap().iter().find(|check| check["check"].as_str().unwrap().starts_with("golden"));
        assert_eq!(golden.unwrap()["verdict"], "ok", "{told:#}");
    }
}

/// The demo's settings with the cleaner that writes, in `language`, before the one that drops what it made missing.
fn settings(language: &str) -> String {
    let settings = std::fs::read_to_string(root().join("host/xtask/demo/tidegate.toml")).unwrap();
    let (start, end) = (settings.find("cleaners = [").unwrap(), settings.find("evaluators = [").unwrap());
    let cleaners = format!(
        r#"cleaners = [
  {{ plugin = "range{language}", config = {{ columns = {{ "*" = {{ low = -2.5, high = 2.5, outside = "null" }} }} }}, serving = true }},
  {{ plugin = "missing", config = {{ columns = {{ "*" = "drop-row" }} }}, serving = true }},
]
"#
    );
    format!("{}{cleaners}{}", &settings[..start], settings[end..].replace("\"classification\"", &format!("\"classification{language}\"")))
}

#[test]
fn the_loop_of_the_demo_decides_the_same_with_plugins_in_every_language() {
    let weather = std::fs::read_to_string(root().join("host/xtask/demo/weather.csv")).unwrap();
    let days: Vec<&str> = weather.lines().take(DAYS + 1).collect();
    let told = LANGUAGES.map(|language| {
        let world = World::new(&settings(language));
        world.write("weather.csv", days.join("\n") + "\n");
        if !language.is_empty() {
            world.add_shipped(&format!("range{language}"));
            world.add_shipped(&format!("classification{language}"));
        }
        let mut told = world.json(&["backtest"]);
        told[0].as_object_mut().unwrap().remove("seconds");
        told
    });
    assert!(told[0][0]["trainings"].as_u64().unwrap() >= 2, "{told:?}");
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}
