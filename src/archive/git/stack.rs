//! The refs of a repository that keeps them as reftables: the files of the stack, merged. Owns the reading
//! of the files and its bounds; their format is `reftable`'s.

use super::open::{self, Unopened, is_absence};
use super::refs::RefTarget;
use super::reftable::{self, ReftableError, Value};
use super::served::Served;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The list of tables, below the folder of a repository.
pub(super) const LIST: &str = "reftable/tables.list";

/// What HEAD, which is a file all the same, says where refs are not files.
const PLACEHOLDER: &[u8] = b"ref: refs/heads/.invalid";

/// The longest list of tables in bytes.
const MAX_LIST: u64 = 1 << 20;

/// What the records of all tables may come to, in bytes: some four times what a snapshot can hold. It
/// bounds both the memory that they take and the time that reading them takes.
const MAX_SIZE: usize = 256 << 20;

/// What a record counts beside its name.
const OVERHEAD: usize = 64;

/// How often the list is read again because git joined tables meanwhile.
const ROUNDS: u32 = 10;

/// Whether the refs of the repository at `git_dir` are reftables.
pub(super) fn is_used(git_dir: &Path, served: &Served) -> io::Result<bool> {
    match git_dir.join("reftable").symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Ok(false),
        Err(error) if is_absence(&error) => return Ok(false),
        Err(error) => return Err(error),
    }
    match open::text(&git_dir.join("HEAD"), PLACEHOLDER.len() as u64 + 2, served) {
        Ok(head) => Ok(head.trim_ascii_end() == PLACEHOLDER),
        // One that is longer says something else, and one that is a link, as HEAD was once, does too.
        Err(Unopened::Absent | Unopened::Refused(_)) => Ok(false),
        Err(Unopened::Failed(error)) => Err(error),
    }
}

/// All refs by name, `HEAD` and what else stands beside `refs/` among them.
pub(super) fn refs(git_dir: &Path, served: &Served) -> io::Result<BTreeMap<Vec<u8>, RefTarget>> {
    let path = git_dir.join(LIST);
    settled(&path, served, || open::text(&path, MAX_LIST, served).map_err(|unopened| lacking(&path, unopened)))
}

/// The refs of the tables that `list` names, asked again while git joins them.
fn settled(
    path: &Path,
    served: &Served,
    mut list: impl FnMut() -> io::Result<Vec<u8>>,
) -> io::Result<BTreeMap<Vec<u8>, RefTarget>> {
    let mut known = list()?;
    for _ in 0..ROUNDS {
        match merged(path, &known, MAX_SIZE, served) {
            // Tables that were joined are gone, and another list names the one that they became.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let newer = list()?;
                if newer == known {
                    return Err(error);
                }
                known = newer;
            }
            merged => return merged,
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "its tables change faster than they can be read"))
}

/// The refs of these tables, whose records come to `left` bytes at most.
fn merged(path: &Path, list: &[u8], mut left: usize, served: &Served) -> io::Result<BTreeMap<Vec<u8>, RefTarget>> {
    let names = reftable::tables(list).map_err(|error| invalid(path, error))?;
    let mut refs: BTreeMap<Vec<u8>, Option<RefTarget>> = BTreeMap::new();
    // The newest first: what it says of a ref holds.
    for name in names.iter().rev() {
        let path = path.with_file_name(name);
        let (file, metadata) = open::file(&path, served).map_err(|unopened| lacking(&path, unopened))?;
        let read = |at, buf: &mut [u8]| Ok(file.read_exact_at(buf, at)?);
        reftable::refs(metadata.len(), read, |name, value| {
            let (target, more) = match value {
                Value::Deleted => (None, 0),
                Value::Object(id) => (Some(RefTarget::Object(id)), 0),
                Value::Symbolic(to) => (Some(RefTarget::Symbolic(to.to_vec())), to.len()),
            };
            left = left.checked_sub(name.len() + more + OVERHEAD).ok_or(Stopped::TooMany)?;
            if !refs.contains_key(name) {
                refs.insert(name.to_vec(), target);
            }
            Ok(())
        })
        .map_err(|stopped| match stopped {
            Stopped::Io(error) => error,
            Stopped::Table(error) => invalid(&path, error),
            Stopped::TooMany => io::Error::new(io::ErrorKind::InvalidData, "it has too many refs"),
        })?;
    }
    Ok(refs.into_iter().filter_map(|(name, target)| Some((name, target?))).collect())
}

