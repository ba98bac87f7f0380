//! The headers of ADTS frames, for the demultiplexer and the decoder.

/// The least length of a header in bytes.
pub(in crate::decode) const LENGTH: usize = 7;
/// The codec data of a track whose packets are ADTS frames with headers. Any AudioSpecificConfig is longer.
pub(in crate::decode) const MARK: [u8; 1] = [0];

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The header of a frame (ISO/IEC 14496-3, 1.A.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct AdtsHeader {
    /// The audio object type.
    pub object: u8,
    /// The index of the sample rate.
    pub rate_index: u8,
    /// The sample rate of the core in Hz.
    pub rate: u32,
    /// The channel configuration; 0 if the configuration is in the stream.
    pub channels: u8,
    /// The length of the whole frame in bytes.
    pub length: usize,
    /// The length of the header in bytes.
    pub header: usize,
    /// The number of raw data blocks.
    pub blocks: u64,
}

impl AdtsHeader {
    pub(in crate::decode) fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, second, third, fourth, fifth, sixth, seventh, ..] = *bytes else { return None };
        // The layer is always 0, unlike in MPEG audio.
        if second & 0xf6 != 0xf0 {
            return None;
        }
        let rate_index = third >> 2 & 15;
        let header = if second & 1 == 1 { 7 } else { 9 };
        let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
        (length > header).then_some(())?;
        Some(Self {
            object: (third >> 6) + 1,
            rate_index,
            rate: *RATES.get(usize::from(rate_index))?,
            channels: (third & 1) << 2 | fourth >> 6,
            length,
            header,
            blocks: u64::from(seventh & 3) + 1,
        })
    }

    /// The stream's AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    pub(in crate::decode) fn config(&self) -> [u8; 2] {
        [self.object << 3 | self.rate_index >> 1, (self.rate_index & 1) << 7 | self.channels << 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed() {
        // AAC-LC, 44.1 kHz, stereo, 371 bytes, without checksum.
        let header = AdtsHeader::read(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!((header.object, header.rate, header.channels), (2, 44_100, 2));
        assert_eq!((header.length, header.header, header.blocks), (371, 7, 1));
        assert_eq!(header.config(), [0x12, 0x10]);
        assert_eq!(AdtsHeader::read(&[0xff, 0xfb, 0x90, 0x64, 0, 0, 0]), None);
        assert_eq!(AdtsHeader::read(&[0xff, 0xf1, 0x7c, 0x80, 0x2e, 0x7f, 0xfc]), None);
    }
}
