//! Better bases for what is taken out of a larger pack: for objects whose base is left out, which would
//! stand whole, and, where a pack is used in part, for those that take many bytes as they lie there. As
//! `git pack-objects` does it, objects of like names and sizes are tried with each other (`window`); what
//! lies well in its pack is left as it is, and of a pack that is used whole everything.
//!
//! Several threads take families of names. Each knows only what it changed itself, so all that they
//! found is put together in the order of the families, and what would close a circle or make a chain too
//! long is dropped then: the outcome depends neither on the number of threads nor on which was first.
//!
//! **Nothing that is read here has been hashed.** The finished pack is, every object of it.

use super::Order;
use super::forest::{Forest, heights};
use super::name::Name;
use super::plan::Plan;
use super::window::{MAX_TRIED, Window};
use crate::archive::{Archive, ArchiveError, ObjectType, Reader};
use crate::cook::{Control, CookError, threads};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// An entry of fewer bytes is left as it lies.
const MIN_COST: u32 = 200;
/// The cost of what would stand whole.
const CUT: u32 = u32::MAX;
/// Smaller objects are neither bases nor made of any, in bytes.
const MIN_SIZE: u64 = 50;
/// Objects that a thread takes at once, and more where they are of one name.
const CHUNK: usize = 512;
/// Bytes of deltas that a thread hands over at once.
const PIECE: usize = 1 << 20;

const LEVEL: Compression = Compression::new(6);

/// Deltas that were made, in a file without a name.
pub(super) struct Better {
    deltas: HashMap<u32, Delta>,
    file: Option<File>,
    size: u64,
}

#[derive(Clone, Copy)]
struct Delta {
    base: u32,
    /// Where its deflated bytes lie in the file.
    at: u64,
    deflated: usize,
    /// The length of its instructions in bytes.
    size: u64,
}

impl Better {
    /// No deltas.
    pub(super) fn none() -> Self {
        Self { deltas: HashMap::new(), file: None, size: 0 }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Sets `out` to the deflated delta of an object, and gives the length of its instructions.
    pub(super) fn delta(&self, at: u32, out: &mut Vec<u8>) -> Result<Option<u64>, CookError> {
        let (Some(delta), Some(file)) = (self.deltas.get(&at), &self.file) else { return Ok(None) };
        out.resize(delta.deflated, 0);
        file.read_exact_at(out, delta.at).map_err(CookError::Output)?;
        Ok(Some(delta.size))
    }
}

/// Looks for better bases, and changes the plan by what was found.
pub(super) fn search(plan: &mut Plan, order: &Order<'_>) -> Result<Better, CookError> {
    let costs = costs(plan);
    let wanted = costs.iter().filter(|cost| **cost > 0).count();
    if wanted == 0 {
        return Ok(Better::none());
    }
    let control = order.control;
    control.set_found((2 * plan.objects.len() + wanted) as u64);
    let (objects, chunks) = chunks(plan, &costs);
    let heights = heights(&plan.bases, &plan.order);
    let mut better = Better::none();
    let file = tempfile::tempfile_in(order.scratch).map_err(CookError::Output)?;
    let mut found = vec![Vec::new(); chunks.len()];
    let task = Task { plan, costs: &costs, heights: &heights, objects: &objects, chunks: &chunks, control };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(order.threads);
        let archive = order.archive;
        let part = || {
            let (sender, next, task) = (sender.clone(), &next, &task);
            move || task.work(archive, next, &sender)
        };
        // Where not one can be started nothing is found.
        let threads = threads::start_some(scope, order.threads, part);
        drop(sender);
        // An error ends this loop, and with it the receiver, and so the threads.
        let written = receiver.into_iter().try_for_each(|piece: Piece| {
            (order.room)(better.size + piece.bytes.len() as u64)?;
            file.write_all_at(&piece.bytes, better.size)?;
            found[piece.chunk].extend(
                piece.deltas.into_iter().map(|(of, delta)| (of, Delta { at: better.size + delta.at, ..delta })),
            );
            better.size += piece.bytes.len() as u64;
            Ok(())
        });
        let mut ended = Ok(());
        for thread in threads {
            ended = ended.and(thread.join().unwrap_or(Err(CookError::Panicked)));
        }
        written.map_err(CookError::Output).and(ended)
    })?;
    better.file = Some(file);
    let mut forest = Forest::new(&plan.bases, &heights);
    for (of, delta) in found.into_iter().flatten() {
        if forest.depth(of, delta.base).is_some() {
            forest.adopt(of, delta.base);
            better.deltas.insert(of, delta);
        }
    }
    plan.rebase(better.deltas.iter().map(|(of, delta)| (*of, delta.base)));
    Ok(better)
}

/// Of each object the bytes that it would take in the pack, where it is worth looking for a better base,
/// and 0 elsewhere.
fn costs(plan: &Plan) -> Vec<u32> {
    let mut costs = vec![0; plan.objects.len()];
    for at in &plan.order {
        let Some(packed) = plan.packed(*at).filter(|packed| packed.in_part) else { continue };
        let cost = u32::try_from(packed.end.saturating_sub(packed.offset)).unwrap_or(CUT - 1);
        if cost >= MIN_COST && matches!(plan.seen(*at).object_type, ObjectType::Blob | ObjectType::Tree) {
            costs[*at as usize] = cost;
        }
    }
    plan.cut.iter().for_each(|at| costs[*at as usize] = CUT);
    costs
}

