//! Naive baselines: what a model must beat to be worth having.

use std::collections::BTreeMap;

/// The predictions of "same as last time": each row gets the label of the row before it. The first row gets `before`, the last
/// label known before these rows; class 0 where there is none.
pub fn no_change(labels: &[u32], before: Option<u32>) -> Vec<u32> {
    let previous = std::iter::once(before.unwrap_or(0)).chain(labels.iter().copied());
    previous.take(labels.len()).collect()
}

/// The commonest class of the labels that were trained on, the lowest of equals; `None` without labels.
pub fn majority(train_labels: &[u32]) -> Option<u32> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for label in train_labels {
        *counts.entry(*label).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(class, count)| (*count, std::cmp::Reverse(*class))).map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines() {
        let check = |labels: &[u32], before, repeated: &[u32], commonest| {
            assert_eq!(no_change(labels, before), repeated);
            assert_eq!(majority(labels), commonest);
        };
        check(&[], None, &[], None);
        check(&[1], None, &[0], Some(1));
        check(&[1, 1, 0, 2], Some(2), &[2, 1, 1, 0], Some(1));
        check(&[2, 1, 2, 1], Some(1), &[1, 2, 1, 2], Some(1));
    }
}
