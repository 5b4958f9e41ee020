//! Names of bundles: [`Sha1Git`], [`ObjectKind`], [`Format`], [`BundleKey`], [`Swhid`].
//!
//! Owns their text forms and which format is made of which kind. Everything untrusted becomes one
//! of these at the edge; inside larder an id is never a `&str`, so nothing but forty hexadecimal
//! digits ever reaches a file name. Knows no I/O.

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

/// What a bundle is made from. The numbers are those of the catalogue: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// The bytes of a file (git's blob).
    Content = 0,
    /// A git tree.
    Directory = 1,
    /// A git commit.
    Revision = 2,
    /// An annotated git tag.
    Release = 3,
    /// The branches of an origin at one moment.
    Snapshot = 4,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Content, Self::Directory, Self::Revision, Self::Release, Self::Snapshot];

    /// The word used in URLs and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Directory => "directory",
            Self::Revision => "revision",
            Self::Release => "release",
            Self::Snapshot => "snapshot",
        }
    }

    /// The object type of a SWHID: `cnt dir rev rel snp`.
    #[must_use]
    pub const fn swhid_type(self) -> &'static str {
        match self {
            Self::Content => "cnt",
            Self::Directory => "dir",
            Self::Revision => "rev",
            Self::Release => "rel",
            Self::Snapshot => "snp",
        }
    }

    /// The number that stands for this kind in the catalogue.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The format meant when none is named.
    #[must_use]
    pub const fn default_format(self) -> Option<Format> {
        match self {
            Self::Directory | Self::Revision | Self::Release => Some(Format::TarGz),
            Self::Content | Self::Snapshot => None,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ObjectKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseError::Kind)
    }
}

/// The form of a bundle. The numbers are those of the catalogue: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Format {
    /// The flat tree as a tar in one gzip member (`docs/format.md`).
    TarGz = 1,
    /// The flat tree as a plain tar: the same stream before it is deflated.
    Tar = 2,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::TarGz, Self::Tar];

    /// The extension, without its leading dot.
    #[must_use]
    pub const fn ext(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Tar => "tar",
        }
    }

    /// The media type of a bundle in this format.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::TarGz => "application/gzip",
            Self::Tar => "application/x-tar",
        }
    }

    /// Whether the bytes depend on the object alone, so that a client may keep them for ever.
    #[must_use]
    pub const fn is_immutable(self) -> bool {
        match self {
            Self::TarGz | Self::Tar => true,
        }
    }

    /// Whether this is a format of one flat tree, the same for a directory and for a revision or
    /// release that leads to it.
    #[must_use]
    pub const fn is_flat(self) -> bool {
        match self {
            Self::TarGz | Self::Tar => true,
        }
    }

    /// Whether a bundle in this format can be made of a `kind`.
    #[must_use]
    pub const fn is_of(self, kind: ObjectKind) -> bool {
        match self {
            Self::TarGz | Self::Tar => {
                matches!(kind, ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release)
            }
        }
    }

    /// The number that stands for this format in the catalogue.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The format that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.ext())
    }
}

impl FromStr for Format {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|format| format.ext() == text).ok_or(ParseError::Format)
    }
}

/// The name of one bundle: an object and the format it is cooked in.
///
/// `Display` writes `directory/<id>.tar.gz`; `FromStr` reads that, and `directory/<id>` for the
/// kind's default format.
///
/// ```
/// use larder::key::BundleKey;
/// let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse()?;
/// assert_eq!(key.to_string(), "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz");
/// assert_eq!(key.file_name(), "swh_1_dir_4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz");
/// # Ok::<(), larder::key::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleKey {
    kind: ObjectKind,
    id: Sha1Git,
    format: Format,
}

impl BundleKey {
    /// The key of `id` in `format`; an error when no such bundle is made of a `kind`.
    pub fn new(kind: ObjectKind, id: Sha1Git, format: Format) -> Result<Self, ParseError> {
        if format.is_of(kind) { Ok(Self { kind, id, format }) } else { Err(ParseError::Combination { kind, format }) }
    }

    /// The key of `id` in the default format of its kind.
    pub fn with_default_format(kind: ObjectKind, id: Sha1Git) -> Result<Self, ParseError> {
        kind.default_format().map(|format| Self { kind, id, format }).ok_or(ParseError::NoFormat { kind })
    }

    /// What the bundle is made from.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The object's id.
    #[must_use]
    pub const fn id(&self) -> Sha1Git {
        self.id
    }

    /// The bundle's format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The object as a SWHID.
    #[must_use]
    pub const fn swhid(&self) -> Swhid {
        Swhid { kind: self.kind, id: self.id }
    }

    /// The name a download is saved under, `swh_1_dir_<id>.tar.gz`: that of Software Heritage.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("swh_1_{}_{}.{}", self.kind.swhid_type(), self.id, self.format)
    }

    /// Reads the last segment of a bundle's URL, `<id>` or `<id>.<ext>`.
    pub fn from_segment(kind: ObjectKind, segment: &str) -> Result<Self, ParseError> {
        match segment.split_once('.') {
            None => Self::with_default_format(kind, segment.parse()?),
            Some((id, ext)) => Self::new(kind, id.parse()?, ext.parse()?),
        }
    }
}

