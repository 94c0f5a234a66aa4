//! Versions that leave and come back, and a contract that changes, while a host serves.

use serde_json::json;

use crate::harbour::{ask, right, settings, with_champion};
use crate::host::World;
use crate::service::{Service, wait};

#[test]
fn a_version_makes_the_round_trip_beside_a_running_host() {
    let world = World::new(&settings());
    let (service, seen) = with_champion(&world);
    let exported = world.json(&["export", "v1", "out"]);
    assert_eq!(exported["version"], 1);
    let before = ask(&mut service.client(), &seen[..20]);

    let imported = world.json(&["import", "out", "--reason", "there and back"]);
    assert_eq!((&imported["kind"], &imported["version"], &imported["parent"]), (&"promote".into(), &2.into(), &1.into()));
    let mut client = service.client();
    let after = wait("v2 answers", || Some(ask(&mut client, &seen[..20])).filter(|reply| reply.json()["model_version"] == "v2"));
    let answers = |reply: &crate::client::Reply| reply.json()["outputs"].as_array().unwrap()[..2].to_vec();
    assert_eq!(answers(&before), answers(&after), "the same weights say the same");
    assert_eq!(service.pipeline("harbour")["champion"]["by"], "operator tester");

    std::fs::remove_file(world.path("out/model.json")).unwrap();
    let missing = world.run(["import", "out"]);
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
    assert!(missing.stderr.contains("model.json`"), "{}", missing.stderr);
    world.write("out/model.json", "{}");
    let odd = world.run(["import", "out"]);
    assert_eq!(odd.code, Some(1), "{}", odd.stderr);
    assert!(odd.stderr.starts_with("error: the model cannot be imported: could not read `model.json`"), "{}", odd.stderr);
    assert_eq!(service.pipeline("harbour")["champion"]["version"], 2);
    service.stop();
    assert_eq!(world.run(["journal", "verify"]).code, Some(0));
}

#[test]
fn a_changed_contract_holds_the_loop_until_it_is_accepted_and_serving_goes_on() {
    for (columns, difference) in [
        (r#"{ wind = "f64", swell = "f64", tide = { dtype = "f64", nullable = true } }"#, "+ column `tide`"),
        (r#"{ wind = "f64" }"#, "- column `swell`"),
    ] {
        held_until_accepted(columns, difference);
    }
}

fn held_until_accepted(columns: &str, difference: &str) {
    let world = World::new(&settings());
    let (service, seen) = with_champion(&world);
    let seen = &seen[..20];
    service.stop();
    world.write("tidegate.toml", world.read("tidegate.toml").replace(r#"{ wind = "f64", swell = "f64" }"#, columns));

    let service = Service::start(&world);
    let held = service.until("harbour", "it is held", |pipeline| !pipeline["stalled"].is_null());
    let why = held["stalled"].as_str().unwrap();
    assert!(why.starts_with("the contract in the settings is not the one that was accepted") && why.contains(difference), "{why}");
    assert!(why.contains("`tidegate contract accept` accepts it"), "{why}");
    let mut client = service.client();
    let reply = wait("a version answers", || Some(ask(&mut client, seen)).filter(|reply| reply.status != 503));
    assert!(right(&reply, seen) > 0.8);

    let accepted = world.json(&["contract", "accept", "--reason", "a gauge was moved"]);
    assert!(accepted["changed"].to_string().contains(difference), "{accepted}");
    service.until("harbour", "it goes on", |pipeline| pipeline["stalled"].is_null());
    assert!(right(&ask(&mut client, seen), seen) > 0.8, "those who ask as before are answered as before");
    assert_eq!(world.json(&["contract", "accept"])["changed"], json!([]));
    service.stop();
}

#[test]
fn a_contract_that_changed_behind_a_running_host_is_not_accepted_by_it() {
    let world = World::new(&settings());
    let (service, _) = with_champion(&world);
    world.write("tidegate.toml", world.read("tidegate.toml").replace(r#", swell = "f64""#, ""));
    let refused = world.run(["contract", "accept"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    let expected = "error: the contract in the settings was changed after the host was started, so the host cannot accept it";
    assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
    service.stop();
    assert_eq!(world.json(&["contract", "accept"])["changed"], json!(["- column `swell`: \"f64\""]));
}
