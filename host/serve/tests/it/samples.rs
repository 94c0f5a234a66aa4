//! A state of the host with something in every place.

use tidegate_serve::{
    ChampionStatus, DriftStatus, EstimateStatus, Move, Node, PipelineStatus, PluginStatus, Reload, RolloutStatus, RunStatus,
    SettingsStatus, Status,
};
use tidegate_vocab::{DecidedBy, Decision, DecisionKind, QualityPoint, RuleVerdict, RunId, Timestamp, Verdict, VersionNo};

/// 2026-01-01T00:00:00Z.
const NOW_US: i64 = 1_767_225_600_000_000;
const DAY_US: i64 = 86_400_000_000;

fn days_ago(days: i64) -> Timestamp {
    Timestamp(NOW_US - days * DAY_US)
}

/// One pipeline that has been promoted, rolled back and promoted again, and looks at its fourth version.
pub fn status() -> Status {
    Status {
        host_version: "0.1.0".into(),
        started_at: days_ago(1),
        settings: settings(),
        pipelines: vec![pipeline("rain")],
        plugins: vec![
            plugin("csv", "source", Vec::new()),
            plugin(
                "missing",
                "cleaner",
                vec![Reload {
                    at: days_ago(0),
                    digest: Some("cd".repeat(32)),
                    result: "replaced".into(),
                    refused: None,
                    differences: vec!["cleaner of `rain`: on 4000 rows in 4 batches nothing differs; 1.2 ms before, 1.1 ms now".into()],
                }],
            ),
            plugin("range", "cleaner", vec![refused()]),
            plugin("classification", "evaluator", Vec::new()),
            plugin("log", "alerter", Vec::new()),
        ],
    }
}

/// One key taken up, one that waits for a restart, and a file that was broken since.
fn settings() -> SettingsStatus {
    let applied = Reload {
        at: days_ago(0),
        digest: Some("ab".repeat(32)),
        result: "applied".into(),
        refused: None,
        differences: vec!["`plugins.strikes_max`: 3 to 5".into()],
    };
    SettingsStatus {
        file: "tidegate.toml".into(),
        digest: "ab".repeat(32),
        waiting: vec!["`serve.listen`: \"127.0.0.1:7070\" to \"127.0.0.1:7071\"".into()],
        refused: Some("tidegate.toml:9:1: unknown key `strike_max` in `[plugins]`".into()),
        reloads: vec![applied],
    }
}

fn refused() -> Reload {
    let why = "the new file has the world `source`; expected `cleaner`";
    Reload { at: days_ago(0), digest: Some("ef".repeat(32)), result: "refused".into(), refused: Some(why.into()), differences: Vec::new() }
}

fn plugin(name: &str, kind: &str, reloads: Vec<Reload>) -> PluginStatus {
    PluginStatus {
        name: name.parse().unwrap(),
        kind: kind.into(),
        version: "0.1.0".into(),
        digest: "ab".repeat(32),
        pipelines: vec!["rain".parse().unwrap()],
        struck: Vec::new(),
        reloads,
    }
}

/// The pipeline `name`.
pub fn pipeline(name: &str) -> PipelineStatus {
    PipelineStatus {
        id: name.parse().unwrap(),
        now: Timestamp(NOW_US),
        replayed: false,
        at: Node::Gate,
        doing: "waits for 84 more labelled rows before it looks at v4 again".into(),
        stalled: None,
        source: "csv".parse().unwrap(),
        cleaners: vec!["missing".parse().unwrap(), "range".parse().unwrap()],
        evaluators: vec!["classification".parse().unwrap()],
        alerters: vec!["log".parse().unwrap()],
        family: "mlp".into(),
        features: ["temperature", "humidity", "pressure", "wind"].map(String::from).to_vec(),
        classes: vec!["no".into(), "yes".into()],
        rows: 18_159,
        quarantined: vec![("range".into(), "range:wind".into(), 37), ("contract".into(), "null:pressure".into(), 12)],
        dead_letters: Vec::new(),
        last_rows_at: Some(Timestamp(NOW_US - 40_000_000)),
        predictions: 17_940,
        predictions_shed: 0,
        labels: 17_211,
        champion: Some(ChampionStatus {
            version: VersionNo(3),
            weights: "9f2c".repeat(16),
            since: days_ago(41),
            by: "the gate".into(),
            reason: "v3 is better than v1 by 2.1 points on 800 rows".into(),
            rows: 4_120,
            right: 3_211,
            interval: Some((0.7664, 0.7919)),
        }),
        run: Some(RunStatus {
            id: "run-4".into(),
            state: "judging".into(),
            trigger: "`error`: the share of wrong answers rose from 21 % to 27 %".into(),
            started_at: days_ago(2),
            version: Some(VersionNo(4)),
            progress: None,
            waiting_rows: Some(84),
            looks: 2,
        }),
        rollout: Some(rollout()),
        drift: Some(drift()),
        estimate: Some(estimate()),
        guard: Some(
            "watched for 640 of 5,000 rows: right about 79.4 % of 640 rows, and the version before would have been about 78.0 %".into(),
        ),
        quality: (0..60).map(quality).collect(),
        moves: vec![
            Move { at: days_ago(290), row: Some(1_200), from: None, to: VersionNo(1), is_rollback: false },
            Move { at: days_ago(170), row: Some(8_400), from: Some(VersionNo(1)), to: VersionNo(2), is_rollback: false },
            Move { at: days_ago(152), row: Some(9_300), from: Some(VersionNo(2)), to: VersionNo(1), is_rollback: true },
            Move { at: days_ago(41), row: Some(15_900), from: Some(VersionNo(1)), to: VersionNo(3), is_rollback: false },
        ],
        decisions: vec![
            (6, decision(DecisionKind::Hold, 4, 2, "400 more rows would tell: the difference is 0.8 points, and may be -1.1 to 2.7")),
            (5, decision(DecisionKind::Promote, 3, 41, "v3 is better than v1 by 2.1 points on 800 rows")),
            (4, decision(DecisionKind::RollBack, 1, 152, "v2 answers every row with `no` since the sensors were changed")),
            (3, decision(DecisionKind::Promote, 2, 170, "v2 is not worse than v1, and better than always answering `no`")),
        ],
        versions: 4,
        next: vec![
            "the gate looks at v4 when 84 more rows have labels".into(),
            "a retrain is due after 620 more rows (`volume`), or when the error rises (`error`)".into(),
        ],
    }
}

