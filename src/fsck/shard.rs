//! One shard: rows and files with the same key are compared, contents are read, and what looks wrong
//! becomes a [`Suspicion`]. Nothing here is certain (`mod.rs` says why): `mend.rs` looks again.

use super::content::{self, Worth};
use super::{BATCH, Check, Error, Event, Fault, Finding};
use crate::bundle::{FileFacts, Status};
use crate::catalogue::Shelved;
use crate::key::{BundleKey, Format, ObjectKind};
use crate::store::{FILE_MODE, Found, Seen, draft};

/// Something that looks wrong.
pub(super) struct Suspicion {
    pub(super) key: BundleKey,
    pub(super) fault: Fault,
    /// The file that it was seen in; `None` when none was there.
    pub(super) seen: Option<Seen>,
    /// What the row said by which it was judged; `None` where there was none.
    pub(super) row: Option<Said>,
    /// What the bytes are worth, of a stray that is to be repaired and of a content that is not what its
    /// row says.
    pub(super) worth: Option<Worth>,
    /// Whether the bytes are those of the row, and only the file's time is not.
    pub(super) is_the_rows: bool,
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
        let mut suspect = |fault| {
            out.push(Suspicion { key, fault, seen, row: Some(row.into()), worth: None, is_the_rows: false });
        };
        let (Some(facts), Some(file)) = (row.facts, seen) else {
            suspect(if row.facts.is_none() { Fault::BrokenReference } else { Fault::MissingFile });
            return Ok(());
        };
        if file.size != facts.size {
            suspect(Fault::WrongSize);
            return self.prove_last(out);
        }
        let has_its_time = file.mtime == draft::mtime(&facts.blake3);
        if !has_its_time {
            if file.mode != FILE_MODE && self.order.repair && self.store.get(&key).is_err() {
                // It is its mode that keeps us out, perhaps: that is mended first.
                suspect(Fault::WrongMode);
                return Ok(());
            }
            suspect(Fault::WrongMtime);
            if !self.order.repair {
                return Ok(());
            }
            if !self.has_the_rows_bytes(row, &file) {
                return self.prove_last(out);
            }
            out.last_mut().expect("because it was pushed above").is_the_rows = true;
        }
        let mut suspect = |fault| {
            out.push(Suspicion { key, fault, seen, row: Some(row.into()), worth: None, is_the_rows: false });
        };
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
                if other.is(&file) {
                    return Ok(());
                }
                suspect(Fault::SplitLink);
            }
            _ => {
                if file.allocated != facts.allocated {
                    suspect(Fault::WrongAllocated);
                }
            }
        }
        if has_its_time && let Some(suspicion) = self.read(row, &file) {
            out.push(suspicion);
            return self.prove_last(out);
        }
        Ok(())
    }

    /// Whether the bytes of a file, whose time is wrong, are those that its row says.
    fn has_the_rows_bytes(&mut self, row: &Shelved, seen: &Seen) -> bool {
        let Ok(Some(found)) = self.store.get(&row.key) else { return false };
        is(seen, &found)
            && self
                .digest(&found, false)
                .is_ok_and(|digests| row.facts.is_some_and(|facts| facts.blake3 == digests.blake3))
    }

    /// Has the last suspicion, of a file that is not what its row says, say what the bytes are worth by
    /// themselves, where that matters: a content is the one bundle that may be nowhere else.
    fn prove_last(&mut self, suspicions: &mut [Suspicion]) -> Result<(), Error> {
        let Some(last) = suspicions.last_mut() else { return Ok(()) };
        if !self.order.repair || last.key.kind() != ObjectKind::Content {
            return Ok(());
        }
        let Some(seen) = last.seen else { return Ok(()) };
        last.worth = self.worth(&last.key, &seen)?;
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
        let suspect = |fault| {
            Some(Suspicion {
                key: row.key,
                fault,
                seen: Some(*seen),
                row: Some(row.into()),
                worth: None,
                is_the_rows: false,
            })
        };
        let found = match self.store.get(&row.key) {
            Ok(Some(found)) if is(seen, &found) => found,
            // Another file by now, which was whole when it was put there.
            Ok(_) => return None,
            // It may be its mode that keeps us out, and that is mended first.
            Err(_) if seen.mode != FILE_MODE => return None,
            Err(_) => return suspect(Fault::Unreadable),
        };
        match self.digest(&found, row.sha256.is_some()) {
            Err(_) => suspect(Fault::Unreadable),
            Ok(digests) if row.facts.is_some_and(|facts| facts.blake3 != digests.blake3) => suspect(Fault::WrongBlake3),
            Ok(digests) if digests.sha256 != row.sha256 => suspect(Fault::WrongSha256),
            Ok(_) => None,
        }
    }

    fn digest(&mut self, found: &Found, with_sha256: bool) -> std::io::Result<content::Digests> {
        content::digest(&found.file, with_sha256, &mut |bytes| {
            self.report.checked.bytes += bytes;
            (self.tell)(Event::Checked(&self.report.checked));
        })
    }

    /// A file without a row. `None` when it is another by now.
    fn stray(&mut self, key: BundleKey, seen: Seen) -> Result<Option<Suspicion>, Error> {
        let suspicion =
            |worth| Suspicion { key, fault: Fault::StrayFile, seen: Some(seen), row: None, worth, is_the_rows: false };
        if !self.order.repair {
            return Ok(Some(suspicion(None)));
        }
        let status = self.catalogue.bundle(&key)?.map(|bundle| bundle.status);
        if matches!(status, Some(Status::Done | Status::New | Status::Pending)) {
            // It has a row after all, or is about to.
            return Ok(None);
        }
        let worth = self.worth(&key, &seen)?.map(|worth| match worth {
            // Why its cook failed may be a reason against this file too, unless the bytes speak for themselves.
            Worth::Whole { proven, .. } if status.is_some() && !(proven && key.format() != Format::Gitfast) => {
                Worth::Unproven("its cook has failed since".to_owned())
            }
            worth => worth,
        });
        Ok(worth.map(|worth| suspicion(Some(worth))))
    }

    /// What the bytes of a file are worth by themselves. `None` when it is another by now.
    fn worth(&mut self, key: &BundleKey, seen: &Seen) -> Result<Option<Worth>, Error> {
        self.blocks.refresh(self.catalogue)?;
        Ok(match self.store.get(key) {
            Ok(Some(found)) if is(seen, &found) => {
                let manifest = match key.kind() {
                    ObjectKind::Snapshot => self.catalogue.snapshot(&key.id())?,
                    ObjectKind::Content | ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release => None,
                };
                Some(content::worth(key, &found, manifest, &self.blocks, &mut |bytes| {
                    self.report.checked.bytes += bytes;
                    (self.tell)(Event::Checked(&self.report.checked));
                }))
            }
            Ok(_) => None,
            Err(error) => Some(Worth::Unproven(error.to_string())),
        })
    }

    /// Looks at suspicions again, in transactions, and puts right what is to be.
    fn look_again(&mut self, suspicions: &[Suspicion]) -> Result<(), Error> {
        for batch in suspicions.chunks(BATCH) {
            let now = self.now();
            let mut findings: Vec<Finding> = Vec::new();
            self.bundles.locked(now, |locked| -> Result<(), Error> {
                for suspicion in batch {
                    findings.extend(self.judge(locked, suspicion)?);
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
