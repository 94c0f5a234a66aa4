//! The status page: whole, safe, and followed.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use tidegate_serve::{Node, ServeSettings};
use tidegate_vocab::VersionNo;

use crate::harness::{Host, host, host_with, settings};
use crate::samples;

#[tokio::test]
async fn the_page_shows_who_serves_and_why_without_a_script() {
    let host = host().await;
    let page = host.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for expected in [
        "<h1>rain</h1>",
        "<dd>v3</dd>",
        "76.6 to 79.2 % at 95 %, 4,120 rows",
        "v3 is better than v1 by 2.1 points on 800 rows.",
        "Waits for 84 more labelled rows before it looks at v4 again.",
        "aria-label=\"The loop, at work in: Gate\"",
        "<td class=\"verdict open\">inconclusive</td>",
        "-0.0110 to 0.0270",
        "operator ada",
        "range:wind",
        "moved in 2 of the last 3 windows: <code>wind</code> by 0.42 (usual up to 0.13). Looked at ",
        "<td><code>wind</code></td><td class=\"n\">0.42</td><td class=\"n\">0.13</td>",
        "70.4 to 81.8 %, the newest 500 rows; 78.2 % when v3 was judged",
        "off by 1.2 points on average, over 7 estimates",
        "<strong>v4</strong> is rolled out: it answers <strong>5.0 %</strong> of requests, <strong>412</strong> of 1,482 in this step.",
        "Continues: 412 of 1,482 requests an arm in step 2 of 4.",
        "The new file has the world <code>source</code>; expected <code>cleaner</code>. The old one serves.",
    ] {
        assert!(page.body.contains(expected), "`{expected}` is not in the page");
    }
    assert_eq!(host.get("/p/rain").await.body, page.body);
    let missing = host.get("/p/hail").await;
    assert!(missing.status == 404 && missing.body.contains("there is no pipeline `hail`; there are `rain`"), "{missing:?}");
}

#[tokio::test]
async fn what_plugins_and_people_write_stays_text() {
    let host = host().await;
    {
        let mut status = host.views.status.lock().unwrap();
        let pipeline = &mut status.pipelines[0];
        pipeline.doing = "<script>alert(1)</script>".into();
        pipeline.stalled = Some("\"><img src=x onerror=alert(1)>".into());
        pipeline.quarantined = vec![("<b>".into(), "<i>".into(), 1)];
    }
    let page = host.get("/").await;
    for forbidden in ["<script>alert", "<img", "<b>", "<i>"] {
        assert!(!page.body.contains(forbidden), "{forbidden}");
    }
    assert!(page.body.contains("role=\"alert\""));
    let policy = page.header("content-security-policy").unwrap();
    for expected in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(expected), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !page.body.contains("style=\"") && !page.body.contains("onclick"), "{policy}");
}

#[tokio::test]
async fn states_with_little_in_them_have_pages_too() {
    let host = host().await;
    let show = |change: &dyn Fn(&mut tidegate_serve::Status)| change(&mut host.views.status.lock().unwrap());
    show(&|status| {
        let pipeline = &mut status.pipelines[0];
        (pipeline.champion, pipeline.run, pipeline.at) = (None, None, Node::Source);
        pipeline.quality.clear();
        pipeline.moves.clear();
        pipeline.decisions.clear();
        pipeline.quarantined.clear();
    });
    let page = host.get("/").await.body;
    for expected in ["Nobody serves yet.", "No run.", "No answered row has a label yet.", "None yet."] {
        assert!(page.contains(expected), "`{expected}` is not in the page");
    }
    show(&|status| status.pipelines.push(samples::pipeline("snow")));
    let page = host.get("/").await.body;
    assert!(page.contains("<h1>Pipelines</h1>") && page.contains("href=\"/p/snow\"") && page.contains("nobody serves yet"), "{page}");
    show(&|status| status.pipelines.clear());
    assert!(host.get("/").await.body.contains("No pipeline is configured."));
    assert_eq!(host.get("/v1/status").await.json()["pipelines"], serde_json::json!([]));
}

/// Follows events until `wanted` is in what came, and returns that.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&bytes).contains(wanted) {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed before `{wanted}`");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap_or_else(|_| panic!("`{wanted}` did not come"));
    String::from_utf8(bytes).unwrap()
}

async fn follow(host: &Host) -> TcpStream {
    let mut stream = host.connect().await;
    stream.write_all(host.request("GET", "/events?pipeline=rain", &[], "").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn parts_that_change_are_sent_and_others_are_not() {
    let host = host_with(Vec::new(), ServeSettings { update_ms_min: 1, heartbeat_ms: 30, ..settings() }).await;
    let mut stream = follow(&host).await;
    let first = until(&mut stream, "event: plugins").await;
    assert!(first.contains("content-type: text/event-stream") && first.contains("retry: 2000\n\nevent: now\ndata: <p"), "{first}");
    until(&mut stream, ": still here").await;
    host.views.status.lock().unwrap().pipelines[0].champion.as_mut().unwrap().version = VersionNo(4);
    host.changes.send_modify(|count| *count += 1);
    let next = until(&mut stream, "<dd>v4</dd>").await;
    assert!(next.contains("event: champion") && !next.contains("event: decisions") && !next.contains("event: rows"), "{next}");
    host.stop.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("a stop ends what has no end").unwrap();
}

#[tokio::test]
async fn one_follower_too_many_is_told_so() {
    let host = host_with(Vec::new(), ServeSettings { subscribers_max: 1, ..settings() }).await;
    let mut first = follow(&host).await;
    until(&mut first, "event: now").await;
    let refused = host.get("/events").await;
    assert!(refused.status == 503 && refused.body.contains("1 pages follow the state already"), "{refused:?}");
}
