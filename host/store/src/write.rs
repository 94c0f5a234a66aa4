//! What a commit can hold.

use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Decision, Digest, ModelVersion, RawPart, Run, RunState, Snapshot, Timestamp, VersionNo, VersionState,
};

/// One write of a commit. Each says what it expects to find; if it finds something else, the whole commit is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The next rows: `first_row` must be the number of rows so far, and there must be at least one row.
    RawPart(RawPart),
    /// Where the source goes on.
    Cursor {
        /// The cursor now.
        expected: Option<Vec<u8>>,
        /// The cursor from now on.
        cursor: Vec<u8>,
    },
    /// A cleaned part of a raw part that is there. Writing an equal one again changes nothing; a different one is refused.
    CleanPart(CleanPart),
    /// Another cleaned part in place of one that is there: the raw part was cleaned again. Refused unless the part that is there has
    /// the digest `expected`; where it is `part` already, nothing changes. Snapshots go on naming the old one by its digest.
    ReplaceCleanPart {
        /// Digest of the part now.
        expected: Digest,
        /// The part from now on, of the same chain and raw part.
        part: CleanPart,
    },
    /// What the cleaners of a chain that keep state remember from now on; in the commit of the part that they were given last. It goes
    /// with the chain's cleaned parts, and stays when some of them go.
    ChainState {
        /// Which chain.
        chain: Digest,
        /// Its revision now; `None` when it must not be there yet.
        expected: Option<u64>,
        /// The state from now on, by cleaner.
        state: Vec<CleanerState>,
    },
    /// Lets go of all parts whose rows are numbered below this, of whatever chain, and of the ids and late labels of these rows.
    /// Refused unless a raw part begins here, so that the last one, which says where numbers go on, always stays.
    DropRows {
        /// The first row that stays.
        below: u64,
    },
    /// Lets go of all cleaned parts of one chain and of its state; they can be derived again.
    DropCleanParts {
        /// Which chain.
        chain: Digest,
    },
    /// Lets go of predictions that were answered before an instant, and of labels that came before it for rows that were never
    /// ingested.
    DropFeedback {
        /// The instant.
        before: Timestamp,
    },
    /// A dataset. Writing it again changes nothing.
    Snapshot(Snapshot),
    /// A queued run whose number follows the last one's; refused while another run is open.
    NewRun(Run),
    /// A run's next state, or other particulars of the same state.
    Run {
        /// Its state now.
        expected: RunState,
        /// What it is from now on.
        run: Run,
    },
    /// A challenger whose number follows the last one's.
    NewVersion(ModelVersion),
    /// A version's next state.
    VersionState {
        /// Which version.
        version: VersionNo,
        /// Its state now.
        expected: VersionState,
        /// Its state from now on.
        to: VersionState,
    },
    /// A decision about a version that is there; it gets the next number.
    Decision(Decision),
    /// Moves an alias. Refused unless the same commit holds a decision to promote or roll back to `to` whose parent is the
    /// champion before the commit. An alias moves at most once a commit.
    MoveAlias {
        /// Which alias.
        alias: Alias,
        /// Where it points now.
        expected: Option<VersionNo>,
        /// Where it points from now on.
        to: VersionNo,
    },
    /// A small named piece of the loop's state.
    State {
        /// Its name.
        key: String,
        /// Its revision now; `None` when it must not be there yet.
        expected: Option<u64>,
        /// Its bytes from now on.
        value: Vec<u8>,
    },
    /// A line in the journal, beside those that the store adds for every transition.
    Journal {
        /// What happened, in a word.
        kind: String,
        /// The particulars.
        body: serde_json::Value,
    },
}
