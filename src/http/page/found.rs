//! From what somebody wants to where it is: asks the archives and the catalogue. Blocking; every question is bounded.

use super::super::origins;
use super::place::Place;
use super::wanted::{Named, Wanted};
use crate::archive::ObjectType;
use crate::archive::snapshot::{Manifest, Target};
use crate::catalogue::Origin;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use crate::kitchen::{OrderError, Orders};
use crate::origins::resolve;

/// What came of looking for it.
#[derive(Debug)]
pub(super) enum Found {
    /// Here it is.
    At(Place),
    /// It is not here; why, in words for people.
    Not(String),
}

/// Newest snapshots that are looked through for a branch that leads to an object.
const LOOKED_THROUGH: u32 = 20;

/// How many branches of them, in all.
const BRANCHES: usize = 200_000;

/// Looks for what is wanted.
pub(super) fn find(orders: &Orders, wanted: Wanted) -> Result<Found, OrderError> {
    match wanted {
        Wanted::Place(place) => Ok(Found::At(place)),
        Wanted::Nothing(why) => Ok(Found::Not(why.to_owned())),
        Wanted::Id(id) => by_id(orders, &id),
        Wanted::Named(readings, id) => {
            let mut known = None;
            for named in &readings {
                let Some(origin) = origin(orders, &named.origins)? else { continue };
                if let Some(place) = in_origin(orders, &origin, named)? {
                    return Ok(Found::At(place));
                }
                known.get_or_insert((origin, named));
            }
            // Whatever repository it is of, an id names one object.
            if let Some(id) = id
                && let found @ Found::At(_) = by_id(orders, &id)?
            {
                return Ok(found);
            }
            Ok(Found::Not(match known {
                Some((origin, _)) if origin.snapshot.is_none() => {
                    "This repository is known here, but was never visited.".to_owned()
                }
                Some((_, Named { reference: Some(_), .. })) => {
                    "This repository is known here, but its newest snapshot has no such branch, tag or commit, or nothing \
                     at this path of it."
                        .to_owned()
                }
                Some(_) | None => "No repository of this URL is known here. Whoever runs this larder can add it: larder \
                     origin add URL, then larder origin visit URL."
                    .to_owned(),
            }))
        }
    }
}

fn by_id(orders: &Orders, id: &Sha1Git) -> Result<Found, OrderError> {
    Ok(match kind_of(orders, id)? {
        Some(kind) => Found::At(Place::of(Swhid { kind, id: *id })),
        None => Found::Not("No archive of this larder has an object of this id.".to_owned()),
    })
}

/// What an id is the id of, as far as it is known here.
pub(super) fn kind_of(orders: &Orders, id: &Sha1Git) -> Result<Option<ObjectKind>, OrderError> {
    orders.check_blocked(id)?;
    let header = orders.archive().reader().header(id)?;
    Ok(match header.map(|header| header.object_type) {
        Some(ObjectType::Blob) => Some(ObjectKind::Content),
        Some(ObjectType::Tree) => Some(ObjectKind::Directory),
        Some(ObjectType::Commit) => Some(ObjectKind::Revision),
        Some(ObjectType::Tag) => Some(ObjectKind::Release),
        None => orders.bundles().catalogue().has_snapshot(id)?.then_some(ObjectKind::Snapshot),
    })
}

/// The known repository of one of these URLs.
fn origin(orders: &Orders, urls: &[String]) -> Result<Option<Origin>, OrderError> {
    for url in urls {
        if let Some(origin) = origins::find(orders.bundles().catalogue(), url)? {
            return Ok(Some(origin));
        }
    }
    Ok(None)
}

/// What a name means in the newest snapshot of a repository: with a path the object there, else the tag or commit
/// itself; without a name the snapshot.
fn in_origin(orders: &Orders, origin: &Origin, named: &Named) -> Result<Option<Place>, OrderError> {
    let Some(snapshot) = origin.snapshot else { return Ok(None) };
    let of = |kind, id| Place { origin: Some(origin.url.clone()), ..Place::of(Swhid { kind, id }) };
    let Some(reference) = &named.reference else { return Ok(Some(of(ObjectKind::Snapshot, snapshot))) };
    let mut reader = orders.archive().reader();
    let resolved = match orders.bundles().catalogue().branches(&snapshot)? {
        Some(branches) => resolve(&*branches, reader.as_mut(), reference.as_bytes())?,
        None => resolve(&Manifest::default(), reader.as_mut(), reference.as_bytes())?,
    };
    let Some(mut resolved) = resolved else { return Ok(None) };
    let history = resolved.release.map(|id| (ObjectKind::Release, id));
    let history = history.or(resolved.revision.map(|id| (ObjectKind::Revision, id)));
    let mut anchor = None;
    if let Some(path) = &named.path {
        if !resolved.descend(reader.as_mut(), path)? {
            return Ok(None);
        }
        anchor = history.map(|(kind, id)| Swhid { kind, id });
    }
    let files = resolved.directory.map(|id| (ObjectKind::Directory, id));
    let files = files.or(resolved.content.map(|id| (ObjectKind::Content, id)));
    let found = if named.path.is_some() { files } else { history.or(files) };
    let path = named.path.as_ref().map(|path| format!("/{}", String::from_utf8_lossy(&path.to_bytes())));
    Ok(found.map(|(kind, id)| Place { anchor, path, ..of(kind, id) }))
}

/// A branch or tag of a known repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) origin: String,
    pub(super) name: Vec<u8>,
}

/// Branches and tags that lead to this very object, in the newest snapshots of some repositories: of the one that a
/// link names, or else of the first few. How many are looked at is bounded, so that there may be more.
pub(super) fn branches_to(orders: &Orders, place: &Place) -> Result<Vec<Branch>, OrderError> {
    let origins = match &place.origin {
        Some(url) => origins::find(orders.bundles().catalogue(), url)?.into_iter().collect(),
        None => orders.bundles().catalogue().origins(None, LOOKED_THROUGH)?,
    };
    let (mut found, mut left) = (Vec::new(), BRANCHES);
    let wanted = Target::Object(place.swhid.kind, place.swhid.id);
    for origin in origins {
        let Some(snapshot) = origin.snapshot else { continue };
        if place.swhid.kind == ObjectKind::Snapshot {
            if snapshot == place.swhid.id {
                found.push(Branch { origin: origin.url, name: Vec::new() });
            }
            continue;
        }
        let Some(branches) = orders.bundles().catalogue().branches(&snapshot)? else { continue };
        let leading = branches.iter_from(0).take(left).filter(|(_, target)| *target == wanted);
        found.extend(leading.take(3).map(|(name, _)| Branch { origin: origin.url.clone(), name: name.to_vec() }));
        left = left.saturating_sub(branches.len());
        if left == 0 || found.len() >= 6 {
            break;
        }
    }
    Ok(found)
}
