//! The JSON of every noun that is stored. What is pinned here lies in users' state folders: a change needs a new format of the
//! store and a step that brings old folders to it.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde::{Serialize, de::DeserializeOwned};
use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Contract, ContractColumn, DType, DecidedBy, Decision, DecisionKind, Digest, Evidence, LabelColumn,
    ModelVersion, Quarantined, RawPart, Role, RuleVerdict, Run, RunId, RunState, ServingCleaner, Snapshot, SnapshotPart, Split, StateLayer,
    TimeColumn, TimeUnit, Timestamp, Verdict, VersionNo, VersionState,
};

/// `value` is stored as `expected`, where `#0` to `#9` stand for digests; and reads back as itself.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, expected: &str) {
    let expected = (0..10).fold(expected.to_owned(), |text, number| text.replace(&format!("#{number}"), &digest(number).to_string()));
    let stored = serde_json::to_string(value).unwrap();
    assert_eq!(stored, expected);
    assert_eq!(serde_json::from_str::<T>(&stored).unwrap(), *value);
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

#[test]
fn parts() {
    let raw = RawPart { digest: digest(1), first_row: 10, row_count: 5, byte_count: 99, polled_at: Timestamp(-7) };
    check(&raw, r##"{"digest":"#1","first_row":10,"row_count":5,"byte_count":99,"polled_at":-7}"##);
    let clean = CleanPart {
        chain: digest(2),
        raw: digest(1),
        digest: digest(3),
        first_row: 10,
        row_count: 4,
        byte_count: 50,
        event_time: Some((Timestamp(1), Timestamp(2))),
        quarantined: vec![Quarantined { by: "contract".into(), reason: "null:rain".into(), rows: vec![12] }],
        state: Vec::new(),
    };
    check(
        &clean,
        r##"{"chain":"#2","raw":"#1","digest":"#3","first_row":10,"row_count":4,"byte_count":50,"event_time":[1,2],"quarantined":[{"by":"contract","reason":"null:rain","rows":[12]}]}"##,
    );
    let layer = StateLayer { digest: digest(4), changes: 7 };
    let kept = CleanPart { quarantined: Vec::new(), state: vec![CleanerState { cleaner: 1, layers: vec![layer] }], ..clean };
    check(
        &kept,
        r##"{"chain":"#2","raw":"#1","digest":"#3","first_row":10,"row_count":4,"byte_count":50,"event_time":[1,2],"quarantined":[],"state":[{"cleaner":1,"layers":[{"digest":"#4","changes":7}]}]}"##,
    );
}

#[test]
fn snapshots() {
    let column = |name: &str, dtype, role| ContractColumn {
        name: name.into(),
        dtype,
        role,
        nullable: true,
        low: Some(-0.5),
        high: None,
        categories: None,
    };
    let snapshot = Snapshot {
        chain: digest(2),
        cleaners: vec![digest(4)],
        contract: Contract {
            id: Some("id".into()),
            time: Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::D), origin_us: -1 }),
            label: LabelColumn { column: "rain".into(), classes: vec!["0".into(), "1".into()], delay_us: 60, by_id: false },
            columns: vec![
                column("a", DType::F64, Role::Feature),
                column("b", DType::TimestampUs, Role::Weight),
                ContractColumn { categories: Some(vec!["x".into()]), ..column("c", DType::Utf8, Role::Slice) },
            ],
        },
        parts: vec![SnapshotPart { digest: digest(3), first_row: 10, last_row: 14, row_count: 4 }],
        event_cutoff: Timestamp(8),
        knowledge_cutoff: Timestamp(9),
        row_count: 4,
        splits: vec![Split { name: "train".into(), start: 0, end: 4 }],
        late_labels: None,
        history: Vec::new(),
    };
    check(
        &snapshot,
        concat!(
            r##"{"chain":"#2","cleaners":["#4"],"contract":{"id":"id","time":{"column":"day","unit":"d","origin_us":-1},"##,
            r##""label":{"column":"rain","classes":["0","1"],"delay_us":60},"columns":["##,
            r##"{"name":"a","dtype":"f64","role":"feature","nullable":true,"low":-0.5,"high":null,"categories":null},"##,
            r##"{"name":"b","dtype":"timestamp-us","role":"weight","nullable":true,"low":-0.5,"high":null,"categories":null},"##,
            r##"{"name":"c","dtype":"utf8","role":"slice","nullable":true,"low":-0.5,"high":null,"categories":["x"]}]},"##,
            r##""parts":[{"digest":"#3","first_row":10,"last_row":14,"row_count":4}],"event_cutoff":8,"knowledge_cutoff":9,"##,
            r##""row_count":4,"splits":[{"name":"train","start":0,"end":4}]}"##,
        ),
    );
    assert_eq!(snapshot.id(), Digest::of(serde_json::to_string(&snapshot).unwrap()));
}

