//! What the triggers of one pipeline have seen, and whether a run is due.
//!
//! The state is stored as JSON between steps and comes back to the bit. It is told what happened, in order: rows committed,
//! matured labels and errors, requests, a run's start and end. [`due`] asks; it changes nothing but the first instant that a rule
//! counts from, so asking twice gives the same answer, and everything stays due until a run starts.
//!
//! Coalescing: however many rules are due, and however often, there is one [`Due`] with all the reasons, and a run's start
//! settles them all. So the backfill of fifty years of rows is one trigger.

use serde::{Deserialize, Serialize};
use tidegate_vocab::{DecisionKind, Digest, Timestamp};

use crate::brakes::DAY_US;
use crate::quality_drop::QualityDrop;
use crate::sentence::{count, percent};
use crate::trigger::next_occurrence;
use crate::watcher::{Alarm, Watcher};
use crate::{Detector, Estimated, TriggerKind, TriggerRule};

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
    /// Names under which somebody posted since the last run started.
    #[serde(default)]
    posted: Vec<String>,
    /// Labels that became known since the pipeline began; and when the last run started, and the one before.
    #[serde(default)]
    labels: u64,
    #[serde(default)]
    labels_at_start: u64,
    #[serde(default)]
    labels_at_previous_start: u64,
    /// The newest event time; and what it was when the last run started, and the one before.
    #[serde(default)]
    event_time: Option<Timestamp>,
    #[serde(default)]
    event_time_at_start: Option<Timestamp>,
    #[serde(default)]
    event_time_at_previous_start: Option<Timestamp>,
    /// What the rows went through when the last run started.
    #[serde(default)]
    code_at_start: Option<Digest>,
    /// Runs that started within the last day, oldest first.
    #[serde(default)]
    starts: Vec<Timestamp>,
    /// The newest estimate of the champion's quality since the last run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimated: Option<QualityEstimate>,
    /// What drifts, in the features and in the answers, by the newest window since the last run started.
    #[serde(default, skip_serializing_if = "is_nothing")]
    drifted: (Option<String>, Option<String>),
    /// One entry a rule that has a memory of its own.
    memories: Vec<RuleMemory>,
}

/// What a champion's answers to some rows seem to be worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QualityEstimate {
    /// The estimated share of right answers.
    pub accuracy: Estimated,
    /// The share that was right when the champion was judged.
    pub reference: f64,
    /// Rows that were estimated.
    pub rows: u64,
}

impl QualityEstimate {
    /// Why an estimate is worth a run; `None` while it is not beyond its band by more than `drop`.
    fn fell(&self, drop: f64) -> Option<String> {
        let QualityEstimate { accuracy, reference, rows } = self;
        let (low, high) = accuracy.band;
        let said = format!(
            "accuracy is estimated at {} ({} to {}) over the newest {} rows and was {} when the champion was judged",
            percent(accuracy.value),
            percent(low),
            percent(high),
            count(*rows),
            percent(*reference)
        );
        (high < reference - drop).then(|| format!("{said}; a drop of more than {} was awaited", percent(drop)))
    }
}

fn is_nothing(drifted: &(Option<String>, Option<String>)) -> bool {
    drifted.0.is_none() && drifted.1.is_none()
}

/// What one rule remembers; found again by the rule's content, so that editing one rule leaves the others' memory alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RuleMemory {
    rule: TriggerRule,
    /// Occurrences of a schedule up to here are settled.
    settled_until: Option<Timestamp>,
    detector: Watcher,
    alarm: Option<Alarm>,
    /// The champion's first and last rows, for a rule about its quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityDrop>,
    /// Since when it is due, brakes aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_since: Option<Timestamp>,
}

/// What is so at the moment when somebody asks whether a run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What time it is.
    pub now: Timestamp,
    /// Since when the champion serves.
    pub champion_since: Option<Timestamp>,
    /// What rows go through: the cleaners and their settings.
    pub code: Option<Digest>,
}

impl Moment {
    /// A moment of which nothing but the time is known.
    pub fn at(now: Timestamp) -> Moment {
        Moment { now, champion_since: None, code: None }
    }
}

