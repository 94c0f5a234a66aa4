//! A scored batch as class numbers, and the per-row terms made of them.

use std::collections::BTreeMap;

use tidegate_plugin::{Batch, Failure};

/// What a class number is when the row has none.
const NONE: u32 = u32::MAX;
/// The role of a probability column, before its class.
const PROBABILITY: &str = "probability:";

/// Labels and predictions of a batch, as numbers into `classes`.
pub struct Scored {
    /// The classes: those with a probability column, in order, then others that occur, sorted.
    pub classes: Vec<String>,
    /// Classes with a probability column.
    known: usize,
    labels: Vec<u32>,
    predictions: Vec<u32>,
}

/// Terms of one class. Every list has one entry a row; NaN = no label.
pub struct ClassTerms {
    /// 1 where label and prediction are the class.
    pub hits: Vec<f64>,
    /// 2 where label and prediction are the class.
    pub hits_twice: Vec<f64>,
    /// 1 where the label is the class.
    pub labels: Vec<f64>,
    /// 1 where the prediction is the class.
    pub predictions: Vec<f64>,
    /// 2 TP + FP + FN.
    pub labels_and_predictions: Vec<f64>,
}

impl Scored {
    /// Reads the columns with the roles `label` and `prediction`.
    pub fn read(rows: &Batch) -> Result<Scored, Failure> {
        let mut classes: Vec<String> =
            rows.columns().filter_map(|column| column.role().strip_prefix(PROBABILITY).map(str::to_owned)).collect();
        let known = classes.len();
        let mut numbers: BTreeMap<String, u32> = (0..).zip(&classes).map(|(number, class)| (class.clone(), number)).collect();
        let (mut labels, mut predictions) = (Vec::new(), Vec::new());
        for window in rows.windows() {
            let (label, prediction) = (window.with_role("label")?.text()?, window.with_role("prediction")?.text()?);
            for (row, (label, prediction)) in label.iter().zip(prediction.iter()).enumerate() {
                if label.is_some() && prediction.is_none() {
                    return Err(Failure::new(format!("row {} has a label but no prediction", window.first_row() as usize + row)));
                }
                labels.push(number(label, &mut numbers, &mut classes));
                predictions.push(number(prediction, &mut numbers, &mut classes));
            }
        }
        let mut scored = Scored { classes, known, labels, predictions };
        scored.sort_unknown();
        Ok(scored)
    }

    /// Numbers classes without a probability column by name, so that the order of rows does not matter.
    fn sort_unknown(&mut self) {
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order[self.known..].sort_by(|left, right| self.classes[*left].cmp(&self.classes[*right]));
        let mut renumbered = vec![NONE; order.len()];
        for (to, from) in (0u32..).zip(&order) {
            renumbered[*from] = to;
        }
        self.classes = order.iter().map(|from| self.classes[*from].clone()).collect();
        for class in self.labels.iter_mut().chain(&mut self.predictions).filter(|class| **class != NONE) {
            *class = renumbered[*class as usize];
        }
    }

    /// The number of the positive class.
    pub fn positive(&self, positive: &str) -> Result<u32, Failure> {
        let found = (0u32..).zip(&self.classes).find(|(_, class)| *class == positive).map(|(number, _)| number);
        match found {
            Some(number) => Ok(number),
            // Without probability columns the class list is only what occurs, and the positive class need not.
            None if self.known == 0 => Ok(NONE - 1),
            None => {
                let classes: Vec<String> = self.classes.iter().map(|class| format!("`{class}`")).collect();
                Err(Failure::new(format!("`positive` is `{positive}`, which is not a class; the classes are {}", classes.join(", "))))
            }
        }
    }

    /// `term(label, prediction)` of every row with a label; NaN for the others.
    pub fn per_row(&self, term: impl Fn(u32, u32) -> f64) -> Vec<f64> {
        let rows = self.labels.iter().zip(&self.predictions);
        rows.map(|(label, prediction)| if *label == NONE { f64::NAN } else { term(*label, *prediction) }).collect()
    }

    /// The terms of one class.
    pub fn terms(&self, class: u32) -> ClassTerms {
        let one = |yes: bool| f64::from(u8::from(yes));
        let hit = |label, prediction| one(label == class && prediction == class);
        ClassTerms {
            hits: self.per_row(hit),
            hits_twice: self.per_row(|label, prediction| 2.0 * hit(label, prediction)),
            labels: self.per_row(|label, _| one(label == class)),
            predictions: self.per_row(|_, prediction| one(prediction == class)),
            labels_and_predictions: self.per_row(|label, prediction| one(label == class) + one(prediction == class)),
        }
    }

    /// -ln of the probability that the true class was given, at least `least`; a class without a probability column was given none.
    ///
    /// All NaN when the model gave no probabilities at all.
    pub fn losses(&self, rows: &Batch, least: f64) -> Result<Vec<f64>, Failure> {
        if self.known == 0 {
            return Ok(vec![f64::NAN; self.labels.len()]);
        }
        let mut losses = self.per_row(|_, _| -least.ln());
        let columns = rows.columns().filter(|column| column.role().starts_with(PROBABILITY));
        for (class, column) in (0u32..).zip(columns) {
            let probabilities = column.f64()?;
            for (row, loss) in losses.iter_mut().enumerate().filter(|(row, _)| self.labels[*row] == class) {
                *loss = match probabilities.get(row) {
                    Some(probability) if (0.0..=1.0).contains(&probability) => -probability.max(least).ln(),
                    found => return Err(impossible(column.name(), row, found)),
                };
            }
        }
        Ok(losses)
    }
}

fn impossible(column: &str, row: usize, found: Option<f64>) -> Failure {
    let found = found.map_or("nothing".into(), |value| value.to_string());
    Failure::new(format!("row {row} of column `{column}` holds {found}; expected a probability between 0 and 1"))
}

fn number(class: Option<&str>, numbers: &mut BTreeMap<String, u32>, classes: &mut Vec<String>) -> u32 {
    let Some(class) = class else { return NONE };
    if let Some(number) = numbers.get(class) {
        return *number;
    }
    let number = classes.len() as u32;
    numbers.insert(class.to_owned(), number);
    classes.push(class.to_owned());
    number
}
