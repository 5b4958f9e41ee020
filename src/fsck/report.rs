//! What a check found and did. Pure data; `docs/fsck.md` explains each word.

use std::collections::BTreeMap;
use std::fmt;

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SQLite finds its file damaged.
    BrokenCatalogue,
    /// A row names a row that is not there.
    BrokenReference,
    /// A task of the Archiver that says what cannot be.
    ImpossibleTask,
    /// The row of a file that no bundle names.
    NamelessFile,
    /// A row of the index of segments that leads to nothing, or to something else.
    BrokenSegment,
    /// The sums of the catalogue are not those of its tables.
    WrongTotals,
    /// A bundle's file without a row that says done.
    StrayFile,
    /// A row that says done, without a file.
    MissingFile,
    /// The length is another than the row's.
    WrongSize,
    /// The mtime is not that of the row's BLAKE3.
    WrongMtime,
    /// The blocks allocated are not those of the row.
    WrongAllocated,
    /// The bytes have another BLAKE3 than the row.
    WrongBlake3,
    /// The bytes have another SHA-256 than the row.
    WrongSha256,
    /// The bytes cannot be read.
    Unreadable,
    /// Names of one file in the catalogue are several files in the store.
    SplitLink,
    /// A file or a folder has other permission bits than it should have.
    WrongMode,
    /// Something that larder did not put there.
    StrangeEntry,
    /// What a process that is gone left of its cooks.
    StaleDrafts,
    /// Bundles of another version of the layout.
    OtherLayout,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 19] = [
        Self::BrokenCatalogue,
        Self::BrokenReference,
        Self::ImpossibleTask,
        Self::NamelessFile,
        Self::BrokenSegment,
        Self::WrongTotals,
        Self::StrayFile,
        Self::MissingFile,
        Self::WrongSize,
        Self::WrongMtime,
        Self::WrongAllocated,
        Self::WrongBlake3,
        Self::WrongSha256,
        Self::Unreadable,
        Self::SplitLink,
        Self::WrongMode,
        Self::StrangeEntry,
        Self::StaleDrafts,
        Self::OtherLayout,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrokenCatalogue => "broken-catalogue",
            Self::BrokenReference => "broken-reference",
            Self::ImpossibleTask => "impossible-task",
            Self::NamelessFile => "nameless-file",
            Self::BrokenSegment => "broken-segment",
            Self::WrongTotals => "wrong-totals",
            Self::StrayFile => "stray-file",
            Self::MissingFile => "missing-file",
            Self::WrongSize => "wrong-size",
            Self::WrongMtime => "wrong-mtime",
            Self::WrongAllocated => "wrong-allocated",
            Self::WrongBlake3 => "wrong-blake3",
            Self::WrongSha256 => "wrong-sha256",
            Self::Unreadable => "unreadable",
            Self::SplitLink => "split-link",
            Self::WrongMode => "wrong-mode",
            Self::StrangeEntry => "strange-entry",
            Self::StaleDrafts => "stale-drafts",
            Self::OtherLayout => "other-layout",
        }
    }

    /// Whether it is only worth knowing: nothing is wrong with what is served or counted.
    #[must_use]
    pub const fn is_note(self) -> bool {
        matches!(self, Self::OtherLayout)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What was done about a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Nothing: it was only to be reported.
    Nothing,
    /// The file has a row now.
    Adopted,
    /// It was deleted.
    Removed,
    /// The row counts as absent until the bundle is asked for.
    Reopened,
    /// The file lies in quarantine, and the bundle is in the queue.
    Requeued,
    /// The file lies in quarantine, and the bundle counts as absent until it is asked for: the queue
    /// is full.
    Quarantined,
    /// What was there lies in quarantine.
    Moved,
    /// What was written wrong is right.
    Corrected,
    /// The names are one file again.
    Linked,
    /// It could not be put right, and why.
    Failed(String),
}

impl Did {
    /// Whether the fault is no more.
    #[must_use]
    pub const fn is_repair(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Failed(_))
    }

    /// One word for programs; `None` when nothing was done.
    #[must_use]
    pub const fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Adopted => Some("adopted"),
            Self::Removed => Some("removed"),
            Self::Reopened => Some("reopened"),
            Self::Requeued => Some("requeued"),
            Self::Quarantined => Some("quarantined"),
            Self::Moved => Some("moved"),
            Self::Corrected => Some("corrected"),
            Self::Linked => Some("linked"),
            Self::Failed(_) => Some("failed"),
        }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => return Ok(()),
            Self::Adopted => "adopted",
            Self::Removed => "removed",
            Self::Reopened => "absent until it is asked for",
            Self::Requeued => "in quarantine, to be cooked again",
            Self::Quarantined => "in quarantine, absent until it is asked for",
            Self::Moved => "in quarantine",
            Self::Corrected => "corrected",
            Self::Linked => "linked again",
            Self::Failed(why) => return write!(f, "not repaired: {why}"),
        })
    }
}

/// One thing that is wrong, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of fault it is.
    pub fault: Fault,
    /// What has it: the key of a bundle, or a path below the data directory.
    pub what: String,
    /// What more there is to say; may be empty.
    pub detail: String,
    /// What was done about it.
    pub did: Did,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<17} {}", self.fault, self.what)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if self.did != Did::Nothing {
            write!(f, ": {}", self.did)?;
        }
        Ok(())
    }
}

/// What a check tells while it runs.
#[derive(Debug)]
pub enum Event<'e> {
    /// Something is wrong, or was.
    Found(&'e Finding),
    /// So much was looked at.
    Checked(&'e Progress),
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done bundles of the catalogue, and files without one.
    pub bundles: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// How many faults of a kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Found.
    pub found: u64,
    /// Put right.
    pub repaired: u64,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub checked: Progress,
    /// By fault, those that there were.
    pub faults: BTreeMap<Fault, Count>,
    /// What left quarantine for good.
    pub expired: u64,
    /// Folders for bundles in which there was nothing; removed by a repair.
    pub empty_folders: u64,
}

impl Report {
    /// Whether all is well now: nothing was wrong, or it is no more.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.faults.iter().all(|(fault, count)| fault.is_note() || count.found == count.repaired)
    }

    pub(super) fn add(&mut self, finding: &Finding) {
        let count = self.faults.entry(finding.fault).or_default();
        count.found += 1;
        count.repaired += u64::from(finding.did.is_repair());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_faults_are_all_different_and_fit_their_column() {
        let names: std::collections::BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(names.iter().all(|name| name.len() <= 17));
    }

    #[test]
    fn all_is_well_when_each_fault_is_repaired_or_only_a_note() {
        let finding = |fault, did| Finding { fault, what: String::new(), detail: String::new(), did };
        let mut report = Report::default();
        assert!(report.is_well());
        report.add(&finding(Fault::OtherLayout, Did::Nothing));
        report.add(&finding(Fault::StrayFile, Did::Adopted));
        assert!(report.is_well());
        report.add(&finding(Fault::StrayFile, Did::Failed("x".to_owned())));
        assert!(!report.is_well());
        assert_eq!(report.faults[&Fault::StrayFile], Count { found: 2, repaired: 1 });
    }
}
