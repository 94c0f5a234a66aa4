//! Plugins out of a registry on this machine that speaks as much of the distribution interface as a pull needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::host::{Ended, World, built};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::server::{Answer, Asked, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const WASM: &str = "application/wasm";
const PASSWORD: &str = "a-word-nobody-sees";
/// `ada:a-word-nobody-sees`, as Basic authentication and `docker login` write it.
const PAIR: &str = "YWRhOmEtd29yZC1ub2JvZHktc2Vlcw==";

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// How a registry asks who is there.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Nobody,
    Basic,
    /// By a token that is given out at another address.
    Bearer,
}

/// What a registry holds: blobs by digest, manifests by digest and tag.
struct Shelf {
    asks: Asks,
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
    /// It tells digests of another algorithm than the one that everybody uses.
    tells_sha512: bool,
}

struct Registry {
    server: Server,
    shelf: Arc<Mutex<Shelf>>,
}

impl Registry {
    fn start(asks: Asks) -> Registry {
        let shelf = Arc::new(Mutex::new(Shelf { asks, blobs: BTreeMap::new(), manifests: BTreeMap::new(), tells_sha512: false }));
        let own = Arc::clone(&shelf);
        Registry { server: Server::start(move |asked| own.lock().unwrap().answer(asked)), shelf }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.server.port())
    }

    fn place(&self, reference: &str) -> String {
        let sign = if reference.starts_with("sha256:") { '@' } else { ':' };
        format!("oci://{}/team/missing{sign}{reference}", self.host())
    }

    /// Shelves a manifest under a tag, and gives its digest.
    fn tag(&self, tag: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = sha256(&bytes);
        let mut shelf = self.shelf.lock().unwrap();
        shelf.manifests.insert(tag.to_owned(), bytes.clone());
        shelf.manifests.insert(digest.clone(), bytes);
        digest
    }

    /// Pushes a component as `oras` and `wkg` do.
    fn push(&self, tag: &str, component: &[u8], signature: Option<&str>) -> String {
        self.shelf.lock().unwrap().blobs.insert(sha256(component), component.to_vec());
        let mut manifest = manifest(component);
        if let Some(text) = signature {
            manifest["annotations"] = json!({ "tidegate.minisign": text });
        }
        self.tag(tag, &manifest)
    }
}

fn manifest(component: &[u8]) -> Value {
    let config = json!({ "mediaType": "application/vnd.wasm.config.v0+json", "digest": sha256(b"{}"), "size": 2 });
    let layer = json!({ "mediaType": WASM, "digest": sha256(component), "size": component.len() });
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] })
}

