//! One process at a time owns a state folder; the next one is told who holds it, and may read beside it.

use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::volatile::settled;

#[test]
fn a_state_folder_in_use_names_who_holds_it() {
    let world = World::new(BASE);
    let first = world.run(["models"]);
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));

    let lock = std::fs::File::open(world.path("state/lock")).unwrap();
    lock.lock().unwrap();
    let ended = world.run(["ingest"]);
    assert_eq!(ended.code, Some(1));
    let expected = "\
error: the state folder `state` is in use by process [pid]

hint: stop process [pid], or name another `folder` under `[state]`
";
    assert_eq!(settled(&ended.stderr, world.folder()), expected);

    drop(lock);
    assert_eq!(world.run(["models"]).code, Some(0), "the next run works");
}

#[test]
fn what_only_reads_works_beside_the_process_that_holds_the_folder() {
    let world = World::new(BASE);
    let rows = Rows { first_day: 0, count: 1_200, seed: 1, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}3000,,1.5,1\n", rows.lines()));
    assert_eq!(world.run(["run"]).code, Some(0));
    let read: [&[&str]; 9] = [
        &["models"],
        &["explain", "v1"],
        &["journal", "show"],
        &["journal", "verify"],
        &["plugin", "list"],
        &["plugin", "inspect", "csv"],
        &["quarantine", "list"],
        &["quarantine", "show", "1200"],
        &["contract", "diff"],
    ];
    let alone: Vec<_> = read.iter().map(|arguments| world.json(arguments)).collect();
    let files = entries(&world);

    let lock = std::fs::File::open(world.path("state/lock")).unwrap();
    lock.lock().unwrap();
    for (arguments, alone) in read.iter().zip(alone) {
        assert_eq!(world.json(arguments), alone, "`tidegate {}` beside a running process", arguments.join(" "));
    }
    assert_eq!(world.json(&["gc", "--dry-run"])["rows"], 0);
    let written = [
        &["ingest"][..],
        &["run"],
        &["promote", "v1"],
        &["rollback"],
        &["contract", "accept"],
        &["quarantine", "readmit", "1200", "--reason", "it was calm"],
        &["quarantine", "clean"],
        &["gc"],
    ];
    for arguments in written {
        let ended = world.run(arguments.iter().copied());
        assert!(ended.stderr.starts_with("error: the state folder `state` is in use by process"), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.code, Some(1), "{arguments:?}");
    }
    assert_eq!(world.run(["backup", "beside.tar"]).code, Some(0), "a backup is made beside a running process too");
    drop(lock);
    // Reading left nothing behind, and took nothing from whoever holds the folder.
    assert_eq!(entries(&world), files);
    world.write("tidegate.toml", BASE.replace("folder = \"state\"", "folder = \"elsewhere\""));
    assert_eq!(world.run(["restore", "beside.tar"]).code, Some(0));
    assert_eq!(world.json(&["models"])[0]["version"]["number"], 1);
}

/// The names in the state folder, without the files that SQLite makes while the database is open.
fn entries(world: &World) -> Vec<String> {
    let entries = world.path("state").read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut entries: Vec<String> = entries.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect();
    entries.sort();
    entries
}

#[test]
fn a_file_that_nothing_names_goes_once_it_is_old_enough() {
    let world = World::new(BASE);
    world.write("input.csv", format!("{HEADER}{}", Rows { first_day: 0, count: 100, seed: 1, noise: 0.1, flipped: false }.lines()));
    assert_eq!(world.run(["ingest"]).code, Some(0));
    let name = "ab".repeat(32);
    std::fs::create_dir_all(world.path("state/blobs/ab/ab")).unwrap();
    let place = world.path(&format!("state/blobs/ab/ab/{name}"));
    std::fs::write(&place, "garbage").unwrap();
    let found = world.json(&["gc"]);
    assert_eq!((&found["files"], &found["bytes_young"]), (&0.into(), &7.into()), "it may be about to be named");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(&place).unwrap().set_modified(old).unwrap();
    assert_eq!(world.json(&["gc", "--dry-run"])["files"], 1);
    assert!(place.exists());
    assert_eq!(world.json(&["gc"])["files"], 1);
    assert!(!place.exists());
    assert_eq!(world.json(&["gc"])["files"], 0);
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}
