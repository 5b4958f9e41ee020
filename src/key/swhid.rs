//! [`Swhid`]: the identifiers of Software Heritage.

use super::{ObjectKind, ParseError, Sha1Git};
use std::fmt;
use std::str::FromStr;

/// A SoftWare Hash IDentifier, version 1, without qualifiers (SWHID specification v1.1, section 5).
///
/// `FromStr` takes either case, as Software Heritage does, and qualifiers, which are checked and left out;
/// `Display` writes lower case.
///
/// ```
/// use larder::key::Swhid;
/// let swhid: Swhid = "SWH:1:DIR:4B825DC642CB6EB9A060E54BF8D69288FBEE4904;path=/".parse()?;
/// assert_eq!(swhid.to_string(), "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904");
/// # Ok::<(), larder::key::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Swhid {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// The object's id.
    pub id: Sha1Git,
}

impl fmt::Display for Swhid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "swh:1:{}:{}", self.kind.swhid_type(), self.id)
    }
}

impl FromStr for Swhid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Ok(Self::with_qualifiers(text)?.0)
    }
}
