//! [`Sha1Git`]: twenty bytes and their forty digits.

use super::ParseError;
use std::fmt;
use std::str::FromStr;

/// The SHA-1 of a git object (`"<type> <length>\0"` and its content), as SWHID v1 uses it.
///
/// `Display` writes forty lower-case hexadecimal digits and `FromStr` takes nothing else.
///
/// ```
/// use larder::key::Sha1Git;
/// let empty_tree: Sha1Git = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse()?;
/// assert_eq!(empty_tree.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
/// assert!("4B825DC642CB6EB9A060E54BF8D69288FBEE4904".parse::<Sha1Git>().is_err());
/// # Ok::<(), larder::key::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha1Git([u8; 20]);

impl Sha1Git {
    /// The id that git uses for "nothing"; no object has it.
    pub const NULL: Self = Self([0; 20]);

    /// The id with these twenty bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The id in `bytes`, or `None` when there are not exactly twenty.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The twenty bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Whether this is [`Sha1Git::NULL`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::NULL
    }
}

impl fmt::Display for Sha1Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0_u8; 40];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.pad(std::str::from_utf8(&hex).expect("because hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for Sha1Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha1Git {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return Err(ParseError::Id);
        }
        let mut id = [0_u8; 20];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or(ParseError::Id)? << 4 | nibble(pair[1]).ok_or(ParseError::Id)?;
        }
        Ok(Self(id))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
