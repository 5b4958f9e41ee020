//! Names as people write them: git's words for kinds, `.tgz`, ids in capitals, SWHIDs with qualifiers and with an
//! extension. What is read here is written plainly from then on: `Display` of every name, and every URL, knows one
//! form. `FromStr` of an id, a kind, a format and a key takes that form alone, so that no two URLs hold one bundle;
//! `http` sends who writes it otherwise on to it.

use super::{BundleKey, Format, ObjectKind, ParseError, Sha1Git, Swhid};

impl Sha1Git {
    /// Forty hexadecimal digits in either case.
    pub fn from_spelling(text: &str) -> Result<Self, ParseError> {
        text.to_ascii_lowercase().parse()
    }
}

impl ObjectKind {
    /// A kind by its own word, git's (`blob tree commit tag`) or a SWHID's (`cnt dir rev rel snp`), in either case.
    ///
    /// ```
    /// use larder::key::ObjectKind;
    /// assert_eq!(ObjectKind::from_spelling("Commit"), Ok(ObjectKind::Revision));
    /// assert_eq!(ObjectKind::from_spelling("dir"), Ok(ObjectKind::Directory));
    /// assert!(ObjectKind::from_spelling("branch").is_err());
    /// ```
    pub fn from_spelling(text: &str) -> Result<Self, ParseError> {
        let text = text.to_ascii_lowercase();
        let is_meant =
            |kind: &Self| text == kind.as_str() || text == kind.swhid_type() || kind.git_type() == Some(text.as_str());
        Self::ALL.into_iter().find(is_meant).ok_or(ParseError::Kind)
    }

    /// What git calls it; it has no snapshots.
    #[must_use]
    pub const fn git_type(self) -> Option<&'static str> {
        match self {
            Self::Content => Some("blob"),
            Self::Directory => Some("tree"),
            Self::Revision => Some("commit"),
            Self::Release => Some("tag"),
            Self::Snapshot => None,
        }
    }
}

impl Format {
    /// A format by its extension, or by a short one that other programs give the same form, in either case.
    ///
    /// ```
    /// use larder::key::Format;
    /// assert_eq!(Format::from_spelling("tgz"), Ok(Format::TarGz));
    /// assert_eq!(Format::from_spelling("TAR.ZST"), Ok(Format::TarZst));
    /// ```
    pub fn from_spelling(text: &str) -> Result<Self, ParseError> {
        match text.to_ascii_lowercase().as_str() {
            "tgz" => Ok(Self::TarGz),
            "tzst" | "tar.zstd" => Ok(Self::TarZst),
            text => text.parse(),
        }
    }
}

impl Swhid {
    /// Reads a SWHID and the qualifiers behind it, if any: pairs of a name and a value as it is written, which may be
    /// escaped (`%3B`). They say where the object was met and name no other; which there are is not looked at.
    ///
    /// ```
    /// use larder::key::Swhid;
    /// let text = "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904;origin=https://example.org/r;path=/src";
    /// let (swhid, qualifiers) = Swhid::with_qualifiers(text)?;
    /// assert_eq!(swhid.to_string(), text[..50]);
    /// assert_eq!(qualifiers, [("origin", "https://example.org/r"), ("path", "/src")]);
    /// # Ok::<(), larder::key::ParseError>(())
    /// ```
    #[expect(clippy::type_complexity, reason = "a list of pairs, and nothing else would be known of it")]
    pub fn with_qualifiers(text: &str) -> Result<(Self, Vec<(&str, &str)>), ParseError> {
        let text = text.trim_ascii();
        let (core, behind) = text.split_once(';').unwrap_or((text, ""));
        // In papers the qualifiers stand on lines of their own, and one may end with a semicolon.
        let parts = behind.split(';').map(str::trim_ascii).filter(|part| !part.is_empty());
        let qualifiers = parts.map(|part| match part.split_once('=') {
            Some((name, value)) if !name.is_empty() && name.bytes().all(is_of_name) => Ok((name, value)),
            _ => Err(ParseError::Qualifier),
        });
        Ok((core_of(&core.trim_ascii().to_ascii_lowercase())?, qualifiers.collect::<Result<_, _>>()?))
    }
}

