//! What can go wrong with a dataset, and the way out of it.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use tidegate_store::StoreError;
use tidegate_vocab::{BatchError, Digest};

/// Why a dataset could not be made, read or described.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A source's rows no longer are what the contract says: a column vanished or changed its type.
    #[error("column `{column}` broke the contract: expected {expected}, found {}", found.join(", "))]
    ContractBroken {
        /// The column of the contract.
        column: String,
        /// What the contract says, such as ``a column named `rain` `` or `f64`.
        expected: String,
        /// The columns, the type, or examples of the cells that came instead.
        found: Vec<String>,
    },
    /// A contract that gives one column two uses which exclude each other.
    #[error("the contract uses column `{column}` both as {first} and as {second}")]
    ContractAmbiguous {
        /// The column.
        column: String,
        /// One use.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Typed rows that were not made from the raw part they are said to be of.
    #[error("the typed rows are of another raw part: it has {expected} rows, they account for {found}")]
    RawRows {
        /// Rows of the raw part.
        expected: u64,
        /// Rows that were kept or quarantined.
        found: u64,
    },
    /// A cleaner's result that does not account for the rows it was given.
    #[error("cleaner `{cleaner}` was given {given} rows, but {why}")]
    CleanerRows {
        /// The cleaner.
        cleaner: String,
        /// Rows it was given.
        given: usize,
        /// What does not add up.
        why: String,
    },
    /// Cleaned rows that lack a column of the contract, or have it with another type.
    #[error("column `{column}` came out of the cleaners as {found}; the contract says {expected}")]
    CleanedColumn {
        /// The column.
        column: String,
        /// Its type in the contract.
        expected: &'static str,
        /// Its type now, or that it is missing.
        found: String,
    },
    /// A sample without columns: not even a header.
    #[error("the sample is empty: it has no columns")]
    SampleEmpty,
    /// A sample with a header and nothing below it.
    #[error("the sample has {} columns and no rows", columns.len())]
    SampleNoRows {
        /// The columns of the header.
        columns: Vec<String>,
    },
    /// A column that was asked for and is not in the sample.
    #[error("the sample has no column `{column}`; it has {}", columns.join(", "))]
    SampleColumn {
        /// The column that was asked for.
        column: String,
        /// The columns it has.
        columns: Vec<String>,
    },
    /// A label with one value, from which nothing can be learned.
    #[error("label `{column}` has one value in {row_count} rows: `{value}`; expected at least two classes")]
    LabelOneValue {
        /// The label.
        column: String,
        /// Its value.
        value: String,
        /// Rows of the sample.
        row_count: usize,
    },
    /// A label with too many values to be classes, or with none.
    #[error("label `{column}` has {found} values; expected 2 to {max} classes")]
    LabelClasses {
        /// The label.
        column: String,
        /// How many values it has.
        found: usize,
        /// How many a label may have.
        max: usize,
    },
    /// A sample in which no column looks like a label.
    #[error("no column looks like a label: none has 2 to {max} values")]
    LabelNotFound {
        /// How many values a guessed label may have.
        max: usize,
    },
    /// No row is known early enough to be in the snapshot.
    #[error("the snapshot would be empty: of {row_count} committed rows none has a label known by the cut-off")]
    SnapshotEmpty {
        /// Rows of the parts that were looked at.
        row_count: u64,
    },
    /// Parts that cannot be in one dataset: their order, chain or columns differ.
    #[error("part {part} does not fit the parts before it: {why}")]
    PartsDiffer {
        /// The part's digest.
        part: Digest,
        /// What differs.
        why: String,
    },
    /// A part's file could not be fetched.
    #[error("could not fetch part {part}")]
    Fetch {
        /// The part's digest.
        part: Digest,
        /// The store's reason.
        source: Box<StoreError>,
    },
    /// The late labels of a snapshot could not be kept.
    #[error("could not keep the late labels {labels}")]
    Keep {
        /// Their digest.
        labels: Digest,
        /// The store's reason.
        source: Box<StoreError>,
    },
    /// A batch could not be written as an Arrow file.
    #[error("could not write the raw part")]
    WriteRaw {
        /// Arrow's reason.
        source: ArrowError,
    },
    /// Bytes that are not the Arrow file of a raw part.
    #[error("could not read a raw part")]
    ReadRaw {
        /// Arrow's reason.
        source: ArrowError,
    },
    /// A batch could not be written as Parquet.
    #[error("could not write the cleaned part")]
    WriteClean {
        /// Parquet's reason.
        source: ParquetError,
    },
    /// Bytes that are not the Parquet file of a cleaned part.
    #[error("could not read a cleaned part")]
    ReadClean {
        /// Parquet's reason.
        source: ParquetError,
    },
    /// A file that is Arrow or Parquet, but was not written by Tidegate.
    #[error("the file is not a part of a dataset: {why}")]
    NotAPart {
        /// What is missing.
        why: String,
    },
    /// Rows could not be selected, joined or converted.
    #[error("could not put rows together")]
    Rows {
        /// Arrow's reason.
        source: ArrowError,
    },
    /// Columns could not be made a batch.
    #[error("could not form a batch")]
    Batch {
        /// The reason.
        source: BatchError,
    },
}

impl DatasetError {
    /// The way out, where there is one: the command to run or the key to change.
    pub fn hint(&self) -> Option<String> {
        match self {
            DatasetError::ContractBroken { .. } => Some(
                "nothing was quarantined and the cursor did not move; mend the source, or run `tidegate contract infer` and put the new \
                 `[pipeline.NAME.contract]` into the configuration to accept the change"
                    .into(),
            ),
            DatasetError::ContractAmbiguous { column, .. } => {
                Some(format!("remove `{column}` from `columns` in `[pipeline.NAME.contract]`"))
            }
            DatasetError::CleanerRows { cleaner, .. } => {
                Some(format!("the plugin is at fault: replace `{cleaner}` or take it out of `cleaners` in `[pipeline.NAME]`"))
            }
            DatasetError::CleanedColumn { .. } => {
                Some("a cleaner must keep names and types of its columns: look at `cleaners` in `[pipeline.NAME]`".into())
            }
            DatasetError::SampleEmpty => Some("check the source's `config` and the `path` of its `[input.NAME]`".into()),
            DatasetError::SampleNoRows { .. } => Some("a contract is inferred from rows; add some below the header".into()),
            DatasetError::SampleColumn { column, columns } => nearest(column, columns).map(|name| format!("did you mean `{name}`?")),
            DatasetError::LabelOneValue { .. } => Some("take a longer sample, or name another column with `--label`".into()),
            DatasetError::LabelClasses { .. } => Some("only classification is served; name a column of classes with `--label`".into()),
            DatasetError::LabelNotFound { .. } => Some("name the column with `--label`".into()),
            DatasetError::SnapshotEmpty { .. } => Some(
                "ingest rows with labels; if they are there, look at `delay` of `label` and at `time` in `[pipeline.NAME.contract]`".into(),
            ),
            _ => None,
        }
    }
}

/// The name that differs from `wanted` in letter case alone, or begins like it.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a String> {
    let wanted = wanted.to_lowercase();
    let same = names.iter().find(|name| name.trim().to_lowercase() == wanted);
    same.or_else(|| names.iter().find(|name| !wanted.is_empty() && name.to_lowercase().contains(&wanted)))
}
