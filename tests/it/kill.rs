//! `kill -9` at fifty instants of ingest, run and promote: after each the next start goes on, and what comes out in the end is what
//! comes out of a life that nobody ended.
//!
//! A life is a few acts: rows arrive, a command runs. An act is started, killed after a seeded number of things that could be seen from
//! outside (lines on stderr, files and bytes in the state folder), started again, and so on, and in the end left alone. No clock decides
//! anything.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::host::World;
use crate::rows::{Chance, HEADER, Rows};
use crate::scenarios::BASE;

/// Kills in all.
const KILLS: u32 = 50;
/// Kills in one life. A killed process may leave its rows to the next, so a life has a few in a chain.
const KILLS_PER_LIFE: u32 = 10;
/// Different places, by command and entries in the journal, that kills have to hit.
const PLACES_MIN: usize = 10;
/// Lives in which the seed may fail to hit a process that still runs.
const LIVES_MAX: u32 = 40;

/// What happens in a life, in order.
const ACTS: [Act; 5] = [
    Act { rows: 700, seed: 1, command: &["ingest"] },
    Act { rows: 800, seed: 2, command: &["run"] },
    Act { rows: 300, seed: 3, command: &["ingest"] },
    Act { rows: 900, seed: 4, command: &["run"] },
    Act { rows: 0, seed: 0, command: &["promote", "v1", "--reason", "killed or not"] },
];

/// Rows that arrive, and the command that runs then.
struct Act {
    rows: u64,
    seed: u64,
    command: &'static [&'static str],
}

#[test]
fn a_killed_process_loses_and_doubles_nothing() {
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x71DE);
    eprintln!("seed {seed}; `KILL_SEED=N` takes another");
    let mut chance = Chance(seed);
    let settings = BASE.replace("family = \"linear\"", "family = \"mlp\"\nhidden = [16]");

    let (unbroken, sights) = unbroken(&settings);
    let (mut kills, mut lives) = (0, 0);
    // How far the journal was at a kill, by command: kills that all hit the same place would prove little.
    let mut places: BTreeSet<(&str, usize)> = BTreeSet::new();
    while kills < KILLS {
        lives += 1;
        assert!(lives <= LIVES_MAX, "only {kills} of {KILLS} kills hit a running process in {LIVES_MAX} lives");
        // The first life compiles its plugins too.
        let world = if lives == 1 { World::cold(&settings) } else { World::new(&settings) };
        let mut of_this_life = 0;
        for (act, sights) in ACTS.iter().zip(&sights) {
            arrive(&world, act);
            let wanted = chance.below(5).min(u64::from(KILLS_PER_LIFE - of_this_life));
            for _ in 0..wanted {
                // The next start in a chain finds less left to do, hence small numbers too.
                let most = if chance.below(2) == 0 { sights + 1 } else { 12 };
                let after = chance.below(most);
                if killed(&world, act, after) {
                    of_this_life += 1;
                    let entries = consistent(&world, &format!("life {lives}, `{}` killed after {after} sights", act.command.join(" ")));
                    places.insert((act.command[0], entries));
                }
            }
            finish(&world, act);
        }
        kills += of_this_life;
        assert_eq!(outcome(&world), unbroken, "life {lives} came out differently than an unbroken one, seed {seed}");
    }
    eprintln!("{kills} kills in {lives} lives, at {places:?}");
    for command in ["ingest", "run", "promote"] {
        assert!(places.iter().any(|(killed, _)| *killed == command), "no kill hit `{command}`, seed {seed}");
    }
    assert!(places.len() >= PLACES_MIN, "kills hit only {} places, seed {seed}: {places:?}", places.len());
}

/// A life without a kill: what came out, and how much could be seen of each act.
fn unbroken(settings: &str) -> (Value, Vec<u64>) {
    let world = World::new(settings);
    let sights = ACTS.iter().map(|act| {
        arrive(&world, act);
        let mut watched = Watched::start(&world, act);
        while watched.child.try_wait().unwrap().is_none() {
            watched.look();
            std::thread::yield_now();
        }
        watched.sights()
    });
    let sights = sights.collect();
    (outcome(&world), sights)
}

fn arrive(world: &World, act: &Act) {
    let path = world.path("input.csv");
    let before = std::fs::read_to_string(&path).unwrap_or_else(|_| HEADER.to_owned());
    let first_day = before.lines().count() as u64 - 1;
    let rows = Rows { first_day, count: act.rows, seed: act.seed, noise: 0.2, flipped: false };
    // The file keeps its inode: it grows.
    world.write("input.csv", before + &rows.lines());
}

