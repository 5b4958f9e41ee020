//! Every object of a pack, its deltas resolved and its id computed: what `git index-pack` does. For
//! the cook, which compares with what it meant to write, and for `verify`, which trusts nothing.
//!
//! Deltas are resolved from their bases up, each once: a base is followed by those made from it, the
//! one that most depend on last, and is let go of when that one is made. So what is held at a time is
//! a few objects, however long the chains and however many are made from one, and no call is nested.
//! Objects over [`MAX_WHOLE_BLOB`], and what would be too much together, lie in scratch files.
//!
//! **Sizes are claims.** None is allocated for or written before it was found to be within bounds.

use super::family::Family;
use crate::archive::git::delta;
use crate::archive::git::fault::{Fault, check_size, corrupt};
use crate::archive::git::inflate::{self, Pieces, Stream};
use crate::archive::git::large::{Base, Emit, Scratch, apply_pieces};
use crate::archive::object::{Hasher, hash};
use crate::archive::{MAX_WHOLE_BLOB, ObjectType};
use crate::cook::threads;
use crate::key::Sha1Git;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// No base: the entry is an object of itself.
pub(crate) const NONE: u32 = u32::MAX;

/// An entry of a pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Where it begins. Entries stand in this order, and each ends where the next begins.
    pub(crate) offset: u64,
    /// The inflated length in bytes that it states.
    pub(crate) size: u64,
    /// The entry that it is a delta of, which stands before it, or [`NONE`].
    pub(crate) base: u32,
    /// The length of its header in bytes.
    pub(crate) header: u8,
    /// The type of an object; of a delta it is that of its base.
    pub(crate) object_type: ObjectType,
}

/// A pack that was read through once.
pub(crate) struct Pack<'a> {
    pub(crate) file: &'a File,
    /// At most 2^32 - 2.
    pub(crate) entries: &'a [Entry],
    /// Where the last entry ends.
    pub(crate) end: u64,
}

/// What resolving may take.
pub(crate) struct Bounds<'a> {
    pub(crate) threads: usize,
    /// A folder for files without a name.
    pub(crate) scratch: &'a Path,
    /// The largest object that a delta may make, in bytes.
    pub(crate) max_object: u64,
}

/// An object that was resolved.
pub(crate) struct Resolved<'a> {
    /// Its entry.
    pub(crate) at: u32,
    pub(crate) object_type: ObjectType,
    pub(crate) id: Sha1Git,
    /// Its content, unless it is a blob.
    pub(crate) content: &'a [u8],
}

/// An entry that is at fault.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) at: u32,
    pub(crate) fault: Fault,
}

/// Called for each object, by several threads at once.
pub(crate) type Visit<'a> = dyn Fn(&Resolved<'_>) -> Result<(), Fault> + Sync + 'a;

/// Entries that a thread takes at once.
const CHUNK: usize = 256;
/// Bytes of bases that one thread keeps in memory while it resolves others.
const MAX_KEPT: usize = 32 << 20;
/// Deflated data up to this size is read whole.
const MAX_DEFLATED: u64 = 32 << 20;

/// Resolves all entries.
///
/// # Errors
/// Of those that were met, the one of the first entry.
pub(crate) fn resolve(pack: &Pack<'_>, bounds: &Bounds<'_>, visit: &Visit<'_>) -> Result<(), Failed> {
    let family = Family::of(pack.entries);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut worker = Worker::new(pack, &family, bounds, visit);
        while !stop.load(Ordering::Relaxed) {
            let first = next.fetch_add(CHUNK, Ordering::Relaxed);
            if first >= pack.entries.len() {
                break;
            }
            let last = pack.entries.len().min(first + CHUNK);
            for at in (first..last).filter(|at| pack.entries[*at].base == NONE) {
                worker.tree(index(at)).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others = threads::start_some(scope, bounds.threads.saturating_sub(1), || work);
        let mut results = vec![work()];
        let panicked = || Failed { at: 0, fault: io_fault("resolve a pack", io::Error::other("a thread panicked")) };
        results.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(panicked()))));
        let failed = results.into_iter().filter_map(Result::err).min_by_key(|failed| failed.at);
        failed.map_or(Ok(()), Err)
    })
}

/// An object that others are made from.
enum Content {
    Memory(Vec<u8>),
    File(Base),
}

/// A base, and how many of those made from it were made.
struct Frame {
    at: u32,
    made: usize,
    /// Its bytes in [`Worker::kept`].
    counted: usize,
    content: Content,
}

impl Frame {
    fn new(at: u32, content: Content) -> Self {
        Self { at, made: 0, counted: 0, content }
    }
}