impl fmt::Display for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.kind, self.id, self.format)
    }
}

impl FromStr for BundleKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (kind, segment) = text.split_once('/').ok_or(ParseError::Key)?;
        Self::from_segment(kind.parse()?, segment)
    }
}

/// A SoftWare Hash IDentifier, version 1, without qualifiers (SWHID specification v1.1, section 5).
///
/// `FromStr` takes either case, as Software Heritage does; `Display` writes lower case.
///
/// ```
/// use larder::key::Swhid;
/// let swhid: Swhid = "SWH:1:DIR:4B825DC642CB6EB9A060E54BF8D69288FBEE4904".parse()?;
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
        if text.contains(';') {
            return Err(ParseError::Qualified);
        }
        let text = text.to_ascii_lowercase();
        let mut parts = text.split(':');
        let (Some("swh"), Some("1"), Some(kind), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::Swhid);
        };
        let kind = ObjectKind::ALL.into_iter().find(|k| k.swhid_type() == kind).ok_or(ParseError::Swhid)?;
        Ok(Self { kind, id: id.parse()? })
    }
}

/// Why a text is not a name of larder's. The messages are for whoever wrote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not an id.
    #[error("an id is 40 lower-case hexadecimal digits")]
    Id,
    /// Not a kind.
    #[error("a kind is one of content, directory, revision, release, snapshot")]
    Kind,
    /// Not a format.
    #[error("a format is one of tar.gz, tar")]
    Format,
    /// Kind and format are both known, and do not go together.
    #[error("no {format} is made of a {kind}")]
    Combination {
        /// The kind asked for.
        kind: ObjectKind,
        /// The format asked for.
        format: Format,
    },
    /// No bundle is made of this kind.
    #[error("no bundle is made of a {kind}")]
    NoFormat {
        /// The kind asked for.
        kind: ObjectKind,
    },
    /// Not `<kind>/<id>[.<ext>]`.
    #[error("a bundle is named <kind>/<id> or <kind>/<id>.<format>")]
    Key,
    /// Not a SWHID.
    #[error("a SWHID is swh:1:(cnt|dir|rev|rel|snp):<40 hexadecimal digits>")]
    Swhid,
    /// A SWHID with qualifiers, which name a context and not an object.
    #[error("qualifiers (;origin= and so on) are not accepted after a SWHID")]
    Qualified,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn any_key() -> impl Strategy<Value = BundleKey> {
        (any::<[u8; 20]>(), 0..5_usize, 0..Format::ALL.len()).prop_filter_map("no such bundle", |(id, kind, format)| {
            BundleKey::new(ObjectKind::ALL[kind], Sha1Git::from_bytes(id), Format::ALL[format]).ok()
        })
    }

    proptest! {
        #[test]
        fn every_key_reads_back_as_itself(key in any_key()) {
            prop_assert_eq!(key.to_string().parse::<BundleKey>(), Ok(key));
            prop_assert_eq!(key.swhid().to_string().parse::<Swhid>(), Ok(key.swhid()));
        }

        #[test]
        fn whatever_parses_as_a_key_is_a_safe_file_name(text in ".{0,80}") {
            if let Ok(key) = text.parse::<BundleKey>() {
                prop_assert!(key.file_name().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.'));
            }
        }

        #[test]
        fn only_forty_lower_case_digits_are_an_id(text in "[0-9a-fA-F]{38,42}") {
            let legal = text.len() == 40 && !text.bytes().any(|b| b.is_ascii_uppercase());
            prop_assert_eq!(text.parse::<Sha1Git>().is_ok(), legal);
        }
    }

    #[test]
    fn codes_and_words_of_kinds_and_formats_read_back() {
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::from_code(kind.code()), Some(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for format in Format::ALL {
            assert_eq!(Format::from_code(format.code()), Some(format));
            assert_eq!(format.ext().parse(), Ok(format));
        }
    }

    #[test]
    fn malformed_names_say_what_is_wrong() {
        let cases = [
            ("", ParseError::Key),
            ("directory", ParseError::Key),
            ("tree/x", ParseError::Kind),
            ("directory/../../etc/passwd", ParseError::Id),
            ("directory/", ParseError::Id),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<BundleKey>(), Err(error), "{text}");
        }
        assert_eq!(format!("directory/{EMPTY}.rar").parse::<BundleKey>(), Err(ParseError::Format));
        assert_eq!(format!("directory/{EMPTY}.").parse::<BundleKey>(), Err(ParseError::Format));
        assert_eq!(
            format!("snapshot/{EMPTY}").parse::<BundleKey>(),
            Err(ParseError::NoFormat { kind: ObjectKind::Snapshot })
        );
        assert_eq!(format!("swh:1:dir:{EMPTY};origin=x").parse::<Swhid>(), Err(ParseError::Qualified));
        assert_eq!(format!("swh:2:dir:{EMPTY}").parse::<Swhid>(), Err(ParseError::Swhid));
    }
}
