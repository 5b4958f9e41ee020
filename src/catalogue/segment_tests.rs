//! The rows of the index: when they come, move and go, and what they take.

use super::*;
use crate::bundle::{FileFacts, Remarks};
use crate::catalogue::{Access, Finished, Finishing};
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};

const MINUTE: Duration = Duration::from_mins(1);
const SIZE: u64 = 1 << 40;

struct Larder {
    folder: tempfile::TempDir,
    catalogue: Catalogue,
}

fn at(minutes: u32) -> Timestamp {
    Timestamp::from_millis(1_000_000_000).after(MINUTE * minutes)
}

fn bundle(number: u32) -> BundleKey {
    let mut id = [9; 20];
    id[..4].copy_from_slice(&number.to_be_bytes());
    BundleKey::new(ObjectKind::Directory, Sha1Git::from_bytes(id), Format::TarGz).unwrap()
}

fn key(number: u32) -> SegmentKey {
    SegmentKey::of(blake3::Hasher::new().update(&number.to_be_bytes()))
}

fn segment(number: u32, start: u64) -> Segment {
    Segment { key: key(number), start, packed: 60_000, length: 250_000, crc: 0xdead_beef, checksum: [7; 16] }
}

fn made(number: u32, start: u64) -> Written {
    Written { segment: segment(number, start), provenance: Provenance::Made }
}

fn copied(number: u32, start: u64, from: FileId) -> Written {
    Written { segment: segment(number, start), provenance: Provenance::Copied(from.number()) }
}

impl Larder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Write).unwrap();
        Self { folder, catalogue }
    }

    /// Publishes a bundle at a minute, and gives its file.
    fn publish(&self, number: u32, minute: u32, segments: &[Written]) -> FileId {
        self.catalogue.order(&bundle(number), at(minute), 99, MINUTE).unwrap();
        let claim = self.catalogue.claim("p", at(minute)).unwrap().unwrap();
        let facts = FileFacts { size: SIZE, allocated: 512, blake3: [1; 32] };
        let finishing = Finishing { facts, remarks: &Remarks::default(), took: MINUTE, met: &|_| true, segments };
        assert_eq!(self.catalogue.finish_cook(claim, &finishing, at(minute), |_| Ok(())).unwrap(), Finished::Done);
        let row = self.catalogue.shelf(ObjectKind::Directory, None, 999).unwrap();
        row.into_iter().find(|row| row.key == bundle(number)).unwrap().file
    }

    /// Where a segment lies.
    fn place(&self, number: u32) -> Option<(FileId, u64)> {
        let found = self.catalogue.segments(&[key(number)]).unwrap();
        found[0].map(|(file, segment)| (file, segment.start))
    }

    fn sql(&self) -> Connection {
        Connection::open(self.folder.path().join("catalogue.db")).unwrap()
    }

    fn bytes(&self) -> u64 {
        let sql = self.sql();
        let pragma = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        u64::try_from((pragma("page_count") - pragma("freelist_count")) * pragma("page_size")).unwrap()
    }
}

#[test]
fn segments_are_found_in_the_order_of_asking_and_go_with_their_file() {
    let larder = Larder::new();
    let one = larder.publish(1, 0, &[made(10, 0), made(11, 60_000)]);
    let two = larder.publish(2, 0, &[made(20, 5)]);
    let found = larder.catalogue.segments(&[key(20), key(99), key(11)]).unwrap();
    assert_eq!(found, [Some((two, segment(20, 5))), None, Some((one, segment(11, 60_000)))]);
    let listed = larder.catalogue.segments_of(one, None, 9).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(larder.catalogue.segments_of(one, Some(&listed[0].key), 9).unwrap(), listed[1..]);
    let next = |file| larder.catalogue.next_file_with_segments(file).unwrap();
    assert_eq!([next(None), next(Some(one)), next(Some(two))], [Some(one), Some(two), None]);
    larder.catalogue.collect(&[one], at(1), at(1), None, |_| Ok(())).unwrap();
    assert_eq!((larder.place(10), larder.place(11), larder.place(20)), (None, None, Some((two, 5))));
    larder.catalogue.remove(&[bundle(2)], |_| Ok(())).unwrap();
    assert_eq!(larder.place(20), None);
    larder.publish(3, 0, &[made(30, 0)]);
    larder.catalogue.reopen(&bundle(3), at(1)).unwrap();
    assert_eq!(larder.place(30), None, "its file turned out to be gone");
}

#[test]
fn what_is_made_again_leads_to_the_newest_file_that_has_it() {
    let larder = Larder::new();
    larder.publish(1, 0, &[made(10, 0)]);
    let two = larder.publish(2, 0, &[made(10, 7)]);
    assert_eq!(larder.place(10), Some((two, 7)));
}

