//! Tables of refs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("reftable", bytes);
});
