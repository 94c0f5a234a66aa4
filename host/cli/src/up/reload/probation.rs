//! The first calls of what is new, a build or its settings: it is taken back when one of them goes wrong, or out of the band that the
//! shadow run showed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidegate_pipeline::{AlertPort, CleanPort, EvaluatePort, SourcePort};
use tidegate_sandbox::{Alert, CallError, Cleaned, LastWords, Pull};
use tidegate_vocab::{Batch, MetricInfo, MetricTerms, StateChanges, StateEntries};
use tokio::sync::watch;
use tokio::time::Instant;

/// How many times as long as in the shadow run a row may take.
const SLOWER_MAX: f64 = 10.0;
/// What any call may take, however few its rows.
const CALL_MS_FREE: u64 = 250;
/// Rows of a batch from which on its share of dropped rows says something.
const ROWS_MIN: u64 = 100;

/// What is expected of each call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Band {
    /// Seconds that one row took in the shadow run; nothing is expected where that is not known.
    pub seconds_per_row: Option<f64>,
    /// The share of rows that was dropped in it, and how far the share of a batch may be from that.
    pub dropped: Option<(f64, f64)>,
}

/// How a probation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Calls are left.
    Open,
    /// It stood it.
    Proven,
    /// It did not.
    Failed(String),
}

/// What is on probation, shared by all places that use it. It is made with the instances that it watches, before anybody calls them,
/// and begins when they are put in place.
#[derive(Debug)]
pub struct Probation {
    /// Known once there was a shadow run.
    band: OnceLock<Band>,
    calls_left: AtomicU32,
    standing: watch::Sender<Standing>,
}

impl Probation {
    /// A probation that has not begun: calls are let pass.
    pub fn resting() -> Arc<Probation> {
        Arc::new(Probation { band: OnceLock::new(), calls_left: AtomicU32::new(0), standing: watch::Sender::new(Standing::Open) })
    }

    /// The next `calls` calls decide; none at all when that is 0. It begins once.
    pub fn begin(&self, calls: u32, band: Band) {
        if self.band.set(band).is_err() {
            return;
        }
        if calls == 0 {
            self.standing.send_replace(Standing::Proven);
        }
        self.calls_left.store(calls, Ordering::Release);
    }

    /// How it stands, for whoever must not keep it: it ends without a result when no place uses its build any more.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn is_over(&self) -> bool {
        self.calls_left.load(Ordering::Acquire) == 0
    }

    fn fail(&self, why: String) {
        self.calls_left.store(0, Ordering::Relaxed);
        self.standing.send_if_modified(|standing| {
            let is_open = *standing == Standing::Open;
            if is_open {
                *standing = Standing::Failed(why);
            }
            is_open
        });
    }

    /// One call of `rows` rows, of which `dropped` were dropped.
    fn called<T>(&self, rows: u64, took: Duration, result: &Result<T, CallError>, dropped: impl Fn(&T) -> Option<u64>) {
        if self.is_over() {
            return;
        }
        let band = self.band.get().copied().unwrap_or_default();
        let called = match result {
            // The world's fault, as it says itself.
            Err(CallError::Refused { failure, .. }) if failure.retryable => return,
            Err(error) => return self.fail(error.to_string()),
            Ok(called) => called,
        };
        if let Some(per_row) = band.seconds_per_row {
            let free = Duration::from_millis(CALL_MS_FREE).as_secs_f64();
            let most = free + SLOWER_MAX * per_row * rows as f64;
            if took.as_secs_f64() > most {
                let ms = took.as_secs_f64() * 1e3;
                return self.fail(format!("a call with {rows} rows took {ms:.0} ms; by its shadow run, {:.0} ms is the most", most * 1e3));
            }
        }
        if let (Some((usual, most)), Some(dropped)) = (band.dropped, dropped(called))
            && rows >= ROWS_MIN
        {
            let share = dropped as f64 / rows as f64;
            if (share - usual).abs() > most {
                return self.fail(format!("it dropped {:.1} % of {rows} rows; in its shadow run it was {:.1} %", share * 1e2, usual * 1e2));
            }
        }
        if self.calls_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.standing.send_if_modified(|standing| {
                let is_open = *standing == Standing::Open;
                if is_open {
                    *standing = Standing::Proven;
                }
                is_open
            });
        }
    }
}

/// Waits for the end of a probation; `None` when its build was replaced before.
pub async fn end_of(mut standing: watch::Receiver<Standing>) -> Option<Standing> {
    standing.wait_for(|standing| *standing != Standing::Open).await.map(|end| end.clone()).ok()
}

/// A plugin on probation.
pub struct Watched<P: ?Sized> {
    /// The plugin.
    pub port: Box<P>,
    /// What is noted of its calls.
    pub probation: Arc<Probation>,
}

impl<P: ?Sized> Watched<P> {
    fn call<T>(
        &mut self,
        rows: u64,
        call: impl FnOnce(&mut P) -> Result<T, CallError>,
        dropped: impl Fn(&T) -> Option<u64>,
    ) -> Result<T, CallError> {
        let start = Instant::now();
        let result = call(&mut self.port);
        self.probation.called(rows, start.elapsed(), &result, dropped);
        result
    }
}

