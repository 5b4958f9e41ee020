//! Streams for fast-import.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("gitfast", bytes);
});
