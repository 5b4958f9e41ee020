//! Refs as git's own files: loose ones, symbolic ones, `packed-refs`. Reads no object.
//!
//! What is no ref, or leads outside of what is served, is left out; what could not be looked at is an
//! error, for a list of refs that lacks some is another list.

use super::open::{self, Unopened};
use super::refs::RefTarget;
use super::served::Served;
use crate::key::Sha1Git;
use gix_ref::FullName;
use gix_ref::bstr::BStr;
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A file of one ref may have this size in bytes: a name has a few hundred.
const MAX_REF: u64 = 64 << 10;

/// The most of a line of `packed-refs` that is held, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Calls `each` with HEAD and every ref, until it says `false`.
pub(super) fn each_ref(
    git_dir: &Path,
    served: &Served,
    each: &mut dyn FnMut(&[u8], RefTarget) -> bool,
) -> io::Result<()> {
    if let Some(target) = loose(git_dir, b"HEAD", served)?
        && !each(b"HEAD", target)
    {
        return Ok(());
    }
    let mut loose_names = BTreeSet::new();
    let mut folders = vec![b"refs".to_vec()];
    while let Some(folder) = folders.pop() {
        let path = git_dir.join(OsStr::from_bytes(&folder));
        for (name, file_type) in names(&path, served)? {
            let name = [&folder, &b"/"[..], name.as_bytes()].concat();
            match file_type {
                FileType::Directory => folders.push(name),
                FileType::RegularFile | FileType::Symlink if is_legal(&name) => {
                    let target = loose(git_dir, &name, served)?;
                    if let Some(target) = target
                        && !each(&name, target)
                    {
                        return Ok(());
                    }
                    loose_names.insert(name);
                }
                FileType::RegularFile | FileType::Symlink => {}
                _ => served.skip(&git_dir.join(OsStr::from_bytes(&name)), open::NOT_REGULAR),
            }
        }
    }
    packed(git_dir, served, &mut |name, id| loose_names.contains(name) || each(name, RefTarget::Object(id)))
}

