//! The Python names that a checkpoint may contain, and the values of calls to them.

use candle_core::DType;

use super::object::{Object, TensorView};

/// The type of the numbers in a storage of this class.
pub(super) fn storage_type(name: &str) -> Option<DType> {
    Some(match name {
        "torch.FloatStorage" => DType::F32,
        "torch.HalfStorage" => DType::F16,
        "torch.BFloat16Storage" => DType::BF16,
        "torch.DoubleStorage" => DType::F64,
        _ => return None,
    })
}

/// Whether the name may appear. The types of training metrics are allowed so that their values can be skipped.
pub(super) fn is_allowed(name: &str) -> bool {
    storage_type(name).is_some()
        || name.starts_with("demucs.")
        || matches!(
            name,
            "torch.LongStorage"
                | "torch.IntStorage"
                | "torch.BoolStorage"
                | "torch._utils._rebuild_tensor_v2"
                | "torch._utils._rebuild_parameter"
                | "collections.OrderedDict"
                | "fractions.Fraction"
                | "numpy.core.multiarray.scalar"
                | "numpy._core.multiarray.scalar"
                | "numpy.dtype"
                | "_codecs.encode"
                | "omegaconf.dictconfig.DictConfig"
        )
}

/// The value of a call, without running any Python; none if this call is not supported.
pub(super) fn call(name: &str, arguments: &[Object]) -> Option<Object> {
    Some(match (name, arguments) {
        ("collections.OrderedDict", []) => Object::Table(Vec::new()),
        ("fractions.Fraction", [Object::Int(numerator), Object::Int(denominator)]) => {
            Object::Fraction(*numerator, *denominator)
        }
        ("fractions.Fraction", [Object::Text(text)]) => {
            let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
            Object::Fraction(numerator.parse().ok()?, denominator.parse().ok()?)
        }
        ("torch._utils._rebuild_parameter", [tensor, ..]) => tensor.clone(),
        (
            "torch._utils._rebuild_tensor_v2",
            [Object::Storage(dtype, file), Object::Int(offset), Object::List(shape), Object::List(strides), ..],
        ) => {
            let (shape, strides) = (sizes(shape)?, sizes(strides)?);
            if shape.len() != strides.len() {
                return None;
            }
            let offset = usize::try_from(*offset).ok()?;
            Object::Tensor(Box::new(TensorView { dtype: *dtype, file: file.clone(), offset, shape, strides }))
        }
        ("torch._utils._rebuild_tensor_v2", [Object::Other, ..])
        | ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar" | "numpy.dtype" | "_codecs.encode", _) => {
            Object::Other
        }
        _ => return None,
    })
}

fn sizes(list: &[Object]) -> Option<Vec<usize>> {
    list.iter().map(|size| if let Object::Int(size) = size { usize::try_from(*size).ok() } else { None }).collect()
}
