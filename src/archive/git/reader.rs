//! One thread's way into the repositories: finds the copies of an object, reads one that is good.
//!
//! **Invariant: bytes are hashed before they are called the object's.** A copy that is damaged is
//! passed over as long as another can be found; only when none is good is it an error.

use super::Options;
use super::chain::{Chain, Tools, memory_limit};
use super::fault::{Fault, check_size, corrupt};
use super::inflate::{PIECE, Pieces, Stream};
use super::large::{self, Emit, Scratch};
use super::loose::{self, Loose};
use super::packs::{ObjectDir, Packs, Place};
use super::shared::{FEW, Shared};
use crate::archive::object::{Collision, Hasher, hash};
use crate::archive::packed::PackedEntry;
use crate::archive::{self, ArchiveError, Header, MAX_WHOLE_BLOB, ObjectType, Reader};
use crate::key::Sha1Git;
use std::fs::File;
use std::io::{self, BufReader};
use std::sync::Arc;

/// Packs may go away between listing and opening this many times before it is an error.
const ATTEMPTS: usize = 4;

pub(super) struct GitReader {
    shared: Arc<Shared>,
    options: Arc<Options>,
    set: Arc<Vec<Arc<ObjectDir>>>,
    /// `None` until the first look.
    generation: Option<u64>,
    /// The repository that answered last, and its pack: both are asked first.
    last: Option<Arc<Packs>>,
    last_pack: usize,
    tools: Tools,
    stream: Stream,
    whole: Vec<u8>,
    /// Made when a walk begins.
    wide: Option<Box<Tools>>,
}

/// A copy of an object.
enum Copy<'a> {
    Packed(&'a Packs, Place),
    Loose(File),
}

impl Reader for GitReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        self.first_good(id, |tools, stream, copy| Ok(Opened::new(tools, stream, copy)?.header))
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let options = self.options.clone();
        self.first_good(id, |tools, stream, copy| {
            let opened = Opened::new(tools, stream, copy)?;
            let object_type = opened.header.object_type;
            check_size(opened.header.size, memory_limit(object_type))?;
            opened.whole(tools, &options.scratch(), buf)?;
            check_id(id, hash(object_type, buf))?;
            Ok(object_type)
        })
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        let options = self.options.clone();
        let mut whole = std::mem::take(&mut self.whole);
        let mut begun = false;
        let result = self.first_good(id, |tools, stream, copy| {
            if begun {
                // What the sink has cannot be taken back: the damage met first stands.
                return Err(corrupt("a damaged copy of it was met first"));
            }
            let opened = Opened::new(tools, stream, copy)?;
            let header = opened.header;
            if header.object_type != ObjectType::Blob {
                return Err(Fault::Corrupt(format!("it is a {}, not a blob", header.object_type).into()));
            }
            let scratch = options.scratch();
            check_size(header.size, scratch.limit)?;
            if header.size <= MAX_WHOLE_BLOB {
                opened.whole(tools, &scratch, &mut whole)?;
                check_id(id, hash(ObjectType::Blob, &whole))?;
                begun = true;
                whole.chunks(PIECE).try_for_each(|piece| sink.write_all(piece)).map_err(Fault::Sink)?;
            } else {
                let mut hasher = Hasher::new(ObjectType::Blob, header.size);
                opened.pieces(&scratch, &mut |piece| {
                    begun = true;
                    hasher.update(piece);
                    sink.write_all(piece).map_err(Fault::Sink)
                })?;
                check_id(id, hasher.finish())?;
            }
            Ok(header)
        });
        whole.clear();
        whole.shrink_to(1 << 20);
        self.whole = whole;
        result
    }

    fn widen(&mut self) {
        self.tools = Tools::wide();
    }

    fn place(&mut self, id: &Sha1Git) -> Result<Option<archive::Place>, ArchiveError> {
        self.first_good(id, |_, _, copy| match copy {
            Copy::Packed(packs, place) => {
                let pack = packs.pack(place.pack).clone();
                // Where its entries end is asked of its own index.
                if pack.open_index().is_err() {
                    return Ok(archive::Place::Elsewhere);
                }
                Ok(archive::Place::Packed(PackedEntry { pack, offset: place.offset }))
            }
            Copy::Loose(_) => Ok(archive::Place::Elsewhere),
        })
    }

    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.unhashed(id, None, buf)
    }

    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.unhashed(id, Some(most), buf)
    }
}

