//! A cook that copies segments of others makes the bytes that it would have made of the objects, whatever the
//! others left, and meets all that it would have met.

use super::memory::{Entry, Memory};
use super::{FLAT, flat};
use larder::archive::{Archive, BlockedArchive, Blocks, Met, NotingArchive};
use larder::cook::{Control, CookError, Cooked, Order, Place, Remembered, Root, Segments, cook};
use larder::key::{Format, Sha1Git};
use larder::segment::{Provenance, SegmentKey};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Bundles with their segments, and what is wrong with them.
#[derive(Default)]
struct Shelf {
    files: Mutex<Vec<Arc<Vec<u8>>>>,
    places: Mutex<HashMap<SegmentKey, Place>>,
    /// Asked for each segment that is looked up or read, with its number.
    harm: Option<fn(usize) -> Harm>,
    asked: AtomicUsize,
    distrusted: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    /// No row.
    Forgotten,
    /// A row that leads to another's bytes.
    Elsewhere,
    /// A row with another length, or CRC.
    Length,
    Crc,
    /// The file is gone.
    Gone,
    /// A byte has changed.
    Changed,
    /// It is cut short.
    Cut,
}

impl Shelf {
    fn add(&self, bundle: &[u8], cooked: &Cooked) {
        let mut files = self.files.lock().unwrap();
        files.push(Arc::new(bundle.to_vec()));
        let file = i64::try_from(files.len() - 1).unwrap();
        let mut places = self.places.lock().unwrap();
        for written in &cooked.segments {
            places.insert(written.segment.key, Place { file, segment: written.segment });
        }
    }

