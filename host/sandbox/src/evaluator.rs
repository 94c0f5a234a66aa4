//! The handle of an evaluator.
//!
//! Invariant: an evaluator sees the model's answers and the labels, as far as it was granted them, never features and never which
//! version it scores; what it returns are terms by row, checked as they come.

use std::collections::HashSet;

use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{Batch, MetricInfo, MetricTerms};
use wasmtime::component::Resource;

use crate::bindings::evaluator::EvaluatorPlugin;
use crate::bindings::evaluator::exports::tidegate::plugin::evaluator::Metric;
use crate::call::{CallError, quoted};
use crate::columns::{self, Lens};
use crate::grants::PluginSettings;
use crate::host::report::HostReport;
use crate::host::rows::HostBatch;
use crate::instance::{Breach, Slot};
use crate::last_words::LastWords;
use crate::load::Plugin;

/// An evaluator in use.
pub struct Evaluator {
    slot: Slot<EvaluatorPlugin>,
    metrics: Option<Vec<MetricInfo>>,
}

impl Plugin {
    /// A handle of this evaluator, configured and probed.
    ///
    /// # Errors
    /// [`CallError`] when the plugin is no evaluator, does not accept the configuration or cannot be started.
    pub fn evaluator(&self, settings: &PluginSettings) -> Result<Evaluator, CallError> {
        Ok(Evaluator { slot: Slot::new(self, settings)?, metrics: None })
    }
}

impl Evaluator {
    /// What it left behind in the last call that ended badly.
    pub fn last_words(&self) -> &LastWords {
        self.slot.last_words()
    }

    /// Whether its manifest asks for something that the host makes only on demand, such as `latency`.
    pub fn asks_for(&self, capability: &str) -> bool {
        self.slot.manifest().capabilities.iter().any(|asked| asked == capability)
    }

    /// The metrics that it will report with its configuration.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails, or two metrics have one name.
    pub fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        if let Some(metrics) = &self.metrics {
            return Ok(metrics.clone());
        }
        let limits = self.slot.settings().limits;
        let metrics = self.slot.call("metrics", |store, guest| {
            let metrics = guest.tidegate_plugin_evaluator().call_metrics(store)?;
            Ok(checked(metrics, &limits))
        })?;
        self.metrics = Some(metrics.clone());
        Ok(metrics)
    }

    /// Scores a batch: its columns have the roles `id`, `time`, `label`, `prediction`, `probability:<class>` and so on; others are
    /// not shown.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails.
    pub fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        let declared = self.metrics()?;
        let grants = self.slot.settings().grants.clone();
        let lens = Lens::new(&grants, columns::evaluators);
        let view = HostBatch::new(scored.clone(), |name, role| lens.sees(name, role));
        let limits = self.slot.settings().limits;
        self.slot.call("evaluate", |store, guest| {
            let report = HostReport::new(view.batch.row_count(), declared, limits);
            let state = store.data_mut();
            state.about_rows(view.batch.row_count());
            let table = &mut state.table;
            let batch = table.push(view)?;
            let report = table.push(report)?;
            let (lent_batch, lent_report) = (Resource::new_borrow(batch.rep()), Resource::new_borrow(report.rep()));
            let result = guest.tidegate_plugin_evaluator().call_evaluate(&mut *store, lent_batch, lent_report)?;
            let state = store.data_mut();
            state.table.delete(batch)?;
            let report = state.table.delete(report)?;
            if let Err(failure) = &result {
                state.missed_column(lens, scored, &failure.message);
            }
            Ok(result.map_err(Breach::from).map(|()| report.finish()))
        })
    }
}

fn checked(metrics: Vec<Metric>, limits: &PluginLimits) -> Result<Vec<MetricInfo>, Breach> {
    let misfit = |wants: String, offers: String| Err(Breach::Misfit { wants, offers });
    if metrics.len() > limits.metadata_entries_max as usize {
        return misfit(format!("at most {} metrics", limits.metadata_entries_max), metrics.len().to_string());
    }
    let mut checked: Vec<MetricInfo> = Vec::with_capacity(metrics.len());
    let mut names = HashSet::new();
    for metric in metrics {
        let name = quoted(&metric.name, limits.metadata_bytes_max);
        if name.is_empty() || name != metric.name || quoted(&metric.unit, limits.metadata_bytes_max) != metric.unit {
            let wants = format!("names and units of at most {} bytes without control characters", limits.metadata_bytes_max);
            return misfit(wants, format!("`{}`", quoted(&metric.name, 64)));
        }
        if !names.insert(name.clone()) {
            return misfit("one metric of a name".into(), format!("two named `{name}`"));
        }
        checked.push(MetricInfo { name, unit: metric.unit, higher_is_better: metric.higher_is_better });
    }
    Ok(checked)
}
