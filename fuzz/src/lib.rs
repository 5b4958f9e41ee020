//! What each fuzz target does with its bytes. A body gives whether it took them for what it reads;
//! what must hold of what it takes, it asserts. The targets hand bytes over and nothing else, and
//! `tests/library/fuzz.rs` calls the same functions with seeds, so that none goes stale unnoticed.

mod bundles;
mod delta;
mod join;
mod names;
mod objects;
mod pack;

/// Takes hostile bytes.
pub type Body = fn(&[u8]) -> bool;

/// All targets by name, one of `fuzz_targets/` each.
pub const TARGETS: [(&str, Body); 19] = [
    ("access_log", names::access_log),
    ("archive", bundles::archive),
    ("bundle", bundles::bundle),
    ("delta", delta::delta),
    ("etag", names::etag),
    ("gitfast", bundles::gitfast),
    ("history", bundles::history),
    ("join", join::join),
    ("key", names::key),
    ("manifest", objects::manifest),
    ("pack", pack::pack),
    ("proof", objects::proof),
    ("range", names::range),
    ("reftable", objects::reftable),
    ("tag", objects::tag),
    ("tree", objects::tree),
    ("url", names::url),
    ("zip", bundles::zip),
    ("zst", bundles::zst),
];

/// Runs the body of a target.
///
/// # Panics
/// When there is no such target, or its bytes show a bug.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found.expect("because every target is in the table").1(bytes)
}
