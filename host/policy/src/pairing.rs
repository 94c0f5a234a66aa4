//! What a rule compares: whose terms, and what of them stands side by side on the same rows.

use tidegate_vocab::{MetricTerms, Terms};

use crate::delong::Placements;
use crate::statistic::{has_rows, kind_of};
use crate::{Against, JudgeError, JudgeInput, Rule, Test};

/// Counts of rows of a mean of zeros and ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Rows with the value 1 for the challenger.
    pub(crate) ones: u64,
    /// Rows on which the challenger alone is better.
    pub(crate) gains: u64,
    /// Rows on which the other alone is better.
    pub(crate) losses: u64,
}

/// The counts of a metric that is a mean of zeros and ones for both models.
pub(crate) fn counts_of(challenger: &Terms, other: Option<&Terms>, counted: &[bool], sign: f64) -> Option<Counts> {
    let binary = |terms: &'_ Terms| -> Option<Vec<f64>> {
        let Terms::Mean { values } = terms else { return None };
        let zero_or_one = |(value, counted): (&f64, &bool)| !counted || *value == 0.0 || *value == 1.0;
        values.iter().zip(counted).all(zero_or_one).then(|| values.clone())
    };
    let own = binary(challenger)?;
    let others = match other {
        Some(other) => binary(other)?,
        None => own.clone(),
    };
    let mut counts = Counts::default();
    for ((own, other), _) in own.iter().zip(&others).zip(counted).filter(|(_, counted)| **counted) {
        counts.ones += u64::from(*own == 1.0);
        counts.gains += u64::from(sign * (own - other) > 0.0);
        counts.losses += u64::from(sign * (own - other) < 0.0);
    }
    Some(counts)
}

/// The placements of two rankings on the rows that count.
pub(crate) fn placements_of(own: &Terms, other: Option<&Terms>, counted: &[bool]) -> Option<(Placements, Option<Placements>)> {
    let of = |terms: &Terms| {
        let Terms::Ranking { values, labels } = terms else { return None };
        let rows = || values.iter().zip(labels).zip(counted).filter(|(_, counted)| **counted);
        let values: Vec<f64> = rows().map(|((value, _), _)| *value).collect();
        Placements::new(&rows().map(|((_, label), _)| *label).collect::<Vec<_>>(), &values)
    };
    match other {
        Some(other) => Some((of(own)?, Some(of(other)?))),
        None => Some((of(own)?, None)),
    }
}

/// The differences of two means row by row; `None` for other terms and for ratios.
pub(crate) fn paired_differences(rule: &Rule, own: &Terms, other: &Terms, counted: &[bool], sign: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    let (Terms::Mean { values: own }, Terms::Mean { values: other }) = (own, other) else { return None };
    if matches!(rule.test, Test::RatioUpper { .. }) {
        return None;
    }
    let rows = own.iter().zip(other).zip(counted);
    Some(rows.map(|((own, other), counted)| if *counted { (sign * (own - other), 1.0) } else { (0.0, 0.0) }).unzip())
}

pub(crate) fn metric_of<'t>(rule: &Rule, model: &str, terms: &'t [MetricTerms]) -> Result<&'t MetricTerms, JudgeError> {
    terms.iter().find(|terms| terms.metric.name == rule.metric).ok_or_else(|| JudgeError::MissingMetric {
        rule: rule.id.clone(),
        metric: rule.metric.clone(),
        model: model.into(),
        available: terms.iter().map(|terms| terms.metric.name.clone()).collect(),
    })
}

/// Whom `rule` compares with: the one it names, or who stands in for a champion or an anchor that does not exist yet.
pub(crate) fn other_of<'t>(rule: &Rule, evidence: &JudgeInput<'t>, sign: f64) -> Result<Option<(Against, &'t MetricTerms)>, JudgeError> {
    if rule.against == Against::Bound {
        return Ok(None);
    }
    let candidates: &[Against] = match rule.against {
        Against::Champion => &[Against::Champion],
        Against::Anchor => &[Against::Anchor, Against::Champion],
        _ => std::slice::from_ref(&rule.against),
    };
    for against in candidates {
        if let Some(terms) = evidence.others.get(against) {
            return metric_of(rule, against.word(), terms).map(|terms| Some((*against, terms)));
        }
    }
    if !matches!(rule.against, Against::Champion | Against::Anchor) {
        let available = evidence.others.keys().map(|against| against.word().into()).collect();
        return Err(JudgeError::MissingOther { rule: rule.id.clone(), against: rule.against.word().into(), available });
    }
    if matches!(rule.test, Test::RatioUpper { .. }) {
        return Ok(None);
    }
    let mut best: Option<(f64, Against, &'t MetricTerms)> = None;
    for against in Against::NAIVE {
        let Some(terms) = evidence.others.get(&against).and_then(|terms| terms.iter().find(|terms| terms.metric.name == rule.metric))
        else {
            continue;
        };
        let Some(value) = crate::statistic(&terms.terms, None).map(|value| sign * value) else { continue };
        if best.is_none_or(|(found, _, _)| value > found) {
            best = Some((value, against, terms));
        }
    }
    Ok(best.map(|(_, against, terms)| (against, terms)))
}

/// Checks that terms are about `rows` rows, and of the same kind as the challenger's.
pub(crate) fn fits(rule: &Rule, challenger: &MetricTerms, terms: &MetricTerms, rows: usize) -> Result<(), JudgeError> {
    let (expected, found) = (kind_of(&challenger.terms), kind_of(&terms.terms));
    let error = |expected: String, found: String| JudgeError::Shape { rule: rule.id.clone(), metric: rule.metric.clone(), expected, found };
    if expected != found {
        return Err(error(format!("`{expected}` terms as for the challenger"), format!("`{found}` terms")));
    }
    if !has_rows(&terms.terms, rows) {
        return Err(error(format!("{rows} rows"), "another number of rows".into()));
    }
    Ok(())
}
