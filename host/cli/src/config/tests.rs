//! The whole file loads, and every way to break it is answered at its place.

use proptest::prelude::*;
use tidegate_pipeline::DamageBounds;
use tidegate_policy::{Against, Dependence, GateRows, RowsMin, SliceRule, Test, TriggerKind};
use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{DType, Role, TimeUnit};

use super::*;
use crate::failure::line_column;

const EVERY_SECTION: &str = include_str!("every_section.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    File { path: "folder/tidegate.toml".into(), text: text.to_owned() }.check()
}

/// Replaces `find` in the whole file by `replacement` and expects exactly one problem: its message, its place and its hint.
fn check(find: &str, replacement: &str, message: &str, under: &str, hint: &str) {
    assert_eq!(EVERY_SECTION.matches(find).count(), 1, "`{find}` must occur once");
    let text = EVERY_SECTION.replace(find, replacement);
    let error = parse(&text).expect_err(message);
    let found: Vec<&str> = error.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(found, [message], "instead of `{find}`: `{replacement}`");
    let problem = &error.problems[0];
    assert!(text[problem.span.clone()].starts_with(under), "{message}: points at `{}`", &text[problem.span.clone()]);
    let found_hint = problem.hint.clone().unwrap_or_default();
    assert!(if hint.is_empty() { found_hint.is_empty() } else { found_hint.contains(hint) }, "{message}: hint `{found_hint}`");
}

#[test]
fn every_section_loads() {
    let config = parse(EVERY_SECTION).unwrap();
    assert_eq!(config.name(), "tidegate");
    assert_eq!(config.store.folder, Path::new("folder/state"));
    assert_eq!(config.store.disk_bytes_max, Some(20 << 30));
    assert_eq!(config.serve.as_ref().map(|serve| serve.listen.port()), Some(7070));
    let must_be_locked = |plugin: &str| config.must_be_locked(&plugin.parse().unwrap());
    assert!(!config.plugins.locked && !must_be_locked("csv"));
    assert!(must_be_locked("webhook"), "http and secrets force the lock on");
    assert_eq!(config.inputs["weather"].path, Path::new("folder/weather.csv"));
    let csv = config.plugin(&"csv".parse().unwrap());
    assert!(csv.grants.inputs.contains("weather"));
    assert_eq!(csv.limits(PluginLimits::SOURCE).call_ms_max, 30_000);
    assert_eq!(csv.limits(PluginLimits::CLEANER).call_ms_max, 30_000, "what is written wins over the kind");
    let webhook = config.plugin(&"webhook".parse().unwrap());
    assert_eq!(webhook.grants.http[0].path, "/hooks/");
    assert_eq!(webhook.grants.secrets[0].from, SecretOrigin::Env("HOOK_KEY".to_owned()));
    let unnamed = config.plugin(&"range".parse().unwrap());
    assert_eq!(unnamed.limits(PluginLimits::CLEANER), PluginLimits::CLEANER);
    assert_eq!(config.backtest, BacktestConfig { step_rows: 50, warmup_share: 0.1, seeds: vec![0] });
}

#[test]
fn columns_are_granted_by_name_where_the_plugin_can_use_them() {
    let with = |plugin: &str, columns: &str| format!("[plugin.{plugin}.grant]\ncolumns = {columns}\n\n[input.weather]");
    let text = EVERY_SECTION.replace("[input.weather]", &with("range", "{ read = [\"dew_point\"], write = [\"temperature*\"] }"));
    let range: PluginName = "range".parse().unwrap();
    let columns = parse(&text).unwrap().plugin(&range).grants.columns.unwrap();
    assert!(columns.read.contains("dew_point") && columns.write.contains("temperature*"));
    assert_eq!(parse(EVERY_SECTION).unwrap().plugin(&range).grants.columns, None);
    for (plugin, columns, message, under, hint) in [
        ("range", "{ }", "`[plugin.range.grant.columns]` has no `read`", "{ }", "the columns it sees"),
        (
            "range",
            "{ read = [\"a*b\"] }",
            "`[plugin.range.grant.columns] read` holds `a*b`, which names no column",
            "\"a*b\"",
            "`*` behind it",
        ),
        (
            "range",
            "{ write = [\"rain\"] }",
            "`range` is granted to write `rain`, whose role is `label`: a cleaner edits features",
            "\"range\"",
            "take `rain` out",
        ),
        (
            "range",
            "{ read = [\"*\", \"day\"] }",
            "`range` is granted to read `day`, whose role is `id`: a request has none, and it cleans requests",
            "\"range\"",
            "or `serving = true` out",
        ),
        (
            "latency",
            "{ write = [\"x\"] }",
            "`latency` is granted columns to write, and as evaluator it edits none",
            "\"latency\"",
            "take `write` out",
        ),
        ("log", "{ read = [\"*\"] }", "`log` is granted columns, and as alerter it is handed none", "\"log\"", "take `columns` out"),
    ] {
        check("[input.weather]", &with(plugin, columns), message, under, hint);
    }
}

