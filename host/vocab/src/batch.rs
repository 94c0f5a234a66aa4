//! Rows in memory: an Arrow record batch whose columns have roles.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

/// What a column is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Names the row.
    Id,
    /// Event time.
    Time,
    /// Ground truth.
    Label,
    /// What the model learns from.
    Feature,
    /// How much the row counts.
    Weight,
    /// Groups rows for slices.
    Slice,
    /// The class or value that a model answered.
    Prediction,
    /// The probability that a model gave to one class.
    Probability(String),
    /// Nanoseconds that the answer took.
    LatencyNs,
    /// Tokens read.
    TokensIn,
    /// Tokens written.
    TokensOut,
}

impl Role {
    /// The word that plugins see, such as `feature` or `probability:1`.
    pub fn word(&self) -> String {
        match self {
            Role::Id => "id".into(),
            Role::Time => "time".into(),
            Role::Label => "label".into(),
            Role::Feature => "feature".into(),
            Role::Weight => "weight".into(),
            Role::Slice => "slice".into(),
            Role::Prediction => "prediction".into(),
            Role::Probability(class) => format!("probability:{class}"),
            Role::LatencyNs => "latency-ns".into(),
            Role::TokensIn => "tokens-in".into(),
            Role::TokensOut => "tokens-out".into(),
        }
    }

    /// The role of a word that a plugin wrote; `None` for a word this host does not know.
    pub fn from_word(word: &str) -> Option<Role> {
        Some(match word {
            "id" => Role::Id,
            "time" => Role::Time,
            "label" => Role::Label,
            "feature" => Role::Feature,
            "weight" => Role::Weight,
            "slice" => Role::Slice,
            "prediction" => Role::Prediction,
            "latency-ns" => Role::LatencyNs,
            "tokens-in" => Role::TokensIn,
            "tokens-out" => Role::TokensOut,
            _ => Role::Probability(word.strip_prefix("probability:")?.to_owned()),
        })
    }
}

/// The types a column of a contract can have; each is one Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DType {
    /// 64-bit floating point; NaN counts as missing in a contract.
    F64,
    /// 64-bit signed integer.
    I64,
    /// True or false.
    Bool,
    /// UTF-8 text.
    Utf8,
    /// Microseconds since 1970, UTC.
    TimestampUs,
}

impl DType {
    /// All types, in the order in which messages list them.
    pub const ALL: [DType; 5] = [DType::F64, DType::I64, DType::Bool, DType::Utf8, DType::TimestampUs];

    /// The word in configurations and plugins.
    pub fn word(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::Bool => "bool",
            DType::Utf8 => "utf8",
            DType::TimestampUs => "timestamp-us",
        }
    }

    /// The type of a word.
    pub fn from_word(word: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.word() == word)
    }

    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            DType::F64 => DataType::Float64,
            DType::I64 => DataType::Int64,
            DType::Bool => DataType::Boolean,
            DType::Utf8 => DataType::Utf8,
            DType::TimestampUs => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The type of an Arrow type; `None` for one that batches do not hold.
    pub fn of(data_type: &DataType) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.arrow() == *data_type)
    }
}

/// A bounded set of rows that is moved in one call. Cloning shares the columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The columns. Every one has the Arrow type of some [`DType`].
    pub rows: RecordBatch,
    /// One role a column, in the order of the columns.
    pub roles: Vec<Role>,
}

/// A set of columns that is not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A column of an Arrow type that batches do not hold.
    #[error("column `{column}` has the Arrow type {found}; expected f64, i64, bool, utf8 or timestamp-us")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// Columns of different lengths, two of one name, or a number of roles that is not the number of columns.
    #[error("these columns do not form a batch: {why}")]
    Shape {
        /// What is wrong.
        why: String,
    },
}

impl Batch {
    /// A batch of `columns`: name, role and values; every column may hold nulls.
    ///
    /// # Errors
    /// [`BatchError`] when lengths differ, a name occurs twice, or a type is not a [`DType`]'s.
    pub fn new(columns: Vec<(String, Role, ArrayRef)>) -> Result<Batch, BatchError> {
        let mut fields = Vec::with_capacity(columns.len());
        let mut roles = Vec::with_capacity(columns.len());
        let mut arrays = Vec::with_capacity(columns.len());
        for (name, role, array) in columns {
            if DType::of(array.data_type()).is_none() {
                return Err(BatchError::Type { column: name, found: array.data_type().clone() });
            }
            if fields.iter().any(|field: &Field| *field.name() == name) {
                return Err(BatchError::Shape { why: format!("two columns are named `{name}`") });
            }
            fields.push(Field::new(name, array.data_type().clone(), true));
            roles.push(role);
            arrays.push(array);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(arrays.first().map(|array| array.len()).or(Some(0)));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| BatchError::Shape { why: error.to_string() })?;
        Ok(Batch { rows, roles })
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows.num_rows()
    }

    /// The number of the column named `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.rows.schema_ref().fields().iter().position(|field| field.name() == name)
    }

    /// The values of the column named `name`.
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.index_of(name).map(|index| self.rows.column(index))
    }

    /// The first column with `role`: its number.
    pub fn with_role(&self, role: &Role) -> Option<usize> {
        self.roles.iter().position(|candidate| candidate == role)
    }

    /// The numbers of all columns with `role`, in order.
    pub fn all_with_role<'a>(&'a self, role: &'a Role) -> impl Iterator<Item = usize> + 'a {
        self.roles.iter().enumerate().filter(move |(_, candidate)| *candidate == role).map(|(index, _)| index)
    }

    /// Name, role and values of each column.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Role, &ArrayRef)> {
        let fields = self.rows.schema_ref().fields().iter();
        fields.zip(&self.roles).zip(self.rows.columns()).map(|((field, role), array)| (field.name().as_str(), role, array))
    }

    /// The rows `start..start + count`, sharing memory.
    pub fn slice(&self, start: usize, count: usize) -> Batch {
        Batch { rows: self.rows.slice(start, count), roles: self.roles.clone() }
    }
}
