//! A disk that is full: a file system of a few megabytes in memory, mounted where only the child sees it.

use std::process::Command;

use crate::host::{Ended, World, built};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;

const ROWS: u64 = 60_000;

/// Mounts a file system on the state folder, ingests, makes it larger, ingests again.
const SCRIPT: &str = r#"
set -e
mkdir kept && cp -r state/. kept/
mount -t tmpfs -o size=$SMALL tidegate state
cp -r kept/. state/
set +e
"$TIDEGATE" ingest --no-progress --color never; echo "first: $?"
"$TIDEGATE" journal verify --color never; echo "journal: $?"
mount -o remount,size=400m tidegate state
"$TIDEGATE" ingest --no-progress --color never; echo "second: $?"
"$TIDEGATE" journal verify --color never >/dev/null; echo "journal: $?"
"#;

#[test]
fn a_full_disk_is_named_and_costs_no_row() {
    let world = World::new(BASE);
    let rows = Rows { first_day: 0, count: ROWS, seed: 5, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}", rows.lines()));
    let taken: u64 = bytes_in(&world.path("state"));
    // Room for the compiled plugins and an empty database, and not for the rows.
    let small = taken + (1 << 20);

    let script = |starter: &[&str]| {
        let mut command = Command::new(starter[0]);
        world.settle(&mut command);
        command.args(&starter[1..]).args(["sh", "-c", SCRIPT]).env("TIDEGATE", &built().tidegate).env("SMALL", small.to_string());
        command
    };
    // A user namespace needs no privilege; where it is not allowed, root may still have a mount namespace of its own.
    let starters: [&[&str]; 2] = [&["unshare", "--user", "--map-root-user", "--mount"], &["unshare", "--mount"]];
    let may_mount = |starter: &&&[&str]| {
        let try_mount = "mkdir -p tried && mount -t tmpfs -o size=1m tidegate tried";
        let mut command = Command::new(starter[0]);
        world.settle(&mut command);
        command.args(&starter[1..]).args(["sh", "-c", try_mount]).output().is_ok_and(|output| output.status.success())
    };
    let starter = starters.iter().find(may_mount);
    let starter =
        starter.expect("this test mounts a small file system: allow user namespaces (`unshare --user --mount`) or run it as root");
    let ended = Ended::of(script(starter).output().unwrap());

    let found = crate::volatile::settled(&format!("{}{}", ended.stdout, ended.stderr), world.folder());
    let expected = "\
first: 1
the journal is whole: 1 entries, head [digest]
journal: 0
60,000 new rows in 1 parts; 60,000 in all, 0 of them quarantined
second: 0
journal: 0
error: the disk that holds `state/blobs/3d/eb/[digest]` is full

hint: free some space, or move the state to a larger disk with `folder` under `[state]`; nothing of this write was kept
";
    assert_eq!(found, expected);
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap());
    // A file takes whole pages.
    let bytes = |entry: std::fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { bytes_in(&entry.path()) } else { metadata.len().next_multiple_of(4096) }
    };
    entries.map(bytes).sum()
}
