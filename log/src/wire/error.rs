//! Why bytes from a peer are not a frame.

/// What is wrong with a frame. The bytes themselves are not repeated, they may be hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame ends inside a value.
    #[error("the frame ends too early")]
    Truncated,
    /// The frame goes on after its last value.
    #[error("{bytes} bytes follow the end of the frame")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A length or count is over its limit; nothing was allocated for it.
    #[error("{what} of {size} exceeds the limit of {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// What the peer said.
        size: u64,
        /// What is allowed.
        limit: usize,
    },
    /// A number that names something stands for nothing known.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The number.
        value: u8,
    },
    /// A number is not in its shortest form or does not fit.
    #[error("a number is malformed")]
    Number,
    /// Text is not UTF-8.
    #[error("{what} is not text")]
    Text {
        /// Which text.
        what: &'static str,
    },
    /// A node name or a key is not acceptable.
    #[error("a name is malformed")]
    Name,
    /// Offsets or hashes that must grow do not.
    #[error("values that must grow do not")]
    Order,
}
