//! What a person may do to the alias: promote any trained version, and roll back. Both are decisions like the gate's.

use tidegate_vocab::{Alias, DecidedBy, Decision, DecisionKind, ModelVersion, VersionNo, VersionState};

use crate::judge::promotion;
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
    let writes = promotion(&version, champion);
    move_champion(pipeline, decision, writes).await
}

/// Makes `to` champion again, or the last version that served healthy before the champion.
///
/// # Errors
/// [`PipelineError::NoRollbackTarget`] when there is no champion, it is the first, or `to` never served.
pub async fn roll_back(pipeline: &mut Pipeline, to: Option<VersionNo>, operator: &str, reason: &str) -> Result<Decision, PipelineError> {
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
    move_champion(pipeline, decision, writes).await
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

async fn move_champion(pipeline: &mut Pipeline, decision: Decision, moves: Vec<Write>) -> Result<Decision, PipelineError> {
    let mut state = pipeline.state.clone();
    state.serve_from(pipeline.rows_total, decision.version);
    let mut writes = vec![Write::Decision(decision.clone())];
    writes.extend(moves);
    pipeline.commit(state, writes).await?;
    pipeline.observer.decided(&decision, pipeline.rows_total);
    pipeline.alert_decision(&decision).await;
    Ok(decision)
}
