//! Requests that are answered: by whom, what comes back, and what is logged.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_serve::CleanedRequest;
use tidegate_vocab::{Batch, VersionNo};

use crate::harness::{NOW, cleaner, host, host_with, model, one_row, routes, settings};

const INFER: &str = "/v2/models/rain/infer";

fn output<'a>(reply: &'a Value, name: &str) -> &'a Value {
    reply["outputs"].as_array().unwrap().iter().find(|output| output["name"] == name).unwrap()
}

/// `rows` whole rows, with ids, event times and a weight; every second one lacks what may be missing.
fn many(rows: usize) -> Value {
    let tensor = |name: &str, shape: Value, datatype: &str, value: &dyn Fn(usize) -> Value| {
        let data: Vec<Value> = (0..rows).map(value).collect();
        json!({ "name": name, "shape": shape, "datatype": datatype, "data": data, "parameters": {} })
    };
    let or_null = |row: usize, value: Value| if row.is_multiple_of(2) { value } else { Value::Null };
    json!({ "id": "q \"7\"", "parameters": {}, "inputs": [
        tensor("day", json!([rows]), "INT64", &|row| row.into()),
        tensor("station", json!([rows]), "INT64", &|row| or_null(row, row.into())),
        tensor("town", json!([rows]), "BYTES", &|row| or_null(row, "ro\u{6d}e".into())),
        tensor("x", json!([rows, 1]), "FP32", &|row| json!([row as f64 / 10.0])),
        tensor("n", json!([rows]), "INT32", &|row| or_null(row, row.into())),
        tensor("sunny", json!([rows]), "BOOL", &|row| or_null(row, true.into())),
        tensor("at", json!([rows]), "INT64", &|row| or_null(row, row.into())),
        tensor("w", json!([rows]), "FP64", &|_| 1.into()),
    ]})
}

#[tokio::test]
async fn the_champion_answers_and_the_rows_are_logged() {
    let host = host().await;
    let reply = host.post(INFER, &one_row(&[]).to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let reply = reply.json();
    assert_eq!((&reply["model_name"], &reply["model_version"], reply.get("id")), (&json!("rain"), &json!("v2"), None));
    let probabilities: Vec<f64> = serde_json::from_value(output(&reply, "probability")["data"].clone()).unwrap();
    assert_eq!(output(&reply, "probability")["shape"], json!([1, 2]));
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let class = if probabilities[0] >= probabilities[1] { "no" } else { "yes" };
    assert_eq!(output(&reply, "rain"), &json!({ "name": "rain", "datatype": "BYTES", "shape": [1], "data": [class] }));
    let logged = host.predictions.logged.lock().unwrap();
    assert_eq!(output(&reply, "row_id")["data"], json!([logged[0].row_id]));
    assert_eq!((logged.len(), logged[0].version, logged[0].at, logged[0].predicted.as_str()), (1, VersionNo(2), NOW, class));
    assert_eq!(logged[0].probabilities, probabilities, "floats come back to the bit");
    let features = json!({ "x": 1.5, "n": 3, "sunny": true, "town": "oslo", "at": "2026-01-01T00:00:00Z" });
    assert_eq!(Value::from(logged[0].features.clone()), features);
}

#[tokio::test]
async fn a_row_has_the_same_answer_alone_and_among_many() {
    let host = host().await;
    let request = many(200);
    let reply = host.post(INFER, &request.to_string()).await.json();
    assert_eq!(reply["id"], "q \"7\"");
    assert_eq!(output(&reply, "probability")["shape"], json!([200, 2]));
    let ids: Vec<String> = serde_json::from_value(output(&reply, "row_id")["data"].clone()).unwrap();
    assert_eq!((ids[0].as_str(), ids[2].as_str()), ("0", "2"), "the caller's ids");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 200, "rows without one get an id of their own");
    for row in [0, 1, 199] {
        let mut alone = request.clone();
        for input in alone["inputs"].as_array_mut().unwrap() {
            input["data"] = json!([input["data"][row]]);
            input["shape"] = json!([1]);
        }
        let alone = host.post(INFER, &alone.to_string()).await.json();
        let among = output(&reply, "probability")["data"].as_array().unwrap();
        assert_eq!(output(&alone, "probability")["data"].as_array().unwrap()[..], among[row * 2..row * 2 + 2]);
    }
}

#[tokio::test]
async fn outputs_and_versions_can_be_chosen() {
    let host = host().await;
    let mut request = one_row(&[("station", json!({ "name": "station", "shape": [1], "datatype": "BYTES", "data": ["a-1"] }))]);
    request["outputs"] = json!([{ "name": "row_id" }, { "name": "rain", "parameters": { "binary_data": false } }]);
    for version in ["1", "v1"] {
        let reply = host.post(&format!("/v2/models/rain/versions/{version}/infer"), &request.to_string()).await.json();
        assert_eq!(reply["model_version"], "v1");
        let names: Vec<&str> = reply["outputs"].as_array().unwrap().iter().map(|output| output["name"].as_str().unwrap()).collect();
        assert_eq!((names, &reply["outputs"][0]["data"]), (vec!["row_id", "rain"], &json!(["a-1"])));
    }
    assert_eq!(host.predictions.logged.lock().unwrap()[0].row_id, "a-1");
}

