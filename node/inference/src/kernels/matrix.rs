//! Products of matrices that are views of slices.
//!
//! This is the only file with `unsafe`: `gemm`, the library behind Candle's own products, takes pointers. A view checks
//! at its construction that all its elements are within its slice, so a product stays within it.
#![allow(unsafe_code)]

use std::sync::Once;

use gemm::Parallelism;

/// A matrix within a slice: element (row, column) is at `row * row_stride + column * column_stride`. Rows may overlap,
/// which makes a convolution's windows a matrix without copying them.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Creates a view.
    ///
    /// # Panics
    ///
    /// If an element is outside of the slice.
    pub(crate) fn strided(
        data: &'a [f32],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        assert!(rows > 0 && columns > 0, "a matrix without elements");
        let last = (rows - 1) * row_stride + (columns - 1) * column_stride;
        assert!(last < data.len(), "a view of {rows} x {columns} beyond its {} numbers", data.len());
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// A matrix whose rows follow each other in the slice.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, [rows, columns], [columns, 1])
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// The number of products that are summed at a time. A sum of many numbers in single precision loses digits as it
/// grows. Partial sums lose fewer: with 128, a whole model is as exact as with PyTorch's products.
const DEPTH: usize = 128;

/// Computes `out = a b`, or `out += a b`, on this thread. `out` has a row every `row_stride` elements.
///
/// # Panics
///
/// If the shapes do not match.
pub(crate) fn product(out: &mut [f32], row_stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    assert!(row_stride >= b.columns && (a.rows - 1) * row_stride + b.columns <= out.len(), "the result does not fit");
    static UNPACKED: Once = Once::new();
    UNPACKED.call_once(|| {
        // Our matrices fit the cache when they are multiplied; copying them first would cost 5 %.
        gemm::set_lhs_packing_threshold_single_thread(64);
        gemm::set_rhs_packing_threshold(64);
    });
    for first in (0..a.columns).step_by(DEPTH) {
        let depth = DEPTH.min(a.columns - first);
        let a = Matrix { data: &a.data[first * a.column_stride..], columns: depth, ..a };
        let b = Matrix { data: &b.data[first * b.row_stride..], rows: depth, ..b };
        add_product(out, row_stride, accumulate || first > 0, a, b);
    }
}

/// A part of a product whose shapes are checked.
fn add_product(out: &mut [f32], row_stride: usize, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    // SAFETY: the views were checked at construction, and fewer columns or rows keep them valid. The caller has checked
    // `out`, which is borrowed exclusively.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_rows() {
        // Windows of three numbers, two apart, times a column that sums them.
        let numbers: Vec<f32> = (0..7u8).map(f32::from).collect();
        let windows = Matrix::strided(&numbers, [3, 3], [2, 1]);
        let mut sums = [1.0; 3];
        product(&mut sums, 1, true, windows, Matrix::new(&[1.0; 3], 3, 1));
        assert_eq!(sums, [4.0, 10.0, 16.0]);
        let mut transposed = [0.0; 3];
        product(&mut transposed, 3, false, Matrix::new(&[1.0; 3], 1, 3), windows.transposed());
        assert_eq!(transposed, [3.0, 9.0, 15.0]);
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn a_view_cannot_reach_beyond_its_slice() {
        Matrix::strided(&[0.0; 7], [3, 3], [2, 2]);
    }
}
