//! How a body stands in a record, and back.
//!
//! ```text
//! 0 empty  nothing
//! 1 raw    length varint, bytes
//! 2 zstd   dictionary u8, decoded length varint, short hash 8, length varint, zstd block
//! 3 delta  base short hash 8, decoded length varint, short hash 8, length varint, zstd block
//! 4 same   base short hash 8
//! ```
//!
//! The base is the body that the receiver holds for the key and slot of the record. A zstd block is
//! a zstd frame without its magic number, content size, checksum and dictionary number: length,
//! integrity and dictionary stand beside it.

use bytes::Bytes;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DDict};

use super::WireError;
use super::cursor::{Reader, Write};
use super::dictionary;
use crate::body::Body;
use crate::limits::BODY_BYTES_MAX;

/// The number of an encoding on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// No bytes.
    Empty = 0,
    /// As it is.
    Raw = 1,
    /// zstd with the built-in dictionary.
    Zstd = 2,
    /// zstd with the body that the receiver holds as prefix.
    Delta = 3,
    /// The body that the receiver holds.
    Same = 4,
}

impl Encoding {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Empty, Self::Raw, Self::Zstd, Self::Delta, Self::Same];

    /// Its name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Raw => "raw",
            Self::Zstd => "zstd",
            Self::Delta => "delta",
            Self::Same => "same",
        }
    }
}

/// A body encoded, everything after the record's key. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) encoding: Encoding,
    pub(crate) wire: Bytes,
}

/// What a body's bytes are packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Length of the body.
    pub size: usize,
    /// Short hash of the body.
    pub hash: [u8; 8],
    /// The zstd block.
    pub block: &'a [u8],
}

/// A body as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireBody<'a> {
    /// No bytes.
    Empty,
    /// As it is.
    Raw(&'a [u8]),
    /// Compressed with a built-in dictionary.
    Zstd {
        /// Which dictionary.
        dictionary: u8,
        /// The bytes.
        packed: Packed<'a>,
    },
    /// Compressed with the held body as prefix.
    Delta {
        /// Short hash of the held body.
        base: [u8; 8],
        /// The bytes.
        packed: Packed<'a>,
    },
    /// The held body.
    Same {
        /// Its short hash.
        base: [u8; 8],
    },
}

/// A body cannot be had from what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The receiver does not hold the base named.
    #[error("the base of a body is not held")]
    Base,
    /// The sender used a dictionary that this program does not have.
    #[error("unknown dictionary {number}")]
    Dictionary {
        /// Its number.
        number: u8,
    },
    /// The compressed bytes are damaged.
    #[error("a compressed body is damaged")]
    Damaged,
    /// The decoded bytes are not the ones the sender meant.
    #[error("a decoded body has the wrong hash")]
    Hash,
}

impl<'a> WireBody<'a> {
    pub(crate) fn decode(encoding: u8, input: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match encoding {
            0 => Self::Empty,
            1 => Self::Raw(input.prefixed("body", BODY_BYTES_MAX)?),
            2 => Self::Zstd {
                dictionary: input.u8()?,
                packed: Packed::decode(input)?,
            },
            3 => Self::Delta {
                base: input.array()?,
                packed: Packed::decode(input)?,
            },
            4 => Self::Same {
                base: input.array()?,
            },
            value => {
                return Err(WireError::Unknown {
                    what: "body encoding",
                    value,
                });
            }
        })
    }

    /// Length of the body, as declared; zero where it takes no memory of its own.
    pub(crate) const fn decoded_len(&self) -> usize {
        match self {
            Self::Empty | Self::Same { .. } => 0,
            Self::Raw(bytes) => bytes.len(),
            Self::Zstd { packed, .. } | Self::Delta { packed, .. } => packed.size,
        }
    }

    /// Bytes of the body on the wire, about: lengths and hashes are not counted.
    pub(crate) const fn wire_len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Raw(bytes) => bytes.len(),
            Self::Zstd { packed, .. } | Self::Delta { packed, .. } => packed.block.len(),
            Self::Same { base } => base.len(),
        }
    }

    pub(crate) const fn encoding(&self) -> Encoding {
        match self {
            Self::Empty => Encoding::Empty,
            Self::Raw(_) => Encoding::Raw,
            Self::Zstd { .. } => Encoding::Zstd,
            Self::Delta { .. } => Encoding::Delta,
            Self::Same { .. } => Encoding::Same,
        }
    }

    /// The short hash of the body that the receiver must hold.
    pub(crate) const fn base(&self) -> Option<[u8; 8]> {
        match self {
            Self::Delta { base, .. } | Self::Same { base } => Some(*base),
            Self::Empty | Self::Raw(_) | Self::Zstd { .. } => None,
        }
    }

    /// The body. `base` is what the receiver holds, when its short hash is the one named.
    ///
    /// # Errors
    /// [`BodyError`]
    pub(crate) fn open(&self, base: Option<&Body>) -> Result<Body, BodyError> {
        match self {
            Self::Empty => Ok(Body::EMPTY),
            Self::Raw(bytes) => Ok(Body::new(Bytes::copy_from_slice(bytes))),
            Self::Same { .. } => base.cloned().ok_or(BodyError::Base),
            Self::Zstd { dictionary, packed } => {
                let ddict = dictionary::decoder(*dictionary).ok_or(BodyError::Dictionary {
                    number: *dictionary,
                })?;
                packed.open(Prefix::Dictionary(ddict))
            }
            Self::Delta { packed, .. } => {
                packed.open(Prefix::Base(base.ok_or(BodyError::Base)?.bytes()))
            }
        }
    }
}