    fn harm(&self) -> Harm {
        self.harm.map_or(Harm::None, |harm| harm(self.asked.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Segments for Shelf {
    fn look_up(&self, keys: &[SegmentKey]) -> Vec<Option<Place>> {
        let places = self.places.lock().unwrap();
        let look = |key: &SegmentKey| {
            let mut place = *places.get(key)?;
            match self.harm() {
                Harm::Forgotten => return None,
                Harm::Elsewhere => place.segment.start = 0,
                Harm::Length => place.segment.length ^= 512,
                Harm::Crc => place.segment.crc ^= 1,
                _ => {}
            }
            Some(place)
        };
        keys.iter().map(look).collect()
    }

    fn read(&self, place: &Place, bytes: &mut Vec<u8>) -> bool {
        let file = Arc::clone(&self.files.lock().unwrap()[usize::try_from(place.file).unwrap()]);
        let start = usize::try_from(place.segment.start).unwrap();
        bytes.clear();
        bytes.extend_from_slice(&file[start..start + place.segment.packed as usize]);
        match self.harm() {
            Harm::Gone => return false,
            Harm::Changed => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Harm::Cut => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
        true
    }

    fn distrust(&self, _: &Place) {
        self.distrusted.fetch_add(1, Ordering::Relaxed);
    }
}

type Bundle = Result<(Vec<u8>, Cooked), CookError>;

fn bundle(
    archive: &dyn Archive,
    root: Sha1Git,
    (format, threads): (Format, usize),
    segments: Option<&dyn Segments>,
    remembered: Option<&Remembered>,
) -> Bundle {
    let (mut out, control, scratch) = (Vec::new(), Control::default(), &std::env::temp_dir());
    let (root, control) = (Root::Directory(root), &control);
    let format = flat(format);
    let order = Order { archive, root, format, threads, max_size: 1 << 40, scratch, control, segments, remembered };
    let cooked = cook(&order, &mut out)?;
    assert_eq!((control.progress().done, control.progress().total), (cooked.tar_size, Some(cooked.tar_size)));
    Ok((out, cooked))
}

/// The same, without help.
fn alone(archive: &dyn Archive, root: Sha1Git, format: Format) -> Vec<u8> {
    bundle(archive, root, (format, 2), None, None).unwrap().0
}

/// Files by path: mode, seed and size of their content.
type Tree = BTreeMap<String, (&'static str, u64, usize)>;

/// Bytes that do not deflate much, for what is small is not remembered.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0; size];
    hasher.fill(&mut bytes);
    bytes.iter_mut().step_by(3).for_each(|byte| *byte = b'x');
    bytes
}

fn put(tree: &Tree, archive: &mut Memory) -> Sha1Git {
    let mut folders: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    folders.entry("").or_default();
    for (path, (mode, seed, size)) in tree {
        let id = match *mode {
            "120000" => archive.blob(format!("to/{seed}").as_bytes()),
            "160000" => Sha1Git::from_bytes([u8::try_from(seed % 200).unwrap() + 1; 20]),
            _ => archive.blob(&content(*seed, *size)),
        };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(folder).or_default().push((mode, name.as_bytes().to_vec(), id));
    }
    let mut top = folders.remove("").unwrap_or_default();
    for (folder, entries) in folders {
        top.push(("40000", folder.as_bytes().to_vec(), archive.tree(entries)));
    }
    archive.tree(top)
}

fn any_file() -> impl Strategy<Value = (&'static str, u64, usize)> {
    let mode = prop::sample::select(vec!["100644", "100644", "100644", "100755", "100664", "120000", "160000"]);
    let size = prop_oneof![
        12 => 0..40_000_usize,
        3 => 100_000..400_000_usize,
        1 => prop::sample::select(vec![1_048_064, 1_048_065, 1_048_577, 2_700_000]),
    ];
    (mode, 0..1000_u64, size)
}

fn any_tree() -> impl Strategy<Value = Tree> {
    prop::collection::btree_map("(d[a-c]/)?f[a-z]{1,2}", any_file(), 1..40)
}

/// What a commit does: paths of the tree by number that go, and files that come or change.
fn any_edit() -> impl Strategy<Value = (Vec<usize>, Tree)> {
    let gone = prop::collection::vec(any::<usize>(), 0..2);
    (gone, prop::collection::btree_map("(d[a-c]/)?f[a-z]{1,2}", any_file(), 0..4))
}

fn edit(tree: &mut Tree, (gone, come): &(Vec<usize>, Tree)) {
    for number in gone {
        let path = tree.keys().nth(number % tree.len().max(1)).cloned();
        path.and_then(|path| tree.remove(&path));
    }
    tree.extend(come.clone());
}

fn any_harm(number: usize) -> Harm {
    let harms = [Harm::Forgotten, Harm::Elsewhere, Harm::Length, Harm::Crc, Harm::Gone, Harm::Changed, Harm::Cut];
    let digest = blake3::hash(&number.to_le_bytes());
    let [a, b, ..] = *digest.as_bytes();
    if a < 80 { harms[usize::from(b) % harms.len()] } else { Harm::None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn copied_or_made_the_bytes_are_the_same(
        first in any_tree(),
        edits in prop::collection::vec(any_edit(), 1..4),
        threads in 1..5_usize,
        harmed in any::<bool>(),
    ) {
        let shelf = Shelf { harm: harmed.then_some(any_harm as fn(usize) -> Harm), ..Shelf::default() };
        let (mut archive, mut tree, remembered) = (Memory::default(), first, Remembered::default());
        for edited in std::iter::once((Vec::new(), Tree::new())).chain(edits) {
            edit(&mut tree, &edited);
            let root = put(&tree, &mut archive);
            for format in FLAT {
                let expected = alone(&archive, root, format);
                let how = (format, threads);
                let (bytes, cooked) = bundle(&archive, root, how, Some(&shelf), Some(&remembered)).unwrap();
                prop_assert!(bytes == expected, "{format}");
                shelf.add(&bytes, &cooked);
                let (again, cooked) = bundle(&archive, root, how, Some(&shelf), Some(&remembered)).unwrap();
                prop_assert!(again == expected, "{format}, once more");
                prop_assert!(harmed || cooked.segments.iter().all(|s| matches!(s.provenance, Provenance::Copied(_))));
            }
        }
    }
}

/// A tree of files of all sizes, one of them of several units.
fn tree() -> Tree {
    let mut tree = Tree::new();
    for number in 0..60_u64 {
        let size = usize::try_from(number * 700).unwrap();
        tree.insert(format!("d{}/f{number}", number % 7), ("100644", number, size));
    }
    tree.insert("large".to_owned(), ("100644", 777, 5_300_000));
    tree.insert("link".to_owned(), ("120000", 7, 0));
    tree
}

#[test]
fn the_next_bundle_copies_all_but_what_changed() {
    for format in FLAT {
        let (mut archive, shelf, mut tree) = (Memory::default(), Shelf::default(), tree());
        let root = put(&tree, &mut archive);
        let (bytes, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), None).unwrap();
        assert_eq!((cooked.copied, cooked.made > 8), (0, true), "{format}");
        shelf.add(&bytes, &cooked);
        tree.insert("d3/f17".to_owned(), ("100644", 4242, 12_000));
        let root = put(&tree, &mut archive);
        let (next, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), None).unwrap();
        assert!(next == alone(&archive, root, format), "{format}");
        assert!(cooked.made <= 2 && cooked.copied > 8, "{format}: {} made, {} copied", cooked.made, cooked.copied);
        assert_eq!(shelf.distrusted.into_inner(), 0, "{format}");
    }
}

#[test]
fn each_harm_is_noticed_and_what_it_hits_is_made() {
    let one_in_nine: [fn(usize) -> Harm; 7] = [
        |n| if n % 9 == 5 { Harm::Forgotten } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Elsewhere } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Length } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Crc } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Gone } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Changed } else { Harm::None },
        |n| if n % 9 == 5 { Harm::Cut } else { Harm::None },
    ];
    let mut archive = Memory::default();
    let root = put(&tree(), &mut archive);
    for format in FLAT {
        let expected = alone(&archive, root, format);
        for (number, harm) in one_in_nine.into_iter().enumerate() {
            let mut shelf = Shelf::default();
            let (bytes, cooked) = bundle(&archive, root, (format, 1), Some(&shelf), None).unwrap();
            shelf.add(&bytes, &cooked);
            shelf.harm = Some(harm);
            let (bytes, cooked) = bundle(&archive, root, (format, 3), Some(&shelf), None).unwrap();
            assert!(bytes == expected, "{format}, harm {number}");
            assert!(cooked.made > 0, "{format}, harm {number}: all was copied");
            let quiet = matches!(harm(5), Harm::Forgotten | Harm::Gone);
            assert_eq!(shelf.distrusted.load(Ordering::Relaxed) == 0, quiet, "{format}, harm {number}");
        }
    }
}

