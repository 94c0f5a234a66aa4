use std::iter::Zip;
use std::ops::{Range, RangeFrom};
use std::slice::Iter;

/// Which of the rows that came in stayed, in their order, by their positions in what came in.
///
/// Most calls of a cleaner keep every row; then no list of positions is made, which would cost as much as a host kernel.
#[derive(Debug, Clone)]
pub enum KeptRows {
    /// All of so many.
    All(u32),
    /// Those at these positions.
    These(Vec<u32>),
}

impl KeptRows {
    /// How many stayed.
    pub fn len(&self) -> usize {
        match self {
            KeptRows::All(rows) => *rows as usize,
            KeptRows::These(positions) => positions.len(),
        }
    }

    /// Whether none stayed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their positions in what came in.
    pub fn iter(&self) -> KeptPositions<'_> {
        match self {
            KeptRows::All(rows) => KeptPositions::All(0..*rows),
            KeptRows::These(positions) => KeptPositions::These(positions.iter()),
        }
    }

    /// Each position in what stayed, with the position in what came in.
    pub fn positions(&self) -> Zip<RangeFrom<u32>, KeptPositions<'_>> {
        (0..).zip(self.iter())
    }
}

impl FromIterator<u32> for KeptRows {
    fn from_iter<I: IntoIterator<Item = u32>>(positions: I) -> KeptRows {
        KeptRows::These(positions.into_iter().collect())
    }
}

impl PartialEq for KeptRows {
    fn eq(&self, other: &KeptRows) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for KeptRows {}

impl<const N: usize> PartialEq<[u32; N]> for KeptRows {
    fn eq(&self, other: &[u32; N]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

/// The positions of [`KeptRows`].
#[derive(Debug, Clone)]
pub enum KeptPositions<'a> {
    /// All of them.
    All(Range<u32>),
    /// Those of a list.
    These(Iter<'a, u32>),
}

impl Iterator for KeptPositions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            KeptPositions::All(rows) => rows.next(),
            KeptPositions::These(positions) => positions.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            KeptPositions::All(rows) => rows.size_hint(),
            KeptPositions::These(positions) => positions.size_hint(),
        }
    }
}

impl ExactSizeIterator for KeptPositions<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_the_list_of_all_rows() {
        let (all, listed) = (KeptRows::All(3), KeptRows::These(vec![0, 1, 2]));
        assert_eq!(all, listed);
        assert_eq!(all, [0, 1, 2]);
        assert_ne!(all, KeptRows::These(vec![0, 2]));
        assert_ne!(all, KeptRows::These(vec![0, 1, 3]));
        assert_ne!(all, KeptRows::All(4));
        let some = KeptRows::These(vec![4, 9]);
        assert_eq!(some.positions().collect::<Vec<_>>(), [(0, 4), (1, 9)]);
        assert_eq!((all.len(), some.iter().len(), KeptRows::All(0).is_empty()), (3, 2, true));
    }
}
