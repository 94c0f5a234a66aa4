//! What the cleaners of a chain that keep state remember.
//!
//! Invariant: the state moves with the commit of a cleaned part and never otherwise, so that neither a crash nor a call that is made
//! again loses any of it or takes it twice. A part is cleaned with the state as it was when its turn came; the part's record names that
//! state, and whoever cleans it again (a witness, a row that is let in again) gives the cleaners the same and keeps nothing of what
//! they change. A batch that was set aside has no turn: when it comes back, it is cleaned with the state of that day.
//!
//! On disk a state is a list of layers, in memory a map. The map of the newest state stays in memory while the pipeline runs.

use std::sync::Arc;

use tidegate_dataset::{decode_state, encode_state, layers_to_merge, merged_state};
use tidegate_store::Write;
use tidegate_vocab::{CleanPart, CleanerState, Digest, PipelineId, RawPart, StateChanges, StateEntries, StateLayer};

use crate::{CleanPort, PipelineError, PluginStep, Stores};

/// The state of a chain at one instant: what the next call of each of its cleaners is lent. Empty where no cleaner keeps state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered {
    /// As files, by cleaner.
    pub layers: Vec<CleanerState>,
    /// The same in memory.
    entries: Vec<Arc<StateEntries>>,
}

/// The newest state of the chain that was used last.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    newest: Option<Newest>,
}

#[derive(Debug)]
struct Newest {
    chain: Digest,
    /// `None` before the first commit.
    revision: Option<u64>,
    state: Remembered,
}

/// A step of a state that is to be committed.
pub(crate) struct Step {
    chain: Digest,
    expected: Option<u64>,
    layers: Vec<CleanerState>,
    changes: Vec<(u32, StateChanges)>,
}

impl Remembered {
    /// What the cleaner at a place is lent; `None` for one that keeps nothing.
    pub(crate) fn of(&self, place: usize) -> Option<&Arc<StateEntries>> {
        let index = self.layers.iter().position(|state| state.cleaner as usize == place)?;
        self.entries.get(index)
    }

    /// What a part was cleaned with.
    pub(crate) async fn at(part: &CleanPart, stores: &Stores) -> Result<Remembered, PipelineError> {
        Remembered::read(part.state.clone(), stores).await
    }

    /// The same of the cleaned part of a raw part; `None` for one that had no turn behind this chain.
    pub(crate) async fn of_raw(
        raw: &RawPart,
        pipeline: &PipelineId,
        chain: &Digest,
        stores: &Stores,
    ) -> Result<Option<Remembered>, PipelineError> {
        let cleaned = stores.meta.clean_parts(pipeline, chain, raw.first_row).await?;
        match cleaned.first().filter(|part| part.first_row == raw.first_row) {
            Some(part) => Remembered::at(part, stores).await.map(Some),
            None => Ok(None),
        }
    }

    async fn read(layers: Vec<CleanerState>, stores: &Stores) -> Result<Remembered, PipelineError> {
        let mut entries = Vec::with_capacity(layers.len());
        for state in &layers {
            let mut read = StateEntries::default();
            for layer in &state.layers {
                read.apply(read_layer(stores, layer).await?);
            }
            entries.push(Arc::new(read));
        }
        Ok(Remembered { layers, entries })
    }

    fn empty(keepers: &[u32]) -> Remembered {
        let layers = keepers.iter().map(|cleaner| CleanerState { cleaner: *cleaner, layers: Vec::new() }).collect();
        Remembered { layers, entries: keepers.iter().map(|_| Arc::default()).collect() }
    }
}

/// The places of the cleaners that keep state.
pub(crate) fn keepers(cleaners: &[PluginStep<dyn CleanPort>]) -> Vec<u32> {
    (0..).zip(cleaners).filter(|(_, step)| step.keeps_state()).map(|(place, _)| place).collect()
}

