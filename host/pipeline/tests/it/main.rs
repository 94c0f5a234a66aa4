//! The loop under simulation: scripted plugins, a model of the store, a simulated clock, and crashes at every commit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod audit;
mod crashes;
mod data_life;
mod drift;
mod estimates;
mod failures;
mod guard;
mod lags;
mod loop_;
mod rollout;
mod scripted;
mod simulation;
mod state;
mod terms;
