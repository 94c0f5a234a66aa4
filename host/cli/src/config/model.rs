//! `[pipeline.NAME.model]`: what is trained, on how much, and where.

use tidegate_model::{Calibration, ClassWeights, DeviceChoice, Family, LAG_MAX, Lags, LearningRateDecay, ModelSpec, SpecIssue};

use super::section::Section;

/// Newest labelled rows that a version is trained on when the file does not say.
const WINDOW_ROWS: u64 = 10_000;
/// Most rows of a training window.
const WINDOW_ROWS_MAX: u64 = 1_000_000_000;

/// `[pipeline.NAME.model]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What is trained.
    pub spec: ModelSpec,
    /// Newest labelled rows that a version is trained on.
    pub window_rows: u64,
    /// Newest rows of the window that a gate on held-out rows keeps for itself.
    pub held_out_rows: u64,
    /// Newest rows on which a small fit has to beat the champion before a version is trained; 0 for no such trial.
    pub trial_rows: u64,
    /// The seed of everything random in the pipeline.
    pub seed: u64,
}

pub(super) fn model(section: Section<'_>) -> ModelConfig {
    let family = family(&section);
    let mut spec = ModelSpec::new(family);
    spec.device = section.parsed("device", "`auto`, `cpu` or `cuda:N`", |text| text.parse::<DeviceChoice>().ok()).unwrap_or(spec.device);
    hidden(&section, &mut spec);
    steps(&section, &mut spec);
    spec.lags = section.section("lags").map(lags).unwrap_or_default();
    let window_rows = section.integer("window_rows", 10..=WINDOW_ROWS_MAX).unwrap_or(WINDOW_ROWS);
    let held_out_rows = section.integer("held_out_rows", 1..=WINDOW_ROWS_MAX).unwrap_or(window_rows / 5);
    if held_out_rows >= window_rows {
        let text = format!("`held_out_rows` is {held_out_rows} of the {window_rows} rows of the window; nothing is left to train on");
        let hint = Some("a fifth of `window_rows` is usual".to_owned());
        section.problem(section.place("held_out_rows"), text, "as many as the window has", hint);
    }
    let trial_rows = section.integer("trial_rows", 0..=WINDOW_ROWS_MAX).unwrap_or(0);
    if trial_rows >= window_rows {
        let text =
            format!("`trial_rows` is {trial_rows} of the {window_rows} rows of the window; nothing is left for the trial to learn from");
        section.problem(
            section.place("trial_rows"),
            text,
            "as many as the window has",
            Some("a tenth of `window_rows` is usual".to_owned()),
        );
    }
    let seed = section.integer("seed", 0..=u64::from(u32::MAX)).unwrap_or(0);
    // The bounds above are the model's own; this catches one that was changed there and not here.
    for issue in spec.check().into_iter().filter(|issue| !issue.key.starts_with("lags.")) {
        section.problem(section.place(issue.key), format!("{}: {issue}", section.named(issue.key)), "out of bounds", None);
    }
    section.finish();
    ModelConfig { spec, window_rows, held_out_rows, trial_rows, seed }
}

/// `[pipeline.NAME.model.lags]`: what the model sees of earlier rows.
fn lags(section: Section<'_>) -> Lags {
    let numbers = |key: &str| {
        let numbers = section.integers(key, 1..=u64::from(LAG_MAX)).unwrap_or_default();
        numbers.iter().filter_map(|number| u32::try_from(number.value).ok()).collect()
    };
    let columns = section.texts("columns").map(|columns| columns.into_iter().map(|column| column.value).collect());
    let lags = Lags { rows: numbers("rows"), columns, labels: numbers("labels") };
    if let Some(issue) = lags.check().into_iter().next() {
        lag_problem(&section, &issue);
    }
    section.finish();
    lags
}

/// Points at the key of `[pipeline.NAME.model.lags]` that an issue is about.
pub(super) fn lag_problem(section: &Section<'_>, issue: &SpecIssue) {
    let key = issue.key.trim_start_matches("lags.");
    let text = format!("{} is {}; expected {}", section.named(key), issue.found, issue.expected);
    section.problem(section.place(key), text, "no lag can be made of this", None);
}

fn steps(section: &Section<'_>, spec: &mut ModelSpec) {
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let wide = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    spec.epochs_max = section.integer("epochs_max", 1..=100_000).map_or(spec.epochs_max, narrow);
    spec.patience_epochs = section.integer("patience_epochs", 1..=100_000).map_or(spec.patience_epochs, narrow);
    spec.batch_rows = section.integer("batch_rows", 1..=1 << 20).map_or(spec.batch_rows, wide);
    spec.ensemble = section.integer("ensemble", 1..=16).map_or(spec.ensemble, wide);
    spec.learning_rate = section.number("learning_rate", 1e-9..=10.0).unwrap_or(spec.learning_rate);
    spec.weight_decay = section.number("weight_decay", 0.0..=10.0).unwrap_or(spec.weight_decay);
    spec.dropout = section.number("dropout", 0.0..=0.95).unwrap_or(spec.dropout);
    spec.validation_share = section.number("validation_share", 0.0..=0.5).unwrap_or(spec.validation_share);
    spec.l2 = section.number("l2", 0.0..=1e12).unwrap_or(spec.l2);
    let decays = [("constant", LearningRateDecay::Constant), ("cosine", LearningRateDecay::Cosine)];
    spec.learning_rate_decay = section.choice("learning_rate_decay", &decays).unwrap_or(spec.learning_rate_decay);
    let weights = [("none", ClassWeights::None), ("balanced", ClassWeights::Balanced)];
    spec.class_weights = section.choice("class_weights", &weights).unwrap_or(spec.class_weights);
    let calibrations = [("none", Calibration::None), ("temperature", Calibration::Temperature)];
    spec.calibration = section.choice("calibration", &calibrations).unwrap_or(spec.calibration);
}

fn hidden(section: &Section<'_>, spec: &mut ModelSpec) {
    let Some(hidden) = section.integers("hidden", 1..=16_384) else { return };
    if spec.family == Family::Linear && !hidden.is_empty() {
        let hint = "set `family = \"mlp\"`, or remove `hidden`".to_owned();
        section.problem(section.place("hidden"), "a `linear` model has no hidden layers", "not for `linear`", Some(hint));
    }
    spec.hidden = hidden.iter().filter_map(|width| usize::try_from(width.value).ok()).collect();
}

fn family(section: &Section<'_>) -> Family {
    const LATER: [&str; 2] = ["text-encoder", "causal-lm"];
    if !section.has("family") {
        section.missing("family", "what is trained", "family = \"mlp\"");
    }
    let served = [("linear", Some(Family::Linear)), ("mlp", Some(Family::Mlp))];
    let known: Vec<(&str, Option<Family>)> = served.into_iter().chain(LATER.map(|word| (word, None))).collect();
    let family = section.choice("family", &known);
    if family == Some(None) {
        let hint = "the families of this build are `linear` and `mlp`".to_owned();
        section.problem(section.place("family"), "this build does not train models of this family", "not in this build", Some(hint));
    }
    family.flatten().unwrap_or(Family::Mlp)
}
