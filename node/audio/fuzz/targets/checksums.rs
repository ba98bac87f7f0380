//! Makes checksums valid in mutated bytes. Without this a reader drops mutated data, and the fuzzer does not reach the
//! code behind.

/// Ogg's polynomial (RFC 3533, section 6), not reflected.
const OGG_POLYNOMIAL: u32 = 0x04c1_1db7;
const OGG_HEADER: usize = 27;

/// Corrects the checksums of the consecutive Ogg pages from the beginning on.
pub fn mend_ogg(mut bytes: &mut [u8]) {
    while bytes.starts_with(b"OggS") && bytes.len() >= OGG_HEADER {
        let table_end = OGG_HEADER + usize::from(bytes[OGG_HEADER - 1]);
        let Some(table) = bytes.get(OGG_HEADER..table_end) else { return };
        let end = table_end + table.iter().copied().map(usize::from).sum::<usize>();
        let Some((page, rest)) = bytes.split_at_mut_checked(end) else { return };
        page[22..26].fill(0);
        let sum = page.iter().fold(0u32, |sum, byte| {
            (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
                if sum >> 31 == 1 { (sum << 1) ^ OGG_POLYNOMIAL } else { sum << 1 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        bytes = rest;
    }
}

/// Corrects the checksums of the headers of a tar file.
pub fn mend_tar(bytes: &mut [u8]) {
    const BLOCK: usize = 512;
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().filter(|byte| (b'0'..b'8').contains(byte));
        let size = digits.fold(0usize, |size, digit| (size << 3) | usize::from(digit - b'0'));
        at += BLOCK + size.min(bytes.len()).next_multiple_of(BLOCK);
    }
}
