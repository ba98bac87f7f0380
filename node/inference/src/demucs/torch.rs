//! PyTorch's checkpoints: a zip archive with a pickle and a file for each tensor's numbers.
//!
//! A pickle is a program. This reads the few instructions that data needs, and knows the few names that a checkpoint of
//! Demucs has to call; whatever else a file names is refused, by its name, and nothing is run.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Number, Value};
use zip::ZipArchive;

use super::checkpoint::Checkpoint;

/// The pickle, with room to spare: a model's names and sizes are some hundred kB.
const LARGEST_PICKLE: u64 = 64 << 20;
/// Values nest in checkpoints by less than ten.
const DEEPEST: usize = 64;
/// What is said once and recalled is a name, a shape or the like. Without a limit, a short file could recall lists of
/// lists of lists until the memory is full.
const RECALLED: usize = 256;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// The archive is damaged.
    #[error("the archive is damaged or cut off: {0}")]
    Archive(String),
    /// The archive has no pickle.
    #[error("the archive holds no data.pkl")]
    NoPickle,
    /// The pickle ends early or contradicts itself.
    #[error("its data is damaged at byte {at}: {reason}")]
    Damaged {
        /// Where in the pickle.
        at: usize,
        /// How.
        reason: &'static str,
    },
    /// The pickle wants something run.
    #[error("it asks to run {0}, which no model needs; it was not run, and the file is not to be trusted")]
    Forbidden(String),
    /// An instruction that plain data does not need.
    #[error("its data uses instruction {0:#04x}, which checkpoints of models do not")]
    Instruction(u8),
    /// A part is not there.
    #[error("it has no {0}")]
    Without(&'static str),
    /// The tensors' numbers.
    #[error("the tensor {name}: {reason}")]
    Tensor {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A value of a pickle.
#[derive(Debug, Clone)]
enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A name that may be called or stand for a type.
    Name(String),
    List(Vec<Object>),
    Table(Vec<(Object, Object)>),
    /// A file of numbers: its kind and its name in the archive.
    Storage(DType, String),
    Tensor(Box<Strided>),
    Fraction(i64, i64),
    /// Something that is of no interest, such as a training's metrics.
    Other,
}

impl Object {
    fn children(&self) -> Box<dyn Iterator<Item = &Object> + '_> {
        match self {
            Self::List(values) => Box::new(values.iter()),
            Self::Table(pairs) => Box::new(pairs.iter().flat_map(|(key, value)| [key, value])),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// How deep values nest in it.
    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or(0)
    }

    /// Whether it is made of at most `limit` values.
    fn is_small(&self, limit: usize) -> bool {
        fn count(object: &Object, left: &mut usize) -> bool {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            object.children().all(|child| count(child, left))
        }
        count(self, &mut { limit })
    }
}

/// A tensor as a view of a file.
#[derive(Debug, Clone)]
struct Strided {
    dtype: DType,
    file: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Reads a checkpoint: a table of `klass`, `args`, `kwargs` and `state`.
pub(crate) fn read(bytes: &[u8]) -> Result<Checkpoint, TorchError> {
    let archive = |error: &dyn std::fmt::Display| TorchError::Archive(error.to_string());
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| archive(&error))?;
    let mut names = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned()));
    let pickle = names.find(|name| name.ends_with("/data.pkl")).ok_or(TorchError::NoPickle)?;
    drop(names);
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let mut program = Vec::new();
    let file = zip.by_name(&pickle).map_err(|error| archive(&error))?;
    file.take(LARGEST_PICKLE).read_to_end(&mut program).map_err(|error| archive(&error))?;
    let Object::Table(package) = Pickle { program: &program, at: 0 }.run()? else {
        return Err(TorchError::Without("table of a model"));
    };
    let mut parts: HashMap<String, Object> = package
        .into_iter()
        .filter_map(|(key, value)| if let Object::Text(key) = key { Some((key, value)) } else { None })
        .collect();
    let class = match parts.remove("klass") {
        Some(Object::Name(name)) => name,
        _ => return Err(TorchError::Without("class (klass)")),
    };
    let positional = match parts.remove("args").map(|args| json(&args, 0)) {
        Some(Some(Value::Array(args))) => args,
        _ => return Err(TorchError::Without("arguments (args)")),
    };
    let named = match parts.remove("kwargs").map(|args| json(&args, 0)) {
        Some(Some(Value::Object(args))) => args,
        _ => return Err(TorchError::Without("arguments (kwargs)")),
    };
    let Some(Object::Table(state)) = parts.remove("state") else {
        return Err(TorchError::Without("weights (state)"));
    };
    let mut tensors = HashMap::new();
    // Entries are stored as they are, so that only views of the same numbers could add up to more than the file.
    let mut left = bytes.len();
    for (name, value) in state {
        match (name, value) {
            (Object::Text(name), Object::Tensor(tensor)) => {
                let loaded = load(&mut zip, &folder, &tensor, &mut left)
                    .map_err(|reason| TorchError::Tensor { name: name.clone(), reason })?;
                tensors.insert(name, loaded);
            }
            (Object::Text(name), _) if name == "__quantized" => {
                return Err(TorchError::Without("plain weights: it is quantized; use the model that is not"));
            }
            _ => return Err(TorchError::Without("plain table of weights (state)")),
        }
    }
    Ok(Checkpoint { class, positional, named, tensors })
}