/// Starts an act and kills it once `after` things could be seen; tells whether it still ran then.
fn killed(world: &World, act: &Act, after: u64) -> bool {
    let mut watched = Watched::start(world, act);
    while watched.sights() < after {
        if watched.child.try_wait().unwrap().is_some() {
            return false;
        }
        watched.look();
        std::thread::yield_now();
    }
    let still_runs = watched.child.try_wait().unwrap().is_none();
    // SIGKILL: the process has no chance to tidy up.
    watched.child.kill().unwrap();
    watched.child.wait().unwrap();
    still_runs
}

/// Runs an act to its end.
fn finish(world: &World, act: &Act) {
    let ended = world.run(act.command.iter().copied());
    // A promotion that was killed behind its commit is done, and says so.
    let done_before = act.command[0] == "promote" && ended.stderr.contains("is champion already");
    assert!(matches!(ended.code, Some(0 | 3 | 4)) || done_before, "`{}` failed after a kill: {ended:?}", act.command.join(" "));
}

/// A process, and what was seen of it.
struct Watched {
    child: Child,
    state: std::path::PathBuf,
    lines: Arc<AtomicU64>,
    changes: u64,
    last: BTreeSet<(std::path::PathBuf, u64)>,
}

impl Watched {
    fn start(world: &World, act: &Act) -> Watched {
        let mut command = world.command(act.command.iter().copied().chain(["--log", "debug"]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(AtomicU64::new(0));
        let (counter, stderr) = (Arc::clone(&lines), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || stderr.split(b'\n').map_while(Result::ok).for_each(|_| _ = counter.fetch_add(1, Ordering::Relaxed)));
        let state = world.path("state");
        let last = files(&state);
        Watched { child, state, lines, changes: 0, last }
    }

    /// Looks at the state folder, and counts a change.
    fn look(&mut self) {
        let now = files(&self.state);
        if now != self.last {
            self.changes += 1;
            self.last = now;
        }
    }

    fn sights(&self) -> u64 {
        self.changes + self.lines.load(Ordering::Relaxed)
    }
}

/// Files below a folder with their sizes; what vanishes while we look is left out.
fn files(folder: &std::path::Path) -> BTreeSet<(std::path::PathBuf, u64)> {
    let mut found = BTreeSet::new();
    let Ok(entries) = folder.read_dir() else { return found };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(files(&entry.path())),
            Ok(metadata) => _ = found.insert((entry.path(), metadata.len())),
            Err(_) => {}
        }
    }
    found
}

/// What has to hold right after a kill, before anything goes on. Returns the number of entries in the journal.
fn consistent(world: &World, when: &str) -> usize {
    let verified = world.run(["journal", "verify", "--json"]);
    assert_eq!(verified.code, Some(0), "{when}: the journal does not verify: {}", verified.stderr);
    let models = world.json(&["models"]);
    let champions = models.as_array().unwrap().iter().filter(|version| version["aliases"].to_string().contains("champion")).count();
    assert!(champions <= 1, "{when}: {champions} champions: {models:#}");
    let verified: Value = serde_json::from_str(&verified.stdout).unwrap();
    verified["entries"].as_u64().unwrap() as usize
}

/// Everything that must not depend on kills. Times do, and so does the number of parts that the rows came in.
fn outcome(world: &World) -> Value {
    consistent(world, "at the end");
    let journal = world.json(&["journal", "show"]);
    let entries: Vec<&Value> = journal.as_array().unwrap().iter().collect();
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).map(|entry| entry["body"].clone()).collect::<Vec<_>>();
    let kept = of("clean").into_iter().flat_map(|body| body["parts"].as_array().cloned().unwrap_or_default());
    let kept: u64 = kept.map(|part| part["kept"].as_u64().unwrap()).sum();
    // Raw parts follow one another without a gap and without an overlap.
    let raw_rows = of("ingest").iter().fold(0, |end, body| {
        assert_eq!(body["rows"][0], end, "rows were lost or doubled: {journal:#}");
        body["rows"][1].as_u64().unwrap()
    });
    let models = world.json(&["models"]);
    let versions = models.as_array().unwrap().iter().map(|listed| {
        let version = &listed["version"];
        let keys = ["number", "state", "run", "parent", "weights", "manifest", "trained_until_row"];
        let kept = keys.iter().map(|key| ((*key).to_owned(), version[key].clone())).collect::<serde_json::Map<_, _>>();
        serde_json::json!({ "aliases": listed["aliases"], "version": kept })
    });
    let decisions = of("decision").into_iter().map(|body| {
        let decision = &body["decision"];
        let keys = ["kind", "version", "parent", "by", "run", "look", "rules", "reason"];
        keys.iter().map(|key| ((*key).to_owned(), decision[key].clone())).collect::<serde_json::Map<_, _>>().into()
    });
    serde_json::json!({
        "ingested": world.json(&["ingest"])["rows_total"],
        "raw_rows": raw_rows,
        "clean_rows": kept,
        "versions": versions.collect::<Vec<_>>(),
        "decisions": decisions.collect::<Vec<Value>>(),
        "alias_moves": of("alias"),
    })
}
