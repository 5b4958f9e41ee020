//! [`History`]: what was found in a bundle of git's own objects, whichever format it came in.

use crate::archive::ObjectType;
use crate::archive::snapshot::Manifest;
use crate::cook::history::Head;
use crate::key::Sha1Git;
use std::collections::BTreeMap;

/// What a bundle of a history holds. Whoever makes one has recomputed the id of every object in the
/// bundle, and has found everything that can be reached from the refs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Where HEAD points, if there is a HEAD. Detached where the format names an object and no ref.
    pub head: Option<Head>,
    /// The refs by their full names, in the order in which they stand there, HEAD not among them.
    pub refs: Vec<(Vec<u8>, Sha1Git)>,
    /// What refs point at that is neither a commit nor a tag.
    pub others: BTreeMap<Sha1Git, ObjectType>,
    /// How many objects there are.
    pub objects: u64,
    /// The contents of the annotated tags that refs point at, and of those that these point at in
    /// turn, by their ids.
    pub tags: BTreeMap<Sha1Git, Vec<u8>>,
    /// The manifest that lies in the bundle, where its format has a place for one.
    pub manifest: Option<Manifest>,
}
