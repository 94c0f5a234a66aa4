//! Every command works beside a running host: it reads beside it, or asks it.

use serde_json::json;

use crate::client::Client;
use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// Commands that end well beside a running host whose first version waits for its gate, in this order.
const COMMANDS: [&str; 25] = [
    "check",
    "ingest",
    "run",
    "run --force",
    "models",
    "promote v1",
    "explain v1",
    "export v1 out",
    "predict input.csv",
    "predict input.csv --by v1",
    "contract show",
    "contract diff",
    "contract accept",
    "journal show",
    "journal verify",
    "quarantine list",
    "quarantine show 600",
    "quarantine clean",
    "gc",
    "gc --dry-run",
    "backup beside.tar",
    "plugin list",
    "plugin inspect csv",
    "plugin reload",
    "token list",
];

#[test]
fn every_command_works_beside_a_running_host() {
    let world = World::new(BASE);
    let rows = Rows { first_day: 0, count: 600, seed: 1, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}3000,,1.5,1\n", rows.lines()));
    let service = Service::start(&world);
    service.until("harbour", "its gate waits", |pipeline| pipeline["run"]["waiting_rows"] == 200);
    for command in COMMANDS {
        let ended = world.run(command.split(' '));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "`tidegate {command}`");
        assert_ne!(ended.stdout, "", "`tidegate {command}`");
    }
    let refused = world.run(["quarantine", "readmit", "600", "--reason", "tested"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let expected = "error: row 600 cannot be let in again: without the cleaner the contract refuses it: `null:wind`\n\nhint: ";
    assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
    assert_eq!(service.pipeline("harbour")["champion"]["version"], 1);
    service.stop();
}

#[test]
fn a_token_is_good_from_its_creation_until_it_is_taken_back() {
    let world = World::new(BASE);
    world.write("input.csv", HEADER);
    let service = Service::start(&world);
    let made = world.json(&["token", "create", "gauge", "--role", "label"]);
    let mut gauge = Client::with_token(service.address(), made["token"].as_str().unwrap());
    let mut until = |status: u16| {
        wait(&format!("the token gets {status}"), || {
            let reply = gauge.post("/v1/labels", &json!({ "pipeline": "harbour", "labels": [] }));
            (reply.status == status).then_some(())
        });
    };
    // With a good token the labels themselves are what is wrong: they come with the rows here.
    until(422);
    assert_eq!(world.json(&["token", "revoke", "gauge"]), json!({ "revoked": "gauge" }));
    until(401);
    service.stop();
}
