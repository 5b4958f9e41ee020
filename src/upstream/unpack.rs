//! A repository out of a vault's bundle: of a flat tarball with its contents and trees in a pack, of a bare
//! repository in a tar with the packs and loose objects that it brings. Nothing of a bundle is believed: names
//! decide only whether a member is of use, and every object is hashed when it is read from the repository.

use super::kept;
use super::pack::Pack;
use crate::archive::ObjectType;
use crate::archiver::structure::{Packing, StructureError, read_tar};
use crate::archiver::tree::Top;
use crate::key::Sha1Git;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// The most members of a tar that are looked at: loose objects, at worst.
const MAX_MEMBERS: u64 = 20_000_000;
/// Bytes copied at a time.
const PIECE: usize = 64 << 10;

/// Why a bundle gives no repository.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It is not what it should be: another try would bring the same.
    #[error("{0}")]
    Wrong(String),
    /// It, or what comes of it, could not be read or written here.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What bounds the unpacking.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Most bytes that it may unpack to.
    pub(super) most: u64,
    /// Told how many bytes the repository has each time before it grows.
    pub(super) room: &'a dyn Fn(u64) -> io::Result<()>,
}

/// Makes the repository `into` of a `tar.gz` whose one top directory is the tree `directory`.
pub(super) fn flat(tarball: File, directory: &Sha1Git, into: &Path, bounds: Bounds<'_>) -> Result<(), Unusable> {
    let mut pack = Pack::new(&kept::blank_repository(into)?, bounds.room)?;
    let input = BufReader::with_capacity(1 << 18, tarball);
    let mut members = read_tar(Packing::TarGz, input, bounds.most, &mut pack).map_err(|error| match error {
        StructureError::Read(error) => Unusable::Io(error),
        error => Unusable::Wrong(format!("its tarball cannot be used: {error}")),
    })?;
    let mut failed = None;
    let found = members.tree(Top::Strip, |id, tree| {
        if failed.is_none() {
            failed = pack.object(ObjectType::Tree, &id, &tree).err();
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    match found {
        Ok(found) if found.id == *directory => Ok(pack.finish()?),
        // With a submodule or an odd mode in it, which a plain tarball cannot show.
        Ok(found) => Err(Unusable::Wrong(format!("its tarball holds another tree, {}", found.id))),
        Err(reason) => Err(Unusable::Wrong(format!("its tarball holds no tree: {reason}"))),
    }
}

/// Makes the repository `into` of a tar of a bare repository. Refs, hooks and settings are left out.
pub(super) fn git_bare(tar: File, into: &Path, bounds: Bounds<'_>) -> Result<(), Unusable> {
    kept::blank_repository(into)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 18, tar));
    let mut written = 0;
    for (number, member) in (0_u64..).zip(archive.entries()?) {
        if number >= MAX_MEMBERS {
            return Err(Unusable::Wrong("its tar has too many members".to_owned()));
        }
        let mut member = member.map_err(malformed)?;
        let Some(name) = object_file(&member.path_bytes()) else { continue };
        if !member.header().entry_type().is_file() {
            return Err(Unusable::Wrong(format!("{name} in its tar is no file")));
        }
        let path = into.join(&name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Unusable::Wrong(format!("{name} stands in its tar twice")));
            }
            Err(error) => return Err(error.into()),
        };
        let mut piece = vec![0; PIECE];
        loop {
            let n = member.read(&mut piece).map_err(malformed)?;
            if n == 0 {
                break;
            }
            written += n as u64;
            if written > bounds.most {
                return Err(Unusable::Wrong(format!("its tar holds more than {} bytes", bounds.most)));
            }
            (bounds.room)(written)?;
            file.write_all(&piece[..n])?;
        }
        file.sync_all()?;
    }
    Ok(())
}

fn malformed(error: io::Error) -> Unusable {
    match error.raw_os_error() {
        Some(_) => Unusable::Io(error),
        None => Unusable::Wrong(format!("its tar cannot be read: {error}")),
    }
}

