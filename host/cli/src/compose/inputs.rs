//! `[input.NAME]`: files and folders that sources are lent, read by ranges.
//!
//! A guest never sees a path. Of a folder it may open plain files only, by name; a link in it is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tidegate_sandbox::{Input, InputError, Inputs};
use tidegate_vocab::Digest;

/// Bytes at the start of a file that tell whether it was replaced: its first line, or this much of it.
const HEAD_BYTES_MAX: usize = 65_536;
/// Files of one folder that are listed at most.
const ENTRIES_MAX: usize = 100_000;

/// The inputs of a configuration, by name.
#[derive(Debug, Clone)]
pub struct FileInputs(pub BTreeMap<String, PathBuf>);

impl FileInputs {
    fn path(&self, name: &str) -> Result<&Path, InputError> {
        let known = || self.0.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let missing = || refused(format!("there is no `[input.{name}]`; there are {}", known()));
        self.0.get(name).map(PathBuf::as_path).ok_or_else(missing)
    }
}

impl Inputs for FileInputs {
    fn entries(&self, name: &str) -> Result<Vec<String>, InputError> {
        let path = self.path(name)?;
        let metadata = std::fs::metadata(path).map_err(|error| failed(name, &error))?;
        if !metadata.is_dir() {
            return Ok(vec![name.to_owned()]);
        }
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| failed(name, &error))? {
            let entry = entry.map_err(|error| failed(name, &error))?;
            let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
            if let (true, Some(file)) = (plain, entry.file_name().to_str()) {
                entries.push(format!("{name}/{file}"));
            }
            if entries.len() > ENTRIES_MAX {
                return Err(refused(format!("the folder behind input `{name}` holds more than {ENTRIES_MAX} files")));
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn open(&self, entry: &str) -> Result<Box<dyn Input>, InputError> {
        let (name, file_name) = entry.split_once('/').map_or((entry, None), |(name, file)| (name, Some(file)));
        let path = self.path(name)?;
        let (path, links) = match file_name {
            // The operator named the file itself, a link or not; a file within a folder was named by whoever can write there.
            None => (path.to_owned(), OFlags::empty()),
            Some(file) if file.is_empty() || file.contains('/') || file.starts_with('.') => {
                return Err(refused(format!("`{entry}` does not name a file of input `{name}`")));
            }
            Some(file) => (path.join(file), OFlags::NOFOLLOW),
        };
        // Without blocking, so that a pipe cannot hold up the call.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | links;
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| failed(entry, &error.into()))?;
        let file = File::from(opened);
        let metadata = file.metadata().map_err(|error| failed(entry, &error))?;
        if !metadata.is_file() {
            return Err(refused(format!("input `{entry}` is not a plain file: `{}`", path.display())));
        }
        Ok(Box::new(FileInput { entry: entry.to_owned(), path, file }))
    }
}

struct FileInput {
    entry: String,
    path: PathBuf,
    file: File,
}

impl Input for FileInput {
    fn byte_count(&self) -> Result<u64, InputError> {
        // By path, so that a file that was replaced since it was opened shows.
        let metadata = std::fs::metadata(&self.path).map_err(|error| failed(&self.entry, &error))?;
        Ok(metadata.len())
    }

    fn generation(&self) -> Result<String, InputError> {
        let wrap = |error: std::io::Error| failed(&self.entry, &error);
        let mut current = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
            .map(File::from)
            .map_err(|error| wrap(error.into()))?;
        let inode = current.metadata().map_err(wrap)?.ino();
        let mut head = vec![0; HEAD_BYTES_MAX];
        let mut filled = 0;
        while filled < head.len() {
            match current.read(&mut head[filled..]).map_err(wrap)? {
                0 => break,
                count => filled += count,
            }
        }
        let line = head[..filled].iter().position(|byte| *byte == b'\n');
        // A first line that is still being written would change the digest as it grows.
        let head = line.map_or(&[][..], |end| &head[..=end]);
        Ok(format!("{inode}-{}", Digest::of(head).short()))
    }

    fn read(&self, offset: u64, count: u32) -> Result<Vec<u8>, InputError> {
        let mut bytes = vec![0; count as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&self.entry, &error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

fn refused(message: String) -> InputError {
    InputError { message, retryable: false }
}

fn failed(entry: &str, error: &std::io::Error) -> InputError {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    let retryable = !matches!(error.kind(), PermissionDenied | NotFound);
    InputError { message: format!("could not read input `{entry}`: {error}"), retryable }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they lend")]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, FileInputs) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("days")).unwrap();
        std::fs::write(folder.path().join("days/b.csv"), "x\n1\n").unwrap();
        std::fs::write(folder.path().join("days/a.csv"), "x\n2\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("days/link.csv")).unwrap();
        let inputs = [("days", "days"), ("one", "days/a.csv"), ("none", "missing.csv")];
        let inputs = inputs.map(|(name, path)| (name.to_owned(), folder.path().join(path)));
        (folder, FileInputs(BTreeMap::from(inputs)))
    }

    #[test]
    fn a_folder_lists_its_plain_files() {
        let (_folder, inputs) = folder();
        assert_eq!(inputs.entries("days").unwrap(), ["days/a.csv", "days/b.csv"]);
        assert_eq!(inputs.entries("one").unwrap(), ["one"]);
        assert_eq!(inputs.open("days/b.csv").unwrap().read(2, 100).unwrap(), b"1\n");
    }

    #[test]
    fn nothing_outside_the_lent_folder_opens() {
        let (_folder, inputs) = folder();
        for entry in ["days/link.csv", "days/../days/a.csv", "days/", "days/.hidden", "days", "none", "other"] {
            assert!(inputs.open(entry).is_err(), "`{entry}` was opened");
        }
    }

    #[test]
    fn growth_keeps_the_generation_and_replacement_changes_it() {
        let (folder, inputs) = folder();
        let path = folder.path().join("days/a.csv");
        let before = inputs.open("one").unwrap().generation().unwrap();
        std::fs::write(&path, "x\n2\n3\n").unwrap();
        assert_eq!(inputs.open("one").unwrap().generation().unwrap(), before, "the file only grew");
        std::fs::write(&path, "y\n2\n3\n").unwrap();
        assert_ne!(inputs.open("one").unwrap().generation().unwrap(), before, "the header changed");
        std::fs::write(folder.path().join("new.csv"), "x\n2\n3\n").unwrap();
        std::fs::rename(folder.path().join("new.csv"), &path).unwrap();
        assert_ne!(inputs.open("one").unwrap().generation().unwrap(), before, "another file took the name");
    }
}
