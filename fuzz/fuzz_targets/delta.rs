//! A delta that is made, and one that is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("delta", bytes);
});
