//! Everything that outlives the process: the only crate that touches files and databases.
//!
//! Three traits, one a kind of thing that is kept: [`MetaStore`] (what happened to which run, version and row; one
//! transaction a commit), [`Blobs`] (bytes named by their digest) and [`WorkQueue`] (idempotent pieces of batch work under
//! leases). [`SqliteStore`] and [`ObjectBlobs`] implement them; `tidegate-testkit` has one conformance suite a trait, which
//! every backend passes.
//!
//! Invariant: the metadata store is the only commit point. Every write carries a [`Fence`] and what its writer expects to find;
//! a commit whose fence is stale or whose expectation does not hold leaves nothing behind. Blobs that no commit names are
//! garbage, never truth.
//!
//! It refuses: listing an object store for truth, an alias that moves without a decision, a state that may not follow another,
//! a folder of a newer version, bytes whose digest is not their name.
//!
//! Read [`MetaStore`] and [`Write`] first, then [`StateFolder`], which is what a process opens.

mod blobs;
mod commit;
mod durable;
mod entries;
mod error;
mod feedback;
mod folder;
mod journal;
mod lock;
mod meta;
mod object_blobs;
mod sqlite;
mod upkeep;
mod work;
mod write;

pub use blobs::{Blob, Blobs, ListedBlob};
pub use entries::{EntriesRemoved, EntryFolder};
pub use error::StoreError;
pub use feedback::{ArrivedLabel, Feedback, LabelsKept};
pub use folder::StateFolder;
pub use journal::{JournalEntry, JournalHead, JournalLine};
pub use lock::FolderLock;
pub use meta::{AliasMove, Fence, MetaStore};
pub use object_blobs::ObjectBlobs;
pub use sqlite::SqliteStore;
pub use upkeep::{Upkeep, digests_in, layers_of, named_blobs};
pub use work::{Leased, WorkQueue, WorkUnit};
pub use write::Write;
