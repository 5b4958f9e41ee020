//! `Range`: whatever is asked for, what is selected lies in the file and does not overlap.
#![no_main]

use larder::http::range::{MAX_RANGES, Selection, select};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, Vec<u8>)| {
    let (size, field) = input;
    if let Selection::Parts(parts) = select(&field, size) {
        assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        assert!(parts.iter().map(|part| part.end - part.start).fold(0_u64, u64::saturating_add) <= size);
    }
});