impl GitReader {
    pub(super) fn new(shared: Arc<Shared>, options: Arc<Options>) -> Self {
        Self {
            shared,
            options,
            set: Arc::default(),
            generation: None,
            last: None,
            last_pack: 0,
            tools: Tools::default(),
            stream: Stream::default(),
            whole: Vec::new(),
            wide: None,
        }
    }

    /// Reads an object that need not be hashed; blobs only when there is a `most` for its bytes.
    fn unhashed(
        &mut self,
        id: &Sha1Git,
        most: Option<u64>,
        buf: &mut Vec<u8>,
    ) -> Result<Option<ObjectType>, ArchiveError> {
        let mut wide = self.wide.take().unwrap_or_else(|| Box::new(Tools::wide()));
        let options = self.options.clone();
        let result = self.first_good(id, |tools, stream, copy| {
            buf.clear();
            if let Copy::Packed(packs, place) = &copy {
                let chain = Chain::follow(packs, *place)?;
                if chain.object_type == ObjectType::Blob && most.is_none() {
                    return Ok(ObjectType::Blob);
                }
                match chain.read(&mut wide, buf) {
                    Err(Fault::TooLarge { .. }) => {}
                    Err(fault) => return Err(fault),
                    Ok(()) => {
                        check_size(buf.len() as u64, most.unwrap_or(u64::MAX))?;
                        wide.bases.put(chain.top().key(), buf);
                        return Ok(chain.object_type);
                    }
                }
            }
            let opened = Opened::new(tools, stream, copy)?;
            let object_type = opened.header.object_type;
            buf.clear();
            if object_type != ObjectType::Blob || most.is_some() {
                check_size(opened.header.size, most.unwrap_or(u64::MAX).min(memory_limit(object_type)))?;
                opened.whole(tools, &options.scratch(), buf)?;
                check_id(id, hash(object_type, buf))?;
            }
            Ok(object_type)
        });
        self.wide = Some(wide);
        result
    }

