//! Replays the corpus through every target, so that what a fuzzer once found is tested wherever tests run.
#![expect(clippy::disallowed_methods, reason = "it reads the corpus")]

use std::path::Path;

#[test]
fn what_was_found_once_does_no_harm() {
    for (name, target) in tidegate_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            eprintln!("{}", file.display());
            target(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn bytes_without_any_sense_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..300 {
        let length = (chance() % 600) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| (chance() >> 32) as u8).collect();
        for (_, target) in tidegate_fuzz::TARGETS {
            target(&bytes);
        }
    }
}
