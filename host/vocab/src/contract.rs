//! What the columns of a dataset must be.

use serde::{Deserialize, Serialize};

use crate::{DType, Role};

/// The columns of a dataset and what must hold for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// Column that names the row; its values need not be unique.
    pub id: Option<String>,
    /// Column of event time.
    pub time: Option<TimeColumn>,
    /// Column of ground truth.
    pub label: LabelColumn,
    /// Features, in the order in which models see them.
    pub columns: Vec<ContractColumn>,
}

/// One feature, weight or slice column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContractColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// `Feature`, `Weight` or `Slice`.
    pub role: Role,
    /// Whether a row without a value may be committed. NaN counts as no value.
    pub nullable: bool,
    /// The smallest value a row may have.
    pub low: Option<f64>,
    /// The largest value a row may have.
    pub high: Option<f64>,
    /// For text: the values a row may have; any when absent.
    pub categories: Option<Vec<String>>,
}

/// The column of event time: `origin + value × unit` for numbers, the instant itself for text (ISO 8601) and timestamps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeColumn {
    /// Its name.
    pub column: String,
    /// The unit of a numeric column; `None` where the column holds instants.
    pub unit: Option<TimeUnit>,
    /// Microseconds since 1970 of the value 0.
    pub origin_us: i64,
}

/// Units of a numeric time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Days of 86,400 seconds.
    D,
    /// Hours.
    H,
    /// Minutes.
    Min,
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
}

impl TimeUnit {
    /// Microseconds in one unit.
    pub fn micros(self) -> i64 {
        match self {
            TimeUnit::D => 86_400_000_000,
            TimeUnit::H => 3_600_000_000,
            TimeUnit::Min => 60_000_000,
            TimeUnit::S => 1_000_000,
            TimeUnit::Ms => 1_000,
            TimeUnit::Us => 1,
        }
    }
}

/// The column of ground truth: classes, kept as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelColumn {
    /// Its name.
    pub column: String,
    /// The classes, in the order in which models number them; at least two.
    pub classes: Vec<String>,
    /// Microseconds from event time until the label is known.
    pub delay_us: i64,
    /// Whether labels come by themselves, by row id, after their rows; the source need not have the column then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_id: bool,
}

impl Contract {
    /// Names of the feature columns, in order.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.role == Role::Feature).map(|column| column.name.as_str())
    }
}