/// Reads a tensor's numbers.
fn load(
    zip: &mut ZipArchive<Cursor<&[u8]>>,
    folder: &str,
    tensor: &Strided,
    left: &mut usize,
) -> Result<Tensor, String> {
    let Strided { dtype, file, offset, shape, strides } = tensor;
    let size = dtype.size_in_bytes();
    let count = shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side)).ok_or("it is too large")?;
    let mut expected = 1;
    for (side, stride) in shape.iter().zip(strides).rev() {
        if *side != 1 && *stride != expected {
            return Err("its numbers are not in order".into());
        }
        expected *= side;
    }
    let file = zip.by_name(&format!("{folder}data/{file}")).map_err(|error| error.to_string())?;
    let from = offset.checked_mul(size).ok_or("it is too large")?;
    let upto = count.checked_mul(size).and_then(|length| length.checked_add(from)).ok_or("it is too large")?;
    if (upto as u64) > file.size() {
        return Err(format!("it needs {upto} bytes of a file of {}", file.size()));
    }
    *left = left.checked_sub(upto).ok_or("the tensors hold more than the file")?;
    let mut bytes = Vec::with_capacity(upto);
    file.take(upto as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let bytes = bytes.get(from..upto).ok_or("its file is cut off")?;
    Tensor::from_raw_buffer(bytes, *dtype, shape, &Device::Cpu).map_err(|error| error.to_string())
}

/// Plain data as JSON; fractions as `demucs` writes them there.
fn json(object: &Object, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    Some(match object {
        Object::None => Value::Null,
        Object::Bool(value) => Value::Bool(*value),
        Object::Int(value) => Value::from(*value),
        Object::Float(value) => Value::Number(Number::from_f64(*value)?),
        Object::Text(value) => Value::from(value.as_str()),
        Object::List(values) => values.iter().map(|value| json(value, depth + 1)).collect::<Option<_>>()?,
        Object::Table(pairs) => {
            let mut table = Map::new();
            for (key, value) in pairs {
                let Object::Text(key) = key else { return None };
                table.insert(key.clone(), json(value, depth + 1)?);
            }
            Value::Object(table)
        }
        Object::Fraction(numerator, denominator) => {
            serde_json::json!({ "_type": "fraction", "numerator": numerator, "denominator": denominator })
        }
        Object::Name(_) | Object::Storage(..) | Object::Tensor(_) | Object::Other => return None,
    })
}

/// What a file's numbers are.
fn storage_type(name: &str) -> Option<DType> {
    Some(match name {
        "torch.FloatStorage" => DType::F32,
        "torch.HalfStorage" => DType::F16,
        "torch.BFloat16Storage" => DType::BF16,
        "torch.DoubleStorage" => DType::F64,
        _ => return None,
    })
}

