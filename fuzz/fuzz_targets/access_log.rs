//! A line of nginx's access log: what it is said to be a hit of stands in it, and a tab forges no field.
#![no_main]

use larder::access::log::line::{Line, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Line::Hit { key, .. } = read(text, "") {
        let text = std::str::from_utf8(text).expect("because a hit is of a line that is UTF-8");
        assert!(text.ends_with(&key.to_string()) || text.contains(&key.id().to_string()));
        assert_eq!(text.split('\t').count(), 12);
    }
});
