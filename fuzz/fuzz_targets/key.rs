//! Names of bundles: what parses is written back as itself, and is a safe file name.
#![no_main]

use larder::key::{BundleKey, Swhid};
use larder::store::layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<BundleKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(layout::parse(&layout::relative_path(&key)), Some(key));
    }
    if let Ok(swhid) = text.parse::<Swhid>() {
        assert_eq!(swhid.to_string().parse(), Ok(swhid));
    }
});