/// Why reading a table ended early.
enum Stopped {
    Io(io::Error),
    Table(ReftableError),
    TooMany,
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReftableError> for Stopped {
    fn from(error: ReftableError) -> Self {
        Self::Table(error)
    }
}

fn invalid(path: &Path, error: ReftableError) -> io::Error {
    let kind = match error {
        ReftableError::Version(_) => io::ErrorKind::Unsupported,
        ReftableError::Malformed(_) => io::ErrorKind::InvalidData,
    };
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    io::Error::new(kind, format!("{}: {error}", name.display()))
}

/// A file of the stack that is not read is no absence of refs, whatever the reason.
fn lacking(path: &Path, unopened: Unopened) -> io::Error {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    match unopened {
        Unopened::Absent => io::Error::new(io::ErrorKind::NotFound, format!("{}: it is not there", name.display())),
        Unopened::Refused(reason) => {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", name.display()))
        }
        Unopened::Failed(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode};
    use std::fs;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reftable")
    }

    fn served(path: &Path) -> Served {
        Served::new(vec![path.canonicalize().unwrap()])
    }

    fn refs(git_dir: &Path) -> io::Result<BTreeMap<Vec<u8>, RefTarget>> {
        super::refs(git_dir, &served(git_dir))
    }

    fn is_used(git_dir: &Path) -> bool {
        super::is_used(git_dir, &served(git_dir)).unwrap()
    }

    /// A copy of the fixture to be damaged.
    fn copy() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("reftable")).unwrap();
        fs::copy(fixture().join("HEAD"), folder.path().join("HEAD")).unwrap();
        for entry in fs::read_dir(fixture().join("reftable")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join("reftable").join(path.file_name().unwrap())).unwrap();
        }
        folder
    }

    #[test]
    fn what_git_wrote_is_read_as_git_reads_it() {
        assert!(is_used(&fixture()));
        let shown = |(name, target): (&Vec<u8>, &RefTarget)| {
            let name = String::from_utf8(name.clone()).unwrap();
            match target {
                RefTarget::Object(id) => format!("{name} {id} "),
                RefTarget::Symbolic(to) => format!("{name}  {}", String::from_utf8(to.clone()).unwrap()),
            }
        };
        let refs = refs(&fixture()).unwrap();
        let expected = fs::read_to_string(fixture().join("expected")).unwrap();
        // git says of a symbolic ref what it leads to as well.
        let plain = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [name, _, to] if !to.is_empty() => format!("{name}  {to}"),
            _ => line.to_owned(),
        };
        let expected: Vec<String> = expected.lines().map(plain).collect();
        let found: Vec<String> = refs.iter().filter(|(name, _)| name.as_slice() != b"ORIG_HEAD").map(shown).collect();
        assert_eq!(found, expected);
        assert!(expected.len() > 100 && refs.contains_key(b"ORIG_HEAD".as_slice()));
    }

    #[test]
    fn a_stack_that_is_damaged_is_an_error_and_never_fewer_refs() {
        let tables = || fs::read_to_string(fixture().join(LIST)).unwrap();
        let all = refs(&fixture()).unwrap();
        for name in tables().lines() {
            let folder = copy();
            let path = folder.path().join("reftable").join(name);
            let table = fs::read(&path).unwrap();
            for length in [0, 23, 90, table.len() / 2, table.len() - 1] {
                fs::write(&path, &table[..length]).unwrap();
                assert_eq!(refs(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name} {length}");
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(refs(folder.path()).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
            // Whatever else has the name is not waited for.
            rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            assert_eq!(refs(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            assert_eq!(refs(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(fixture().join("reftable").join(name), &path).unwrap();
            let error = refs(folder.path()).unwrap_err();
            assert!(error.to_string().contains("outside of what is served"), "{error}");
            fs::remove_file(&path).unwrap();
            fs::write(folder.path().join("within"), &table).unwrap();
            std::os::unix::fs::symlink(folder.path().join("within"), &path).unwrap();
            assert_eq!(refs(folder.path()).unwrap(), all, "{name}");
        }
        let folder = copy();
        fs::write(folder.path().join(LIST), "../reftable/x.ref\n").unwrap();
        assert_eq!(refs(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(folder.path().join(LIST), tables()).unwrap();
        assert_eq!(refs(folder.path()).unwrap(), all);
        fs::write(folder.path().join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert!(!is_used(folder.path()), "its refs are files");
    }

    #[test]
    fn tables_of_another_version_are_told_from_damage() {
        let folder = copy();
        for entry in fs::read_dir(folder.path().join("reftable")).unwrap() {
            let path = entry.unwrap().path();
            let mut table = fs::read(&path).unwrap();
            if table.starts_with(b"REFT") {
                table[4] = 2;
                fs::write(&path, table).unwrap();
            }
        }
        let error = refs(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn tables_that_git_joins_meanwhile_are_found_in_the_next_list() {
        let folder = copy();
        let path = folder.path().join(LIST);
        let all = refs(folder.path()).unwrap();
        let old = fs::read_to_string(&path).unwrap();
        let first = old.lines().next().unwrap();
        let tables = folder.path().join("reftable");
        fs::rename(tables.join(first), tables.join("joined.ref")).unwrap();
        let newer = old.replace(first, "joined.ref");
        let mut lists = [old.clone(), newer].into_iter();
        assert_eq!(settled(&path, &served(folder.path()), || Ok(lists.next().unwrap().into_bytes())).unwrap(), all);
        let same = settled(&path, &served(folder.path()), || Ok(old.clone().into_bytes()));
        assert_eq!(same.unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut count = 0;
        let never_the_same = settled(&path, &served(folder.path()), || {
            count += 1;
            Ok(format!("gone-{count}.ref\n").into_bytes())
        });
        assert_eq!(never_the_same.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn records_without_end_are_given_up_on() {
        let path = fixture().join(LIST);
        let list = fs::read_to_string(&path).unwrap();
        let first = list.lines().next().unwrap();
        let target = |target: &RefTarget| if let RefTarget::Symbolic(to) = target { to.len() } else { 0 };
        let size: usize = refs_of(first).iter().map(|(name, to)| name.len() + target(to) + OVERHEAD).sum();
        assert!(merged(&path, first.as_bytes(), size, &served(&fixture())).is_ok());
        let error = merged(&path, first.as_bytes(), size - 1, &served(&fixture())).unwrap_err();
        assert!(error.to_string().contains("too many refs"), "{error}");
        // What is known already counts again: it takes time, if no memory.
        let twice = format!("{first}\n{first}\n");
        assert!(merged(&path, twice.as_bytes(), 2 * size - 1, &served(&fixture())).is_err());
        assert_eq!(merged(&path, twice.as_bytes(), 2 * size, &served(&fixture())).unwrap().len(), refs_of(first).len());
    }

    fn refs_of(table: &str) -> Vec<(Vec<u8>, RefTarget)> {
        merged(&fixture().join(LIST), table.as_bytes(), MAX_SIZE, &served(&fixture())).unwrap().into_iter().collect()
    }
}
