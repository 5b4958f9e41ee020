//! The index of segments: rows that lead nowhere, and, where every byte is read, rows that lead to other
//! bytes than they say. A cook notices both by itself; here they are found before one does.

use super::{Check, Did, Error, Fault, Finding, content};
use crate::catalogue::FileId;
use crate::key::BundleKey;
use crate::segment::{MOST_PACKED, Segment};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Rows looked at in one statement.
const PAGE: u32 = 4096;

impl Check<'_> {
    pub(super) fn segments(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let (broken, last) = self.catalogue.broken_segments(after.as_ref(), PAGE)?;
            self.forget(&broken, "catalogue.db", "leads to no file, or out of it")?;
            after = last;
            if after.is_none() {
                break;
            }
        }
        let mut file = None;
        while self.order.deep {
            file = self.catalogue.next_file_with_segments(file)?;
            match file {
                Some(file) => self.segments_of(file)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Compares the segments of a file with their checksums.
    fn segments_of(&mut self, file: FileId) -> Result<(), Error> {
        let names = self.catalogue.names_of(file)?;
        let found = names.iter().find_map(|name| Some((name, self.store.get(name).ok()??.file)));
        // One that cannot be opened was found as a bundle.
        let Some((name, open)) = found else { return Ok(()) };
        let mut after = None;
        loop {
            let mut page = self.catalogue.segments_of(file, after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key);
            page.sort_unstable_by_key(|segment| segment.start);
            self.report.checked.bytes += page.iter().map(|segment| u64::from(segment.packed)).sum::<u64>();
            page.retain(|segment| !is_there(segment, &open));
            if !page.is_empty() && !self.is_whole(name, &open)? {
                // Then it is the bundle that was found, and its segments go with it.
                return Ok(());
            }
            self.forget(&page, &name.to_string(), "has other bytes than it had")?;
        }
    }

    /// Whether a bundle's bytes are those that its row says.
    fn is_whole(&mut self, name: &BundleKey, file: &File) -> Result<bool, Error> {
        let facts = self.catalogue.bundle(name)?.and_then(|bundle| bundle.file);
        let digests = content::digest(file, false, &mut |bytes| self.report.checked.bytes += bytes);
        Ok(facts.zip(digests.ok()).is_some_and(|(facts, digests)| facts.blake3 == digests.blake3))
    }

    fn forget(&mut self, broken: &[Segment], what: &str, why: &str) -> Result<(), Error> {
        let mut count = broken.len();
        if self.order.repair && count > 0 {
            // Those that were published meanwhile lead elsewhere.
            count = self.catalogue.forget_segments(broken)?;
        }
        for _ in 0..count {
            let did = if self.order.repair { Did::Removed } else { Did::Nothing };
            let (what, detail) = (what.to_owned(), format!("a segment {why}"));
            self.found(&Finding { fault: Fault::BrokenSegment, what, detail, did });
        }
        Ok(())
    }
}

fn is_there(segment: &Segment, file: &File) -> bool {
    if segment.packed > MOST_PACKED {
        return false;
    }
    let mut bytes = vec![0; segment.packed as usize];
    file.read_exact_at(&mut bytes, segment.start).is_ok() && segment.is(&bytes)
}
