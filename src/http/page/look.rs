//! Reads an object for showing it: what it says, a part of what is in it, and which bundles of it there are. Blocking;
//! all of it is bounded, whatever the object holds. What is read is verified as everything is (`archive`).

use super::found::{Branch, branches_to, kind_of};
use super::place::Place;
use crate::archive::object::{self, Described, EntryKind};
use crate::archive::snapshot::Target;
use crate::archive::{MAX_WHOLE_BLOB, ObjectType, Reader};
use crate::bundle::Bundle;
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git, Swhid};
use crate::kitchen::{OrderError, Orders};
use crate::limits::Mode;

/// Entries of a directory, or branches, on a page.
pub(super) const ON_A_PAGE: usize = 200;

/// The most parents that are shown.
const PARENTS: usize = 32;

/// An object, as far as it is shown.
pub(super) struct Object {
    pub(super) what: What,
    /// Which bundles there are of it, one a format.
    pub(super) offers: Vec<Offer>,
    /// Branches and tags that lead to it.
    pub(super) branches: Vec<Branch>,
}

/// What it is.
pub(super) enum What {
    Content {
        size: u64,
        bytes: Option<Vec<u8>>,
    },
    Directory {
        entries: Vec<Entry>,
        count: usize,
        is_cut: bool,
    },
    Revision {
        content: Vec<u8>,
        directory: Option<Sha1Git>,
        parents: Vec<Sha1Git>,
    },
    Release {
        content: Vec<u8>,
        target: Option<Swhid>,
    },
    Snapshot {
        branches: Vec<(Vec<u8>, Target)>,
        count: usize,
    },
    /// It is not here, and upstreams are asked for it when a bundle is ordered.
    Elsewhere,
}

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) id: Sha1Git,
    /// Of a file or a link, where it is there.
    pub(super) size: Option<u64>,
}

/// A bundle that there is or could be.
pub(super) struct Offer {
    pub(super) key: BundleKey,
    pub(super) bundle: Option<Bundle>,
    /// Bytes of its file, when it is there.
    pub(super) size: Option<u64>,
}

/// Why it is not shown.
pub(super) enum Absent {
    /// No archive has it.
    Nowhere,
    /// The id is that of something else.
    Other(ObjectKind),
}

/// The object at a place.
pub(super) fn object(orders: &Orders, place: &Place) -> Result<Result<Object, Absent>, OrderError> {
    let Swhid { kind, id } = place.swhid;
    match kind_of(orders, &id)? {
        None => return elsewhere(orders, place),
        Some(is) if is != kind => return Ok(Err(Absent::Other(is))),
        Some(_) => {}
    }
    let what = match kind {
        ObjectKind::Snapshot => {
            let Some(branches) = orders.bundles().catalogue().branches(&id)? else { return Ok(Err(Absent::Nowhere)) };
            let page = branches.iter_from(place.from).take(ON_A_PAGE);
            let page = page.map(|(name, target)| (name.to_vec(), target)).collect();
            Some(What::Snapshot { branches: page, count: branches.len() })
        }
        ObjectKind::Content => content(orders.archive().reader().as_mut(), &id)?,
        ObjectKind::Directory => directory(orders.archive().reader().as_mut(), &id, place.from)?,
        ObjectKind::Revision | ObjectKind::Release => written(orders.archive().reader().as_mut(), &id)?,
    };
    let Some(what) = what else { return Ok(Err(Absent::Nowhere)) };
    Ok(Ok(Object { what, offers: offers(orders, place)?, branches: branches_to(orders, place)? }))
}

/// What is in no archive here: upstreams may have it, where there are some.
fn elsewhere(orders: &Orders, place: &Place) -> Result<Result<Object, Absent>, OrderError> {
    let offers = offers(orders, place)?;
    let may_come = |offer: &Offer| orders.remote().is_some_and(|remote| remote.accepts(&offer.key).is_some());
    // One that has failed a moment ago says why.
    if offers.iter().any(|offer| may_come(offer) || offer.bundle.is_some()) {
        return Ok(Ok(Object { what: What::Elsewhere, offers, branches: Vec::new() }));
    }
    Ok(Err(Absent::Nowhere))
}