    /// What `read` makes of the first copy that it does not find at fault; `None` only where all that
    /// there is could be looked at.
    fn first_good<T>(
        &mut self,
        id: &Sha1Git,
        mut read: impl FnMut(&mut Tools, &mut Stream, Copy<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, ArchiveError> {
        for _ in 0..ATTEMPTS {
            self.keep_up();
            let mut faults = Faults::default();
            if let Some(good) = self.search(id, &mut faults, &mut read) {
                return Ok(Some(good));
            }
            if faults.vanished {
                let _ = self.look_again();
            } else if let Some(first) = faults.first {
                return Err(first.of(*id));
            } else if !self.look_again().map_err(|fault| fault.of(*id))? {
                return Ok(None);
            }
        }
        // Repositories and packs come and go faster than they can be listed.
        Err(Fault::Vanished.of(*id))
    }

    fn search<T>(
        &mut self,
        id: &Sha1Git,
        faults: &mut Faults,
        read: &mut impl FnMut(&mut Tools, &mut Stream, Copy<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        let last = self.last.take().filter(|packs| !packs.has_trouble());
        let asked = last.as_ref().map(|packs| packs.dir.number);
        if let Some(packs) = last {
            let good = self.search_one(&packs, id, faults, read);
            self.last = Some(packs);
            if good.is_some() || faults.is_final() {
                return good;
            }
        }
        let set = self.set.clone();
        for dir in set.iter().filter(|dir| Some(dir.number) != asked) {
            let packs = self.shared.packs(dir);
            let good = self.search_one(&packs, id, faults, read);
            if good.is_some() {
                self.last = Some(packs);
            }
            if good.is_some() || faults.is_final() {
                return good;
            }
        }
        None
    }

    /// Tries the copies in one `objects` directory.
    fn search_one<T>(
        &mut self,
        packs: &Packs,
        id: &Sha1Git,
        faults: &mut Faults,
        read: &mut impl FnMut(&mut Tools, &mut Stream, Copy<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        let mut after = None;
        loop {
            match packs.lookup(id, self.last_pack, after) {
                Ok(Some(place)) => match read(&mut self.tools, &mut self.stream, Copy::Packed(packs, place)) {
                    Ok(good) => {
                        self.last_pack = place.pack;
                        return Some(good);
                    }
                    Err(fault) => {
                        faults.note(fault);
                        after = Some(place);
                    }
                },
                Ok(None) => break,
                Err(fault) => {
                    faults.note(fault);
                    break;
                }
            }
        }
        let good = match loose::open(&packs.dir, id) {
            Ok(None) => return None,
            Ok(Some(file)) => read(&mut self.tools, &mut self.stream, Copy::Loose(file)),
            Err(fault) => Err(fault),
        };
        good.map_err(|fault| faults.note(fault)).ok()
    }

    /// Takes over what is known by now of repositories and packs.
    fn keep_up(&mut self) {
        self.shared.refresh_if_due();
        let generation = Some(self.shared.generation());
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        self.set = self.shared.set();
        let last = self.last.take();
        self.last = last.filter(|last| self.set.iter().any(|dir| dir.number == last.dir.number));
        self.last = self.last.take().map(|last| self.shared.packs(&last.dir));
    }

    /// Looks for packs and repositories that came since; whether there may be any.
    ///
    /// # Errors
    /// It cannot be said what there is.
    fn look_again(&self) -> Result<bool, Fault> {
        if self.set.len() <= FEW {
            for dir in self.set.iter() {
                self.shared.refresh(&self.shared.packs(dir));
            }
        } else if let Some(last) = &self.last {
            self.shared.refresh(&self.shared.packs(&last.dir));
        }
        let scanned = self.shared.scan_if_due();
        if self.generation != Some(self.shared.generation()) {
            return Ok(true);
        }
        scanned?;
        self.shared.check_indexes()
    }
}

/// What was wrong with the copies seen so far.
#[derive(Default)]
struct Faults {
    first: Option<Fault>,
    vanished: bool,
}

impl Faults {
    fn note(&mut self, fault: Fault) {
        match fault {
            Fault::Vanished => self.vanished = true,
            Fault::Sink(_) => self.first = Some(fault),
            _ => _ = self.first.get_or_insert(fault),
        }
    }

    /// Whether no other copy can help.
    fn is_final(&self) -> bool {
        matches!(self.first, Some(Fault::Sink(_)))
    }
}

/// A copy whose header is known.
struct Opened<'a> {
    header: Header,
    content: Content<'a>,
}

enum Content<'a> {
    Packed(Chain<'a>, &'a mut Stream),
    Loose(Pieces<'a, BufReader<File>>),
}

impl<'a> Opened<'a> {
    fn new(tools: &mut Tools, stream: &'a mut Stream, copy: Copy<'a>) -> Result<Self, Fault> {
        match copy {
            Copy::Packed(packs, place) => {
                let chain = Chain::follow(packs, place)?;
                Ok(Self { header: chain.header(&mut tools.inflate)?, content: Content::Packed(chain, stream) })
            }
            Copy::Loose(file) => {
                let Loose { header, content } = loose::read(file, stream)?;
                Ok(Self { header, content: Content::Loose(content) })
            }
        }
    }

    /// Sets `buf` to the object, whose size the caller has checked.
    fn whole(self, tools: &mut Tools, scratch: &Scratch<'_>, buf: &mut Vec<u8>) -> Result<(), Fault> {
        if let Content::Packed(chain, _) = &self.content {
            match chain.read(tools, buf) {
                // It is made from something larger than itself.
                Err(Fault::TooLarge { .. }) => {}
                other => return other,
            }
        }
        buf.clear();
        buf.reserve_exact(usize::try_from(self.header.size).map_err(|_| corrupt("it has an impossible size"))?);
        self.pieces(scratch, &mut |piece| {
            buf.extend_from_slice(piece);
            Ok(())
        })
    }

    /// Hands the object on in pieces.
    fn pieces(self, scratch: &Scratch<'_>, emit: &mut Emit<'_>) -> Result<(), Fault> {
        match self.content {
            Content::Packed(chain, stream) => large::read(&chain, stream, scratch, emit),
            Content::Loose(mut content) => content.drain(emit),
        }
    }
}

fn check_id(id: &Sha1Git, hashed: Result<Sha1Git, Collision>) -> Result<(), Fault> {
    match hashed {
        Ok(hashed) if hashed == *id => Ok(()),
        Ok(hashed) => Err(Fault::Corrupt(format!("its bytes are those of {hashed}").into())),
        Err(collision) => Err(Fault::Corrupt(collision.to_string().into())),
    }
}
