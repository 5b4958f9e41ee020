//! Reads a `bundle` bundle: lines of refs, a blank one, a pack.

use super::pack::{self, Found};
use super::{History, Seen, VerifyError};
use crate::archive::ObjectType;
use crate::cook::history::git_bundle::SIGNATURE;
use crate::cook::history::{Head, is_ref_name};
use crate::key::Sha1Git;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The most bytes before the pack: as of a manifest.
const MAX_HEADER: u64 = crate::archive::snapshot::MAX_MANIFEST as u64;

/// What the bundle holds, every id in it recomputed.
pub(super) fn read(file: &File, seen: Seen<'_>) -> Result<History, VerifyError> {
    let size = file.metadata().map_err(VerifyError::Read)?.len();
    let header = header(file, size)?;
    let (refs, head) = parse(&header)?;
    let start = header.len() as u64;
    let found = pack::read(file, start, size)?;
    for (name, id) in &refs {
        check_target(&found, name, id)?;
    }
    if let Some(id) = &head {
        found.expect(0, id, ObjectType::Commit)?;
    }
    found.objects.iter().for_each(|(id, _)| seen(id));
    let objects = found.objects.len() as u64;
    let others = found.others(&refs);
    Ok(History { head: head.map(Head::Detached), refs, others, objects, tags: found.tags, manifest: None })
}

/// Refuses a ref whose object is not there, or cannot have a ref of that name.
pub(super) fn check_target(found: &Found, name: &[u8], id: &Sha1Git) -> Result<(), VerifyError> {
    if name.starts_with(b"refs/heads/") {
        return found.expect(0, id, ObjectType::Commit);
    }
    found.type_of(id).map(drop).ok_or_else(|| refuse(0, format!("object {id} is missing")))
}

/// All up to the blank line, and that.
fn header(file: &File, size: u64) -> Result<Vec<u8>, VerifyError> {
    const PIECE: usize = 64 << 10;
    let mut bytes = Vec::new();
    loop {
        let from = bytes.len();
        let left = size.min(MAX_HEADER) - from as u64;
        bytes.resize(from + usize::try_from(left).unwrap_or(PIECE).min(PIECE), 0);
        file.read_exact_at(&mut bytes[from..], from as u64).map_err(VerifyError::Read)?;
        let end = bytes[from.saturating_sub(1)..].windows(2).position(|pair| pair == b"\n\n");
        if let Some(end) = end {
            bytes.truncate(from.saturating_sub(1) + end + 2);
            return Ok(bytes);
        }
        if bytes.len() == from {
            return Err(refuse(from as u64, "the list of refs has no end".to_owned()));
        }
    }
}

type Listed = (Vec<(Vec<u8>, Sha1Git)>, Option<Sha1Git>);

/// The refs, which stand in order of their names, but that the last may be any; then HEAD. Which is to
/// be the last is known when it is known which branch HEAD is.
fn parse(header: &[u8]) -> Result<Listed, VerifyError> {
    let lines = header.strip_prefix(SIGNATURE).ok_or_else(|| refuse(0, "it is no git bundle".to_owned()))?;
    let (mut refs, mut head) = (Vec::<(Vec<u8>, Sha1Git)>::new(), None);
    // A list without refs is the blank line alone.
    let lines = lines.strip_suffix(b"\n").unwrap_or_default();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let wrong = |reason: &str| refuse(0, format!("{reason}: \"{}\"", line.escape_ascii()));
        let line = line.strip_suffix(b"\n").ok_or_else(|| wrong("a line has no end"))?;
        let (id, name) = line.split_at_checked(40).ok_or_else(|| wrong("a line names no object"))?;
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        let (id, name) = id.zip(name.strip_prefix(b" ")).ok_or_else(|| wrong("a line names no object"))?;
        if head.is_some() {
            return Err(wrong("a line follows that of HEAD"));
        }
        if name == b"HEAD" {
            head = Some(id);
        } else if is_ref_name(name) {
            refs.push((name.to_vec(), id));
        } else {
            return Err(wrong("git takes no such name"));
        }
    }
    if let Some((last, sorted)) = refs.split_last() {
        if !sorted.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(refuse(0, "the refs are not in order".to_owned()));
        }
        if sorted.binary_search_by(|one| one.0.cmp(&last.0)).is_ok() {
            return Err(refuse(0, "a ref stands twice".to_owned()));
        }
    }
    Ok((refs, head))
}

fn refuse(at: u64, reason: String) -> VerifyError {
    VerifyError::Git { at, reason }
}
