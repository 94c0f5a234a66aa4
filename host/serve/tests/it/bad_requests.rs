//! Every bad request has its status, and a sentence that names the thing.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Host, host, one_row};

const INFER: &str = "/v2/models/rain/infer";

async fn check(host: &Host, what: &str, request: (&str, &str, &str), status: u16, expected: &str) {
    let (method, path, body) = request;
    let reply = host.send(method, path, &[], body).await;
    let error = serde_json::from_str::<Value>(&reply.body).map(|body| body["error"].to_string()).unwrap_or_default();
    assert_eq!(
        (reply.status, error.contains(expected)),
        (status, true),
        "{what}: {} `{}`, expected `{expected}`",
        reply.status,
        reply.body
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}");
}

fn tensor(name: &str, shape: Value, datatype: &str, data: Value) -> (String, Value) {
    (name.into(), json!({ "name": name, "shape": shape, "datatype": datatype, "data": data }))
}

/// A row with one tensor replaced.
fn with(tensor: (String, Value)) -> String {
    one_row(&[(tensor.0.as_str(), tensor.1)]).to_string()
}

#[tokio::test]
async fn inference_requests_that_are_not() {
    let host = host().await;
    let without = |name: &str| one_row(&[(name, Value::Null)]).to_string();
    let many: Vec<f64> = vec![1.0; 1_001];
    let cases = [
        ("not JSON", "{".into(), 400, "the body is not JSON"),
        ("NaN", one_row(&[]).to_string().replace("1.5", "NaN"), 400, "the body is not JSON"),
        ("infinite", one_row(&[]).to_string().replace("1.5", "1e999"), 400, "number out of range"),
        ("an empty body", String::new(), 400, "the body is not JSON"),
        ("another thing", "[]".into(), 400, "expected {"),
        ("no inputs", "{}".into(), 400, "missing field `inputs`"),
        ("a key too many", "{\"inputs\":[],\"output\":[]}".into(), 400, "unknown field `output`"),
        ("no tensors", "{\"inputs\":[]}".into(), 400, "`inputs` is empty"),
        ("a column too few", without("x"), 400, "no tensor for column `x` (FP64)"),
        ("a column too many", with(tensor("wind", json!([1]), "FP64", json!([1]))), 400, "there is no column `wind`; expected `x`, `n`"),
        ("the label", with(tensor("rain", json!([1]), "BYTES", json!(["yes"]))), 400, "`rain` is what the model answers; leave it out"),
        ("another datatype", with(tensor("x", json!([1]), "BYTES", json!(["1"]))), 400, "column `x` is `f64` and takes `FP64`"),
        ("an unknown datatype", with(tensor("n", json!([1]), "INT63", json!([1]))), 400, "has the datatype `INT63`"),
        ("a text for a number", with(tensor("x", json!([1]), "FP64", json!(["1"]))), 400, "has the text `1` in row 0"),
        ("a fraction for an integer", with(tensor("n", json!([1]), "INT64", json!([1.5]))), 400, "has 1.5 in row 0"),
        ("an integer too large", with(tensor("n", json!([1]), "UINT64", json!([u64::MAX]))), 400, "expected an integer"),
        ("a number for a truth value", with(tensor("sunny", json!([1]), "BOOL", json!([1]))), 400, "expected true or false"),
        ("no instant", with(tensor("at", json!([1]), "BYTES", json!(["noon"]))), 400, "the text `noon` in row 0"),
        (
            "an object for a value",
            with(tensor("x", json!([1]), "FP64", json!([{}]))),
            400,
            "expected a number, a text, true, false or null",
        ),
        ("no value", with(tensor("x", json!([1]), "FP64", json!([null]))), 400, "row 0: column `x` has no value"),
        (
            "two dimensions",
            with(tensor("x", json!([1, 2]), "FP64", json!([1, 2]))),
            400,
            "has the shape [1, 2]; expected [rows] or [rows, 1]",
        ),
        ("three dimensions", with(tensor("x", json!([1, 1, 1]), "FP64", json!([1]))), 400, "has the shape [1, 1, …]"),
        ("no dimension", with(tensor("x", json!([]), "FP64", json!([1]))), 400, "has the shape []"),
        ("another extent", with(tensor("x", json!([3]), "FP64", json!([1, 2]))), 400, "tensor `x` has 2 values; its shape says 3"),
        ("a negative extent", with(tensor("x", json!([-1]), "FP64", json!([1]))), 400, "invalid value: integer `-1`"),
        (
            "more rows than others",
            with(tensor("x", json!([2]), "FP64", json!([1, 2]))),
            400,
            "tensor `x` has 2 rows; the first tensor has 1",
        ),
        (
            "no rows",
            json!({"inputs": [{"name": "x", "shape": [0], "datatype": "FP64", "data": []}]}).to_string(),
            400,
            "tensor `x` has no values",
        ),
        ("an id that is none", with(tensor("station", json!([1]), "BYTES", json!([""]))), 400, "names row 0 with the text ``"),
        ("an id of another type", with(tensor("station", json!([1]), "FP64", json!([1.5]))), 400, "ids are `INT64` or `BYTES`"),
        (
            "too many rows",
            json!({"inputs": [{"name": "x", "shape": [1001], "datatype": "FP64", "data": many}]}).to_string(),
            413,
            "expected at most 1000",
        ),
        ("a word that is no category", with(tensor("town", json!([1]), "BYTES", json!(["bern"]))), 422, "`town` is `bern`"),
        ("a value too low", with(tensor("x", json!([1]), "FP64", json!([-100.5]))), 422, "below the contract's `low = -100`"),
        ("a value too high", with(tensor("x", json!([1]), "FP64", json!([101]))), 422, "above the contract's `high = 100`"),
    ];
    for (what, body, status, expected) in cases {
        check(&host, what, ("POST", INFER, &body), status, expected).await;
    }
    assert!(host.predictions.logged.lock().unwrap().is_empty(), "what was refused was not answered");
    let mut twice = one_row(&[]);
    let first = twice["inputs"][0].clone();
    twice["inputs"].as_array_mut().unwrap().push(first);
    check(&host, "a tensor twice", ("POST", INFER, &twice.to_string()), 400, "there are two tensors named `x`").await;
    for (outputs, expected) in
        [(json!([{"name": "odds"}]), "there is no output `odds`; expected `rain`"), (json!([{"name": "rain"}, {"name": "rain"}]), "twice")]
    {
        let mut request = one_row(&[]);
        request["outputs"] = outputs;
        check(&host, "outputs", ("POST", INFER, &request.to_string()), 400, expected).await;
    }
    let binary = host.send("POST", INFER, &[("inference-header-content-length", "2")], "{}").await;
    assert!(binary.status == 400 && binary.body.contains("binary tensors are not read"), "{binary:?}");
    let packed = host.send("POST", INFER, &[("content-encoding", "gzip")], "{}").await;
    assert!(packed.status == 415 && packed.body.contains("send plain JSON"), "{packed:?}");
}

