//! Makes whatever a client on a Unix socket puts into `:authority` something that HTTP knows.
//!
//! gRPC in C++, Python, Java and many a version in Go put the path of the socket there, plain or
//! percent-encoded, which is no host; the HTTP/2 library resets such a request before anybody can
//! see it. Nothing here depends on the header, so characters that no host has are overwritten on
//! the way in.
//!
//! Each is overwritten by one whose code is as long, so that texts keep their length, coded and
//! not. So frames stay as long as they are, and the tables of headers that both ends keep
//! (RFC 7541) agree on what is in them and when it leaves: neither a frame has to be put together,
//! nor a table to be kept here.

/// What a client says first (RFC 9113, 3.4).
const PREFACE_BYTES: u32 = 24;
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// The stream and weight that a frame of headers may depend on.
const PRIORITY_BYTES: u32 = 5;

const NAME: &[u8] = b":authority";
/// The same in the code of RFC 7541, appendix B.
const NAME_CODED: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// Its index in the table that is there from the start.
const INDEX: u32 = 1;

/// Rewrites the bytes of one connection as they come, in pieces of any length. What is no HTTP/2 is
/// left to the library to refuse.
#[derive(Debug)]
pub(crate) struct Authority {
    frame: Frame,
    block: Block,
}

/// Where in the frames.
#[derive(Debug)]
enum Frame {
    /// Bytes to pass over, then the next frame.
    Skip(u32),
    Header {
        bytes: [u8; FRAME_HEADER_BYTES],
        have: usize,
    },
    /// The length of the padding, in a frame of so many bytes with these flags.
    Padding { left: u32, flags: u8 },
    /// What a frame of headers depends on; then its block.
    Priority { skip: u32, block: u32, padding: u32 },
    /// Headers; then padding.
    Block { left: u32, padding: u32 },
}

/// Where in a block of headers.
#[derive(Clone, Copy, Debug)]
enum Block {
    /// At a header.
    Start,
    /// In the rest of a number.
    Number { so_far: u32, shift: u32, of: Number },
    /// At the length of a text.
    Length(Text),
    /// In a name that is ours so far, or is not.
    Name {
        is_coded: bool,
        length: u32,
        at: u32,
        is_ours: bool,
    },
    /// In a value.
    Value { left: u32, letters: Letters },
}

/// What a number means.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// Nothing here.
    Nothing,
    /// The index of the name of a header whose value follows.
    Name,
    /// The length of a text.
    Length { text: Text, is_coded: bool },
}

/// The letters of a value.
#[derive(Clone, Copy, Debug)]
enum Letters {
    /// Of another header.
    Others,
    Plain,
    /// In the code of RFC 7541, with the bits of a letter so far.
    Coded {
        code: u16,
        bits: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Name,
    Value { is_ours: bool },
}

impl Authority {
    pub(crate) const fn new() -> Self {
        Self {
            frame: Frame::Skip(PREFACE_BYTES),
            block: Block::Start,
        }
    }

    /// The next bytes of the connection.
    pub(crate) fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = self.take(bytes).clamp(1, bytes.len());
            bytes = &mut bytes[taken..];
        }
    }

    /// Takes some bytes, and says how many.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let one = bytes[0];
        match &mut self.frame {
            Frame::Skip(left) => {
                let taken = run(left, bytes.len());
                if *left == 0 {
                    self.frame = Frame::start();
                }
                taken
            }
            Frame::Header { bytes, have } => {
                bytes[*have] = one;
                *have += 1;
                if *have == FRAME_HEADER_BYTES {
                    let header = *bytes;
                    self.enter(header);
                }
                1
            }
            Frame::Padding { left, flags } => {
                let (left, flags) = (*left, *flags);
                self.begin(left - 1, flags, u32::from(one));
                1
            }
            Frame::Priority {
                skip,
                block,
                padding,
            } => {
                let taken = run(skip, bytes.len());
                if *skip == 0 {
                    self.frame = Frame::block(*block, *padding);
                }
                taken
            }
            Frame::Block { left, padding } => {
                let taken = run(left, bytes.len());
                if *left == 0 {
                    self.frame = Frame::skip(*padding);
                }
                for byte in &mut bytes[..taken] {
                    self.block = self.block.step(byte);
                }
                taken
            }
        }
    }

    /// A frame begins.
    fn enter(&mut self, header: [u8; FRAME_HEADER_BYTES]) {
        let [high, middle, low, kind, flags, ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            HEADERS => {
                self.block = Block::Start;
                if flags & PADDED != 0 && length > 0 {
                    self.frame = Frame::Padding {
                        left: length,
                        flags,
                    };
                } else {
                    self.begin(length, flags, 0);
                }
            }
            CONTINUATION => self.frame = Frame::block(length, 0),
            _ => self.frame = Frame::skip(length),
        }
    }

    /// The part of a frame of headers after the length of its padding.
    fn begin(&mut self, length: u32, flags: u8, padding: u32) {
        let skip = if flags & PRIORITY == 0 {
            0
        } else {
            PRIORITY_BYTES.min(length)
        };
        let padding = padding.min(length - skip);
        let block = length - skip - padding;
        self.frame = match skip {
            0 => Frame::block(block, padding),
            skip => Frame::Priority {
                skip,
                block,
                padding,
            },
        };
    }
}

impl Frame {
    const fn start() -> Self {
        Self::Header {
            bytes: [0; FRAME_HEADER_BYTES],
            have: 0,
        }
    }

    const fn skip(bytes: u32) -> Self {
        match bytes {
            0 => Self::start(),
            bytes => Self::Skip(bytes),
        }
    }

    const fn block(bytes: u32, padding: u32) -> Self {
        match bytes {
            0 => Self::skip(padding),
            left => Self::Block { left, padding },
        }
    }
}

