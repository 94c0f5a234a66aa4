//! Signatures at a running host: a build that nobody trusted signed is refused and the old one serves on, and a build that is gone back
//! to still has the signature that it came with.

use crate::host::World;
use crate::rows::HEADER;
use crate::service::Service;
use crate::up_reload::{append, attempt, build, digest, install, lines, settings};

const SIGNATURE: &str = "plugins/turncoat-cleaner.wasm.sig";

fn ok(world: &World, arguments: &[&str]) -> String {
    let ended = world.run(arguments.iter().copied());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

/// A host whose plugins are all signed by a key that it trusts, and the digest of its turncoat.
fn started(plugins: &str) -> (World, Service, String) {
    let world = World::new(&settings(&format!("trusted_keys = [\"team.pub\"]\n{plugins}")));
    install(&world, &build("plain"));
    world.write("input.csv", format!("{HEADER}{}", lines(0, 400)));
    ok(&world, &["plugin", "keygen", "team"]);
    ok(&world, &["plugin", "keygen", "stranger"]);
    ok(&world, &["plugin", "sign", "csv", "missing", "turncoat-cleaner", "classification", "log", "--key", "team.key"]);
    let service = Service::start(&world);
    service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 400);
    let plain = digest(&service);
    (world, service, plain)
}

#[test]
fn a_build_that_nobody_trusted_signed_is_refused_and_the_old_one_serves_on() {
    let (world, service, plain) = started("probation_calls = 0");
    // The signature beside it is that of the build before.
    install(&world, &build("brittle"));
    let refused = attempt(&service, "refused");
    let why = refused["refused"].as_str().unwrap();
    assert!(why.contains("must be signed by the key") && why.contains("does not fit the component"), "{why}");
    let refused = |expected: &str| {
        let ended = world.run(["plugin", "reload", "turncoat-cleaner"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stdout.contains("the old one stays (policy)") && ended.stdout.contains(expected), "{}", ended.stdout);
    };
    ok(&world, &["plugin", "sign", "turncoat-cleaner", "--key", "stranger.key"]);
    refused("it is signed by ");
    std::fs::remove_file(world.path(SIGNATURE)).unwrap();
    refused("there is no signature `plugins/turncoat-cleaner.wasm.sig`");
    // `--accept` is for what a build does, not for who made it.
    let accepted = world.run(["plugin", "reload", "turncoat-cleaner", "--accept"]);
    assert_eq!(accepted.code, Some(1), "{}", accepted.stdout);
    append(&world, &lines(400, 10));
    service.until("harbour", "rows are cleaned by the old one", |pipeline| pipeline["rows"] == 410);
    assert_eq!(digest(&service), plain);
    ok(&world, &["plugin", "sign", "turncoat-cleaner", "--key", "team.key"]);
    attempt(&service, "proven");
    assert_ne!(digest(&service), plain);
    service.stop();
}

#[test]
fn a_build_that_is_gone_back_to_has_its_signature_still() {
    let (world, service, plain) = started("probation_calls = 0");
    let first_signature = world.read(SIGNATURE);
    install(&world, &build("brittle"));
    ok(&world, &["plugin", "sign", "turncoat-cleaner", "--key", "team.key"]);
    attempt(&service, "proven");
    assert_ne!(world.read(SIGNATURE), first_signature);
    ok(&world, &["plugin", "rollback", "turncoat-cleaner"]);
    assert_eq!(digest(&service), plain);
    service.stop();

    let kept = format!("state/components/{plain}.sig");
    assert_eq!(world.read(&kept), first_signature);
    assert!(ok(&world, &["plugin", "verify", "turncoat-cleaner"]).contains(&plain[..12]));
    let service = Service::start(&world);
    assert_eq!(digest(&service), plain, "the next host uses it as well");
    append(&world, &lines(400, 10));
    service.until("harbour", "rows are cleaned by it", |pipeline| pipeline["rows"] == 410);
    service.stop();
    // Without it the component would be anybody's.
    std::fs::remove_file(world.path(&kept)).unwrap();
    let refused = world.run(["ingest"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains(&format!("there is no signature `components/{plain}.sig`")), "{}", refused.stderr);
}
