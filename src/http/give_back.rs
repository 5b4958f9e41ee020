//! Memory given back to the system after a load. glibc keeps what was freed between what was not: of a hundred
//! megabytes that a thousand clients have left behind, most. It is told to let go when much more is resident than at
//! the least, which is looked at every few seconds and costs nothing while nothing grows.
//!
//! This is the one place with a call of C's that is not behind a crate.

use super::file_body;
use std::time::Duration;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

/// What may gather, in bytes.
const SLACK: usize = 8 << 20;

/// How long it is waited at most after a time when little went back: what is in use cannot.
const REST: Duration = Duration::from_secs(20);

/// Looks for ever. What was in use the last time may be free now, so much that is resident is reason enough to try.
pub(super) async fn keep_giving_back() {
    let mut least = resident().unwrap_or(0);
    let mut wait = LOOK;
    loop {
        tokio::time::sleep(wait).await;
        let Some(now) = resident() else { return };
        least = least.min(now);
        if now <= least + SLACK {
            wait = LOOK;
            continue;
        }
        let trimmed = tokio::task::spawn_blocking(|| {
            file_body::let_go();
            trim();
            resident()
        });
        let Ok(Some(after)) = trimmed.await else { return };
        wait = if now.saturating_sub(after) >= SLACK { LOOK } else { (2 * wait).min(REST) };
        tracing::debug!(before = now, after, "memory was given back");
    }
}

/// Bytes of this process in memory that are not those of a file.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.trim().strip_suffix(" kB")?;
    kibibytes.parse::<usize>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "malloc_trim(3) takes a number, may be called by any thread at any time, and frees nothing in use"
)]
fn trim() {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // What it says is whether anything was released.
    let _ = malloc_trim(0);
}

/// Other allocators give back by themselves, or cannot be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_between_what_was_not_goes_back() {
        // Smaller than what malloc maps by itself.
        let mut blocks: Vec<_> = (0..4096).map(|_| Some(vec![1_u8; 16 << 10])).collect();
        let full = resident().unwrap();
        blocks.iter_mut().enumerate().filter(|(at, _)| at % 64 != 0).for_each(|(_, block)| *block = None);
        trim();
        let after = resident().unwrap();
        assert!(full.saturating_sub(after) > 40 << 20, "{full} before and {after} after, of 64 MiB");
        drop(blocks);
    }
}
