//! What looking after a store takes beside what the loop asks: everything there is, and how much room it takes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidegate_vocab::{CleanerState, Digest, PipelineId};

use crate::{MetaStore, StoreError};

/// Questions of garbage collection and backups.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The cleaner chains of which there are cleaned parts or state, in order.
    async fn chains(&self, pipeline: &PipelineId) -> Result<Vec<Digest>, StoreError>;

    /// Every small named piece of the loop's state, by name.
    async fn states(&self, pipeline: &PipelineId) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Bytes that the metadata takes. Room that was freed within the database's file does not count: it is used before the file
    /// grows.
    async fn metadata_bytes(&self) -> Result<u64, StoreError>;
}

/// The digest of every blob that the metadata of one pipeline names, whether it is still there or not: retention lets go of blobs
/// of versions whose story stays.
pub async fn named_blobs(meta: &dyn MetaStore, upkeep: &dyn Upkeep, pipeline: &PipelineId) -> Result<BTreeSet<Digest>, StoreError> {
    let mut named: BTreeSet<Digest> = meta.raw_parts(pipeline, 0).await?.into_iter().map(|part| part.digest).collect();
    for chain in upkeep.chains(pipeline).await? {
        for part in meta.clean_parts(pipeline, &chain, 0).await? {
            named.extend(layers_of(&part.state).chain([part.digest]));
        }
        let state = meta.chain_state(pipeline, &chain).await?;
        named.extend(state.iter().flat_map(|(_, state)| layers_of(state)));
    }
    let versions = meta.versions(pipeline).await?;
    let snapshots = versions.iter().map(|version| version.snapshot).collect::<BTreeSet<_>>();
    let of_runs = meta.runs(pipeline).await?.into_iter().filter_map(|run| run.snapshot);
    for id in snapshots.into_iter().chain(of_runs).collect::<BTreeSet<_>>() {
        let Some(snapshot) = meta.snapshot(&id).await? else { continue };
        named.extend(snapshot.files());
    }
    for version in versions {
        named.extend([version.weights, version.manifest]);
        named.extend(version.serving.iter().map(|cleaner| cleaner.component));
    }
    let decisions = meta.decisions(pipeline, None).await?;
    named.extend(decisions.into_iter().filter_map(|(_, decision)| Some(decision.evidence?.terms)));
    for (_, value) in upkeep.states(pipeline).await? {
        named.extend(digests_in(&value));
    }
    Ok(named)
}

/// The files that a chain's state is made of.
pub fn layers_of(state: &[CleanerState]) -> impl Iterator<Item = Digest> {
    state.iter().flat_map(|cleaner| cleaner.layers.iter().map(|layer| layer.digest))
}

/// Digests that a piece of state may name: its bytes are one, or hold some in hexadecimal. A word that only looks like one keeps a
/// blob too many; the other way about would lose one.
pub fn digests_in(value: &[u8]) -> Vec<Digest> {
    const HEX_CHARS: usize = 64;
    if let Ok(bytes) = <[u8; 32]>::try_from(value) {
        return vec![Digest::from_bytes(bytes)];
    }
    let words = value.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == HEX_CHARS);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_state() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let check = |value: &[u8], expected: &[Digest]| assert_eq!(digests_in(value), expected);
        check(b"", &[]);
        check(a.as_bytes(), &[a]);
        check(format!("{{\"one\":\"{a}\",\"two\":[\"{b}\"]}}").as_bytes(), &[a, b]);
        check(format!("{a}{b}").as_bytes(), &[]);
        check(a.short().as_bytes(), &[]);
    }
}
