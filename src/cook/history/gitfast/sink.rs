//! Where the stream goes: bytes, blobs and marks. Knows no commit and no order.

use super::gz::Units;
use super::marks::Marks;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::cook::error::CookError;
use crate::cook::flat::same_size;
use crate::cook::root::same_type;
use crate::key::Sha1Git;
use std::io::Write as _;

/// The stream under way, and what reading blobs into it takes.
pub(super) struct Sink<'a, 'u> {
    pub(super) out: &'a mut Units<'u>,
    pub(super) marks: Marks,
    reader: Box<dyn Reader>,
    content: Vec<u8>,
}

impl<'a, 'u> Sink<'a, 'u> {
    pub(super) fn new(out: &'a mut Units<'u>, mut reader: Box<dyn Reader>) -> Self {
        reader.widen();
        Self { out, marks: Marks::default(), reader, content: Vec::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CookError> {
        self.out.write_all(bytes).map_err(CookError::Output)
    }

    /// `data <length>`, the bytes, and a newline that is not one of them.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), CookError> {
        self.write(format!("data {}\n", bytes.len()).as_bytes())?;
        self.write(bytes)?;
        self.write(b"\n")
    }

    /// The mark of a blob; writes the blob when it has none yet.
    pub(super) fn blob(&mut self, id: Sha1Git) -> Result<u32, CookError> {
        if let Some(mark) = self.marks.get(&id, ObjectType::Blob)? {
            return Ok(mark);
        }
        let mark = self.marks.add(id, ObjectType::Blob)?;
        match self.reader.find(&id, &mut self.content) {
            Ok(None) => return Err(CookError::Missing { id }),
            Err(ArchiveError::TooLarge { .. }) => return self.large_blob(id, mark).map(|()| mark),
            found => {
                let found = found?.map_or(ObjectType::Blob, |found| found);
                same_type(&id, found, ObjectType::Blob)?;
            }
        }
        let content = std::mem::take(&mut self.content);
        self.out.admit(content.len() as u64)?;
        self.write(format!("blob\nmark :{mark}\n").as_bytes())?;
        self.data(&content)?;
        self.content = content;
        self.content.clear();
        self.content.shrink_to(1 << 20);
        Ok(mark)
    }

    /// One that is not held in memory.
    fn large_blob(&mut self, id: Sha1Git, mark: u32) -> Result<(), CookError> {
        let header = self.reader.header(&id)?.ok_or(CookError::Missing { id })?;
        same_type(&id, header.object_type, ObjectType::Blob)?;
        self.out.admit(header.size)?;
        self.write(format!("blob\nmark :{mark}\ndata {}\n", header.size).as_bytes())?;
        let before = self.out.written();
        self.reader.stream(&id, self.out)?.ok_or(CookError::Missing { id })?;
        same_size(&id, self.out.written() - before, header.size)?;
        self.write(b"\n")
    }
}
