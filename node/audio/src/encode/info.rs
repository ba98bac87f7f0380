//! The info tag of an MP3 with a low bitrate. LAME omits its own tag there because the frames have fewer bytes than the
//! tag. The tag's frame has 64 kbit/s instead; MPEG audio allows another bitrate in every frame.
//!
//! The layout is Xing's, with LAME's extension (Gabriel Bouvigne, "MP3 info tag revision 1 specifications"): the counts
//! that determine the length, a table for seeking, and the frames of silence at both ends.

/// The bytes of the tag: one frame of 64 kbit/s at 44.1 kHz.
pub(super) const SIZE: usize = 208;

/// An MPEG frame's header: MPEG-1 layer III without a checksum, 64 kbit/s, 44.1 kHz, joint stereo, an original.
const HEADER: [u8; 4] = [0xff, 0xfb, 0x50, 0x44];
/// The offset of the tag: after the header and the side information of a stereo frame.
const BEGIN: usize = 36;
/// The offset of LAME's extension.
const EXTENSION: usize = BEGIN + 120;
/// The frames of silence that LAME adds before the song (`ENCDELAY` in lame's encoder.h).
const DELAY: u64 = 576;
/// The number of audio frames in an MPEG frame.
const MPEG_FRAME: u64 = 1152;

/// The tag of a file at `kbps` kbit/s with `frames` audio frames, and `bytes` bytes from the tag on.
pub(super) fn tag(kbps: u32, frames: u64, bytes: u64) -> Vec<u8> {
    // `lame_encode_flush` adds silence until the song's end has passed the decoder's delay.
    let mut padding = MPEG_FRAME - (frames + DELAY) % MPEG_FRAME;
    if padding < 576 {
        padding += MPEG_FRAME;
    }
    let count = (frames + DELAY + padding) / MPEG_FRAME;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();

    let mut tag = vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| tag[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &HEADER);
    put(BEGIN, b"Info");
    // The number of MPEG frames, the bytes, the table and the quality are present.
    put(BEGIN + 4, &15u32.to_be_bytes());
    put(BEGIN + 8, &small(count));
    put(BEGIN + 12, &small(bytes));
    // At a constant bitrate every hundredth of the song has as many bytes; the table counts in units of 1/256.
    for hundredth in 0..100 {
        put(BEGIN + 16 + hundredth, &[(hundredth * 256 / 100) as u8]);
    }
    put(EXTENSION, b"LAME3.100");
    // Revision 0, constant bitrate.
    put(EXTENSION + 9, &[1]);
    put(EXTENSION + 20, &[kbps as u8]);
    let silence = ((DELAY << 12 | padding) as u32).to_be_bytes();
    put(EXTENSION + 21, &silence[1..]);
    put(EXTENSION + 28, &small(bytes));
    let check = crc16(&tag[..EXTENSION + 34]);
    tag[EXTENSION + 34..EXTENSION + 36].copy_from_slice(&check.to_be_bytes());
    tag
}

/// The CRC-16 with the polynomial x^16 + x^15 + x^2 + 1, bits reversed, initial value 0, as in LAME.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xa001 } else { sum >> 1 })
    })
}
