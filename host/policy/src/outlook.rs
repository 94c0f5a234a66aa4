//! What would start the next run: the triggers' state in sentences, for people who wait.

use tidegate_vocab::Timestamp;

use crate::sentence::{count, percent};
use crate::trigger::next_occurrence;
use crate::{TriggerKind, TriggerRule, TriggerState};

/// One sentence a rule, in the order of the configuration: how far it is, and which brake holds it.
pub fn outlook(rules: &[TriggerRule], state: &TriggerState, now: Timestamp) -> Vec<String> {
    rules.iter().map(|rule| format!("{}{}", awaited(rule, state, now), brakes(rule, state, now))).collect()
}

fn awaited(rule: &TriggerRule, state: &TriggerState, now: Timestamp) -> String {
    match &rule.kind {
        TriggerKind::Volume { new_rows } => {
            format!("volume: {} of {} new rows have arrived", count(state.new_rows()), count(*new_rows))
        }
        TriggerKind::Schedule { cron } => match next_occurrence(cron, state.settled_until(rule).unwrap_or(now)) {
            Some(at) => format!("schedule `{cron}`: next at {at}"),
            None => format!("schedule `{cron}`: never again"),
        },
        TriggerKind::Error { .. } => match state.watched(rule) {
            Some((wrong, rows)) => {
                format!("error: {} of the last {} labelled rows were wrong, no change is noticed", percent(wrong), count(rows))
            }
            None => "error: no labelled row has been compared yet".to_owned(),
        },
        TriggerKind::Manual => "manual: whenever somebody asks".to_owned(),
    }
}

fn brakes(rule: &TriggerRule, state: &TriggerState, now: Timestamp) -> String {
    let mut held = Vec::new();
    if let (Some(rows), Some(since)) = (rule.cooldown_rows, state.rows_since_end())
        && since < rows
    {
        held.push(format!("it rests for {} more rows", count(rows - since)));
    }
    if let (Some(period), Some(ended)) = (rule.cooldown, state.ended_at())
        && now < ended.plus_micros(period.micros)
    {
        held.push(format!("it rests until {}", ended.plus_micros(period.micros)));
    }
    if rule.min_new_rows.is_some_and(|rows| state.new_rows() < rows) {
        held.push(format!("it needs {} new rows first", count(rule.min_new_rows.unwrap_or(0))));
    }
    if rule.rejections_max.is_some_and(|most| state.rejections() >= most) && rule.kind != TriggerKind::Manual {
        held.push(format!("it is silent after {} rejections in a row, until a promotion", state.rejections()));
    }
    if held.is_empty() { String::new() } else { format!("; {}", held.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: TriggerKind) -> TriggerRule {
        TriggerRule { kind, cooldown_rows: None, cooldown: None, min_new_rows: None, rejections_max: None }
    }

    fn check(rule: &TriggerRule, told: impl FnOnce(&mut TriggerState), expected: &str) {
        let mut state = TriggerState::new();
        told(&mut state);
        assert_eq!(outlook(std::slice::from_ref(rule), &state, Timestamp(0)), [expected]);
    }

    #[test]
    fn every_rule_says_how_far_it_is_and_what_holds_it() {
        let volume = rule(TriggerKind::Volume { new_rows: 1_000 });
        let error = rule(TriggerKind::Error { detector: crate::Detector::Adwin });
        let rested = TriggerRule { cooldown_rows: Some(500), ..error.clone() };
        let nightly = rule(TriggerKind::Schedule { cron: "0 3 * * *".into() });
        check(&volume, |_| {}, "volume: 0 of 1,000 new rows have arrived");
        check(&volume, |state| state.rows_committed(1_312), "volume: 1,312 of 1,000 new rows have arrived");
        check(&error, |_| {}, "error: no labelled row has been compared yet");
        check(
            &error,
            |state| state.errors_matured(std::slice::from_ref(&error), &[true, false, false, false]),
            "error: 25.0 % of the last 4 labelled rows were wrong, no change is noticed",
        );
        check(
            &rested,
            |state| {
                state.run_finished(Timestamp(0), None);
                state.rows_committed(120);
            },
            "error: no labelled row has been compared yet; it rests for 380 more rows",
        );
        check(&nightly, |_| {}, "schedule `0 3 * * *`: next at 1970-01-01T03:00:00Z");
        let tripped = TriggerRule { rejections_max: Some(1), ..rule(TriggerKind::Volume { new_rows: 5 }) };
        check(
            &tripped,
            |state| state.run_finished(Timestamp(0), Some(tidegate_vocab::DecisionKind::Reject)),
            "volume: 0 of 5 new rows have arrived; it is silent after 1 rejections in a row, until a promotion",
        );
    }
}
