//! What the triggers of one pipeline have seen, and whether a run is due.
//!
//! The state is stored as JSON between steps and comes back to the bit. It is told what happened, in order: rows committed,
//! matured errors, a person's request, a run's start and end. [`due`] asks; it changes nothing but the first instant a schedule
//! counts from, so asking twice gives the same answer, and everything stays due until a run starts.
//!
//! Coalescing: however many rules are due, and however often, there is one [`Due`] with all the reasons, and a run's start
//! settles them all. So the backfill of fifty years of rows is one trigger.

use serde::{Deserialize, Serialize};
use tidegate_vocab::{DecisionKind, Timestamp};

use crate::sentence::{count, percent};
use crate::trigger::next_occurrence;
use crate::watcher::{Alarm, Watcher};
use crate::{Detector, TriggerKind, TriggerRule};

/// What the triggers of one pipeline have seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TriggerState {
    /// Rows committed since the pipeline began.
    rows: u64,
    /// `rows` when the last run started.
    rows_at_start: u64,
    /// `rows` when the run before that started.
    rows_at_previous_start: u64,
    /// `rows` when the last run ended, and when that was.
    ended: Option<(u64, Timestamp)>,
    /// Rejections since the last promotion.
    rejections: u32,
    /// Who asked for a run.
    requested_by: Option<String>,
    /// One entry a rule that has a memory of its own.
    memories: Vec<RuleMemory>,
}

/// What one rule remembers; found again by the rule's content, so that editing one rule leaves the others' memory alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RuleMemory {
    rule: TriggerRule,
    /// Occurrences of a schedule up to here are settled.
    settled_until: Option<Timestamp>,
    detector: Watcher,
    alarm: Option<Alarm>,
}

impl RuleMemory {
    fn new(rule: &TriggerRule) -> RuleMemory {
        let detector = match rule.kind {
            TriggerKind::Error { detector } => detector,
            _ => Detector::Adwin,
        };
        RuleMemory { rule: rule.clone(), settled_until: None, detector: Watcher::new(detector), alarm: None }
    }
}

/// A run is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Every rule that asks for it.
    pub reasons: Vec<DueReason>,
    /// All reasons as one sentence.
    pub reason: String,
}

/// One rule that asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueReason {
    /// The position of the rule in the configuration; `None` for a request where no `manual` rule is written.
    pub rule: Option<usize>,
    /// `schedule`, `volume`, `error` or `manual`.
    pub kind: String,
    /// Why, for people.
    pub reason: String,
}

impl TriggerState {
    /// The state of a pipeline that has seen nothing.
    pub fn new() -> TriggerState {
        TriggerState::default()
    }

    /// `row_count` rows were committed.
    pub fn rows_committed(&mut self, row_count: u64) {
        self.rows = self.rows.saturating_add(row_count);
    }

    /// Rows committed so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows committed since the last run started.
    pub fn new_rows(&self) -> u64 {
        self.rows.saturating_sub(self.rows_at_start)
    }

    /// Labels of predictions became known: for each, in order of event time, whether the prediction was wrong.
    pub fn errors_matured(&mut self, rules: &[TriggerRule], wrong: &[bool]) {
        for rule in rules.iter().filter(|rule| matches!(rule.kind, TriggerKind::Error { .. })) {
            let memory = self.memory(rule);
            for wrong in wrong {
                memory.alarm = memory.detector.update(*wrong).or(memory.alarm);
            }
        }
    }

    /// A person asked for a run.
    pub fn requested(&mut self, by: &str) {
        self.requested_by = Some(by.to_owned());
    }

    /// A run started: everything that was due is settled.
    pub fn run_started(&mut self, now: Timestamp) {
        self.rows_at_previous_start = self.rows_at_start;
        self.rows_at_start = self.rows;
        self.requested_by = None;
        for memory in &mut self.memories {
            memory.alarm = None;
            memory.settled_until = Some(now);
        }
    }

    /// A run failed: the rows that made it due count again, so that the next one is due once the fault is mended.
    pub fn run_failed(&mut self, now: Timestamp) {
        self.rows_at_start = self.rows_at_previous_start;
        self.run_finished(now, None);
    }

    /// A run ended: with a decision, or without one when it failed, was cancelled or had nothing to decide.
    pub fn run_finished(&mut self, now: Timestamp, decision: Option<DecisionKind>) {
        self.ended = Some((self.rows, now));
        match decision {
            Some(DecisionKind::Promote | DecisionKind::RollBack) => {
                self.rejections = 0;
                // Another model answers from here on; its errors are a stream of their own.
                for memory in &mut self.memories {
                    memory.detector = RuleMemory::new(&memory.rule).detector;
                    memory.alarm = None;
                }
            }
            Some(DecisionKind::Reject) => self.rejections = self.rejections.saturating_add(1),
            Some(DecisionKind::Hold) | None => {}
        }
    }