#[test]
fn failures_have_rules_of_their_own() {
    let config = parse(EVERY_SECTION).unwrap();
    let rules = config.plugins.failures;
    assert_eq!((rules.strikes_max, rules.strike_window_ms, rules.dead_letters_max), (3, 3_600_000, 10));
    let other = EVERY_SECTION.replace("strikes_max = 3", "strikes_max = 5").replace("dead_letters_max = 10", "dead_letters_max = 0");
    let rules = parse(&other.replace("strike_window_minutes = 60", "strike_window_minutes = 2")).unwrap().plugins.failures;
    assert_eq!((rules.strikes_max, rules.strike_window_ms, rules.dead_letters_max), (5, 120_000, 0));
    let message = "`[plugins] strikes_max` must be a whole number from 1 to 1,000, found `0`";
    check("strikes_max = 3", "strikes_max = 0", message, "0", "");
    let message = "`[plugins] strike_window_minutes` must be a whole number from 1 to 100,000, found the text `1h`";
    check("strike_window_minutes = 60", "strike_window_minutes = \"1h\"", message, "\"1h\"", "");
}

#[test]
fn a_cleaner_has_bounds_on_its_damage() {
    let config = parse(EVERY_SECTION).unwrap();
    let bounds = |cleaner: usize| config.pipelines[0].cleaners[cleaner].damage;
    assert_eq!(bounds(0), DamageBounds { rows_dropped_share_max: Some(0.9), ..DamageBounds::default() }, "most rows may not go unasked");
    let given = DamageBounds {
        rows_dropped_share_max: Some(0.5),
        cells_changed_share_max: Some(0.25),
        mean_shift_max: Some(3.0),
        spread_factor_max: Some(10.0),
    };
    assert_eq!(bounds(1), given);
    assert_eq!(config.pipelines[0].evaluators[0].damage, DamageBounds::default());
    let message = "`[pipeline.rain.cleaners.damage] spread_factor_max` must be a number from 1 to 1000000, found `0.5`";
    check("spread_factor_max = 10.0", "spread_factor_max = 0.5", message, "0.5", "");
    let found = parse(&EVERY_SECTION.replace("mean_shift_max", "mean_shift")).expect_err("an unknown key").problems[0].message.clone();
    assert!(found.contains("mean_shift"), "{found}");
}

#[test]
fn a_secret_in_a_file_is_looked_for_beside_the_settings() {
    let config = parse(&EVERY_SECTION.replace("env:HOOK_KEY", "file:keys/hook").replace("header = \"auth", "header = \"Auth")).unwrap();
    let secret = &config.plugin(&"webhook".parse().unwrap()).grants.secrets[0];
    assert_eq!(secret.from, SecretOrigin::File("folder/keys/hook".into()));
    assert_eq!(secret.header, "authorization", "names of headers are compared in lower case");
}

#[test]
fn the_bytes_of_requests_have_a_limit_of_their_own() {
    let text = EVERY_SECTION.replace("[plugin.csv]", "[plugin.webhook]\negress_bytes_max = \"2MiB\"\n[plugin.csv]");
    assert_eq!(parse(&text).unwrap().plugin(&"webhook".parse().unwrap()).limits(PluginLimits::ALERTER).egress_bytes_max, 2 << 20);
}

