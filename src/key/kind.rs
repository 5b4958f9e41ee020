//! [`ObjectKind`], [`Format`] and its [`Family`]: what bundles are made from, in which forms, and which of them go
//! together.
//!
//! **No match on a format or a family has a `_` arm**, here or anywhere: where a new format is forgotten, larder
//! does not compile. What makes or reads one family alone takes [`Flat`] or [`History`], so that it is never given
//! another.

use super::ParseError;
use std::fmt;
use std::str::FromStr;

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
    pub const fn default_format(self) -> Format {
        match self {
            Self::Directory | Self::Revision | Self::Release => Format::TarGz,
            Self::Content => Format::Raw,
            Self::Snapshot => Format::GitTar,
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
    /// The flat tree as a tar in zstd frames, one a unit.
    TarZst = 3,
    /// The flat tree as a zip.
    Zip = 4,
    /// A bare git repository in a tar.
    GitTar = 5,
    /// A git bundle, version 2.
    Bundle = 6,
    /// A `git fast-export` stream, in gzip.
    Gitfast = 7,
    /// The bytes of a content themselves.
    Raw = 8,
}

/// How a format is made, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Of one flat tree: the same for a directory and for a revision or release that leads to it.
    Flat(Flat),
    /// Of all that can be reached, with git's own objects.
    History(History),
    /// Of one content.
    Raw,
}

/// The formats of a flat tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat {
    /// [`Format::TarGz`].
    TarGz,
    /// [`Format::Tar`].
    Tar,
    /// [`Format::TarZst`].
    TarZst,
    /// [`Format::Zip`].
    Zip,
}

/// The formats of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// [`Format::GitTar`].
    GitTar,
    /// [`Format::Bundle`].
    Bundle,
    /// [`Format::Gitfast`].
    Gitfast,
}

impl From<Flat> for Format {
    fn from(flat: Flat) -> Self {
        match flat {
            Flat::TarGz => Self::TarGz,
            Flat::Tar => Self::Tar,
            Flat::TarZst => Self::TarZst,
            Flat::Zip => Self::Zip,
        }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] =
        [Self::TarGz, Self::Tar, Self::TarZst, Self::Zip, Self::GitTar, Self::Bundle, Self::Gitfast, Self::Raw];

    /// The extension, without its leading dot.
    #[must_use]
    pub const fn ext(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
            Self::Zip => "zip",
            Self::GitTar => "git.tar",
            Self::Bundle => "bundle",
            Self::Gitfast => "gitfast.gz",
            Self::Raw => "raw",
        }
    }

    /// The media type of a bundle in this format.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::TarGz | Self::Gitfast => "application/gzip",
            Self::Tar | Self::GitTar => "application/x-tar",
            Self::TarZst => "application/zstd",
            Self::Zip => "application/zip",
            Self::Bundle => "application/x-git-bundle",
            Self::Raw => "application/octet-stream",
        }
    }

    /// Whether the bytes depend on the object alone, so that a client may keep them for ever. Those
    /// of a pack depend on how the archive had its objects stored.
    #[must_use]
    pub const fn is_immutable(self) -> bool {
        match self.family() {
            Family::Flat(_) | Family::History(History::Gitfast) | Family::Raw => true,
            Family::History(History::GitTar | History::Bundle) => false,
        }
    }

    /// How this format is made.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::TarGz => Family::Flat(Flat::TarGz),
            Self::Tar => Family::Flat(Flat::Tar),
            Self::TarZst => Family::Flat(Flat::TarZst),
            Self::Zip => Family::Flat(Flat::Zip),
            Self::GitTar => Family::History(History::GitTar),
            Self::Bundle => Family::History(History::Bundle),
            Self::Gitfast => Family::History(History::Gitfast),
            Self::Raw => Family::Raw,
        }
    }

    /// Whether this is a format of one flat tree.
    #[must_use]
    pub const fn is_flat(self) -> bool {
        matches!(self.family(), Family::Flat(_))
    }

    /// Whether a bundle in this format can be made of a `kind`.
    #[must_use]
    pub const fn is_of(self, kind: ObjectKind) -> bool {
        use ObjectKind::{Content, Directory, Release, Revision, Snapshot};
        match self.family() {
            Family::Flat(_) => matches!(kind, Directory | Revision | Release),
            Family::History(History::GitTar) => matches!(kind, Directory | Revision | Release | Snapshot),
            Family::History(History::Bundle | History::Gitfast) => matches!(kind, Revision | Release | Snapshot),
            Family::Raw => matches!(kind, Content),
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
