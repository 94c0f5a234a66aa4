//! Tests of `policy` through its public functions: fixtures from other libraries, gates as tables, properties, simulations.

mod adwin;
mod canary;
mod cases;
mod configuration;
mod detectors;
mod drift;
mod estimates;
mod explain;
mod gate;
mod simulation;
mod statistics;
mod triggers;
mod two_sample;
