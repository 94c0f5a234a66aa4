//! `tidegate quality`: how good the answers were, how good they seem to be before labels come, and how late labels come.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampMicrosecondType;
use serde_json::{Value, json};
use tidegate_dataset::{LateLabels, PartCache, PartReader};
use tidegate_pipeline::{CleanRows, EstimateWindow, Estimates, LoopState, chain_of};
use tidegate_policy::{LabelAge, Maturity, wilson};
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{Clock, PipelineId, QualityPoint, RowColumns, Timestamp};

use super::{chosen, config};
use crate::args::Global;
use crate::compose::{self, clock::SystemClock};
use crate::config::section::grouped;
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Lines of each table; the newest.
const LINES_MAX: usize = 12;
/// Steps of the curve that JSON has.
const STEPS_MAX: usize = 100;
/// Shares of labels whose age is told.
const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
/// The confidence of the interval around realised accuracy.
const CONFIDENCE: f64 = 0.95;

/// Prints the quality of a pipeline.
///
/// # Errors
/// A [`Failure`] when what is stored cannot be read.
pub fn quality(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let realised = kept::<LoopState>(state, &chosen.id, "loop").await?.quality.points().to_vec();
        let estimates = kept::<Estimates>(state, &chosen.id, "estimates").await?;
        let maturity = maturity(&config, chosen, state).await?;
        let told = Told { realised, estimates, maturity };
        terminal.result(|| told.text(), || told.value());
        Ok(Exit::Ok)
    })
}

struct Told {
    realised: Vec<QualityPoint>,
    estimates: Estimates,
    maturity: Maturity,
}

/// A value that the loop remembers.
pub(super) async fn kept<T: serde::de::DeserializeOwned + Default>(
    state: &StateFolder,
    pipeline: &PipelineId,
    key: &str,
) -> Result<T, Failure> {
    let Some((_, bytes)) = state.meta.state(pipeline, key).await? else { return Ok(T::default()) };
    serde_json::from_slice(&bytes).map_err(|error| Failure::from(anyhow::Error::new(error).context(format!("could not read `{key}`"))))
}

/// How late the labels of the newest rows came.
async fn maturity(config: &Config, chosen: &PipelineConfig, state: &StateFolder) -> Result<Maturity, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stores = compose::stores(state, Arc::clone(&clock));
    let sandbox = compose::sandbox(config, state)?;
    let plugins = compose::plugins(config, chosen, &sandbox, &clock)?;
    let chain = chain_of(&plugins, &chosen.contract);
    let end = stores.meta.raw_parts(&chosen.id, 0).await?.last().map_or(0, |part| part.first_row + part.row_count);
    let from = end.saturating_sub(chosen.model.window_rows.max(1_000));
    let late: LateLabels = stores.feedback.labels_of_rows(&chosen.id, from, Timestamp(i64::MAX)).await?.into_iter().collect();
    let cache = PartCache::new(0);
    let reader = PartReader { blobs: &*stores.blobs, cache: &cache, late: &late };
    let rows = CleanRows { pipeline: &chosen.id, chain, contract: &chosen.contract, meta: &*stores.meta, reader };
    let rows = rows.range(from, end).await?;
    let instants = |name: &str| -> Vec<Option<i64>> {
        let column = rows.column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        column.map(|column| column.iter().collect()).unwrap_or_default()
    };
    // The system's clock says little of a history that was taken in at once: no row is younger than the newest.
    let (events, known) = (instants(RowColumns::EVENT_TIME), instants(RowColumns::KNOWN_TIME));
    let now = events.iter().chain(&known).flatten().copied().max().unwrap_or_else(|| SystemClock.now().0);
    let age = |(event, known): (&Option<i64>, &Option<i64>)| {
        let until = known.unwrap_or(now).saturating_sub((*event)?);
        Some(LabelAge { age_s: until as f64 / 1e6, is_known: known.is_some() })
    };
    Ok(Maturity::of(&events.iter().zip(&known).filter_map(age).collect::<Vec<_>>()))
}

