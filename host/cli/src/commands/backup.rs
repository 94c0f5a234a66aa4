//! `tidegate backup`: everything that is kept, in one file, beside a running host too.
//!
//! Invariant: the file is of one instant. The database is copied in one read transaction; a file that it names and that a garbage
//! collection removed meanwhile makes the copy start again. The file appears under its name when it is whole and on disk.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_store::{Blobs as _, MetaStore as _, SqliteStore, StateFolder, StoreError, named_blobs};
use tidegate_vocab::{Clock as _, Digest};

use super::config;
use super::gc::size;
use crate::args::Global;
use crate::compose::{self, clock::SystemClock};
use crate::config::Config;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// The format of the file.
pub const FORMAT: u32 = 1;
/// The first entry of the file: a [`Manifest`].
pub const MANIFEST: &str = "manifest.json";
/// The folder of blobs in the file.
pub const BLOBS: &str = "blobs/";
/// How often a copy starts again because garbage was collected meanwhile.
const ATTEMPTS_MAX: u32 = 5;
const FILE_MODE: u32 = 0o600;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub tidegate: String,
    /// When.
    pub made_at: String,
    /// Every other entry, in order.
    pub files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path in the state folder; of a blob, `blobs/` and its digest.
    pub path: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many these are.
    pub byte_count: u64,
}

/// Writes the state of `global`'s settings to `file`.
///
/// # Errors
/// A [`Failure`] when the file is there already or cannot be written, or the state cannot be read.
pub fn backup(global: &Global, file: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    if file.exists() {
        return Err(Failure::usage(format!("`{}` is there already", file.display()), "name a file that is not there"));
    }
    let folder = folder_of(file);
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no folder `{}`", folder.display()), "name a file in a folder that is there"));
    }
    if !config.store.folder.is_dir() {
        let text = format!("there is no state folder `{}` to back up", config.store.folder.display());
        return Err(Failure::usage(text, "`tidegate ingest` makes one"));
    }
    compose::with_state_to_read(&config, async |state| {
        let manifest = write(&config, state, file).await?;
        let bytes: u64 = manifest.files.iter().map(|entry| entry.byte_count).sum();
        let files = manifest.files.len();
        let text = || format!("{} files, {}, are in `{}`\n", grouped(files as u64), size(bytes), file.display());
        terminal
            .result(text, || json!({ "file": file.display().to_string(), "files": files, "bytes": bytes, "made_at": manifest.made_at }));
        Ok(Exit::Ok)
    })
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

async fn write(config: &Config, state: &StateFolder, file: &Path) -> Result<Manifest, Failure> {
    let folder = folder_of(file);
    // Beside the file, so that the space that is needed is where the file goes, and renaming it is one step.
    let aside = tempfile::Builder::new().prefix(".tidegate-backup-").tempdir_in(folder);
    let aside = aside.with_context(|| format!("could not write to `{}`", folder.display()))?;
    for attempt in 1..=ATTEMPTS_MAX {
        let database = aside.path().join(format!("{attempt}.db"));
        let before: BTreeSet<Digest> = state.blobs.list().await?.into_iter().map(|(digest, _)| digest).collect();
        state.meta.copy_to(&database).await?;
        let blobs = blobs_of(&database, state).await?;
        let there: BTreeSet<Digest> = state.blobs.list().await?.into_iter().map(|(digest, _)| digest).collect();
        if !before.is_subset(&there) {
            continue;
        }
        let part = aside.path().join(format!("{attempt}.tar"));
        let Some(manifest) = write_tar(config, state, &database, &blobs, &part).await? else { continue };
        std::fs::rename(&part, file).and_then(|()| sync(folder)).with_context(|| format!("could not write `{}`", file.display()))?;
        return Ok(manifest);
    }
    let mut failure = Failure::usage("garbage was collected during each attempt to copy the state", "try again later");
    failure.exit = Exit::Error;
    Err(failure)
}

/// The blobs that a copy of the database names and that are there, with their sizes.
async fn blobs_of(database: &Path, state: &StateFolder) -> Result<Vec<(Digest, u64)>, Failure> {
    let copy = SqliteStore::open_to_read(database).await?;
    let mut named = BTreeSet::new();
    for pipeline in copy.pipelines().await? {
        named.extend(named_blobs(&copy, &copy, &pipeline).await?);
    }
    copy.close().await;
    Ok(state.blobs.list().await?.into_iter().filter(|(digest, _)| named.contains(digest)).collect())
}

/// Writes the whole file; `None` when a blob vanished meanwhile.
async fn write_tar(
    config: &Config,
    state: &StateFolder,
    database: &Path,
    blobs: &[(Digest, u64)],
    part: &Path,
) -> Result<Option<Manifest>, Failure> {
    let mut own = vec![(StateFolder::DATABASE.to_owned(), database.to_owned())];
    own.push((StateFolder::KEY.to_owned(), config.store.folder.join(StateFolder::KEY)));
    own.extend(tokens(config));
    let mut files = Vec::with_capacity(own.len() + blobs.len());
    for (path, place) in &own {
        let bytes = read(place)?;
        files.push(Entry { path: path.clone(), digest: Digest::of(&bytes), byte_count: bytes.len() as u64 });
    }
    files.extend(blobs.iter().map(|(digest, bytes)| Entry { path: format!("{BLOBS}{digest}"), digest: *digest, byte_count: *bytes }));
    let made_at = SystemClock.now().to_string();
    let manifest = Manifest { format: FORMAT, tidegate: env!("CARGO_PKG_VERSION").to_owned(), made_at, files };

    let failed = || format!("could not write `{}`", part.display());
    let out = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(part).with_context(failed)?;
    let mut tar = tar::Builder::new(std::io::BufWriter::new(out));
    let head = serde_json::to_vec_pretty(&manifest).context("could not write the manifest")?;
    append(&mut tar, MANIFEST, &head).with_context(failed)?;
    for (path, place) in &own {
        append(&mut tar, path, &read(place)?).with_context(failed)?;
    }
    for (digest, _) in blobs {
        let bytes = match state.blobs.get(digest).await {
            Err(StoreError::BlobMissing { .. }) => return Ok(None),
            found => found?,
        };
        append(&mut tar, &format!("{BLOBS}{digest}"), &bytes).with_context(failed)?;
    }
    let written = tar.into_inner().and_then(|mut out| out.flush().map(|()| out));
    let synced = written.and_then(|out| out.into_inner().map_err(std::io::IntoInnerError::into_error)).and_then(|out| out.sync_all());
    synced.with_context(failed)?;
    Ok(Some(manifest))
}

/// The file of tokens, where it lies in the state folder.
fn tokens(config: &Config) -> Option<(String, PathBuf)> {
    let place = &config.serve.as_ref()?.tokens;
    let name = place.strip_prefix(&config.store.folder).ok()?.to_str()?;
    (place.is_file() && is_plain(name)).then(|| (name.to_owned(), place.clone()))
}

/// Whether `name` is of a file that a backup may hold beside its blobs.
pub fn is_plain(name: &str) -> bool {
    let valid = !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    valid && !name.is_empty() && !["lock", "blobs", "compiled", MANIFEST].contains(&name)
}

fn append(tar: &mut tar::Builder<impl std::io::Write>, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(FILE_MODE);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, path, bytes)
}

#[expect(clippy::disallowed_methods, reason = "a backup is made of files")]
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?)
}

#[expect(clippy::disallowed_methods, reason = "a name is on disk when its folder is")]
fn sync(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