/// Objects in families, and the families in chunks: all of one type and name, where a better base is
/// looked for for one of them.
fn chunks(plan: &Plan, costs: &[u32]) -> (Vec<u32>, Vec<Range<usize>>) {
    let family = |at: &u32| family(plan, *at);
    let mut all: Vec<u32> = plan.order.iter().copied().filter(|at| plan.packed(*at).is_some()).collect();
    all.sort_by_key(family);
    let (mut objects, mut chunks, mut start) = (Vec::new(), Vec::new(), 0);
    for family in all.chunk_by(|a, b| family(a) == family(b)) {
        if family.iter().any(|at| costs[*at as usize] > 0) {
            objects.extend_from_slice(family);
            if objects.len() - start >= CHUNK {
                chunks.push(start..objects.len());
                start = objects.len();
            }
        }
    }
    chunks.push(start..objects.len());
    (objects, chunks)
}

fn family(plan: &Plan, at: u32) -> (u8, Name) {
    let seen = plan.seen(at);
    (seen.object_type as u8, seen.name)
}

/// What all threads look at.
struct Task<'a> {
    plan: &'a Plan,
    costs: &'a [u32],
    heights: &'a [u8],
    objects: &'a [u32],
    chunks: &'a [Range<usize>],
    control: &'a Control,
}

/// Deltas of a chunk, deflated. They lie one after the other.
struct Piece {
    chunk: usize,
    deltas: Vec<(u32, Delta)>,
    bytes: Vec<u8>,
}

impl Task<'_> {
    fn work(&self, archive: &dyn Archive, next: &AtomicUsize, sender: &SyncSender<Piece>) -> Result<(), CookError> {
        let mut tools = Tools { reader: archive.reader(), compress: Compress::new(LEVEL, true) };
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.chunks.len() {
                return Ok(());
            }
            self.chunk(chunk, &mut tools, sender)?;
        }
    }

    fn chunk(&self, chunk: usize, tools: &mut Tools, sender: &SyncSender<Piece>) -> Result<(), CookError> {
        let empty = || Piece { chunk, deltas: Vec::new(), bytes: Vec::new() };
        let mut forest = Forest::new(&self.plan.bases, self.heights);
        let (mut window, mut piece) = (Window::default(), empty());
        for (size, at) in self.by_size(chunk, tools)? {
            self.go_on()?;
            let cost = self.costs[at as usize];
            let content = if cost > 0 { self.read(tools, at)? } else { None };
            if let Some(content) = &content {
                let most = (size / 2).min(usize::try_from(cost).unwrap_or(usize::MAX) / 2);
                let found = window.best(at, content, most, &forest, &mut |at| self.read(tools, at))?;
                if let Some(found) = found {
                    let start = piece.bytes.len();
                    let deflated = tools.deflate(&found.delta, &mut piece.bytes);
                    if deflated < cost as usize {
                        forest.adopt(at, found.base);
                        let size = found.delta.len() as u64;
                        piece.deltas.push((at, Delta { base: found.base, at: start as u64, deflated, size }));
                    } else {
                        piece.bytes.truncate(start);
                    }
                }
                if piece.bytes.len() > PIECE && sender.send(std::mem::replace(&mut piece, empty())).is_err() {
                    return Ok(());
                }
            }
            window.push(at, size, content);
        }
        // Who no longer receives has the error.
        let _ = sender.send(piece);
        let wanted = self.objects[self.chunks[chunk].clone()].iter().filter(|at| self.costs[**at as usize] > 0);
        self.control.add_done(wanted.count() as u64);
        Ok(())
    }

    /// The objects of a chunk that are neither too small nor too large, with their sizes, the largest of
    /// each family first.
    fn by_size(&self, chunk: usize, tools: &mut Tools) -> Result<Vec<(usize, u32)>, CookError> {
        let mut sized = Vec::new();
        for at in &self.objects[self.chunks[chunk].clone()] {
            self.go_on()?;
            let header = there(tools.reader.header(&self.plan.objects[*at as usize].0))?;
            if let Some(size) = header.map(|header| header.size)
                && (MIN_SIZE..=MAX_TRIED).contains(&size)
            {
                sized.push((usize::try_from(size).expect("because it is at most MAX_TRIED"), *at));
            }
        }
        // What is as large as another stays in the order of the packs.
        sized.sort_by_key(|(size, at)| (family(self.plan, *at), Reverse(*size)));
        Ok(sized)
    }

    fn read(&self, tools: &mut Tools, at: u32) -> Result<Option<Vec<u8>>, CookError> {
        let mut content = Vec::new();
        let found = there(tools.reader.peek_all(&self.plan.objects[at as usize].0, MAX_TRIED, &mut content))?;
        Ok(found.map(|_| content))
    }

    fn go_on(&self) -> Result<(), CookError> {
        self.control.cancelled().map_or(Ok(()), |reason| Err(CookError::Cancelled(reason)))
    }
}

/// What one thread reads and deflates with.
struct Tools {
    reader: Box<dyn Reader>,
    compress: Compress,
}

impl Tools {
    /// Appends the deflated `delta` to `out`, and gives how many bytes that are.
    fn deflate(&mut self, delta: &[u8], out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.reserve(crate::cook::deflate::bound(delta.len()));
        self.compress.reset();
        let status = self.compress.compress_vec(delta, out, FlushCompress::Finish);
        assert_eq!(status.ok(), Some(Status::StreamEnd), "a delta is deflated by one call");
        out.len() - start
    }
}

/// What is damaged is no base: that it is will be said when it is copied.
fn there<T>(found: Result<Option<T>, ArchiveError>) -> Result<Option<T>, CookError> {
    match found {
        Err(ArchiveError::Corrupt { .. } | ArchiveError::TooLarge { .. }) => Ok(None),
        other => Ok(other?),
    }
}
