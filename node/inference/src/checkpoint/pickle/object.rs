//! The values of a pickle.

use candle_core::DType;
use serde_json::{Map, Number, Value};

/// Values nest in checkpoints by less than ten levels.
pub(super) const MAX_DEPTH: usize = 64;

/// A value of a pickle.
#[derive(Debug, Clone)]
pub(in crate::checkpoint) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A Python name with its module, of a class or a function.
    Name(String),
    /// A list or a tuple.
    List(Vec<Object>),
    Table(Vec<(Object, Object)>),
    /// A file of numbers: their type and the file's name in the archive.
    Storage(DType, String),
    Tensor(Box<TensorView>),
    Fraction(i64, i64),
    /// A value that is not needed, such as a training's metrics.
    Other,
}

/// A tensor as a view of a file of numbers.
#[derive(Debug, Clone)]
pub(in crate::checkpoint) struct TensorView {
    pub(in crate::checkpoint) dtype: DType,
    /// The file's name in the archive's `data` folder.
    pub(in crate::checkpoint) file: String,
    /// The first number of the view, counted in numbers.
    pub(in crate::checkpoint) offset: usize,
    pub(in crate::checkpoint) shape: Vec<usize>,
    /// The distance between neighbours along each axis, in numbers.
    pub(in crate::checkpoint) strides: Vec<usize>,
}

impl Object {
    fn children(&self) -> Box<dyn Iterator<Item = &Object> + '_> {
        match self {
            Self::List(values) => Box::new(values.iter()),
            Self::Table(pairs) => Box::new(pairs.iter().flat_map(|(key, value)| [key, value])),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The number of levels on which values nest; 1 for a value without children.
    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or(0)
    }

    /// Whether it may become part of another value.
    pub(super) fn can_nest(&self) -> bool {
        self.depth() < MAX_DEPTH
    }

    /// Whether it consists of at most `limit` values.
    pub(super) fn is_small(&self, limit: usize) -> bool {
        fn count(object: &Object, left: &mut usize) -> bool {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            object.children().all(|child| count(child, left))
        }
        count(self, &mut { limit })
    }

    /// Plain data as JSON, with fractions as `demucs` writes them in safetensors; none for any other value.
    pub(in crate::checkpoint) fn json(&self) -> Option<Value> {
        self.json_at(0)
    }

    fn json_at(&self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match self {
            Self::None => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::from(*value),
            Self::Float(value) => Value::Number(Number::from_f64(*value)?),
            Self::Text(value) => Value::from(value.as_str()),
            Self::List(values) => values.iter().map(|value| value.json_at(depth + 1)).collect::<Option<_>>()?,
            Self::Table(pairs) => {
                let mut table = Map::new();
                for (key, value) in pairs {
                    let Self::Text(key) = key else { return None };
                    table.insert(key.clone(), value.json_at(depth + 1)?);
                }
                Value::Object(table)
            }
            Self::Fraction(numerator, denominator) => {
                serde_json::json!({ "_type": "fraction", "numerator": numerator, "denominator": denominator })
            }
            Self::Name(_) | Self::Storage(..) | Self::Tensor(_) | Self::Other => return None,
        })
    }
}
