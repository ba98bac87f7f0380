//! Medians as Candle operators.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape};
use rayon::prelude::*;

/// The median of a window along the last axis, centred on each value. The window's length is an odd number. At the
/// ends, the window is cut off.
pub(super) struct MedianAlong(pub(super) usize);

impl CustomOp1 for MedianAlong {
    fn name(&self) -> &'static str {
        "median-along"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = contiguous(storage.as_slice::<f32>()?, layout)?;
        let length = layout.shape().dims().last().copied().unwrap_or(1).max(1);
        let mut medians = vec![0.0; values.len()];
        medians
            .par_chunks_exact_mut(length)
            .zip(values.par_chunks_exact(length))
            .for_each(|(medians, values)| slide(values, self.0 / 2, medians));
        Ok((CpuStorage::F32(medians), layout.shape().clone()))
    }
}

/// Keeps the window sorted while it moves, one value in and one out.
fn slide(values: &[f32], reach: usize, medians: &mut [f32]) {
    let mut window: Vec<f32> = Vec::with_capacity(2 * reach + 2);
    let place = |window: &[f32], value: f32| window.partition_point(|other| *other < value);
    for value in values.iter().take(reach) {
        window.insert(place(&window, *value), *value);
    }
    for (at, median) in medians.iter_mut().enumerate() {
        if let Some(value) = values.get(at + reach) {
            window.insert(place(&window, *value), *value);
        }
        if at > reach {
            window.remove(place(&window, values[at - reach - 1]));
        }
        *median = window[window.len() / 2];
    }
}

/// For every row of `[rows, columns]` and every column, the median over several rows. The row of the second argument,
/// `[rows, count]`, has their indexes.
pub(super) struct MedianOfRows;

impl CustomOp2 for MedianOfRows {
    fn name(&self) -> &'static str {
        "median-of-rows"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = contiguous(storage.as_slice::<f32>()?, layout)?;
        let rows = contiguous(rows.as_slice::<u32>()?, rows_layout)?;
        let ((_, columns), (_, count)) = (layout.shape().dims2()?, rows_layout.shape().dims2()?);
        let mut medians = vec![0.0; values.len()];
        medians.par_chunks_exact_mut(columns).zip(rows.par_chunks_exact(count)).for_each(|(medians, rows)| {
            let mut several = vec![0.0; count];
            for (column, median) in medians.iter_mut().enumerate() {
                for (value, row) in several.iter_mut().zip(rows) {
                    *value = values[*row as usize * columns + column];
                }
                *median = *several.select_nth_unstable_by(count / 2, f32::total_cmp).1;
            }
        });
        Ok((CpuStorage::F32(medians), layout.shape().clone()))
    }
}

fn contiguous<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    let (from, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg("a median needs contiguous values".into()))?;
    Ok(&values[from..end])
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn windows_are_cut_off_at_the_ends() {
        let values = Tensor::new(&[[9f32, 1., 8., 2., 7.], [0., 0., 5., 0., 0.]], &Device::Cpu).unwrap();
        let medians = values.apply_op1_no_bwd(&MedianAlong(3)).unwrap();
        assert_eq!(medians.to_vec2::<f32>().unwrap(), [[9., 8., 2., 7., 7.], [0.; 5]]);
        let medians = values.apply_op1_no_bwd(&MedianAlong(99)).unwrap();
        assert_eq!(medians.to_vec2::<f32>().unwrap(), [[7.; 5], [0.; 5]]);
    }

    #[test]
    fn medians_are_taken_over_the_given_rows() {
        let values = Tensor::new(&[[1f32, 10.], [2., 30.], [3., 20.]], &Device::Cpu).unwrap();
        let rows = Tensor::new(&[[0u32, 1, 2], [0, 0, 1], [2, 2, 2]], &Device::Cpu).unwrap();
        let medians = values.apply_op2_no_bwd(&rows, &MedianOfRows).unwrap();
        assert_eq!(medians.to_vec2::<f32>().unwrap(), [[2., 20.], [1., 10.], [3., 20.]]);
    }
}
