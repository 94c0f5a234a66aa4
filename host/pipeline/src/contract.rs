//! The contract that a person accepted, which the loop is held to.
//!
//! Invariant: rows are taken in and models are trained only while the contract in the settings is the accepted one. The first is
//! accepted by itself; every other by a person, with a line in the journal. Serving does not ask: a champion goes on answering.

use serde_json::json;
use tidegate_dataset::{ContractDifference, contract_difference};
use tidegate_store::{MetaStore, Write};
use tidegate_vocab::{Contract, Digest, PipelineId};

use crate::{Pipeline, PipelineError, Stores};

/// The name of the accepted contract in the store.
const KEY: &str = "contract";

/// The contract that a pipeline is held to; `None` before its first rows.
///
/// # Errors
/// What the store could not read.
pub async fn accepted_contract(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<Option<Contract>, PipelineError> {
    Ok(kept(meta, pipeline).await?.map(|(_, contract)| contract))
}

/// Accepts `contract` in the name of `by`, and says what that changes. Nothing is written when it is the accepted one already.
///
/// # Errors
/// What the store refused.
pub async fn accept_contract(
    stores: &Stores,
    pipeline: &PipelineId,
    contract: &Contract,
    by: &str,
    reason: &str,
) -> Result<ContractDifference, PipelineError> {
    let before = kept(&*stores.meta, pipeline).await?;
    let none = ContractDifference { lines: Vec::new(), unanswerable: None };
    let difference = before.as_ref().map_or(none, |(_, accepted)| contract_difference(accepted, contract));
    if before.as_ref().is_some_and(|(_, accepted)| accepted == contract) {
        return Ok(difference);
    }
    let value = serde_json::to_vec(contract).map_err(|source| PipelineError::ReadState { source })?;
    let body = json!({ "contract": Digest::of(&value), "changed": difference.lines, "by": by, "reason": reason });
    let writes = vec![
        Write::State { key: KEY.to_owned(), expected: before.map(|(revision, _)| revision), value },
        Write::Journal { kind: "contract".to_owned(), body },
    ];
    stores.meta.commit(stores.fence, pipeline, stores.clock.now(), writes).await?;
    Ok(difference)
}

async fn kept(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<Option<(u64, Contract)>, PipelineError> {
    let Some((revision, bytes)) = meta.state(pipeline, KEY).await? else { return Ok(None) };
    let contract = serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?;
    Ok(Some((revision, contract)))
}

impl Pipeline {
    /// Refuses to go on under a contract that nobody accepted; accepts the first.
    pub(crate) async fn hold_to_contract(&mut self) -> Result<(), PipelineError> {
        if self.contract_accepted {
            return Ok(());
        }
        let (stores, settings) = (self.stores.clone(), std::sync::Arc::clone(&self.settings));
        match accepted_contract(&*stores.meta, &settings.id).await? {
            None => {
                accept_contract(&stores, &settings.id, &settings.contract, "settings", "the first contract").await?;
            }
            Some(accepted) if accepted == settings.contract => {}
            Some(accepted) => {
                let lines = contract_difference(&accepted, &settings.contract).lines;
                return Err(PipelineError::ContractChanged { lines });
            }
        }
        self.contract_accepted = true;
        Ok(())
    }
}