impl From<&WireBody<'_>> for Encoded {
    fn from(body: &WireBody<'_>) -> Self {
        let mut wire = Vec::new();
        match body {
            WireBody::Empty => {}
            WireBody::Raw(bytes) => wire.put_prefixed(bytes),
            WireBody::Zstd { dictionary, packed } => {
                wire.put_u8(*dictionary);
                packed.encode(&mut wire);
            }
            WireBody::Delta { base, packed } => {
                wire.put(base);
                packed.encode(&mut wire);
            }
            WireBody::Same { base } => wire.put(base),
        }
        Self {
            encoding: body.encoding(),
            wire: wire.into(),
        }
    }
}

/// What the bytes of a block refer back to.
enum Prefix<'a> {
    Dictionary(&'a DDict<'static>),
    Base(&'a [u8]),
}

impl<'a> Packed<'a> {
    fn decode(input: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            size: input.size("body", BODY_BYTES_MAX)?,
            hash: input.array()?,
            block: input.prefixed("compressed body", BODY_BYTES_MAX)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_size(self.size);
        out.put(&self.hash);
        out.put_prefixed(self.block);
    }

    /// Decodes into a buffer of the declared size: one call, no window, no growth.
    fn open(&self, prefix: Prefix<'_>) -> Result<Body, BodyError> {
        let mut frame = Vec::with_capacity(MAGIC.len() + self.block.len());
        frame.put(&MAGIC);
        frame.put(self.block);
        let mut out: Vec<u8> = Vec::with_capacity(self.size);
        let mut context = DCtx::try_create().ok_or(BodyError::Damaged)?;
        match prefix {
            Prefix::Dictionary(ddict) => context.decompress_using_ddict(&mut out, &frame, ddict),
            Prefix::Base(base) => {
                context.ref_prefix(base).map_err(|_| BodyError::Damaged)?;
                context.decompress(&mut out, &frame)
            }
        }
        .map_err(|_| BodyError::Damaged)?;
        let body = Body::from(out);
        if body.len() != self.size {
            return Err(BodyError::Damaged);
        }
        if body.hash().short() != self.hash {
            return Err(BodyError::Hash);
        }
        Ok(body)
    }
}

/// The magic number of a zstd frame, which is not sent.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// zstd's default: the next levels cost several times the time for a few percent.
pub(crate) const LEVEL: i32 = 3;
/// Both a base and a body of the largest size fit into the window.
const WINDOW_LOG_MAX: u32 = 23;
const _: () = assert!(2 * BODY_BYTES_MAX <= 1 << WINDOW_LOG_MAX);

/// Compresses with the built-in dictionary; `None` when the compressor has no memory.
pub(crate) fn pack(body: &[u8]) -> Option<Vec<u8>> {
    let mut context = CCtx::try_create()?;
    bare(&mut context)?;
    context.ref_cdict(dictionary::encoder()).ok()?;
    block(&mut context, body)
}

/// Compresses with `base` as prefix; `None` when the compressor has no memory.
pub(crate) fn pack_delta(body: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let mut context = CCtx::try_create()?;
    bare(&mut context)?;
    context
        .set_parameter(CParameter::CompressionLevel(LEVEL))
        .ok()?;
    let span = (body.len() + base.len())
        .next_power_of_two()
        .trailing_zeros();
    context
        .set_parameter(CParameter::WindowLog(span.clamp(10, WINDOW_LOG_MAX)))
        .ok()?;
    // The level's own tables forget the front of a long base; this one samples all of it.
    context
        .set_parameter(CParameter::EnableLongDistanceMatching(true))
        .ok()?;
    context.ref_prefix(base).ok()?;
    block(&mut context, body)
}

fn bare(context: &mut CCtx<'_>) -> Option<()> {
    context
        .set_parameter(CParameter::ContentSizeFlag(false))
        .ok()?;
    context
        .set_parameter(CParameter::ChecksumFlag(false))
        .ok()?;
    context.set_parameter(CParameter::DictIdFlag(false)).ok()?;
    Some(())
}

fn block(context: &mut CCtx<'_>, body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(body.len()));
    context.compress2(&mut out, body).ok()?;
    out.strip_prefix(&MAGIC).map(<[u8]>::to_vec)
}
