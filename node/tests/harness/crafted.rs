//! Crafted files that exhaust the stack or the memory of a decoder without limits.

/// An ID3v2.3 tag with these frames and the padding that writers usually add.
pub(crate) fn id3(frames: &[u8]) -> Vec<u8> {
    const PADDING: usize = 20;
    let length = frames.len() + PADDING;
    let mut tag = b"ID3\x03\0\0".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| u8::try_from(length >> shift & 127).unwrap()));
    tag.extend(frames);
    tag.resize(tag.len() + PADDING, 0);
    tag
}

fn frame(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [name.as_slice(), &length.to_be_bytes(), &[0, 0], content].concat()
}

/// A tag with `links` tables of contents, each of which has the next as its child.
pub(crate) fn chain(links: u32) -> Vec<u8> {
    let link = |number: u32| {
        let flags = if number == 0 { 3 } else { 1 };
        let content = format!("{number:x}\0{}\u{1}{:x}\0", char::from(flags), number + 1);
        frame(b"CTOC", content.as_bytes())
    };
    id3(&(0..links).flat_map(link).collect::<Vec<_>>())
}

/// A tag with `levels` nested tables of contents.
pub(crate) fn nested(levels: u32) -> Vec<u8> {
    id3(&(0..levels).fold(Vec::new(), |inner, _| frame(b"CTOC", &[b"a\0\0\0", inner.as_slice()].concat())))
}

/// A tag with `count` user-defined texts.
pub(crate) fn texts(count: usize) -> Vec<u8> {
    id3(&frame(b"TXXX", b"\0ab\0cdef").repeat(count))
}

/// A second of silence as AIFF with a tag in a chunk.
pub(crate) fn aiff(tag: &[u8]) -> Vec<u8> {
    const FRAMES: u32 = 44_100;
    let mut common = vec![0, 1];
    common.extend(FRAMES.to_be_bytes());
    common.extend([0, 16]);
    // 44,100 Hz as an 80-bit float.
    common.extend([0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]);
    let mut sound = vec![0; 8];
    sound.resize(8 + 2 * FRAMES as usize, 0);
    let chunks = [(b"COMM", common.as_slice()), (b"SSND", &sound), (b"ID3 ", tag)];
    let chunks = chunks.map(|(name, content)| chunk(name, content, u32::to_be_bytes)).concat();
    [b"FORM".as_slice(), &u32::try_from(chunks.len() + 4).unwrap().to_be_bytes(), b"AIFF", &chunks].concat()
}

/// A second of silence as WAV with a tag in a chunk.
pub(crate) fn wav(tag: &[u8]) -> Vec<u8> {
    const RATE: u32 = 44_100;
    let mut format = vec![1, 0, 1, 0];
    format.extend(RATE.to_le_bytes());
    format.extend((2 * RATE).to_le_bytes());
    format.extend([2, 0, 16, 0]);
    let sound = vec![0; 2 * RATE as usize];
    let chunks = [(b"fmt ", format.as_slice()), (b"ID3 ", tag), (b"data", &sound)];
    let chunks = chunks.map(|(name, content)| chunk(name, content, u32::to_le_bytes)).concat();
    [b"RIFF".as_slice(), &u32::try_from(chunks.len() + 4).unwrap().to_le_bytes(), b"WAVE", &chunks].concat()
}

fn chunk(name: &[u8; 4], content: &[u8], order: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let padding: &[u8] = if content.len().is_multiple_of(2) { b"" } else { b"\0" };
    [name, order(u32::try_from(content.len()).unwrap()).as_slice(), content, padding].concat()
}

/// Digital silence as FLAC: 8 channels at 655,350 Hz in blocks of 40 bytes.
pub(crate) fn silence(seconds: u64) -> Vec<u8> {
    const BLOCK: u16 = 65_535;
    const RATE: u64 = 655_350;
    const CHANNELS: u64 = 8;
    const BITS: u64 = 16;
    let total = RATE * seconds;
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend([BLOCK.to_be_bytes(), BLOCK.to_be_bytes()].concat());
    file.extend([0; 6]);
    file.extend((RATE << 44 | (CHANNELS - 1) << 41 | (BITS - 1) << 36 | total).to_be_bytes());
    file.extend([0; 16]);
    for number in 0..total / u64::from(BLOCK) {
        let mut block = vec![0xff, 0xf8, 0x70, ((CHANNELS as u8 - 1) << 4) | (4 << 1)];
        block.extend(coded(number));
        block.extend((BLOCK - 1).to_be_bytes());
        block.push(u8::try_from(remainder(&block, 0x07, 8)).unwrap());
        // Each channel is a constant of 16 bits.
        block.extend([0; 3 * CHANNELS as usize]);
        block.extend(remainder(&block, 0x8005, 16).to_be_bytes());
        file.extend(block);
    }
    file
}

/// A number below 2^21 in FLAC's coding, which is that of characters in UTF-8 (RFC 9639, section 9.1.5).
fn coded(number: u64) -> Vec<u8> {
    let rest = |shift: u32| 0x80 | (number >> shift & 0x3f) as u8;
    match number {
        0..0x80 => vec![number as u8],
        0x80..0x800 => vec![0xc0 | (number >> 6) as u8, rest(0)],
        0x800..0x1_0000 => vec![0xe0 | (number >> 12) as u8, rest(6), rest(0)],
        _ => vec![0xf0 | (number >> 18) as u8, rest(12), rest(6), rest(0)],
    }
}

/// A cyclic redundancy check with `bits` bits.
fn remainder(bytes: &[u8], polynomial: u16, bits: u32) -> u16 {
    let (top, mask) = (1u32 << (bits - 1), (1u32 << bits) - 1);
    let step = |crc: u32| if crc & top == 0 { crc << 1 } else { (crc << 1) ^ u32::from(polynomial) };
    let whole = bytes
        .iter()
        .fold(0u32, |crc, byte| (0..8).fold(crc ^ (u32::from(*byte) << (bits - 8)), |crc, _| step(crc) & mask));
    u16::try_from(whole).unwrap()
}
