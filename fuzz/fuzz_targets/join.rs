//! What larder deflates, and deflate streams that are joined.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("join", bytes);
});