/// The bundles of the object, one a format.
fn offers(orders: &Orders, place: &Place) -> Result<Vec<Offer>, OrderError> {
    let Swhid { kind, id } = place.swhid;
    let formats = Format::ALL.into_iter().filter(|format| format.is_of(kind));
    let keys = formats.filter_map(|format| BundleKey::new(kind, id, format).ok());
    keys.map(|key| offer(orders, key)).collect()
}

/// What there is of a bundle.
pub(super) fn offer(orders: &Orders, key: BundleKey) -> Result<Offer, OrderError> {
    let bundle = match orders.look_up_and_heal(&key) {
        // Files are all that such a larder may be able to see.
        Err(OrderError::Catalogue(_)) if orders.mode() == Mode::ReadOnly => None,
        bundle => bundle?,
    };
    let size = orders.bundles().open(&key).map_err(OrderError::Store)?.map(|found| found.size);
    Ok(Offer { key, bundle, size })
}

fn content(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Option<What>, OrderError> {
    let Some(header) = reader.header(id)? else { return Ok(None) };
    let mut bytes = Vec::new();
    if header.size > MAX_WHOLE_BLOB {
        return Ok(Some(What::Content { size: header.size, bytes: None }));
    }
    let found = reader.find(id, &mut bytes)?;
    let size = bytes.len() as u64;
    Ok((found == Some(ObjectType::Blob)).then_some(What::Content { size, bytes: Some(bytes) }))
}

fn directory(reader: &mut dyn Reader, id: &Sha1Git, from: usize) -> Result<Option<What>, OrderError> {
    let mut tree = Vec::new();
    if reader.find(id, &mut tree)? != Some(ObjectType::Tree) {
        return Ok(None);
    }
    let (mut entries, mut count, mut is_cut) = (Vec::new(), 0, false);
    for entry in object::tree_entries(&tree) {
        let Ok(entry) = entry else {
            is_cut = true;
            break;
        };
        if (from..from.saturating_add(ON_A_PAGE)).contains(&count) {
            let has_size = matches!(entry.kind, EntryKind::File { .. } | EntryKind::Symlink);
            // One that is blocked, or cannot be read, is one whose size is not known.
            let size = if has_size { reader.header(&entry.id).ok().flatten().map(|header| header.size) } else { None };
            entries.push(Entry { name: entry.name.to_vec(), kind: entry.kind, id: entry.id, size });
        }
        count += 1;
    }
    Ok(Some(What::Directory { entries, count, is_cut }))
}

/// A commit or a tag.
fn written(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Option<What>, OrderError> {
    let mut content = Vec::new();
    Ok(match reader.find(id, &mut content)? {
        Some(ObjectType::Commit) => {
            let directory = object::commit_tree(&content).ok();
            let parents = object::commit_parents(&content).take(PARENTS).collect();
            Some(What::Revision { content, directory, parents })
        }
        Some(ObjectType::Tag) => {
            let target = object::tag_target(&content).ok().map(|(id, object_type)| {
                let kind = match object_type {
                    ObjectType::Blob => ObjectKind::Content,
                    ObjectType::Tree => ObjectKind::Directory,
                    ObjectType::Commit => ObjectKind::Revision,
                    ObjectType::Tag => ObjectKind::Release,
                };
                Swhid { kind, id }
            });
            Some(What::Release { content, target })
        }
        Some(ObjectType::Blob | ObjectType::Tree) | None => None,
    })
}

impl What {
    /// What a commit or a tag says.
    pub(super) fn described(&self) -> Option<Described<'_>> {
        match self {
            Self::Revision { content, .. } | Self::Release { content, .. } => Some(Described::new(content)),
            Self::Content { .. } | Self::Directory { .. } | Self::Snapshot { .. } | Self::Elsewhere => None,
        }
    }
}
