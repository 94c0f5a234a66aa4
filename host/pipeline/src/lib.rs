//! The loop: what turns committed rows into runs, and decisions into moves of an alias.
//!
//! Two loops share the store. *Ingest* polls a source, commits raw rows with the cursor, cleans them and commits cleaned parts.
//! A *run* goes from a trigger over a snapshot, a challenger and its measurements to a decision. Both are driven by one closed
//! [`Event`]; `run`, `backtest` and a service differ only in which events they send and which clock they hand in.
//!
//! Invariants: everything is derived from what is committed, so that a process killed between two commits goes on where it
//! stopped; a trigger says when, never what; only a decision moves an alias, in the commit that holds it.
//!
//! Read [`Event`] and [`Pipeline::handle`] first, then `ingest`, `clean`, `monitor`, `run`, `judge`.

mod alerts;
mod arriving;
mod audit;
mod backoff;
mod backtest;
mod blame;
mod bundle;
mod clean;
mod contract;
mod damage;
mod dead_letters;
mod drift;
mod drive;
mod error;
mod estimates;
mod event;
mod evidence;
mod guard;
mod halves;
mod ingest;
mod judge;
mod kept;
mod lagged;
mod loop_state;
mod memory;
mod models;
mod monitor;
mod operator;
mod pending;
mod pipeline;
mod ports;
mod pull;
mod quality;
mod quarantine;
mod retention;
mod rollout;
mod run;
mod samples;
mod settings;
mod strikes;
mod terms;
mod training;
mod trial;

pub use audit::{Recipe, Sibling, Tried};
pub use backoff::{BACKOFF_MS, Backoff, RETRY_AFTER_MS_MAX};
pub use backtest::{Backtest, BacktestSettings, Mark, MarkKind, backtest};
pub use bundle::{Bundle, FailedCall, NotABundle, SeenCounts};
pub use contract::{accept_contract, accepted_contract};
pub use damage::{DAMAGE_ROWS_MIN, DamageBounds, DamageBreach, DamageDone};
pub use dead_letters::{DeadLetter, DeadLetters, DroppedRows, Retried, dead_letters, drop_dead_letter, retry_dead_letters};
pub use drift::{DriftBook, DriftReferences, DriftedWindow};
pub use drive::{Ingested, RunEnd, SourceState, ingest_all, ingest_some, run_once};
pub use error::PipelineError;
pub use estimates::{EstimateWindow, Estimates};
pub use event::{Event, Outcome};
pub use evidence::StoredTerms;
pub use guard::GuardBook;
pub use lagged::CleanRows;
pub use loop_state::LoopState;
pub use monitor::ScoredRow;
pub use operator::{import, promote, roll_back};
pub use pipeline::{Observer, Pipeline, Replacement, Silent, chain_of};
pub use ports::{AlertPort, CleanPort, EvaluatePort, PluginStep, Plugins, SourcePort, Stores, cleaner_settings};
pub use quality::QualityHistory;
pub use quarantine::{CleanedAgain, Readmission, Readmitted, clean_again, readmit, readmitted_rows};
pub use retention::{Collected, Collection, Retention, Subject, collect, make_room};
pub use rollout::{Answered, QuarantinedFingerprint, Rollout, RolloutBook};
pub use samples::SampleSize;
pub use settings::Settings;
pub use strikes::{
    FailureRules, Ledger, PluginQuarantine, Standing, Strike, Struck, plugin_standings, release_plugin, release_plugin_at_rest,
};
pub use terms::Terms;
pub use training::TrainingWork;