#[test]
fn a_pipeline_is_whole() {
    let config = parse(EVERY_SECTION).unwrap();
    let pipeline = config.pipeline(None).unwrap();
    let plugins: Vec<_> = pipeline.plugins().map(|(kind, plugin)| (kind, plugin.plugin.as_str(), plugin.serving)).collect();
    let expected = [
        ("source", "csv", false),
        ("cleaner", "missing", true),
        ("cleaner", "range", true),
        ("evaluator", "classification", false),
        ("evaluator", "latency", false),
        ("alerter", "log", false),
    ];
    assert_eq!(plugins, expected);
    assert_eq!(pipeline.cleaners[1].config["columns"]["*"]["low"], -8.0);
    let time = pipeline.contract.time.clone().unwrap();
    assert_eq!((time.unit, time.origin_us), (Some(TimeUnit::D), -662_688_000_000_000));
    assert_eq!(pipeline.contract.label.delay_us, 86_400_000_000);
    // In the order of the file, not of the alphabet: models number their inputs by it.
    assert_eq!(pipeline.contract.features().next(), Some("temperature"));
    assert_eq!(pipeline.contract.features().nth(1), Some("dew_point"));
    assert_eq!((pipeline.model.window_rows, pipeline.model.spec.hidden.as_slice()), (4_000, &[32][..]));
    assert_eq!(pipeline.triggers[0].kind, TriggerKind::Volume { new_rows: 1_000 });
    assert_eq!(pipeline.triggers[1].brakes.cooldown_rows, Some(500));
    let gate = &pipeline.gate;
    assert_eq!((gate.rows, &gate.dependence, gate.rows_min), (GateRows::Arriving, &Dependence::Time, RowsMin::Rows(300)));
    assert_eq!(gate.check(), []);
    assert_eq!((gate.rules[0].against, gate.rules[0].test), (Against::Champion, Test::NonInferior { margin: 0.02 }));
    assert_eq!(gate.rules[3].test, Test::RatioUpper { ratio_max: 1.1 });
    let slice = SliceRule { column: "visibility".into(), values: vec!["10.0".into()], rows_min: 100 };
    assert_eq!((&gate.slices, gate.rules[0].gain_max), (&vec![slice], Some(0.2)));
    let drift = pipeline.drift.unwrap();
    assert_eq!((drift.window_rows, drift.effect_min, drift.q), (400, 0.1, 0.05));
    assert_eq!(pipeline.estimate.window_rows, 500);
    let guard = pipeline.guard.unwrap();
    assert_eq!((guard.rows_max, guard.alpha, guard.margin), (5_000, 0.01, 0.01));
    let rollout = pipeline.rollout.as_ref().unwrap();
    assert_eq!((rollout.settings.shadow_requests, rollout.settings.agreement_min, rollout.answer_ms_max), (200, 0.5, 1_000));
    assert_eq!(rollout.settings.canary.steps, [0.01, 0.05, 0.25, 0.5]);
    assert_eq!(rollout.settings.canary.check(), Vec::<String>::new());
    assert_eq!(rollout.settings.canary.metrics.keys().map(|metric| metric.word()).collect::<Vec<_>>(), ["errors", "latency", "quality"]);
}

#[test]
fn each_key_of_rollout_guard_and_drift_reaches_its_setting() {
    let with = |line: &str, other: &str| {
        assert_eq!(EVERY_SECTION.matches(line).count(), 1, "{line}");
        parse(&EVERY_SECTION.replace(line, other)).unwrap().pipelines[0].clone()
    };
    let rollout = |line: &str, other: &str| with(line, other).rollout.unwrap();
    assert_eq!(rollout("answer_ms_max = 1_000", "answer_ms_max = 7").answer_ms_max, 7);
    assert_eq!(rollout("shadow_requests = 200", "shadow_requests = 7").settings.shadow_requests, 7);
    assert_eq!(rollout("agreement_min = 0.5", "agreement_min = 0.7").settings.agreement_min, 0.7);
    assert_eq!(rollout("requests_max = 20_000", "requests_max = 700").settings.canary.requests_max, 700);
    assert_eq!(rollout("burn_in = 200", "burn_in = 70").settings.canary.burn_in, 70);
    assert_eq!(rollout("alpha = 0.05", "alpha = 0.07").settings.canary.alpha, 0.07);
    assert_eq!(rollout("canary = [1, 5, 25, 50]", "canary = [7]").settings.canary.steps, [0.07]);
    let metrics = rollout("metrics = [\"errors\", \"latency\", \"quality\"]", "metrics = [\"latency\"]").settings.canary.metrics;
    assert_eq!(metrics.keys().map(|metric| metric.word()).collect::<Vec<_>>(), ["latency"]);
    let guard = |line: &str, other: &str| with(line, other).guard.unwrap();
    assert_eq!(guard("rows_max = 5_000", "rows_max = 7").rows_max, 7);
    assert_eq!(guard("alpha = 0.01", "alpha = 0.07").alpha, 0.07);
    assert_eq!(guard("margin = 0.01", "margin = 0.07").margin, 0.07);
    assert_eq!(with("rows_max = 5_000", "rows_max = 0").guard, None);
    let drift = |line: &str, other: &str| with(line, other).drift.unwrap();
    assert_eq!(drift("window_rows = 400\neffect_min", "window_rows = 700\neffect_min").window_rows, 700);
    assert_eq!(drift("effect_min = 0.1", "effect_min = 0.7").effect_min, 0.7);
    assert_eq!(drift("\nq = 0.05", "\nq = 0.07").q, 0.07);
}

