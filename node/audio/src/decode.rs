//! Files in, samples out.
//!
//! A file is decoded to its end before it is accepted, so that a damaged one is refused when it is uploaded and not
//! when a worker meets the damage. More than two channels are mixed down as ITU-R BS.775 does it: the centre and the
//! surrounds at -3 dB, without the low-frequency channel.

use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use crate::ending::is_cut_off;
pub use crate::pcm::Pcm;
use crate::pcm::PcmWriter;
use crate::resample::{ToRate, resampled};
use crate::source::Source;

/// Sample rates that are taken, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// An mp3 or m4a may be this many frames shorter than it says, for encoders count their own padding differently.
const SLACK: u64 = 4_608;
/// The loudest sample; integers that somebody wrote as floats without scaling them are within it.
const LOUDEST: f32 = 1e10;
/// Packets that may be damaged before the file is; a file cut from a stream begins with a few.
const DAMAGED_PACKETS: u32 = 8;

/// What is accepted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest song, in seconds.
    pub max_seconds: u64,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The extension that suits the file, in lower case.
    pub format: String,
    /// Its length in frames at 44.1 kHz, exactly as [`decode_to`] will make them.
    pub frames: u64,
    /// Its own sample rate in Hz.
    pub rate: u32,
    /// Its own channels.
    pub channels: usize,
}

/// A file cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty; choose one with music in it")]
    Empty,
    /// No audio of a known kind.
    #[error("this is not an audio file that can be read; upload mp3, wav, flac, ogg/vorbis or m4a/aac")]
    NotAudio,
    /// The container is known, what is in it is not.
    #[error("this file's audio cannot be decoded ({0}); convert it to mp3, wav, flac, ogg/vorbis or m4a/aac")]
    Unsupported(String),
    /// It has no samples.
    #[error("the file holds no sound; choose one that is longer than nothing")]
    Silent,
    /// It ends too early.
    #[error("the file ends after {found:.1} of {promised:.1} seconds; it was cut off, upload the whole file")]
    Truncated {
        /// Seconds that are there.
        found: f64,
        /// Seconds that should be.
        promised: f64,
    },
    /// Its end is missing, nobody knows how much of it.
    #[error("the file ends in the middle of something; it was cut off, upload the whole file")]
    CutOff,
    /// It is broken inside.
    #[error("the file is damaged after {seconds:.1} seconds ({reason}); upload an intact one")]
    Damaged {
        /// Where.
        seconds: f64,
        /// How.
        reason: String,
    },
    /// It is too long.
    #[error("the song is longer than {0} seconds, the most that is taken here; upload a shorter one")]
    TooLong(u64),
    /// The sample rate cannot be converted.
    #[error("the sample rate cannot be converted to 44.1 kHz: {0}")]
    Resample(String),
    /// The disk failed.
    #[error("the samples cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Reads the whole file and says what it holds. `extension` is the file name's, if known.
pub fn probe(file: &File, extension: Option<&str>, limits: &Limits) -> Result<Probe, DecodeError> {
    let limit = *limits;
    let decoded = guarded(|| decode(file, extension, Some(limit), &mut |_| Ok(())))?;
    Ok(Probe {
        format: decoded.format,
        frames: resampled(decoded.frames, decoded.rate),
        rate: decoded.rate,
        channels: decoded.channels,
    })
}

/// Decodes the file to the empty file `out` at 44.1 kHz.
pub fn decode_to(file: &File, extension: Option<&str>, out: File) -> Result<Pcm, DecodeError> {
    guarded(|| {
        let mut writer = PcmWriter::new(out);
        let mut rate: Option<ToRate> = None;
        decode(file, extension, None, &mut |block| {
            let converter = match &mut rate {
                Some(converter) => converter,
                None => rate.insert(ToRate::new(block.rate)?),
            };
            converter.feed(block.interleaved, &mut |samples| Ok(writer.write(samples)?))
        })?;
        if let Some(mut converter) = rate {
            converter.finish(&mut |samples| Ok(writer.write(samples)?))?;
        }
        Ok(writer.finish()?)
    })
}

/// Decoders are many and files are strange: a panic in one is a damaged file, not the end of the node.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::Damaged { seconds: 0.0, reason: "its decoder gave up on it".into() }))
}

/// Some stereo frames at the file's own rate.
struct Block<'a> {
    interleaved: &'a [f32],
    rate: u32,
}

struct Decoded {
    format: String,
    frames: u64,
    rate: u32,
    channels: usize,
}

/// Opens a file of a known kind that has its end.
pub(crate) fn open(file: &File, extension: Option<&str>) -> Result<Box<dyn FormatReader>, DecodeError> {
    if file.metadata()?.len() == 0 {
        return Err(DecodeError::Empty);
    }
    if is_cut_off(file)? {
        return Err(DecodeError::CutOff);
    }
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(Box::new(Source::new(file)?), Default::default());
    symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|_| DecodeError::NotAudio)
}

