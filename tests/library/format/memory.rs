//! An archive in memory, and trees to put into it: real ids, contents that can be made up as they
//! are streamed, and faults.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use larder::archive::object::{self, Hasher};
use larder::archive::{Archive, ArchiveError, Header, MAX_WHOLE_BLOB, ObjectType, Reader};
use larder::key::Sha1Git;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone)]
enum Object {
    Whole(ObjectType, Arc<Vec<u8>>),
    /// A blob of so many bytes of [`noise`].
    Noise(u64),
    /// Claims `size`, is `object`.
    Lying(u64, Arc<Vec<u8>>),
    Panicking,
}

/// The archive. Clones share nothing: put everything in before cooking.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    objects: HashMap<Sha1Git, Object>,
}

/// An entry to be: its mode, name and id.
pub(crate) type Entry = (&'static str, Vec<u8>, Sha1Git);

impl Memory {
    pub(crate) fn put(&mut self, object_type: ObjectType, content: &[u8]) -> Sha1Git {
        let id = object::hash(object_type, content).unwrap();
        self.objects.insert(id, Object::Whole(object_type, Arc::new(content.to_vec())));
        id
    }

    pub(crate) fn blob(&mut self, content: &[u8]) -> Sha1Git {
        self.put(ObjectType::Blob, content)
    }

    /// A tree of these entries, as they stand.
    pub(crate) fn raw_tree(&mut self, entries: &[Entry]) -> Sha1Git {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            content.extend_from_slice(mode.as_bytes());
            content.push(b' ');
            content.extend_from_slice(name);
            content.push(0);
            content.extend_from_slice(id.as_bytes());
        }
        self.put(ObjectType::Tree, &content)
    }

    /// A tree of these entries, in git's order.
    pub(crate) fn tree(&mut self, mut entries: Vec<Entry>) -> Sha1Git {
        entries.sort_by_key(|(mode, name, _)| {
            let slash: &[u8] = if mode.trim_start_matches('0').starts_with('4') { b"/" } else { b"" };
            [&name[..], slash].concat()
        });
        self.raw_tree(&entries)
    }

    /// A blob of `size` bytes that are never held.
    pub(crate) fn noise(&mut self, size: u64) -> Sha1Git {
        let mut hasher = Hasher::new(ObjectType::Blob, size);
        noise(size, &mut |piece| {
            hasher.update(piece);
            Ok(())
        })
        .unwrap();
        let id = hasher.finish().unwrap();
        self.objects.insert(id, Object::Noise(size));
        id
    }

    /// An object whose header says `size`, and whose content is another.
    pub(crate) fn lying(&mut self, size: u64, content: &[u8]) -> Sha1Git {
        let id = object::hash(ObjectType::Blob, content).unwrap();
        self.objects.insert(id, Object::Lying(size, Arc::new(content.to_vec())));
        id
    }

    pub(crate) fn panicking(&mut self) -> Sha1Git {
        let id = object::hash(ObjectType::Blob, b"panic").unwrap();
        self.objects.insert(id, Object::Panicking);
        id
    }

    /// Writes all whole objects into a git repository, as loose ones.
    pub(crate) fn write_loose(&self, repository: &Path) {
        for (id, object) in &self.objects {
            let Object::Whole(object_type, content) = object else { panic!("only whole objects can be written") };
            let hex = id.to_string();
            let folder = repository.join("objects").join(&hex[..2]);
            fs::create_dir_all(&folder).unwrap();
            let mut file = ZlibEncoder::new(File::create(folder.join(&hex[2..])).unwrap(), Compression::fast());
            write!(file, "{object_type} {}\0", content.len()).unwrap();
            file.write_all(content).unwrap();
            file.finish().unwrap();
        }
    }

    /// Has the object no more.
    pub(crate) fn lose(&mut self, id: &Sha1Git) {
        assert!(self.objects.remove(id).is_some(), "it had it");
    }

    /// Leaves the object's header right and makes its content another.
    pub(crate) fn corrupt(&mut self, id: &Sha1Git) {
        let Some(Object::Whole(ObjectType::Blob, content)) = self.objects.get(id) else { panic!("no such blob") };
        let mut other = content.to_vec();
        other[0] ^= 1;
        self.objects.insert(*id, Object::Whole(ObjectType::Blob, Arc::new(other)));
    }
}

impl Archive for Memory {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(MemoryReader { objects: self.objects.clone() })
    }

    fn stamp(&self, _: &Sha1Git) -> u64 {
        0
    }
}

struct MemoryReader {
    objects: HashMap<Sha1Git, Object>,
}

impl Reader for MemoryReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        Ok(self.objects.get(id).map(|object| match object {
            Object::Whole(object_type, content) => Header { object_type: *object_type, size: content.len() as u64 },
            Object::Noise(size) | Object::Lying(size, _) => Header { object_type: ObjectType::Blob, size: *size },
            Object::Panicking => Header { object_type: ObjectType::Blob, size: 5 },
        }))
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        buf.clear();
        let object_type = match self.objects.get(id) {
            None => return Ok(None),
            Some(Object::Whole(object_type, content)) => {
                buf.extend_from_slice(content);
                *object_type
            }
            Some(Object::Lying(_, content)) => {
                buf.extend_from_slice(content);
                ObjectType::Blob
            }
            Some(Object::Noise(size)) => {
                if *size > MAX_WHOLE_BLOB {
                    return Err(ArchiveError::TooLarge { id: *id, size: *size, limit: MAX_WHOLE_BLOB });
                }
                noise(*size, &mut |piece| {
                    buf.extend_from_slice(piece);
                    Ok(())
                })?;
                ObjectType::Blob
            }
            Some(Object::Panicking) => panic!("this archive has a bug"),
        };
        match object::hash(object_type, buf) {
            Ok(found) if found == *id => Ok(Some(object_type)),
            _ => Err(ArchiveError::Corrupt { id: *id, reason: "it has another hash".to_owned() }),
        }
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn Write) -> Result<Option<Header>, ArchiveError> {
        let Some(header) = self.header(id)? else { return Ok(None) };
        if let Some(Object::Noise(size)) = self.objects.get(id) {
            noise(*size, &mut |piece| sink.write_all(piece).map_err(ArchiveError::Sink))?;
            return Ok(Some(header));
        }
        let mut content = Vec::new();
        let found = self.find(id, &mut content);
        for piece in content.chunks(1 << 16) {
            sink.write_all(piece).map_err(ArchiveError::Sink)?;
        }
        found.map(|_| Some(header))
    }
}

/// `size` bytes that deflate to about half, in pieces, the same every time. They repeat, but farther
/// apart than any window here is wide, and so are made in no time.
fn noise(size: u64, take: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
    const PERIOD: u64 = 4 << 20;
    let mut state = size | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    let once: Vec<u8> = (0..size.min(PERIOD)).map(|_| next()).collect();
    let mut left = size;
    while left > 0 {
        let now = left.min(PERIOD);
        once[..usize::try_from(now).unwrap()].chunks(1 << 16).try_for_each(&mut *take)?;
        left -= now;
    }
    Ok(())
}
