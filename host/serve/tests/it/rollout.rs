//! Requests while a version is rolled out: who answers, what is counted, and that nobody notices a new version that fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tidegate_serve::{Arm, ArmFault, Clean, Ended, Mirrored, ModelRoute, Place, RolloutRoute, Routes, Traffic};
use tidegate_vocab::{TrafficArm, VersionNo};
use tokio::sync::Notify;

use crate::harness::{Host, cleaner, contract, host, model};

/// Sends every request to one place, and remembers what came of it.
struct To {
    place: Place,
    keys: Mutex<Vec<String>>,
    ended: Mutex<Vec<(TrafficArm, bool, Option<ArmFault>)>>,
    mirrored: Mutex<Vec<Mirrored>>,
    news: Notify,
}

impl Traffic for To {
    fn place(&self, key: &str) -> Place {
        self.keys.lock().unwrap().push(key.to_owned());
        self.place
    }

    fn answered(&self, arm: TrafficArm, ended: Ended) {
        assert!(ended.seconds >= 0.0);
        self.ended.lock().unwrap().push((arm, ended.failed, ended.fault));
    }

    fn mirrored(&self, mirrored: Mirrored) {
        self.mirrored.lock().unwrap().push(mirrored);
        self.news.notify_one();
    }
}

/// `rain`, answered by `v2` behind `champion`, while `v3` behind `new` is rolled out.
fn rolling(host: &Host, place: Place, champion: Vec<Arc<dyn Clean>>, new: Vec<Arc<dyn Clean>>) -> Arc<To> {
    let to = Arc::new(To { place, keys: Mutex::default(), ended: Mutex::default(), mirrored: Mutex::default(), news: Notify::new() });
    let second = Arc::new(Arm::new(VersionNo(2), "22".repeat(32), model(), champion));
    let third = Arc::new(Arm::new(VersionNo(3), "33".repeat(32), model(), new));
    let versions = BTreeMap::from([(VersionNo(2), Arc::clone(&second)), (VersionNo(3), Arc::clone(&third))]);
    let rollout = RolloutRoute { arm: third, traffic: Arc::clone(&to) as _ };
    let route = ModelRoute::new("rain".parse().unwrap(), Arc::new(contract()), Ok(second), versions).rolling_out(Some(rollout));
    host.routes.send_replace(Arc::new(Routes { models: BTreeMap::from([("rain".into(), route)]) }));
    to
}

fn broken() -> Vec<Arc<dyn Clean>> {
    vec![cleaner("broken", |_| Err("it trapped".into()))]
}

/// A request of rows with these values of `x`; a name of the request, and of the rows, where they have one.
fn request(x: &[f64], id: Option<&str>, rows: Option<&[&str]>) -> String {
    let tensor = |name: &str, datatype: &str, data: serde_json::Value| json!({ "name": name, "shape": [x.len()], "datatype": datatype, "data": data });
    let nulls = || json!(vec![(); x.len()]);
    let mut inputs = vec![tensor("x", "FP64", json!(x))];
    for (name, datatype) in [("n", "INT64"), ("sunny", "BOOL"), ("town", "BYTES"), ("at", "INT64")] {
        inputs.push(tensor(name, datatype, nulls()));
    }
    inputs.extend(rows.map(|rows| tensor("station", "BYTES", json!(rows))));
    let mut request = json!({ "inputs": inputs });
    if let Some(id) = id {
        request["id"] = json!(id);
    }
    request.to_string()
}

fn usual() -> String {
    request(&[3.0], Some("r-1"), None)
}

/// A value that the contract does not allow.
fn bad() -> String {
    request(&[1_000.0], None, None)
}

