//! A byte that changes anywhere is noticed.

use super::workshop::{PEOPLE, PLAIN, Refs, Workshop, cooked, main_of, refs_of, stream};
use larder::cook::deflate::{Deflater, End, Level};
use larder::verify::{History, VerifyError, gitfast};
use tempfile::TempDir;

/// One of these at each byte, in turn.
const FLIPS: [u8; 7] = [1, 2, 4, 0x10, 0x20, 0x80, 0xff];

/// One of everything, and a small one with signatures and an odd time zone.
fn bundles() -> [(Vec<u8>, Refs); 2] {
    let folder = TempDir::new().unwrap();
    super::rich(folder.path());
    let (subject, refs) = refs_of(folder.path());
    let rich = cooked(&[folder.path()], &subject, &PLAIN).unwrap().0;
    let workshop = Workshop::new();
    let (tree, mut tip) = (workshop.small_tree(), Vec::new());
    for header in super::SIGNATURES {
        let people = PEOPLE.replace("-0130", "-7530");
        tip = vec![workshop.commit(tree, &tip, &format!("{people}{header}"), "signed\n")];
    }
    let signed = cooked(&[workshop.path()], &main_of(tip[0]), &PLAIN).unwrap().0;
    [(rich, refs), (signed, Refs::from([(b"refs/heads/main".to_vec(), tip[0])]))]
}

/// A gzip member as a bundle's, of any stream.
pub(super) fn deflated(stream: &[u8]) -> Vec<u8> {
    let (mut body, mut deflater) = (Vec::new(), Deflater::new(Level::Gzip));
    for unit in stream.chunks(1 << 20) {
        deflater.deflate(unit, End::Flush, &mut body).unwrap();
    }
    body.extend_from_slice(&[3, 0]);
    let length = u32::try_from(stream.len()).unwrap();
    let trailer = [crc32fast::hash(stream).to_le_bytes(), length.to_le_bytes()].concat();
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &body, &trailer].concat()
}

/// Whether a reader who knows the refs sees that something is wrong.
fn is_noticed(found: Result<History, VerifyError>, refs: &Refs) -> bool {
    found.map_or(true, |history| Refs::from_iter(history.refs) != *refs)
}

#[test]
fn every_changed_byte_of_the_stream_is_noticed() {
    for (bundle, refs) in bundles() {
        let mut stream = stream(&bundle);
        assert!(!is_noticed(gitfast(&deflated(&stream)[..]), &refs));
        for at in 0..stream.len() {
            let flip = FLIPS[at % FLIPS.len()];
            stream[at] ^= flip;
            assert!(is_noticed(gitfast(&deflated(&stream)[..]), &refs), "byte {at}, {flip:#x}");
            stream[at] ^= flip;
        }
    }
}

#[test]
fn every_cut_and_every_doubled_line_is_noticed() {
    for (bundle, refs) in bundles() {
        let stream = stream(&bundle);
        for at in (0..stream.len()).step_by(7) {
            assert!(gitfast(&deflated(&stream[..at])[..]).is_err(), "cut at {at}");
        }
        let mut start = 0;
        for line in stream.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            let doubled = [&stream[..end], &stream[start..]].concat();
            assert!(is_noticed(gitfast(&deflated(&doubled)[..]), &refs), "{}", line.escape_ascii());
            let left_out = [&stream[..start], &stream[end..]].concat();
            assert!(is_noticed(gitfast(&deflated(&left_out)[..]), &refs), "{}", line.escape_ascii());
            start = end;
        }
    }
}

#[test]
fn every_changed_byte_of_the_gzip_is_noticed() {
    for (mut bundle, refs) in bundles() {
        for at in 0..bundle.len() {
            let flip = FLIPS[at % FLIPS.len()];
            bundle[at] ^= flip;
            assert!(is_noticed(gitfast(&bundle[..]), &refs), "byte {at}, {flip:#x}");
            bundle[at] ^= flip;
        }
    }
}