fn quality(index: i64) -> QualityPoint {
    let version = match index {
        0..24 => 1,
        24..28 => 2,
        28..50 => 1,
        _ => 3,
    };
    let base = match index {
        0..24 => 78 - index / 4,
        24..28 => 64,
        28..50 => 72 - (index - 28) / 3,
        _ => 79,
    };
    let at = days_ago((60 - index) * 5);
    let wobble = (index * 7_919 % 11) - 5;
    QualityPoint { at, event_time: at, version: VersionNo(version), rows: 300, right: (base * 3 + wobble) as u64, served: 300 }
}

fn decision(kind: DecisionKind, version: u32, days: i64, reason: &str) -> Decision {
    let rule = |rule: &str, verdict, estimate: f64, against: &str| RuleVerdict {
        rule: rule.into(),
        verdict,
        metric: "accuracy".into(),
        against: against.into(),
        method: "tango".into(),
        challenger: Some(0.781),
        other: Some(0.781 - estimate),
        estimate: Some(estimate),
        interval: Some((estimate - 0.019, estimate + 0.019)),
        threshold: 0.0,
        alpha: 0.025,
        rows: 800,
        reason: reason.into(),
    };
    let verdict = if kind == DecisionKind::Hold { Verdict::Inconclusive } else { Verdict::Pass };
    let is_operator = kind == DecisionKind::RollBack;
    let rules = vec![
        rule("better", verdict, if kind == DecisionKind::Hold { 0.008 } else { 0.021 }, "champion"),
        rule("useful", Verdict::Pass, 0.084, "majority"),
    ];
    Decision {
        kind,
        version: VersionNo(version),
        parent: (version > 1).then_some(VersionNo(1)),
        by: if is_operator { DecidedBy::Operator("ada".into()) } else { DecidedBy::Gate },
        at: days_ago(days),
        run: (!is_operator).then_some(RunId(u64::from(version))),
        look: if is_operator { 0 } else { 2 },
        evidence: None,
        rules: if is_operator { Vec::new() } else { rules },
        reason: reason.into(),
    }
}

fn rollout() -> RolloutStatus {
    RolloutStatus {
        version: VersionNo(4),
        stage: "canary".into(),
        since: days_ago(1),
        share: 0.05,
        requests: 412,
        requests_needed: 1_482,
        reason: "continues: 412 of 1,482 requests an arm in step 2 of 4".into(),
    }
}

fn drift() -> DriftStatus {
    DriftStatus {
        version: VersionNo(3),
        rows: 500,
        at: days_ago(1),
        reason: "1 of 3 features, over 500 rows, moved in 2 of the last 3 windows: `wind` by 0.42 (usual up to 0.13)".into(),
        features: vec![("wind".into(), 0.42, 0.13, true), ("swell".into(), 0.05, 0.12, false)],
    }
}

fn estimate() -> EstimateStatus {
    EstimateStatus {
        version: VersionNo(3),
        rows: 500,
        accuracy: 0.7612,
        band: (0.7041, 0.8183),
        reference: 0.7825,
        compared: 7,
        distance: Some(0.0121),
    }
}
