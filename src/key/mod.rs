//! Names of bundles: [`Sha1Git`], [`ObjectKind`], [`Format`], [`BundleKey`], [`Swhid`].
//!
//! Owns their text forms and which format is made of which kind. Everything untrusted becomes one
//! of these at the edge; inside larder an id is never a `&str`, so nothing but forty hexadecimal
//! digits ever reaches a file name. Knows no I/O.

mod kind;
mod sha1git;
mod spelling;
mod swhid;

pub use kind::{Family, Flat, Format, History, ObjectKind};
pub use sha1git::Sha1Git;
pub use spelling::is_download_name;
pub use swhid::Swhid;

use std::fmt;
use std::str::FromStr;

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
    #[must_use]
    pub const fn with_default_format(kind: ObjectKind, id: Sha1Git) -> Self {
        Self { kind, id, format: kind.default_format() }
    }

    /// The key of a directory's flat bundle, of which those of revisions and releases are other names.
    #[must_use]
    pub fn of_directory(id: Sha1Git, flat: Flat) -> Self {
        Self { kind: ObjectKind::Directory, id, format: flat.into() }
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
            None => Ok(Self::with_default_format(kind, segment.parse()?)),
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
    #[error("a format is one of tar.gz, tar, tar.zst, zip, git.tar, bundle, gitfast.gz, raw")]
    Format,
    /// Kind and format are both known, and do not go together.
    #[error("no {format} is made of a {kind}")]
    Combination {
        /// The kind asked for.
        kind: ObjectKind,
        /// The format asked for.
        format: Format,
    },
    /// Not `<kind>/<id>[.<ext>]`.
    #[error("a bundle is named <kind>/<id> or <kind>/<id>.<format>")]
    Key,
    /// Not a SWHID.
    #[error("a SWHID is swh:1:(cnt|dir|rev|rel|snp):<40 hexadecimal digits>")]
    Swhid,
    /// What stands behind a SWHID is no qualifier.
    #[error("a qualifier behind a SWHID is ;name=value")]
    Qualifier,
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
            let default = BundleKey::with_default_format(key.kind(), key.id());
            prop_assert_eq!(BundleKey::new(key.kind(), key.id(), default.format()), Ok(default));
        }

        #[test]
        fn whatever_parses_as_a_key_is_a_safe_file_name(key in any_key(), place in 0..80_usize, put in ".{0,2}") {
            // One character of a key is replaced: most such texts are no key, and the rest are other keys.
            let mut text: Vec<char> = key.to_string().chars().collect();
            let place = place % text.len();
            text.splice(place..=place, put.chars());
            let text: String = text.into_iter().collect();
            if let Ok(key) = text.parse::<BundleKey>() {
                prop_assert!(key.file_name().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.'));
                prop_assert!(text == key.to_string() || text.len() < key.to_string().len(), "{} is {}", text, key);
            }
        }

        #[test]
        fn a_digit_of_a_key_may_be_any_digit_and_nothing_else(key in any_key(), digit in 0..40_usize, put in any::<char>()) {
            let text = key.to_string();
            let at = key.kind().as_str().len() + 1 + digit;
            let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(changed.parse::<BundleKey>().is_ok(), matches!(put, '0'..='9' | 'a'..='f'), "{}", changed);
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
            format!("snapshot/{EMPTY}.tar").parse::<BundleKey>(),
            Err(ParseError::Combination { kind: ObjectKind::Snapshot, format: Format::Tar })
        );
        assert_eq!(format!("swh:1:dir:{EMPTY};origin").parse::<Swhid>(), Err(ParseError::Qualifier));
        assert_eq!(format!("swh:2:dir:{EMPTY}").parse::<Swhid>(), Err(ParseError::Swhid));
    }
}
