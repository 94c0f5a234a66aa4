//! The nouns of Tidegate: every word in the glossary that is data has its type here, and nothing here does I/O.
//!
//! Invariant: ids are digests of content or numbers handed out by the store; a value of these types never changes after it
//! was made. Time and chance are arguments: [`Clock`] and [`Seed`] are the only ways to either.
//!
//! Read [`Batch`] and [`Contract`] first, then [`Snapshot`], [`ModelVersion`], [`Terms`] and [`Decision`]. Stored forms of these
//! types are JSON; `tests/stored_forms.rs` pins their bytes.

mod batch;
mod clock;
mod contract;
mod decision;
mod digest;
mod feedback;
mod id;
mod kept_rows;
mod keyed_state;
pub mod limits;
mod measurement;
mod part;
mod run;
mod seed;
mod snapshot;
mod version;

pub use batch::{Batch, BatchError, DType, Role};
pub use clock::{Clock, SimulatedClock, Timestamp};
pub use contract::{Contract, ContractColumn, LabelColumn, TimeColumn, TimeUnit};
pub use decision::{DecidedBy, Decision, DecisionKind, Evidence, RuleVerdict, Verdict};
pub use digest::{Digest, DigestParseError};
pub use feedback::{LateLabel, LoggedPrediction, QualityPoint, TrafficArm};
pub use id::{IdError, PipelineId, PluginName, RunId, VersionNo};
pub use kept_rows::{KeptPositions, KeptRows};
pub use keyed_state::{CleanerState, StateChanges, StateEntries, StateLayer, StateSeen, entry_bytes};
pub use measurement::{ClassTerms, Measurement, MetricInfo, MetricTerms, Terms};
pub use part::{CleanPart, Quarantined, RawPart, RowColumns};
pub use run::{Run, RunState};
pub use seed::Seed;
pub use snapshot::{Snapshot, SnapshotPart, Split};
pub use version::{Alias, ModelVersion, ServingCleaner, VersionState};
