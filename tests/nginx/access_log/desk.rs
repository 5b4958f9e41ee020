//! A log that is written line by line, and a catalogue whose hits are looked up.

use flate2::write::GzEncoder;
use larder::access::log::{Log, Progress, catch_up};
use larder::bundle::{Bundle, FileFacts};
use larder::catalogue::{Access, Catalogue};
use larder::key::{BundleKey, Format, ObjectKind, Sha1Git};
use larder::time::Timestamp;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// What the clock says.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    pub(crate) catalogue: Catalogue,
    pub(crate) log: Log,
    lines: u64,
}

impl Desk {
    /// With `bundles` that are done, last used a year ago.
    pub(crate) fn new(bundles: u32) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        add_bundles(&catalogue, bundles);
        let mut log = Log::new(&folder.path().join("logs/access.log"), "", folder.path());
        log.interval = Duration::from_millis(20);
        Self { folder, catalogue, log, lines: 0 }
    }

    /// A file of the log: `""` is the log itself, `".1"` what it was rotated to.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("logs/access.log{suffix}"))
    }

    /// A file of the log, opened as nginx does.
    pub(crate) fn open(&self, suffix: &str) -> File {
        File::options().append(true).create(true).open(self.path(suffix)).unwrap()
    }

    /// The next line, of a fetch of the bundle `n`.
    pub(crate) fn line(&mut self, n: u32) -> String {
        self.lines += 1;
        line(&format!("{}.{:03}", 1_790_000_000 + self.lines / 1000, self.lines % 1000), self.lines, n)
    }

    /// Logs a fetch of the first bundle, so many times.
    pub(crate) fn write(&mut self, mut file: &File, lines: u64) {
        for _ in 0..lines {
            // One call a line, as nginx does it.
            file.write_all(self.line(0).as_bytes()).unwrap();
        }
    }

    pub(crate) fn catch_up(&self) -> Progress {
        catch_up(&self.log, &self.catalogue, NOW).unwrap().expect("nobody else reads this log")
    }

    pub(crate) fn bundle(&self, n: u32) -> Bundle {
        self.catalogue.bundle(&key(n)).unwrap().unwrap()
    }

    /// How often the first bundle was fetched.
    pub(crate) fn hits(&self) -> u64 {
        self.bundle(0).hits
    }
}

/// A line that counts.
pub(crate) fn line(msec: &str, connection: u64, n: u32) -> String {
    let path = format!("/vault/{}", key(n));
    format!("larder1\t{msec}\t{connection}\t1\tGET\t200\t1000\t1000\t-\t-\tOK\t{path}\n")
}

pub(crate) fn key(n: u32) -> BundleKey {
    let mut id = [7; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    BundleKey::new(ObjectKind::Directory, Sha1Git::from_bytes(id), Format::TarGz).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "rows alone, of files that are not there")]
pub(crate) fn add_bundles(catalogue: &Catalogue, bundles: u32) {
    let now = Timestamp::from_millis(1_770_000_000_000);
    for n in 0..bundles {
        catalogue.order(&key(n), now, u64::MAX, Duration::ZERO).unwrap();
        let claim = catalogue.claim("test", now).unwrap().unwrap();
        let facts = FileFacts { size: 1000, allocated: 4096, blake3: [7; 32] };
        catalogue.finish(claim, facts, Duration::ZERO, now, |_| Ok(())).unwrap();
    }
}

/// Packs `from` as `to`, and leaves `from` where it is.
pub(crate) fn pack(from: &Path, to: &Path) {
    let mut encoder = GzEncoder::new(File::create(to).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut File::open(from).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
}
