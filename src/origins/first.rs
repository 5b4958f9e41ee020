//! The first fetch into a mirror that has no refs: the objects by git, all refs in one file.
//!
//! git's fetch makes a file of each ref, and packs them when all are there. That is most of the time of
//! a first visit to an origin with many branches, so the objects are fetched by their ids, which moves no
//! ref, and the refs are written as git's own clone writes them: into `packed-refs`, at once, by way of
//! `packed-refs.lock`. The objects are there before their refs; whoever dies between has fetched them.

use super::advertised::{Branches, Shown};
use super::mirror::bounds;
use super::run::{Git, GitError};
use super::url::Remote;
use crate::key::Sha1Git;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// All refs of a mirror that are not files of their own.
pub(super) const PACKED_REFS: &str = "packed-refs";

/// How git begins a list of refs that is in order, and does not say what tags lead to.
const HEADER: &[u8] = b"# pack-refs with: sorted \n";

/// Fetches what `branches` lead to into the mirror at `path`, which has no refs, and makes these.
pub(super) fn fetch(path: &Path, git: &Git<'_>, remote: &Remote, branches: &Branches) -> Result<(), GitError> {
    let ids = branches.ids();
    if !ids.is_empty() {
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--stdin",
            "--",
            remote.as_str(),
        ];
        let lines = ids.iter().fold(String::new(), |mut lines, id| {
            let _ = writeln!(lines, "{id}");
            lines
        });
        git.run(path, &args, lines.as_bytes(), bounds(1 << 20, path))?;
    }
    let refs = refs(branches);
    if refs.is_empty() { Ok(()) } else { write(path, &refs).map_err(GitError::Run) }
}

/// The refs of the mirror by their names, as a fetch would make them.
fn refs(branches: &Branches) -> BTreeMap<Vec<u8>, Sha1Git> {
    let mut refs = BTreeMap::new();
    for (name, shown) in branches.iter() {
        // A branch that is another's alias leads where that does.
        let id = match shown {
            Shown::Object(id) => id,
            Shown::Alias(to) => match branches.get(to) {
                Some(Shown::Object(id)) => id,
                _ => continue,
            },
        };
        let kept = match (name, name.strip_prefix(b"refs/"), shown) {
            (b"HEAD", _, Shown::Object(_)) => b"refs/larder/head".to_vec(),
            (_, Some(below), _) => [b"refs/larder/now/", below].concat(),
            _ => continue,
        };
        if gix_ref::FullName::try_from(<&gix_ref::bstr::BStr>::from(&kept[..])).is_ok() {
            refs.insert(kept, *id);
        }
    }
    refs
}

fn write(path: &Path, refs: &BTreeMap<Vec<u8>, Sha1Git>) -> io::Result<()> {
    let lock = path.join(PACKED_REFS).with_extension("lock");
    let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&lock)?);
    file.write_all(HEADER)?;
    for (name, id) in refs {
        write!(file, "{id} ")?;
        file.write_all(name)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&lock, path.join(PACKED_REFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_those_that_a_fetch_makes_and_names_that_git_refuses_have_none() {
        let id = "11".repeat(20);
        let listed = format!(
            "ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/main\n{id}\trefs/heads/..\n\
             ref: refs/heads/main\trefs/remotes/o/HEAD\n{id}\trefs/remotes/o/HEAD\n{id}\trefs/pull/1/merge\n\
             ref: refs/heads/unborn\trefs/odd\n{id}\telsewhere\n"
        );
        let names = |listed: &str| -> Vec<String> {
            let refs = refs(&Branches::parse(listed.as_bytes()).unwrap());
            refs.into_keys().map(|name| String::from_utf8(name).unwrap()).collect()
        };
        assert_eq!(names(&listed), ["refs/larder/now/heads/main", "refs/larder/now/remotes/o/HEAD"]);
        assert_eq!(names(&format!("{id}\tHEAD\n")), ["refs/larder/head"]);
    }
}
