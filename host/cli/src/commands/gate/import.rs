//! `tidegate gate import`: thresholds of TensorFlow Model Analysis and of MLflow as rules of ours.
//!
//! Both compare point values, so that what is written here asks for more than what was read: that the bound is shown to hold. What
//! has no counterpart is named, never dropped in silence.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use tidegate_policy::{Against, Rule, Test};

use crate::args::ThresholdsOf;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Bytes of a file of thresholds.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file of thresholds says, in our words.
#[derive(Debug, Default, PartialEq)]
struct Imported {
    rules: Vec<Rule>,
    /// What it says beside that, and why it could not be carried over.
    left: Vec<String>,
}

/// Prints the rules of the settings that say what the file says.
///
/// # Errors
/// A [`Failure`] when the file cannot be read, is no JSON, or holds no thresholds.
pub fn import(from: ThresholdsOf, path: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut text = String::new();
    let failed = |error| Failure::from(anyhow::Error::new(error).context(format!("could not read `{}`", path.display())));
    crate::commands::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let hint = "write it as JSON first: a proto by `json_format.MessageToJson`, YAML by any converter";
        Failure::usage(format!("`{}` is no JSON: {error}", path.display()), hint)
    })?;
    let imported = match from {
        ThresholdsOf::Tfma => tfma(&value),
        ThresholdsOf::Mlflow => mlflow(&value),
    };
    if imported.rules.is_empty() && imported.left.is_empty() {
        let hint = match from {
            ThresholdsOf::Tfma => {
                "expected an `EvalConfig` with `metricsSpecs`, of which one has `thresholds` or `metrics` with a `threshold`"
            }
            ThresholdsOf::Mlflow => "expected an object of metrics, each with `threshold`, `min_absolute_change` or `min_relative_change`",
        };
        return Err(Failure::usage(format!("`{}` holds no thresholds", path.display()), hint));
    }
    terminal.result(|| imported.text(), || json!({ "rules": imported.rules, "left": imported.left }));
    Ok(Exit::Ok)
}

impl Imported {
    fn add(&mut self, metric: &str, suffix: &str, against: Against, test: Test) {
        let id = format!("{metric}-{suffix}");
        self.rules.push(Rule { id, metric: metric.to_owned(), against, test, gain_max: None });
    }

    fn leave(&mut self, metric: &str, why: &str) {
        self.left.push(format!("`{metric}`: {why}"));
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for left in &self.left {
            out += &format!("# not carried over: {left}\n");
        }
        for Rule { id, metric, against, test, .. } in &self.rules {
            out += &format!("[[pipeline.NAME.gate.rule]]\nid = {}\nmetric = {}\n", quoted(id), quoted(metric));
            if *against != Against::Bound {
                out += &format!("against = \"{against}\"\n");
            }
            out += &format!("test = \"{}\"\n", test.word());
            out += &match test {
                Test::NonInferior { margin } => format!("margin = {margin:?}\n"),
                Test::LowerBound { bound } | Test::UpperBound { bound } => format!("bound = {bound:?}\n"),
                Test::RatioUpper { ratio_max } => format!("ratio_max = {ratio_max:?}\n"),
                Test::Superior => String::new(),
            };
        }
        out
    }
}

/// A JSON text is a TOML basic string, too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The `EvalConfig` of TensorFlow Model Analysis, with names in either style of proto JSON.
fn tfma(config: &Value) -> Imported {
    let mut imported = Imported::default();
    for spec in list(config, "metricsSpecs", "metrics_specs") {
        for metric in list(spec, "metrics", "metrics") {
            let name = metric_name(metric);
            if let Some(threshold) = metric.get("threshold") {
                tfma_threshold(&mut imported, &name, threshold);
            }
            for _ in list(metric, "perSliceThresholds", "per_slice_thresholds") {
                imported.leave(&name, "a threshold of one slice; `[[pipeline.NAME.gate.slice]]` judges every rule in each");
            }
        }
        if let Some(thresholds) = spec.get("thresholds").and_then(Value::as_object) {
            thresholds.iter().for_each(|(name, threshold)| tfma_threshold(&mut imported, name, threshold));
        }
    }
    imported
}

