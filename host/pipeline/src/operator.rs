//! What a person may do to the alias: promote any trained version, and roll back. Both are decisions like the gate's.

use tidegate_model::Model;
use tidegate_policy::{Gate, GateRows, shows_better};
use tidegate_vocab::{
    Alias, Contract, DecidedBy, Decision, DecisionKind, Digest, ModelVersion, Run, RunId, RunState, Snapshot, VersionNo, VersionState,
};

use crate::judge::promotion;
use crate::run::chain_text;
use crate::settings::gate_digest;
use crate::{Pipeline, PipelineError};
use tidegate_store::Write;

/// Makes `to` champion because `operator` says so.
///
/// # Errors
/// [`PipelineError::NotPromotable`] when it is champion already, is quarantined, or is not there.
pub async fn promote(pipeline: &mut Pipeline, to: VersionNo, operator: &str, reason: &str) -> Result<Decision, PipelineError> {
    let version = find(pipeline, to).await?;
    let champion = pipeline.stores.meta.alias(&pipeline.settings.id, Alias::Champion).await?;
    if champion == Some(to) {
        return Err(PipelineError::NotPromotable { version: to, why: "it is champion already".to_owned() });
    }
    if matches!(version.state, VersionState::Quarantined | VersionState::InfraFailed) {
        return Err(PipelineError::NotPromotable { version: to, why: "it is quarantined or failed its infrastructure check".to_owned() });
    }
    can_answer(pipeline, &version).await?;
    let by = DecidedBy::Operator(operator.to_owned());
    let decision = decision(pipeline, DecisionKind::Promote, to, champion, by, reason);
    let moves = promotion_by_hand(pipeline, &version, champion).await?;
    pipeline.move_champion(decision, Vec::new(), moves, None).await
}

/// Makes a model that was trained elsewhere a version, and champion, because `operator` says so: the first one of a pipeline, say.
///
/// # Errors
/// [`PipelineError::NotImportable`] when the files are no model, it was made for other columns or classes, or a run is open.
pub async fn import(
    pipeline: &mut Pipeline,
    weights: bytes::Bytes,
    manifest: bytes::Bytes,
    operator: &str,
    reason: &str,
) -> Result<Decision, PipelineError> {
    let refused = |why: String| PipelineError::NotImportable { why };
    if let Some(run) = pipeline.stores.meta.open_run(&pipeline.settings.id).await? {
        return Err(refused(format!("{} is open; import when it has ended", run.id)));
    }
    let model = Model::load(&weights, &manifest).map_err(|error| refused(chain_text(&error)))?;
    fits(&model, &pipeline.settings.contract).map_err(refused)?;
    let last = pipeline.stores.meta.versions(&pipeline.settings.id).await?.last().map_or(0, |version| version.number.0);
    let number = VersionNo(last + 1);
    let champion = pipeline.stores.meta.alias(&pipeline.settings.id, Alias::Champion).await?;
    let snapshot = no_rows(pipeline);
    let runs = pipeline.stores.meta.runs(&pipeline.settings.id).await?;
    let run = Run {
        id: RunId(runs.last().map_or(1, |run| run.id.0 + 1)),
        state: RunState::Queued,
        trigger: format!("{operator} imported a model"),
        seed: 0,
        started_at: pipeline.now(),
        started_row: pipeline.rows_total,
        snapshot: Some(snapshot.id()),
        version: Some(number),
        looks: 0,
        decision: None,
        note: None,
        by_hand: true,
        serving: pipeline.serving_cleaners().await?,
    };
    let version = ModelVersion {
        number,
        state: VersionState::Challenger,
        run: run.id,
        parent: champion,
        snapshot: snapshot.id(),
        weights: pipeline.stores.blobs.put(weights).await?,
        manifest: pipeline.stores.blobs.put(manifest).await?,
        fingerprint: Digest::of_fields([&b"imported"[..], &number.0.to_le_bytes()]),
        // Nobody knows which rows it has seen, so that only those that arrive from now on may judge it.
        trained_until_row: pipeline.rows_total,
        created_at: pipeline.now(),
        serving: run.serving.clone(),
    };
    let by = DecidedBy::Operator(operator.to_owned());
    let mut decision = decision(pipeline, DecisionKind::Promote, number, champion, by, reason);
    decision.run = Some(run.id);
    let done = Run { state: RunState::Done, decision: Some(DecisionKind::Promote), ..run.clone() };
    let arrival = vec![
        Write::Snapshot(snapshot),
        Write::NewRun(run),
        Write::NewVersion(version.clone()),
        Write::Run { expected: RunState::Queued, run: done },
    ];
    let moves = promotion_by_hand(pipeline, &version, champion).await?;
    pipeline.move_champion(decision, arrival, moves, None).await
}

/// The writes of [`promotion`]; the first champion is the anchor, too, or nothing would hold those after it. So is one that waited for
/// an operator after a `superior` rule had passed.
async fn promotion_by_hand(pipeline: &Pipeline, version: &ModelVersion, champion: Option<VersionNo>) -> Result<Vec<Write>, PipelineError> {
    let mut moves = promotion(version, champion);
    let anchor = pipeline.stores.meta.alias(&pipeline.settings.id, Alias::Anchor).await?;
    if anchor.is_none() || was_shown_better(pipeline, version).await? {
        moves.push(Write::MoveAlias { alias: Alias::Anchor, expected: anchor, to: version.number });
    }
    Ok(moves)
}

