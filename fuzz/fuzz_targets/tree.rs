//! The tree decoder and the checks of a flat bundle: what decodes is within the bytes given, and
//! what passes the checks is safe to write below a folder.
#![no_main]

use larder::archive::object::{TreeEntry, check_flat, tree_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entries) = tree_entries(bytes).collect::<Result<Vec<TreeEntry<'_>>, _>>() else { return };
    let length: usize = entries.iter().map(|entry| entry.mode.len() + entry.name.len() + 22).sum();
    assert_eq!(length, bytes.len());
    if check_flat(&entries).is_ok() {
        for entry in entries {
            assert!(!entry.name.is_empty() && entry.name != b"." && entry.name != b"..");
            assert!(!entry.name.contains(&b'/') && !entry.name.eq_ignore_ascii_case(b".git"));
        }
    }
});
