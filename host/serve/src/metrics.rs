//! What is counted and timed on the way of a request, and `/metrics`.
//!
//! Counters and histograms live here as long as the process. Whatever describes a state is written anew from [`Status`] at each
//! scrape, so that no champion of yesterday stands beside today's.

use metrics::{Counter, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::time::Duration;

use http::StatusCode;
use tidegate_vocab::VersionNo;

use crate::exposition;
use crate::status::Status;

const REQUESTS: &str = "tidegate_inference_requests_total";
const DURATION: &str = "tidegate_inference_duration_seconds";
const PREDICTIONS: &str = "tidegate_predictions_total";
const SHED: &str = "tidegate_predictions_shed_total";

/// Upper bounds of the buckets, in seconds: from a row that is answered at once to a request that waits for cleaners.
const DURATION_BUCKETS_S: [f64; 16] =
    [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Codes whose counters a version has from its first request on.
const CODES: [u16; 9] = [200, 400, 408, 413, 415, 422, 500, 503, 504];
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The metrics of one server.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// The counters of one version.
pub(crate) struct ArmCounters {
    /// The version's name, which replies repeat.
    pub version: String,
    /// Rows answered, by class.
    pub classes: Vec<Counter>,
    /// Rows answered and not logged.
    pub shed: Counter,
    codes: [Counter; CODES.len()],
    seconds: Histogram,
}

impl Metrics {
    /// Metrics that count from zero.
    pub(crate) fn new() -> Metrics {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(DURATION.into()), &DURATION_BUCKETS_S);
        let recorder = builder.expect("there are buckets").build_recorder();
        let counter = |name: &'static str, help: &'static str| recorder.describe_counter(KeyName::from(name), None, help.into());
        counter(REQUESTS, "Inference requests, by the model and version that were asked and the status that was sent.");
        counter(PREDICTIONS, "Rows answered, by the class that was predicted.");
        counter(SHED, "Rows answered but not logged, because the log of predictions had fallen behind.");
        recorder.describe_histogram(
            KeyName::from(DURATION),
            Some(Unit::Seconds),
            "Time from the header of an inference request to its reply.".into(),
        );
        let handle = recorder.handle();
        Metrics { recorder, handle }
    }

    /// The counters of a version.
    pub(crate) fn arm(&self, model: &str, version: VersionNo, classes: &[String]) -> ArmCounters {
        let version = version.to_string();
        let of_class = |class: &String| self.counter(PREDICTIONS, &[("model", model), ("class", class)]);
        ArmCounters {
            classes: classes.iter().map(of_class).collect(),
            shed: self.counter(SHED, &[("model", model)]),
            codes: CODES.map(|code| self.requests(model, &version, code)),
            seconds: self.recorder.register_histogram(&key(DURATION, &[("model", model)]), &METADATA),
            version,
        }
    }

    /// Counts a request that no version answered; `model` only if there is one, so that callers cannot make up series.
    pub(crate) fn count_unanswered(&self, model: Option<&str>, status: StatusCode) {
        self.requests(model.unwrap_or("unknown"), "none", status.as_u16()).increment(1);
    }

    /// Puts away what histograms have gathered; to be called every few seconds.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self, status: &Status) -> String {
        let mut text = self.handle.render();
        exposition::write(&mut text, status);
        text
    }

    fn requests(&self, model: &str, version: &str, code: u16) -> Counter {
        self.counter(REQUESTS, &[("model", model), ("version", version), ("code", &code.to_string())])
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }
}

impl ArmCounters {
    /// Counts one request and the time it took.
    pub(crate) fn count(&self, status: StatusCode, took: Duration) {
        if let Some(index) = CODES.iter().position(|code| *code == status.as_u16()) {
            self.codes[index].increment(1);
        }
        self.seconds.record(took.as_secs_f64());
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}
