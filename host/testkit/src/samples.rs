//! Small valid nouns, each different by its number.

use tidegate_vocab::{
    CleanPart, CleanerState, Contract, ContractColumn, DType, DecidedBy, Decision, DecisionKind, Digest, LabelColumn, LateLabel,
    LoggedPrediction, ModelVersion, PipelineId, Quarantined, RawPart, Role, RuleVerdict, Run, RunId, RunState, Snapshot, StateLayer,
    Timestamp, Verdict, VersionNo, VersionState,
};

/// The pipeline of most tests.
pub fn pipeline() -> PipelineId {
    named("weather")
}

/// The pipeline called `name`.
///
/// # Panics
/// When `name` is not a pipeline's.
pub fn named(name: &str) -> PipelineId {
    name.parse().expect("a valid pipeline id")
}

/// The digest of a number.
pub fn digest(number: u64) -> Digest {
    Digest::of(number.to_le_bytes())
}

/// A raw part of `row_count` rows that begins at `first_row`.
pub fn raw_part(first_row: u64, row_count: u64) -> RawPart {
    RawPart {
        digest: digest(first_row),
        first_row,
        row_count,
        byte_count: row_count.saturating_mul(8),
        polled_at: Timestamp(first_row as i64),
    }
}

/// A cleaned part of `raw` behind chain `chain`; its first row is kept out.
pub fn clean_part(raw: &RawPart, chain: u64) -> CleanPart {
    CleanPart {
        chain: digest(chain),
        raw: raw.digest,
        digest: Digest::of_fields([&raw.digest.as_bytes()[..], &chain.to_le_bytes()]),
        first_row: raw.first_row,
        row_count: raw.row_count.saturating_sub(1),
        byte_count: raw.row_count.saturating_mul(4),
        event_time: Some((Timestamp(0), Timestamp(raw.row_count as i64))),
        quarantined: vec![Quarantined { by: "contract".into(), reason: "null:rain".into(), rows: vec![raw.first_row] }],
        state: Vec::new(),
    }
}

/// The state of the cleaner at a place, of two layers.
pub fn cleaner_state(cleaner: u32, layer: u64) -> CleanerState {
    let layers = [layer, layer + 1_000].map(|number| StateLayer { digest: digest(number), changes: number });
    CleanerState { cleaner, layers: layers.to_vec() }
}

/// A queued run.
pub fn run(id: u64) -> Run {
    Run {
        id: RunId(id),
        state: RunState::Queued,
        trigger: "1,000 new rows".into(),
        seed: id,
        started_at: Timestamp(id as i64),
        started_row: 10 * id,
        snapshot: None,
        version: None,
        looks: 0,
        decision: None,
        note: None,
        by_hand: false,
        serving: Vec::new(),
    }
}

/// A challenger.
pub fn version(number: u32) -> ModelVersion {
    let content = u64::from(number);
    ModelVersion {
        number: VersionNo(number),
        state: VersionState::Challenger,
        run: RunId(content),
        parent: None,
        snapshot: digest(100 + content),
        weights: digest(200 + content),
        manifest: digest(300 + content),
        fingerprint: digest(400 + content),
        trained_until_row: 10 * content,
        created_at: Timestamp(content as i64),
        serving: Vec::new(),
    }
}

/// A decision of the gate without evidence.
pub fn decision(kind: DecisionKind, version: u32, parent: Option<u32>) -> Decision {
    Decision {
        kind,
        version: VersionNo(version),
        parent: parent.map(VersionNo),
        by: DecidedBy::Gate,
        at: Timestamp(i64::from(version)),
        run: Some(RunId(u64::from(version))),
        look: 1,
        evidence: None,
        rules: Vec::new(),
        reason: "every rule passed".into(),
    }
}

/// A rule that passed.
pub fn verdict(challenger: Option<f64>, threshold: f64) -> RuleVerdict {
    RuleVerdict {
        rule: "not-worse".into(),
        verdict: Verdict::Pass,
        metric: "accuracy".into(),
        against: "champion".into(),
        method: "tango".into(),
        challenger,
        other: Some(0.75),
        estimate: Some(0.01),
        interval: Some((-0.005, 0.025)),
        threshold,
        alpha: 0.05,
        rows: 1_200,
        reason: "the lower bound is above the margin".into(),
    }
}

/// A dataset without parts.
pub fn snapshot(number: u64) -> Snapshot {
    let columns = vec![ContractColumn {
        name: "temperature".into(),
        dtype: DType::F64,
        role: Role::Feature,
        nullable: true,
        low: Some(-60.0),
        high: Some(60.5),
        categories: None,
    }];
    let label = LabelColumn { column: "rain".into(), classes: vec!["0".into(), "1".into()], delay_us: 0, by_id: false };
    Snapshot {
        chain: digest(1),
        cleaners: vec![digest(2)],
        contract: Contract { id: None, time: None, label, columns },
        parts: Vec::new(),
        event_cutoff: Timestamp(number as i64),
        knowledge_cutoff: Timestamp(number as i64),
        row_count: 0,
        splits: Vec::new(),
        late_labels: None,
        history: Vec::new(),
    }
}

/// An answer for the row named `row_id`.
pub fn prediction(row_id: &str, at: i64) -> LoggedPrediction {
    let features = [("wind".to_owned(), serde_json::json!(0.1 + 0.2))].into_iter().collect();
    LoggedPrediction {
        row_id: row_id.to_owned(),
        at: Timestamp(at),
        version: VersionNo(1),
        predicted: "1".into(),
        probabilities: vec![0.25, 0.75],
        features,
        latency_ns: 1_000,
        arm: None,
    }
}

/// A label of the row named `row_id`.
pub fn label(row_id: &str, class: &str, known_at: i64) -> LateLabel {
    LateLabel { row_id: row_id.to_owned(), class: class.to_owned(), known_at: Timestamp(known_at) }
}