struct Worker<'a> {
    pack: &'a Pack<'a>,
    family: &'a Family,
    scratch: Scratch<'a>,
    visit: &'a Visit<'a>,
    inflate: gix_zlib::Inflate,
    stream: Stream,
    deflated: Vec<u8>,
    instructions: Vec<u8>,
    spare: Vec<Vec<u8>>,
    kept: usize,
}

impl<'a> Worker<'a> {
    fn new(pack: &'a Pack<'a>, family: &'a Family, bounds: &Bounds<'a>, visit: &'a Visit<'a>) -> Self {
        Self {
            pack,
            family,
            scratch: Scratch { folder: bounds.scratch, limit: bounds.max_object },
            visit,
            inflate: gix_zlib::Inflate::default(),
            stream: Stream::default(),
            deflated: Vec::new(),
            instructions: Vec::new(),
            spare: Vec::new(),
            kept: 0,
        }
    }

    /// Resolves an object and all that is made from it.
    fn tree(&mut self, root: u32) -> Result<(), Failed> {
        let object_type = self.pack.entries[root as usize].object_type;
        let content = self.object(root).map_err(|fault| Failed { at: root, fault })?;
        self.kept = 0;
        let mut stack = vec![Frame::new(root, content)];
        while let Some(frame) = stack.last_mut() {
            let children = self.family.children(frame.at);
            let Some(&child) = children.get(frame.made) else {
                stack.pop().into_iter().for_each(|frame| self.let_go(frame));
                continue;
            };
            frame.made += 1;
            let is_last = frame.made == children.len();
            let content =
                self.delta(child, object_type, &mut frame.content).map_err(|fault| Failed { at: child, fault })?;
            let next = Frame::new(child, content);
            if is_last {
                let done = std::mem::replace(frame, next);
                self.let_go(done);
            } else if self.family.children(child).is_empty() {
                self.let_go(next);
            } else {
                self.keep(frame).map_err(|fault| Failed { at: child, fault })?;
                stack.push(next);
            }
        }
        Ok(())
    }

    /// Puts a base that is needed again out of memory when there is much there already.
    fn keep(&mut self, frame: &mut Frame) -> Result<(), Fault> {
        match &frame.content {
            Content::Memory(bytes) if frame.counted == 0 => {
                if self.kept + bytes.len() <= MAX_KEPT {
                    frame.counted = bytes.len();
                    self.kept += frame.counted;
                } else {
                    frame.content = Content::File(Base::new(&self.scratch, |emit| emit(bytes))?);
                }
            }
            Content::Memory(_) => {}
            Content::File(_) => self.kept -= std::mem::take(&mut frame.counted),
        }
        Ok(())
    }

    fn let_go(&mut self, frame: Frame) {
        const SPARE: usize = 1 << 20;
        const SPARES: usize = 16;
        self.kept -= frame.counted;
        if let Content::Memory(bytes) = frame.content
            && bytes.capacity() <= SPARE
            && self.spare.len() < SPARES
        {
            self.spare.push(bytes);
        }
    }

    /// Resolves an entry that is an object of itself.
    fn object(&mut self, at: u32) -> Result<Content, Fault> {
        let entry = self.pack.entries[at as usize];
        if entry.size <= MAX_WHOLE_BLOB {
            let mut content = self.spare.pop().unwrap_or_default();
            self.inflate_into(at, &mut content)?;
            self.found(at, entry.object_type, &content)?;
            return Ok(Content::Memory(content));
        }
        let mut hasher = Hasher::new(entry.object_type, entry.size);
        let mut input = self.input(at)?;
        let mut pieces = Pieces::new(&mut input, &mut self.stream, Some(entry.size));
        let wanted = entry.object_type != ObjectType::Blob || !self.family.children(at).is_empty();
        let content = if wanted {
            check_size(entry.size, self.scratch.limit)?;
            Base::new(&self.scratch, |emit| {
                pieces.drain(&mut |piece| {
                    hasher.update(piece);
                    emit(piece)
                })
            })
            .map(Content::File)?
        } else {
            pieces.drain(&mut |piece| {
                hasher.update(piece);
                Ok(())
            })?;
            Content::Memory(Vec::new())
        };
        at_end(&mut input)?;
        self.found_large(at, entry.object_type, hasher, &content)?;
        Ok(content)
    }