impl Memory {
    /// The newest state of a chain, whose cleaners at these places keep some.
    pub(crate) async fn newest(
        &mut self,
        stores: &Stores,
        pipeline: &PipelineId,
        chain: &Digest,
        keepers: &[u32],
    ) -> Result<Remembered, PipelineError> {
        if keepers.is_empty() {
            self.newest = None;
            return Ok(Remembered::default());
        }
        if self.newest.as_ref().is_none_or(|newest| newest.chain != *chain) {
            let (revision, state) = match stores.meta.chain_state(pipeline, chain).await? {
                Some((revision, layers)) => (Some(revision), Remembered::read(layers, stores).await?),
                None => (None, Remembered::empty(keepers)),
            };
            self.newest = Some(Newest { chain: *chain, revision, state });
        }
        Ok(self.newest.as_ref().map(|newest| newest.state.clone()).unwrap_or_default())
    }

    /// Keeps what a part changed as files; nothing is committed. `None` for a chain that keeps no state.
    pub(crate) async fn step(
        &self,
        stores: &Stores,
        chain: &Digest,
        changes: Vec<(u32, StateChanges)>,
    ) -> Result<Option<Step>, PipelineError> {
        let Some(newest) = self.newest.as_ref().filter(|newest| newest.chain == *chain) else { return Ok(None) };
        let mut layers = newest.state.layers.clone();
        for state in &mut layers {
            let Some((_, changes)) = changes.iter().find(|(cleaner, _)| *cleaner == state.cleaner) else { continue };
            if !changes.0.is_empty() {
                state.layers.push(write_layer(stores, changes).await?);
                merge(stores, &mut state.layers).await?;
            }
        }
        Ok(Some(Step { chain: newest.chain, expected: newest.revision, layers, changes }))
    }

    /// Notes that the commit with a step holds.
    pub(crate) fn committed(&mut self, step: Step) {
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.chain == step.chain) else { return };
        newest.revision = Some(step.expected.map_or(1, |revision| revision + 1));
        for (cleaner, changes) in step.changes {
            let index = newest.state.layers.iter().position(|state| state.cleaner == cleaner);
            // Nobody else holds the entries between two calls, so that they are changed where they are.
            if let Some(entries) = index.and_then(|index| newest.state.entries.get_mut(index)) {
                Arc::make_mut(entries).apply(changes);
            }
        }
        newest.state.layers = step.layers;
    }

    /// Forgets the newest state, which is read from the store again when it is needed: a commit failed, and may still hold.
    pub(crate) fn forget(&mut self) {
        self.newest = None;
    }

    /// Tells how large each state is.
    pub(crate) fn gauge(&self, pipeline: &PipelineId, cleaners: &[PluginStep<dyn CleanPort>]) {
        let Some(newest) = &self.newest else { return };
        for (state, entries) in newest.state.layers.iter().zip(&newest.state.entries) {
            let Some(step) = cleaners.get(state.cleaner as usize) else { continue };
            let labels = [("pipeline", pipeline.to_string()), ("plugin", step.name.to_string())];
            metrics::gauge!("tidegate_plugin_state_entries", &labels).set(entries.entry_count() as f64);
            metrics::gauge!("tidegate_plugin_state_bytes", &labels).set(entries.byte_count() as f64);
        }
    }
}

impl Step {
    /// The write that makes it, for the commit of its part.
    pub(crate) fn write(&self) -> Write {
        Write::ChainState { chain: self.chain, expected: self.expected, state: self.layers.clone() }
    }
}

async fn read_layer(stores: &Stores, layer: &StateLayer) -> Result<StateChanges, PipelineError> {
    let file = stores.blobs.get(&layer.digest).await.map_err(|source| PipelineError::Blob { digest: layer.digest, source })?;
    decode_state(&file).map_err(|source| PipelineError::ReadMemory { layer: layer.digest, source })
}

async fn write_layer(stores: &Stores, changes: &StateChanges) -> Result<StateLayer, PipelineError> {
    let digest = stores.blobs.put(encode_state(changes)).await?;
    Ok(StateLayer { digest, changes: changes.0.len() as u64 })
}

/// Merges the newest layers as long as there are many of their size.
async fn merge(stores: &Stores, layers: &mut Vec<StateLayer>) -> Result<(), PipelineError> {
    while let count @ 1.. = layers_to_merge(layers) {
        let merged = layers.split_off(layers.len() - count);
        let mut read = Vec::with_capacity(count);
        for layer in &merged {
            read.push(read_layer(stores, layer).await?);
        }
        let merged = merged_state(read, layers.is_empty());
        if !merged.0.is_empty() {
            layers.push(write_layer(stores, &merged).await?);
        }
    }
    Ok(())
}