/// The name in a metric's own configuration, else its class in small letters: `BinaryAccuracy` is `binary_accuracy`.
fn metric_name(metric: &Value) -> String {
    let config = either(metric, "config", "config").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(name) = config.as_ref().and_then(|config| config.get("name")).and_then(Value::as_str) {
        return name.to_owned();
    }
    let class = either(metric, "className", "class_name").and_then(Value::as_str).unwrap_or("metric");
    let mut name = String::new();
    let mut before_is_small = false;
    for letter in class.chars() {
        if letter.is_uppercase() && before_is_small {
            name.push('_');
        }
        before_is_small = letter.is_lowercase() || letter.is_ascii_digit();
        name.extend(letter.to_lowercase());
    }
    name
}

fn tfma_threshold(imported: &mut Imported, metric: &str, threshold: &Value) {
    if let Some(value) = either(threshold, "valueThreshold", "value_threshold") {
        let bound = |camel: &str, snake: &str| either(value, camel, snake).and_then(number);
        if let Some(bound) = bound("lowerBound", "lower_bound") {
            imported.add(metric, "floor", Against::Bound, Test::LowerBound { bound });
        }
        if let Some(bound) = bound("upperBound", "upper_bound") {
            imported.add(metric, "ceiling", Against::Bound, Test::UpperBound { bound });
        }
    }
    let Some(change) = either(threshold, "changeThreshold", "change_threshold") else { return };
    let is_less_better = change.get("direction").and_then(Value::as_str) == Some("LOWER_IS_BETTER");
    if let Some(absolute) = change.get("absolute").and_then(number) {
        // Of a metric that should rise the threshold is the least change, of one that should fall the largest.
        gain(imported, metric, if is_less_better { -absolute } else { absolute });
    }
    if let Some(relative) = change.get("relative").and_then(number) {
        if is_less_better && relative >= 0.0 {
            imported.add(metric, "not-much-more", Against::Champion, Test::RatioUpper { ratio_max: 1.0 + relative });
        } else {
            imported.leave(metric, "a relative change, for which there is no test; state it as a `margin` in units of the metric");
        }
    }
}

/// The thresholds that MLflow's `validate_evaluation_results` takes, by metric.
fn mlflow(thresholds: &Value) -> Imported {
    let mut imported = Imported::default();
    let none = Map::new();
    for (metric, threshold) in thresholds.as_object().unwrap_or(&none) {
        let is_better = |key: &str| threshold.get(key).and_then(Value::as_bool);
        let is_more_better = is_better("greater_is_better").or(is_better("higher_is_better")).unwrap_or(true);
        if let Some(bound) = threshold.get("threshold").and_then(number) {
            let (suffix, test) =
                if is_more_better { ("floor", Test::LowerBound { bound }) } else { ("ceiling", Test::UpperBound { bound }) };
            imported.add(metric, suffix, Against::Bound, test);
        }
        if let Some(change) = threshold.get("min_absolute_change").and_then(number) {
            gain(&mut imported, metric, change);
        }
        if threshold.get("min_relative_change").and_then(number).is_some() {
            imported.leave(metric, "`min_relative_change`, for which there is no test; state it as a `margin` in units of the metric");
        }
        let known = ["threshold", "min_absolute_change", "min_relative_change", "greater_is_better", "higher_is_better"];
        let others: BTreeSet<&String> =
            threshold.as_object().unwrap_or(&none).keys().filter(|key| !known.contains(&key.as_str())).collect();
        others.into_iter().for_each(|key| imported.leave(metric, &format!("the key `{key}`, which means nothing here")));
    }
    imported
}

/// A change in favour of the challenger that must be reached, at least.
fn gain(imported: &mut Imported, metric: &str, least: f64) {
    match least {
        0.0 => imported.add(metric, "better", Against::Champion, Test::Superior),
        least if least < 0.0 && least > -1.0 => {
            imported.add(metric, "not-worse", Against::Champion, Test::NonInferior { margin: -least });
        }
        _ => imported.leave(metric, &format!("a change of {least} at least; `superior` asks for any, and no test for so much")),
    }
}

