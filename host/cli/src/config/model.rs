//! `[pipeline.NAME.model]`: what is trained, on how much, and where.

use super::section::Section;

/// `[pipeline.NAME.model]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What kind of model.
    pub family: Family,
    /// Widths of the hidden layers of an `mlp`.
    pub hidden: Vec<usize>,
    /// Newest rows that a version is trained on; all, when absent.
    pub window_rows: Option<u64>,
    /// Share of those, the newest, on which training decides when to stop.
    pub validation_share: f64,
    /// The seed of everything random in training.
    pub seed: u64,
    /// Where it is trained.
    pub device: DeviceChoice,
    /// Passes over the rows at most.
    pub epochs_max: u32,
    /// Rows of one step.
    pub batch_rows: u32,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// Decay of weights in each step, times the step size.
    pub weight_decay: f64,
    /// Share of hidden units that a step leaves out.
    pub dropout: f64,
    /// Epochs without gain on the validation rows after which training stops.
    pub patience_epochs: u32,
    /// How classes count.
    pub class_weights: ClassWeights,
}

/// What kind of model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Logistic or softmax regression.
    Linear,
    /// A perceptron with hidden layers.
    Mlp,
}

/// Where a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that works, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// One GPU, by number.
    Cuda(u32),
}

/// How much the rows of a class count in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassWeights {
    /// Every row counts the same.
    None,
    /// Every class counts the same.
    Balanced,
}

pub(super) fn model(section: Section<'_>) -> ModelConfig {
    let family = family(&section);
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let mut config = ModelConfig {
        family,
        hidden: if family == Family::Mlp { vec![32] } else { Vec::new() },
        window_rows: section.integer("window_rows", 10..=1_000_000_000),
        validation_share: section.number("validation_share", 0.0..=0.5).unwrap_or(0.15),
        seed: section.integer("seed", 0..=u64::from(u32::MAX)).unwrap_or(0),
        device: device(&section),
        epochs_max: section.integer("epochs_max", 1..=100_000).map_or(200, narrow),
        batch_rows: section.integer("batch_rows", 1..=1_000_000).map_or(256, narrow),
        learning_rate: section.number("learning_rate", 1e-9..=10.0).unwrap_or(1e-3),
        weight_decay: section.number("weight_decay", 0.0..=10.0).unwrap_or(1e-4),
        dropout: section.number("dropout", 0.0..=0.95).unwrap_or(0.0),
        patience_epochs: section.integer("patience_epochs", 1..=100_000).map_or(10, narrow),
        class_weights: section
            .choice("class_weights", &[("none", ClassWeights::None), ("balanced", ClassWeights::Balanced)])
            .unwrap_or(ClassWeights::None),
    };
    if let Some(hidden) = section.integers("hidden", 1..=65_536) {
        if hidden.len() > 16 {
            section.problem(section.place("hidden"), format!("{} lists more than 16 layers", section.named("hidden")), "too deep", None);
        }
        if family == Family::Linear && !hidden.is_empty() {
            let hint = "set `family = \"mlp\"`, or remove `hidden`".to_owned();
            section.problem(section.place("hidden"), "a `linear` model has no hidden layers", "not for `linear`", Some(hint));
        }
        config.hidden = hidden.iter().filter_map(|width| usize::try_from(width.value).ok()).collect();
    }
    section.finish();
    config
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

fn device(section: &Section<'_>) -> DeviceChoice {
    let parse = |text: &str| match text {
        "auto" => Some(DeviceChoice::Auto),
        "cpu" => Some(DeviceChoice::Cpu),
        _ => text.strip_prefix("cuda:")?.parse().ok().filter(|number| *number < 1_024).map(DeviceChoice::Cuda),
    };
    section.parsed("device", "`auto`, `cpu` or `cuda:N`", parse).unwrap_or(DeviceChoice::Auto)
}
