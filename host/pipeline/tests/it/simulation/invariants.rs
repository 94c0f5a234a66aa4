//! What holds after every event, whatever happened: facts of the store and of the loop's memory, as plain data that a test can spoil.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_pipeline::{LoopState, Pipeline, RolloutBook};
use tidegate_store::{AliasMove, MetaStore as _};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Alias, CleanPart, Decision, DecisionKind, ModelVersion, PipelineId, RawPart, Run, VersionNo, VersionState};

/// Everything that is looked at.
#[derive(Debug, Clone)]
pub struct Facts {
    pub champion: Option<VersionNo>,
    pub moves: Vec<AliasMove>,
    pub decisions: Vec<(u64, Decision)>,
    pub versions: Vec<ModelVersion>,
    pub runs: Vec<Run>,
    pub raw: Vec<RawPart>,
    pub clean: Vec<CleanPart>,
    pub rollouts: RolloutBook,
    /// What the store holds of the loop's memory, and what the pipeline remembers.
    pub kept: LoopState,
    pub memory: LoopState,
    pub looks_max: u32,
}

/// What was so after the event before.
#[derive(Debug, Clone, Default)]
pub struct Before {
    states: BTreeMap<VersionNo, VersionState>,
    observed: (u64, u64, u64),
}

impl Facts {
    pub async fn of(store: &MemoryStore, pipeline: &Pipeline, id: &PipelineId) -> Facts {
        let read = async |key: &str| store.state(id, key).await.unwrap().map(|(_, bytes)| bytes);
        let rollouts = read("rollout").await.map_or_else(RolloutBook::default, |bytes| serde_json::from_slice(&bytes).unwrap());
        let kept = read("loop").await.map_or_else(LoopState::default, |bytes| serde_json::from_slice(&bytes).unwrap());
        Facts {
            champion: store.alias(id, Alias::Champion).await.unwrap(),
            moves: store.alias_history(id, Alias::Champion).await.unwrap(),
            decisions: store.decisions(id, None).await.unwrap(),
            versions: store.versions(id).await.unwrap(),
            runs: store.runs(id).await.unwrap(),
            raw: store.raw_parts(id, 0).await.unwrap(),
            clean: store.clean_parts(id, &pipeline.chain(), 0).await.unwrap(),
            rollouts,
            kept,
            memory: pipeline.state().clone(),
            looks_max: pipeline.settings().gate.looks_max,
        }
    }

    pub fn remembered(&self) -> Before {
        let states = self.versions.iter().map(|version| (version.number, version.state)).collect();
        Before { states, observed: (self.memory.observed_row, self.memory.counted_row, self.memory.observed_label) }
    }

    /// The first invariant that does not hold, by name, and why.
    pub fn broken(&self, before: &Before) -> Option<(&'static str, String)> {
        let checks: [(&'static str, Option<String>); 9] = [
            ("the champion is where its last move led", self.champion_moved()),
            ("only a decision moves the champion", self.moves_decided()),
            ("one version serves, and it is the champion", self.one_serves()),
            ("a version takes legal steps", self.legal_steps(before)),
            ("one run is open at most, and looks within its allowance", self.runs_bounded()),
            ("a rollout is alone and of its own state", self.rollout_alone()),
            ("no row is lost or doubled", self.rows_whole()),
            ("what was looked at is not forgotten", self.looked_at(before)),
            ("what is remembered is what is kept", (self.kept != self.memory).then(|| "they differ".to_owned())),
        ];
        checks.into_iter().find_map(|(name, why)| why.map(|why| (name, why)))
    }

    fn champion_moved(&self) -> Option<String> {
        let last = self.moves.last().map(|last| last.to);
        let chain = self.moves.windows(2).find(|pair| pair[1].from != Some(pair[0].to));
        (self.champion != last || chain.is_some()).then(|| format!("{:?} after {:?}", self.champion, self.moves))
    }

    fn moves_decided(&self) -> Option<String> {
        let decided = |step: &AliasMove| {
            let of = self.decisions.iter().find(|(number, _)| *number == step.decision).map(|(_, decision)| decision);
            of.is_some_and(|of| {
                matches!(of.kind, DecisionKind::Promote | DecisionKind::RollBack) && of.version == step.to && of.parent == step.from
            })
        };
        self.moves.iter().find(|step| !decided(step)).map(|step| format!("{step:?}"))
    }

    fn one_serves(&self) -> Option<String> {
        let serving: Vec<VersionNo> =
            self.versions.iter().filter(|version| version.state == VersionState::Serving).map(|version| version.number).collect();
        let expected: Vec<VersionNo> = self.champion.into_iter().collect();
        (serving != expected).then(|| format!("{serving:?} serve, {expected:?} is champion"))
    }

    /// A commit may take several steps.
    fn legal_steps(&self, before: &Before) -> Option<String> {
        let reaches = |from: VersionState, to: VersionState| {
            let (mut seen, mut open) = (vec![from], vec![from]);
            while let Some(at) = open.pop() {
                for next in VersionState::ALL.into_iter().filter(|next| at.may_become(*next)) {
                    if !seen.contains(&next) {
                        seen.push(next);
                        open.push(next);
                    }
                }
            }
            seen.contains(&to)
        };
        let step = |version: &&ModelVersion| {
            let from = before.states.get(&version.number).copied().unwrap_or(VersionState::Challenger);
            !reaches(from, version.state)
        };
        self.versions.iter().find(step).map(|version| format!("{} became {:?}", version.number, version.state))
    }

    fn runs_bounded(&self) -> Option<String> {
        let open = self.runs.iter().filter(|run| !run.state.is_final()).count();
        let over = self.runs.iter().find(|run| run.looks > self.looks_max);
        (open > 1 || over.is_some()).then(|| format!("{open} runs are open, {over:?} looked too often"))
    }

    fn rollout_alone(&self) -> Option<String> {
        let rolling = |version: &&ModelVersion| {
            matches!(version.state, VersionState::Blessed | VersionState::InfraOk | VersionState::Shadow | VersionState::Canary)
        };
        let found: Vec<(VersionNo, VersionState)> =
            self.versions.iter().filter(rolling).map(|version| (version.number, version.state)).collect();
        let expected: Vec<_> = self.rollouts.open.iter().map(|rollout| (rollout.version, rollout.state)).collect();
        let run = self.runs.iter().find(|run| !run.state.is_final()).filter(|_| self.rollouts.open.is_some());
        (found != expected || run.is_some()).then(|| format!("{found:?} against {expected:?}, beside {run:?}"))
    }

    fn rows_whole(&self) -> Option<String> {
        let mut end = 0;
        for part in &self.raw {
            if part.first_row != end {
                return Some(format!("a part begins at {} and not at {end}", part.first_row));
            }
            end = part.first_row + part.row_count;
        }
        let firsts: BTreeSet<u64> = self.clean.iter().map(|part| part.first_row).collect();
        let raw: BTreeMap<u64, _> = self.raw.iter().map(|part| (part.first_row, part.digest)).collect();
        let stray = self.clean.iter().find(|part| raw.get(&part.first_row) != Some(&part.raw));
        (firsts.len() != self.clean.len() || stray.is_some()).then(|| format!("cleaned parts {stray:?}"))
    }

    fn looked_at(&self, before: &Before) -> Option<String> {
        let now = (self.memory.observed_row, self.memory.counted_row, self.memory.observed_label);
        let was = before.observed;
        (now.0 < was.0 || now.1 < was.1 || now.2 < was.2).then(|| format!("{now:?} after {was:?}"))
    }
}
