//! Archives of other forges.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("archive", bytes);
});