#[test]
fn of_one_file_so_many_segments_are_remembered_and_no_more() {
    let larder = Larder::new();
    let most = u32::try_from(MOST_IN_A_FILE).unwrap();
    let many: Vec<Written> = (0..=most).map(|number| made(100 + number, u64::from(number) * 60_000)).collect();
    larder.publish(2, 0, &many);
    let rows: u32 = larder.sql().query_row("SELECT count(*) FROM segment", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, most);
    assert_eq!(larder.place(100 + most), None, "the last are left out");
}

#[test]
fn what_is_copied_keeps_its_row_while_its_source_is_fresh() {
    let larder = Larder::new();
    let one = larder.publish(1, 0, &[made(10, 0), made(11, 60_000)]);
    let two = larder.publish(2, 4, &[copied(10, 0, one), made(12, 60_000)]);
    assert_eq!((larder.place(10), larder.place(12)), (Some((one, 0)), Some((two, 60_000))));
    let three = larder.publish(3, 6, &[copied(10, 3, one), copied(12, 60_003, two)]);
    assert_eq!((larder.place(10), larder.place(12)), (Some((three, 3)), Some((three, 60_003))), "the first is stale");
    assert_eq!(larder.place(11), Some((one, 60_000)), "which was not in it");
}

#[test]
fn what_was_copied_from_a_file_that_is_gone_by_now_leads_to_the_copy() {
    let larder = Larder::new();
    let one = larder.publish(1, 0, &[made(10, 0)]);
    larder.catalogue.collect(&[one], at(1), at(1), None, |_| Ok(())).unwrap();
    let two = larder.publish(2, 1, &[copied(10, 3, one), made(11, 60_003)]);
    assert_eq!(larder.place(10), Some((two, 3)));
    assert_eq!(one, two, "SQLite has given the number to another file");
}

#[test]
fn a_tree_never_lies_in_more_than_a_few_files_for_long() {
    let larder = Larder::new();
    let sources = u32::try_from(MOST_SOURCES).unwrap() + 1;
    let mut all = Vec::new();
    for number in 0..sources {
        let file = larder.publish(number, 0, &[made(number, 0)]);
        all.push(copied(number, u64::from(number) * 60_000, file));
    }
    let few = larder.publish(100, 0, &all[1..]);
    assert_ne!(larder.place(1).unwrap().0, few);
    let many = larder.publish(101, 0, &all);
    assert!((0..sources).all(|number| larder.place(number).unwrap().0 == many));
}

#[test]
fn rows_that_lead_nowhere_are_found_and_forgotten_and_those_written_meanwhile_are_not() {
    let larder = Larder::new();
    larder.publish(1, 0, &[made(10, 0), made(11, SIZE - 60_000), made(12, SIZE - 59_999), made(13, 9)]);
    let sql = larder.sql();
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    sql.execute("UPDATE segment SET file = 777 WHERE key = ?1", [key(13).as_bytes()]).unwrap();
    let mut broken = Vec::new();
    let mut after = None;
    loop {
        let (page, last) = larder.catalogue.broken_segments(after.as_ref(), 1).unwrap();
        broken.extend(page);
        after = last;
        if after.is_none() {
            break;
        }
    }
    let mut numbers: Vec<_> = broken.iter().map(|segment| segment.key).collect();
    numbers.sort_unstable();
    let mut expected = [key(12), key(13)];
    expected.sort_unstable();
    assert_eq!(numbers, expected);
    let two = larder.publish(2, 0, &[made(12, 0)]);
    assert_eq!(larder.catalogue.forget_segments(&broken).unwrap(), 1);
    assert_eq!((larder.place(12), larder.place(13)), (Some((two, 0)), None));
    assert!(larder.place(10).is_some() && larder.place(11).is_some());
}

#[test]
fn a_file_of_very_many_segments_is_collected_in_pieces() {
    let larder = Larder::new();
    let many: Vec<Written> = (0..25_000).map(|number| made(number, u64::from(number) * 60_000)).collect();
    let files = [larder.publish(1, 0, &many[..24_000]), larder.publish(2, 0, &many[24_000..])];
    larder.catalogue.thin_segments(&files).unwrap();
    assert_eq!(larder.catalogue.segments_of(files[0], None, 9).unwrap(), []);
    assert_eq!(larder.catalogue.segments_of(files[1], None, 9999).unwrap().len(), 1000, "few enough");
    assert_eq!(larder.catalogue.collect(&files, at(1), at(1), None, |_| Ok(())).unwrap().files, 2);
    let rows: u32 = larder.sql().query_row("SELECT count(*) FROM segment", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn a_segment_takes_less_than_two_hundred_bytes() {
    let larder = Larder::new();
    larder.publish(0, 0, &[made(u32::MAX, 0)]);
    let before = larder.bytes();
    let each = 500;
    for file in 0..40 {
        let first = file * each;
        let segments: Vec<Written> = (0..each).map(|n| made(first + n, u64::from(n) * 60_000 + (1 << 33))).collect();
        larder.publish(file + 1, 0, &segments);
    }
    let took = (larder.bytes() - before) / u64::from(40 * each);
    println!("{took} bytes a segment");
    assert!(took < 200, "{took} bytes");
}
