//! From a bundle's key to its bytes, whoever they are for: a draft of the store, or a client. Owns
//! which room of `cook` makes which format; keeps nothing and writes only into what it is given.

use super::Cooks;
use crate::archive::{Archive, ObjectType};
use crate::catalogue::CatalogueError;
use crate::cook::history::{self, Subject};
use crate::cook::{self, Control, CookError, Cooked, Segments};
use crate::key::{BundleKey, Family, ObjectKind};
use std::io::{self, Write};
use std::path::Path;

/// What a cook works with, besides the key of its bundle.
pub(super) struct Surroundings<'a> {
    /// Where the ingredients come from: the kitchen's own archive, whoever looks on.
    pub(super) archive: &'a dyn Archive,
    /// A folder for files without a name.
    pub(super) scratch: &'a Path,
    /// Told how many bytes a large file in `scratch` is about to have.
    pub(super) room: &'a dyn Fn(u64) -> io::Result<()>,
    pub(super) control: &'a Control,
    /// Where segments may be had, for a bundle that is kept.
    pub(super) segments: Option<&'a dyn Segments>,
}

/// Why there are no bytes, or not all of them.
pub(super) enum Unmade {
    /// No archive has the object.
    Absent,
    Catalogue(CatalogueError),
    Cook(CookError),
}

impl From<CookError> for Unmade {
    fn from(error: CookError) -> Self {
        Self::Cook(error)
    }
}

impl Cooks {
    /// Writes the bundle of `key` to `out`. Blocking.
    pub(super) fn make(
        &self,
        key: &BundleKey,
        around: &Surroundings<'_>,
        out: &mut dyn Write,
    ) -> Result<Cooked, Unmade> {
        let limits = self.orders.limits();
        let Surroundings { archive, scratch, room, control, segments } = *around;
        let (threads, max_size) = (limits.cook_threads, limits.max_bundle_size);
        let cooked = match key.format().family() {
            Family::Raw => cook::raw(archive, &key.id(), max_size, control, out)?,
            Family::Flat(format) => {
                let root = cook::root(&mut *archive.reader(), key.kind(), &key.id())?.ok_or(Unmade::Absent)?;
                let remembered = Some(&self.orders.0.remembered);
                let order =
                    cook::Order { archive, root, format, threads, max_size, scratch, control, segments, remembered };
                cook::cook(&order, out)?
            }
            Family::History(format) => {
                let (subject, lossy) = (self.subject(key, archive)?, limits.gitfast_lossy);
                let swhid = key.swhid();
                let order = history::Order {
                    archive,
                    swhid,
                    subject,
                    format,
                    threads,
                    max_size,
                    lossy,
                    scratch,
                    room,
                    control,
                };
                history::cook(&order, out)?
            }
        };
        Ok(cooked)
    }

    /// What the key of a history names, once it is known to be there.
    fn subject(&self, key: &BundleKey, archive: &dyn Archive) -> Result<Subject, Unmade> {
        let id = key.id();
        let (subject, wanted) = match key.kind() {
            ObjectKind::Directory => (Subject::Directory(id), ObjectType::Tree),
            ObjectKind::Revision => (Subject::Revision(id), ObjectType::Commit),
            ObjectKind::Release => (Subject::Release(id), ObjectType::Tag),
            ObjectKind::Snapshot => {
                let manifest = self.orders.0.catalogue.snapshot(&id).map_err(Unmade::Catalogue)?;
                return manifest.map(Subject::Snapshot).ok_or(Unmade::Absent);
            }
            ObjectKind::Content => return Err(Unmade::Absent),
        };
        let found = archive.reader().header(&id).map_err(CookError::from)?;
        found.filter(|header| header.object_type == wanted).map(|_| subject).ok_or(Unmade::Absent)
    }
}
