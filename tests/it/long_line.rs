//! A line of one gibibyte, of which the disk holds nothing: refused, in bounded memory.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;

use crate::host::{Ended, World};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;

const LINE_BYTES: u64 = 1 << 30;
/// What the process may take at its peak: the guest's 256 MiB, a copy on its way, and the engine.
const MEMORY_KIB_MAX: u64 = 600 << 10;

#[test]
fn a_line_of_a_gibibyte_is_refused_in_bounded_memory() {
    let world = World::new(BASE);
    let mut file = File::create(world.path("input.csv")).unwrap();
    file.write_all(HEADER.as_bytes()).unwrap();
    // Nothing is written behind the header: the file system answers with zeros, which are UTF-8.
    file.set_len(LINE_BYTES).unwrap();

    let mut command = world.command(["ingest"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let waiting = std::thread::spawn(move || Ended::of(child.wait_with_output().unwrap()));
    // The peak only ever rises, so the last one that could be read is the one that counts.
    let mut peak_kib = 0;
    while !waiting.is_finished() {
        peak_kib = peak_kib.max(peak_of(&status).unwrap_or(0));
        std::thread::yield_now();
    }
    let ended = waiting.join().unwrap();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = "\
error: plugin `csv` failed in step `source`
  caused by: plugin `csv` refused in step `next`: line 2 of input `days` starts at byte 22 and has 18874346 bytes or more; \
`line_bytes_max` is 16777216
";
    assert_eq!(ended.stderr, expected);
    eprintln!("peak {peak_kib} KiB");
    assert!(peak_kib > 0, "the peak of the memory could not be read from `{status}`");
    assert!(peak_kib <= MEMORY_KIB_MAX, "a line of {LINE_BYTES} bytes took {peak_kib} KiB, more than {MEMORY_KIB_MAX}");

    let rows = Rows { first_day: 0, count: 100, seed: 1, noise: 0.1, flipped: false };
    std::fs::remove_file(world.path("input.csv")).unwrap();
    world.write("input.csv", format!("{HEADER}{}", rows.lines()));
    assert_eq!(world.json(&["ingest"])["rows_total"], 100, "the next run works");
}

/// The peak of a process in KiB, while it lives.
fn peak_of(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