#[test]
fn a_large_file_is_made_from_where_its_copy_fails() {
    static READS: AtomicUsize = AtomicUsize::new(0);
    let mut archive = Memory::default();
    let large = archive.noise(9 << 20);
    let root = archive.tree(vec![("100644", b"large".to_vec(), large)]);
    for format in FLAT {
        let mut shelf = Shelf::default();
        let (expected, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), None).unwrap();
        shelf.add(&expected, &cooked);
        // After the look-ups of its nine or ten units, the fourth that is read.
        let units = cooked.segments.len();
        READS.store(units + 3, Ordering::Relaxed);
        shelf.harm = Some(|number| if number == READS.load(Ordering::Relaxed) { Harm::Changed } else { Harm::None });
        let (bytes, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), None).unwrap();
        assert!(bytes == expected, "{format}");
        let copied = cooked.segments.iter().map(|written| written.provenance != Provenance::Made).collect::<Vec<_>>();
        assert_eq!(copied, (0..units).map(|unit| unit < 3).collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn what_the_archive_has_lost_since_is_copied() {
    let (mut archive, shelf, remembered) = (Memory::default(), Shelf::default(), Remembered::default());
    let mut tree = tree();
    let root = put(&tree, &mut archive);
    for format in FLAT {
        let (bytes, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), Some(&remembered)).unwrap();
        shelf.add(&bytes, &cooked);
    }
    tree.insert("new".to_owned(), ("100644", 99, 9000));
    let next = put(&tree, &mut archive);
    let expected = FLAT.map(|format| alone(&archive, next, format));
    archive.lose(&archive.clone().blob(&content(777, 5_300_000)));
    archive.lose(&archive.clone().blob(&content(30, 21_000)));
    archive.lose(&archive.clone().blob(b"to/7"));
    for (format, expected) in FLAT.into_iter().zip(expected) {
        let (bytes, _) = bundle(&archive, next, (format, 2), Some(&shelf), Some(&remembered)).unwrap();
        assert!(bytes == expected, "{format}");
        let error = bundle(&archive, next, (format, 2), Some(&shelf), None).unwrap_err();
        assert!(matches!(error, CookError::Missing { .. }), "{error}");
    }
}

