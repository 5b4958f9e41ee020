//! A bundle from a stranger: `verify` ends, in bounded memory, with an id or with what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = larder::verify::flat_tar(bytes);
    let _ = larder::verify::flat_tar_gz(bytes);
});
