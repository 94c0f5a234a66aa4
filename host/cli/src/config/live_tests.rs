//! Every key of the file is live or needs a restart, and the settings that come of a change say the same as the table.

use std::collections::BTreeSet;

use super::live::{KEYS, When, matches};
use super::section::Problems;
use super::*;

/// Every section, and what that file has no use for: a key that a reader asks for only in such a case is asked for here.
fn every_key() -> String {
    let text = include_str!("every_section.toml");
    let time = "kind = \"schedule\"\ncron = \"0 6 * * 1\"\ncooldown = \"1d\"\nmin_new_rows = 5\nrejections_max = 3\n";
    let others = [
        "growth\"\nnew_percent = 10\nbudget_per_day = 2\ncoalesce = \"10min\"\nquiet = \"22:00-06:00\"",
        "watermark\"\nadvance = \"30d\"",
        "labels\"\nnew_labels = 10",
        "quality\"\ndrop = 0.02\nrows = 500",
        "staleness\"\nage = \"90d\"",
        "webhook\"\nname = \"nightly\"",
    ];
    let others: String = others.iter().map(|rule| format!("[[pipeline.rain.trigger]]\nkind = \"{rule}\n")).collect();
    let bounds = "[[pipeline.rain.gate.rule]]\nid = \"low\"\nmetric = \"accuracy\"\ntest = \"lower-bound\"\nbound = 0.5\n";
    text.replace("new_rows = 1000\n", &format!("new_rows = 1000\n{others}[[pipeline.rain.trigger]]\n{time}"))
        .replace("[pipeline.rain.rollout]", &format!("{bounds}\n[pipeline.rain.rollout]"))
}

fn parse(text: &str) -> Config {
    let file = File { path: "folder/tidegate.toml".into(), text: text.to_owned() };
    file.check().unwrap_or_else(|error| panic!("{:?}", error.problems))
}

#[test]
fn every_key_that_is_read_is_live_or_needs_a_restart() {
    let problems = Problems::default();
    let file = File { path: "folder/tidegate.toml".into(), text: every_key() };
    let config = file.checked(&problems).unwrap();
    let asked = problems.asked.borrow().clone();
    assert_eq!(problems.into_sorted(), []);
    let leaves = asked.iter().filter(|key| !asked.iter().any(|other| other.starts_with(&format!("{key}."))));
    let limits = |table: &str, key: &str| {
        use tidegate_vocab::limits::{PluginLimits, SharedLimits};
        let keys = if table == "plugin" { PluginLimits::KEYS } else { SharedLimits::KEYS };
        matches!(table, "plugin" | "plugins") && keys.iter().any(|limit| limit.key == key)
    };
    let mut used = BTreeSet::new();
    for leaf in leaves {
        let names: Vec<&str> = leaf.split('.').collect();
        let row = KEYS.iter().position(|(pattern, _)| matches(pattern, &names));
        let is_limit = limits(names[0], names[names.len() - 1]);
        assert!(row.is_some() || is_limit, "`{leaf}` is read and is not in the table of `live.rs`: does it need a restart?");
        used.extend(row);
    }
    // Headers that stand alone come last, and are no keys.
    let stale: Vec<&str> = (0..KEYS.len() - 2).filter(|row| !used.contains(row)).map(|row| KEYS[row].0).collect();
    assert_eq!(stale, Vec::<&str>::new(), "in the table, and nothing reads them");
    assert!(config.changes(&config).is_empty());
}

