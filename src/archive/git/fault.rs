//! Why one copy of an object could not be read. Another copy may still be good, so this is not yet
//! the archive's error: it names no object, and [`Fault::of`] adds the id when no copy was good.

use crate::archive::ArchiveError;
use crate::key::Sha1Git;
use std::borrow::Cow;
use std::io;
use std::path::Path;

#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes are wrong; the reason holds no path.
    Corrupt(Cow<'static, str>),
    TooLarge {
        size: u64,
        limit: u64,
    },
    /// The file went away since it was listed, as packs do when git repacks: look again.
    Vanished,
    Io {
        action: String,
        cause: io::Error,
    },
    Sink(io::Error),
}

impl Fault {
    pub(crate) fn io(action: &str, path: &Path, cause: io::Error) -> Self {
        Self::Io { action: format!("{action} {}", path.display()), cause }
    }

    /// The same failure for all that meet it until it is over.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Io { action, cause } => Trouble {
                action: action.clone(),
                code: cause.raw_os_error(),
                kind: cause.kind(),
                text: cause.to_string(),
            },
            Self::Corrupt(_) | Self::TooLarge { .. } | Self::Vanished | Self::Sink(_) => Trouble {
                action: "look into the archive".to_owned(),
                code: None,
                kind: io::ErrorKind::Other,
                text: format!("{self:?}"),
            },
        }
    }

    pub(crate) fn of(self, id: Sha1Git) -> ArchiveError {
        match self {
            Self::Corrupt(reason) => ArchiveError::Corrupt { id, reason: reason.into_owned() },
            Self::TooLarge { size, limit } => ArchiveError::TooLarge { id, size, limit },
            Self::Vanished => ArchiveError::Io {
                action: format!("read object {id}"),
                cause: io::Error::new(io::ErrorKind::NotFound, "its pack goes away again and again"),
            },
            Self::Io { action, cause } => ArchiveError::Io { action, cause },
            Self::Sink(cause) => ArchiveError::Sink(cause),
        }
    }
}

/// A failure to look at something, which stands until it is looked at again.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    action: String,
    code: Option<i32>,
    kind: io::ErrorKind,
    text: String,
}

impl Trouble {
    pub(crate) fn fault(&self) -> Fault {
        let cause = match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.text.clone()),
        };
        Fault::Io { action: self.action.clone(), cause }
    }
}

pub(crate) fn corrupt(reason: &'static str) -> Fault {
    Fault::Corrupt(Cow::Borrowed(reason))
}

/// Refuses a size before anything of that size is allocated or written.
pub(crate) fn check_size(size: u64, limit: u64) -> Result<(), Fault> {
    if size > limit { Err(Fault::TooLarge { size, limit }) } else { Ok(()) }
}
