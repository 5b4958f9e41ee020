//! Mapping of packs and their indexes. The one place of larder that needs `unsafe`, and the proof that
//! it may.
//!
//! What is read of a mapping beyond the end of its file, which its owner may cut short at any moment, or
//! where the disk fails, raises SIGBUS, which would end the process. The handler set here puts zeros from
//! there to the end of the mapping and lets the read go on: what comes of it has not the id that was asked
//! for, as all else that is damaged. The mapping is torn then, and made anew by the next listing.
//!
//! **Locks.** `FREE` is held for a push or a pop. The handler takes none: it reads `SLOTS` alone.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Files mapped at once. A process may map some 65,000.
const SLOTS_LENGTH: usize = 65_536;

/// Where a mapping lies; all zero where there is none.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    torn: AtomicBool,
}

static SLOTS: [Slot; SLOTS_LENGTH] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), torn: AtomicBool::new(false) } };
        SLOTS_LENGTH];

/// The slots that were given back, and the first that was never given out.
static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

/// A mapped file.
pub(crate) struct Mapping {
    bytes: Mmap,
    slot: usize,
}

/// Tells whether a mapping is torn, as long as there is that mapping.
#[derive(Clone, Copy)]
pub(super) struct Tear(usize);

impl Tear {
    /// Whether some of it could not be read: the rest is zeros since.
    pub(super) fn is_torn(self) -> bool {
        SLOTS[self.0].torn.load(Ordering::Acquire)
    }
}

impl Mapping {
    pub(super) fn tear(&self) -> Tear {
        Tear(self.slot)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Before it is unmapped: what is mapped there next is none of ours.
        let slot = &SLOTS[self.slot];
        slot.start.store(0, Ordering::SeqCst);
        slot.end.store(0, Ordering::SeqCst);
        slot.torn.store(false, Ordering::SeqCst);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).0.push(self.slot);
    }
}

/// Maps a whole regular file, read-only.
///
/// The compiler believes that the bytes never change; what may go wrong is that they do. Git writes a
/// pack or an index once, under a name made of its content, and only ever deletes it, which leaves a
/// mapping as it is. A hostile owner can write into the file all the same. Nothing is decided by bytes
/// that were checked before and are believed later: each read of an object copies what it uses out of
/// the mapping, bounds are checked by slices whose length is that of the mapping, and what was inflated
/// is hashed in memory of larder's own.
#[expect(unsafe_code, reason = "a mapping of a file cannot be made without; see above")]
pub(super) fn map(file: &File) -> io::Result<Mapping> {
    handle_faults()?;
    let slot = {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        match free.0.pop() {
            Some(slot) => slot,
            None if free.1 < SLOTS_LENGTH => {
                free.1 += 1;
                free.1 - 1
            }
            None => return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many files are mapped")),
        }
    };
    // SAFETY: the file is a regular one, opened read-only; its bytes are only ever read through slices of
    // the mapping, and any value of theirs is a legal one.
    let mapped = unsafe { MmapOptions::new().map_copy_read_only(file) };
    let bytes = mapped.inspect_err(|_| FREE.lock().unwrap_or_else(PoisonError::into_inner).0.push(slot))?;
    let (start, length) = (bytes.as_ptr() as usize, bytes.len());
    SLOTS[slot].end.store(start + length, Ordering::SeqCst);
    SLOTS[slot].start.store(start, Ordering::SeqCst);
    Ok(Mapping { bytes, slot })
}

/// What handled SIGBUS before: the runtime of Rust, which tells stacks that are too deep.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Sees to it, once, that SIGBUS is handled.
#[expect(unsafe_code, reason = "a handler of a signal cannot be set without")]
fn handle_faults() -> io::Result<()> {
    static SET: Mutex<bool> = Mutex::new(false);
    let mut set = SET.lock().unwrap_or_else(PoisonError::into_inner);
    if *set {
        return Ok(());
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    // SAFETY: zeros are a legal `sigaction`; both pointers are to such; the handler has the form that
    // `SA_SIGINFO` asks for, and does nothing but what signal-safety(7) allows.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        BEFORE.get_or_init(|| before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *set = true;
    Ok(())
}

#[expect(unsafe_code, reason = "it handles a signal")]
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with `SA_SIGINFO` a valid `siginfo_t`.
    let address = unsafe { (*info).si_addr() } as usize;
    let within = |slot: &&Slot| {
        let start = slot.start.load(Ordering::SeqCst);
        start != 0 && start <= address && address < slot.end.load(Ordering::SeqCst)
    };
    if let Some(slot) = SLOTS.iter().find(within) {
        // SAFETY: `sysconf` may be called in a handler. The pages from the one at fault to the end of the
        // mapping are ours, for whoever reads there borrows it; what replaces them can be read as they
        // could. `mmap` is a system call and nothing more.
        let replaced = unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(1 << 16);
            let from = address & !(page - 1);
            let length = slot.end.load(Ordering::SeqCst) - from;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let errno = *libc::__errno_location();
            let replaced = libc::mmap(from as *mut libc::c_void, length, libc::PROT_READ, flags, -1, 0);
            *libc::__errno_location() = errno;
            replaced
        };
        if replaced != libc::MAP_FAILED {
            slot.torn.store(true, Ordering::Release);
            return;
        }
    }
    // Not ours: as it would have been without us.
    // SAFETY: what `sigaction` gave is a handler of the form that its flags say; setting the default in
    // its place makes the fault end the process when it comes again.
    unsafe {
        match BEFORE.get() {
            Some(before) if before.sa_flags & libc::SA_SIGINFO != 0 && before.sa_sigaction > libc::SIG_IGN => {
                let before: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(before.sa_sigaction);
                before(signal, info, context);
            }
            _ => drop(libc::signal(signal, libc::SIG_DFL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_short_under_its_mapping_is_torn_and_ends_nothing() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 12).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![7; 64 << 12], 0).unwrap();
        let (map, whole) = (map(&file).unwrap(), map(&file).unwrap());
        assert!(map.iter().all(|byte| *byte == 7) && !map.tear().is_torn());
        file.set_len(10 << 12).unwrap();
        assert_eq!((map[(10 << 12) - 1], map[10 << 12], map[(64 << 12) - 1]), (7, 0, 0));
        assert!(map.tear().is_torn() && !whole.tear().is_torn(), "the other was not touched");
        drop(map);
        let again = super::map(&file).unwrap();
        assert!(!again.tear().is_torn() && again.len() == 10 << 12);
    }
}
