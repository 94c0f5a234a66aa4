//! What would start the next run: the triggers' state in sentences, for people who wait.

use crate::sentence::{count, percent};
use crate::trigger::next_occurrence;
use crate::{Moment, TriggerKind, TriggerRule, TriggerState};

/// One sentence a rule, in the order of the configuration: how far it is, and which brake holds it.
pub fn outlook(rules: &[TriggerRule], state: &TriggerState, moment: &Moment) -> Vec<String> {
    let line = |rule: &TriggerRule| {
        let held = state.held_by(rule, moment.now);
        let held = if held.is_empty() { String::new() } else { format!("; {}", held.join(", ")) };
        format!("{}{held}", awaited(rule, state, moment))
    };
    rules.iter().map(line).collect()
}

fn awaited(rule: &TriggerRule, state: &TriggerState, moment: &Moment) -> String {
    let kind = rule.kind.word();
    match &rule.kind {
        TriggerKind::Volume { new_rows } => format!("{kind}: {} of {} new rows have arrived", count(state.new_rows()), count(*new_rows)),
        TriggerKind::Growth { new_percent } => {
            let (arrived, before) = (count(state.new_rows()), count(state.rows_at_start()));
            format!("{kind}: {arrived} new rows have arrived beside {before}, it waits for {new_percent} % more")
        }
        TriggerKind::Watermark { advance } => match state.watermark() {
            Some((newest, start)) => format!("{kind}: rows reach to {newest}, it waits for {}", start.plus_micros(advance.micros)),
            None => format!("{kind}: no row has come yet"),
        },
        TriggerKind::Labels { new_labels } => {
            format!("{kind}: {} of {} labels have become known", count(state.new_labels()), count(*new_labels))
        }
        TriggerKind::Schedule { cron } => match next_occurrence(cron, state.settled_until(rule).unwrap_or(moment.now)) {
            Some(at) => format!("{kind} `{cron}`: next at {at}"),
            None => format!("{kind} `{cron}`: never again"),
        },
        TriggerKind::Error { .. } => match state.watched(rule) {
            Some((wrong, rows)) => {
                format!("{kind}: {} of the last {} labelled rows were wrong, no change is noticed", percent(wrong), count(rows))
            }
            None => format!("{kind}: no labelled row has been compared yet"),
        },
        TriggerKind::Quality { drop, rows } => match state.quality(rule).and_then(|quality| quality.dropped(*rows)) {
            Some(found) => {
                let (before, after) = (percent(found.before), percent(found.after));
                format!("{kind}: accuracy was {before} at first and is {after}, it waits for a drop of more than {}", percent(*drop))
            }
            None => format!("{kind}: the champion has not been compared on {} labelled rows twice yet", count(*rows)),
        },
        TriggerKind::Estimate { drop } => match state.estimate() {
            Some(found) => {
                let (now, then) = (percent(found.accuracy.value), percent(found.reference));
                format!("{kind}: accuracy was {then} and is estimated at {now}, it waits for a drop of more than {}", percent(*drop))
            }
            None => format!("{kind}: nothing has been estimated since the last run"),
        },
        TriggerKind::Drift | TriggerKind::PredictionDrift => format!("{kind}: whenever a window drifts"),
        TriggerKind::Staleness { age } => match moment.champion_since {
            Some(since) => format!("{kind}: the champion is {age} old at {}", since.plus_micros(age.micros)),
            None => format!("{kind}: there is no champion yet"),
        },
        TriggerKind::Code => format!("{kind}: whenever cleaners or their settings change"),
        TriggerKind::Webhook { name } => format!("{kind} `{name}`: whenever somebody posts to it"),
        TriggerKind::Manual => format!("{kind}: whenever somebody asks"),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_vocab::Timestamp;

    use super::*;
    use crate::Brakes;

    fn rule(kind: TriggerKind) -> TriggerRule {
        TriggerRule { kind, brakes: Brakes::default() }
    }

    fn check(rule: &TriggerRule, told: impl FnOnce(&mut TriggerState), expected: &str) {
        let mut state = TriggerState::new();
        told(&mut state);
        assert_eq!(outlook(std::slice::from_ref(rule), &state, &Moment::at(Timestamp(0))), [expected]);
    }

    #[test]
    fn every_rule_says_how_far_it_is_and_what_holds_it() {
        let volume = rule(TriggerKind::Volume { new_rows: 1_000 });
        let error = rule(TriggerKind::Error { detector: crate::Detector::Adwin });
        let rested = TriggerRule { brakes: Brakes { cooldown_rows: Some(500), ..Brakes::default() }, ..error.clone() };
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
        let tripped =
            TriggerRule { brakes: Brakes { rejections_max: Some(1), ..Brakes::default() }, ..rule(TriggerKind::Volume { new_rows: 5 }) };
        check(
            &tripped,
            |state| state.run_finished(Timestamp(0), Some(tidegate_vocab::DecisionKind::Reject)),
            "volume: 0 of 5 new rows have arrived; it is silent after 1 rejections in a row, until a promotion",
        );
    }
}
