//! Triggers as stories: what happened, and what is due after it.

#![expect(clippy::unwrap_used, reason = "a rule that does not load should fail its test")]

use tidegate_policy::{Due, TriggerRule, TriggerState, due};
use tidegate_vocab::{DecisionKind, Timestamp};

const HOUR: i64 = 3_600_000_000;

/// Something that happens in a story; times are hours since 1970.
enum Step {
    Rows(u64),
    Errors(Vec<bool>),
    Asked,
    Start(i64),
    End(i64, Option<DecisionKind>),
    /// Asks whether a run is due at this hour: the reason, or nothing.
    Due(i64, Option<&'static str>),
}

fn check(rules: &[&str], story: Vec<Step>) {
    let rules: Vec<TriggerRule> = rules.iter().map(|rule| toml::from_str(rule).unwrap()).collect();
    let mut state = TriggerState::new();
    for (position, step) in story.into_iter().enumerate() {
        // Stored and read back at every step: a restart changes nothing.
        let read: TriggerState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(read, state);
        state = read;
        match step {
            Step::Rows(rows) => state.rows_committed(rows),
            Step::Errors(wrong) => state.errors_matured(&rules, &wrong),
            Step::Asked => state.requested("ada"),
            Step::Start(hour) => state.run_started(Timestamp(hour * HOUR)),
            Step::End(hour, decision) => state.run_finished(Timestamp(hour * HOUR), decision),
            Step::Due(hour, expected) => {
                let found = |state: &mut TriggerState| due(&rules, state, Timestamp(hour * HOUR)).map(|due| due.reason);
                assert_eq!(found(&mut state).as_deref(), expected, "step {position}");
                assert_eq!(found(&mut state).as_deref(), expected, "asked again at step {position}");
            }
        }
    }
}

use Step::{Asked, End, Errors, Rows, Start};

#[test]
fn volume_counts_from_the_start_of_the_last_run() {
    let reached = Some("1,000 new rows arrived, 1,000 were awaited");
    check(
        &["kind = \"volume\"\nnew_rows = 1000"],
        vec![
            Step::Due(0, None),
            Rows(999),
            Step::Due(0, None),
            Rows(1),
            Step::Due(0, reached),
            Start(0),
            Step::Due(0, None),
            Rows(600),
            End(1, Some(DecisionKind::Promote)),
            Step::Due(1, None),
            Rows(400),
            Step::Due(1, reached),
        ],
    );
}

#[test]
fn a_backfill_is_one_trigger() {
    check(
        &["kind = \"volume\"\nnew_rows = 1000"],
        vec![
            Rows(18_159),
            Step::Due(0, Some("18,159 new rows arrived, 1,000 were awaited")),
            Start(0),
            End(0, Some(DecisionKind::Promote)),
            Step::Due(0, None),
        ],
    );
}

#[test]
fn cooldowns_count_from_the_end_of_a_run() {
    let due_rows = |rows| Some(rows);
    check(
        &["kind = \"volume\"\nnew_rows = 100\ncooldown_rows = 500\ncooldown = \"6h\"\nmin_new_rows = 300"],
        vec![
            Rows(299),
            Step::Due(0, None),
            Rows(1),
            Step::Due(0, due_rows("300 new rows arrived, 100 were awaited")),
            Start(0),
            Rows(400),
            End(1, None),
            Step::Due(9, None),
            Rows(500),
            Step::Due(6, None),
            Step::Due(7, due_rows("900 new rows arrived, 100 were awaited")),
        ],
    );
}

#[test]
fn schedules_coalesce_what_was_missed() {
    check(
        &["kind = \"schedule\"\ncron = \"0 3 * * *\""],
        vec![
            Step::Due(1, None),
            Step::Due(2, None),
            Step::Due(3, Some("the schedule `0 3 * * *` fell due at 1970-01-01T03:00:00Z")),
            Step::Due(100, Some("the schedule `0 3 * * *` fell due at 1970-01-01T03:00:00Z")),
            Start(100),
            End(101, Some(DecisionKind::Reject)),
            Step::Due(122, None),
            Step::Due(123, Some("the schedule `0 3 * * *` fell due at 1970-01-06T03:00:00Z")),
        ],
    );
}

/// `count` predictions of which one in `one_in` is wrong.
fn errors(count: usize, one_in: usize) -> Vec<bool> {
    (0..count).map(|row| row % one_in == 0).collect()
}

#[test]
fn errors_that_rise_are_noticed_and_errors_that_fall_are_not() {
    let rule = "kind = \"error\"\ndetector = \"adwin\"\ncooldown_rows = 500";
    let rose = "the share of wrong predictions rose from 12.1 % to 19.6 % over the last 224 labelled rows (adwin)";
    check(
        &[rule],
        vec![
            Rows(1000),
            Errors(errors(1000, 10)),
            Step::Due(0, None),
            Errors(errors(200, 2)),
            Step::Due(0, Some(rose)),
            Start(0),
            Step::Due(0, None),
            End(0, Some(DecisionKind::Promote)),
            // The new champion is watched from scratch, and being better than the old one is no alarm.
            Errors(errors(1000, 2)),
            Step::Due(0, None),
            Errors(errors(1000, 20)),
            Step::Due(0, None),
        ],
    );
}

#[test]
fn an_alarm_waits_for_the_cooldown() {
    let rules = ["kind = \"error\"\ndetector = \"adwin\"\ncooldown_rows = 500"].map(|rule| toml::from_str::<TriggerRule>(rule).unwrap());
    let mut state = TriggerState::new();
    state.run_started(Timestamp(0));
    state.run_finished(Timestamp(0), Some(DecisionKind::Reject));
    state.errors_matured(&rules, &[errors(1000, 10), errors(300, 2)].concat());
    assert_eq!(due(&rules, &mut state, Timestamp(0)), None);
    state.rows_committed(500);
    assert!(due(&rules, &mut state, Timestamp(0)).is_some());
}

#[test]
fn rejections_in_a_row_silence_a_rule() {
    let reject = |hour| vec![Rows(10), Start(hour), End(hour, Some(DecisionKind::Reject))];
    let mut story = [reject(0), reject(1)].concat_steps();
    story.extend([Rows(10), Step::Due(2, None), Asked, Step::Due(2, Some("ada asked for a run"))]);
    story.extend([Start(2), End(3, Some(DecisionKind::Hold)), Rows(10), Step::Due(3, None)]);
    story.extend([Start(4), End(4, Some(DecisionKind::Promote)), Rows(10)]);
    story.push(Step::Due(4, Some("10 new rows arrived, 10 were awaited")));
    check(&["kind = \"volume\"\nnew_rows = 10\nrejections_max = 2"], story);
}

trait ConcatSteps {
    fn concat_steps(self) -> Vec<Step>;
}

impl<const N: usize> ConcatSteps for [Vec<Step>; N] {
    fn concat_steps(self) -> Vec<Step> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn several_reasons_are_one_due() {
    let rules = ["kind = \"manual\"\nmin_new_rows = 5", "kind = \"volume\"\nnew_rows = 10"].map(|rule| toml::from_str(rule).unwrap());
    let mut state = TriggerState::new();
    state.requested("ada");
    assert_eq!(due(&rules, &mut state, Timestamp(0)), None, "the manual rule wants rows");
    state.rows_committed(12);
    let Due { reasons, reason } = due(&rules, &mut state, Timestamp(0)).unwrap();
    assert_eq!(reason, "ada asked for a run; 12 new rows arrived, 10 were awaited");
    assert_eq!(
        reasons.iter().map(|reason| (reason.rule, reason.kind.as_str())).collect::<Vec<_>>(),
        [(Some(0), "manual"), (Some(1), "volume")]
    );
    // Without a rule of its own a request is due as it is.
    state.run_started(Timestamp(0));
    state.requested("ada");
    assert_eq!(due(&rules[1..], &mut state, Timestamp(0)).unwrap().reasons[0].rule, None);
}

#[test]
fn editing_a_rule_leaves_the_others_memory_alone() {
    let error: TriggerRule = toml::from_str("kind = \"error\"\ndetector = \"adwin\"").unwrap();
    let daily: TriggerRule = toml::from_str("kind = \"schedule\"\ncron = \"0 3 * * *\"").unwrap();
    let hourly: TriggerRule = toml::from_str("kind = \"schedule\"\ncron = \"0 * * * *\"").unwrap();
    let mut state = TriggerState::new();
    assert_eq!(due(&[error.clone(), daily], &mut state, Timestamp(0)), None);
    state.errors_matured(std::slice::from_ref(&error), &[errors(1000, 10), errors(300, 2)].concat());
    let due = due(&[hourly, error], &mut state, Timestamp(0)).unwrap();
    assert_eq!(due.reasons.iter().map(|reason| reason.rule).collect::<Vec<_>>(), [Some(1)]);
}
