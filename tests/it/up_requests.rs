//! What a running host does not do, and how it says so: over HTTP, on its control socket, at its start.

use serde_json::json;

use crate::client::Client;
use crate::harbour::{Minute, arrive, ask, labels, minutes, settings, with_champion};
use crate::host::World;
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, ended, wait};

#[test]
fn a_port_in_use_is_named_and_so_is_the_way_out() {
    let (first, second) = (World::new(BASE), World::new(BASE));
    first.write("input.csv", HEADER);
    second.write("input.csv", HEADER);
    let service = Service::start(&first);
    let address = service.address().to_string();
    let failed = ended(&mut second.command(["up", "--listen", &address]));
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let expected = format!("error: could not listen on `{address}`: something else listens there");
    assert!(failed.stderr.contains(&expected), "{}", failed.stderr);
    assert!(failed.stderr.contains("give `[serve] listen` another port"), "{}", failed.stderr);

    let folder = ended(&mut first.command(["up", "--listen", "127.0.0.1:0"]));
    assert_eq!(folder.code, Some(1), "{}", folder.stderr);
    assert!(folder.stderr.contains("the state folder `state` is in use by process"), "{}", folder.stderr);
    assert_eq!(service.client().get("/healthz").status, 200, "the first one does not notice");
    service.stop();
}

#[test]
fn a_server_answers_to_the_names_that_the_settings_give_it() {
    let world = World::new(&format!("{BASE}\n[serve]\nhosts = [\"models.example.com\"]\n"));
    world.write("input.csv", HEADER);
    let service = Service::start(&world);
    let status = |host: &str| Client::calling(service.address(), host).get("/v1/status");
    assert_eq!(status("models.example.com").status, 200);
    let other = status("other.example.com");
    assert_eq!(other.status, 421, "{}", other.body);
    assert!(other.refusal().ends_with("add the name to `[serve] hosts`"), "{}", other.body);
    service.stop();
}

#[test]
fn tokens_are_shown_at_the_first_start_only() {
    let world = World::new(BASE);
    world.write("input.csv", HEADER);
    let service = Service::start(&world);
    let shown = ["label", "operate"].map(|role| service.token(role).unwrap());
    service.stop();
    let service = Service::start(&world);
    assert_eq!((service.token("label"), service.token("operate")), (None, None));
    // They are still good: what is wrong with the request is not its token.
    for token in shown {
        let reply = Client::with_token(service.address(), &token).post("/v1/labels", &json!({ "pipeline": "harbour", "labels": [] }));
        assert_eq!(reply.status, 422, "{}", reply.body);
    }
    service.stop();
}

#[test]
fn bad_requests_are_answered_with_what_is_wrong() {
    let world = World::new(&settings());
    let (service, seen) = with_champion(&world);
    let mut client = service.client();
    let unknown = client.post("/v2/models/tide/infer", &json!({ "inputs": [] }));
    assert_eq!((unknown.status, unknown.refusal().as_str()), (404, "there is no model `tide`; there are `harbour`"));
    let unknown = client.post("/v2/models/harbour/versions/v9/infer", &json!({ "inputs": [] }));
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert_eq!(unknown.refusal(), "model `harbour` has no version `v9` that can be asked; there are `v1`");

    let body = labels(&seen[..1]);
    let without = client.post("/v1/labels", &body);
    assert_eq!(without.status, 401, "{}", without.body);
    assert!(without.refusal().starts_with("this needs a token with the role `label`"), "{}", without.body);
    let forged = Client::with_token(service.address(), "tg_label_0123456789abcdef").post("/v1/labels", &body);
    assert_eq!(forged.status, 401, "{}", forged.body);
    assert!(forged.refusal().starts_with("this token is not known"), "{}", forged.body);

    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    let strange = json!({ "pipeline": "harbour", "labels": [{ "id": "1", "label": "1" }, { "id": "70000", "label": "1" }] });
    let strange = labeller.post("/v1/labels", &strange);
    assert_eq!((strange.status, &strange.json()["ids"]), (422, &json!(["70000"])), "{}", strange.body);
    assert!(strange.refusal().starts_with("1 label names a row that was neither predicted nor ingested"), "{}", strange.body);
    world.write("strange.csv", "id,label\n1,1\n70000,1\n");
    let strange = world.run(["labels", "strange.csv"]);
    assert_eq!(strange.code, Some(2), "{}", strange.stderr);
    assert!(strange.stderr.contains("error: these ids were neither predicted nor ingested: `70000`"), "{}", strange.stderr);
    assert_eq!(service.pipeline("harbour")["labels"], 1_100, "none of a refused request is kept");

    // A row that was answered a moment ago, and never ingested, may have a label.
    let next = minutes(Rows { first_day: 5_000, count: 1, seed: 9, noise: 0.1, flipped: false });
    assert_eq!(ask(&mut client, &next).status, 200);
    assert_eq!(labeller.post("/v1/labels", &labels(&next)).json(), json!({ "added": 1, "unchanged": 0 }));
    service.stop();
}

