//! Who may do what, and the file that says so.

use std::os::unix::fs::PermissionsExt as _;

use tidegate_serve::{ServeError, ServeSettings, Server, TokenFile, TokenRole};

use crate::harness::{Host, NOW, Reply, host, host_with, one_row, settings};

const INFER: &str = "/v2/models/rain/infer";

async fn labels_with(host: &Host, authorization: &str) -> Reply {
    host.send("POST", "/v1/labels", &[("authorization", authorization)], "{}").await
}

#[tokio::test]
async fn labels_need_a_token_on_loopback_too() {
    let host = host().await;
    let none = host.post("/v1/labels", "{}").await;
    assert!(none.status == 401 && none.body.contains("needs a token with the role `label`"), "{none:?}");
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    let secret = |role: &str| format!("Bearer {}", host.secrets[role]);
    let mut wrong = secret("label");
    wrong.pop();
    for (authorization, status, expected) in [
        (wrong.as_str(), 401, "this token is not known"),
        ("Basic eDp5", 401, "does not hold a token"),
        ("x", 401, "does not hold a token"),
        (&secret("read"), 403, "this token has the role `read`; expected `label` or `operate`"),
        (&secret("predict"), 403, "this token has the role `predict`"),
        (&secret("label"), 400, "missing field"),
        (&secret("operate").replace("Bearer", "bearer"), 400, "missing field"),
    ] {
        let reply = labels_with(&host, authorization).await;
        assert!(reply.status == status && reply.body.contains(expected), "{authorization}: {reply:?}");
    }
    host.tokens.revoke("label").unwrap();
    assert_eq!(labels_with(&host, &secret("label")).await.status, 401, "a revoked token ends at once");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_post_and_cannot_pass_for_this_one() {
    let host = host_with(Vec::new(), ServeSettings { hosts: vec!["tidegate.example".into()], ..settings() }).await;
    let own = format!("http://{}", host.address);
    let row = one_row(&[]).to_string();
    for (headers, status, expected) in [
        (vec![("origin", "http://evil.example")], 403, "`Origin` is `http://evil.example`"),
        (vec![("origin", "null")], 403, "`Origin` is `null`"),
        (vec![("origin", "http://localhost:1")], 403, "`Origin` is `http://localhost:1`"),
        (vec![("host", "evil.example")], 421, "`Host` is `evil.example`"),
        (vec![("host", "evil.example"), ("origin", "http://evil.example")], 421, "`Host` is `evil.example`"),
        (vec![("host", "127.0.0.1.evil.example")], 421, "not a name of this server"),
        (vec![("origin", own.as_str())], 200, "v2"),
        (vec![("host", "localhost:7070")], 200, "v2"),
        (vec![("host", "[::1]:7070")], 200, "v2"),
        (vec![("host", "tidegate.example"), ("origin", "https://tidegate.example")], 200, "v2"),
    ] {
        let reply = host.send("POST", INFER, &headers, &row).await;
        assert!(reply.status == status && reply.body.contains(expected), "{headers:?}: {reply:?}");
    }
    assert_eq!(host.send("GET", "/", &[("host", "evil.example")], "").await.status, 421, "nor read the page under a name of its own");
}

#[tokio::test]
async fn a_public_address_is_refused_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenFile::open(folder.path().join("tokens")).unwrap();
    let unspecified = Server::bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
    let host = host().await;
    let (routes, _) = tokio::sync::watch::channel(std::sync::Arc::default());
    let ports = tidegate_serve::Ports {
        routes: routes.subscribe(),
        predictions: host.predictions.clone(),
        labels: host.labels.clone(),
        triggers: std::sync::Arc::new(crate::harness::Nightly),
        views: host.views.clone(),
        changes: host.changes.subscribe(),
        clock: std::sync::Arc::new(tidegate_vocab::SimulatedClock::new(NOW)),
    };
    let refused = unspecified.serve(ports, tokens, settings(), tokio_util::sync::CancellationToken::new()).await;
    assert!(matches!(refused, Err(ServeError::Unguarded { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let host = host().await;
    let error = Server::bind(host.address).await.err().unwrap();
    assert_eq!(error.to_string(), format!("could not listen on `{}`: something else listens there", host.address));
    assert!(error.hint().unwrap().contains("`[serve] listen`"));
    let error = Server::bind("192.0.2.1:0".parse().unwrap()).await.err().unwrap();
    assert!(error.to_string().contains("this machine does not have that address"), "{error}");
}

#[test]
fn the_file_is_private_seen_by_others_and_refused_when_anyone_can_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let (ours, theirs) = (TokenFile::open(&path).unwrap(), TokenFile::open(&path).unwrap());
    assert!(!theirs.refresh().unwrap(), "nothing has changed");
    let secret = ours.create("ci", TokenRole::Predict, NOW).unwrap();
    assert_eq!(theirs.check(&secret), None, "not read again yet");
    assert!(theirs.refresh().unwrap() && !theirs.refresh().unwrap());
    assert_eq!(theirs.check(&secret), Some(TokenRole::Predict));
    theirs.create("second", TokenRole::Read, NOW).unwrap();
    ours.revoke("ci").unwrap();
    let names: Vec<String> = ours.list().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["second"], "a change keeps what another process wrote");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("tg_") && text.contains("sha256 = "), "{text}");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    mode(0o622);
    let error = ours.reload().unwrap_err().to_string();
    assert!(error.contains("others may write it (mode 622)"), "{error}");
    mode(0o600);
    let bad = text.replace("role = \"read\"", "role = \"root\"");
    std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bad.as_bytes()))
        .unwrap();
    let error = ours.refresh().unwrap_err().to_string();
    assert!(error.contains("unknown variant `root`"), "{error}");
    assert_eq!(ours.list().len(), 1, "the tokens that were read last stay");
    assert!(!ours.refresh().unwrap(), "and the file is complained about once");
}

#[tokio::test]
async fn only_operators_start_what_waits_for_a_post() {
    let host = host().await;
    let operator = format!("Bearer {}", host.secrets["operate"]);
    assert_eq!(host.post("/v1/triggers/rain/nightly", "").await.status, 401);
    let label = format!("Bearer {}", host.secrets["label"]);
    assert_eq!(host.send("POST", "/v1/triggers/rain/nightly", &[("authorization", &label)], "").await.status, 403);
    for (path, status, expected) in [
        ("/v1/triggers/rain/nightly", 202, "{\"pipeline\":\"rain\",\"trigger\":\"nightly\"}"),
        ("/v1/triggers/rain/busy", 503, "`rain` is busy; send it again"),
        ("/v1/triggers/rain/hourly", 404, "`rain` has no trigger of kind `webhook` named `hourly`; it has `nightly`, `busy`"),
        ("/v1/triggers/snow/nightly", 404, "it has none of this kind"),
        ("/v1/triggers/hail/nightly", 404, "there is no pipeline `hail`; there are `rain`, `snow`"),
        ("/v1/triggers/rain", 404, "there is nothing at"),
    ] {
        // What is posted says nothing, whatever it is.
        let reply = host.send("POST", path, &[("authorization", operator.as_str())], "{\"alert\": 1").await;
        assert!(reply.status == status && reply.body.contains(expected), "{path}: {reply:?}");
    }
    let read = host.send("GET", "/v1/triggers/rain/nightly", &[("authorization", operator.as_str())], "").await;
    assert_eq!(read.status, 405);
}