#[test]
fn runs_and_versions() {
    let run = Run {
        id: RunId(3),
        state: RunState::Gating,
        trigger: "1,000 new rows".into(),
        seed: u64::MAX,
        started_at: Timestamp(1),
        started_row: 2_000,
        snapshot: Some(digest(1)),
        version: Some(VersionNo(2)),
        looks: 1,
        decision: Some(DecisionKind::RollBack),
        note: None,
        by_hand: false,
        serving: Vec::new(),
    };
    check(
        &run,
        r##"{"id":3,"state":"gating","trigger":"1,000 new rows","seed":18446744073709551615,"started_at":1,"started_row":2000,"snapshot":"#1","version":2,"looks":1,"decision":"roll-back","note":null}"##,
    );
    let version = ModelVersion {
        number: VersionNo(2),
        state: VersionState::InfraOk,
        run: RunId(3),
        parent: Some(VersionNo(1)),
        snapshot: digest(1),
        weights: digest(2),
        manifest: digest(3),
        fingerprint: digest(4),
        trained_until_row: 2_000,
        created_at: Timestamp(5),
        serving: vec![ServingCleaner {
            plugin: "missing".parse().unwrap(),
            component: digest(5),
            config: serde_json::json!({ "columns": {} }),
        }],
    };
    check(
        &version,
        r##"{"number":2,"state":"infra-ok","run":3,"parent":1,"snapshot":"#1","weights":"#2","manifest":"#3","fingerprint":"#4","trained_until_row":2000,"created_at":5,"serving":[{"plugin":"missing","component":"#5","config":{"columns":{}}}]}"##,
    );
    check(&RunState::ALL.to_vec(), r#"["queued","snapshotted","training","evaluating","gating","done","failed","cancelled","superseded"]"#);
    check(
        &VersionState::ALL.to_vec(),
        r#"["challenger","held","awaiting-approval","rejected","blessed","infra-failed","infra-ok","shadow","canary","serving","retired","rolled-back","quarantined"]"#,
    );
    check(&vec![Alias::Champion, Alias::Anchor], r#"["champion","anchor"]"#);
}

#[test]
fn decisions() {
    let decision = Decision {
        kind: DecisionKind::Promote,
        version: VersionNo(2),
        parent: Some(VersionNo(1)),
        by: DecidedBy::Gate,
        at: Timestamp(6),
        run: Some(RunId(3)),
        look: 1,
        evidence: Some(Evidence {
            snapshot: digest(1),
            weights: digest(2),
            gate: digest(5),
            evaluators: vec![digest(6)],
            terms: digest(7),
            seed: 8,
        }),
        rules: vec![RuleVerdict {
            rule: "not-worse".into(),
            verdict: Verdict::Inconclusive,
            metric: "accuracy".into(),
            against: "champion".into(),
            method: "tango".into(),
            challenger: Some(0.1),
            other: None,
            estimate: Some(1e-300),
            interval: Some((-0.25, 0.5)),
            threshold: -0.02,
            alpha: 0.05,
            rows: 1_200,
            reason: "too few rows".into(),
        }],
        reason: "every rule passed".into(),
    };
    check(
        &decision,
        concat!(
            r##"{"kind":"promote","version":2,"parent":1,"by":"gate","at":6,"run":3,"look":1,"evidence":{"snapshot":"#1","weights":"#2","##,
            r##""gate":"#5","evaluators":["#6"],"terms":"#7","seed":8},"rules":[{"rule":"not-worse","verdict":"inconclusive","##,
            r##""metric":"accuracy","against":"champion","method":"tango","challenger":0.1,"other":null,"estimate":1e-300,"##,
            r##""interval":[-0.25,0.5],"threshold":-0.02,"alpha":0.05,"rows":1200,"reason":"too few rows"}],"reason":"every rule passed"}"##,
        ),
    );
    check(&DecidedBy::Operator("ann".into()), r#"{"operator":"ann"}"#);
    check(&DecidedBy::Guard, r#""guard""#);
    let kinds = vec![DecisionKind::Promote, DecisionKind::Reject, DecisionKind::Hold, DecisionKind::RollBack];
    check(&kinds, r#"["promote","reject","hold","roll-back"]"#);
    check(&vec![Verdict::Pass, Verdict::Fail], r#"["pass","fail"]"#);
}
