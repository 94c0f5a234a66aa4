//! Labels by row id: kept whole or refused whole.

use serde_json::{Value, json};

use crate::harness::{Host, Reply, host};

async fn send(host: &Host, role: Option<&str>, body: &str) -> Reply {
    let secret = role.map(|role| format!("Bearer {}", host.secrets[role]));
    let headers: Vec<(&str, &str)> = secret.iter().map(|secret| ("authorization", secret.as_str())).collect();
    host.send("POST", "/v1/labels", &headers, body).await
}

fn labels(labels: Value) -> String {
    json!({ "pipeline": "rain", "labels": labels }).to_string()
}

#[tokio::test]
async fn labels_are_kept_once() {
    let host = host().await;
    host.labels.known.lock().unwrap().extend(["a".to_owned(), "b".to_owned()]);
    let body = labels(
        json!([{ "id": "a", "label": "yes", "known_at": "2025-12-31T23:00:00Z" }, { "id": "b", "label": "no" }, { "id": "b", "label": "no" }]),
    );
    let reply = send(&host, Some("label"), &body).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "added": 2, "unchanged": 0 })));
    assert_eq!(send(&host, Some("operate"), &body).await.json(), json!({ "added": 0, "unchanged": 2 }));
    let kept = host.labels.kept.lock().unwrap();
    assert_eq!(kept["a"].known_at.to_string(), "2025-12-31T23:00:00Z");
    assert_eq!(kept["b"].known_at, crate::harness::NOW);
}

#[tokio::test]
async fn labels_that_cannot_be_kept_are_refused_whole() {
    let host = host().await;
    host.labels.known.lock().unwrap().insert("a".into());
    let good = json!({ "id": "a", "label": "yes" });
    let too_many: Vec<Value> = (0..501).map(|row| json!({ "id": row.to_string(), "label": "no" })).collect();
    let unknown: Vec<Value> = (0..120).map(|row| json!({ "id": format!("x{row}"), "label": "no" })).collect();
    let cases = [
        ("not JSON", "{".into(), 400, "the body is not JSON"),
        ("no labels", json!({ "pipeline": "rain" }).to_string(), 400, "missing field `labels`"),
        ("a key too many", labels(json!([{ "id": "a", "label": "yes", "weight": 1 }])), 400, "unknown field `weight`"),
        ("an id that is no text", labels(json!([{ "id": 1, "label": "yes" }])), 400, "invalid type: integer `1`, expected a string"),
        ("too many", labels(too_many.into()), 413, "there are 501 labels; expected at most 500"),
        (
            "an unknown pipeline",
            json!({ "pipeline": "hail", "labels": [good] }).to_string(),
            404,
            "there is no pipeline `hail`; there are `rain`, `snow`",
        ),
        (
            "a class that is none",
            labels(json!([good, { "id": "b", "label": "maybe" }])),
            422,
            "row `b` has the label `maybe`; the contract's classes are `no`, `yes`",
        ),
        ("the future", labels(json!([{ "id": "a", "label": "yes", "known_at": "2026-01-01T00:00:01Z" }])), 422, "which is in the future"),
        (
            "no instant",
            labels(json!([{ "id": "a", "label": "yes", "known_at": "today" }])),
            422,
            "has `known_at` `today`; expected an instant",
        ),
        ("two classes", labels(json!([good, { "id": "a", "label": "no" }])), 422, "row `a` has two labels, `yes` and `no`"),
        ("no id", labels(json!([{ "id": "", "label": "no" }])), 422, "has 0 bytes"),
        (
            "one unknown id",
            labels(json!([good, { "id": "z", "label": "no" }])),
            422,
            "1 label names a row that was neither predicted nor ingested, listed in `ids`",
        ),
        (
            "unknown ids",
            labels(unknown.into()),
            422,
            "120 labels name rows that were neither predicted nor ingested, the first 100 in `ids`",
        ),
    ];
    for (what, body, status, expected) in cases {
        let reply = send(&host, Some("label"), &body).await;
        let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(reply.status == status && error.contains(expected), "{what}: {reply:?}, expected {status} `{expected}`");
        assert!(host.labels.kept.lock().unwrap().is_empty(), "{what}");
        let ids = reply.json()["ids"].as_array().map_or(0, Vec::len);
        assert_eq!(ids, if what == "unknown ids" { 100 } else { usize::from(what == "one unknown id") }, "{what}");
    }
    *host.labels.broken.lock().unwrap() = true;
    let reply = send(&host, Some("label"), &labels(json!([good]))).await;
    assert!(reply.status == 503 && reply.header("retry-after").is_some() && reply.body.contains("the disk is full"), "{reply:?}");
}