#[tokio::test]
async fn a_new_champion_answers_the_next_request_of_an_open_connection() {
    use tokio::io::AsyncWriteExt as _;
    let host = host().await;
    let mut stream = host.connect().await;
    let request = host.request("POST", INFER, &[], &one_row(&[]).to_string());
    for expected in ["v2", "v1"] {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(crate::harness::read(&mut stream).await.json()["model_version"], expected);
        let mut next = routes(Vec::new());
        let rain = next.models.get_mut("rain").unwrap();
        rain.champion = Ok(rain.versions[&VersionNo(1)].clone());
        host.routes.send_replace(Arc::new(next));
    }
}

#[tokio::test]
async fn what_there_is_to_ask_is_described() {
    let host = host().await;
    let model = host.get("/v2/models/rain").await.json();
    assert_eq!(model["versions"], json!(["v1", "v2"]));
    assert_eq!(model["inputs"][1], json!({ "name": "n", "datatype": "INT64", "shape": [-1] }));
    assert_eq!(model["inputs"].as_array().unwrap().len(), 5, "features only");
    assert_eq!(model["outputs"][1], json!({ "name": "probability", "datatype": "FP64", "shape": [-1, 2] }));
    assert_eq!(host.get("/v2/models/rain/versions/2").await.json(), model);
    assert_eq!(host.get("/v2/models/rain/ready").await.json(), json!({ "name": "rain", "version": "v2", "ready": true }));
    assert_eq!(host.get("/v2").await.json()["name"], "tidegate");
    assert_eq!(host.get("/v2/health/live").await.json(), json!({ "live": true }));
    assert_eq!(host.get("/healthz").await.status, 200);
    let unready = host.get("/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(unready.json()["reasons"][0].as_str().unwrap().starts_with("nobody serves `snow` yet"), "{unready:?}");
    let mut ready = routes(Vec::new());
    ready.models.remove("snow");
    host.routes.send_replace(Arc::new(ready));
    assert_eq!((host.get("/readyz").await.status, host.get("/v2/health/ready").await.status), (200, 200));
    host.views.unready.lock().unwrap().push("the disk is full".into());
    assert_eq!(host.get("/readyz").await.json()["error"], "the disk is full");
}

fn kept(rows: &Batch) -> CleanedRequest {
    CleanedRequest { rows: rows.clone(), dropped: Vec::new() }
}

#[tokio::test]
async fn cleaners_change_rows_and_the_log_keeps_what_came() {
    let fill = cleaner("fill", |rows| {
        let mut columns: Vec<_> = rows.columns().map(|(name, role, array)| (name.to_owned(), role.clone(), array.clone())).collect();
        columns[0].2 = Arc::new(arrow::array::Float64Array::from(vec![1.5; rows.row_count()]));
        Ok(kept(&Batch::new(columns).unwrap()))
    });
    let host = host_with(vec![fill], settings()).await;
    let missing = one_row(&[("x", json!({ "name": "x", "shape": [1], "datatype": "FP64", "data": [null] }))]);
    let cleaned = host.post(INFER, &missing.to_string()).await;
    assert_eq!(cleaned.status, 200, "a cleaner may fill what the contract wants: {cleaned:?}");
    let plain = host.post("/v2/models/rain/versions/1/infer", &one_row(&[]).to_string()).await;
    assert_eq!(output(&cleaned.json(), "probability"), output(&plain.json(), "probability"));
    assert_eq!(host.predictions.logged.lock().unwrap()[0].features["x"], Value::Null);
}

#[tokio::test]
async fn rows_that_cleaners_drop_and_cleaners_that_fail_are_told_apart() {
    type Rule = fn(&Batch) -> Result<CleanedRequest, String>;
    let cases: [(Rule, u16, &str); 6] = [
        (
            |rows| Ok(CleanedRequest { dropped: vec![(0, "range:x".into())], ..kept(&rows.slice(1, 0)) }),
            422,
            "cleaner `second` drops row 0 (range:x)",
        ),
        (
            |_| Err("plugin `second` trapped: unreachable".into()),
            500,
            "cleaner `second` failed, so nothing was answered: plugin `second` trapped",
        ),
        (|rows| Ok(kept(&rows.slice(0, 0))), 500, "cleaner `second` returned 0 of 1 rows and dropped none"),
        (
            |rows| Ok(kept(&Batch { rows: rows.rows.project(&[1, 2]).unwrap(), roles: rows.roles[1..3].to_vec() })),
            500,
            "column `x` is missing",
        ),
        (|_| panic!("a guest must not do this"), 500, "a fault of the host"),
        (
            |rows| {
                let mut columns: Vec<_> =
                    rows.columns().map(|(name, role, array)| (name.to_owned(), role.clone(), array.clone())).collect();
                columns[0].2 = Arc::new(arrow::array::Float64Array::from(vec![None::<f64>]));
                Ok(kept(&Batch::new(columns).unwrap()))
            },
            422,
            "row 0: column `x` has no value",
        ),
    ];
    for (rule, status, expected) in cases {
        let host = host_with(vec![cleaner("first", |rows| Ok(kept(rows))), cleaner("second", rule)], settings()).await;
        let reply = host.post(INFER, &one_row(&[]).to_string()).await;
        assert!(reply.status == status && reply.body.contains(expected), "{reply:?}, expected {status} `{expected}`");
        assert!(host.predictions.logged.lock().unwrap().is_empty());
        assert_eq!(host.get("/healthz").await.status, 200, "and the server goes on");
    }
}

#[test]
fn the_model_of_these_tests_tells_rows_apart() {
    assert_eq!(model().manifest().classes, ["no", "yes"]);
}
