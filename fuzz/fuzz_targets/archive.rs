//! Archives from elsewhere: whatever the bytes, reading them through ends, in bounded memory, and a
//! tree that comes of them is one that git would take.
#![no_main]

use larder::archiver::structure::{Packing, read_tar, read_zip};
use libfuzzer_sys::fuzz_target;

const MAX_UNPACKED: u64 = 16 << 20;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (packing, bytes) = input;
    let members = match packing % 4 {
        0 => read_tar(Packing::Tar, &bytes[..], MAX_UNPACKED, &mut ()),
        1 => read_tar(Packing::TarGz, &bytes[..], MAX_UNPACKED, &mut ()),
        2 => read_tar(Packing::TarBz2, &bytes[..], MAX_UNPACKED, &mut ()),
        _ => read_zip(&bytes[..], bytes.len() as u64, MAX_UNPACKED, &mut ()),
    };
    if let Ok(members) = members {
        let mut last = None;
        if let Ok(directory) = members.tree(|id, tree| last = Some((id, tree.len() as u64))) {
            assert_eq!(last, Some((directory.id, directory.size)), "the root comes last");
        }
    }
});
