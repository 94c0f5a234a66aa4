//! A cleaner that keeps state, in a living host: rows that come again are dropped wherever they came first, and neither a reload while
//! rows arrive nor `kill -9` lets one in twice or loses one.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::host::{World, built, own_folder};
use crate::rows::{Chance, HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// Kills in all.
const KILLS: u32 = 15;

/// Base settings with `dedup` behind `missing`.
fn settings() -> String {
    let cleaners = r#"{ columns = { "*" = "drop-row" } }, serving = true }]"#;
    assert_eq!(BASE.matches(cleaners).count(), 1, "the base settings list cleaners once");
    let dedup = r#"{ plugin = "dedup", config = { key = ["wind", "swell"], remember_keys = 100000 } }]"#;
    BASE.replace(cleaners, &format!("{}, {dedup}", cleaners.trim_end_matches(']')))
}

/// Rows of which many come again, and what is to become of them.
struct Sea {
    chance: Chance,
    /// Wind, swell and label of each row, as text.
    rows: Vec<String>,
    seen: HashSet<String>,
    /// Numbers of the rows that came before.
    repeated: BTreeSet<u64>,
}

impl Sea {
    fn new(seed: u64) -> Sea {
        Sea { chance: Chance(seed), rows: Vec::new(), seen: HashSet::new(), repeated: BTreeSet::new() }
    }

    /// Lets `count` rows arrive in one piece; two in five of them came before, some in this piece.
    fn arrive(&mut self, world: &World, count: u64) {
        let mut text = String::new();
        for _ in 0..count {
            let day = self.rows.len() as u64;
            let row = match self.chance.below(5) {
                0 | 1 if day > 0 => self.rows[self.chance.below(day) as usize].clone(),
                _ => {
                    let fresh = Rows { first_day: day, count: 1, seed: self.chance.next(), noise: 0.1, flipped: false }.lines();
                    fresh.trim_end().split_once(',').unwrap().1.to_owned()
                }
            };
            writeln!(text, "{day},{row}").unwrap();
            let key = row.rsplit_once(',').unwrap().0.to_owned();
            if !self.seen.insert(key) {
                self.repeated.insert(day);
            }
            self.rows.push(row);
        }
        use std::io::Write as _;
        std::fs::OpenOptions::new().append(true).open(world.path("input.csv")).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until every row is there and as many are kept out as should be.
    fn is_all_in(&self, service: &Service) {
        service.until("harbour", "every row is cleaned", |pipeline| {
            let dropped = |group: &Value| group[0] == "dedup" && group[2] == self.repeated.len();
            pipeline["rows"] == self.rows.len() && pipeline["quarantined"].as_array().unwrap().iter().any(dropped)
        });
    }

    /// Whether exactly the rows that came before are kept out, as the commands tell it.
    fn is_told(&self, world: &World) {
        let told = world.json(&["quarantine", "list", "--limit", "100000"]);
        let out: BTreeSet<u64> = told["rows"].as_array().unwrap().iter().map(|row| row["row"].as_u64().unwrap()).collect();
        assert_eq!(out, self.repeated);
    }
}

fn world() -> World {
    let world = World::new(&settings());
    world.write("input.csv", HEADER);
    world
}

/// The shipped plugin as another build, whose digest is another.
fn install_build(world: &World, number: u8) {
    let mut component = std::fs::read(built().plugins.join("dedup.wasm")).unwrap();
    component.extend([0, 2, 1, number]);
    world.write("new.wasm", component);
    std::fs::rename(world.path("new.wasm"), world.path("plugins/dedup.wasm")).unwrap();
}

fn digest(service: &Service) -> String {
    wait("dedup is in use", || {
        let status = service.status();
        let dedup = status["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "dedup")?;
        Some(dedup["digest"].as_str()?.to_owned())
    })
}

#[test]
fn reloads_while_rows_arrive_let_no_row_in_twice_and_lose_none() {
    let (world, mut sea) = (world(), Sea::new(0x5EA));
    sea.arrive(&world, 300);
    let service = Service::start(&world);
    sea.is_all_in(&service);
    for number in 1..=3 {
        let before = digest(&service);
        for _ in 0..4 {
            sea.arrive(&world, 40);
        }
        install_build(&world, number);
        wait("the new build is in use", || {
            sea.arrive(&world, 5);
            (digest(&service) != before).then_some(())
        });
        sea.arrive(&world, 60);
        sea.is_all_in(&service);
    }
    // Back to the build before, which goes on from what it remembered itself.
    let back = world.run(["plugin", "rollback", "dedup"]);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    sea.arrive(&world, 100);
    sea.is_all_in(&service);
    let metrics = service.client().get("/metrics").body;
    let entries = metrics.lines().find(|line| line.starts_with("tidegate_plugin_state_entries{")).expect("the state is measured");
    // A key is an entry; lists of keys and what they come to are few.
    let entries: f64 = entries.rsplit_once(' ').unwrap().1.parse().unwrap();
    let keys = sea.seen.len() as f64;
    assert!(entries > keys && entries < keys + 20.0, "{entries} entries for {keys} keys");
    service.stop();
    sea.is_told(&world);
}

#[test]
fn a_killed_host_neither_loses_nor_doubles_what_a_cleaner_remembers() {
    let (world, mut sea) = (world(), Sea::new(0xDEAD));
    for life in 0..KILLS {
        sea.arrive(&world, 40);
        let service = Service::start(&world);
        sea.arrive(&world, 40);
        let looks = sea.chance.below(6);
        for _ in 0..looks {
            sea.arrive(&world, 10);
            service.status();
        }
        if life % 5 == 4 {
            install_build(&world, u8::try_from(life).unwrap());
        }
        drop(service);
    }
    sea.arrive(&world, 50);
    let service = Service::start(&world);
    sea.is_all_in(&service);
    service.stop();
    sea.is_told(&world);
}

#[test]
fn a_failure_that_depends_on_the_state_comes_back_when_it_is_replayed() {
    // A list of keys may have 1,500 bytes: those of one batch fit, those of two do not.
    let world =
        World::new(&settings().replace("[pipeline.harbour]\n", "[plugin.dedup]\nstate_value_bytes_max = 1500\n\n[pipeline.harbour]\n"));
    world.write("input.csv", HEADER);
    let mut sea = Sea::new(7);
    for (rows, letters) in [(60, 0), (110, 1)] {
        sea.arrive(&world, rows);
        assert_eq!(world.run(["ingest"]).code, Some(0));
        assert_eq!(world.json(&["dead-letter", "list"])["waiting"].as_array().unwrap().len(), letters);
    }
    let replayed = world.run(["plugin", "replay", "1"]);
    assert_eq!(replayed.code, Some(0), "{}{}", replayed.stdout, replayed.stderr);
    assert!(replayed.stdout.contains("reached `state_value_bytes_max` in step `clean`"), "{}", replayed.stdout);
    // With the whole of it in one file, anywhere.
    assert_eq!(world.run(["dead-letter", "show", "1", "--bundle", "failed.bundle"]).code, Some(0));
    assert_eq!(world.run(["plugin", "replay", "failed.bundle"]).code, Some(0));
}

#[test]
fn the_author_is_told_that_state_is_where_it_should_be() {
    let world = World::cold(BASE);
    let folder = own_folder().parent().unwrap().join("plugins/dedup");
    let component = built().plugins.join("dedup.wasm");
    let told = world.json(&["plugin", "test", folder.to_str().unwrap(), "--component", component.to_str().unwrap()]);
    let checks = told["checks"].as_array().unwrap();
    let state = checks.iter().find(|check| check["check"] == "state").expect("it is checked");
    assert_eq!(state["verdict"], "ok", "{state}");
    assert!(
        state["detail"].as_str().unwrap().starts_with("4 batches in a row, by one instance and by fresh ones: the same; 7 entries"),
        "{state}"
    );
}

#[test]
fn a_cleaner_that_keeps_state_is_kept_out_of_serving() {
    let world = World::new(&settings().replace("remember_keys = 100000 } }", "remember_keys = 100000 }, serving = true }"));
    world.write("input.csv", HEADER);
    let refused = world.run(["check"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("`dedup` keeps state from batch to batch (`state = \"keyed\"`)"), "{}", refused.stderr);
    assert!(refused.stderr.contains("take `serving = true` away"), "{}", refused.stderr);
}
