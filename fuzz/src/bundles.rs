//! Whole files from strangers: bundles that `verify` reads, archives of other forges. Reading ends, in
//! bounded memory, with an id or with what is wrong.

use larder::archiver::structure::{Packing, read_tar, read_zip};
use larder::archiver::tree::Top;
use larder::cook::deflate::{Deflater, End, Level};
use larder::verify::{self, History, VerifyError};
use std::fs::File;
use std::io::Write;

/// What an archive of another forge may unpack to.
const MAX_UNPACKED: u64 = 16 << 20;

/// An archive of another forge, behind a byte that says how it is packed: a tree that comes of it is
/// one that git would take.
pub fn archive(bytes: &[u8]) -> bool {
    let Some((packing, bytes)) = bytes.split_first() else { return false };
    let members = match packing % 8 {
        0 => read_tar(Packing::Tar, bytes, MAX_UNPACKED, &mut ()),
        1 => read_tar(Packing::TarGz, bytes, MAX_UNPACKED, &mut ()),
        2 => read_tar(Packing::TarBz2, bytes, MAX_UNPACKED, &mut ()),
        3 => read_tar(Packing::Tar, &summed(bytes)[..], MAX_UNPACKED, &mut ()),
        4 => read_tar(Packing::TarXz, bytes, MAX_UNPACKED, &mut ()),
        5 => read_tar(Packing::TarZst, bytes, MAX_UNPACKED, &mut ()),
        6 => read_tar(Packing::TarLz, bytes, MAX_UNPACKED, &mut ()),
        _ => read_zip(bytes, bytes.len() as u64, MAX_UNPACKED, &mut ()),
    };
    let Ok(mut members) = members else { return false };
    for top in [Top::Auto, Top::Strip, Top::Keep] {
        let mut last = None;
        if let Ok(directory) = members.tree(top, |id, tree| last = Some((id, tree.len() as u64))) {
            assert_eq!(last, Some((directory.id, directory.size)), "the root comes last");
        }
    }
    true
}

/// A tar whose headers have the sums of what is in them.
fn summed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}

/// A `tar` or a `tar.gz`.
pub fn bundle(bytes: &[u8]) -> bool {
    let (tar, gz) = (verify::flat_tar(bytes), verify::flat_tar_gz(bytes));
    assert!(tar.is_err() || gz.is_err(), "no tar begins as a gzip does");
    tar.is_ok() || gz.is_ok()
}

/// A `tar.zst`.
pub fn zst(bytes: &[u8]) -> bool {
    verify::flat_tar_zst(bytes).is_ok()
}

/// A `zip`.
pub fn zip(bytes: &[u8]) -> bool {
    verify::flat_zip(&file(bytes)).is_ok()
}

/// A `git.tar` or a `bundle`.
pub fn history(bytes: &[u8]) -> bool {
    let file = file(bytes);
    [verify::git_tar(&file), verify::git_bundle(&file)].into_iter().any(is_whole)
}

/// A stream for fast-import, before it is put into its gzip.
pub fn gitfast(stream: &[u8]) -> bool {
    is_whole(verify::gitfast(&deflated(stream)[..]))
}

/// Refs are there once each, and lead to something.
fn is_whole(found: Result<History, VerifyError>) -> bool {
    let Ok(history) = found else { return false };
    let mut names: Vec<_> = history.refs.iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(names.is_sorted_by(|a, b| a < b), "a ref stands twice");
    assert!(history.refs.is_empty() || history.objects > 0);
    true
}

/// The gzip member that larder makes of a stream of at most one unit.
fn deflated(stream: &[u8]) -> Vec<u8> {
    let (mut body, mut deflater) = (Vec::new(), Deflater::new(Level::Gzip));
    for unit in stream.chunks(1 << 20) {
        deflater.deflate(unit, End::Flush, &mut body).expect("because the encoder is right");
    }
    body.extend_from_slice(&[3, 0]);
    let length = u32::try_from(stream.len()).expect("because an input is short");
    let trailer = [crc32fast::hash(stream).to_le_bytes(), length.to_le_bytes()].concat();
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &body, &trailer].concat()
}

/// A file without a name that holds `bytes`.
pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("because a file can be made");
    file.write_all(bytes).expect("because there is room for it");
    file
}