/// Sends `request` while every request goes to `place`: the status, who answered, and what was counted.
async fn check(place: Place, champion: Vec<Arc<dyn Clean>>, new: Vec<Arc<dyn Clean>>, request: &str, expected: (u16, &str, &str)) {
    let host = host().await;
    let to = rolling(&host, place, champion, new);
    let reply = host.post("/v2/models/rain/infer", request).await;
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let by = body["model_version"].as_str().unwrap_or("nobody").to_owned();
    let counted = format!("{:?}", to.ended.lock().unwrap());
    assert_eq!((reply.status, by.as_str(), counted.as_str()), expected, "{}", reply.body);
    let logged: Vec<_> = host.predictions.logged.lock().unwrap().iter().map(|row| (row.version.to_string(), row.arm)).collect();
    let arm = match (place, by.as_str()) {
        (Place::Arm(TrafficArm::Canary), "v3") => Some(TrafficArm::Canary),
        (Place::Arm(TrafficArm::Control), "v2") => Some(TrafficArm::Control),
        _ => None,
    };
    let expected = if reply.status == 200 { vec![(by, arm)] } else { Vec::new() };
    assert_eq!(logged, expected);
}

#[tokio::test]
async fn who_answers_and_what_is_counted() {
    let (canary, control, rest) = (Place::Arm(TrafficArm::Canary), Place::Arm(TrafficArm::Control), Place::Arm(TrafficArm::Rest));
    check(rest, Vec::new(), broken(), &usual(), (200, "v2", "[]")).await;
    check(canary, Vec::new(), Vec::new(), &usual(), (200, "v3", "[(Canary, false, None)]")).await;
    check(control, Vec::new(), broken(), &usual(), (200, "v2", "[(Control, false, None)]")).await;
    // The new version fails where the champion answers: nobody notices, and it is a fault.
    check(canary, Vec::new(), broken(), &usual(), (200, "v2", "[(Canary, true, Some(ServerError))]")).await;
    // Both fail: an error like any other.
    check(canary, broken(), broken(), &usual(), (500, "nobody", "[(Canary, true, None)]")).await;
    check(control, broken(), Vec::new(), &usual(), (500, "nobody", "[(Control, true, None)]")).await;
    // What is wrong with a request is wrong for both, and says nothing about either.
    check(canary, Vec::new(), Vec::new(), &bad(), (422, "nobody", "[]")).await;
    check(control, Vec::new(), Vec::new(), &bad(), (422, "nobody", "[]")).await;
}

#[tokio::test]
async fn a_copy_is_compared_and_never_answered() {
    for (new, expected) in [
        (Vec::new(), Mirrored::Answered { rows: 1, agreed: 1 }),
        (broken(), Mirrored::Fault(ArmFault::ServerError)),
        (
            vec![cleaner("strict", |rows| Ok(tidegate_serve::CleanedRequest { rows: rows.slice(0, 0), dropped: vec![(0, "no".into())] }))],
            Mirrored::Answered { rows: 1, agreed: 0 },
        ),
    ] {
        let host = host().await;
        let to = rolling(&host, Place::Mirrored, Vec::new(), new);
        let reply = host.post("/v2/models/rain/infer", &usual()).await;
        assert!(reply.status == 200 && reply.body.contains("\"model_version\":\"v2\""), "{}", reply.body);
        to.news.notified().await;
        assert_eq!(*to.mirrored.lock().unwrap(), [expected]);
        assert!(to.ended.lock().unwrap().is_empty());
        assert_eq!(host.predictions.logged.lock().unwrap().len(), 1, "the copy is not logged");
    }
}

#[tokio::test]
async fn the_place_follows_from_who_asks_and_a_named_version_has_none() {
    let host = host().await;
    let to = rolling(&host, Place::Arm(TrafficArm::Canary), Vec::new(), Vec::new());
    let named = request(&[3.0, 4.0], Some("r-2"), Some(&["ada", "bob"]));
    let nameless = request(&[3.0], None, None);
    for request in [&usual(), &named, &nameless, &nameless] {
        assert_eq!(host.post("/v2/models/rain/infer", request).await.status, 200);
    }
    let named = host.post("/v2/models/rain/versions/v2/infer", &usual()).await;
    assert!(named.body.contains("\"model_version\":\"v2\""), "{}", named.body);
    let keys = to.keys.lock().unwrap().clone();
    assert_eq!((keys.len(), keys[0].as_str(), keys[1].as_str()), (4, "r-1", "ada"));
    assert_ne!(keys[2], keys[3], "a request without a name is placed by chance");
}