impl BundleKey {
    /// Reads a kind and the last segment of a bundle's URL, each as people write them.
    ///
    /// ```
    /// use larder::key::BundleKey;
    /// let key = BundleKey::from_spelling("tree", "4B825DC642CB6EB9A060E54BF8D69288FBEE4904.tgz")?;
    /// assert_eq!(key.to_string(), "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz");
    /// # Ok::<(), larder::key::ParseError>(())
    /// ```
    pub fn from_spelling(kind: &str, segment: &str) -> Result<Self, ParseError> {
        let (kind, (id, ext)) = (ObjectKind::from_spelling(kind)?, split(segment));
        Self::spelled(kind, Sha1Git::from_spelling(id)?, ext)
    }

    /// Reads a SWHID with an extension or without, and with qualifiers or without. An extension stands before them,
    /// for a path may hold a full stop.
    ///
    /// ```
    /// use larder::key::BundleKey;
    /// let text = "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904.zip;path=/a.b";
    /// assert_eq!(
    ///     BundleKey::from_swhid(text)?.to_string(),
    ///     "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.zip"
    /// );
    /// # Ok::<(), larder::key::ParseError>(())
    /// ```
    pub fn from_swhid(text: &str) -> Result<Self, ParseError> {
        let (core, qualifiers) = text.split_at(text.find(';').unwrap_or(text.len()));
        let (core, ext) = split(core.trim_ascii());
        let (swhid, _) = Swhid::with_qualifiers(&[core, qualifiers].concat())?;
        Self::spelled(swhid.kind, swhid.id, ext)
    }

    /// Reads a bundle as people name it: a SWHID ([`BundleKey::from_swhid`]) or a kind and a segment
    /// ([`BundleKey::from_spelling`]). Also gives whether the name says the format, or its kind's default is meant.
    ///
    /// ```
    /// use larder::key::BundleKey;
    /// let (key, says_format) = BundleKey::from_name("commit/4b825dc642cb6eb9a060e54bf8d69288fbee4904")?;
    /// assert_eq!(key.to_string(), "revision/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz");
    /// assert!(!says_format);
    /// # Ok::<(), larder::key::ParseError>(())
    /// ```
    pub fn from_name(name: &str) -> Result<(Self, bool), ParseError> {
        let named = name.split_once(';').map_or(name, |(named, _)| named);
        let key = match named.split_once('/') {
            _ if named.contains(':') => Self::from_swhid(name)?,
            Some((kind, segment)) => Self::from_spelling(kind, segment)?,
            None => return Err(ParseError::Key),
        };
        Ok((key, named.contains('.')))
    }

    fn spelled(kind: ObjectKind, id: Sha1Git, ext: Option<&str>) -> Result<Self, ParseError> {
        match ext {
            None => Ok(Self::with_default_format(kind, id)),
            Some(ext) => Self::new(kind, id, Format::from_spelling(ext)?),
        }
    }
}

/// Whether a bundle may be saved under this name because a URL says so: letters, digits, `_`, `+`, `-` and `.`, but no
/// full stop at its beginning, and at most 200 of them. It needs no escape in a URL or in a header; nginx takes the same.
#[must_use]
pub fn is_download_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(legal)
}

fn split(segment: &str) -> (&str, Option<&str>) {
    segment.split_once('.').map_or((segment, None), |(id, ext)| (id, Some(ext)))
}

