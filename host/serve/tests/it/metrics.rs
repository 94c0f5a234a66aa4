//! `/metrics`: what is counted, and that a state leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_vocab::VersionNo;

use crate::harness::{Host, host, one_row};

async fn scrape(host: &Host) -> String {
    let reply = host.get("/metrics").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    reply.body
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn requests_and_rows_are_counted() {
    let host = host().await;
    let row = one_row(&[]).to_string();
    for _ in 0..3 {
        host.post("/v2/models/rain/infer", &row).await;
    }
    host.post("/v2/models/rain/infer", "{").await;
    host.post("/v2/models/snow/infer", &row).await;
    host.post("/v2/models/made-up-1/infer", &row).await;
    host.post("/v2/models/made-up-2/infer", &row).await;
    *host.predictions.behind.lock().unwrap() = true;
    assert_eq!(host.post("/v2/models/rain/infer", &row).await.status, 200, "a log that is behind slows nobody down");
    let text = scrape(&host).await;
    let requests = |labels: &str| value(&text, &format!("tidegate_inference_requests_total{{{labels}}}"));
    assert_eq!(requests("model=\"rain\",version=\"v2\",code=\"200\""), Some(4.0), "{text}");
    assert_eq!(requests("model=\"rain\",version=\"v2\",code=\"400\""), Some(1.0));
    assert_eq!(requests("model=\"snow\",version=\"none\",code=\"503\""), Some(1.0));
    assert_eq!(requests("model=\"unknown\",version=\"none\",code=\"404\""), Some(2.0), "callers cannot make up series");
    assert_eq!(value(&text, "tidegate_inference_duration_seconds_count{model=\"rain\"}"), Some(5.0));
    let classes: f64 = ["no", "yes"]
        .iter()
        .filter_map(|class| value(&text, &format!("tidegate_predictions_total{{model=\"rain\",class=\"{class}\"}}")))
        .sum();
    assert_eq!(classes, 4.0);
    assert_eq!(value(&text, "tidegate_predictions_shed_total{model=\"rain\"}"), Some(1.0));
}

#[tokio::test]
async fn no_champion_of_yesterday_stays() {
    let host = host().await;
    let info = |text: &str| text.lines().filter(|line| line.starts_with("tidegate_champion_info{")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        info(&scrape(&host).await),
        [format!("tidegate_champion_info{{model=\"rain\",version=\"v3\",sha256=\"{}\"}} 1", "9f2c".repeat(16))]
    );
    host.views.status.lock().unwrap().pipelines[0].champion.as_mut().unwrap().version = VersionNo(4);
    let text = scrape(&host).await;
    assert!(info(&text).len() == 1 && info(&text)[0].contains("version=\"v4\""), "{text}");
    assert_eq!(value(&text, "tidegate_champion_age_seconds{model=\"rain\"}"), Some(41.0 * 86_400.0));
    let bound =
        |bound: &str| value(&text, &format!("tidegate_quality{{model=\"rain\",metric=\"accuracy\",kind=\"realised\",bound=\"{bound}\"}}"));
    assert_eq!((bound("point"), bound("lower"), bound("upper")), (Some(3_211.0 / 4_120.0), Some(0.7664), Some(0.7919)));
    assert_eq!(value(&text, "tidegate_rows_quarantined_total{pipeline=\"rain\",by=\"range\",reason=\"range:wind\"}"), Some(37.0));
    host.views.status.lock().unwrap().pipelines[0].champion = None;
    assert_eq!(info(&scrape(&host).await), Vec::<String>::new());
}

#[tokio::test]
async fn reasons_are_bounded_and_written_safely() {
    let host = host().await;
    {
        let mut status = host.views.status.lock().unwrap();
        let reasons = (0..100).map(|reason| ("range".to_owned(), format!("a \"{reason}\"\n\\"), 2));
        status.pipelines[0].quarantined = reasons.collect();
    }
    let text = scrape(&host).await;
    let series: Vec<&str> = text.lines().filter(|line| line.starts_with("tidegate_rows_quarantined_total{")).collect();
    assert_eq!(series.len(), 31);
    assert!(
        series.contains(&"tidegate_rows_quarantined_total{pipeline=\"rain\",by=\"range\",reason=\"a \\\"0\\\"\\n\\\\\"} 2"),
        "{series:?}"
    );
    assert!(series.contains(&"tidegate_rows_quarantined_total{pipeline=\"rain\",by=\"other\",reason=\"other\"} 140"), "{series:?}");
}

/// What `promtool check metrics` asks for: help and type before each family, once; counters, and only counters, end in `_total`; base
/// units; no series twice.
#[tokio::test]
async fn every_family_is_named_as_prometheus_wants() {
    let host = host().await;
    host.post("/v2/models/rain/infer", &one_row(&[]).to_string()).await;
    let text = scrape(&host).await;
    let (mut types, mut helped, mut seen) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && help.ends_with('.'), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().is_ok() && seen.insert(series.to_owned()), "{line}");
            let name = series.split('{').next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|base| types.get(*base).is_some_and(|kind| kind == "histogram"));
            assert!(types.contains_key(histogram.unwrap_or(name)), "{name} has no type before it");
        }
    }
    assert!(types.len() >= 20, "{types:?}");
    for (name, kind) in types {
        assert!(helped.contains(&name), "{name} has no help");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(name.starts_with("tidegate_") && !["_ms", "_us", "_percent", "_minutes"].iter().any(|unit| name.contains(unit)), "{name}");
    }
}
