//! The value of a metric, from its terms.
//!
//! Terms are prepared once ([`Prepared`]): rows that do not count are masked, values sorted where the metric needs an order.
//! After that a value under a vector of row weights costs one pass, which is what the bootstrap asks for thousands of times.
//! Weights count a row as so many copies of itself, so a whole-numbered weight gives exactly the metric of the repeated rows.

use tidegate_vocab::Terms;

/// The value of `terms`, with each row counted `weights` times (once when absent); `None` when the rows do not determine one,
/// as with 0/0, no row that counts, or one class for a ranking. Weights beyond the rows are ignored, missing ones are 0.
pub fn statistic(terms: &Terms, weights: Option<&[f64]>) -> Option<f64> {
    let prepared = Prepared::of(terms, &rows_counted(terms));
    match weights {
        None => prepared.value(&vec![1.0; rows_of(terms)]),
        Some(weights) => {
            let mut padded = weights.to_vec();
            padded.resize(rows_of(terms), 0.0);
            prepared.value(&padded)
        }
    }
}

/// Which rows count: those whose terms are not NaN. A row of a class ratio counts when it counts for any class.
pub fn rows_counted(terms: &Terms) -> Vec<bool> {
    let pair = |numerators: &[f64], denominators: &[f64]| -> Vec<bool> {
        numerators.iter().zip(denominators).map(|(numerator, denominator)| !numerator.is_nan() && !denominator.is_nan()).collect()
    };
    match terms {
        Terms::Mean { values } | Terms::Quantile { values, .. } => values.iter().map(|value| !value.is_nan()).collect(),
        Terms::Ratio { numerators, denominators } => pair(numerators, denominators),
        Terms::ClassRatio { classes } => {
            let mut counted = vec![false; rows_of(terms)];
            for class in classes {
                for (row, counts) in pair(&class.numerators, &class.denominators).into_iter().enumerate() {
                    counted[row] |= counts;
                }
            }
            counted
        }
        Terms::Ranking { values, labels } => values.iter().zip(labels).map(|(value, label)| !value.is_nan() && *label <= 1).collect(),
        Terms::Opaque { .. } => Vec::new(),
    }
}

/// Number of rows the terms are about; the shorter list where two differ, 0 for an opaque number.
pub(crate) fn rows_of(terms: &Terms) -> usize {
    match terms {
        Terms::Mean { values } | Terms::Quantile { values, .. } => values.len(),
        Terms::Ratio { numerators, denominators } => numerators.len().min(denominators.len()),
        Terms::ClassRatio { classes } => {
            classes.iter().map(|class| class.numerators.len().min(class.denominators.len())).min().unwrap_or(0)
        }
        Terms::Ranking { values, labels } => values.len().min(labels.len()),
        Terms::Opaque { .. } => 0,
    }
}

/// Whether all lists in the terms have `rows` entries.
pub(crate) fn has_rows(terms: &Terms, rows: usize) -> bool {
    match terms {
        Terms::Mean { values } | Terms::Quantile { values, .. } => values.len() == rows,
        Terms::Ratio { numerators, denominators } => numerators.len() == rows && denominators.len() == rows,
        Terms::ClassRatio { classes } => classes.iter().all(|class| class.numerators.len() == rows && class.denominators.len() == rows),
        Terms::Ranking { values, labels } => values.len() == rows && labels.len() == rows,
        Terms::Opaque { .. } => true,
    }
}

/// The kind of the terms, for messages.
pub(crate) fn kind_of(terms: &Terms) -> &'static str {
    match terms {
        Terms::Mean { .. } => "mean",
        Terms::Ratio { .. } => "ratio",
        Terms::ClassRatio { .. } => "class-ratio",
        Terms::Quantile { .. } => "quantile",
        Terms::Ranking { .. } => "ranking",
        Terms::Opaque { .. } => "opaque",
    }
}

/// Terms made ready to be weighed many times.
pub(crate) enum Prepared {
    /// Numerators and denominators by class; a mean is one class whose denominators are the mask.
    Fractions(Vec<(Vec<f64>, Vec<f64>)>),
    /// Rows that count, by rising value.
    Quantile { q: f64, sorted: Vec<(u32, f64)> },
    /// Rows that count, by rising value: row, whether its label is 1, whether the value equals the one before it.
    Ranking { sorted: Vec<(u32, bool, bool)> },
    /// A number without rows.
    Opaque(f64),
}