fn decode(
    file: &File,
    extension: Option<&str>,
    limits: Option<Limits>,
    sink: &mut dyn FnMut(Block<'_>) -> Result<(), DecodeError>,
) -> Result<Decoded, DecodeError> {
    let mut format = open(file, extension)?;
    let name = extension_of(format.format_info().short_name);
    let track = format.default_track(TrackType::Audio).ok_or(DecodeError::NotAudio)?;
    let (id, promised) = (track.id, track.num_frames);
    let parameters =
        track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or(DecodeError::NotAudio)?.clone();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .map_err(|error| DecodeError::Unsupported(error.to_string()))?;

    let mut found = Decoded { format: name, frames: 0, rate: 0, channels: 0 };
    let mut damaged = 0;
    let mut ending = None;
    let (mut raw, mut stereo) = (Vec::new(), Vec::new());
    loop {
        let seconds = found.frames as f64 / f64::from(found.rate.max(1));
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ending = Some("it ends in the middle of a packet".to_owned());
                break;
            }
            Err(Error::ResetRequired) => {
                return Err(DecodeError::Unsupported("it changes its format on the way".into()));
            }
            Err(Error::IoError(error)) => return Err(error.into()),
            Err(error) => {
                return Err(DecodeError::Damaged { seconds, reason: error.to_string() });
            }
        };
        if packet.track_id != id {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(buffer) => {
                take(&buffer, &mut found, &mut raw, &mut stereo)?;
                sink(Block { interleaved: &stereo, rate: found.rate })?;
            }
            Err(Error::DecodeError(reason)) => {
                damaged += 1;
                if damaged > DAMAGED_PACKETS {
                    return Err(DecodeError::Damaged { seconds, reason: reason.into() });
                }
            }
            Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => damaged += 1,
            Err(error) => {
                return Err(DecodeError::Damaged { seconds, reason: error.to_string() });
            }
        }
        if let Some(Limits { max_seconds }) = limits
            && found.frames > max_seconds.saturating_mul(u64::from(found.rate))
        {
            return Err(DecodeError::TooLong(max_seconds));
        }
    }
    let seconds = |frames: u64| frames as f64 / f64::from(found.rate.max(1));
    match promised {
        Some(promised) if found.frames + SLACK < promised => {
            return Err(DecodeError::Truncated { found: seconds(found.frames), promised: seconds(promised) });
        }
        _ => {}
    }
    if found.frames == 0 {
        return Err(match damaged {
            0 => DecodeError::Silent,
            _ => DecodeError::NotAudio,
        });
    }
    if let Some(reason) = ending
        && promised.is_some()
        && !matches!(found.format.as_str(), "mp3" | "aac")
    {
        return Err(DecodeError::Damaged { seconds: seconds(found.frames), reason });
    }
    Ok(found)
}

/// Takes a decoded packet: checks its shape and mixes it down to stereo.
fn take(
    buffer: &GenericAudioBufferRef<'_>,
    found: &mut Decoded,
    raw: &mut Vec<f32>,
    stereo: &mut Vec<f32>,
) -> Result<(), DecodeError> {
    let (rate, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
    if found.rate == 0 {
        if !RATES.contains(&rate) || channels == 0 {
            return Err(DecodeError::Unsupported(format!("{channels} channels at {rate} Hz")));
        }
        (found.rate, found.channels) = (rate, channels);
    }
    if (rate, channels) != (found.rate, found.channels) {
        return Err(DecodeError::Unsupported("it changes its sample rate or channels on the way".into()));
    }
    raw.resize(buffer.samples_interleaved(), 0.0);
    buffer.copy_to_slice_interleaved(raw.as_mut_slice());
    stereo.clear();
    stereo.extend(raw.chunks_exact(channels).flat_map(downmix).map(sane));
    found.frames += buffer.frames() as u64;
    Ok(())
}

/// A sample that everything after can count with: no number is silence, and what is absurdly loud is a little less so.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

/// One frame of any number of channels as left and right.
fn downmix(frame: &[f32]) -> [f32; 2] {
    const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;
    match *frame {
        [mono] => [mono, mono],
        [left, right] => [left, right],
        [left, right, centre] => [left + HALF_POWER * centre, right + HALF_POWER * centre],
        [left, right, back_left, back_right] => [left + HALF_POWER * back_left, right + HALF_POWER * back_right],
        [left, right, centre, back_left, back_right] => {
            [left + HALF_POWER * (centre + back_left), right + HALF_POWER * (centre + back_right)]
        }
        // Left, right, centre, low frequencies, then pairs.
        [left, right, centre, _, ref rest @ ..] => {
            let side = |at: usize| rest.iter().skip(at).step_by(2).sum::<f32>();
            [left + HALF_POWER * (centre + side(0)), right + HALF_POWER * (centre + side(1))]
        }
        [] => [0.0, 0.0],
    }
}

/// The usual extension for what symphonia calls a format.
fn extension_of(short_name: &str) -> String {
    match short_name {
        "wave" | "wav" | "riff" => "wav",
        "isomp4" | "mp4" => "m4a",
        "mp1" | "mp2" | "mp3" | "mpa" => "mp3",
        "adts" | "aac" => "aac",
        other => other,
    }
    .to_owned()
}
