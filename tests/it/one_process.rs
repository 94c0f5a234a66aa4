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
    let ended = world.run(["promote", "v1"]);
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

#[test]
fn what_is_old_goes_and_the_loop_goes_on() {
    let world = World::new(&BASE.replacen("folder = \"state\"", "folder = \"state\"\nretention_days = 30", 1));
    let rows = |first_day, seed| Rows { first_day, count: 4_000, seed, noise: 0.1, flipped: false }.lines();
    world.write("input.csv", format!("{HEADER}{}", rows(0, 1)));
    assert_eq!(world.run(["run"]).code, Some(0));
    world.write("input.csv", format!("{HEADER}{}{}", rows(0, 1), rows(4_000, 2)));
    assert_eq!(world.run(["run"]).code, Some(0));
    // All rows are of years ago. The newest part holds a window with room; the one before it does not have to stay.
    let would = world.json(&["gc", "--dry-run"]);
    assert_eq!((&would["rows"], &would["parts"], &would["versions"]), (&4_000.into(), &1.into(), &serde_json::json!([])));
    let done = world.json(&["gc"]);
    assert_eq!(done["rows"], would["rows"]);
    assert!(done["bytes_young"].as_u64().unwrap() > 0, "files of a minute ago stay until the next time");
    assert_eq!(world.json(&["gc"])["rows"], 0);
    let gone = world.run(["quarantine", "show", "0"]);
    assert!(gone.stderr.starts_with("error: retention has let go of row 0"), "{}", gone.stderr);
    let next = world.json(&["run", "--force"]);
    assert_eq!((&next["rows"], &next["decision"]["run"]), (&0.into(), &3.into()));
    assert_eq!(world.json(&["explain", "v1"])["version"]["number"], 1, "the story of every version stays");
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}
