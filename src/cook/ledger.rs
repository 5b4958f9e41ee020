//! Where the segments of a bundle lie in it: written down while its units are written.

use super::Cooked;
use super::batch::Role;
use super::pipeline::Made;
use crate::segment::{MOST_IN_A_FILE, Provenance, Written};
use std::io::{self, Write};

/// What goes out, counted.
pub(super) struct Counted<'o> {
    out: &'o mut dyn Write,
    written: u64,
}

impl<'o> Counted<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self { out, written: 0 }
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The segments so far.
#[derive(Default)]
pub(super) struct Ledger {
    written: Vec<Written>,
    made: u64,
    copied: u64,
}

impl Ledger {
    /// The unit that is written next.
    pub(super) fn note(&mut self, unit: &Made, role: Option<&Role>, out: &Counted<'_>) {
        let Some(mut written) = unit.written else { return };
        match written.provenance {
            Provenance::Made => self.made += 1,
            Provenance::Copied(_) => self.copied += 1,
        }
        if self.written.len() < MOST_IN_A_FILE {
            // A large file's local header comes first.
            let head = if let Some(Role::First(entry)) = role { entry.local_len() as u64 } else { 0 };
            written.segment.start = out.written + head;
            self.written.push(written);
        }
    }

    /// Adds what it holds to what is said of the bundle.
    pub(super) fn tell(self, cooked: Cooked) -> Cooked {
        Cooked { segments: self.written, made: self.made, copied: self.copied, ..cooked }
    }
}