#[tokio::test]
async fn paths_and_methods_that_are_not() {
    let host = host().await;
    let row = one_row(&[]).to_string();
    for (what, request, status, expected) in [
        ("an unknown model", ("POST", "/v2/models/hail/infer", row.as_str()), 404, "there is no model `hail`; there are `rain`, `snow`"),
        (
            "an unknown version",
            ("POST", "/v2/models/rain/versions/9/infer", row.as_str()),
            404,
            "has no version `9` that can be asked; there are `v1`, `v2`",
        ),
        ("no version", ("POST", "/v2/models/rain/versions/latest/infer", row.as_str()), 404, "has no version `latest`"),
        ("nobody yet", ("POST", "/v2/models/snow/infer", row.as_str()), 503, "nobody serves `snow` yet: no version was promoted"),
        ("nobody is ready", ("GET", "/v2/models/snow/ready", ""), 503, "nobody serves `snow` yet"),
        ("an unknown model's columns", ("GET", "/v2/models/hail", ""), 404, "there is no model `hail`"),
        ("another method", ("GET", INFER, ""), 405, "GET is not possible at `/v2/models/rain/infer`"),
        ("nothing", ("GET", "/v3", ""), 404, "there is nothing at `/v3`"),
    ] {
        check(&host, what, request, status, expected).await;
    }
    assert_eq!(host.get(INFER).await.header("allow"), Some("POST"));
    assert_eq!(host.post("/v2/models/snow/infer", &row).await.header("retry-after"), Some("1"));
}

/// JSON of any shape, much of it close to an inference request.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "x", "n", "sunny", "town", "at", "rain", "station", "day", "w", "FP64", "INT64", "BOOL", "BYTES", "é", "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(vec!["inputs", "name", "shape", "data", "id", "outputs", "q"]), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    let data = prop::collection::vec(any.clone(), 0..3);
    let tensor = (word.clone(), prop::collection::vec(0_u64..3, 0..3), word, data)
        .prop_map(|(name, shape, datatype, data)| json!({ "name": name, "shape": shape, "datatype": datatype, "data": data }));
    prop_oneof![any, prop::collection::vec(tensor, 0..7).prop_map(|inputs| json!({ "inputs": inputs }))]
}

#[test]
fn any_json_is_answered_or_refused_in_words() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let host = runtime.block_on(host());
    proptest!(ProptestConfig::with_cases(300), |(body in any_json())| {
        for path in [INFER, "/v1/labels"] {
            let secret = format!("Bearer {}", host.secrets["label"]);
            let reply = runtime.block_on(host.send("POST", path, &[("authorization", &secret)], &body.to_string()));
            prop_assert!(reply.status == 200 || (400..500).contains(&reply.status), "{reply:?} for {body}");
            prop_assert!(reply.status == 200 || reply.json()["error"].is_string(), "{reply:?}");
        }
    });
}