    /// Resolves an entry that is a delta of `base`.
    fn delta(&mut self, at: u32, object_type: ObjectType, base: &mut Content) -> Result<Content, Fault> {
        let entry = self.pack.entries[at as usize];
        if let Content::Memory(base) = base
            && entry.size <= MAX_WHOLE_BLOB
        {
            let mut instructions = std::mem::take(&mut self.instructions);
            let inflated = self.inflate_into(at, &mut instructions);
            let mut content = self.spare.pop().unwrap_or_default();
            let made = inflated.and_then(|()| delta::apply(base, &instructions, &mut content, MAX_WHOLE_BLOB));
            self.instructions = instructions;
            match made {
                Err(Fault::TooLarge { .. }) => {}
                other => {
                    other?;
                    self.found(at, object_type, &content)?;
                    return Ok(Content::Memory(content));
                }
            }
        }
        if let Content::Memory(bytes) = base {
            let file = Base::new(&self.scratch, |emit| emit(bytes))?;
            *base = Content::File(file);
        }
        let Content::File(base) = base else { return Err(corrupt("its base is nowhere")) };
        let mut input = self.input(at)?;
        let mut pieces = Pieces::new(&mut input, &mut self.stream, Some(entry.size));
        let mut hasher = None;
        let limit = self.scratch.limit;
        let made = Base::new(&self.scratch, |emit| {
            // The size is known before the first piece comes, and both end before this does.
            let started = std::cell::RefCell::new(&mut hasher);
            let mut begin = |size| {
                **started.borrow_mut() = Some(Hasher::new(object_type, size));
                Ok(())
            };
            let mut both = |piece: &[u8]| {
                if let Some(hasher) = started.borrow_mut().as_mut() {
                    hasher.update(piece);
                }
                emit(piece)
            };
            let both: &mut Emit<'_> = &mut both;
            apply_pieces(&mut pieces, base, limit, &mut begin, both)
        })?;
        at_end(&mut input)?;
        let content = Content::File(made);
        let hasher = hasher.ok_or(corrupt("its delta states no size"))?;
        self.found_large(at, object_type, hasher, &content)?;
        Ok(content)
    }

    fn found(&self, at: u32, object_type: ObjectType, content: &[u8]) -> Result<(), Fault> {
        let id = hash(object_type, content).map_err(|collision| Fault::Corrupt(collision.to_string().into()))?;
        let content = if object_type == ObjectType::Blob { &[][..] } else { content };
        (self.visit)(&Resolved { at, object_type, id, content })
    }

    fn found_large(&self, at: u32, object_type: ObjectType, hasher: Hasher, content: &Content) -> Result<(), Fault> {
        let id = hasher.finish().map_err(|collision| Fault::Corrupt(collision.to_string().into()))?;
        let mut whole = Vec::new();
        if let Content::File(file) = content
            && object_type != ObjectType::Blob
        {
            check_size(file.size(), crate::archive::MAX_STRUCTURE)?;
            file.read_into(&mut whole)?;
        }
        (self.visit)(&Resolved { at, object_type, id, content: &whole })
    }

    /// Where the deflated data of an entry lies.
    fn range(&self, at: u32) -> Result<(u64, u64), Fault> {
        let at = at as usize;
        let entry = &self.pack.entries[at];
        let end = self.pack.entries.get(at + 1).map_or(self.pack.end, |next| next.offset);
        let start = entry.offset + u64::from(entry.header);
        let length = end.checked_sub(start).ok_or(corrupt("its entry is cut short"))?;
        Ok((start, length))
    }

    /// Sets `out` to the inflated data of an entry, whose size is within bounds.
    fn inflate_into(&mut self, at: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (start, length) = self.range(at)?;
        check_size(length, MAX_DEFLATED)?;
        let length = usize::try_from(length).expect("because it was checked");
        self.deflated.resize(length, 0);
        let fault = |cause| io_fault("read the pack", cause);
        self.pack.file.read_exact_at(&mut self.deflated, start).map_err(fault)?;
        out.clear();
        out.resize(usize::try_from(self.pack.entries[at as usize].size).expect("because it was checked"), 0);
        inflate::exact(&mut self.inflate, &self.deflated, out)
    }

    fn input(&self, at: u32) -> Result<BufReader<Range<'a>>, Fault> {
        let (at, left) = self.range(at)?;
        Ok(BufReader::with_capacity(256 << 10, Range { file: self.pack.file, at, left }))
    }
}

/// Part of a file.
struct Range<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read_at(&mut buf[..wanted], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

fn at_end(input: &mut impl BufRead) -> Result<(), Fault> {
    let rest = input.fill_buf().map_err(|cause| io_fault("read the pack", cause))?;
    if rest.is_empty() { Ok(()) } else { Err(corrupt(inflate::FOLLOWED)) }
}

fn io_fault(action: &str, cause: io::Error) -> Fault {
    Fault::Io { action: action.to_owned(), cause }
}

/// A place among the entries, as they are counted.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).expect("because a pack has fewer entries")
}
