//! Vorbis (Xiph.Org, "Vorbis I specification").
//!
//! Symphonia decodes one and two channels. With more channels, its second and later channels are wrong
//! (symphonia-codec-vorbis 0.6.1), so lewton decodes these. The first packet of a stream only fills the window: samples
//! that a decoder returns for it are dropped.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::{Codec, DecodeError, Layout, Packet, PacketError, Signal, SymphoniaCodec};

/// The length of the identification header in bytes; the setup header follows it.
const IDENTIFICATION: usize = 30;

/// Creates the decoder for a track.
pub(super) fn open(parameters: &AudioCodecParameters) -> Result<Box<dyn Codec>, DecodeError> {
    match parameters.channels.as_ref().map_or(0, |channels| channels.count()) {
        0..=2 => Ok(Box::new(SymphoniaVorbis { codec: SymphoniaCodec::new(parameters)?, begun: false })),
        _ => Ok(Box::new(Surround::new(parameters)?)),
    }
}

/// One or two channels, by Symphonia.
struct SymphoniaVorbis {
    codec: SymphoniaCodec,
    begun: bool,
}

impl Codec for SymphoniaVorbis {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        let signal = self.codec.decode(packet, samples)?;
        if !std::mem::replace(&mut self.begun, true) {
            samples.clear();
        }
        Ok(signal)
    }
}

/// Three channels and more, by lewton.
struct Surround {
    identification: IdentHeader,
    setup: SetupHeader,
    window: PreviousWindowRight,
    signal: Signal,
}

impl Surround {
    fn new(parameters: &AudioCodecParameters) -> Result<Self, DecodeError> {
        let unsupported = |reason: &str| DecodeError::Unsupported(reason.into());
        let headers = parameters.extra_data.as_deref().and_then(|headers| headers.split_at_checked(IDENTIFICATION));
        let Some((identification, setup)) = headers else { return Err(unsupported("Vorbis without its headers")) };
        let broken = "Vorbis with damaged headers";
        let identification = read_header_ident(identification).map_err(|_| unsupported(broken))?;
        let (channels, blocks) =
            (identification.audio_channels, (identification.blocksize_0, identification.blocksize_1));
        let setup = read_header_setup(setup, channels, blocks).map_err(|_| unsupported(broken))?;
        let layout = Layout::of_vorbis(usize::from(channels));
        let layout = layout.ok_or_else(|| unsupported(&format!("Vorbis of {channels} channels")))?;
        let signal = Signal { rate: identification.audio_sample_rate, layout };
        Ok(Self { identification, setup, window: PreviousWindowRight::new(), signal })
    }
}

impl Codec for Surround {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        let (identification, setup) = (&self.identification, &self.setup);
        let decoded: Vec<Vec<f32>> = read_audio_packet_generic(identification, setup, &packet.data, &mut self.window)
            .map_err(|_| PacketError::Damaged("a packet is damaged".into()))?;
        let frames = decoded.iter().map(Vec::len).min().unwrap_or(0);
        samples.clear();
        samples.extend((0..frames).flat_map(|frame| decoded.iter().map(move |channel| channel[frame])));
        Ok(self.signal.clone())
    }
}
