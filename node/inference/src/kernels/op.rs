//! Layers as Candle operators.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor};

/// A layer's output: the numbers, row-major, and their shape.
pub(crate) type Output = (Vec<f32>, Shape);

/// A layer's input: a tensor's numbers, row-major, and its shape.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) shape: &'a Shape,
}

fn input<'a>(storage: &'a CpuStorage, layout: &'a Layout) -> Result<Input<'a>> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, end)) => Ok(Input { values: &values[from..end], shape: layout.shape() }),
        None => candle_core::bail!("the layer needs contiguous numbers"),
    }
}

struct Named<F>(&'static str, F);

impl<F: Fn(Input<'_>) -> Result<Output>> CustomOp1 for Named<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = (self.1)(input(storage, layout)?)?;
        Ok((CpuStorage::F32(values), shape))
    }
}

impl<F: Fn(Input<'_>, Input<'_>) -> Result<Output>> CustomOp2 for Named<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = (self.1)(input(storage, layout)?, input(other, other_layout)?)?;
        Ok((CpuStorage::F32(values), shape))
    }
}

/// Calls `reader` with the numbers of a tensor on the CPU, without a copy.
pub(crate) fn read<T>(tensor: &Tensor, reader: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(reader(input(storage, layout)?.values)),
        _ => candle_core::bail!("the numbers are not on the CPU"),
    }
}

/// Runs `layer` on a tensor.
pub(crate) fn unary(
    name: &'static str,
    tensor: &Tensor,
    layer: impl Fn(Input<'_>) -> Result<Output>,
) -> Result<Tensor> {
    tensor.apply_op1_no_bwd(&Named(name, layer))
}

/// Runs `layer` on two tensors.
pub(crate) fn binary(
    name: &'static str,
    tensor: &Tensor,
    other: &Tensor,
    layer: impl Fn(Input<'_>, Input<'_>) -> Result<Output>,
) -> Result<Tensor> {
    tensor.apply_op2_no_bwd(other, &Named(name, layer))
}