/// What a configuration means, without where it is written.
fn bare(config: &Config) -> String {
    let config = Config { file: File { text: String::new(), ..config.file.clone() }, typed: Typed::default(), ..config.clone() };
    let text = format!("{config:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("span: ") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        rest = after[6..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    out + rest
}

/// What changing `find` to `replacement` changes, and whether taking it up does as the table says.
#[track_caller]
fn check(find: &str, replacement: &str, key: &str, when: When) -> usize {
    let text = every_key();
    assert_eq!(text.matches(find).count(), 1, "`{find}` must occur once");
    let (running, file) = (parse(&text), parse(&text.replace(find, replacement)));
    let changes = running.changes(&file);
    assert!(changes.iter().any(|change| change.key.starts_with(key)), "{key}: {changes:?}");
    assert!(changes.iter().all(|change| change.when == when), "{key}: {changes:?}");
    assert_ne!(bare(&running), bare(&file), "`{key}` means nothing");
    let adopted = running.adopting(&file);
    let meant = if when == When::Restart { &running } else { &file };
    assert_eq!(bare(&adopted), bare(meant), "{key}");
    // What is left to say afterwards is what needs a restart.
    let left = adopted.changes(&file);
    assert_eq!(left, if when == When::Restart { changes.clone() } else { Vec::new() });
    let names: Vec<&str> = key.split(['.', '[']).filter(|name| !name.ends_with(']')).collect();
    KEYS.iter().position(|(pattern, _)| matches(pattern, &names)).unwrap_or(KEYS.len())
}

const FROM_REGISTRY: &str = concat!(
    "[plugin.range]\nfrom = \"oci://registry.example/range@sha256:",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n[serve]"
);

#[test]
fn what_is_taken_up_is_what_the_table_says() {
    use When::{Elsewhere, Live, NextRun, Restart};
    let cases = [
        ("step_rows = 50", "step_rows = 51", "backtest.step_rows", Restart),
        ("step_rows = 50", "step_rows = 50\nseeds = [7]", "backtest.seeds", Elsewhere),
        ("step_rows = 50", "step_rows = 50\nwarmup_share = 0.5", "backtest.warmup_share", Elsewhere),
        ("path = \"weather.csv\"", "path = \"other.csv\"", "input.weather.path", Live),
        ("{ plugin = \"log\" }", "{ plugin = \"log\", config = { a = 1 } }", "pipeline.rain.alerters[0].config", Live),
        ("{ plugin = \"log\" }", "{ plugin = \"webhook\" }", "pipeline.rain.alerters[0].plugin", Restart),
        ("low = -8.0", "low = -7.0", "pipeline.rain.cleaners[1].config", Live),
        ("mean_shift_max = 3.0", "mean_shift_max = 2.0", "pipeline.rain.cleaners[1].damage", Live),
        ("plugin = \"missing\"", "plugin = \"dedup\"", "pipeline.rain.cleaners[0].plugin", Restart),
        ("\"drop-row\" } }, serving = true", "\"drop-row\" } }, serving = false", "pipeline.rain.cleaners[0].serving", Live),
        ("delay = \"1d\"", "delay = \"2d\"", "pipeline.rain.contract.label", Restart),
        ("effect_min = 0.1", "effect_min = 0.2", "pipeline.rain.drift.effect_min", Restart),
        ("q = 0.05", "q = 0.01", "pipeline.rain.drift.q", Restart),
        ("window_rows = 400\n", "window_rows = 401\n", "pipeline.rain.drift.window_rows", Restart),
        ("window_rows = 500", "window_rows = 600", "pipeline.rain.estimate.window_rows", Restart),
        ("positive = \"1\"", "positive = \"0\"", "pipeline.rain.evaluators[0].config", Live),
        ("{ plugin = \"latency\" }", "{ plugin = \"ranking\" }", "pipeline.rain.evaluators[1].plugin", Restart),
        ("confidence = 0.95", "confidence = 0.9", "pipeline.rain.gate.confidence", NextRun),
        ("dependence = \"time\"", "dependence = \"independent\"", "pipeline.rain.gate.dependence", NextRun),
        ("looks_max = 3", "looks_max = 4", "pipeline.rain.gate.looks_max", NextRun),
        ("approval = \"none\"", "approval = \"operator\"", "pipeline.rain.gate.approval", NextRun),
        ("looks_max = 3", "looks_max = 3\ninterval = \"bca\"", "pipeline.rain.gate.interval", NextRun),
        ("looks_max = 3", "looks_max = 3\nmaturity_min = 0.9", "pipeline.rain.gate.maturity_min", NextRun),
        ("values = [\"10.0\"]", "values = [\"10.0\", \"9.0\"]", "pipeline.rain.gate.slice[0].values", NextRun),
        ("gain_max = 0.2", "gain_max = 0.3", "pipeline.rain.gate.rule[0].gain_max", NextRun),
        ("looks_max = 3", "looks_max = 3\nresamples = 500", "pipeline.rain.gate.resamples", NextRun),
        ("rows = \"arriving\"", "rows = \"held-out\"", "pipeline.rain.gate.rows", NextRun),
        ("rows_min = 300", "rows_min = 301", "pipeline.rain.gate.rows_min", NextRun),
        ("rows_per_class_min = 30", "rows_per_class_min = 31", "pipeline.rain.gate.rows_per_class_min", NextRun),
        ("ratio_max = 1.10", "ratio_max = 1.20", "pipeline.rain.gate.rule[3].ratio_max", NextRun),
        ("\nalpha = 0.01", "\nalpha = 0.02", "pipeline.rain.guard.alpha", Restart),
        ("\nmargin = 0.01", "\nmargin = 0.02", "pipeline.rain.guard.margin", Restart),
        ("rows_max = 5_000", "rows_max = 5_001", "pipeline.rain.guard.rows_max", Restart),
        ("window_rows = 4000", "window_rows = 5000", "pipeline.rain.model.window_rows", Restart),
        ("shadow_requests = 200", "shadow_requests = 201", "pipeline.rain.rollout.shadow_requests", Restart),
        (
            "source = { plugin = \"csv\", config = { input",
            "source = { plugin = \"csv\", config = { x = 1, input",
            "pipeline.rain.source.config",
            Live,
        ),
        ("source = { plugin = \"csv\"", "source = { plugin = \"jsonl\"", "pipeline.rain.source.plugin", Restart),
        ("new_rows = 1000", "new_rows = 1001", "pipeline.rain.trigger[0].new_rows", Live),
        ("call_ms_max = 30_000", "call_ms_max = 30_001", "plugin.csv.call_ms_max", Live),
        ("inputs = [\"weather\"]", "inputs = []", "plugin.csv.grant.inputs", Live),
        ("inputs = [\"weather\"]", "inputs = [\"weather\"]\nclock = true", "plugin.csv.grant.clock", Live),
        ("methods = [\"POST\"]", "methods = [\"PUT\"]", "plugin.webhook.grant.http", Live),
        ("env:HOOK_KEY", "env:OTHER_KEY", "plugin.webhook.grant.secrets", Live),
        ("[serve]", "[plugin.range.grant]\ncolumns = { read = [\"*\"] }\n[serve]", "plugin.range.grant.columns", Live),
        ("[serve]", FROM_REGISTRY, "plugin.range.from", Live),
        ("folder = \"plugins\"", "folder = \"others\"", "plugins.folder", Restart),
        ("locked = false", "locked = true", "plugins.locked", Live),
        ("memory_bytes_max = \"2GiB\"", "memory_bytes_max = \"3GiB\"", "plugins.memory_bytes_max", Restart),
        ("strikes_max = 3", "strikes_max = 4", "plugins.strikes_max", Live),
        ("strike_window_minutes = 60", "strike_window_minutes = 61", "plugins.strike_window_minutes", Live),
        ("dead_letters_max = 10", "dead_letters_max = 11", "plugins.dead_letters_max", Live),
        ("dead_letters_max = 10", "dead_letters_max = 10\nshadow_batches = 9", "plugins.shadow_batches", Live),
        ("dead_letters_max = 10", "dead_letters_max = 10\nshadow_change_max = 0.9", "plugins.shadow_change_max", Live),
        ("dead_letters_max = 10", "dead_letters_max = 10\nprobation_calls = 9", "plugins.probation_calls", Live),
        ("dead_letters_max = 10", "dead_letters_max = 10\ntrusted_keys = [\"team.pub\"]", "plugins.trusted_keys", Live),
        ("127.0.0.1:7070", "127.0.0.1:7071", "serve.listen", Restart),
        ("tokens = \"state/tokens\"", "tokens = \"other\"", "serve.tokens", Restart),
        ("[serve]", "[serve]\nhosts = [\"tide.example\"]", "serve.hosts", Restart),
        ("folder = \"state\"", "folder = \"other\"", "store.folder", Restart),
        ("20GiB", "21GiB", "store.disk_bytes_max", Live),
        ("retention_days = 3650", "retention_days = 3651", "store.retention_days", Live),
    ];
    let tried: BTreeSet<usize> = cases.iter().map(|(find, to, key, when)| check(find, to, key, *when)).collect();
    // Stores that this build refuses, and headers that stand alone, mean nothing that could change.
    let untried: Vec<&str> = (0..KEYS.len()).filter(|row| !tried.contains(row)).map(|row| KEYS[row].0).collect();
    assert_eq!(untried, ["store.blobs", "store.metadata", "plugin.*.grant", "plugin.*"]);
}

#[test]
fn a_file_that_mixes_both_is_taken_up_in_part() {
    let text = every_key();
    let mixed = text.replace("20GiB", "21GiB").replace("127.0.0.1:7070", "127.0.0.1:7071").replace("low = -8.0", "low = -7.0");
    let other = mixed.replace("plugin = \"missing\"", "plugin = \"dedup\"");
    let (running, file) = (parse(&text), parse(&other));
    let adopted = running.adopting(&file);
    assert_eq!(adopted.store.disk_bytes_max, Some(21 << 30));
    assert_eq!(adopted.serve, running.serve);
    // The list names another plugin: all that changes in it waits.
    assert_eq!(adopted.pipelines[0].cleaners[1].config, running.pipelines[0].cleaners[1].config);
    let left: Vec<String> = adopted.changes(&file).iter().map(ToString::to_string).collect();
    let cleaners = "pipeline.rain.cleaners";
    assert_eq!(
        left,
        [
            format!("`{cleaners}[0].plugin`: \"missing\" to \"dedup\""),
            format!("`{cleaners}[1].config.columns.*.low`: -8.0 to -7.0"),
            "`serve.listen`: \"127.0.0.1:7070\" to \"127.0.0.1:7071\"".to_owned(),
        ]
    );
    assert_ne!(adopted.digest(), running.digest());
    // Back again, it is what it was.
    assert_eq!(adopted.adopting(&running).digest(), running.digest());
}

#[test]
fn pipelines_come_and_go_with_a_restart() {
    let text = every_key();
    let (running, two) = (parse(&text), parse(&text.replace("[backtest]", &second(&text))));
    let changes = running.changes(&two);
    assert!(!changes.is_empty() && changes.iter().all(|change| change.when == When::Restart && change.key.starts_with("pipeline.snow.")));
    assert_eq!(bare(&running.adopting(&two)), bare(&running));
    assert_eq!(bare(&two.adopting(&running)), bare(&two));
    let mut only = two.clone();
    only.retain(&running.pipelines[0].id);
    assert!(running.changes(&only).is_empty(), "a host that was started for one pipeline knows no other");
}

/// The pipeline once more, by another name.
fn second(text: &str) -> String {
    let start = text.find("[pipeline.rain]").unwrap();
    let end = text.find("[backtest]").unwrap();
    format!("{}\n[backtest]", text[start..end].replace("pipeline.rain", "pipeline.snow"))
}

#[test]
fn how_a_file_is_written_down_makes_no_difference() {
    let text = every_key();
    let written = text.replace("[serve]\nlisten = \"127.0.0.1:7070\"", "# a remark\n[serve]\n\"listen\" =   '127.0.0.1:7070'");
    assert_ne!(text, written);
    let (one, other) = (parse(&text), parse(&written));
    assert_eq!((one.changes(&other), one.digest()), (Vec::new(), other.digest()));
}
