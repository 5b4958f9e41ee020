//! Who does what, and in what memory: one walker, some workers, and the calling thread as writer.
//!
//! The walker puts [`Job`]s into `queue`, in order. A worker takes the first job, makes its units
//! and puts each into `made` by its number; the writer takes them out in order. A worker that reads
//! a large file makes its units one after the other and hands some to workers that idle (`handed`).
//!
//! # Memory
//! `queue` is bounded by its jobs' weight. A unit may be begun only while its number is less than
//! `window` above that of the next to be written, so no more than `window` buffers are outstanding,
//! and what each worker works on. Buffers go back to `spare` and are used again.
//!
//! # No deadlock
//! One mutex guards all of [`State`], and no thread reads, deflates or writes while it holds it.
//! Claim: the unit that the writer waits for, the head, always comes. It is in one of four places.
//! (1) Not yet cut, or held back until the walker asks whether others have made it: then `queue` is empty
//! or ahead of it, and the walker waits for nothing but room in `queue`, which is there once the workers
//! have taken the jobs before the head. (2) In the first
//! job of `queue`: its number is within the window, so any worker that looks may take it. (3) With a
//! worker: nothing that a worker does for the head waits, for the window is open to the head. (4) In
//! `handed`: a unit gets there only while a worker idles for it, and whoever waits, for a job or for
//! the window, takes from `handed` first. And a worker that waits for the window is not holding the
//! head back: the units it was given before are made already, and the head is a lower one.
//!
//! # Errors
//! An error of a worker takes the place of its unit, so the writer meets errors in the order of the
//! stream. An error of the walker, a cancelled order and a panic end all at once. Every thread looks
//! at `ending` whenever it takes the lock, and every wait ends when it is set.

use super::batch::Role;
use super::deflate;
use super::error::CookError;
use super::flat::{self, Walked};
use super::form::Binding;
use super::ledger::{Counted, Ledger};
use super::planner::Planner;
use super::segment::{Job, UNIT};
use super::segments::Name;
use super::threads;
use super::worker::Worker;
use super::{Cooked, Order};
use crate::segment::Written;
use std::collections::VecDeque;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What jobs may weigh in all while they wait: the walker runs so far ahead.
const LOOK_AHEAD: usize = 8 << 20;

/// Cooks `order` into `out`.
pub(super) fn run(order: &Order<'_>, out: &mut dyn Write) -> Result<Cooked, CookError> {
    let workers = order.threads.max(1);
    let pipeline = &Pipeline::new(workers);
    thread::scope(|scope| {
        let worker = || move || pipeline.guard(|| Worker::new(pipeline, order).run());
        let begun = threads::start(scope, || pipeline.guard(|| pipeline.walk(order)))
            .and_then(|_| threads::start(scope, worker()));
        match begun {
            Ok(_) => {
                threads::start_some(scope, workers - 1, worker);
                pipeline.guard(|| pipeline.write(order, out));
            }
            Err(error) => pipeline.fail(error),
        }
    });
    let mut state = pipeline.lock();
    match (state.ending.take(), state.walked.take()) {
        (Some(Ending::Failed(error)), _) => Err(error),
        (Some(Ending::Done(ledger)), Some(walked)) => Ok(ledger.tell(walked.cooked)),
        _ => Err(CookError::Panicked),
    }
}

/// What the threads share.
pub(super) struct Pipeline {
    state: Mutex<State>,
    /// Something for workers: a job, a handed unit, a wider window.
    work: Condvar,
    /// Something for the writer.
    ready: Condvar,
    /// Room in the queue for the walker.
    room: Condvar,
    window: u64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    queued: usize,
    /// Units of large files, for workers that idle.
    handed: VecDeque<Raw>,
    idle: usize,
    /// Number of the unit that the writer takes next.
    next: u64,
    /// Units from number `next` on.
    made: VecDeque<Option<Result<Made, CookError>>>,
    walked: Option<Walked>,
    ending: Option<Ending>,
    spare: Vec<Vec<u8>>,
}

/// Why everybody stops.
enum Ending {
    Failed(CookError),
    Done(Ledger),
}

/// A unit's bytes in the tar stream.
pub(super) struct Raw {
    pub(super) index: u64,
    pub(super) bytes: Vec<u8>,
    /// In a zip.
    pub(super) role: Option<Role>,
    /// What is to be added to its length when progress is counted.
    pub(super) extra: u64,
    /// As a segment.
    pub(super) name: Option<Name>,
}

/// A unit as it is written.
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    /// Its length before it was coded.
    pub(super) raw: u64,
    /// What it stands for in the tar stream; of a tar, the same.
    pub(super) len: u64,
    /// CRC-32 of what was coded, where the format has it.
    pub(super) crc: u32,
    /// In a zip.
    pub(super) role: Option<Role>,
    /// As a segment that others may copy; where it begins is known when it is written.
    pub(super) written: Option<Written>,
}

/// What a worker does next.
pub(super) enum Task {
    Job(Job),
    Handed(Raw),
}

/// Why a thread stops.
#[derive(Debug)]
pub(super) enum Halt {
    /// The cook has ended already.
    Over,
    /// This ends it.
    Failed(CookError),
}

