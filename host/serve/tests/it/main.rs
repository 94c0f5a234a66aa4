//! The server through its sockets, with scripted ports.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not hold")]

mod bad_requests;
mod harness;
mod inference;
mod labels;
mod limits;
mod metrics;
mod page;
mod rollout;
mod samples;
mod tokens;
