//! Matrix products with one order of summation.

use rayon::prelude::*;

use super::level::{self, Body};

/// Rows of one tile: with [`TILE_COLUMNS`] it fills the registers of AVX2.
const TILE_ROWS: usize = 6;
/// Columns of one tile.
const TILE_COLUMNS: usize = 16;
/// Multiplications below which threads cost more than they give.
const PARALLEL_PRODUCTS_MIN: usize = 1 << 22;
/// Rows that one thread takes at a time.
const PARALLEL_ROWS: usize = 16 * TILE_ROWS;

/// A matrix that is read where it lies: element `(row, column)` is at `row × row_stride + column × column_stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance from one row to the next.
    pub row_stride: usize,
    /// Distance from one column to the next.
    pub column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> View<'a> {
        View { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> View<'a> {
        View { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row_stride + column * self.column_stride]
    }
}

/// `left · right + start`, row-major; `start` is one row that every row of the product begins with, zeros when absent.
pub(crate) fn matmul(left: View<'_>, right: View<'_>, start: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = (left.rows, right.columns);
    let mut out = vec![0.0; rows * columns];
    if rows == 0 || columns == 0 {
        return out;
    }
    if rows < TILE_ROWS && right.column_stride == 1 {
        // Packing reads all of `right` once, as much as the product of a few rows does; those go straight through it.
        level::run(FewRows { left, right, start, out: &mut out });
        return out;
    }
    let panels = pack(right);
    let work = |first_row: usize, out: &mut [f32]| level::run(Rows { left, panels: &panels, columns, start, first_row, out });
    if rows * columns * left.columns < PARALLEL_PRODUCTS_MIN {
        work(0, &mut out);
    } else {
        out.par_chunks_mut(PARALLEL_ROWS * columns).enumerate().for_each(|(chunk, out)| work(chunk * PARALLEL_ROWS, out));
    }
    out
}

/// The columns of a matrix in groups of [`TILE_COLUMNS`], each group row by row, the last filled up with zeros.
fn pack(right: View<'_>) -> Vec<f32> {
    let groups = right.columns.div_ceil(TILE_COLUMNS);
    let mut panels = vec![0.0; groups * right.rows * TILE_COLUMNS];
    for (group, panel) in panels.chunks_exact_mut((right.rows * TILE_COLUMNS).max(1)).enumerate() {
        let first = group * TILE_COLUMNS;
        let count = TILE_COLUMNS.min(right.columns - first);
        for (row, line) in panel.chunks_exact_mut(TILE_COLUMNS).enumerate() {
            for (offset, value) in line[..count].iter_mut().enumerate() {
                *value = right.at(row, first + offset);
            }
        }
    }
    panels
}

struct FewRows<'a> {
    left: View<'a>,
    right: View<'a>,
    start: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Body for FewRows<'_> {
    #[inline(always)]
    fn run(self) {
        let columns = self.right.columns;
        for (row, out) in self.out.chunks_exact_mut(columns).enumerate() {
            if let Some(start) = self.start {
                out.copy_from_slice(start);
            }
            for inner in 0..self.left.columns {
                let factor = self.left.at(row, inner);
                let line = &self.right.values[inner * self.right.row_stride..][..columns];
                for (sum, value) in out.iter_mut().zip(line) {
                    *sum = factor.mul_add(*value, *sum);
                }
            }
        }
    }
}

struct Rows<'a> {
    left: View<'a>,
    panels: &'a [f32],
    columns: usize,
    start: Option<&'a [f32]>,
    first_row: usize,
    out: &'a mut [f32],
}

impl Body for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let inner = self.left.columns;
        let mut packed = vec![0.0; inner * TILE_ROWS];
        for (tile, out) in self.out.chunks_mut(TILE_ROWS * self.columns).enumerate() {
            let first_row = self.first_row + tile * TILE_ROWS;
            let count = out.len() / self.columns;
            for (column, line) in packed.chunks_exact_mut(TILE_ROWS).enumerate() {
                for (row, value) in line.iter_mut().enumerate() {
                    *value = if row < count { self.left.at(first_row + row, column) } else { 0.0 };
                }
            }
            for group in 0..self.columns.div_ceil(TILE_COLUMNS) {
                let first = group * TILE_COLUMNS;
                let width = TILE_COLUMNS.min(self.columns - first);
                let mut line = [0.0; TILE_COLUMNS];
                if let Some(start) = self.start {
                    line[..width].copy_from_slice(&start[first..first + width]);
                }
                let panel = &self.panels[group * inner * TILE_COLUMNS..][..inner * TILE_COLUMNS];
                let sums = tile_product(&packed, panel, line);
                for (row, sum) in sums.iter().enumerate().take(count) {
                    out[row * self.columns + first..][..width].copy_from_slice(&sum[..width]);
                }
            }
        }
    }
}

#[inline(always)]
fn tile_product(packed: &[f32], panel: &[f32], start: [f32; TILE_COLUMNS]) -> [[f32; TILE_COLUMNS]; TILE_ROWS] {
    let mut sums = [start; TILE_ROWS];
    let (factors, _) = packed.as_chunks::<TILE_ROWS>();
    let (lines, _) = panel.as_chunks::<TILE_COLUMNS>();
    for (factors, line) in factors.iter().zip(lines) {
        for row in 0..TILE_ROWS {
            for column in 0..TILE_COLUMNS {
                sums[row][column] = factors[row].mul_add(line[column], sums[row][column]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|index| (((index * 7919 + salt * 104_729) % 1_000) as f32 - 500.0) / 250.0).collect()
    }

    /// The definition, in the one order of summation that the kernels promise.
    fn reference(left: View<'_>, right: View<'_>, start: Option<&[f32]>) -> Vec<f32> {
        let mut out = Vec::new();
        for row in 0..left.rows {
            for column in 0..right.columns {
                let first = start.map_or(0.0, |start| start[column]);
                out.push((0..left.columns).fold(first, |sum, inner| left.at(row, inner).mul_add(right.at(inner, column), sum)));
            }
        }
        out
    }

    #[test]
    fn every_shape_has_the_bits_of_the_definition() {
        for (rows, inner, columns) in
            [(1, 8, 32), (5, 3, 17), (6, 16, 16), (7, 1, 1), (13, 33, 2), (200, 8, 32), (3, 0, 4), (0, 3, 4), (4, 3, 0)]
        {
            let (left, right, start) = (values(rows * inner, 1), values(inner * columns, 2), values(columns, 3));
            let (left, right) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
            assert_eq!(matmul(left, right, Some(&start)), reference(left, right, Some(&start)), "{rows} × {inner} × {columns}");
            let (tall, wide) = (values(inner * rows, 4), values(columns * inner, 5));
            let (left, right) = (View::new(&tall, inner, rows).transposed(), View::new(&wide, columns, inner).transposed());
            assert_eq!(matmul(left, right, None), reference(left, right, None), "transposed {rows} × {inner} × {columns}");
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (left, right) = (values(500 * 130, 1), values(130 * 70, 2));
        let product = || matmul(View::new(&left, 500, 130), View::new(&right, 130, 70), None);
        let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(product);
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(3));
        assert_eq!(one, reference(View::new(&left, 500, 130), View::new(&right, 130, 70), None));
    }
}