    /// Rejections in a row, which `rejections_max` is compared with.
    pub fn rejections(&self) -> u32 {
        self.rejections
    }

    /// Occurrences of a schedule up to here are settled.
    pub(crate) fn settled_until(&self, rule: &TriggerRule) -> Option<Timestamp> {
        self.memories.iter().find(|memory| memory.rule == *rule)?.settled_until
    }

    /// The share of wrong predictions that an error rule looks at, and of how many.
    pub(crate) fn watched(&self, rule: &TriggerRule) -> Option<(f64, u64)> {
        let memory = self.memories.iter().find(|memory| memory.rule == *rule)?;
        memory.detector.watched()
    }

    /// Rows committed since the last run ended.
    pub(crate) fn rows_since_end(&self) -> Option<u64> {
        self.ended.map(|(rows, _)| self.rows.saturating_sub(rows))
    }

    /// When the last run ended.
    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        self.ended.map(|(_, at)| at)
    }

    fn memory(&mut self, rule: &TriggerRule) -> &mut RuleMemory {
        let position = self.memories.iter().position(|memory| memory.rule == *rule).unwrap_or_else(|| {
            self.memories.push(RuleMemory::new(rule));
            self.memories.len() - 1
        });
        &mut self.memories[position]
    }

    /// Whether the brakes of `rule` let it ask for a run.
    fn is_free(&self, rule: &TriggerRule, now: Timestamp) -> bool {
        let rows_free = match (rule.cooldown_rows, self.ended) {
            (Some(rows), Some((rows_at_end, _))) => self.rows.saturating_sub(rows_at_end) >= rows,
            _ => true,
        };
        let time_free = match (rule.cooldown, self.ended) {
            (Some(period), Some((_, at))) => now >= at.plus_micros(period.micros),
            _ => true,
        };
        let tripped = rule.rejections_max.is_some_and(|most| self.rejections >= most) && rule.kind != TriggerKind::Manual;
        rows_free && time_free && !tripped && rule.min_new_rows.is_none_or(|rows| self.new_rows() >= rows)
    }

    /// Why `rule` asks for a run, brakes aside.
    fn reason(&mut self, rule: &TriggerRule, now: Timestamp) -> Option<String> {
        match &rule.kind {
            TriggerKind::Volume { new_rows } => {
                let arrived = self.new_rows();
                (arrived >= *new_rows).then(|| format!("{} new rows arrived, {} were awaited", count(arrived), count(*new_rows)))
            }
            TriggerKind::Schedule { cron } => {
                let since = *self.memory(rule).settled_until.get_or_insert(now);
                let occurrence = next_occurrence(cron, since)?;
                (occurrence <= now).then(|| format!("the schedule `{cron}` fell due at {occurrence}"))
            }
            TriggerKind::Error { detector } => {
                let word = detector.word();
                let Alarm { before, after, rows } = self.memory(rule).alarm?;
                let (before, after, rows) = (percent(before), percent(after), count(rows));
                Some(format!("the share of wrong predictions rose from {before} to {after} over the last {rows} labelled rows ({word})"))
            }
            TriggerKind::Manual => self.requested_by.as_ref().map(|by| format!("{by} asked for a run")),
        }
    }
}

/// Whether a run is due, and why.
pub fn due(rules: &[TriggerRule], state: &mut TriggerState, now: Timestamp) -> Option<Due> {
    // Rules that were edited away take their memory with them.
    state.memories.retain(|memory| rules.contains(&memory.rule));
    let mut reasons = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let reason = state.reason(rule, now);
        if let Some(reason) = reason.filter(|_| state.is_free(rule, now)) {
            reasons.push(DueReason { rule: Some(position), kind: rule.kind.word().into(), reason });
        }
    }
    if !rules.iter().any(|rule| rule.kind == TriggerKind::Manual)
        && let Some(by) = &state.requested_by
    {
        reasons.push(DueReason { rule: None, kind: "manual".into(), reason: format!("{by} asked for a run") });
    }
    let reason = reasons.iter().map(|reason| reason.reason.as_str()).collect::<Vec<_>>().join("; ");
    (!reasons.is_empty()).then_some(Due { reasons, reason })
}