/// Names that may appear. Names of metrics' types are known so that their values can be passed over.
fn known(name: &str) -> bool {
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

/// Calls one of the known names.
fn call(name: &str, arguments: &[Object]) -> Option<Object> {
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
            let sizes = |list: &[Object]| {
                list.iter()
                    .map(|size| if let Object::Int(size) = size { usize::try_from(*size).ok() } else { None })
                    .collect::<Option<Vec<_>>>()
            };
            let (shape, strides) = (sizes(shape)?, sizes(strides)?);
            if shape.len() != strides.len() {
                return None;
            }
            let offset = usize::try_from(*offset).ok()?;
            Object::Tensor(Box::new(Strided { dtype: *dtype, file: file.clone(), offset, shape, strides }))
        }
        ("torch._utils._rebuild_tensor_v2", [Object::Other, ..])
        | ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar" | "numpy.dtype" | "_codecs.encode", _) => {
            Object::Other
        }
        _ => return None,
    })
}

/// A pickle that is being read.
struct Pickle<'a> {
    program: &'a [u8],
    at: usize,
}

impl Pickle<'_> {
    fn damaged(&self, reason: &'static str) -> TorchError {
        TorchError::Damaged { at: self.at, reason }
    }

    fn bytes(&mut self, count: usize) -> Result<&[u8], TorchError> {
        let upto = self.at.checked_add(count).filter(|upto| *upto <= self.program.len());
        let upto = upto.ok_or_else(|| self.damaged("it ends early"))?;
        let bytes = &self.program[self.at..upto];
        self.at = upto;
        Ok(bytes)
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, TorchError> {
        Ok(self.bytes(bytes)?.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn text(&mut self, length: u64) -> Result<String, TorchError> {
        let length = usize::try_from(length).map_err(|_| self.damaged("a text is too long"))?;
        let text = self.bytes(length)?.to_vec();
        String::from_utf8(text).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    fn line(&mut self) -> Result<String, TorchError> {
        let rest = &self.program[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.damaged("it ends early"))?;
        let line = self.text(length as u64)?;
        self.at += 1;
        Ok(line)
    }

    /// Runs the instructions (Python's `pickletools`, protocol 2 and what 3 and 4 write for the same data).
    fn run(&mut self) -> Result<Object, TorchError> {
        let mut stack: Vec<Object> = Vec::new();
        let mut marks: Vec<usize> = Vec::new();
        let mut memo: HashMap<u64, Object> = HashMap::new();
        loop {
            let instruction = self.number(1)? as u8;
            let empty = self.damaged("it takes what is not there");
            let mut pop =
                || stack.pop().ok_or(TorchError::Damaged { at: self.at, reason: "it takes what is not there" });
            let pushed = match instruction {
                b'.' => return pop(),
                0x80 => {
                    self.number(1)?;
                    continue;
                }
                0x95 => {
                    self.number(8)?;
                    continue;
                }
                b'(' => {
                    marks.push(stack.len());
                    continue;
                }
                b'0' => {
                    pop()?;
                    continue;
                }
                b'N' => Object::None,
                0x88 => Object::Bool(true),
                0x89 => Object::Bool(false),
                b'K' => Object::Int(self.number(1)? as i64),
                b'M' => Object::Int(self.number(2)? as i64),
                b'J' => Object::Int(i64::from(self.number(4)? as u32 as i32)),
                0x8a => {
                    let length = self.number(1)? as usize;
                    if length > 8 {
                        return Err(self.damaged("a number is too large"));
                    }
                    let number = self.number(length)?;
                    let unused = 64 - 8 * length as u32;
                    Object::Int(if length == 0 { 0 } else { ((number << unused) as i64) >> unused })
                }
                b'G' => {
                    let bits = self.bytes(8)?.iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
                    Object::Float(f64::from_bits(bits))
                }
                b'X' => {
                    let length = self.number(4)?;
                    Object::Text(self.text(length)?)
                }
                0x8c => {
                    let length = self.number(1)?;
                    Object::Text(self.text(length)?)
                }
                // Bytes: only metrics have them.
                b'C' | b'U' | b'B' | b'T' => {
                    let length = self.number(if matches!(instruction, b'C' | b'U') { 1 } else { 4 })?;
                    self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
                    Object::Other
                }
                b'c' | 0x93 => {
                    let (module, name) = if instruction == b'c' {
                        (self.line()?, self.line()?)
                    } else {
                        match (pop()?, pop()?) {
                            (Object::Text(name), Object::Text(module)) => (module, name),
                            _ => return Err(self.damaged("a name is no text")),
                        }
                    };
                    let name = format!("{module}.{name}");
                    if !known(&name) {
                        return Err(TorchError::Forbidden(name));
                    }
                    Object::Name(name)
                }
                b'}' => Object::Table(Vec::new()),
                b']' | b')' => Object::List(Vec::new()),
                0x85..=0x87 => {
                    let count = usize::from(instruction - 0x84);
                    let from = stack.len().checked_sub(count).ok_or(empty)?;
                    Object::List(stack.split_off(from))
                }
                b't' | b'l' => {
                    let from = marks.pop().filter(|from| *from <= stack.len()).ok_or(empty)?;
                    Object::List(stack.split_off(from))
                }
                b'R' => {
                    let (arguments, callee) = (pop()?, pop()?);
                    let (Object::List(arguments), Object::Name(name)) = (arguments, callee) else {
                        return Err(self.damaged("it calls what is no name"));
                    };
                    call(&name, &arguments).ok_or(TorchError::Forbidden(name))?
                }
                // A part of an object's state; no data that is read here has any.
                b'b' => {
                    pop()?;
                    continue;
                }
                b'Q' => match pop()? {
                    Object::List(parts) => match &parts[..] {
                        [Object::Text(kind), Object::Name(storage), Object::Text(file), ..] if kind == "storage" => {
                            storage_type(storage).map_or(Object::Other, |dtype| Object::Storage(dtype, file.clone()))
                        }
                        _ => return Err(self.damaged("a storage is not described")),
                    },
                    _ => return Err(self.damaged("a storage is not described")),
                },
                b'q' | b'r' | 0x94 => {
                    let place = match instruction {
                        b'q' => self.number(1)?,
                        b'r' => self.number(4)?,
                        _ => memo.len() as u64,
                    };
                    let said = stack.last().ok_or(empty)?;
                    memo.insert(place, if said.is_small(RECALLED) { said.clone() } else { Object::Other });
                    continue;
                }
                b'h' | b'j' => {
                    let place = self.number(if instruction == b'h' { 1 } else { 4 })?;
                    memo.get(&place).cloned().ok_or_else(|| self.damaged("it recalls what was never said"))?
                }
                b'a' | b'e' | b's' | b'u' => {
                    let from = match instruction {
                        b'a' => stack.len().checked_sub(1),
                        b's' => stack.len().checked_sub(2),
                        _ => marks.pop(),
                    };
                    let from = from.filter(|from| *from <= stack.len()).ok_or(empty)?;
                    let values = stack.split_off(from);
                    if values.iter().any(|value| value.depth() >= DEEPEST) {
                        return Err(self.damaged("it nests too deep"));
                    }
                    match (stack.last_mut(), instruction) {
                        (Some(Object::List(list)), b'a' | b'e') => list.extend(values),
                        (Some(Object::Table(table)), b's' | b'u') => {
                            let mut values = values.into_iter();
                            while let (Some(key), Some(value)) = (values.next(), values.next()) {
                                table.push((key, value));
                            }
                        }
                        (Some(Object::Other), _) => {}
                        _ => return Err(self.damaged("it adds to what is no list or table")),
                    }
                    continue;
                }
                other => return Err(TorchError::Instruction(other)),
            };
            if matches!(&pushed, Object::List(values) if values.iter().any(|value| value.depth() >= DEEPEST)) {
                return Err(self.damaged("it nests too deep"));
            }
            stack.push(pushed);
        }
    }
}
