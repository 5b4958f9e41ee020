//! A zip's central directory: gathered while members are written, written behind them. Held in
//! memory while it is small, in an unlinked file of the scratch folder when it is not.

use super::batch::Role;
use super::gzip::Sum;
use super::pipeline::Made;
use super::zip::{self, Entry, Figures};
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use tempfile::SpooledTempFile;

/// What of a directory is held in memory: some ten thousand members.
const HELD: usize = 4 << 20;

pub(super) struct Directory {
    /// The central headers so far.
    headers: BufWriter<SpooledTempFile>,
    entries: u64,
    bytes: u64,
    /// Bytes of the zip so far.
    at: u64,
    /// The large file under way.
    open: Option<Open>,
    buf: Vec<u8>,
}

struct Open {
    entry: Entry,
    offset: u64,
    sum: Sum,
    packed: u64,
}

impl Directory {
    pub(super) fn new(scratch: &Path) -> Self {
        Self {
            headers: BufWriter::with_capacity(1 << 16, tempfile::spooled_tempfile_in(HELD, scratch)),
            entries: 0,
            bytes: 0,
            at: 0,
            open: None,
            buf: Vec::new(),
        }
    }

    /// Writes a unit, and what stands around it when it is a large file's first or last.
    pub(super) fn unit(&mut self, made: &Made, role: Role, out: &mut dyn Write) -> io::Result<()> {
        let is_last = matches!(role, Role::Last);
        match role {
            Role::Batch(members) => {
                let mut offset = self.at;
                for (entry, figures) in members {
                    self.add(&entry, &figures, offset)?;
                    offset += entry.local_len() as u64 + figures.packed;
                }
                return self.write_all(&made.bytes, out);
            }
            Role::First(entry) => {
                let mut header = Vec::new();
                entry.write_local(&Figures::default(), &mut header);
                self.open = Some(Open { entry, offset: self.at, sum: Sum::default(), packed: 0 });
                self.write_all(&header, out)?;
            }
            Role::Middle | Role::Last => {}
        }
        let open = self.open.as_mut().expect("because a first piece comes before the others");
        open.sum.add(made.crc, made.raw);
        open.packed += made.bytes.len() as u64;
        self.write_all(&made.bytes, out)?;
        if is_last { self.close(out) } else { Ok(()) }
    }

    /// Ends the large file under way.
    fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Open { entry, offset, sum, packed } = self.open.take().expect("because its first piece came");
        let figures = Figures { crc: sum.crc(), packed };
        let mut descriptor = Vec::new();
        entry.write_descriptor(&figures, &mut descriptor);
        self.write_all(&descriptor, out)?;
        self.add(&entry, &figures, offset)
    }

    fn add(&mut self, entry: &Entry, figures: &Figures, offset: u64) -> io::Result<()> {
        self.buf.clear();
        entry.write_central(figures, offset, &mut self.buf);
        self.entries += 1;
        self.bytes += self.buf.len() as u64;
        self.headers.write_all(&self.buf)
    }

    fn write_all(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.at += bytes.len() as u64;
        out.write_all(bytes)
    }

    /// Writes the directory itself, and the end.
    pub(super) fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let mut headers = self.headers.into_inner().map_err(io::IntoInnerError::into_error)?;
        headers.rewind()?;
        io::copy(&mut headers, out)?;
        let mut end = Vec::new();
        zip::write_end(self.entries, self.bytes, self.at, &mut end);
        out.write_all(&end)
    }
}