#[test]
fn sections_that_nothing_serves_are_said_once() {
    let config = parse(EVERY_SECTION).unwrap();
    assert_eq!(config.unserved("run").unwrap(), "`[pipeline.rain.rollout]` is not served by `run`");
    assert_eq!(config.unserved("up"), None);
    let text = EVERY_SECTION.split("[pipeline.rain.rollout]").next().unwrap();
    assert_eq!(parse(text).unwrap().unserved("run"), None);
}

#[test]
fn the_example_of_init_loads_and_has_nothing_unserved() {
    let config = parse(crate::commands::example()).unwrap();
    assert_eq!(config.unserved("run"), None);
    assert_eq!(lint(&config.pipelines[0].gate), Vec::<String>::new());
}

#[test]
fn unknown_keys_name_the_nearest() {
    check(
        "cooldown_rows = 500",
        "cooldown_row = 500",
        "unknown key `cooldown_row` in `[pipeline.rain.trigger]`",
        "cooldown_row",
        "did you mean `cooldown_rows`?",
    );
    check("step_rows = 50", "x = 1", "unknown key `x` in `[backtest]`", "x", "keys here: `seeds`, `step_rows`, `warmup_share`");
    check("[serve]", "[server]", "unknown key `server` in the file", "server", "did you mean `serve`?");
    check(
        "serving = true },\n  {",
        "servings = true },\n  {",
        "unknown key `servings` in `[pipeline.rain.cleaners]`",
        "servings",
        "did you mean `serving`?",
    );
    check(
        "test = \"superior\"",
        "test = \"superior\"\nmargin = 0.1",
        "unknown key `margin` in `[pipeline.rain.gate.rule]`",
        "margin",
        "keys here: `against`, `gain_max`, `id`, `metric`, `test`",
    );
    check(
        "ratio_max = 1.10",
        "ratio_max = 1.10\ngain_max = 0.1",
        "unknown key `gain_max` in `[pipeline.rain.gate.rule]`",
        "gain_max",
        "did you mean `ratio_max`?",
    );
    check(
        "column = \"visibility\"",
        "column = \"visability\"",
        "the contract has no column `visability`",
        "\"visability\"",
        "did you mean `visibility`?",
    );
}

#[test]
fn values_out_of_bounds_say_what_was_expected_and_found() {
    check("looks_max = 3", "looks_max = 0", "`[pipeline.rain.gate] looks_max` must be a whole number from 1 to 100, found `0`", "0", "");
    check("hidden = [32]", "hidden = [0]", "`[pipeline.rain.model] hidden` must be a whole number from 1 to 16,384, found `0`", "0", "");
    check(
        "confidence = 0.95",
        "confidence = 95",
        "`[pipeline.rain.gate] confidence` must be a number from 0.500001 to 0.999999, found `95`",
        "95",
        "",
    );
    check(
        "confidence = 0.95",
        "confidence = nan",
        "`[pipeline.rain.gate] confidence` must be a number from 0.500001 to 0.999999, found `nan`",
        "nan",
        "",
    );
    check(
        "window_rows = 4000",
        "window_rows = \"all\"",
        "`[pipeline.rain.model] window_rows` must be a whole number from 10 to 1,000,000,000, found the text `all`",
        "\"all\"",
        "",
    );
    check(
        "\"20GiB\"",
        "\"20 gigs\"",
        "`[store] disk_bytes_max` must be a size such as `256MiB`, from 64MiB to 1024TiB, found the text `20 gigs`",
        "\"20",
        "",
    );
    check(
        "delay = \"1d\"",
        "delay = \"a day\"",
        "`[pipeline.rain.contract.label] delay` must be a duration such as `1d` or `12h`, found `a day`",
        "\"a day\"",
        "",
    );
    check(
        "\"1949-01-01\"",
        "\"1949-02-30\"",
        "`[pipeline.rain.contract.time] origin` must be a date such as `1949-01-01`, or an instant, found `1949-02-30`",
        "\"1949",
        "",
    );
    check(
        "canary = [1, 5, 25, 50]",
        "canary = [5, 5]",
        "`[pipeline.rain.rollout] canary` must be at most 20 shares in percent, rising",
        "[5",
        "",
    );
    check(
        "canary = [1, 5, 25, 50]",
        "canary = [60]",
        "`[pipeline.rain.rollout] canary` must be a whole number from 1 to 50, found `60`",
        "60",
        "",
    );
    check(
        "metrics = [\"errors\", \"latency\", \"quality\"]",
        "metrics = [\"tokens\"]",
        "`[pipeline.rain.rollout] metrics` has no `tokens`",
        "\"tokens\"",
        "",
    );
    check(
        "requests_max = 20_000",
        "requests_max = 100",
        "`[pipeline.rain.rollout] requests_max` is 100, less than `burn_in`, which is 200",
        "100",
        "",
    );
    check(
        "window_rows = 400\n",
        "window_rows = 299\n",
        "`[pipeline.rain.drift] window_rows` is 299, of which nothing can be said",
        "299",
        "",
    );
    check(
        "window_rows = 500",
        "window_rows = 99",
        "`[pipeline.rain.estimate] window_rows` is 99, of which nothing can be estimated",
        "99",
        "",
    );
    check("\"auto\"", "\"tpu\"", "`[pipeline.rain.model] device` must be `auto`, `cpu` or `cuda:N`, found `tpu`", "\"tpu\"", "");
    check(
        "port = 443",
        "port = 70000",
        "`[plugin.webhook.grant.http] port` must be a whole number from 1 to 65,535, found `70000`",
        "70000",
        "",
    );
    check(
        "header = \"authorization\"",
        "header = \"author ization\"",
        "`[plugin.webhook.grant.secrets] header` is not the name of a header: `author ization`",
        "\"author",
        "",
    );
}

