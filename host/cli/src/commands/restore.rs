//! `tidegate restore`: a state folder from a backup, where none is.
//!
//! Invariant: the folder appears under its name when every file of the backup is there with its digest and the journal is whole;
//! before that, everything happens in a folder beside it, which goes when anything is wrong.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tidegate_store::{Blobs as _, JournalHead, MetaStore as _, ObjectBlobs, StateFolder};
use tidegate_vocab::Digest;

use super::backup::{BLOBS, Entry, FORMAT, MANIFEST, Manifest, is_plain};
use super::config;
use crate::args::Global;
use crate::compose;
use crate::config::section::{grouped, shown};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// The largest manifest; one entry takes about 200 bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;
/// The largest file of a backup that is read into memory at once.
const FILE_BYTES_MAX: u64 = 1 << 40;

/// Restores `file` into the state folder of `global`'s settings.
///
/// # Errors
/// A [`Failure`] when there is state already, or the backup is damaged, cut off or of a newer format.
pub fn restore(global: &Global, file: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let folder = &config.store.folder;
    if !is_missing_or_empty(folder)? {
        let text = format!("there is something in `{}` already", folder.display());
        return Err(Failure::usage(text, "restore into a folder that is missing or empty: name another `folder` under `[store]`"));
    }
    compose::block_on(async {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).create(parent).with_context(|| format!("could not make `{}`", parent.display()))?;
        let aside = tempfile::Builder::new().prefix(".tidegate-restore-").tempdir_in(parent);
        let aside = aside.with_context(|| format!("could not write to `{}`", parent.display()))?;
        let place = aside.path().join("state");
        let manifest = unpack(file, &place).await?;
        let head = verify(&place).await?;
        if folder.is_dir() {
            std::fs::remove_dir(folder).with_context(|| format!("could not replace `{}`", folder.display()))?;
        }
        std::fs::rename(&place, folder).with_context(|| format!("could not make `{}`", folder.display()))?;
        let files = manifest.files.len() as u64;
        let (made_at, entries) = (&manifest.made_at, grouped(head.entries));
        let text = || {
            let place = folder.display();
            format!("`{place}` is as it was at {made_at}: {} files, {entries} journal entries, head {}\n", grouped(files), head.digest)
        };
        terminal.result(text, || json!({ "made_at": made_at, "files": files, "entries": head.entries, "head": head.digest }));
        Ok(Exit::Ok)
    })
}

fn is_missing_or_empty(folder: &Path) -> Result<bool, Failure> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(anyhow::Error::new(error).context(format!("could not look into `{}`", folder.display())).into()),
    }
}

/// A backup that cannot be believed.
fn damaged(file: &Path, why: impl std::fmt::Display) -> Failure {
    let text = format!("the backup `{}` cannot be restored: {why}", file.display());
    let mut failure = Failure::usage(text, "take another copy of the backup; nothing was restored");
    failure.exit = Exit::Error;
    failure
}

/// Puts every file of the backup under `place`, with the digest that its manifest says.
#[expect(clippy::disallowed_methods, reason = "a backup is a file")]
async fn unpack(file: &Path, place: &Path) -> Result<Manifest, Failure> {
    let opened = std::fs::File::open(file).with_context(|| format!("could not open the backup `{}`", file.display()))?;
    let mut archive = tar::Archive::new(std::io::BufReader::new(opened));
    let broken = |error: std::io::Error| damaged(file, format!("it is damaged or cut off ({error})"));
    let mut entries = archive.entries().map_err(broken)?;
    let first = entries.next().ok_or_else(|| damaged(file, "it is empty"))?.map_err(broken)?;
    let manifest = manifest(file, first)?;
    let mut wanted: BTreeMap<&str, &Entry> = manifest.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    DirBuilder::new().mode(0o700).create(place).with_context(|| format!("could not make `{}`", place.display()))?;
    let blobs = ObjectBlobs::in_folder(&place.join("blobs"))?;
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(known) = wanted.remove(path.as_str()) else {
            return Err(damaged(file, format!("it holds `{}`, which its manifest does not name or names once", shown(&path))));
        };
        let bytes = read(&mut entry, known.byte_count).map_err(broken)?;
        if Digest::of(&bytes) != known.digest || !entry.header().entry_type().is_file() {
            return Err(damaged(file, format!("`{}` is not what its digest says", shown(&path))));
        }
        match path.strip_prefix(BLOBS) {
            Some(name) if name == known.digest.to_string() => _ = blobs.put(bytes.into()).await?,
            None if is_plain(&path) => keep(&place.join(&path), &bytes)?,
            _ => return Err(damaged(file, format!("`{}` is no place for a file", shown(&path)))),
        }
    }
    match wanted.keys().next() {
        None => Ok(manifest.clone()),
        Some(path) => Err(damaged(file, format!("{} of its files are missing, `{}` among them", wanted.len(), shown(path)))),
    }
}

fn manifest(file: &Path, mut entry: tar::Entry<'_, impl Read>) -> Result<Manifest, Failure> {
    if &*entry.path_bytes() != MANIFEST.as_bytes() {
        return Err(damaged(file, "it does not begin with a manifest, so it is none of ours"));
    }
    let bytes = read(&mut entry, MANIFEST_BYTES_MAX).map_err(|error| damaged(file, format!("its manifest cannot be read ({error})")))?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(file, format!("its manifest cannot be read ({error})")))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format.is_some_and(|format| format > u64::from(FORMAT)) {
        let text = format!("it has format {}, this version reads formats up to {FORMAT}", format.unwrap_or_default());
        return Err(damaged(file, text));
    }
    serde_json::from_value(value).map_err(|error| damaged(file, format!("its manifest cannot be read ({error})")))
}

/// All bytes of an entry, of which there are at most `bytes_max`.
fn read(entry: &mut impl Read, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(bytes_max.min(FILE_BYTES_MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    Ok(written.with_context(|| format!("could not write `{}`", path.display()))?)
}

/// Opens what was unpacked, bringing it to this version's format, and walks its journal.
async fn verify(place: &Path) -> Result<JournalHead, Failure> {
    let state = StateFolder::open(place, "tidegate restore").await?;
    let head = state.meta.verify_journal().await;
    state.meta.close().await;
    Ok(head?)
}