impl RuleMemory {
    fn new(rule: &TriggerRule) -> RuleMemory {
        let detector = match rule.kind {
            TriggerKind::Error { detector } => detector,
            _ => Detector::Adwin,
        };
        let quality = matches!(rule.kind, TriggerKind::Quality { .. }).then(QualityDrop::default);
        RuleMemory { rule: rule.clone(), settled_until: None, detector: Watcher::new(detector), alarm: None, quality, due_since: None }
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
    /// The kind's word.
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

    /// Rows up to this event time have come.
    pub fn event_time_reached(&mut self, event_time: Timestamp) {
        self.event_time = Some(self.event_time.map_or(event_time, |newest| newest.max(event_time)));
        self.event_time_at_start = self.event_time_at_start.or(self.event_time);
    }

    /// `labels` labels became known.
    pub fn labels_matured(&mut self, labels: u64) {
        self.labels = self.labels.saturating_add(labels);
    }

    /// Labels of predictions became known: for each, in order of event time, whether the prediction was wrong.
    pub fn errors_matured(&mut self, rules: &[TriggerRule], wrong: &[bool]) {
        for rule in rules {
            let watches = matches!(rule.kind, TriggerKind::Error { .. } | TriggerKind::Quality { .. });
            let Some(memory) = watches.then(|| self.memory(rule)) else { continue };
            for wrong in wrong {
                match (&rule.kind, &mut memory.quality) {
                    (TriggerKind::Quality { rows, .. }, Some(quality)) => quality.update(*wrong, *rows),
                    _ => memory.alarm = memory.detector.update(*wrong).or(memory.alarm),
                }
            }
        }
    }

    /// The quality of a whole window of rows was estimated.
    pub fn estimated(&mut self, estimate: QualityEstimate) {
        self.estimated = Some(estimate);
    }

    /// A window of rows was looked at: what drifts in its features, and in what was answered, as sentences.
    pub fn drifted(&mut self, features: Option<String>, predictions: Option<String>) {
        self.drifted = (features, predictions);
    }

    /// A person asked for a run.
    pub fn requested(&mut self, by: &str) {
        self.requested_by = Some(by.to_owned());
    }

    /// Somebody posted under the name of a `webhook` rule.
    pub fn posted(&mut self, name: &str) {
        if !self.posted.iter().any(|posted| posted == name) {
            self.posted.push(name.to_owned());
        }
    }

    /// A run started: everything that was due is settled.
    pub fn run_started(&mut self, moment: &Moment) {
        let now = moment.now;
        (self.rows_at_previous_start, self.rows_at_start) = (self.rows_at_start, self.rows);
        (self.labels_at_previous_start, self.labels_at_start) = (self.labels_at_start, self.labels);
        (self.event_time_at_previous_start, self.event_time_at_start) = (self.event_time_at_start, self.event_time);
        (self.requested_by, self.estimated, self.drifted) = (None, None, (None, None));
        self.posted.clear();
        self.code_at_start = moment.code;
        self.starts.retain(|start| start.plus_micros(DAY_US) > now);
        self.starts.push(now);
        for memory in &mut self.memories {
            (memory.alarm, memory.due_since) = (None, None);
            memory.settled_until = Some(now);
        }
    }

    /// A run failed: the rows and labels that made it due count again, so that the next one is due once the fault is mended.
    pub fn run_failed(&mut self, now: Timestamp) {
        self.rows_at_start = self.rows_at_previous_start;
        self.labels_at_start = self.labels_at_previous_start;
        self.event_time_at_start = self.event_time_at_previous_start.or(self.event_time_at_start);
        self.run_finished(now, None);
    }

    /// A run ended: with a decision, or without one when it failed, was cancelled or had nothing to decide.
    pub fn run_finished(&mut self, now: Timestamp, decision: Option<DecisionKind>) {
        self.ended = Some((self.rows, now));
        match decision {
            Some(DecisionKind::Promote | DecisionKind::RollBack) => {
                (self.rejections, self.estimated, self.drifted) = (0, None, (None, None));
                // Another model answers from here on; its errors are a stream of their own.
                for memory in &mut self.memories {
                    let RuleMemory { detector, quality, .. } = RuleMemory::new(&memory.rule);
                    (memory.detector, memory.quality, memory.alarm) = (detector, quality, None);
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
        self.recalled(rule)?.settled_until
    }

    /// Labels that became known since the last run started.
    pub(crate) fn new_labels(&self) -> u64 {
        self.labels.saturating_sub(self.labels_at_start)
    }

    /// The newest event time, and what it was when the last run started.
    pub(crate) fn watermark(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.event_time?, self.event_time_at_start?))
    }

    /// The rows there were when the last run started.
    pub(crate) fn rows_at_start(&self) -> u64 {
        self.rows_at_start
    }

    /// What a rule about quality has seen.
    pub(crate) fn quality(&self, rule: &TriggerRule) -> Option<&QualityDrop> {
        self.recalled(rule)?.quality.as_ref()
    }

    /// The newest estimate.
    pub(crate) fn estimate(&self) -> Option<QualityEstimate> {
        self.estimated
    }

    /// The share of wrong predictions that an error rule looks at, and of how many.
    pub(crate) fn watched(&self, rule: &TriggerRule) -> Option<(f64, u64)> {
        self.recalled(rule)?.detector.watched()
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

    /// The brakes that hold `rule` now, each as a phrase that goes on with "it".
    pub(crate) fn held_by(&self, rule: &TriggerRule, now: Timestamp) -> Vec<String> {
        let (brakes, mut held) = (&rule.brakes, Vec::new());
        if let (Some(rows), Some(since)) = (brakes.cooldown_rows, self.rows_since_end())
            && since < rows
        {
            held.push(format!("it rests for {} more rows", count(rows - since)));
        }
        if let (Some(period), Some(ended)) = (brakes.cooldown, self.ended_at())
            && now < ended.plus_micros(period.micros)
        {
            held.push(format!("it rests until {}", ended.plus_micros(period.micros)));
        }
        if let Some(rows) = brakes.min_new_rows
            && self.new_rows() < rows
        {
            held.push(format!("it needs {} new rows first", count(rows)));
        }
        if rule.kind != TriggerKind::Manual && brakes.rejections_max.is_some_and(|most| self.rejections >= most) {
            held.push(format!("it is silent after {} rejections in a row, until a promotion", self.rejections));
        }
        if let Some(budget) = brakes.budget_per_day {
            let today: Vec<&Timestamp> = self.starts.iter().filter(|start| start.plus_micros(DAY_US) > now).collect();
            if today.len() >= budget as usize {
                let until = today.first().map_or_else(String::new, |first| format!(", until {}", first.plus_micros(DAY_US)));
                held.push(format!("it has used up the {budget} runs of a day{until}"));
            }
        }
        if let Some(hours) = brakes.quiet.filter(|hours| hours.hold(now)) {
            held.push(format!("it is quiet during {hours}"));
        }
        if let (Some(wait), Some(since)) = (brakes.coalesce, self.recalled(rule).and_then(|memory| memory.due_since))
            && now < since.plus_micros(wait.micros)
        {
            held.push(format!("it waits until {} for what comes close behind", since.plus_micros(wait.micros)));
        }
        held
    }

    fn recalled(&self, rule: &TriggerRule) -> Option<&RuleMemory> {
        self.memories.iter().find(|memory| memory.rule == *rule)
    }

    /// Why `rule` asks for a run, brakes aside.
    fn reason(&mut self, rule: &TriggerRule, moment: &Moment) -> Option<String> {
        let now = moment.now;
        match &rule.kind {
            TriggerKind::Volume { new_rows } => {
                let arrived = self.new_rows();
                (arrived >= *new_rows).then(|| format!("{} new rows arrived, {} were awaited", count(arrived), count(*new_rows)))
            }
            TriggerKind::Growth { new_percent } => {
                let (arrived, before) = (self.new_rows(), self.rows_at_start);
                let enough = u128::from(arrived) * 100 >= u128::from(before) * u128::from(*new_percent) && arrived > 0;
                enough.then(|| format!("{} new rows arrived beside {}, {new_percent} % more were awaited", count(arrived), count(before)))
            }
            TriggerKind::Watermark { advance } => {
                let (newest, start) = (self.event_time?, self.event_time_at_start?);
                let reached = newest >= start.plus_micros(advance.micros);
                reached.then(|| format!("rows now reach to {newest}, {advance} beyond {start}"))
            }
            TriggerKind::Labels { new_labels } => {
                let known = self.new_labels();
                (known >= *new_labels).then(|| format!("{} labels became known, {} were awaited", count(known), count(*new_labels)))
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
            TriggerKind::Quality { drop, rows } => {
                let found = self.memory(rule).quality.as_ref()?.dropped(*rows)?;
                let (before, after, least) = (percent(found.before), percent(found.after), percent(found.at_least));
                let said = format!(
                    "accuracy fell from {before} over the champion's first {0} labelled rows to {after} over the last {0}",
                    count(*rows)
                );
                (found.at_least > *drop).then(|| format!("{said}, by {least} at least; more than {} was awaited", percent(*drop)))
            }
            TriggerKind::Estimate { drop } => self.estimated?.fell(*drop),
            TriggerKind::Drift => self.drifted.0.as_ref().map(|what| format!("the rows drift: {what}")),
            TriggerKind::PredictionDrift => self.drifted.1.as_ref().map(|what| format!("the answers drift: {what}")),
            TriggerKind::Staleness { age } => {
                let since = moment.champion_since?;
                (now >= since.plus_micros(age.micros)).then(|| format!("the champion has served since {since}, longer than {age}"))
            }
            TriggerKind::Code => {
                let code = moment.code?;
                let before = *self.code_at_start.get_or_insert(code);
                (before != code).then(|| "the cleaners or their settings are not those of the last run".to_owned())
            }
            TriggerKind::Webhook { name } => {
                self.posted.iter().any(|posted| posted == name).then(|| format!("somebody posted to the webhook `{name}`"))
            }
            TriggerKind::Manual => self.requested_by.as_ref().map(|by| format!("{by} asked for it")),
        }
    }

    /// Since when a rule that waits for company is due.
    fn note_due(&mut self, rule: &TriggerRule, is_due: bool, now: Timestamp) {
        if rule.brakes.coalesce.is_some() {
            let memory = self.memory(rule);
            memory.due_since = if is_due { Some(memory.due_since.unwrap_or(now)) } else { None };
        }
    }
}

/// What holds back a person's request: the brakes of the `manual` rule, where there is one. `None` where nothing does.
pub fn manual_held(rules: &[TriggerRule], state: &TriggerState, now: Timestamp) -> Option<String> {
    let rule = rules.iter().find(|rule| rule.kind == TriggerKind::Manual)?;
    let held = state.held_by(rule, now);
    (!held.is_empty()).then(|| held.join(", "))
}

/// Whether a run is due, and why.
pub fn due(rules: &[TriggerRule], state: &mut TriggerState, moment: &Moment) -> Option<Due> {
    // Rules that were edited away take their memory with them.
    state.memories.retain(|memory| rules.contains(&memory.rule));
    let mut reasons = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let reason = state.reason(rule, moment);
        state.note_due(rule, reason.is_some(), moment.now);
        if let Some(reason) = reason.filter(|_| state.held_by(rule, moment.now).is_empty()) {
            reasons.push(DueReason { rule: Some(position), kind: rule.kind.word().into(), reason });
        }
    }
    if !rules.iter().any(|rule| rule.kind == TriggerKind::Manual)
        && let Some(by) = &state.requested_by
    {
        reasons.push(DueReason { rule: None, kind: "manual".into(), reason: format!("{by} asked for it") });
    }
    let reason = reasons.iter().map(|reason| reason.reason.as_str()).collect::<Vec<_>>().join("; ");
    (!reasons.is_empty()).then_some(Due { reasons, reason })
}