/// Where a ref leads in the end; `None` where that is nowhere.
pub(super) fn follow(git_dir: &Path, name: &[u8], served: &Served) -> io::Result<Option<Sha1Git>> {
    const MAX_LINKS: usize = 5;
    let mut name = name.to_vec();
    for _ in 0..=MAX_LINKS {
        match loose(git_dir, &name, served)? {
            Some(RefTarget::Object(id)) => return Ok(Some(id)),
            Some(RefTarget::Symbolic(target)) => name = target,
            None => {
                let mut found = None;
                packed(git_dir, served, &mut |packed, id| {
                    found = (packed == name).then_some(id);
                    found.is_none()
                })?;
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// What a loose ref says; `None` where there is none that can be read.
fn loose(git_dir: &Path, name: &[u8], served: &Served) -> io::Result<Option<RefTarget>> {
    let path = git_dir.join(OsStr::from_bytes(name));
    // As git does: a link to the file of a ref is a symbolic ref, whether that file is there or not.
    if let Ok(link) = path.read_link()
        && is_legal(link.as_os_str().as_bytes())
    {
        return Ok(Some(RefTarget::Symbolic(link.into_os_string().into_encoded_bytes())));
    }
    match open::text(&path, MAX_REF, served) {
        Ok(text) => Ok(parse(&text)),
        Err(unopened) => left_out(unopened, &path, served).map(|()| None),
    }
}

fn parse(text: &[u8]) -> Option<RefTarget> {
    let end = text.iter().position(|byte| matches!(byte, 0 | b'\n' | b'\r')).unwrap_or(text.len());
    if let Some(name) = text[..end].strip_prefix(b"ref:") {
        let name = name.trim_ascii();
        return is_legal(name).then(|| RefTarget::Symbolic(name.to_vec()));
    }
    let (id, rest) = text.split_at_checked(40)?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    id_of(id).filter(|_| ends).map(RefTarget::Object)
}

/// Calls `each` with the refs of `packed-refs`, until it says `false`.
fn packed(git_dir: &Path, served: &Served, each: &mut dyn FnMut(&[u8], Sha1Git) -> bool) -> io::Result<()> {
    let path = git_dir.join("packed-refs");
    let file = match open::file(&path, served) {
        Ok((file, _)) => file,
        Err(unopened) => return left_out(unopened, &path, served),
    };
    let (mut file, mut line) = (BufReader::with_capacity(64 << 10, file), Vec::new());
    loop {
        line.clear();
        if io::Read::take(&mut file, MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE {
            served.skip(&path, "a line of it is longer than one can be");
            return Ok(());
        }
        // `# pack-refs with:` and `^<what a tag leads to>` are no refs.
        if let Some((id, name)) = line.trim_ascii_end().split_at_checked(40)
            && let Some(id) = id_of(id)
            && let Some(name) = name.strip_prefix(b" ")
            && is_legal(name)
            && !each(name, id)
        {
            return Ok(());
        }
    }
}

/// The names in a folder, in order, each with what it is.
pub(super) fn names(path: &Path, served: &Served) -> io::Result<Vec<(OsString, FileType)>> {
    match open::folder(path, served) {
        Ok(folder) => open::names(folder),
        Err(unopened) => left_out(unopened, path, served).map(|()| Vec::new()),
    }
}

fn left_out(unopened: Unopened, path: &Path, served: &Served) -> io::Result<()> {
    match unopened {
        Unopened::Absent => Ok(()),
        Unopened::Refused(reason) => {
            served.skip(path, reason);
            Ok(())
        }
        Unopened::Failed(error) => Err(error),
    }
}

fn id_of(hex: &[u8]) -> Option<Sha1Git> {
    std::str::from_utf8(hex).ok()?.to_ascii_lowercase().parse().ok()
}

/// Whether git takes it for the name of a ref.
pub(super) fn is_legal(name: &[u8]) -> bool {
    FullName::try_from(<&BStr>::from(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn listed(git_dir: &Path) -> Vec<(String, RefTarget)> {
        let (mut found, served) = (Vec::new(), Served::new(vec![git_dir.to_owned()]));
        each_ref(git_dir, &served, &mut |name, target| {
            found.push((String::from_utf8(name.to_vec()).unwrap(), target));
            true
        })
        .unwrap();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn object(digit: u8) -> RefTarget {
        RefTarget::Object(Sha1Git::from_bytes([digit; 20]))
    }

    #[test]
    fn loose_refs_stand_before_packed_ones_and_what_is_no_ref_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (one, two) = ("11".repeat(20), "22".repeat(20));
        for folder in ["refs/heads/deep", "refs/tags"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (name, text) in [
            ("HEAD", "ref: refs/heads/main\n".to_owned()),
            ("refs/heads/main", format!("{one}\n")),
            ("refs/heads/deep/er", format!("{one} ")),
            ("refs/heads/damaged", "zz\n".to_owned()),
            ("refs/heads/empty", String::new()),
            ("refs/heads/longer", format!("{one}1\n")),
            ("refs/heads/x.lock", format!("{one}\n")),
            (
                "packed-refs",
                format!(
                    "# pack-refs with: peeled fully-peeled sorted \n{two} refs/heads/damaged\n{two} refs/heads/main\n\
                     {two} refs/tags/v1\n^{one}\n{two} refs/tags/..\nrubbish\n{two} refs/tags/v2"
                ),
            ),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("refs/heads/gone", root.join("refs/heads/link")).unwrap();
        let symbolic = |name: &str| RefTarget::Symbolic(name.as_bytes().to_vec());
        let expected = [
            ("HEAD", symbolic("refs/heads/main")),
            ("refs/heads/deep/er", object(0x11)),
            ("refs/heads/link", symbolic("refs/heads/gone")),
            ("refs/heads/main", object(0x11)),
            ("refs/tags/v1", object(0x22)),
            ("refs/tags/v2", object(0x22)),
        ];
        assert_eq!(listed(&root), expected.map(|(name, target)| (name.to_owned(), target)));
        let served = Served::new(vec![root.clone()]);
        let at = |digit| Some(Sha1Git::from_bytes([digit; 20]));
        assert_eq!(follow(&root, b"HEAD", &served).unwrap(), at(0x11));
        assert_eq!(follow(&root, b"refs/tags/v2", &served).unwrap(), at(0x22));
        assert_eq!(follow(&root, b"refs/heads/link", &served).unwrap(), None);
    }

    #[test]
    fn files_that_are_no_refs_by_size_or_kind_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("refs/heads")).unwrap();
        let fifo = |name: &str| {
            rustix::fs::mknodat(rustix::fs::CWD, root.join(name), FileType::Fifo, 0o644.into(), 0).unwrap();
        };
        fifo("refs/heads/fifo");
        std::os::unix::fs::symlink("/dev/zero", root.join("HEAD")).unwrap();
        fs::File::create(root.join("packed-refs")).unwrap().set_len(1 << 40).unwrap();
        fs::File::create(root.join("refs/heads/huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(listed(&root), []);
        fs::remove_file(root.join("packed-refs")).unwrap();
        fs::remove_file(root.join("HEAD")).unwrap();
        fifo("packed-refs");
        fifo("HEAD");
        assert_eq!(listed(&root), []);
    }
}
