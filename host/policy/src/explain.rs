//! A gate in words: what it asks, and what would have to be otherwise for a rule to say something else.

use tidegate_vocab::{RuleVerdict, Verdict};

use crate::look::{alpha_per_look, rows_for_look};
use crate::sentence::{count, number, percent};
use crate::{Approval, Dependence, Gate, GateRows, Rule, Test};

/// More rows than this are told as "more than any look will have".
const ROWS_TOLD_MAX: f64 = 1e9;

impl Gate {
    /// How it judges, as sentences; its rules are told by [`Rule::asks`].
    pub fn in_words(&self) -> Vec<String> {
        let mut said = vec![self.rows_in_words(), self.certainty_in_words(), self.dependence_in_words()];
        let mut needs = vec![format!("each class has {} of them", count(self.rows_per_class_min))];
        needs.extend(self.maturity_min.map(|share| format!("the labels of {} of them have come", percent(share))));
        said.push(format!("Nothing is concluded from rows unless {}.", needs.join(" and ")));
        let sliced: Vec<String> = self.rules.iter().filter(|rule| rule.test.is_sliced()).map(|rule| format!("`{}`", rule.id)).collect();
        for slice in &self.slices {
            let named: Vec<String> = slice.values.iter().map(|value| format!("`{value}`")).collect();
            let values = if named.is_empty() { "each of its values".to_owned() } else { named.join(", ") };
            let rows = count(slice.rows_min);
            said.push(format!(
                "{} must hold for `{}` too, {values} apart, of which each needs {rows} rows.",
                sliced.join(", "),
                slice.column
            ));
        }
        let approval = match self.approval {
            Approval::None => "All rules must pass for a version to serve.",
            Approval::Operator => "All rules must pass for a version to serve, and then an operator has to agree.",
        };
        said.push(format!("{approval} One that fails rejects it; a rule that stays inconclusive to the last look does too."));
        said
    }

    fn rows_in_words(&self) -> String {
        let looks: Vec<String> = (1..=self.looks_max).map(|look| count(rows_for_look(self, look))).collect();
        match (self.rows, looks.split_last()) {
            (GateRows::HeldOut, _) => {
                "A version is judged once, on rows that were held out from its training and that the champion has not learned either."
                    .to_owned()
            }
            (GateRows::Arriving, Some((last, []))) => {
                format!("A version is judged once, when {last} rows that arrived after it was trained have their labels.")
            }
            (GateRows::Arriving, Some((last, first))) => format!(
                "A version is judged on rows that arrived after it was trained, when {} of them have their labels; while a rule is \
                 inconclusive, again at {last}.",
                first.join(", then ")
            ),
            (GateRows::Arriving, None) => "No version is ever judged.".to_owned(),
        }
    }

    fn certainty_in_words(&self) -> String {
        let alpha = alpha_per_look(self);
        let all = if self.looks_max > 1 {
            format!(", so that all {} looks err with {}", self.looks_max, percent(1.0 - self.confidence))
        } else {
            String::new()
        };
        format!(
            "A rule passes when the rows show what it asks with {} confidence{all}; it fails when they show the opposite as surely, and is \
             inconclusive in between.",
            percent(1.0 - alpha)
        )
    }

    fn dependence_in_words(&self) -> String {
        let resamples = count(u64::from(self.resamples));
        match &self.dependence {
            Dependence::Independent => {
                format!("Rows are taken as independent of each other; bounds without a formula come from {resamples} resamples.")
            }
            Dependence::Time => format!(
                "Neighbours in time are taken as alike, so that rows count for less than their number; bounds without a formula come from \
                 {resamples} resamples of whole blocks."
            ),
            Dependence::Cluster(column) => {
                format!("Rows that share a value of `{column}` are taken as alike, and resampled together, {resamples} times.")
            }
        }
    }
}

impl Rule {
    /// What it asks, as a sentence.
    pub fn asks(&self) -> String {
        let (metric, who) = (&self.metric, self.against.described());
        let asked = match self.test {
            Test::NonInferior { margin } => format!("`{metric}` is worse than that of {who} by less than {margin}"),
            Test::Superior => format!("`{metric}` is better than that of {who}"),
            Test::LowerBound { bound } => format!("`{metric}` is above {bound}"),
            Test::UpperBound { bound } => format!("`{metric}` is below {bound}"),
            Test::RatioUpper { ratio_max } => format!("`{metric}` is less than {ratio_max} times that of {who}"),
        };
        let doubt = self.gain_max.map_or_else(String::new, |gain| format!("; better by more than {gain} is not believed"));
        format!("{asked}{doubt}")
    }

    /// What would have to be otherwise for `verdict` to be another: other numbers in the rule, or more rows. `None` where the verdict
    /// says itself what is missing.
    pub fn otherwise(&self, verdict: &RuleVerdict) -> Option<String> {
        let ((low, high), estimate, threshold) = (verdict.interval?, verdict.estimate?, self.test.threshold());
        // In the direction that the rule wants: how far the estimate and its nearer bound are beyond the threshold.
        let sign = if self.test.wants_above() { 1.0 } else { -1.0 };
        let (nearer, farther) = if self.test.wants_above() { (low, high) } else { (high, low) };
        let (lead, reach) = (sign * (estimate - threshold), sign * (estimate - nearer));
        match verdict.verdict {
            Verdict::Pass => Some(match self.test {
                Test::NonInferior { .. } if low >= 0.0 => "it would pass with any margin: it is shown to be no worse at all".to_owned(),
                Test::NonInferior { .. } => format!("it would not pass with a margin of {} or less", number(-low)),
                Test::Superior => format!("it is shown to be better by {}", number(low)),
                Test::LowerBound { .. } => format!("it would not pass with a bound of {} or more", number(low)),
                Test::UpperBound { .. } => format!("it would not pass with a bound of {} or less", number(high)),
                Test::RatioUpper { .. } => format!("it would not pass with a ratio of {} or less", number(high)),
            }),
            Verdict::Fail => {
                let short = sign * (threshold - farther);
                Some(format!("it is shown to fall short by {}: more rows of this kind will not mend it", number(short)))
            }
            // It is in doubt for another reason, which the verdict tells.
            Verdict::Inconclusive if sign * (nearer - threshold) > 0.0 || sign * (farther - threshold) < 0.0 => None,
            Verdict::Inconclusive if lead > 0.0 => {
                Some(format!("if the estimate stays, {} would show it", rows_for(verdict.rows, reach / lead)))
            }
            Verdict::Inconclusive if lead < 0.0 => {
                let spread = sign * (farther - estimate);
                Some(format!(
                    "the estimate is on the wrong side: if it stays, {} would show that it fails",
                    rows_for(verdict.rows, spread / -lead)
                ))
            }
            Verdict::Inconclusive => Some("the estimate lies on the threshold: no number of rows would decide".to_owned()),
        }
    }
}

/// Rows with which a bound is `ratio` times nearer to its estimate: its distance falls with the root of their number.
fn rows_for(rows: u64, ratio: f64) -> String {
    let needed = rows as f64 * ratio * ratio;
    if !needed.is_finite() || needed > ROWS_TOLD_MAX {
        return "more rows than there will be".to_owned();
    }
    // Two digits: it is a guess.
    let unit = 10f64.powf((needed.max(1.0).log10().floor() - 1.0).max(0.0));
    format!("about {} rows", count(((needed / unit).round() * unit) as u64))
}
