//! The segments of the bundles that are there, for one cook: their rows say where they lie.
//!
//! A few of these are kept open, so that one which is collected meanwhile goes on being read. Of one that
//! was not open, or is open no more, the segments are made instead.

use crate::bundles::Bundles;
use crate::catalogue::FileId;
use crate::cook::{Place, Segments};
use crate::segment::SegmentKey;
use lru::LruCache;
use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that one cook has open at once.
const OPEN: NonZero<usize> = NonZero::new(32).expect("because it is not zero");

/// Files by their number in the catalogue; `None` for one that was not to be had.
type Files = LruCache<i64, Option<Arc<File>>>;

pub(super) struct Kept<'k> {
    bundles: &'k Bundles,
    /// Held while one is opened, so that no two threads open the same.
    files: Mutex<Files>,
}

impl<'k> Kept<'k> {
    pub(super) fn new(bundles: &'k Bundles) -> Self {
        Self { bundles, files: Mutex::new(LruCache::new(OPEN)) }
    }

    fn file(&self, number: i64) -> Option<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get_or_insert(number, || self.open(number).map(Arc::new)).clone()
    }

    /// Whichever name of the file is there: all have the same bytes.
    fn open(&self, number: i64) -> Option<File> {
        let names = match self.bundles.catalogue().names_of(FileId::from_number(number)) {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "cannot look for the bundle that has a segment; it is made");
                return None;
            }
        };
        names.iter().find_map(|name| match self.bundles.open(name) {
            Ok(found) => found.map(|found| found.file),
            Err(error) => {
                tracing::warn!(key = %name, %error, "cannot open the bundle that has a segment; it is made");
                None
            }
        })
    }
}

impl Segments for Kept<'_> {
    fn look_up(&self, keys: &[SegmentKey]) -> Vec<Option<Place>> {
        match self.bundles.catalogue().segments(keys) {
            Ok(found) => found
                .into_iter()
                .map(|found| found.map(|(file, segment)| Place { file: file.number(), segment }))
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "cannot look for segments; all are made");
                vec![None; keys.len()]
            }
        }
    }

    fn read(&self, place: &Place, bytes: &mut Vec<u8>) -> bool {
        let Some(file) = self.file(place.file) else { return false };
        bytes.clear();
        bytes.resize(place.segment.packed as usize, 0);
        // What cannot be read, or ends before, is for `larder fsck` to find.
        file.read_exact_at(bytes, place.segment.start)
            .inspect_err(|error| tracing::warn!(file = place.file, %error, "cannot read a segment; it is made"))
            .is_ok()
    }

    fn distrust(&self, place: &Place) {
        let names = self.bundles.catalogue().names_of(FileId::from_number(place.file)).unwrap_or_default();
        let key = names.first().map(ToString::to_string);
        tracing::warn!(?key, start = place.segment.start, "a segment is not what the catalogue says; it is made");
    }
}