#[test]
fn what_is_copied_and_what_is_remembered_counts_as_met() {
    let (mut archive, shelf, remembered) = (Memory::default(), Shelf::default(), Remembered::default());
    let root = put(&tree(), &mut archive);
    for _ in 0..2 {
        let met = Arc::new(Met::default());
        let noting = NotingArchive::new(&archive, Arc::clone(&met));
        let how = (Format::TarGz, 2);
        let (bytes, cooked) = bundle(&noting, root, how, Some(&shelf), Some(&remembered)).unwrap();
        shelf.add(&bytes, &cooked);
        let inside = [content(777, 5_300_000), content(30, 21_000), b"to/7".to_vec()];
        let folder = put(&Tree::from_iter([("f".to_owned(), ("100644", 1, 1))]), &mut archive.clone());
        assert!(inside.iter().all(|content| met.may_hold(&archive.clone().blob(content))));
        assert!(met.may_hold(&root) && !met.may_hold(&folder));
    }
}

struct One(Sha1Git);

impl Blocks for One {
    fn is_blocked(&self, id: &Sha1Git) -> bool {
        *id == self.0
    }
}

#[test]
fn a_block_holds_for_what_would_only_be_copied() {
    let (mut archive, shelf, remembered) = (Memory::default(), Shelf::default(), Remembered::default());
    let root = put(&tree(), &mut archive);
    for format in FLAT {
        let (bytes, cooked) = bundle(&archive, root, (format, 2), Some(&shelf), Some(&remembered)).unwrap();
        shelf.add(&bytes, &cooked);
    }
    let blobs = [content(777, 5_300_000), content(30, 21_000), content(1, 700), b"to/7".to_vec()];
    let ids = blobs.map(|content| archive.blob(&content));
    let folder = {
        let inner = |number: u64| (format!("f{number}"), ("100644", number, usize::try_from(number * 700).unwrap()));
        put(&(0..60).filter(|number| number % 7 == 2).map(inner).collect(), &mut archive)
    };
    for id in ids.into_iter().chain([folder, root]) {
        let blocked = BlockedArchive::new(Arc::new(archive.clone()), Arc::new(One(id)));
        for format in FLAT {
            let error = bundle(&blocked, root, (format, 2), Some(&shelf), Some(&remembered)).unwrap_err();
            assert!(matches!(error, CookError::Blocked { id: named } if named == id), "{format}: {error}");
        }
    }
}

#[test]
fn a_size_that_was_wrong_is_forgotten_once_that_is_known() {
    let remembered = Remembered::default();
    let (mut archive, bytes) = (Memory::default(), content(5, 9000));
    let liar = archive.lying(8000, &bytes);
    let root = archive.tree(vec![("100644", b"f".to_vec(), liar)]);
    let shelf = Shelf::default();
    let how = (Format::TarGz, 2);
    let error = bundle(&archive, root, how, Some(&shelf), Some(&remembered)).unwrap_err();
    assert!(matches!(error, CookError::Corrupt { id, .. } if id == liar), "{error}");
    archive.blob(&bytes);
    assert!(bundle(&archive, root, how, Some(&shelf), Some(&remembered)).unwrap().0 == alone(&archive, root, how.0));
}
