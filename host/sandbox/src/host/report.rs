//! `measurements.report`: what an evaluator measured, row by row.
//!
//! Invariant: every list has one entry a row of the scored batch and no infinity; a metric was declared by `metrics`, and is
//! reported once (a class of it once).

use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{ClassTerms, MetricInfo, MetricTerms, Terms};
use wasmtime::component::Resource;

use crate::bindings::shared::measurements::{Host, HostReport as HostReportCalls};
use crate::bindings::shared::rows::DataError;
use crate::call::quoted;

use super::kernels::canonical_nans;
use super::{BAD_VALUE, HostState, NOT_DECLARED, OVER_LIMIT, WRONG_LENGTH, data_error};

/// A report in the resource table.
pub struct HostReport {
    rows: usize,
    declared: Vec<MetricInfo>,
    reported: Vec<MetricTerms>,
    limits: PluginLimits,
    bytes: u64,
}

impl HostReport {
    pub(crate) fn new(rows: usize, declared: Vec<MetricInfo>, limits: PluginLimits) -> HostReport {
        HostReport { rows, declared, reported: Vec::new(), limits, bytes: 0 }
    }

    pub(crate) fn finish(self) -> Vec<MetricTerms> {
        self.reported
    }

    fn declared(&self, metric: &str) -> Result<MetricInfo, DataError> {
        let found = self.declared.iter().find(|declared| declared.name == metric);
        found.cloned().ok_or_else(|| data_error(NOT_DECLARED, "`metrics` did not declare a metric of this name"))
    }

    fn check_list(&mut self, values: &mut [f64]) -> Result<(), DataError> {
        self.check_length(values.len(), 8)?;
        canonical_nans(values);
        if values.iter().any(|value| value.is_infinite()) {
            return Err(data_error(BAD_VALUE, "a term is infinite; NaN says that a row does not count"));
        }
        Ok(())
    }

    fn check_length(&mut self, length: usize, width: u64) -> Result<(), DataError> {
        if length != self.rows {
            return Err(data_error(WRONG_LENGTH, format!("the list has {length} entries, the scored batch has {} rows", self.rows)));
        }
        let held = self.bytes + length as u64 * width;
        if held > self.limits.output_bytes_max {
            return Err(data_error(OVER_LIMIT, format!("`output_bytes_max` is {}", self.limits.output_bytes_max)));
        }
        self.bytes = held;
        Ok(())
    }

    fn push(&mut self, metric: &str, terms: Terms) -> Result<(), DataError> {
        let metric = self.declared(metric)?;
        if self.reported.iter().any(|reported| reported.metric.name == metric.name) {
            return Err(data_error(BAD_VALUE, format!("the metric `{}` was reported already", metric.name)));
        }
        self.reported.push(MetricTerms { metric, terms });
        Ok(())
    }

    fn push_class(&mut self, metric: &str, terms: ClassTerms) -> Result<(), DataError> {
        let metric = self.declared(metric)?;
        let most = self.limits.metadata_entries_max as usize;
        let Some(reported) = self.reported.iter_mut().find(|reported| reported.metric.name == metric.name) else {
            self.reported.push(MetricTerms { metric, terms: Terms::ClassRatio { classes: vec![terms] } });
            return Ok(());
        };
        match &mut reported.terms {
            Terms::ClassRatio { classes } if classes.len() >= most => {
                Err(data_error(OVER_LIMIT, format!("a metric has at most {most} classes")))
            }
            Terms::ClassRatio { classes } if classes.iter().all(|class| class.class != terms.class) => {
                classes.push(terms);
                Ok(())
            }
            _ => Err(data_error(BAD_VALUE, format!("the metric `{}` was reported already", metric.name))),
        }
    }
}

impl HostState {
    fn reported(
        &mut self,
        report: &Resource<HostReport>,
        with: impl FnOnce(&mut HostReport) -> Result<(), DataError>,
    ) -> wasmtime::Result<Result<(), DataError>> {
        self.count_call()?;
        let result = with(self.table.get_mut(report)?);
        if let Err(error) = &result
            && error.code == OVER_LIMIT
        {
            let limit = if error.message.contains("output_bytes_max") { "output_bytes_max" } else { "metadata_entries_max" };
            self.limiter.reached(limit, || format!("its report is too large: {}", error.message));
        }
        Ok(result)
    }
}

impl Host for HostState {}

impl HostReportCalls for HostState {
    fn mean(&mut self, this: Resource<HostReport>, metric: String, mut values: Vec<f64>) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            report.check_list(&mut values)?;
            report.push(&metric, Terms::Mean { values })
        })
    }

    fn ratio(
        &mut self,
        this: Resource<HostReport>,
        metric: String,
        mut numerators: Vec<f64>,
        mut denominators: Vec<f64>,
    ) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            report.check_list(&mut numerators)?;
            report.check_list(&mut denominators)?;
            report.push(&metric, Terms::Ratio { numerators, denominators })
        })
    }

    fn class_ratio(
        &mut self,
        this: Resource<HostReport>,
        metric: String,
        class: String,
        mut numerators: Vec<f64>,
        mut denominators: Vec<f64>,
    ) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            report.check_list(&mut numerators)?;
            report.check_list(&mut denominators)?;
            if quoted(&class, report.limits.metadata_bytes_max) != class {
                return Err(data_error(BAD_VALUE, "a class is at most `metadata_bytes_max` bytes without control characters"));
            }
            report.push_class(&metric, ClassTerms { class, numerators, denominators })
        })
    }

    fn quantile(
        &mut self,
        this: Resource<HostReport>,
        metric: String,
        q: f64,
        mut values: Vec<f64>,
    ) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            report.check_list(&mut values)?;
            if !(0.0..=1.0).contains(&q) {
                return Err(data_error(BAD_VALUE, format!("the quantile {q} is not between 0 and 1")));
            }
            report.push(&metric, Terms::Quantile { q, values })
        })
    }

    fn ranking(
        &mut self,
        this: Resource<HostReport>,
        metric: String,
        mut values: Vec<f64>,
        labels: Vec<u8>,
    ) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            report.check_list(&mut values)?;
            report.check_length(labels.len(), 1)?;
            if labels.iter().any(|label| *label > 1) {
                return Err(data_error(BAD_VALUE, "a label of a ranking is 0 or 1"));
            }
            report.push(&metric, Terms::Ranking { values, labels })
        })
    }

    fn opaque(&mut self, this: Resource<HostReport>, metric: String, value: f64, count: u64) -> wasmtime::Result<Result<(), DataError>> {
        self.reported(&this, |report| {
            if !value.is_finite() {
                return Err(data_error(BAD_VALUE, format!("the value {value} is not finite")));
            }
            report.push(&metric, Terms::Opaque { value, count })
        })
    }

    fn drop(&mut self, this: Resource<HostReport>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
