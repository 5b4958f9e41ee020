//! What a bundle says of a member beside its content, whatever the bundle's form.

use super::tree::Trees;
use crate::archive::object::{self, EntryKind};
use crate::cook::tarball::TOP;
use crate::key::Sha1Git;

/// Bytes of a path below `source/`, and of a target.
pub(super) const MAX_PATH: usize = 4095;

/// A member's place in git.
pub(super) struct Claim {
    pub(super) kind: EntryKind,
    pub(super) raw_mode: Vec<u8>,
    /// The member's id, where the bundle names it.
    pub(super) id: Option<Sha1Git>,
}

impl Claim {
    /// From `git <raw mode> <id>`, or from the mode implied where there is no such comment. The
    /// comment's form is for the caller to check, by writing it again.
    pub(super) fn of_comment(comment: &[u8], implied: &[u8]) -> Option<Self> {
        if comment.is_empty() {
            return Some(Self { kind: kind(implied)?, raw_mode: implied.to_vec(), id: None });
        }
        let (raw_mode, id) = comment.strip_prefix(b"git ")?.split_at_checked(comment.len().checked_sub(45)?)?;
        let id = parse_id(id.strip_prefix(b" ")?)?;
        Some(Self { kind: kind(raw_mode)?, raw_mode: raw_mode.to_vec(), id: Some(id) })
    }

    /// Puts the member into its directory. `id` is that of its content, or a gitlink's.
    pub(super) fn place(&self, name: &[u8], id: Option<Sha1Git>, trees: &mut Trees<'_>) -> Result<(), String> {
        if self.kind == EntryKind::Directory {
            return trees.open(name, &self.raw_mode, self.id);
        }
        let id = id.or(self.id).ok_or("a gitlink names no id")?;
        if self.id.is_some_and(|claimed| claimed != id) {
            return Err(format!("a member has the id {id}, and its header says another"));
        }
        let start = trees.enter(name)?;
        let bare = name.strip_suffix(b"/").unwrap_or(name);
        trees.add(&self.raw_mode, &bare[start..], &id)
    }
}

/// Whether a member of this kind may have this name. What a tree forbids is seen when it is closed.
pub(super) fn is_legal_name(name: &[u8], kind: EntryKind) -> bool {
    let folder = matches!(kind, EntryKind::Directory | EntryKind::Gitlink);
    name.starts_with(TOP) && name.len() <= TOP.len() + MAX_PATH + usize::from(folder) && folder == name.ends_with(b"/")
}

/// Whether a symlink may have this target.
pub(super) fn is_legal_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= MAX_PATH && !target.contains(&0)
}

/// What a tree entry of this mode is: the decoder of trees is asked.
pub(super) fn kind(raw_mode: &[u8]) -> Option<EntryKind> {
    let entry = [raw_mode, b" x\0", &[1; 20]].concat();
    let mut entries = object::tree_entries(&entry);
    let first = entries.next()?.ok()?;
    (first.mode == raw_mode && first.name == b"x" && first.is_of_known_type()).then_some(first.kind)
}

pub(super) fn parse_id(hex: &[u8]) -> Option<Sha1Git> {
    std::str::from_utf8(hex).ok()?.parse().ok()
}
