//! Everything that can happen to a pipeline.

use tidegate_vocab::VersionNo;

use crate::Answered;

/// What a driver asks of a pipeline. Handling one event ends with at most one commit a transition, so that a crash between two
/// events loses nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Ask the source for at most so many rows and commit them raw, with the cursor.
    Poll {
        /// The most rows to take.
        rows_max: u32,
    },
    /// Derive the cleaned parts of raw parts that have none.
    Clean,
    /// Score the rows whose labels have become known, feed the detectors, and start a run if a trigger is due.
    Observe,
    /// Start a run because a person said so.
    Manual {
        /// Who, as the journal will show it.
        by: String,
    },
    /// Remember that somebody posted to the host.
    Posted {
        /// The name of the `webhook` trigger.
        name: String,
    },
    /// Take the open run one transition further.
    Advance,
    /// A version that is rolled out was loaded and asked in a fresh process.
    Checked {
        /// Which.
        version: VersionNo,
        /// What that showed, or why the version does not do, as the part of a sentence.
        found: Result<String, String>,
    },
    /// Requests were answered while a version is rolled out.
    Answered(Box<Answered>),
}

/// What handling an event came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be done.
    Nothing,
    /// So many rows were committed.
    Rows(u64),
    /// The source has nothing now.
    Idle,
    /// The source will never have anything again.
    Finished,
    /// The pipeline moved: a run was started or went on.
    Moved,
    /// The open run waits until so many more labelled rows have arrived.
    Waiting {
        /// Rows still missing.
        rows: u64,
    },
}