const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The part of a SWHID that names the object, in lower case.
fn core_of(text: &str) -> Result<Swhid, ParseError> {
    let mut parts = text.split(':');
    let (Some("swh"), Some("1"), Some(kind), Some(id), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ParseError::Swhid);
    };
    let kind = ObjectKind::ALL.into_iter().find(|k| k.swhid_type() == kind).ok_or(ParseError::Swhid)?;
    Ok(Swhid { kind, id: id.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn a_swhid_is_the_same_object_whatever_stands_behind_it() {
        let plain: Swhid = format!("swh:1:rev:{ID}").parse().unwrap();
        for behind in [
            ";",
            ";origin=https://example.org/r",
            ";origin=https://example.org/r;visit=swh:1:snp:0000000000000000000000000000000000000000;anchor=swh:1:rev:x",
            ";path=/a%3Bb/c=d;lines=9-15",
            "\n;origin=https://example.org/r;\n path=/x;",
            ";bytes=1-2;some_new-name=",
        ] {
            assert_eq!(format!("swh:1:rev:{ID}{behind}").parse(), Ok(plain), "{behind:?}");
            assert_eq!(format!("SWH:1:REV:{}{behind}", ID.to_uppercase()).parse(), Ok(plain), "{behind:?}");
        }
        for (behind, error) in [
            (";origin", ParseError::Qualifier),
            (";=x", ParseError::Qualifier),
            (";a b=x", ParseError::Qualifier),
            (":x", ParseError::Swhid),
            ("0;path=/", ParseError::Id),
        ] {
            assert_eq!(format!("swh:1:rev:{ID}{behind}").parse::<Swhid>(), Err(error), "{behind:?}");
        }
    }

    #[test]
    fn every_word_for_a_kind_or_a_format_is_of_one_of_them() {
        let words = [
            ("blob", ObjectKind::Content),
            ("TREE", ObjectKind::Directory),
            ("commit", ObjectKind::Revision),
            ("tag", ObjectKind::Release),
            ("snp", ObjectKind::Snapshot),
            ("Revision", ObjectKind::Revision),
        ];
        for (word, kind) in words {
            assert_eq!(ObjectKind::from_spelling(word), Ok(kind));
        }
        for word in ["", "trees", "content ", "objects"] {
            assert_eq!(ObjectKind::from_spelling(word), Err(ParseError::Kind), "{word:?}");
        }
        for (word, format) in [("TGZ", Format::TarGz), ("tar.zstd", Format::TarZst), ("Git.Tar", Format::GitTar)] {
            assert_eq!(Format::from_spelling(word), Ok(format));
        }
        assert_eq!(Format::from_spelling("gz"), Err(ParseError::Format));
    }

    #[test]
    fn a_key_is_read_from_a_swhid_with_an_extension_before_its_qualifiers() {
        for (text, key) in [
            (format!("swh:1:dir:{ID}"), format!("directory/{ID}.tar.gz")),
            (format!("swh:1:dir:{ID}.TGZ"), format!("directory/{ID}.tar.gz")),
            (format!("swh:1:rev:{ID}.git.tar;origin=https://e.org/x.git"), format!("revision/{ID}.git.tar")),
            (format!("swh:1:snp:{ID};origin=https://e.org/x.zip"), format!("snapshot/{ID}.git.tar")),
        ] {
            assert_eq!(BundleKey::from_swhid(&text).map(|key| key.to_string()), Ok(key), "{text}");
        }
        let wrong = BundleKey::from_swhid(&format!("swh:1:dir:{ID}.bundle"));
        assert_eq!(wrong, Err(ParseError::Combination { kind: ObjectKind::Directory, format: Format::Bundle }));
    }

    proptest! {
        #[test]
        fn what_is_plain_is_spelled_so_and_nothing_makes_it_panic(id in any::<[u8; 20]>(), at in 0..5_usize, text in ".{0,60}") {
            let key = BundleKey::with_default_format(ObjectKind::ALL[at], Sha1Git::from_bytes(id));
            let (kind, segment) = (key.kind().to_string(), format!("{}.{}", key.id(), key.format()));
            prop_assert_eq!(BundleKey::from_spelling(&kind, &segment), Ok(key));
            prop_assert_eq!(BundleKey::from_spelling(&kind.to_uppercase(), &segment.to_uppercase()), Ok(key));
            prop_assert_eq!(BundleKey::from_swhid(&key.swhid().to_string()), Ok(key));
            let _ = (BundleKey::from_swhid(&text), BundleKey::from_spelling(&text, &text));
        }
    }
}
