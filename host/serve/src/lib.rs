//! HTTP: inference, labels, metrics, the status page. Sees the rest of the host through its [`Ports`].
//!
//! Invariant: a request sees one state of [`Routes`], the version that answered is in its reply, and whatever a request holds can end
//! that request only. A guest that hangs holds a thread of its own, never one that reads HTTP.
//!
//! It refuses to know stores, plugins and the loop; to move a champion; and to say that it is well when it is not: what it cannot
//! do has a status, and a sentence that names the thing, what was expected and found, and the way out.
//!
//! A request is told once: [`Server`] accepts its connection → `app` asks `guard` whether it may, and finds its function → `infer`
//! reads the body ([`ServeSettings`] bounds it), sorts tensors into columns, runs serving cleaners and the model, writes the reply →
//! the rows go to the [`PredictionSink`].
//!
//! Read [`Ports`] first, then [`Server`] and [`Bound`], then [`TokenFile`]. To add a route: a line in `app.rs`, and one in
//! `guard.rs` if not only operators may use it. To add a metric of a state: a family in `exposition.rs`.

mod ports;
mod settings;
mod status;

mod error;
mod server;
mod token_file;
mod tokens;
mod traffic;
mod triggers;

mod app;
mod body;
mod events;
mod exposition;
mod guard;
mod infer;
mod labels;
mod metrics;
mod models;
mod page;
mod refusal;

pub use error::ServeError;
pub use ports::{
    Arm, Clean, CleanedRequest, LabelError, LabelSink, LabelsAdded, ModelRoute, Ports, PredictionSink, Routes, TriggerError, TriggerSink,
    Views,
};
pub use server::{Bound, Server};
pub use settings::{BODY_BYTES_LARGE, ServeSettings};
pub use status::{
    ChampionStatus, DeadLetterStatus, DriftStatus, EstimateStatus, Move, Node, PipelineStatus, PluginStatus, Reload, RolloutStatus,
    RunStatus, SettingsStatus, Status, StruckStatus,
};
pub use token_file::TokenFile;
pub use tokens::{Token, TokenRole, Tokens};
pub use traffic::{ArmFault, Ended, Mirrored, Place, RolloutRoute, Traffic};
