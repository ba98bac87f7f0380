//! Encodes a song as HE-AAC in ADTS, which ffmpeg does not support, for scripts/formats.
//!
//! `cargo run --package audio --example he_aac he|hev2 IN.wav OUT.aac`
//!
//! IN.wav is 16-bit stereo with a header of 44 bytes.

use std::error::Error;

use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, Encoder, EncoderParams, Transport};

const WAV_HEADER: usize = 44;
/// Stereo frames of silence after the song, which drain the encoder.
const FLUSH: usize = 8_192;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [profile, input, output] = arguments.as_slice() else {
        return Err("usage: he_aac he|hev2 IN.wav OUT.aac".into());
    };
    let wav = std::fs::read(input)?;
    let (header, body) = wav.split_at_checked(WAV_HEADER).ok_or("the WAV file is too short")?;
    let sample_rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    let mut samples: Vec<i16> = body.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect();
    samples.resize(samples.len() + 2 * FLUSH, 0);
    let (audio_object_type, bit_rate) = match profile.as_str() {
        "he" => (AudioObjectType::Mpeg4HeAac, 56_000),
        "hev2" => (AudioObjectType::Mpeg4HeAacV2, 32_000),
        other => return Err(format!("no profile is called {other}").into()),
    };
    let encoder = Encoder::new(EncoderParams {
        bit_rate: BitRate::Cbr(bit_rate),
        sample_rate,
        transport: Transport::Adts,
        channels: ChannelMode::Stereo,
        audio_object_type,
    })
    .map_err(|error| error.to_string())?;
    let (mut rest, mut packet, mut encoded) = (samples.as_slice(), vec![0; 1 << 14], Vec::new());
    while !rest.is_empty() {
        let made = encoder.encode(rest, &mut packet).map_err(|error| error.to_string())?;
        if made.input_consumed == 0 && made.output_size == 0 {
            break;
        }
        encoded.extend_from_slice(&packet[..made.output_size]);
        rest = &rest[made.input_consumed.min(rest.len())..];
    }
    std::fs::write(output, encoded)?;
    Ok(())
}
