//! `tidegate up`: the loop as a service.
//!
//! One [`actor`] a pipeline is its only writer: it polls, cleans, scores, starts runs, judges, and does what operators ask, one small
//! step at a time. Beside it stand the server, which reads who answers from a `watch`, the prediction log's writer, the watcher of the
//! plugin folder, and the control socket. They speak to an actor through its inbox, which is bounded, and to each other not at all.
//!
//! Invariant: nothing here decides anything. What is committed is committed by `pipeline`; a host that is killed at any instant goes on
//! from there.

mod actor;
mod board;
mod caretaker;
mod check;
pub mod control;
mod host;
mod labels;
mod observer;
mod prediction_log;
mod reload;
mod replay;
mod rolling;
mod routes;
mod traffic;
mod views;
mod webhooks;

pub use host::{Options, up};
pub use reload::{Attempt, SettingsAttempt};
pub use routes::load_arm;
