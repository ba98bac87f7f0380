//! The bytes of a pickle and the operands of its instructions.

/// A pickle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// The pickle ends early or contradicts itself.
    #[error("its data is damaged at byte {at}: {reason}")]
    Damaged {
        /// The offset in the pickle, in bytes.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The pickle names a Python object that no checkpoint needs.
    #[error("it asks to run {0}, which no model needs; it was not run, and the file is not to be trusted")]
    Forbidden(String),
    /// The pickle has an instruction that plain data does not need.
    #[error("its data has the instruction {0:#04x}, which checkpoints of models do not need")]
    Instruction(u8),
}

/// A pickle that is read from its beginning.
pub(super) struct Program<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Program<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn damaged(&self, reason: &'static str) -> PickleError {
        PickleError::Damaged { at: self.at, reason }
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.damaged("it ends early"))?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// The next instruction.
    pub(super) fn instruction(&mut self) -> Result<u8, PickleError> {
        Ok(self.bytes(1)?[0])
    }

    /// A little-endian unsigned number of up to eight bytes.
    pub(super) fn unsigned(&mut self, bytes: usize) -> Result<u64, PickleError> {
        Ok(self.bytes(bytes)?.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// A little-endian two's complement number whose length is the byte before it, at most eight.
    pub(super) fn counted_integer(&mut self) -> Result<i64, PickleError> {
        let length = self.unsigned(1)? as usize;
        if length > 8 {
            return Err(self.damaged("a number is too large"));
        }
        let number = self.unsigned(length)?;
        let unused = 64 - 8 * length as u32;
        Ok(if length == 0 { 0 } else { ((number << unused) as i64) >> unused })
    }

    /// A big-endian float of 64 bits.
    pub(super) fn float(&mut self) -> Result<f64, PickleError> {
        let bits = self.bytes(8)?.iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
        Ok(f64::from_bits(bits))
    }

    /// UTF-8 after its length, a number of `bytes` bytes.
    pub(super) fn counted_text(&mut self, bytes: usize) -> Result<String, PickleError> {
        let length = self.unsigned(bytes)?;
        let length = usize::try_from(length).map_err(|_| self.damaged("a text is too long"))?;
        self.text(length)
    }

    /// UTF-8 up to the next newline.
    pub(super) fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.damaged("it ends early"))?;
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<String, PickleError> {
        let text = self.bytes(length)?.to_vec();
        String::from_utf8(text).map_err(|_| self.damaged("a text is not UTF-8"))
    }
}