impl Shelf {
    fn answer(&self, asked: &Asked) -> Answer<Vec<u8>> {
        if asked.target.starts_with("/token?") {
            let is_right = asked.header("authorization") == Some(&format!("Basic {PAIR}"));
            return if is_right { (200, vec![], br#"{"token":"t0ken"}"#.to_vec()) } else { (401, vec![], Vec::new()) };
        }
        let (expected, challenge) = match self.asks {
            Asks::Nobody => (None, String::new()),
            Asks::Basic => (Some(format!("Basic {PAIR}")), "Basic realm=\"here\"".to_owned()),
            Asks::Bearer => {
                let host = asked.header("host").unwrap_or_default();
                (Some("Bearer t0ken".to_owned()), format!("Bearer realm=\"http://{host}/token\",service=\"here\""))
            }
        };
        if expected.is_some() && asked.header("authorization") != expected.as_deref() {
            return (401, vec![("www-authenticate", challenge)], br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#.to_vec());
        }
        let place = asked.target.strip_prefix("/v2/team/missing/").and_then(|place| place.split_once('/'));
        let found = match place {
            Some(("manifests", reference)) => self.manifests.get(reference).map(|bytes| (MANIFEST, bytes)),
            Some(("blobs", digest)) => self.blobs.get(digest).map(|bytes| ("application/octet-stream", bytes)),
            _ => return (200, vec![], Vec::new()),
        };
        match found {
            Some((kind, bytes)) if self.tells_sha512 => {
                let told = format!("sha512:{}", hex::encode(Sha512::digest(bytes)));
                (200, vec![("content-type", kind.to_owned()), ("docker-content-digest", told)], bytes.clone())
            }
            Some((kind, bytes)) => (200, vec![("content-type", kind.to_owned())], bytes.clone()),
            None => (404, vec![], br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec()),
        }
    }
}

fn component() -> Vec<u8> {
    std::fs::read(built().plugins.join("missing.wasm")).unwrap()
}

/// A world whose cleaner has to be pulled, with 20 rows; `more` goes to the end of the settings.
fn world(more: &str) -> World {
    let world = World::new(&format!("{BASE}\n{more}\n"));
    std::fs::remove_file(world.path("plugins/missing.wasm")).unwrap();
    let rows = Rows { first_day: 0, count: 20, seed: 1, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}", rows.lines()));
    world
}

fn said(ended: &Ended, code: i32, expected: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let text = format!("{}{}", ended.stdout, ended.stderr);
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn a_tag_is_looked_up_once_and_what_was_pulled_is_used_without_the_registry() {
    let registry = Registry::start(Asks::Nobody);
    let digest = registry.push("1.0", &component(), None);
    let (tag, pinned) = (registry.place("1.0"), registry.place(&digest));
    let world = world("");
    said(&world.run(["plugin", "pull", "missing", "--from", &tag]), 0, &["missing: ", "pulled from", &pinned]);
    assert!(world.read("plugins.lock").contains(&format!("from = \"{pinned}\"")), "{}", world.read("plugins.lock"));
    assert_eq!(std::fs::read(world.path("plugins/missing.wasm")).unwrap(), component());

    // Somebody moves the tag: nothing here moves with it.
    registry.push("1.0", b"another component", None);
    let from = format!("[plugin.missing]\nfrom = \"{pinned}\"\n\n[input.days]");
    world.write("tidegate.toml", world.read("tidegate.toml").replace("[input.days]", &from));
    registry.server.asked();
    said(&world.run(["plugin", "pull"]), 0, &["there already"]);
    assert_eq!(registry.server.asked().len(), 0, "it is not asked for what is there");
    drop(registry);
    said(&world.run(["plugin", "pull"]), 0, &["there already"]);
    said(&world.run(["ingest"]), 0, &["20 in all"]);
    said(&world.run(["plugin", "lock", "missing"]), 0, &[]);
    assert!(world.read("plugins.lock").contains(&pinned), "the same component is still from there");
    said(&world.run(["plugin", "pull", "missing", "--from", &tag]), 2, &["the settings say that `missing` is pulled from"]);
}

#[test]
fn what_the_settings_name_is_what_is_used_or_nothing() {
    let registry = Registry::start(Asks::Nobody);
    let (old, new) = (registry.push("1.0", &component(), None), registry.push("1.1", &component(), Some("text")));
    let place = |digest: &str| format!("[plugin.missing]\nfrom = \"{}\"\n", registry.place(digest));
    let world = world(&place(&old));
    said(&world.run(["ingest"]), 2, &["the cleaner plugin `missing` was not pulled yet", "hint: `tidegate plugin pull missing`"]);
    said(&world.run(["plugin", "pull"]), 0, &["pulled from"]);
    said(&world.run(["ingest"]), 0, &["20 in all"]);
    world.write("tidegate.toml", world.read("tidegate.toml").replace(&old, &new));
    said(&world.run(["check"]), 2, &[&format!("is to be `{}`", registry.place(&new)), &format!("names `{}`", registry.place(&old))]);
    said(&world.run(["plugin", "pull"]), 0, &["pulled from"]);
    said(&world.run(["check"]), 0, &[]);
    // Whoever may write the folder does not choose what runs.
    world.write("plugins/missing.wasm", [component(), b"\0\x04\x01ab!".to_vec()].concat());
    said(&world.run(["check"]), 2, &["plugin `missing` is ", "`plugins.lock` says", "hint: "]);
}

#[test]
fn what_is_no_component_is_refused_with_the_way_out_and_leaves_nothing() {
    let registry = Registry::start(Asks::Nobody);
    let good = component();
    let digest = registry.push("good", &good, None);
    let changed = |tag: &str, change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest(&good);
        change(&mut manifest);
        registry.tag(tag, &manifest);
    };
    changed("two-layers", &|manifest| manifest["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]));
    changed("no-layer", &|manifest| manifest["layers"] = json!([]));
    changed("image", &|manifest| manifest["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json"));
    changed("tarball", &|manifest| manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip"));
    changed("huge", &|manifest| manifest["layers"][0]["size"] = json!(1_u64 << 40));
    changed("short", &|manifest| manifest["layers"][0]["size"] = json!(good.len() - 1));
    changed("long", &|manifest| manifest["layers"][0]["size"] = json!(good.len() + 1));
    changed("gone-blob", &|manifest| manifest["layers"][0]["digest"] = json!(sha256(b"gone")));
    let mut damaged = good.clone();
    damaged[100] ^= 1;
    changed("damaged", &|manifest| manifest["layers"][0]["digest"] = json!(sha256(b"what it should be")));
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{ "mediaType": MANIFEST, "digest": digest, "size": 1 }] });
    registry.tag("index", &index);
    registry.tag("nonsense", &json!([1]));
    // What a registry writes into a terminal, and how much of it.
    let flood: Vec<Value> = (0..10_000)
        .map(|number| json!({ "mediaType": MANIFEST, "digest": sha256(&[number as u8]), "size": 1 }))
        .chain([json!({ "mediaType": MANIFEST, "digest": "sha256:\u{1b}[2J", "size": 1 })])
        .rev()
        .collect();
    registry.tag("flood", &json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": flood }));
    let annotations: BTreeMap<String, String> = (0..10_000).map(|number| (format!("note-{number}"), "\u{1b}[2J".into())).collect();
    changed("annotated", &|manifest| {
        manifest["annotations"] = json!(annotations);
        manifest["config"]["mediaType"] = json!(format!("\u{1b}[2J{}", "x".repeat(1 << 20)));
    });
    let other = sha256(b"another manifest");
    {
        let mut shelf = registry.shelf.lock().unwrap();
        shelf.blobs.insert(sha256(b"what it should be"), damaged);
        let manifest = shelf.manifests["good"].clone();
        shelf.manifests.insert(other.clone(), manifest);
    }
    registry.push("text", b"this is no component", None);
    let gone = sha256(b"gone");
    let world = world("");
    let push = "push the component alone";
    for (reference, expected) in [
        ("two-layers", ["found 2 layers where a component is one", push]),
        ("no-layer", ["found 0 layers where a component is one", push]),
        ("image", ["its configuration is `application/vnd.oci.image.config.v1+json`", push]),
        ("tarball", ["found a layer of `application/vnd.oci.image.layer.v1.tar+gzip`", push]),
        ("huge", ["has 1099511627776 bytes, at most", "raise `[plugins] component_bytes_max`"]),
        ("short", ["bytes, and more came", "pull again"]),
        ("long", ["bytes, and ", "pull again"]),
        ("damaged", ["is not what its digest says", "pull again"]),
        ("gone-blob", ["there is no `oci://", "check the repository and the digest"]),
        ("index", ["found an index of 1 manifests", &format!("name one of them by its digest: `{digest}`")]),
        ("nonsense", ["found no manifest", push]),
        ("flood", ["found an index of 10001 manifests", "` and 9992 more"]),
        ("annotated", ["its configuration is `[2Jxxx", push]),
        ("unknown", ["there is no `oci://", "check the repository and the digest"]),
        (&gone, ["there is no `oci://", "check the repository and the digest"]),
        (&other, ["the manifest at `oci://", "is not what its digest says"]),
        ("text", ["plugin `missing` is not a WebAssembly component", "hint: "]),
    ] {
        let ended = world.run(["plugin", "pull", "missing", "--from", &registry.place(reference)]);
        assert!(matches!(ended.code, Some(1 | 2)), "{reference}: {ended:?}");
        for part in expected {
            assert!(ended.stderr.contains(part), "{reference}: `{part}` is not in\n{}", ended.stderr);
        }
        assert!(ended.stderr.len() < 4_096 && !ended.stderr.contains('\u{1b}'), "{reference}: {}", ended.stderr);
        assert!(!world.path("plugins/missing.wasm").exists() && !world.path("plugins.lock").exists(), "{reference} left something");
    }
}

#[test]
fn a_registry_that_tells_another_algorithm_does_not_change_what_was_asked_for() {
    let registry = Registry::start(Asks::Nobody);
    let digest = registry.push("1.0", &component(), None);
    registry.shelf.lock().unwrap().tells_sha512 = true;
    let place = registry.place(&digest);
    let world = world(&format!("[plugin.missing]\nfrom = \"{place}\"\n"));
    let tag = world.run(["plugin", "pull", "csv", "--from", &registry.place("1.0")]);
    said(&tag, 2, &["a manifest that the registry tells by `sha512:", "hint: name it by its digest"]);
    said(&world.run(["plugin", "pull"]), 0, &["pulled from", &place]);
    said(&world.run(["ingest"]), 0, &["20 in all"]);
}

#[test]
fn a_reference_without_a_digest_is_not_a_setting_and_a_registry_that_is_away_is_named() {
    let away = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let tag = format!("oci://127.0.0.1:{away}/team/missing:1.0");
    let tagged = world(&format!("[plugin.missing]\nfrom = \"{tag}\"\n"));
    let hint = format!("`tidegate plugin pull missing --from {tag}`");
    said(&tagged.run(["check"]), 2, &["`[plugin.missing] from` names no digest", &hint]);
    let plain = world("");
    let expected = ["nothing could be pulled from the registry `127.0.0.1:", "Connection refused", "can be reached from here"];
    said(&plain.run(["plugin", "pull", "missing", "--from", &tag]), 1, &expected);
    said(&plain.run(["plugin", "pull", "missing", "--from", "team/missing"]), 2, &["does not begin with `oci://`"]);
    said(&plain.run(["plugin", "pull"]), 2, &["no plugin of the settings is pulled from a registry", "hint: write"]);
    said(&plain.run(["plugin", "pull", "csv"]), 2, &["do not say where `csv` is pulled from"]);
}

#[test]
fn credentials_are_those_of_docker_and_are_never_shown() {
    for asks in [Asks::Basic, Asks::Bearer] {
        let registry = Registry::start(asks);
        registry.push("1.0", &component(), None);
        let (world, place) = (world(""), registry.place("1.0"));
        let pull = |name: &str, value: &str| {
            let mut command = world.command(["plugin", "pull", "missing", "--from", &place]);
            Ended::of(command.env("RUST_LOG", "trace").env(name, value).output().unwrap())
        };
        said(&pull("NONE", ""), 2, &["does not give out", "without credentials", "docker login 127.0.0.1:"]);
        let variable = "TIDEGATE_REGISTRY_AUTH";
        said(&pull(variable, &format!("{}=ada:wrong-word", registry.host())), 2, &["with the credentials for it"]);
        said(&pull(variable, &format!("example.com=ada:{PASSWORD}")), 2, &["without credentials"]);
        std::fs::create_dir_all(world.path("docker")).unwrap();
        let auths = json!({ "auths": { registry.host(): { "auth": PAIR } } });
        world.write("docker/config.json", auths.to_string());
        let folder = world.path("docker").display().to_string();
        for ended in [pull("DOCKER_CONFIG", &folder), pull(variable, &format!("{}=ada:{PASSWORD}", registry.host()))] {
            said(&ended, 0, &["pulled from"]);
            let text = format!("{}{}", ended.stdout, ended.stderr);
            assert!(![PASSWORD, PAIR, "t0ken"].iter().any(|secret| text.contains(secret)), "{text}");
        }
        world.write("docker/config.json", "{ \"auths\": secret");
        let ended = pull("DOCKER_CONFIG", &folder);
        said(&ended, 2, &["docker/config.json` cannot be read", "hint: mend it"]);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn where_keys_are_trusted_the_annotation_holds_the_signature() {
    let registry = Registry::start(Asks::Nobody);
    let world = world("");
    std::fs::create_dir(world.path("made")).unwrap();
    world.write("made/missing.wasm", component());
    said(&world.run(["plugin", "keygen", "team"]), 0, &[]);
    said(&world.run(["plugin", "sign", "made/missing.wasm", "csv", "classification", "log", "--key", "team.key"]), 0, &[]);
    let signature = world.read("made/missing.wasm.sig");
    let settings = world.read("tidegate.toml").replace("[plugins]\n", "[plugins]\ntrusted_keys = [\"team.pub\"]\n");
    world.write("tidegate.toml", settings);
    let pull = |tag: &str| world.run(["plugin", "pull", "missing", "--from", &registry.place(tag)]);

    registry.push("unsigned", &component(), None);
    said(&pull("unsigned"), 2, &["must be signed by the key", "there is no signature `tidegate.minisign of oci://"]);
    registry.push("forged", &component(), Some(&signature.replace("trusted comment: ", "trusted comment: x")));
    said(&pull("forged"), 2, &["does not fit the component"]);
    registry.push("novel", &component(), Some(&"x".repeat(5000)));
    said(&pull("novel"), 2, &["has 5000 bytes, at most 4096 are read"]);
    assert!(!world.path("plugins/missing.wasm").exists());
    registry.push("signed", &component(), Some(&signature));
    said(&pull("signed"), 0, &["pulled from"]);
    assert_eq!(world.read("plugins/missing.wasm.sig"), signature);
    said(&world.run(["plugin", "verify"]), 0, &["missing: "]);
    said(&world.run(["ingest"]), 0, &["20 in all"]);
}
