//! Datasets: raw rows, the contract they must keep, immutable parts, and snapshots with splits in time.
//!
//! A batch of a source goes through here in this order: [`encode_raw`] keeps it as it came; [`typed`] gives its columns the
//! contract's types; cleaners edit the features (not here: `sandbox`); [`clean_part`] checks what they left, numbers the rows and
//! makes the [`CleanPart`](tidegate_vocab::CleanPart) with its Parquet file. [`plan_snapshot`] fixes which rows a run trains on,
//! [`read_snapshot`] and [`read_rows`] give them back.
//!
//! Invariant: of the rows of a raw part, every one is either in the cleaned part or quarantined with exactly one reason. The same
//! input gives the same bytes: no time, thread or machine is in a file. A snapshot's id depends on nothing but its content.
//!
//! It refuses to guess: a contract column that vanished or changed its type stops the ingest ([`DatasetError::ContractBroken`])
//! instead of quarantining all that follows. It opens no file; bytes come from and go to `store`'s `Blobs`.
//!
//! Read [`Typed`] first, then [`clean_part`].

mod assemble;
mod cell;
mod chain;
mod check;
mod clean_file;
mod contract_diff;
mod contract_toml;
mod decimal;
mod error;
mod infer;
mod late;
mod part_cache;
mod raw_file;
mod read;
mod readmitted;
mod show;
mod snapshot;
mod state_file;
mod typed;

#[cfg(test)]
mod sample;

pub use assemble::{Assembled, BY_CONTRACT, CleanerStep, KnownTime, assemble, clean_part};
pub use chain::chain_digest;
pub use check::check;
pub use clean_file::{decode_clean, encode_clean};
pub use contract_diff::{ContractDifference, contract_difference};
pub use contract_toml::to_toml;
pub use error::DatasetError;
pub use infer::{InferOptions, Inference, infer};
pub use late::{LateLabels, PartReader};
pub use part_cache::PartCache;
pub use raw_file::{decode_raw, encode_raw};
pub use read::{read_history, read_rows, read_snapshot, rows_of};
pub use readmitted::readmitted;
pub use show::{ShownRow, shown_rows};
pub use snapshot::{SnapshotRequest, plan_snapshot};
pub use state_file::{decode_state, encode_state, layers_to_merge, merged_state};
pub use typed::{TYPE_CHANGED_ROWS_MIN, Typed, typed};