/// Takes as many bytes as there are, of those that are left.
fn run(left: &mut u32, there: usize) -> usize {
    let taken = (*left).min(u32::try_from(there).unwrap_or(u32::MAX));
    *left -= taken;
    taken as usize
}

impl Block {
    /// The next byte of a block of headers; the state after it.
    fn step(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => Self::header(*byte),
            Self::Number { so_far, shift, of } => {
                let more = u32::from(*byte & 0x7f)
                    .checked_shl(shift)
                    .unwrap_or(u32::MAX);
                let so_far = so_far.saturating_add(more);
                if *byte & 0x80 == 0 {
                    of.is(so_far)
                } else {
                    Self::Number {
                        so_far,
                        shift: shift.saturating_add(7),
                        of,
                    }
                }
            }
            Self::Length(text) => {
                let is_coded = *byte & 0x80 != 0;
                Self::number(*byte, 7, Number::Length { text, is_coded })
            }
            Self::Name {
                is_coded,
                length,
                at,
                is_ours,
            } => {
                let is_ours = is_ours && is_name(*byte, at, is_coded);
                match at + 1 {
                    end if end == length => Self::Length(Text::Value { is_ours }),
                    at => Self::Name {
                        is_coded,
                        length,
                        at,
                        is_ours,
                    },
                }
            }
            Self::Value { left, letters } => {
                let letters = letters.step(byte);
                match left - 1 {
                    0 => Self::Start,
                    left => Self::Value { left, letters },
                }
            }
        }
    }

    /// The first byte of a header says what it is (RFC 7541, 6).
    const fn header(byte: u8) -> Self {
        match byte.leading_zeros() {
            0 => Self::number(byte, 7, Number::Nothing),
            1 => Self::number(byte, 6, Number::Name),
            2 => Self::number(byte, 5, Number::Nothing),
            _ => Self::number(byte, 4, Number::Name),
        }
    }

    /// A number that begins in the low bits of a byte.
    const fn number(byte: u8, bits: u32, of: Number) -> Self {
        let most = (1_u32 << bits) - 1;
        let number = byte as u32 & most;
        if number < most {
            of.is(number)
        } else {
            Self::Number {
                so_far: number,
                shift: 0,
                of,
            }
        }
    }
}

impl Number {
    /// What follows a number.
    const fn is(self, number: u32) -> Block {
        match self {
            Self::Nothing => Block::Start,
            Self::Name if number == 0 => Block::Length(Text::Name),
            Self::Name => Block::Length(Text::Value {
                is_ours: number == INDEX,
            }),
            Self::Length { text, is_coded } => text.of(number, is_coded),
        }
    }
}

impl Text {
    /// What follows the length of a text.
    const fn of(self, length: u32, is_coded: bool) -> Block {
        match self {
            Self::Name if length == 0 => Block::Length(Self::Value { is_ours: false }),
            Self::Name => {
                let ours = if is_coded { NAME_CODED } else { NAME };
                Block::Name {
                    is_coded,
                    length,
                    at: 0,
                    is_ours: length as usize == ours.len(),
                }
            }
            Self::Value { .. } if length == 0 => Block::Start,
            Self::Value { is_ours } => Block::Value {
                left: length,
                letters: match (is_ours, is_coded) {
                    (false, _) => Letters::Others,
                    (true, false) => Letters::Plain,
                    (true, true) => Letters::Coded { code: 0, bits: 0 },
                },
            },
        }
    }
}

impl Letters {
    /// Overwrites what no host has in the next byte.
    fn step(self, byte: &mut u8) -> Self {
        match self {
            Self::Others => Self::Others,
            Self::Plain => {
                if !byte.is_ascii_alphanumeric() && *byte != b'.' {
                    *byte = b'-';
                }
                Self::Plain
            }
            Self::Coded { mut code, mut bits } => {
                for place in (0..8).rev() {
                    let mut bit = u16::from(*byte >> place & 1);
                    if is_foreign(code << 1 | bit, bits + 1) {
                        bit = 1;
                        *byte |= 1 << place;
                    }
                    (code, bits) = (code << 1 | bit, bits + 1);
                    if is_letter(code, bits) {
                        (code, bits) = (0, 0);
                    } else if bits > LETTER_BITS_MAX {
                        // A letter so rare that no path has it, or the ones at the end.
                        return Self::Others;
                    }
                }
                Self::Coded { code, bits }
            }
        }
    }
}

/// The longest letters that are known here: letters, digits and most of what stands in paths.
const LETTER_BITS_MAX: u8 = 8;

/// Whether the bits are a whole letter of the code (RFC 7541, appendix B): letters of one length
/// have codes that follow each other.
const fn is_letter(code: u16, bits: u8) -> bool {
    match bits {
        5 => code <= 0b0_1001,
        6 => 0b01_0100 <= code && code <= 0b10_1101,
        7 => 0b101_1100 <= code && code <= 0b111_1011,
        8 => 0b1111_1000 <= code && code <= 0b1111_1101,
        _ => false,
    }
}

/// Whether the last of the bits has to be a one for the letter to be one of a host.
const fn is_foreign(code: u16, bits: u8) -> bool {
    match bits {
        // A space or `%`, which become `-` and `.`.
        5 => code == 0b0_1010,
        // `/`, which becomes `3`.
        6 => code == 0b01_1000,
        // `:`, which becomes `B`.
        7 => code == 0b101_1100,
        _ => false,
    }
}

/// Whether the name of the header has this byte there.
fn is_name(byte: u8, at: u32, is_coded: bool) -> bool {
    let name = if is_coded { NAME_CODED } else { NAME };
    name.get(at as usize) == Some(&byte)
}
