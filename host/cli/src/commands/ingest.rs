//! `tidegate ingest`: pull, clean and commit new rows.

use serde_json::json;
use tidegate_pipeline::{Observer, ingest_all};
use tidegate_policy::GateRows;

use super::{chosen, config};
use crate::args::Global;
use crate::compose;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// Ingests what the source has, and says what became of the rows.
///
/// # Errors
/// A [`Failure`] that names the step, the plugin and the rows; everything committed before stays.
pub fn ingest(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    config.check_files()?;
    config.unserved("ingest").iter().for_each(|note| terminal.note(note));
    let chosen = chosen(&config, global)?;
    match compose::block_on(control::ask(&config, &chosen.id, Order::Ingest))? {
        Some(Answer::Ingested { rows, rows_total }) => {
            let text = || format!("{} new rows taken in by the running host; {} in all\n", grouped(rows), grouped(rows_total));
            terminal.result(text, || json!({ "rows": rows, "rows_total": rows_total }));
            return Ok(Exit::Ok);
        }
        Some(_) => return Err(control::misunderstood()),
        None => {}
    }
    compose::with_state(&config, async |state| {
        let observer = Box::new(Rows(Progress::start(terminal, "ingest")));
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::Arriving, observer).await?;
        compose::make_room(&config, state).await?;
        let ingested = ingest_all(&mut pipeline).await?;
        let kept_out = state_of_rows(state, chosen, &pipeline).await?;
        let out: u64 = kept_out.iter().map(|(_, _, rows)| rows).sum();
        let text = || {
            let mut text = format!(
                "{} new rows in {} parts; {} in all, {} of them quarantined\n",
                grouped(ingested.rows),
                grouped(ingested.polls),
                grouped(pipeline.rows_total()),
                grouped(out)
            );
            if !kept_out.is_empty() {
                let rows = kept_out.iter().map(|(by, reason, rows)| vec![by.clone(), reason.clone(), grouped(*rows)]);
                text.push_str(&table(&["by", "reason", "rows"], rows.collect(), 2));
            }
            text
        };
        let reasons: Vec<_> = kept_out.iter().map(|(by, reason, rows)| json!({ "by": by, "reason": reason, "rows": rows })).collect();
        let value = || json!({ "rows": ingested.rows, "parts": ingested.polls, "rows_total": pipeline.rows_total(), "quarantined": out, "reasons": reasons });
        terminal.result(text, value);
        Ok(Exit::Ok)
    })
}

/// How many rows were quarantined, by whom and why.
async fn state_of_rows(
    state: &tidegate_store::StateFolder,
    chosen: &crate::config::PipelineConfig,
    pipeline: &tidegate_pipeline::Pipeline,
) -> Result<Vec<(String, String, u64)>, Failure> {
    use tidegate_store::MetaStore as _;
    let quarantined = state.meta.quarantined(&chosen.id, &pipeline.chain()).await?;
    let mut counts = std::collections::BTreeMap::<(String, String), u64>::new();
    for (_, group) in quarantined {
        *counts.entry((group.by, group.reason)).or_default() += group.rows.len() as u64;
    }
    Ok(counts.into_iter().map(|((by, reason), rows)| (by, reason, rows)).collect())
}

/// Shows rows as they are committed.
pub struct Rows(pub Progress);

impl Observer for Rows {
    fn committed(&mut self, _rows: u64, total: u64) {
        self.0.at(total, &format!("{} rows", grouped(total)));
    }
}
