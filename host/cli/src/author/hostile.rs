//! Batches that nobody expects and somebody sends, with the columns of a batch that the plugin is made for.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, new_empty_array, new_null_array,
};
use tidegate_vocab::{Batch, DType, Role};

use super::case::{Asked, Case};

/// Bytes of the huge text.
const HUGE_TEXT_BYTES: usize = 1 << 20;
/// Rows of the long batch: one more than an SDK reads at once.
const LONG_ROWS: usize = 65_537;

/// A batch, and whether a plugin may refuse it.
pub struct Hostile {
    /// The batch.
    pub case: Case,
    /// Whether a refusal is an answer. An empty batch is no fault of anyone's.
    pub may_refuse: bool,
}

/// The batches, with the columns of `like`.
pub fn all(like: &Batch) -> Vec<Hostile> {
    let mut all = vec![
        hostile("empty batch", false, like, |dtype| new_empty_array(&dtype.arrow())),
        hostile("one row of missing values", true, like, |dtype| new_null_array(&dtype.arrow(), 1)),
        hostile("all missing", true, like, |dtype| new_null_array(&dtype.arrow(), 1_000)),
        hostile("not a number, infinities, extremes", true, like, extremes),
        hostile("text of every script", true, like, scripts),
        hostile("huge text", true, like, huge),
        hostile("65,537 rows", true, like, long),
    ];
    for (name, batch) in [("zero columns", Batch::new(Vec::new())), ("other columns", other_columns())] {
        // Both are batches by construction.
        all.extend(batch.ok().map(|batch| Hostile { case: case(name, batch), may_refuse: true }));
    }
    all
}

fn hostile(name: &str, may_refuse: bool, like: &Batch, array: impl Fn(DType) -> ArrayRef) -> Hostile {
    let column = |(name, role, values): (&str, &Role, &ArrayRef)| {
        let dtype = DType::of(values.data_type())?;
        Some((name.to_owned(), role.clone(), array(dtype)))
    };
    let batch = Batch::new(like.columns().filter_map(column).collect()).unwrap_or_else(|_| like.clone());
    Hostile { case: case(name, batch), may_refuse }
}

fn case(name: &str, rows: Batch) -> Case {
    Case { name: name.to_owned(), config: None, tolerance: 0.0, asked: Asked::Rows(rows) }
}

fn repeated<T: Clone>(values: &[T], rows: usize) -> Vec<T> {
    values.iter().cycle().take(rows).cloned().collect()
}

/// Values of each type, repeated to `rows` rows.
fn values(dtype: DType, rows: usize, texts: &[Option<&str>]) -> ArrayRef {
    let floats = [Some(f64::NAN), Some(f64::INFINITY), None, Some(f64::NEG_INFINITY), Some(-0.0), Some(f64::MAX), Some(5e-324), Some(0.5)];
    let whole = [Some(i64::MIN), Some(i64::MAX), None, Some(9_007_199_254_740_993), Some(-1), Some(0)];
    match dtype {
        DType::F64 => Arc::new(Float64Array::from(repeated(&floats, rows))),
        DType::I64 => Arc::new(Int64Array::from(repeated(&whole, rows))),
        DType::Bool => Arc::new(BooleanArray::from(repeated(&[Some(true), None, Some(false)], rows))),
        DType::Utf8 => Arc::new(StringArray::from(repeated(texts, rows))),
        DType::TimestampUs => Arc::new(TimestampMicrosecondArray::from(repeated(&whole, rows)).with_timezone("UTC")),
    }
}

fn extremes(dtype: DType) -> ArrayRef {
    values(dtype, 48, &[Some("NaN"), Some("1e999"), None, Some("-0"), Some("9007199254740993"), Some("")])
}

/// Nul, a byte-order mark, combining marks, right to left, beyond the first plane, the last code point, blanks of several kinds.
fn scripts(dtype: DType) -> ArrayRef {
    let texts = [
        Some(""),
        Some("\0"),
        Some("\u{feff}a"),
        Some("e\u{301}"),
        Some("שלום"),
        Some("🌊👩‍🚀"),
        Some("\u{10ffff}"),
        None,
        Some(" \t\r\n\u{a0}"),
    ];
    values(dtype, 54, &texts)
}

fn huge(dtype: DType) -> ArrayRef {
    let text = "ä".repeat(HUGE_TEXT_BYTES / 2);
    values(dtype, 3, &[Some(&text), None, Some("a")])
}

fn long(dtype: DType) -> ArrayRef {
    values(dtype, LONG_ROWS, &[Some("a"), Some("b"), None])
}

fn other_columns() -> Result<Batch, tidegate_vocab::BatchError> {
    Batch::new(vec![("nobody knows this column".into(), Role::Feature, values(DType::F64, 3, &[]))])
}
