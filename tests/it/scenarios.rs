//! Scenarios: a folder each, played through the real binary, compared with `expect.txt`.
//!
//! A folder holds `command` (see `script`), `expect.txt`, and where it does not start from `base.toml` its own `tidegate.toml`; other
//! files are copied into the world. `SCENARIO=NAME` plays those whose name begins so.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::host::World;
use crate::script::play;

/// The settings that most scenarios start from.
pub const BASE: &str = include_str!("../scenarios/base.toml");

#[test]
fn every_scenario_prints_what_is_expected() {
    let root = crate::host::own_folder().join("scenarios");
    let only = std::env::var("SCENARIO").ok();
    let mut folders: Vec<PathBuf> = root.read_dir().unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders
        .retain(|folder| only.as_ref().is_none_or(|only| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(only))));
    folders.sort();
    assert!(!folders.is_empty(), "there is no scenario {only:?} in `{}`", root.display());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = check(folder) {
                        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        failures.lock().unwrap().push(format!("scenario `{name}`: {failure}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {} scenarios failed\n\n{}", failures.len(), folders.len(), failures.join("\n"));
}

fn check(folder: &Path) -> Result<(), String> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let script = read("command").map_err(|error| format!("its `command` cannot be read: {error}"))?;
    let settings = read("tidegate.toml").unwrap_or_else(|_| BASE.to_owned());
    let world = World::new(&settings);
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if !["command", "expect.txt", "tidegate.toml"].iter().any(|own| name == *own) {
            std::fs::copy(&path, world.folder().join(name)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let found = play(&script, &world)?;
    let place = folder.join("expect.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        return std::fs::write(&place, found).map_err(|error| error.to_string());
    }
    let expected =
        read("expect.txt").map_err(|_| "it has no `expect.txt`; run with `UPDATE_EXPECT=1` and read what it writes".to_owned())?;
    if found == expected { Ok(()) } else { Err(difference(&expected, &found)) }
}

/// The lines from the first difference on, a few of each side.
fn difference(expected: &str, found: &str) -> String {
    let same = expected.lines().zip(found.lines()).take_while(|(left, right)| left == right).count();
    let some = |text: &str, mark: &str| text.lines().skip(same).take(12).map(|line| format!("  {mark} {line}\n")).collect::<String>();
    format!("differs from line {} of `expect.txt` on\n{}{}", same + 1, some(expected, "-"), some(found, "+"))
}