impl<E: Into<CookError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Pipeline {
    fn new(threads: usize) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            ready: Condvar::new(),
            room: Condvar::new(),
            window: 24 + 8 * threads as u64,
        }
    }

    /// What to do next; waits for it.
    pub(super) fn take(&self) -> Result<Task, Halt> {
        let mut state = self.lock();
        loop {
            state.check()?;
            if let Some(raw) = state.handed.pop_front() {
                return Ok(Task::Handed(raw));
            }
            let end = state.next + self.window;
            if let Some(job) = state.queue.pop_front_if(|job| job.first() < end) {
                state.queued -= job.weight();
                self.room.notify_one();
                return Ok(Task::Job(job));
            }
            state.idle += 1;
            state = wait(&self.work, state);
            state.idle -= 1;
        }
    }

    /// Waits until the unit `index` may be begun. Gives a handed unit to be made meanwhile, if
    /// there is one; then ask again.
    pub(super) fn admit(&self, index: u64) -> Result<Option<Raw>, Halt> {
        let mut state = self.lock();
        loop {
            state.check()?;
            if index < state.next + self.window {
                return Ok(None);
            }
            if let Some(raw) = state.handed.pop_front() {
                return Ok(Some(raw));
            }
            state = wait(&self.work, state);
        }
    }

    /// Hands a unit to a worker that idles, and gives an empty buffer for the next; gives the unit
    /// back when all are busy.
    #[expect(clippy::result_large_err, reason = "what is given back was moved here just now")]
    pub(super) fn hand(&self, raw: Raw) -> Result<Vec<u8>, Raw> {
        let mut state = self.lock();
        if state.handed.len() >= state.idle {
            return Err(raw);
        }
        state.handed.push_back(raw);
        self.work.notify_all();
        Ok(state.buffer())
    }

    /// Puts a unit, or what became of it, into its place.
    pub(super) fn put(&self, index: u64, made: Result<Made, CookError>) {
        let mut state = self.lock();
        let place = usize::try_from(index - state.next).expect("because the window is small");
        if state.made.len() <= place {
            state.made.resize_with(place + 1, || None);
        }
        state.made[place] = Some(made);
        if place == 0 {
            self.ready.notify_one();
        }
    }

    /// An empty buffer with room for a unit, deflated or not.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.lock().buffer()
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        self.lock().spare.push(buffer);
    }

    /// Ends the cook with an error, unless it has ended already.
    pub(super) fn fail(&self, error: CookError) {
        self.end(Ending::Failed(error));
    }

    fn end(&self, ending: Ending) {
        self.lock().ending.get_or_insert(ending);
        self.work.notify_all();
        self.ready.notify_all();
        self.room.notify_all();
    }

    /// Runs a thread's part so that, however it ends, the others do too.
    fn guard(&self, part: impl FnOnce() -> Result<(), Halt>) {
        match panic::catch_unwind(AssertUnwindSafe(part)) {
            Ok(Ok(()) | Err(Halt::Over)) => {}
            Ok(Err(Halt::Failed(error))) => self.fail(error),
            Err(_) => self.fail(CookError::Panicked),
        }
    }

    fn walk(&self, order: &Order<'_>) -> Result<(), Halt> {
        let mut planner = Planner::new(order);
        let walked = flat::walk(order, &mut |job| planner.add(job, &mut |job| self.queue(job)))?;
        planner.end(&mut |job| self.queue(job))?;
        order.control.set_found_all();
        self.lock().walked = Some(walked);
        self.ready.notify_one();
        Ok(())
    }

    /// Puts a job at the end of the queue; waits for room.
    fn queue(&self, job: Job) -> Result<(), Halt> {
        let mut state = self.lock();
        while state.ending.is_none() && state.queued > LOOK_AHEAD {
            state = wait(&self.room, state);
        }
        state.check()?;
        state.queued += job.weight();
        state.queue.push_back(job);
        // All, for one of those who wait may be waiting for the window.
        self.work.notify_all();
        Ok(())
    }

    fn write(&self, order: &Order<'_>, out: &mut dyn Write) -> Result<(), Halt> {
        let (mut binding, mut written) = (Binding::new(order.format, order.scratch), None);
        let (mut ledger, out) = (Ledger::default(), &mut Counted::new(out));
        binding.begin(out)?;
        while let Some(mut made) = self.next(written.take())? {
            let role = made.role.take();
            ledger.note(&made, role.as_ref(), out);
            binding.unit(&made, role, out)?;
            order.control.add_done(made.len);
            written = Some(made.bytes);
        }
        binding.end(out)?;
        self.end(Ending::Done(ledger));
        Ok(())
    }

    /// The next unit to write, or `None` after the last; takes the buffer of the one before.
    fn next(&self, written: Option<Vec<u8>>) -> Result<Option<Made>, Halt> {
        let mut state = self.lock();
        state.spare.extend(written);
        loop {
            state.check()?;
            if let Some(made) = state.made.pop_front_if(|made| made.is_some()).flatten() {
                state.next += 1;
                self.work.notify_all();
                return Ok(Some(made?));
            }
            if state.walked.as_ref().is_some_and(|walked| walked.units == state.next) {
                return Ok(None);
            }
            state = wait(&self.ready, state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), Halt> {
        if self.ending.is_some() { Err(Halt::Over) } else { Ok(()) }
    }

    fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(deflate::bound(UNIT)));
        buffer.clear();
        buffer
    }
}

fn wait<'a>(condvar: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condvar.wait(state).unwrap_or_else(PoisonError::into_inner)
}