/// Whether a version that waits for an operator was shown to be better than the champion, by the gate as it still is.
async fn was_shown_better(pipeline: &Pipeline, version: &ModelVersion) -> Result<bool, PipelineError> {
    if version.state != VersionState::AwaitingApproval {
        return Ok(false);
    }
    let decisions = pipeline.stores.meta.decisions(&pipeline.settings.id, Some(version.number)).await?;
    // Which rows judge depends on the command, and makes no other rules of them.
    let digests = [GateRows::Arriving, GateRows::HeldOut].map(|rows| gate_digest(&Gate { rows, ..pipeline.settings.gate.clone() }));
    let by_this_gate = |decision: &&Decision| decision.evidence.as_ref().is_some_and(|found| digests.contains(&found.gate));
    let last = decisions.iter().map(|(_, decision)| decision).rfind(|decision| decision.by == DecidedBy::Gate);
    Ok(last.filter(by_this_gate).is_some_and(|decision| shows_better(&pipeline.settings.gate, &decision.rules)))
}

/// Whether a model answers rows of a contract: its features are columns of it, and its classes are the label's, in order.
fn fits(model: &Model, contract: &Contract) -> Result<(), String> {
    let manifest = model.manifest();
    if manifest.classes != contract.label.classes {
        return Err(format!("its classes are {:?}, the contract's are {:?}", manifest.classes, contract.label.classes));
    }
    // What it sees of earlier rows is made of the contract's columns, and is none of them.
    let lags = &manifest.spec.lags;
    if let Some(issue) = lags.issue_with(contract) {
        return Err(format!("it sees earlier rows by `{}`: expected {}, found {}", issue.key, issue.expected, issue.found));
    }
    let seen = lags.extend(contract);
    for feature in &manifest.preprocessing.columns {
        let name = feature.name();
        let Some(column) = seen.columns.iter().find(|column| column.name == name) else {
            return Err(format!("it needs the column `{name}`, which the contract does not have"));
        };
        if column.dtype != feature.dtype() {
            return Err(format!("its column `{name}` is {}, the contract's is {}", feature.dtype().word(), column.dtype.word()));
        }
    }
    Ok(())
}

/// The dataset of a model that was not trained here.
fn no_rows(pipeline: &Pipeline) -> Snapshot {
    Snapshot {
        chain: pipeline.chain,
        cleaners: pipeline.plugins.cleaners.iter().map(|step| step.digest).collect(),
        contract: pipeline.settings.contract.clone(),
        parts: Vec::new(),
        event_cutoff: pipeline.now(),
        knowledge_cutoff: pipeline.now(),
        row_count: 0,
        splits: Vec::new(),
        late_labels: None,
        history: Vec::new(),
    }
}

/// Makes `to` champion again, or the last version that served healthy before the champion. While a version is rolled out and nobody
/// names another, it is that one that is taken back, and the champion stays.
///
/// # Errors
/// [`PipelineError::NoRollbackTarget`] when there is no champion, it is the first, or `to` never served.
pub async fn roll_back(pipeline: &mut Pipeline, to: Option<VersionNo>, operator: &str, reason: &str) -> Result<Decision, PipelineError> {
    if to.is_none()
        && let Some(decision) = pipeline.take_back_by_hand(operator, reason).await?
    {
        return Ok(decision);
    }
    let nothing = |why: String| PipelineError::NoRollbackTarget { why };
    let history = pipeline.stores.meta.alias_history(&pipeline.settings.id, Alias::Champion).await?;
    let champion = history.last().map(|last| last.to).ok_or_else(|| nothing("there is no champion".to_owned()))?;
    let mut target = None;
    for number in history.iter().rev().filter_map(|step| step.from) {
        let version = find(pipeline, number).await?;
        // A version that was taken back itself did not serve healthy: only a person who names it brings it back.
        let healthy = version.state == VersionState::Retired || (to.is_some() && version.state == VersionState::RolledBack);
        if number != champion && healthy && to.is_none_or(|to| to == number) {
            target = Some(version);
            break;
        }
    }
    let target = target.ok_or_else(|| match to {
        Some(to) => nothing(format!("{to} is not a version that served before {champion}")),
        None => nothing(format!("no version served before {champion} and left healthy")),
    })?;
    can_answer(pipeline, &target).await?;
    let by = DecidedBy::Operator(operator.to_owned());
    let decision = decision(pipeline, DecisionKind::RollBack, target.number, Some(champion), by, reason);
    let writes = vec![
        Write::VersionState { version: champion, expected: VersionState::Serving, to: VersionState::RolledBack },
        Write::VersionState { version: target.number, expected: target.state, to: VersionState::Serving },
        Write::MoveAlias { alias: Alias::Champion, expected: Some(champion), to: target.number },
    ];
    pipeline.move_champion(decision, Vec::new(), writes, None).await
}

/// Retention lets go of the weights of old versions; one without them must not serve.
async fn can_answer(pipeline: &Pipeline, version: &ModelVersion) -> Result<(), PipelineError> {
    for digest in [&version.weights, &version.manifest] {
        if !pipeline.stores.blobs.has(digest).await? {
            let why = format!("its weights are gone (blob {})", digest.short());
            return Err(PipelineError::NotPromotable { version: version.number, why });
        }
    }
    Ok(())
}

async fn find(pipeline: &Pipeline, number: VersionNo) -> Result<ModelVersion, PipelineError> {
    let version = pipeline.stores.meta.version(&pipeline.settings.id, number).await?;
    version.ok_or_else(|| PipelineError::NotPromotable { version: number, why: "there is no such version".to_owned() })
}

fn decision(
    pipeline: &Pipeline,
    kind: DecisionKind,
    version: VersionNo,
    parent: Option<VersionNo>,
    by: DecidedBy,
    reason: &str,
) -> Decision {
    let (at, reason) = (pipeline.now(), reason.to_owned());
    Decision { kind, version, parent, by, at, run: None, look: 0, evidence: None, rules: Vec::new(), reason }
}
