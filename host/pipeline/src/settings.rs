//! The checked settings of one pipeline, without any file format.

use tidegate_model::ModelSpec;
use tidegate_policy::{DriftSettings, Gate, GuardSettings, RolloutSettings, TriggerRule};
use tidegate_vocab::{Contract, Digest, PipelineId, Seed};

use crate::FailureRules;

/// What a pipeline does. Values are checked by whoever makes one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub id: PipelineId,
    /// What the columns must be.
    pub contract: Contract,
    /// The class whose F1 is reported.
    pub positive_class: String,
    /// What is trained.
    pub model: ModelSpec,
    /// How many of the newest labelled rows a run trains on.
    pub window_rows: u64,
    /// Rows held out for the gate when it judges held-out rows.
    pub held_out_rows: u64,
    /// Newest rows on which a small fit has to beat the champion before a version is trained; 0 for no such trial.
    pub trial_rows: u64,
    /// How drift is looked for; `None` where it is not.
    pub drift: Option<DriftSettings>,
    /// Rows of one estimate of quality without labels; 0 for none.
    pub estimate_rows: u64,
    /// When a run starts.
    pub triggers: Vec<TriggerRule>,
    /// When a version may serve.
    pub gate: Gate,
    /// How a version that passed its gate takes over requests; `None` where it serves at once, since nobody asks or nobody said how.
    pub rollout: Option<RolloutSettings>,
    /// How a champion is held against the version before; `None` where it is not.
    pub guard: Option<GuardSettings>,
    /// Every challenger becomes champion at once; only `backtest --no-gate` asks for it, to compare with.
    pub ungated: bool,
    /// The seed of all chance in the pipeline.
    pub seed: Seed,
    /// Rows that one poll asks for.
    pub poll_rows_max: u32,
    /// Bytes that one poll asks for.
    pub poll_bytes_max: u64,
    /// When a plugin that fails is no longer called.
    pub failures: FailureRules,
}

impl Settings {
    /// The digest of the gate's rules, which decisions name.
    pub fn gate_digest(&self) -> Digest {
        gate_digest(&self.gate)
    }

    /// The digest of what is trained, which is part of a version's fingerprint.
    pub fn model_digest(&self) -> Digest {
        Digest::of(serde_json::to_vec(&(&self.model, self.window_rows)).expect("a spec is plain data"))
    }
}

/// The digest of a gate.
pub(crate) fn gate_digest(gate: &Gate) -> Digest {
    Digest::of(serde_json::to_vec(gate).expect("a gate is plain data"))
}
