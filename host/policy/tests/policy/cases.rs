//! Evidence for tests, written as what it is about: how many rows, who is right on which.

use std::collections::BTreeMap;

use tidegate_policy::{Against, Approval, Dependence, Gate, GateRows, Interval, JudgeInput, RowsMin, Rule, SliceRows, Test};
use tidegate_vocab::{MetricInfo, MetricTerms, Seed, Terms};

/// A gate of one-sided 95 %, one look and 300 rows, with these rules.
pub fn gate(dependence: Dependence, rules: Vec<Rule>) -> Gate {
    Gate {
        rows: GateRows::Arriving,
        dependence,
        confidence: 0.95,
        rows_min: RowsMin::Rows(300),
        rows_per_class_min: 30,
        looks_max: 1,
        resamples: 400,
        interval: Interval::Percentile,
        maturity_min: None,
        approval: Approval::None,
        slices: Vec::new(),
        rules,
    }
}

/// A rule about `metric`, named after its test and whom it compares with.
pub fn rule(metric: &str, against: Against, test: Test) -> Rule {
    Rule { id: format!("{}-{against}", test.word()), metric: metric.into(), against, test, gain_max: None }
}

/// A metric of which more is better, with these terms.
pub fn metric(name: &str, terms: Terms) -> MetricTerms {
    MetricTerms { metric: MetricInfo { name: name.into(), unit: "1".into(), higher_is_better: true }, terms }
}

/// A metric of which less is better, with these terms.
pub fn cost(name: &str, terms: Terms) -> MetricTerms {
    MetricTerms { metric: MetricInfo { name: name.into(), unit: "ms".into(), higher_is_better: false }, terms }
}

/// Accuracy with these rows right.
pub fn right(rows: &[bool]) -> MetricTerms {
    metric("accuracy", Terms::Mean { values: rows.iter().map(|right| f64::from(u8::from(*right))).collect() })
}

/// `rows` rows of two models: of every `rows`, `gains` are right for the challenger alone, `losses` for the other alone, spread
/// evenly over time; of the rest three in four are right for both.
pub fn paired(rows: usize, gains: usize, losses: usize) -> (Vec<bool>, Vec<bool>) {
    // A step that has no factor in common with `rows` visits every row once, far from the one before.
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let step = (rows * 3 / 8..).find(|step| common(*step, rows) == 1).unwrap_or(1);
    let (mut own, mut other) = (vec![false; rows], vec![false; rows]);
    for visit in 0..rows {
        let row = visit * step % rows;
        (own[row], other[row]) = match visit {
            _ if visit < gains => (true, false),
            _ if visit < gains + losses => (false, true),
            _ => (visit % 4 != 0, visit % 4 != 0),
        };
    }
    (own, other)
}

/// Evidence as tests own it.
pub struct Evidence {
    pub labels: Vec<u32>,
    pub clusters: Vec<u32>,
    pub slices: BTreeMap<String, SliceRows>,
    pub maturity: Option<f64>,
    pub challenger: Vec<MetricTerms>,
    pub others: BTreeMap<Against, Vec<MetricTerms>>,
    pub seed: Seed,
}

impl Evidence {
    /// Evidence on rows whose labels are 0 and 1 in turn.
    pub fn new(rows: usize, challenger: Vec<MetricTerms>, others: Vec<(Against, Vec<MetricTerms>)>) -> Evidence {
        let labels = (0..rows).map(|row| (row % 2) as u32).collect();
        let others = others.into_iter().collect();
        Evidence { labels, clusters: Vec::new(), slices: BTreeMap::new(), maturity: None, challenger, others, seed: Seed(11) }
    }

    /// Evidence about accuracy against the champion, with so many gains and losses.
    pub fn accuracy(rows: usize, gains: usize, losses: usize) -> Evidence {
        let (own, other) = paired(rows, gains, losses);
        Evidence::new(rows, vec![right(&own)], vec![(Against::Champion, vec![right(&other)])])
    }

    pub fn input(&self) -> JudgeInput<'_> {
        JudgeInput {
            labels: &self.labels,
            class_count: 2,
            clusters: &self.clusters,
            slices: &self.slices,
            maturity: self.maturity,
            challenger: &self.challenger,
            others: &self.others,
            seed: self.seed,
        }
    }
}
