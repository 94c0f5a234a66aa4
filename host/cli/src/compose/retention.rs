//! Retention as the settings say it: what counts against the budget, and what may go.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_pipeline::{Collected, Collection, Retention, Stores, Subject};
use tidegate_store::{EntriesRemoved, MetaStore as _, StateFolder};
use tidegate_vocab::Digest;

use super::clock::SystemClock;
use crate::config::Config;
use crate::failure::Failure;

/// What a collection and the look at compiled plugins came to.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Room {
    /// Rows, files, bytes.
    pub collected: Collected,
    /// Compiled plugins that nothing uses any more.
    pub compiled: EntriesRemoved,
}

/// Lets go of what the settings say, or with `dry_run` only says what would go. Compiled plugins are those of components that are
/// neither in the plugin folder nor on the request path of a version.
///
/// # Errors
/// A [`Failure`] when a cleaner's file or the state cannot be read, or the state not written.
pub async fn collect(config: &Config, state: &StateFolder, dry_run: bool) -> Result<Room, Failure> {
    let used = components(config, state).await?;
    let is_used = |name: &str| used.iter().any(|digest| name.starts_with(digest.as_str()));
    let compiled = state.compiled.as_ref().map(|folder| folder.retain(is_used, dry_run)).transpose()?.unwrap_or_default();
    let stores = super::stores(state, Arc::new(SystemClock));
    let subjects = subjects(config)?;
    let collection = collection(config, state, &stores, &subjects, compiled.bytes_kept, dry_run);
    Ok(Room { collected: tidegate_pipeline::collect(&collection).await?, compiled })
}

/// Makes room for new rows if the state takes more than `disk_bytes_max`.
///
/// # Errors
/// A [`Failure`] when that cannot be done: no row may be taken in.
pub async fn make_room(config: &Config, state: &StateFolder) -> Result<(), Failure> {
    if config.store.disk_bytes_max.is_none() {
        return Ok(());
    }
    let compiled = state.compiled.as_ref().map(|folder| folder.retain(|_| true, true)).transpose()?.unwrap_or_default();
    let stores = super::stores(state, Arc::new(SystemClock));
    let subjects = subjects(config)?;
    let collection = collection(config, state, &stores, &subjects, compiled.bytes_kept, false);
    if let Some(collected) = tidegate_pipeline::make_room(&collection).await? {
        tracing::info!(rows = collected.rows, bytes = collected.bytes, "made room");
    }
    Ok(())
}

fn collection<'a>(
    config: &Config,
    state: &'a StateFolder,
    stores: &'a Stores,
    subjects: &'a [Subject],
    bytes_beside: u64,
    dry_run: bool,
) -> Collection<'a> {
    let retention = Retention { retention_days: config.store.retention_days, disk_bytes_max: config.store.disk_bytes_max };
    let now = stores.clock.now();
    Collection { stores, upkeep: &*state.meta, feedback: &*state.meta, subjects, retention, bytes_beside, now, dry_run }
}

fn subjects(config: &Config) -> Result<Vec<Subject>, Failure> {
    let subject = |pipeline: &crate::config::PipelineConfig| {
        let (id, window_rows) = (pipeline.id.clone(), pipeline.model.window_rows);
        Ok(Subject { id, chain: super::chain(config, pipeline)?, window_rows })
    };
    config.pipelines.iter().map(subject).collect()
}

/// The digests, as text, of every component that is used: names of compiled plugins begin with them.
async fn components(config: &Config, state: &StateFolder) -> Result<BTreeSet<String>, Failure> {
    let mut used = BTreeSet::new();
    for name in config.plugins_found() {
        let Ok(name) = name.parse() else { continue };
        used.insert(Digest::of(super::component(&name, &config.plugin_file(&name))?).to_string());
    }
    used.extend(super::kept::Kept::of(config).book()?.builds().map(|build| build.to_string()));
    for pipeline in state.meta.pipelines().await? {
        let versions = state.meta.versions(&pipeline).await?;
        used.extend(versions.iter().flat_map(|version| version.serving.iter().map(|cleaner| cleaner.component.to_string())));
    }
    Ok(used)
}