impl CleanPort for Watched<dyn CleanPort> {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        self.call(rows.row_count() as u64, |port| port.clean(rows), |cleaned| Some(cleaned.damage.rows_dropped))
    }

    fn keeps_state(&self) -> bool {
        self.port.keeps_state()
    }

    fn clean_keeping(&mut self, rows: &Batch, kept: &Arc<StateEntries>) -> Result<(Cleaned, StateChanges), CallError> {
        // What it drops depends on what it remembers, and in the shadow run that was little.
        self.call(rows.row_count() as u64, |port| port.clean_keeping(rows, kept), |_| None)
    }

    fn state_keys(&self) -> Vec<Box<[u8]>> {
        self.port.state_keys()
    }

    fn last_words(&self) -> LastWords {
        self.port.last_words()
    }
}

impl EvaluatePort for Watched<dyn EvaluatePort> {
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        self.port.metrics()
    }

    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        self.call(scored.row_count() as u64, |port| port.evaluate(scored), |_| None)
    }

    fn needs_latency(&self) -> bool {
        self.port.needs_latency()
    }
}

impl SourcePort for Watched<dyn SourcePort> {
    fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError> {
        self.port.open(cursor)
    }

    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, CallError> {
        self.call(u64::from(rows_max), |port| port.next(rows_max, bytes_max), |_| None)
    }
}

impl AlertPort for Watched<dyn AlertPort> {
    fn notify(&mut self, alert: &Alert) -> Result<(), CallError> {
        self.call(1, |port| port.notify(alert), |_| None)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sandbox::Failure;

    use super::*;

    const BAND: Band = Band { seconds_per_row: Some(1e-6), dropped: Some((0.1, 0.2)) };

    fn begun(calls: u32) -> Arc<Probation> {
        let probation = Probation::resting();
        probation.begin(calls, BAND);
        probation
    }

    fn refused(retryable: bool) -> CallError {
        let failure = Failure { code: 1, message: "no".into(), retryable, retry_after_ms: None, issues: Vec::new(), grant: None };
        CallError::Refused { plugin: "a".parse().unwrap(), step: "clean", failure }
    }

    /// Where a probation of three calls stands after `calls`: rows, milliseconds, and rows dropped or the error.
    #[track_caller]
    fn check(calls: &[(u64, u64, Result<u64, CallError>)], expected: &str) {
        let probation = begun(3);
        for (rows, ms, result) in calls {
            probation.called(*rows, Duration::from_millis(*ms), result, |dropped| Some(*dropped));
        }
        let standing = match &*probation.standing.borrow() {
            Standing::Open => "open".to_owned(),
            Standing::Proven => "proven".to_owned(),
            Standing::Failed(why) => why.clone(),
        };
        assert!(standing.contains(expected), "{standing}");
    }

    #[tokio::test]
    async fn the_probation_of_a_build_that_nobody_uses_any_more_ends() {
        let probation = begun(3);
        let standing = probation.watch();
        drop(probation);
        assert_eq!(end_of(standing).await, None);
        let probation = begun(3);
        let standing = probation.watch();
        probation.fail("why".into());
        drop(probation);
        assert_eq!(end_of(standing).await, Some(Standing::Failed("why".into())));
    }

    #[test]
    fn a_build_is_proven_by_its_calls() {
        check(&[(1000, 1, Ok(100)), (1000, 1, Ok(0))], "open");
        check(&[(1000, 1, Ok(100)), (1000, 1, Ok(0)), (1000, 1, Ok(300))], "proven");
        check(&[(1000, 1, Err(refused(true)))], "open");
        check(&[(1000, 1, Err(refused(false)))], "refused in step `clean`: no");
        check(&[(1000, 1, Ok(301))], "it dropped 30.1 % of 1000 rows; in its shadow run it was 10.0 %");
        // Too few rows say nothing.
        check(&[(99, 1, Ok(99))], "open");
        check(&[(1000, 260, Ok(100))], "open");
        check(&[(1000, 261, Ok(100))], "a call with 1000 rows took 261 ms; by its shadow run, 260 ms is the most");
        // What happens after its end is not its business.
        check(&[(1, 1, Ok(0)), (1, 1, Ok(0)), (1, 1, Ok(0)), (1000, 9999, Ok(1000))], "proven");
    }

    #[test]
    fn calls_before_it_begins_decide_nothing() {
        let probation = Probation::resting();
        probation.called(1, Duration::ZERO, &Err::<u64, _>(refused(false)), |_| None);
        assert_eq!(*probation.standing.borrow(), Standing::Open);
        probation.begin(1, BAND);
        probation.called(1, Duration::ZERO, &Err::<u64, _>(refused(false)), |_| None);
        assert!(matches!(&*probation.standing.borrow(), Standing::Failed(_)));
        assert_eq!(*begun(0).standing.borrow(), Standing::Proven);
    }
}
