//! `bundle`: a git bundle, version 2 (`gitformat-bundle(5)`): refs, then a pack.

use super::Order;
use super::packed::packed;
use super::refs::{Head, Ref, Refs};
use crate::cook::{CookError, Cooked};
use std::io::Write;

/// The first line.
pub(crate) const SIGNATURE: &[u8] = b"# v2 git bundle\n";

/// Writes the bundle.
pub(super) fn cook(order: &Order<'_>, refs: &Refs, out: &mut dyn Write) -> Result<Cooked, CookError> {
    let mut pack = packed(order, refs)?;
    let header = header(refs);
    out.write_all(&header).map_err(CookError::Output)?;
    pack.copy_pack(out)?;
    let tar_size = header.len() as u64 + pack.size;
    Ok(Cooked { tar_size, members: pack.count(), ..Cooked::default() })
}

/// All before the pack.
pub(crate) fn header(refs: &Refs) -> Vec<u8> {
    let lines = in_order(refs).map(|one| (one.target, &one.name[..]));
    let head = refs.head_target().map(|id| (id, &b"HEAD"[..]));
    let mut text = SIGNATURE.to_vec();
    for (id, name) in lines.chain(head) {
        text.extend_from_slice(id.to_string().as_bytes());
        text.push(b' ');
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    text.push(b'\n');
    text
}

/// The refs as they stand in a bundle. It cannot say which branch HEAD is: of those that lead where
/// HEAD does git takes the last one, so that is put last.
pub(crate) fn in_order(refs: &Refs) -> impl Iterator<Item = &Ref> {
    let branch = match &refs.head {
        Some(Head::Symbolic(name)) => refs.get(name),
        _ => None,
    };
    let others = refs.list.iter().filter(move |one| branch.is_none_or(|branch| branch.name != one.name));
    others.chain(branch)
}
