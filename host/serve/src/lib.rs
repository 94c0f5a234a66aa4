//! HTTP: inference, labels, metrics, the status page. Sees the rest of the host through its [`Ports`].

mod ports;
mod status;

pub use ports::{Arm, Clean, CleanedRequest, LabelError, LabelSink, LabelsAdded, ModelRoute, Ports, PredictionSink, Routes, Views};
pub use status::{ChampionStatus, Move, Node, PipelineStatus, PluginStatus, Reload, RunStatus, Status};
