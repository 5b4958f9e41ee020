//! A pack of objects as they come, each whole (`gitformat-pack(5)`, version 2), and its index. Owns the two
//! files; knows nothing of where the objects come from.

use crate::archive::ObjectType;
use crate::archiver::structure::Blobs;
use crate::cook::history::index::{self, Indexed};
use crate::key::Sha1Git;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::SpooledTempFile;

/// A content of up to so many bytes waits in memory until its length is known.
const IN_MEMORY: usize = 1 << 20;
/// Bytes copied at a time.
const PIECE: usize = 64 << 10;

/// A pack that is being written.
pub(super) struct Pack<'a> {
    path: PathBuf,
    out: Entries<'a>,
    objects: BTreeMap<Sha1Git, Indexed>,
    /// The content that has begun.
    blob: SpooledTempFile,
    size: u64,
    failed: Option<io::Error>,
}

impl<'a> Pack<'a> {
    /// A pack in the folder `objects/pack` of a repository. `room` is told how many bytes it has each time
    /// before it grows.
    pub(super) fn new(folder: &Path, room: &'a dyn Fn(u64) -> io::Result<()>) -> io::Result<Self> {
        let path = folder.join("incoming.pack");
        let mut out = BufWriter::with_capacity(1 << 18, File::create_new(&path)?);
        // How many there are is known in the end.
        out.write_all(b"PACK\0\0\0\x02\0\0\0\0")?;
        let blob = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
        let out = Entries { out, at: 12, crc: crc32fast::Hasher::new(), room };
        Ok(Self { path, out, objects: BTreeMap::new(), blob, size: 0, failed: None })
    }

    /// Adds a tree, a commit or a tag, whose id is known.
    pub(super) fn object(&mut self, object_type: ObjectType, id: &Sha1Git, content: &[u8]) -> io::Result<()> {
        if self.objects.contains_key(id) {
            return Ok(());
        }
        let offset = self.out.begin(object_type, content.len() as u64)?;
        let mut encoder = ZlibEncoder::new(&mut self.out, Compression::fast());
        encoder.write_all(content)?;
        encoder.finish()?;
        self.objects.insert(*id, self.out.end(offset));
        Ok(())
    }

    fn blob(&mut self, id: &Sha1Git) -> io::Result<()> {
        self.blob.seek(SeekFrom::Start(0))?;
        if !self.objects.contains_key(id) {
            let offset = self.out.begin(ObjectType::Blob, self.size)?;
            let mut encoder = ZlibEncoder::new(&mut self.out, Compression::fast());
            let copied = io::copy(&mut (&mut self.blob).take(self.size), &mut encoder)?;
            encoder.finish()?;
            if copied != self.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.objects.insert(*id, self.out.end(offset));
        }
        self.blob.seek(SeekFrom::Start(0))?;
        self.blob.set_len(0)?;
        self.size = 0;
        Ok(())
    }

    /// Writes what is missing, and gives both files their names, once they are on the disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut file = self.out.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let count = u32::try_from(self.objects.len()).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(8))?;
        file.write_all(&count.to_be_bytes())?;
        let checksum = checksum(&self.path)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(&checksum)?;
        file.sync_all()?;
        let named = |ext| self.path.with_file_name(format!("pack-{}.{ext}", Sha1Git::from_bytes(checksum)));
        let (ids, objects): (Vec<Sha1Git>, Vec<Indexed>) = self.objects.into_iter().unzip();
        let mut listed = File::create_new(named("idx"))?;
        index::write(&objects, |at| ids[at], &checksum, &mut listed)?;
        listed.sync_all()?;
        std::fs::rename(&self.path, named("pack"))
    }
}

impl Blobs for Pack<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.size += bytes.len() as u64;
        self.blob.write_all(bytes)
    }

    fn end(&mut self, id: &Sha1Git) {
        if self.failed.is_none() {
            self.failed = self.blob(id).err();
        }
    }
}

/// SHA-1 of a file to its end: the sum that git keeps behind a pack.
fn checksum(path: &Path) -> io::Result<[u8; 20]> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha1::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            n => hasher.update(&piece[..n]),
        }
    }
}

/// Writes entries, with the sum of each.
struct Entries<'a> {
    out: BufWriter<File>,
    at: u64,
    crc: crc32fast::Hasher,
    room: &'a dyn Fn(u64) -> io::Result<()>,
}

impl Entries<'_> {
    /// The head of an entry: its type and length in groups of 4 and 7 bits, the lowest first.
    fn begin(&mut self, object_type: ObjectType, size: u64) -> io::Result<u64> {
        let (offset, kind) = (
            self.at,
            match object_type {
                ObjectType::Commit => 1,
                ObjectType::Tree => 2,
                ObjectType::Blob => 3,
                ObjectType::Tag => 4,
            },
        );
        self.crc = crc32fast::Hasher::new();
        let (mut head, mut left) = (kind << 4 | (size & 15) as u8, size >> 4);
        let mut bytes = Vec::new();
        while left > 0 {
            bytes.push(head | 0x80);
            (head, left) = ((left & 0x7f) as u8, left >> 7);
        }
        bytes.push(head);
        self.write_all(&bytes)?;
        Ok(offset)
    }

    fn end(&mut self, offset: u64) -> Indexed {
        Indexed { offset, crc: std::mem::replace(&mut self.crc, crc32fast::Hasher::new()).finalize() }
    }
}

impl Write for Entries<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.room)(self.at + bytes.len() as u64)?;
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::git::GitArchive;
    use crate::archive::{Archive as _, object};
    use crate::upstream::kept;

    #[test]
    fn a_pack_reads_back_each_object_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("one.git");
        let packs = kept::blank_repository(&repository).unwrap();
        let mut pack = Pack::new(&packs, &|_| Ok(())).unwrap();
        // Of no bytes, of one group of bits, of two, and larger than what waits in memory.
        let blobs: Vec<Vec<u8>> = [0, 15, 16, 3 << 20].map(|size| (0..=250).cycle().take(size).collect()).into();
        let ids: Vec<Sha1Git> = blobs.iter().map(|blob| object::hash(ObjectType::Blob, blob).unwrap()).collect();
        for _twice in 0..2 {
            for (blob, id) in blobs.iter().zip(&ids) {
                for piece in blob.chunks(70_000) {
                    pack.bytes(piece).unwrap();
                }
                pack.end(id);
            }
        }
        let tree = object::hash(ObjectType::Tree, b"").unwrap();
        pack.object(ObjectType::Tree, &tree, b"").unwrap();
        pack.finish().unwrap();
        let archive = GitArchive::new(vec![repository]).unwrap();
        let (mut reader, mut buf) = (archive.reader(), Vec::new());
        for (blob, id) in blobs.iter().zip(&ids) {
            assert_eq!(reader.find(id, &mut buf).unwrap(), Some(ObjectType::Blob));
            assert!(buf == *blob, "{id}");
        }
        assert_eq!(reader.find(&tree, &mut buf).unwrap(), Some(ObjectType::Tree));
    }

    #[test]
    fn what_finds_no_room_is_no_pack() {
        let folder = tempfile::tempdir().unwrap();
        let packs = kept::blank_repository(&folder.path().join("one.git")).unwrap();
        let full = |bytes: u64| if bytes > 40 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        let mut pack = Pack::new(&packs, &full).unwrap();
        let blob: Vec<u8> = (0..200_u8).collect();
        pack.bytes(&blob).unwrap();
        pack.end(&object::hash(ObjectType::Blob, &blob).unwrap());
        assert_eq!(pack.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
