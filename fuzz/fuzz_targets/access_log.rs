//! Lines of nginx's access log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    larder_fuzz::run("access_log", bytes);
});
