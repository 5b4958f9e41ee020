//! The manifest of a snapshot, where a bundle has none: made anew from the refs, and told by its id.
//!
//! Refs are branches of the same name, so all that has to be guessed is HEAD. What refs do not show (a
//! branch that dangles, one of a name that git refuses, which other branch one is an alias of) makes
//! another id, and nothing is told then. **What is told has the id that was asked for**, so no guess
//! can be wrong.

use super::History;
use crate::archive::ObjectType;
use crate::archive::snapshot::{Manifest, Target};
use crate::cook::history::Head;
use crate::key::{Format, ObjectKind, Sha1Git};

/// Bytes that are hashed at most to find one manifest, a first guess in any case.
const MAX_HASHED: usize = 256 << 20;

/// Where HEAD of an empty repository points, when nobody says where.
const UNBORN: [&[u8]; 2] = [b"refs/heads/main", b"refs/heads/master"];

/// The manifest whose id is `id`, if the refs of a bundle in this format show all of it.
pub(super) fn manifest(history: &History, format: Format, id: &Sha1Git) -> Option<Manifest> {
    let mut manifest = Manifest::default();
    for (name, target) in &history.refs {
        manifest.insert(name, Target::Object(kind(history, target), *target)).then_some(())?;
    }
    let mut left = MAX_HASHED;
    for guess in guesses(history, format) {
        let mut guessed = manifest.clone();
        if let Some(target) = guess {
            if let Target::Alias(name) = &target
                && guessed.get(name).is_none()
            {
                guessed.insert(name, Target::Dangling);
            }
            guessed.insert(b"HEAD", target);
        }
        let bytes = guessed.encode().len();
        if guessed.id() == *id {
            return Some(guessed);
        }
        left = left.checked_sub(bytes)?;
    }
    None
}

/// What HEAD may be in the manifest, the likeliest first.
fn guesses(history: &History, format: Format) -> Box<dyn Iterator<Item = Option<Target>> + '_> {
    use Format::{Bundle, GitTar, Gitfast, Raw, Tar, TarGz, TarZst, Zip};
    let alias = |name: &[u8]| Some(Target::Alias(name.to_vec()));
    let at = |id: &Sha1Git| Some(Target::Object(ObjectKind::Revision, *id));
    let unborn = UNBORN.into_iter().filter(|name| !history.refs.iter().any(|one| one.0 == *name)).map(alias);
    match (&history.head, format) {
        (Some(Head::Symbolic(name)), _) => Box::new(std::iter::once(alias(name))),
        // The branch that HEAD is stands last.
        (Some(Head::Detached(id)), _) => {
            let last = history.refs.last().filter(|(_, target)| target == id).map(|(name, _)| alias(name));
            Box::new(last.into_iter().chain([at(id)]))
        }
        (None, Gitfast) => {
            let is_usual = |name: &[u8]| UNBORN.contains(&name);
            let commits = || history.refs.iter().filter(|(_, id)| kind(history, id) == ObjectKind::Revision);
            let usual = commits().filter(move |(name, _)| is_usual(name)).map(move |(name, _)| alias(name));
            let others = commits().filter(move |(name, _)| !is_usual(name)).map(move |(name, _)| alias(name));
            let detached = commits().map(move |(_, id)| at(id));
            Box::new(usual.chain([None]).chain(others).chain(detached).chain(unborn))
        }
        // These say where HEAD points, or hold no history.
        (None, GitTar | Bundle | TarGz | Tar | TarZst | Zip | Raw) => Box::new([None].into_iter().chain(unborn)),
    }
}

/// What a ref points at, as a manifest calls it.
fn kind(history: &History, id: &Sha1Git) -> ObjectKind {
    match history.others.get(id) {
        Some(ObjectType::Tree) => ObjectKind::Directory,
        Some(ObjectType::Blob) => ObjectKind::Content,
        _ if history.tags.contains_key(id) => ObjectKind::Release,
        _ => ObjectKind::Revision,
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