#[test]
fn words_that_are_no_choice_name_the_nearest() {
    check(
        "test = \"ratio-upper\"\nratio_max = 1.10",
        "test = \"ratio-uper\"",
        "`[pipeline.rain.gate.rule] test` cannot be `ratio-uper`",
        "\"ratio-uper\"",
        "did you mean `ratio-upper`?",
    );
    check(
        "rows = \"arriving\"",
        "rows = \"held out\"",
        "`[pipeline.rain.gate] rows` cannot be `held out`",
        "\"held out\"",
        "did you mean `held-out`?",
    );
    check(
        "temperature = \"f64\"",
        "temperature = \"float\"",
        "`[pipeline.rain.contract.columns] temperature` cannot be `float`",
        "\"float\"",
        "",
    );
    check(
        "family = \"mlp\"",
        "family = \"causal-lm\"",
        "this build does not train models of this family",
        "\"causal-lm\"",
        "`linear` and `mlp`",
    );
}

#[test]
fn names_that_refer_to_nothing_are_found() {
    check(
        "inputs = [\"weather\"]",
        "inputs = [\"wether\"]",
        "there is no input `wether` to grant",
        "\"wether\"",
        "did you mean `weather`?",
    );
    check(
        "plugin = \"csv\", config",
        "plugin = \"CSV reader\", config",
        "`CSV reader` cannot be a plugin name: expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter",
        "\"CSV reader\"",
        "",
    );
    check("id = \"not-naive\"", "id = \"not-worse\"", "two rules have the id `not-worse`", "\"not-worse\"", "");
    check("classes = [\"0\", \"1\"]", "classes = [\"0\", \"0\"]", "the class `0` is listed twice", "\"0\"", "");
    check(
        "temperature_max = \"f64\" }",
        "rain = \"f64\" }",
        "the label `rain` is also among the columns a model learns from",
        "{",
        "remove it from `columns`",
    );
}

#[test]
fn what_is_missing_comes_with_an_example() {
    check("new_rows = 1000", "", "`[pipeline.rain.trigger]` has no `new_rows`", "[[pipeline.rain.trigger]]", "add `new_rows = 1000`");
    check("column = \"rain\", ", "", "`[pipeline.rain.contract.label]` has no `column`", "{", "add `column = \"day\"`");
    check("path = \"weather.csv\"", "", "`[input.weather]` has no `path`", "[input.weather]", "add `path = \"rows.csv\"`");
    let error = parse("").expect_err("an empty file has no pipeline");
    assert_eq!(error.problems[0].message, "the file has no `pipeline`");
}

