//! Pure rules and statistics: is a trigger due, does a gate pass, promote, reject or hold.
//!
//! Invariant: every function here is a function of its arguments. There is no clock, no I/O, no async and no chance but the
//! [`Seed`](tidegate_vocab::Seed) handed in, so a decision can be replayed from stored terms and gives the same verdict, on any
//! machine and with any number of threads.
//!
//! Refused on purpose: comparing two models by their point values, intervals that assume independence where the configuration
//! says otherwise, and dropping a rule because there is no champion yet (see [`judge`]).
//!
//! Read [`Gate`] and [`judge`] first, then [`TriggerRule`] and [`TriggerState`]. The statistics underneath are [`statistic`],
//! the intervals ([`wilson`], [`tango`], [`mcnemar_mid_p`]) and [`Resampling`]; each names the source of its formula and is
//! checked against scipy, statsmodels, scikit-learn or river through `tests/fixtures`.

mod adwin;
mod arm;
mod baseline;
mod bootstrap;
mod brakes;
mod calibration;
mod canary;
mod cbpe;
mod comparison;
mod ddm;
mod delong;
mod drift;
mod error;
mod estimator;
mod explain;
mod gate;
mod guard;
mod interval;
mod judge;
mod kolmogorov;
mod kswin;
mod look;
mod maturity;
mod moments;
mod multiple;
mod outlook;
mod page_hinkley;
mod pairing;
mod period;
mod quality_drop;
mod rollout;
mod rule;
mod score;
mod sentence;
mod sequential;
mod slice;
mod statistic;
mod sums;
mod trigger;
mod trigger_state;
mod two_sample;
mod watcher;

pub use adwin::Adwin;
pub use arm::arm_of;
pub use baseline::{majority, no_change};
pub use bootstrap::{Resampling, bca_bounds, percentile_bounds};
pub use brakes::{Brakes, QuietHours};
pub use calibration::{Isotonic, calibration_error};
pub use canary::{ArmTally, Canary, CanaryEvidence, CanaryLook, CanaryMetric, CanarySettings, CanaryVerdict, HardFault, Outcome};
pub use cbpe::{Calibrate, Cbpe, CbpeEstimate, EstimateScore, Estimated, ScoredRows};
pub use ddm::{Ddm, Eddm};
pub use delong::DeLong;
pub use drift::{DriftColumn, DriftLook, DriftReference, DriftSettings, DriftState, DriftWindow, FeatureDrift};
pub use error::JudgeError;
pub use gate::{Approval, Dependence, Gate, GateIssue, GateRows, Interval, RowsMin};
pub use guard::{GuardSettings, GuardTally, GuardVerdict};
pub use interval::{mcnemar_mid_p, normal_quantile, tango, wilson};
pub use judge::{GateVerdict, JudgeInput, judge, shows_better, was_superior};
pub use kswin::Kswin;
pub use look::{ASSUMED_DISAGREEMENT, alpha_per_look, chance_to_pass, next_look, power_rows, rows_for_look, rows_min};
pub use maturity::{LabelAge, Maturity, MaturityStep};
pub use moments::Moments;
pub use multiple::{benjamini_hochberg, holm};
pub use outlook::outlook;
pub use page_hinkley::PageHinkley;
pub use period::Period;
pub use rollout::{RolloutSettings, ShadowTally};
pub use rule::{Against, MARGIN_DEFAULT, Rule, Test};
pub use score::{Scores, accuracy, f1, kappa_no_change, macro_f1};
pub use sequential::{always_valid_interval, harm_likelihood_ratio, mixture_likelihood_ratio};
pub use slice::{SLICE_COLUMNS_MAX, SLICES_MAX, SliceRows, SliceRule};
pub use statistic::{rows_counted, statistic};
pub use trigger::{Detector, TriggerKind, TriggerRule};
pub use trigger_state::{Due, DueReason, Moment, QualityEstimate, TriggerState, due, manual_held};
pub use two_sample::{TestResult, chi_squared, jensen_shannon, ks, ks_p, psi, psi_p, psi_threshold, wasserstein};
