//! Write Tidegate plugins in Rust.
//!
//! A plugin is a type that implements one of four traits and is exported once: [`Source`] (rows in), [`Cleaner`] (rows to rows),
//! [`Evaluator`] (predictions and labels to statistics) or [`Alerter`] (an alert out). Rows stay with the host: a [`Batch`] is read
//! column by column, an [`Edit`] is asked for, a [`BatchBuilder`] is filled, a [`Report`] is told. What a plugin says in its
//! `plugin.toml` is embedded in the component by [`export!`], so that one file describes itself.
//!
//! The crate builds for `wasm32-wasip2` and, over an in-memory host, for the machine you work on: there `testing` runs a plugin's
//! logic in ordinary unit tests. Start with [`Cleaner`]; each trait's documentation has the example of its kind.
#![deny(unsafe_code)]

mod alerter;
mod batch;
#[cfg(target_family = "wasm")]
mod bindings;
mod builder;
mod cleaner;
pub mod clock;
mod config;
mod edit;
mod evaluator;
mod export;
mod failure;
pub mod http;
mod input;
pub mod log;
#[cfg(not(target_family = "wasm"))]
mod memory;
mod report;
mod source;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[cfg(target_family = "wasm")]
use bindings::host;
#[cfg(not(target_family = "wasm"))]
use memory as host;

pub use alerter::{Alert, Alerter};
pub use batch::{Batch, Column, Text, Values, WINDOW_ROWS};
pub use builder::{BatchBuilder, NewColumn, TextBuilder};
pub use cleaner::Cleaner;
pub use edit::Edit;
pub use evaluator::{Evaluator, Metric};
pub use failure::{Failure, Issue, Issues};
pub use input::Input;
pub use report::Report;
pub use source::{Pull, Reader, Source};

#[doc(hidden)]
pub use export::private as __private;