#[test]
fn a_public_address_needs_tokens_and_other_stores_are_refused() {
    check(
        "\"127.0.0.1:7070\"\ntokens = \"state/tokens\"",
        "\"0.0.0.0:7070\"",
        "`0.0.0.0:7070` is open to others and no tokens guard it",
        "\"0.0.0.0",
        "127.0.0.1",
    );
    check(
        "folder = \"state\" ",
        "metadata = \"postgres://x\" ",
        "`[store] metadata` is not served by this build, which keeps its state in a folder",
        "\"postgres",
        "set `folder`",
    );
}

#[test]
fn what_is_not_toml_is_said_at_its_place() {
    let error = parse("[store]\nfolder = state\n").expect_err("not TOML");
    assert!(error.problems[0].message.starts_with("this is not TOML: "), "{}", error.problems[0].message);
    assert_eq!(line_column("[store]\nfolder = state\n", error.problems[0].span.start), (2, 10));
}

#[test]
fn columns_can_be_tables() {
    let column = "{ dtype = \"utf8\", role = \"slice\", nullable = true, categories = [\"north\", \"south\"] }";
    let config = parse(&EVERY_SECTION.replace("visibility = \"f64\"", &format!("visibility = {column}"))).unwrap();
    let column = &config.pipelines[0].contract.columns[3];
    assert_eq!((column.name.as_str(), column.dtype, &column.role, column.nullable), ("visibility", DType::Utf8, &Role::Slice, true));
    let visibility = "visibility = \"f64\"";
    check(visibility, "visibility = { dtype = \"f64\", low = 2.0, high = 1.0 }", "`low` (2) is above `high` (1)", "1.0", "");
    check(
        visibility,
        "visibility = { dtype = \"f64\", categories = [] }",
        "`[pipeline.rain.contract.columns.visibility] categories` is for text columns",
        "[]",
        "",
    );
    check(
        visibility,
        "visibility = { dtype = \"utf8\", low = 1 }",
        "`[pipeline.rain.contract.columns.visibility] low` means nothing for a text column",
        "1",
        "",
    );
}

#[test]
fn missing_plugins_list_those_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = File { path: folder.path().join("tidegate.toml"), text: EVERY_SECTION.to_owned() };
    let config = file.check().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    for name in ["csv", "missing", "range", "classificatoin", "log"] {
        touch(&plugins.join(format!("{name}.wasm")));
    }
    let error = config.check_files().expect_err("two plugins and the input are missing");
    let messages: Vec<String> =
        error.problems.iter().map(|problem| problem.message.replace(&folder.path().display().to_string(), "…")).collect();
    assert_eq!(messages[0], "there is no file or folder `…/weather.csv` for the input `weather`");
    assert!(messages[1].starts_with("there is no evaluator plugin `classification` in `"), "{}", messages[1]);
    assert!(messages[2].starts_with("there is no evaluator plugin `latency` in `"), "{}", messages[2]);
    let hint = error.problems[1].hint.clone().unwrap();
    assert_eq!(hint, "did you mean `classificatoin`? found there: `classificatoin`, `csv`, `log`, `missing`, `range`");
    for name in ["plugins/classification.wasm", "plugins/latency.wasm", "weather.csv"] {
        touch(&folder.path().join(name));
    }
    assert!(config.check_files().is_ok());
}

fn touch(path: &Path) {
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
}

#[test]
fn a_pipeline_is_chosen_by_name() {
    let config = parse(EVERY_SECTION).unwrap();
    assert!(config.pipeline(Some("rain")).is_ok());
    let error = config.pipeline(Some("rian")).expect_err("there is no such pipeline");
    assert_eq!(error.problems[0].hint.as_deref(), Some("did you mean `rain`?"));
}

proptest! {
    /// Whatever a person deletes or types into the file, the answer is a configuration or problems with places inside the file.
    #[test]
    fn no_text_panics(start in 0usize..EVERY_SECTION.len(), length in 0usize..80, typed in "\\PC{0,12}") {
        let boundary = |at: usize| (at.min(EVERY_SECTION.len())..).find(|at| EVERY_SECTION.is_char_boundary(*at)).unwrap();
        let (start, end) = (boundary(start), boundary(start + length));
        let text = format!("{}{typed}{}", &EVERY_SECTION[..start], &EVERY_SECTION[end..]);
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems.is_empty());
            for problem in &error.problems {
                prop_assert!(problem.span.end <= text.len() && problem.span.start <= problem.span.end);
            }
            let failure = crate::failure::Failure::from(error);
            prop_assert!(failure.render(false).starts_with("error: "));
        }
    }
}