impl Prepared {
    /// Prepares the rows of `terms` that are `counted`.
    pub(crate) fn of(terms: &Terms, counted: &[bool]) -> Prepared {
        let masked = |numerators: &[f64], denominators: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let rows = numerators.iter().zip(denominators).zip(counted);
            rows.map(|((numerator, denominator), counted)| {
                let counts = *counted && !numerator.is_nan() && !denominator.is_nan();
                if counts { (*numerator, *denominator) } else { (0.0, 0.0) }
            })
            .unzip()
        };
        let rising = |values: &[f64]| -> Vec<(u32, f64)> {
            let rows = values.iter().zip(counted).enumerate();
            let mut sorted: Vec<(u32, f64)> =
                rows.filter(|(_, (value, counted))| **counted && !value.is_nan()).map(|(row, (value, _))| (row as u32, *value)).collect();
            sorted.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            sorted
        };
        match terms {
            Terms::Mean { values } => Prepared::Fractions(vec![masked(values, &vec![1.0; values.len()])]),
            Terms::Ratio { numerators, denominators } => Prepared::Fractions(vec![masked(numerators, denominators)]),
            Terms::ClassRatio { classes } => {
                Prepared::Fractions(classes.iter().map(|class| masked(&class.numerators, &class.denominators)).collect())
            }
            Terms::Quantile { q, values } => Prepared::Quantile { q: *q, sorted: rising(values) },
            Terms::Ranking { values, labels } => {
                let sorted = rising(values);
                let mut before = f64::NAN;
                let ranked = sorted.into_iter().filter_map(|(row, value)| {
                    let label = *labels.get(row as usize)?;
                    // `==` on purpose: 0.0 and -0.0 are one score.
                    let tied = std::mem::replace(&mut before, value) == value;
                    Some((row, label == 1, tied))
                });
                Prepared::Ranking { sorted: ranked.collect() }
            }
            Terms::Opaque { value, .. } => Prepared::Opaque(*value),
        }
    }

    /// The value with each row counted `weights` times; `weights` has an entry for every row.
    pub(crate) fn value(&self, weights: &[f64]) -> Option<f64> {
        let value = match self {
            Prepared::Fractions(classes) => {
                let ratios = classes.iter().filter_map(|(numerators, denominators)| {
                    let denominator = dot(weights, denominators);
                    (denominator != 0.0).then(|| dot(weights, numerators) / denominator)
                });
                let (sum, count) = ratios.fold((0.0, 0u32), |(sum, count), ratio| (sum + ratio, count + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
            Prepared::Quantile { q, sorted } => quantile(sorted, *q, weights),
            Prepared::Ranking { sorted } => area_under_roc(sorted, weights),
            Prepared::Opaque(value) => Some(*value),
        };
        value.filter(|value| !value.is_nan())
    }
}

/// The scalar product, in eight running sums: a fixed order that compilers can vectorise.
pub(crate) fn dot(weights: &[f64], values: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (weight_chunks, weight_rest) = weights.as_chunks::<LANES>();
    let (value_chunks, value_rest) = values.as_chunks::<LANES>();
    for (weights, values) in weight_chunks.iter().zip(value_chunks) {
        for lane in 0..LANES {
            sums[lane] += weights[lane] * values[lane];
        }
    }
    let rest: f64 = weight_rest.iter().zip(value_rest).map(|(weight, value)| weight * value).sum();
    sums.iter().sum::<f64>() + rest
}

/// The `q`-quantile with linear interpolation (type 7 of Hyndman and Fan 1996) of the repeated rows.
fn quantile(sorted: &[(u32, f64)], q: f64, weights: &[f64]) -> Option<f64> {
    let weight = |row: u32| weights.get(row as usize).copied().unwrap_or(0.0);
    let total: f64 = sorted.iter().map(|(row, _)| weight(*row)).sum();
    if total <= 0.0 || q.is_nan() {
        return None;
    }
    let position = (total - 1.0).max(0.0) * q.clamp(0.0, 1.0);
    let (low, high) = (at_position(sorted, position.floor(), total, weight)?, at_position(sorted, position.ceil(), total, weight)?);
    // Equal ends are returned as they are, so that two infinities do not become NaN.
    Some(if low == high { low } else { low + position.fract() * (high - low) })
}

/// The value of the repeated row number `position`, counted from the nearer end.
fn at_position(sorted: &[(u32, f64)], position: f64, total: f64, weight: impl Fn(u32) -> f64) -> Option<f64> {
    let mut seen = 0.0;
    let mut covers = |row: u32, until: f64, strictly: bool| {
        seen += weight(row);
        if strictly { seen > until } else { seen >= until }
    };
    if position < 0.5 * total {
        sorted.iter().find(|(row, _)| covers(*row, position, true)).map(|(_, value)| *value)
    } else {
        // From above, the row is the first with which no more than `position` copies remain below. One without weight is not it.
        let remaining = total - position;
        sorted.iter().rev().find(|(row, _)| weight(*row) > 0.0 && covers(*row, remaining, false)).map(|(_, value)| *value)
    }
}

/// The share of (label 1, label 0) pairs that the values put in order, equal values counting half.
fn area_under_roc(sorted: &[(u32, bool, bool)], weights: &[f64]) -> Option<f64> {
    let (mut ordered, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    let (mut tied_negatives, mut tied_positives) = (0.0, 0.0);
    for (row, positive, tied) in sorted {
        if !tied {
            ordered += tied_positives * (negatives + 0.5 * tied_negatives);
            negatives += tied_negatives;
            positives += tied_positives;
            (tied_negatives, tied_positives) = (0.0, 0.0);
        }
        let weight = weights.get(*row as usize).copied().unwrap_or(0.0);
        if *positive {
            tied_positives += weight;
        } else {
            tied_negatives += weight;
        }
    }
    ordered += tied_positives * (negatives + 0.5 * tied_negatives);
    negatives += tied_negatives;
    positives += tied_positives;
    (negatives > 0.0 && positives > 0.0).then(|| ordered / (negatives * positives))
}