impl Told {
    fn text(&self) -> String {
        let mut out = String::new();
        out.push_str("Realised: rows that were answered and whose label has come\n\n");
        match self.realised.is_empty() {
            true => out.push_str("  none yet\n"),
            false => out.push_str(&table(&["until", "version", "rows", "right", "95 %"], newest(&self.realised, realised_line), 2)),
        }
        out.push_str("\nEstimated: what the version's own probabilities say, before labels come\n\n");
        match self.estimates.windows.is_empty() {
            true => out.push_str("  none yet: a version is calibrated by the rows that its gate judged it on\n"),
            false => {
                let header = ["until", "version", "rows", "estimate", "band", "when judged", "came out", "labels"];
                out.push_str(&table(&header, newest(&self.estimates.windows, estimate_line), 2));
            }
        }
        let score = &self.estimates.score;
        if score.error.count > 0 {
            out.push_str(&format!(
                "\nEstimates whose labels have come: {}, of which {} held what came out in their band; off by {} points on average,\n\
                 too {} by {}.\n",
                grouped(score.error.count),
                grouped(score.within),
                points(score.distance.mean),
                if score.error.mean >= 0.0 { "high" } else { "low" },
                points(score.error.mean.abs()),
            ));
        }
        out.push_str(&format!(
            "\nLabels: {} of the newest {} rows have theirs\n\n",
            grouped(self.maturity.known),
            grouped(self.maturity.rows)
        ));
        let line = |share: f64| vec![percent(share), self.maturity.age_of(share).map_or_else(|| "not seen yet".to_owned(), age)];
        out.push_str(&table(&["share known", "by age"], SHARES.map(line).to_vec(), 0));
        out
    }

    fn value(&self) -> Value {
        let realised = self.realised.iter().map(|point| {
            let (low, high) = interval(point);
            json!({ "at": point.at, "version": point.version, "rows": point.rows, "right": point.right, "served": point.served,
                "low": low, "high": high })
        });
        let ages = SHARES.iter().map(|share| json!({ "share": share, "age_s": self.maturity.age_of(*share) }));
        json!({
            "realised": realised.collect::<Vec<_>>(),
            "estimated": self.estimates.windows,
            "estimate_score": self.estimates.score,
            "labels": {
                "rows": self.maturity.rows,
                "known": self.maturity.known,
                "ages": ages.collect::<Vec<_>>(),
                "curve": self.maturity.thinned(STEPS_MAX),
            },
        })
    }
}

fn newest<T>(all: &[T], line: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    all[all.len().saturating_sub(LINES_MAX)..].iter().map(line).collect()
}

fn realised_line(point: &QualityPoint) -> Vec<String> {
    let (low, high) = interval(point);
    let share = point.right as f64 / point.rows.max(1) as f64;
    vec![point.event_time.to_string(), point.version.to_string(), grouped(point.rows), percent(share), between(low, high)]
}

fn estimate_line(window: &EstimateWindow) -> Vec<String> {
    let accuracy = &window.accuracy;
    vec![
        format!("row {}", grouped(window.rows.1.saturating_sub(1))),
        window.version.to_string(),
        grouped(window.estimated),
        percent(accuracy.value),
        between(accuracy.band.0, accuracy.band.1),
        percent(window.reference),
        window.realised().map_or_else(|| "–".to_owned(), percent),
        grouped(window.labelled),
    ]
}

/// The interval of a point's share of right answers.
fn interval(point: &QualityPoint) -> (f64, f64) {
    wilson(point.right as f64, point.rows as f64, (1.0 - CONFIDENCE) / 2.0)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn points(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn between(low: f64, high: f64) -> String {
    format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)
}

/// An age in the largest unit of which it has one.
fn age(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs_f64();
    let (unit, name) = match whole {
        age if age >= 86_400.0 => (86_400.0, "d"),
        age if age >= 3_600.0 => (3_600.0, "h"),
        age if age >= 60.0 => (60.0, "min"),
        _ => (1.0, "s"),
    };
    format!("{:.1} {name}", whole / unit)
}
