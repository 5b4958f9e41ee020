//! Proofs, and the manifests in them.
#![no_main]

use larder::archive::snapshot::Manifest;
use larder::key::{ObjectKind, Sha1Git, Swhid};
use larder::verify::Proof;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = Proof::decode(bytes) {
        for kind in ObjectKind::ALL {
            let _ = proof.check(&Swhid { kind, id: Sha1Git::NULL });
        }
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
    }
});
