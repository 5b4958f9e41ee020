//! Where somebody is on the pages: an object, and how they came to it. Owns the URLs below `/browse`. Pure.
//!
//! The path is a SWHID with those of its qualifiers (ISO/IEC 18670) that the pages know: `origin`, `anchor` and
//! `path`. They are what a link says and nothing that larder vouches for.

use crate::key::{BundleKey, Format, ObjectKind, ParseError, Sha1Git, Swhid};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::fmt::Write as _;

/// The longest qualifier that is passed on, in bytes.
const MAX_QUALIFIER: usize = 2048;

/// What is escaped in a qualifier: what would end it or be trimmed away.
const QUALIFIER: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b';');

/// What is escaped in the path of a URL: what is not a part of one segment.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An object, how it was come to, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The object.
    pub swhid: Swhid,
    /// The URL of a repository.
    pub origin: Option<String>,
    /// The revision or release whose tree was gone down.
    pub anchor: Option<Swhid>,
    /// Where in that tree it lies: begins with a slash.
    pub path: Option<String>,
    /// The bundle that is looked at.
    pub format: Option<Format>,
    /// The number of the first entry, or branch, that is shown.
    pub from: usize,
}

impl Place {
    /// An object that was come to by its id.
    #[must_use]
    pub fn of(swhid: Swhid) -> Self {
        Self { swhid, origin: None, anchor: None, path: None, format: None, from: 0 }
    }

    /// Reads a SWHID with its qualifiers, whose values may be escaped.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (swhid, qualifiers) = Swhid::with_qualifiers(text)?;
        let mut place = Self::of(swhid);
        for (name, value) in qualifiers {
            let value = percent_decode_str(value).decode_utf8().ok().filter(|value| value.len() <= MAX_QUALIFIER);
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            match name {
                "origin" => place.origin = Some(value.into_owned()),
                "anchor" => place.anchor = value.parse().ok(),
                "path" if value.starts_with('/') => place.path = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(place)
    }

    /// The bundle that is looked at, or that of the default format.
    pub fn key(&self) -> Result<BundleKey, ParseError> {
        let Swhid { kind, id } = self.swhid;
        BundleKey::new(kind, id, self.format.unwrap_or(kind.default_format()))
    }

    /// Another object, come to in the same repository.
    #[must_use]
    pub fn to(&self, kind: ObjectKind, id: Sha1Git) -> Self {
        Self { origin: self.origin.clone(), ..Self::of(Swhid { kind, id }) }
    }

    /// The same object in a format.
    #[must_use]
    pub fn as_format(&self, format: Option<Format>) -> Self {
        Self { format, from: 0, ..self.clone() }
    }

    /// The same object from another number on.
    #[must_use]
    pub fn from_number(&self, from: usize) -> Self {
        Self { from, format: None, ..self.clone() }
    }

    /// The SWHID with the qualifiers that are known.
    #[must_use]
    pub fn qualified(&self) -> String {
        let mut text = self.swhid.to_string();
        let anchor = self.anchor.map(|anchor| anchor.to_string());
        for (name, value) in [("origin", &self.origin), ("anchor", &anchor), ("path", &self.path)] {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= MAX_QUALIFIER) {
                text.extend([";", name, "="]);
                text.extend(utf8_percent_encode(value, QUALIFIER));
            }
        }
        text
    }

    /// The URL's path and query below larder's root.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = format!("/browse/{}", utf8_percent_encode(&self.qualified(), SEGMENT));
        if let Some(format) = self.format {
            let _ = write!(target, "?format={format}");
        } else if self.from > 0 {
            let _ = write!(target, "?from={}", self.from);
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(origin in "[^\\x00]{1,30}", path in "/.{0,30}", id in any::<[u8; 20]>()) {
            let swhid = Swhid { kind: ObjectKind::Content, id: Sha1Git::from_bytes(id) };
            let anchor = Some(Swhid { kind: ObjectKind::Revision, ..swhid });
            let place = Place { origin: Some(origin), anchor, path: Some(path), ..Place::of(swhid) };
            prop_assert_eq!(Place::parse(&place.qualified()), Ok(place.clone()));
            let target = place.target();
            prop_assert!(target.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>?#".contains(&b)), "{}", target);
            let segment = target.strip_prefix("/browse/").unwrap();
            prop_assert!(!segment.contains('/'));
            let unescaped = percent_decode_str(segment).decode_utf8().unwrap();
            prop_assert_eq!(Place::parse(&unescaped), Ok(place));
        }
    }

    #[test]
    fn unknown_qualifiers_are_passed_over_and_long_ones_too() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let text = format!("SWH:1:DIR:{id};visit=x;lines=1-2;path=no-slash;anchor=nothing;origin={}", "x".repeat(3000));
        let place = Place::parse(&text).unwrap();
        assert_eq!(place, Place::of(format!("swh:1:dir:{id}").parse().unwrap()));
        assert_eq!(place.from_number(200).target(), format!("/browse/swh:1:dir:{id}?from=200"));
        assert_eq!(place.as_format(Some(Format::Zip)).target(), format!("/browse/swh:1:dir:{id}?format=zip"));
    }
}