/// A number, as it may be written: plainly, as text, or as the message that it is in a proto.
fn number(value: &Value) -> Option<f64> {
    let value = value.get("value").unwrap_or(value);
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite())
}

fn either<'v>(value: &'v Value, camel: &str, snake: &str) -> Option<&'v Value> {
    value.get(camel).or_else(|| value.get(snake))
}

fn list<'v>(value: &'v Value, camel: &str, snake: &str) -> impl Iterator<Item = &'v Value> {
    either(value, camel, snake).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(imported: &Imported, rules: &[(&str, &str, Test)], left: &[&str]) {
        let found: Vec<(&str, &str, Test)> = imported.rules.iter().map(|rule| (rule.id.as_str(), rule.against.word(), rule.test)).collect();
        assert_eq!(found, rules);
        assert_eq!(imported.left, left);
        // What is printed is a gate: it reads back as these rules.
        let text = imported.text().replace("pipeline.NAME.gate.rule", "rule");
        let gate: tidegate_policy::Gate = toml::from_str(&format!("dependence = \"time\"\n{text}")).unwrap();
        assert_eq!(gate.rules, imported.rules);
    }

    #[test]
    fn tfma_thresholds_in_either_style() {
        let config = json!({ "metricsSpecs": [{
            "metrics": [
                { "className": "BinaryAccuracy", "threshold": {
                    "valueThreshold": { "lowerBound": { "value": 0.5 } } } },
                { "className": "AUC", "config": "{\"name\": \"auroc\"}", "threshold": {
                    "valueThreshold": { "lowerBound": 0.7, "upperBound": "0.99" },
                    "changeThreshold": { "direction": "HIGHER_IS_BETTER", "absolute": -0.01 } } },
                { "className": "MeanSquaredError", "threshold": {
                    "changeThreshold": { "direction": "LOWER_IS_BETTER", "absolute": 0.02, "relative": 0.1 } } },
            ],
        }, { "thresholds": { "f1": { "change_threshold": { "absolute": 0.0, "relative": 0.01 } } } }] });
        check(
            &tfma(&config),
            &[
                ("binary_accuracy-floor", "bound", Test::LowerBound { bound: 0.5 }),
                ("auroc-floor", "bound", Test::LowerBound { bound: 0.7 }),
                ("auroc-ceiling", "bound", Test::UpperBound { bound: 0.99 }),
                ("auroc-not-worse", "champion", Test::NonInferior { margin: 0.01 }),
                ("mean_squared_error-not-worse", "champion", Test::NonInferior { margin: 0.02 }),
                ("mean_squared_error-not-much-more", "champion", Test::RatioUpper { ratio_max: 1.1 }),
                ("f1-better", "champion", Test::Superior),
            ],
            &["`f1`: a relative change, for which there is no test; state it as a `margin` in units of the metric"],
        );
        let sliced = json!({ "metrics_specs": [{ "metrics": [{ "class_name": "BinaryAccuracy", "per_slice_thresholds": [{}] }] }] });
        let left = "`binary_accuracy`: a threshold of one slice; `[[pipeline.NAME.gate.slice]]` judges every rule in each";
        assert_eq!(tfma(&sliced).left, [left]);
    }

    #[test]
    fn mlflow_thresholds() {
        let thresholds = json!({
            "accuracy_score": { "threshold": 0.8, "min_absolute_change": 0.05, "greater_is_better": true, "note": "x" },
            "log_loss": { "threshold": 0.6, "min_absolute_change": 0, "min_relative_change": 0.01, "higher_is_better": false },
        });
        check(
            &mlflow(&thresholds),
            &[
                ("accuracy_score-floor", "bound", Test::LowerBound { bound: 0.8 }),
                ("log_loss-ceiling", "bound", Test::UpperBound { bound: 0.6 }),
                ("log_loss-better", "champion", Test::Superior),
            ],
            &[
                "`accuracy_score`: a change of 0.05 at least; `superior` asks for any, and no test for so much",
                "`accuracy_score`: the key `note`, which means nothing here",
                "`log_loss`: `min_relative_change`, for which there is no test; state it as a `margin` in units of the metric",
            ],
        );
        assert_eq!(mlflow(&json!([1])), Imported::default());
    }
}
