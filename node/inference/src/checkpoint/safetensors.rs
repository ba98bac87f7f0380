//! Checkpoints as safetensors files. The header's metadata holds three texts, as `demucs` 4.1 writes them: `klass` (the
//! class with its module), `args` (a JSON array) and `kwargs` (a JSON object).

use candle_core::Device;
use safetensors::SafeTensors;
use serde_json::Value;

use super::contents::Checkpoint;

/// Reads a checkpoint; the error says what is wrong with the file.
pub(super) fn read(bytes: &[u8]) -> Result<Checkpoint, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| text(&error))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let entry = |name: &str| {
        metadata.get(name).ok_or(format!("its header has no {name:?}; the metadata must hold klass, args and kwargs"))
    };
    let json = |name: &str| serde_json::from_str::<Value>(entry(name)?).map_err(|error| format!("{name}: {error}"));
    if metadata.contains_key("structure") {
        return Err("it holds a quantized model; use the model that is not quantized".into());
    }
    let (Value::Array(positional), Value::Object(named)) = (json("args")?, json("kwargs")?) else {
        return Err("args must be a JSON array and kwargs a JSON object".into());
    };
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|error| text(&error))?;
    Ok(Checkpoint { class: entry("klass")?.clone(), positional, named, tensors })
}
