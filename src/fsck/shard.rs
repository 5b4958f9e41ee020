//! One shard: rows and files with the same key are compared, contents are read, and what looks wrong
//! becomes a [`Suspicion`]. Nothing here is certain (`mod.rs` says why): `mend.rs` looks again.

use super::content::{self, Worth};
use super::{BATCH, Check, Error, Event, Fault, Finding};
use crate::bundle::{FileFacts, Status};
use crate::catalogue::Shelved;
use crate::key::{BundleKey, ObjectKind};
use crate::store::{FILE_MODE, Found, Seen, draft};

/// Something that looks wrong.
pub(super) struct Suspicion {
    pub(super) key: BundleKey,
    pub(super) fault: Fault,
    /// The file that it was seen in; `None` when none was there.
    pub(super) seen: Option<Seen>,
    /// What the row said by which it was judged; `None` where there was none.
    pub(super) row: Option<Said>,
    /// What the bytes are worth, of a stray that is to be repaired.
    pub(super) worth: Option<Worth>,
}

/// What a row says of the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    facts: Option<FileFacts>,
    sha256: Option<[u8; 32]>,
}

impl From<&Shelved> for Said {
    fn from(row: &Shelved) -> Self {
        Self { facts: row.facts, sha256: row.sha256 }
    }
}

