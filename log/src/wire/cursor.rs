//! Bounded reading and compact writing of primitive values. Nothing here panics on foreign bytes.

use uuid::Uuid;

use super::WireError;
use crate::id::Offset;
use crate::limits::OFFSET_MAX;

/// Reads from the front of a byte string; every read is checked against what is left.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left: an upper bound for any count that follows.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(WireError::Unknown { what, value }),
        }
    }

    /// An unsigned LEB128 number in its shortest form.
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(WireError::Number);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Number)
    }

    pub(crate) fn offset(&mut self) -> Result<Offset, WireError> {
        self.offset_after(Offset::ZERO)
    }

    /// An offset as its distance from another.
    pub(crate) fn offset_after(&mut self, before: Offset) -> Result<Offset, WireError> {
        match before.get().checked_add(self.varint()?) {
            Some(offset) if offset <= OFFSET_MAX => Ok(Offset::new(offset)),
            Some(_) | None => Err(WireError::Number),
        }
    }

    /// A signed number, zigzag.
    pub(crate) fn signed(&mut self) -> Result<i64, WireError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// A length or count, checked against `limit`.
    pub(crate) fn size(&mut self, what: &'static str, limit: usize) -> Result<usize, WireError> {
        let size = self.varint()?;
        match usize::try_from(size) {
            Ok(size) if size <= limit => Ok(size),
            Ok(_) | Err(_) => Err(WireError::TooLarge { what, size, limit }),
        }
    }

    /// A length-prefixed byte string of at most `limit` bytes.
    pub(crate) fn prefixed(
        &mut self,
        what: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], WireError> {
        let size = self.size(what, limit)?;
        self.bytes(size)
    }

    pub(crate) fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.prefixed(what, limit)?).map_err(|_| WireError::Text { what })
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, WireError> {
        self.array::<16>().map(Uuid::from_bytes)
    }

    /// Everything must have been read.
    pub(crate) const fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing {
                bytes: self.rest.len(),
            })
        }
    }
}

/// What a frame is written into.
pub(crate) trait Write {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_flag(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8((value & 0x7f) as u8);
    }

    fn put_signed(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn put_size(&mut self, size: usize) {
        self.put_varint(size as u64);
    }

    fn put_prefixed(&mut self, bytes: &[u8]) {
        self.put_size(bytes.len());
        self.put(bytes);
    }

    fn put_uuid(&mut self, id: Uuid) {
        self.put(id.as_bytes());
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
