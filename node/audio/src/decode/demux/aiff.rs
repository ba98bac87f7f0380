//! AIFF and AIFF-C (Apple, "Audio Interchange File Format", 1991).
//!
//! The length of the FORM chunk is ignored: programs write it wrong, and the chunks in it have lengths of their own.

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_QT, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_MULAW,
    CODEC_ID_PCM_S8, CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE,
    CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};

use super::pcm::{Samples, Shape};
use super::window::Window;
use super::{Container, DecodeError, only};

/// The largest number of chunks that are read.
const MOST_CHUNKS: usize = 4096;

/// The content of the common chunk.
struct Common {
    channels: usize,
    frames: u64,
    bits: u16,
    rate: u32,
    compression: [u8; 4],
}

pub(super) fn open(mut window: Window, begin: u64) -> Result<Container, DecodeError> {
    let (mut at, mut common, mut sound) = (begin + 12, None, None);
    for _ in 0..MOST_CHUNKS {
        let Some([a, b, c, d, e, f, g, h]) = window.array::<8>(at)? else { break };
        let (content, length) = (at + 8, u64::from(u32::from_be_bytes([e, f, g, h])));
        match &[a, b, c, d] {
            b"COMM" => common = Some(read_common(&mut window, content, length)?),
            b"SSND" => {
                let offset = window.array::<4>(content)?.map_or(0, u32::from_be_bytes);
                let begin = content + 8 + u64::from(offset);
                sound = Some(begin..content.saturating_add(length).min(window.end()).max(begin));
            }
            _ => {}
        }
        at = content.saturating_add(length).saturating_add(length % 2);
        if common.is_some() && sound.is_some() {
            break;
        }
    }
    let Some(common) = common else { return Err(damaged("it has no description of its samples")) };
    let shape = shape(&common)?;
    // A song without frames needs no sample chunk.
    let promised = if common.compression == *b"ima4" { common.frames.saturating_mul(64) } else { common.frames };
    let Some(mut sound) = sound else {
        return Err(if promised == 0 { DecodeError::Silent } else { damaged("it has no samples") });
    };
    let bytes = promised.div_ceil(shape.frames_per_block).saturating_mul(shape.block);
    // Some recorders that were interrupted write no lengths.
    let unknown = sound.is_empty() || promised == 0;
    sound.end = match unknown {
        true => window.end(),
        false => sound.end.min(sound.start.saturating_add(bytes)),
    };
    let promised = (promised > 0).then_some(promised);
    let samples = Samples::new(window, shape, [sound], promised, only(0..u64::MAX))?;
    Ok(Container::new("aiff", samples))
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Header { format: "AIFF".into(), reason: reason.into() }
}

fn read_common(window: &mut Window, at: u64, length: u64) -> Result<Common, DecodeError> {
    let Some([c, d, e, f, g, h, i, j, rate @ ..]) = window.array::<18>(at)? else {
        return Err(damaged("the description of its samples is too short"));
    };
    let compression = match length {
        22.. => window.array::<4>(at + 18)?.unwrap_or(*b"NONE"),
        _ => *b"NONE",
    };
    Ok(Common {
        channels: usize::from(u16::from_be_bytes([c, d])),
        frames: u64::from(u32::from_be_bytes([e, f, g, h])),
        bits: u16::from_be_bytes([i, j]),
        rate: extended(rate),
        compression,
    })
}

/// An 80-bit float (IEEE 754 extended precision) as an integer; 0 if it is not a sample rate.
fn extended(bytes: [u8; 10]) -> u32 {
    let [sign, exponent, mantissa @ ..] = bytes;
    let exponent = i32::from(u16::from_be_bytes([sign & 0x7f, exponent])) - 16_383;
    if sign & 0x80 != 0 || !(0..32).contains(&exponent) {
        return 0;
    }
    // Rounds to the nearest integer.
    let mantissa = u64::from_be_bytes(mantissa);
    let shift = 63 - exponent;
    u32::try_from((u128::from(mantissa) + (1 << (shift - 1))) >> shift).unwrap_or(0)
}

fn shape(common: &Common) -> Result<Shape, DecodeError> {
    let (rate, channels) = (common.rate, common.channels);
    let bytes = u64::from(common.bits).div_ceil(8);
    let codec = match (&common.compression, bytes) {
        (b"NONE" | b"none" | b"twos", 1) => CODEC_ID_PCM_S8,
        (b"NONE" | b"none" | b"twos", 2) => CODEC_ID_PCM_S16BE,
        (b"NONE" | b"none" | b"twos" | b"in24", 3) => CODEC_ID_PCM_S24BE,
        (b"NONE" | b"none" | b"twos" | b"in32", 4) => CODEC_ID_PCM_S32BE,
        (b"sowt", 1) => CODEC_ID_PCM_S8,
        (b"sowt", 2) => CODEC_ID_PCM_S16LE,
        (b"sowt" | b"42ni", 3) => CODEC_ID_PCM_S24LE,
        (b"sowt" | b"23ni", 4) => CODEC_ID_PCM_S32LE,
        (b"raw ", 1) => CODEC_ID_PCM_U8,
        (b"fl32" | b"FL32", _) => return Ok(Shape::linear(CODEC_ID_PCM_F32BE, rate, channels, 4)),
        (b"fl64" | b"FL64", _) => return Ok(Shape::linear(CODEC_ID_PCM_F64BE, rate, channels, 8)),
        (b"ulaw" | b"ULAW", _) => return Ok(Shape::linear(CODEC_ID_PCM_MULAW, rate, channels, 1)),
        (b"alaw" | b"ALAW", _) => return Ok(Shape::linear(CODEC_ID_PCM_ALAW, rate, channels, 1)),
        (b"ima4", _) => {
            let mut shape = Shape::linear(CODEC_ID_ADPCM_IMA_QT, rate, channels, 34);
            (shape.frames_per_block, shape.bits) = (64, 4);
            return Ok(shape);
        }
        (name, _) => {
            let name = String::from_utf8_lossy(name).trim().to_owned();
            return Err(DecodeError::Unsupported(format!("AIFF with the codec {name:?} of {} bits", common.bits)));
        }
    };
    Ok(Shape::linear(codec, rate, channels, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_rates_are_parsed() {
        assert_eq!(extended([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]), 44_100);
        assert_eq!(extended([0x40, 0x0e, 0xbb, 0x80, 0, 0, 0, 0, 0, 0]), 48_000);
        assert_eq!(extended([0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0]), 8_000);
        assert_eq!(extended([0xc0, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]), 0);
        assert_eq!(extended([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 0);
        assert_eq!(extended([0; 10]), 0);
    }
}
