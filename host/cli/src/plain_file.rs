//! Reading files at paths that the operator named: settings, components, locks, keys. Whoever can write there may have laid anything.
//!
//! Invariant: no read waits and none is without an end. A pipe that nobody writes into is refused, and not opened for as long as that
//! takes; so are devices. No more is read than the caller says, however large the file says it is or becomes meanwhile.

use std::io::{Error, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The bytes of a plain file that has at most `bytes_max`.
///
/// # Errors
/// The system's, and one that says what was found where something else lies there, or more.
pub fn read(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let file = std::fs::File::from(opened);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(rustix::io::Errno::ISDIR.into());
    }
    if !metadata.is_file() {
        return Err(Error::other("it is no plain file, and nothing else is read"));
    }
    let too_large = |bytes: u64| Error::other(format!("it has {bytes} bytes, at most {bytes_max} are read"));
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown since.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// The text of such a file.
///
/// # Errors
/// Those of [`read`], and one for bytes that are no UTF-8.
pub fn text(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they read")]
mod tests {
    use super::*;

    #[test]
    fn whatever_lies_there_is_read_or_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("plain"), "ten bytes.").unwrap();
        std::fs::write(at("binary"), [0xff, 0xfe]).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::fs::symlink("plain", at("link")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        // Holes: a terabyte that takes no room.
        std::fs::File::create(at("vast")).unwrap().set_len(1 << 40).unwrap();
        let read = |name: &str| text(&at(name), 10).map_err(|error| error.to_string());
        assert_eq!((read("plain"), read("link")), (Ok("ten bytes.".to_owned()), Ok("ten bytes.".to_owned())));
        for (name, expected) in [
            ("binary", "it is not UTF-8"),
            ("folder", "Is a directory"),
            ("pipe", "it is no plain file"),
            ("endless", "it is no plain file"),
            ("loop", "Too many levels of symbolic links"),
            ("vast", "it has 1099511627776 bytes, at most 10 are read"),
            ("nothing", "No such file"),
        ] {
            let error = read(name).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert_eq!(text(&at("plain"), 9).unwrap_err().to_string(), "it has 10 bytes, at most 9 are read");
    }
}
