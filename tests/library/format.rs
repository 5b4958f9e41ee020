//! The canonical bytes, through the public types: equal however they are made, readable by others,
//! refused when they would be hostile, and verified by nothing but themselves.

#![expect(clippy::unwrap_used, reason = "tests")]

mod document;
mod memory;
mod names;
mod readers;
mod refusals;
mod same;
mod shared;
mod trees;
mod verified;
mod zip;

use larder::archive::Archive;
use larder::cook::{Control, CookError, Cooked, Order, Root, cook};
use larder::key::{Family, Flat, Format, Sha1Git};
use larder::verify::{VerifyError, flat_tar, flat_tar_gz, flat_tar_zst, flat_zip};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;

pub(crate) fn flat(format: Format) -> Flat {
    let Family::Flat(flat) = format.family() else { panic!("{format} holds no tree") };
    flat
}

/// Cooks into memory.
fn bundle(archive: &dyn Archive, root: Root, format: Format, threads: usize) -> Result<(Vec<u8>, Cooked), CookError> {
    let mut out = Vec::new();
    let control = Control::default();
    let scratch = &std::env::temp_dir();
    let order = Order {
        archive,
        root,
        format: flat(format),
        threads,
        max_size: 1 << 40,
        scratch,
        control: &control,
        segments: None,
        remembered: None,
    };
    let cooked = cook(&order, &mut out)?;
    assert_eq!(control.progress().total, Some(cooked.tar_size));
    assert_eq!(control.progress().done, cooked.tar_size);
    Ok((out, cooked))
}

/// The formats that hold a tree.
const FLAT: [Format; 4] = [Format::Tar, Format::TarGz, Format::TarZst, Format::Zip];

/// The id of the tree in a bundle, from its bytes alone.
fn verified(format: Format, bytes: &[u8]) -> Result<Sha1Git, VerifyError> {
    match format {
        Format::Tar => flat_tar(bytes),
        Format::TarGz => flat_tar_gz(bytes),
        Format::TarZst => flat_tar_zst(bytes),
        Format::Zip => {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            flat_zip(&file)
        }
        Format::GitTar | Format::Bundle | Format::Gitfast | Format::Raw => panic!("{format} holds no tree"),
    }
}

fn tar_of(archive: &dyn Archive, root: Root) -> Vec<u8> {
    bundle(archive, root, Format::Tar, 2).unwrap().0
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("because a string takes everything");
        hex
    })
}