/// The path in a repository of a member that holds objects: a pack, its index, or a loose object, in whatever
/// one folder the tar has on top. `None` for all else.
fn object_file(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let (_, below) = path.split_once("/objects/")?;
    if path.split('/').count() != 2 + below.split('/').count() {
        return None;
    }
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let of_use = match below.split_once('/')? {
        ("pack", name) => {
            let name = name.strip_prefix("pack-")?;
            name.strip_suffix(".pack").or_else(|| name.strip_suffix(".idx")).is_some_and(|sum| hex(sum, 40))
        }
        (folder, name) => hex(folder, 2) && hex(name, 38),
    };
    of_use.then(|| format!("objects/{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Archive as _;
    use crate::archive::git::GitArchive;
    use std::io::Seek;

    const ANY: Bounds<'_> = Bounds { most: 1 << 30, room: &|_| Ok(()) };

    fn tar(members: &[(&str, tar::EntryType, &[u8])]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut builder = tar::Builder::new(&mut file);
        for (name, entry_type, content) in members {
            let mut header = tar::Header::new_ustar();
            // As hostile names are: unchecked.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*entry_type);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            if entry_type.is_symlink() {
                header.set_link_name("/etc").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.finish().unwrap();
        drop(builder);
        file.rewind().unwrap();
        file
    }

    fn gzip(mut file: File) -> File {
        let mut out = flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::fast());
        io::copy(&mut file, &mut out).unwrap();
        let mut file = out.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn only_objects_are_taken_out_of_a_bare_repository() {
        let name = "objects/pack/pack-0123456789012345678901234567890123456789";
        for (path, kept) in [
            (format!("top.git/{name}.pack"), true),
            (format!("./top.git/{name}.idx"), true),
            ("top.git/objects/ab/01234567890123456789012345678901234567".to_owned(), true),
            (format!("{name}.pack"), false),
            (format!("a/b/{name}.pack"), false),
            (format!("../{name}.pack"), true),
            (format!("top.git/{name}.keep"), false),
            ("top.git/objects/../hooks/post-checkout".to_owned(), false),
            ("top.git/objects/pack/../../config".to_owned(), false),
            ("top.git/objects/info/alternates".to_owned(), false),
            ("top.git/config".to_owned(), false),
        ] {
            let found = object_file(path.as_bytes());
            assert_eq!(found.is_some(), kept, "{path}");
            assert!(found.is_none_or(|found| found.starts_with("objects/") && !found.contains("..")), "{path}");
        }
    }

    #[test]
    fn a_tar_that_means_harm_leaves_nothing_outside_and_is_no_repository() {
        let folder = tempfile::tempdir().unwrap();
        let name = "x/objects/pack/pack-0123456789012345678901234567890123456789.pack";
        let mut made = 0;
        let mut try_it = |members: &[(&str, tar::EntryType, &[u8])], most| {
            made += 1;
            let into = folder.path().join(format!("{made}.git"));
            git_bare(tar(members), &into, Bounds { most, ..ANY }).map(|()| into)
        };
        let wrong = |outcome: Result<_, Unusable>| matches!(outcome, Err(Unusable::Wrong(_)));
        assert!(wrong(try_it(&[(name, tar::EntryType::Symlink, b"")], 100)));
        assert!(wrong(try_it(&[(name, tar::EntryType::Char, b"")], 100)));
        assert!(wrong(try_it(&[(name, FILE, b"1"), (name, FILE, b"2")], 100)));
        assert!(wrong(try_it(&[(name, FILE, &[0; 101])], 100)));
        let with_hook = try_it(&[("x/hooks/post-update", FILE, b"#!"), ("../evil", FILE, b"")], 100).unwrap();
        assert!(!with_hook.join("hooks").exists() && !folder.path().join("evil").exists());
    }

    #[test]
    fn a_flat_tarball_gives_its_tree_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let tarball = || gzip(tar(&[("top/a", FILE, b"hello\n"), ("top/d/b", FILE, b"")]));
        let into = |name: &str| folder.path().join(name);
        let Err(Unusable::Wrong(reason)) = flat(tarball(), &Sha1Git::NULL, &into("1.git"), ANY) else {
            panic!("another tree was taken")
        };
        let id: Sha1Git = reason.rsplit(' ').next().unwrap().parse().unwrap();
        flat(tarball(), &id, &into("2.git"), ANY).unwrap();
        let archive = GitArchive::new(vec![into("2.git")]).unwrap();
        let mut buf = Vec::new();
        assert_eq!(archive.reader().find(&id, &mut buf).unwrap(), Some(ObjectType::Tree));
        let hello = "ce013625030ba8dba906f756967f9e9ca394464a".parse().unwrap();
        assert_eq!(archive.reader().find(&hello, &mut buf).unwrap(), Some(ObjectType::Blob));
        let bomb = gzip(tar(&[("top/a", FILE, &vec![0; 1 << 20])]));
        assert!(matches!(flat(bomb, &id, &into("3.git"), Bounds { most: 1 << 16, ..ANY }), Err(Unusable::Wrong(_))));
        let evil = gzip(tar(&[("top/../../evil", FILE, b"x")]));
        assert!(matches!(flat(evil, &id, &into("4.git"), ANY), Err(Unusable::Wrong(_))));
    }
}