#[test]
fn labels_that_come_with_their_rows_are_not_taken_by_id() {
    let world = World::new(BASE);
    let rows = Rows { first_day: 0, count: 5, seed: 1, noise: 0.1, flipped: false };
    world.write("input.csv", format!("{HEADER}{}", rows.lines()));
    let service = Service::start(&world);
    let mut labeller = Client::with_token(service.address(), &service.token("label").unwrap());
    let reply = labeller.post("/v1/labels", &json!({ "pipeline": "harbour", "labels": [{ "id": "1", "label": "1" }] }));
    assert_eq!(reply.status, 422, "{}", reply.body);
    assert!(reply.refusal().contains("come with its rows, not by id; `by_id = true`"), "{}", reply.body);
    world.write("late.csv", "id,label\n1,1\n");
    let failed = world.run(["labels", "late.csv"]);
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);
    assert!(failed.stderr.contains("hint: write `by_id = true` into the label of the contract"), "{}", failed.stderr);
    service.stop();
}

#[test]
fn an_answer_sees_the_rows_that_have_come_and_a_file_is_answered_the_same() {
    let lags = "[pipeline.harbour.model.lags]\nrows = [1]\nlabels = [1]\n\n[[pipeline.harbour.trigger]]";
    let world = World::new(&settings().replace("[[pipeline.harbour.trigger]]", lags));
    let (service, seen) = with_champion(&world);
    let minute = &seen[..1];
    let certainty = |service: &Service| {
        let reply = ask(&mut service.client(), minute);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["outputs"][1]["data"].clone()
    };
    let before = certainty(&service);
    world.write("one.csv", format!("minute,wind,swell\n0,{},{}\n", minute[0].wind, minute[0].swell));
    let of_the_file = || {
        let answered = world.run(["predict", "one.csv"]);
        assert_eq!(answered.code, Some(0), "{}", answered.stderr);
        let line = answered.stdout.lines().nth(1).unwrap().to_owned();
        line.split(',').skip(3).take(2).map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<f64>>()
    };
    assert_eq!(serde_json::json!(of_the_file()), before);
    // The same request once a storm has come: what it asks about is the minute after the storm.
    let storm = Minute { minute: 1_100, wind: 40.0, swell: 9.0, closed: "1".into() };
    arrive(&world, &[storm]);
    let after = wait("the storm is seen", || Some(certainty(&service)).filter(|after| *after != before));
    assert_eq!(serde_json::json!(of_the_file()), after);
    service.stop();
}

#[test]
fn a_post_and_an_operator_start_runs_and_the_brakes_hold_both() {
    let triggers =
        "kind = \"webhook\"\nname = \"nightly\"\nbudget_per_day = 1\n\n[[pipeline.harbour.trigger]]\nkind = \"manual\"\ncooldown = \"1d\"";
    let world = World::new(&BASE.replace("kind = \"volume\"\nnew_rows = 500", triggers));
    world.write("input.csv", format!("{HEADER}{}", Rows { first_day: 0, count: 900, seed: 1, noise: 0.1, flipped: false }.lines()));
    let service = Service::start(&world);
    service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 900);
    let mut client = Client::with_token(service.address(), &service.token("operate").unwrap());
    let unknown = client.post("/v1/triggers/harbour/hourly", &json!(null));
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert!(unknown.body.contains("it has `nightly`"), "{}", unknown.body);
    assert_eq!(client.post("/v1/triggers/harbour/nightly", &json!({ "status": "firing" })).status, 202);
    service.until("harbour", "the gate waits", |pipeline| !pipeline["run"]["waiting_rows"].is_null());
    let pipeline = service.pipeline("harbour");
    assert_eq!(pipeline["run"]["trigger"], "somebody posted to the webhook `nightly`");
    let lines: Vec<&str> = pipeline["next"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str).collect();
    assert!(
        lines[0].starts_with("webhook `nightly`: whenever somebody posts to it; it has used up the 1 runs of a day, until "),
        "{lines:?}"
    );
    assert_eq!(lines[1], "manual: whenever somebody asks");
    service.stop();

    // Once a run has ended, the brake of its trigger holds a person, who is told.
    let world = World::new(&world.read("tidegate.toml"));
    world.write("input.csv", format!("{HEADER}{}", Rows { first_day: 0, count: 900, seed: 1, noise: 0.1, flipped: false }.lines()));
    let ended = world.run(["run", "--force"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let held = world.run(["run", "--force"]);
    assert_eq!(held.code, Some(1), "{}", held.stderr);
    assert!(held.stderr.starts_with("error: no run starts by hand now: the `manual` trigger says that it rests until "), "{}", held.stderr);
    assert!(held.stderr.contains("change the brakes of the trigger of kind `manual`"), "{}", held.stderr);
}