impl Check<'_> {
    /// Compares the rows and the files of a shard, both in order of key.
    pub(super) fn shard(&mut self, rows: &[Shelved], bundles: &[(BundleKey, Seen)]) -> Result<(), Error> {
        let mut suspicions = Vec::new();
        let mut files = bundles.iter().peekable();
        let mut strays = Vec::new();
        for row in rows {
            while let Some((key, seen)) = files.next_if(|(key, _)| *key < row.key) {
                strays.push((*key, *seen));
            }
            let seen = files.next_if(|(key, _)| *key == row.key).map(|(_, seen)| *seen);
            self.report.checked.bundles += 1;
            self.compare(row, seen, &mut suspicions)?;
            // A row without its file's makes its file a stray, once it is reopened.
            strays.extend(seen.filter(|_| row.facts.is_none()).map(|seen| (row.key, seen)));
        }
        strays.extend(files.copied());
        self.look_again(&suspicions)?;
        for batch in strays.chunks(BATCH) {
            let mut suspicions = Vec::new();
            for (key, seen) in batch {
                self.report.checked.bundles += 1;
                suspicions.extend(self.stray(*key, *seen)?);
            }
            self.look_again(&suspicions)?;
        }
        (self.tell)(Event::Checked(&self.report.checked));
        Ok(())
    }

    fn compare(&mut self, row: &Shelved, seen: Option<Seen>, out: &mut Vec<Suspicion>) -> Result<(), Error> {
        let key = row.key;
        let mut suspect = |fault| out.push(Suspicion { key, fault, seen, row: Some(row.into()), worth: None });
        let (Some(facts), Some(file)) = (row.facts, seen) else {
            suspect(if row.facts.is_none() { Fault::BrokenReference } else { Fault::MissingFile });
            return Ok(());
        };
        if file.size != facts.size {
            suspect(Fault::WrongSize);
            return Ok(());
        }
        if file.mtime != draft::mtime(&facts.blake3) {
            suspect(Fault::WrongMtime);
            return Ok(());
        }
        if file.mode != FILE_MODE {
            suspect(Fault::WrongMode);
        }
        // The first of its names that has a file stands for it; the others are to be the same. Which that
        // is takes a look-up, made only where it matters.
        let shared = row.names > 1;
        let matters = self.order.deep || file.links < row.names || file.allocated != facts.allocated;
        let first = if shared && matters { self.first(row)? } else { None };
        match first {
            Some((first, other)) if first != key => {
                if !other.is(&file) {
                    suspect(Fault::SplitLink);
                    out.extend(self.read(row, &file));
                }
            }
            _ => {
                if file.allocated != facts.allocated {
                    suspect(Fault::WrongAllocated);
                }
                out.extend(self.read(row, &file));
            }
        }
        Ok(())
    }

    /// The first name of a row's file under which a file stands.
    fn first(&self, row: &Shelved) -> Result<Option<(BundleKey, Seen)>, Error> {
        let mut names = self.catalogue.names_of(row.file)?;
        names.sort_unstable();
        for name in names {
            if let Some(seen) = self.store.look(&name)? {
                return Ok(Some((name, seen)));
            }
        }
        Ok(None)
    }

    /// Compares the bytes of a file with its row, when that is asked for.
    fn read(&mut self, row: &Shelved, seen: &Seen) -> Option<Suspicion> {
        if !self.order.deep {
            return None;
        }
        let suspect =
            |fault| Some(Suspicion { key: row.key, fault, seen: Some(*seen), row: Some(row.into()), worth: None });
        let found = match self.store.get(&row.key) {
            Ok(Some(found)) if is(seen, &found) => found,
            // Another file by now, which was whole when it was put there.
            Ok(_) => return None,
            // It may be its mode that keeps us out, and that is mended first.
            Err(_) if seen.mode != FILE_MODE => return None,
            Err(_) => return suspect(Fault::Unreadable),
        };
        let digests = content::digest(&found.file, row.sha256.is_some(), &mut |bytes| {
            self.report.checked.bytes += bytes;
            (self.tell)(Event::Checked(&self.report.checked));
        });
        match digests {
            Err(_) => suspect(Fault::Unreadable),
            Ok(digests) if row.facts.is_some_and(|facts| facts.blake3 != digests.blake3) => suspect(Fault::WrongBlake3),
            Ok(digests) if digests.sha256 != row.sha256 => suspect(Fault::WrongSha256),
            Ok(_) => None,
        }
    }

    /// A file without a row. `None` when it is another by now.
    fn stray(&mut self, key: BundleKey, seen: Seen) -> Result<Option<Suspicion>, Error> {
        let suspicion = |worth| Suspicion { key, fault: Fault::StrayFile, seen: Some(seen), row: None, worth };
        if !self.order.repair {
            return Ok(Some(suspicion(None)));
        }
        match self.catalogue.bundle(&key)?.map(|bundle| bundle.status) {
            None => {}
            // It has a row after all, or is about to.
            Some(Status::Done | Status::New | Status::Pending) => return Ok(None),
            Some(Status::Failed) => {
                return Ok(Some(suspicion(Some(Worth::Nothing("its cook has failed since".to_owned())))));
            }
        }
        self.blocks.refresh(self.catalogue)?;
        let worth = match self.store.get(&key) {
            Ok(Some(found)) if is(&seen, &found) => {
                let manifest = match key.kind() {
                    ObjectKind::Snapshot => self.catalogue.snapshot(&key.id())?,
                    ObjectKind::Content | ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release => None,
                };
                content::worth(&key, &found, manifest, &self.blocks, &mut |bytes| {
                    self.report.checked.bytes += bytes;
                    (self.tell)(Event::Checked(&self.report.checked));
                })
            }
            Ok(_) => return Ok(None),
            Err(error) => Worth::Nothing(error.to_string()),
        };
        Ok(Some(suspicion(Some(worth))))
    }

    /// Looks at suspicions again, in transactions, and puts right what is to be.
    fn look_again(&mut self, suspicions: &[Suspicion]) -> Result<(), Error> {
        for batch in suspicions.chunks(BATCH) {
            let now = self.now();
            let mut findings: Vec<Finding> = Vec::new();
            self.catalogue.inspect(now, |inspection| -> Result<(), Error> {
                for suspicion in batch {
                    findings.extend(self.judge(inspection, suspicion, now)?);
                }
                Ok(())
            })?;
            for finding in &findings {
                self.found(finding);
            }
        }
        Ok(())
    }
}

/// Whether the open file is the one that was seen.
fn is(seen: &Seen, found: &Found) -> bool {
    (seen.dev, seen.ino, seen.size, seen.mtime) == (found.dev, found.ino, found.size, found.mtime)
}
