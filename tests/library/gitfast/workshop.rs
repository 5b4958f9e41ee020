//! Repositories made object by object, their streams, and what git makes of a stream.

use crate::common::process::Start as _;
use flate2::read::MultiGzDecoder;
use flate2::write::ZlibEncoder;
use larder::archive::ObjectType;
use larder::archive::git::GitArchive;
use larder::archive::object::hash;
use larder::archive::snapshot::{Manifest, Target};
use larder::cook::history::{Order, Subject, cook};
use larder::cook::{Control, CookError, Cooked};
use larder::key::{ObjectKind, Sha1Git, Swhid};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// A bare repository under construction.
pub(crate) struct Workshop {
    folder: TempDir,
}

/// Mode, name and id.
pub(crate) type Entry<'a> = (&'a str, &'a [u8], Sha1Git);

/// Refs by name.
pub(crate) type Refs = BTreeMap<Vec<u8>, Sha1Git>;

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        crate::common::git(&["init", "-q", "--bare", "."], folder.path());
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a loose object, whatever it says.
    pub(crate) fn object(&self, object_type: ObjectType, content: &[u8]) -> Sha1Git {
        let id = hash(object_type, content).unwrap();
        let hex = id.to_string();
        let path = self.path().join("objects").join(&hex[..2]).join(&hex[2..]);
        if !path.exists() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = ZlibEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
            file.write_all(format!("{object_type} {}\0", content.len()).as_bytes()).unwrap();
            file.write_all(content).unwrap();
            file.finish().unwrap();
        }
        id
    }

    pub(crate) fn blob(&self, content: &str) -> Sha1Git {
        self.object(ObjectType::Blob, content.as_bytes())
    }

    /// A tree of these entries, in this order.
    pub(crate) fn tree(&self, entries: &[Entry<'_>]) -> Sha1Git {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            for part in [mode.as_bytes(), b" ", name, b"\0", id.as_bytes()] {
                content.extend_from_slice(part);
            }
        }
        self.object(ObjectType::Tree, &content)
    }

    /// A commit with these lines between its parents and its message.
    pub(crate) fn commit(&self, tree: Sha1Git, parents: &[Sha1Git], headers: &str, message: &str) -> Sha1Git {
        let parents = parents.iter().map(|parent| format!("parent {parent}\n")).collect::<Vec<_>>().concat();
        self.object(ObjectType::Commit, format!("tree {tree}\n{parents}{headers}\n{message}").as_bytes())
    }

    pub(crate) fn tag(&self, name: &str, target: Sha1Git, object_type: ObjectType, rest: &str) -> Sha1Git {
        let content = format!("object {target}\ntype {object_type}\ntag {name}\n{rest}");
        self.object(ObjectType::Tag, content.as_bytes())
    }

    /// A tree of one file.
    pub(crate) fn small_tree(&self) -> Sha1Git {
        self.tree(&[("100644", b"file", self.blob("content\n"))])
    }
}

/// The usual headers behind the parents.
pub(crate) const PEOPLE: &str = "author A <a@b> 1 +0000\ncommitter C <c@d> 2 -0130\n";

/// A snapshot of these refs.
pub(crate) fn snapshot(refs: &[(&str, ObjectKind, Sha1Git)]) -> Subject {
    let mut manifest = Manifest::default();
    for (name, kind, id) in refs {
        assert!(manifest.insert(name.as_bytes(), Target::Object(*kind, *id)));
    }
    Subject::Snapshot(manifest)
}

/// A snapshot of one branch.
pub(crate) fn main_of(commit: Sha1Git) -> Subject {
    snapshot(&[("refs/heads/main", ObjectKind::Revision, commit)])
}

/// All refs of a repository, as git tells them.
pub(crate) fn refs_of(repository: &Path) -> (Subject, Refs) {
    let (mut manifest, mut refs) = (Manifest::default(), Refs::new());
    let lines = crate::common::git(&["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)"], repository);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut next = || parts.next().unwrap();
        let id = std::str::from_utf8(next()).unwrap().parse().unwrap();
        let kind = match next() {
            b"commit" => ObjectKind::Revision,
            b"tag" => ObjectKind::Release,
            b"tree" => ObjectKind::Directory,
            _ => ObjectKind::Content,
        };
        let name = next();
        assert!(manifest.insert(name, Target::Object(kind, id)));
        refs.insert(name.to_vec(), id);
    }
    (Subject::Snapshot(manifest), refs)
}

/// How to cook.
pub(crate) struct How {
    pub(crate) threads: usize,
    pub(crate) lossy: bool,
    pub(crate) max_size: u64,
}

pub(crate) const PLAIN: How = How { threads: 2, lossy: false, max_size: 1 << 30 };

/// Cooks the `gitfast.gz` of `subject`.
pub(crate) fn cooked(paths: &[&Path], subject: &Subject, how: &How) -> Result<(Vec<u8>, Cooked), CookError> {
    let archive = GitArchive::new(paths.iter().map(|path| PathBuf::from(*path)).collect()).unwrap();
    assert!(archive.discover() > 0);
    let (mut out, scratch) = (Vec::new(), TempDir::new().unwrap());
    let order = Order {
        archive: &archive,
        swhid: Swhid { kind: ObjectKind::Snapshot, id: Sha1Git::NULL },
        subject: subject.clone(),
        format: larder::key::History::Gitfast,
        threads: how.threads,
        max_size: how.max_size,
        lossy: how.lossy,
        scratch: scratch.path(),
        room: &|_| Ok(()),
        control: &Control::default(),
    };
    let cooked = cook(&order, &mut out)?;
    Ok((out, cooked))
}

pub(crate) fn stream(bundle: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bundle).read_to_end(&mut plain).unwrap();
    plain
}

/// What `git fast-import` makes of a stream in an empty repository; what it said when it refused.
pub(crate) fn imported(stream: &[u8]) -> Result<Refs, String> {
    let workshop = Workshop::new();
    let mut git = crate::common::git_command(workshop.path())
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .start()
        .unwrap();
    // It may have ended before it has read all.
    let _ = git.stdin.take().unwrap().write_all(stream);
    let output = git.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(refs_of(workshop.path()).1)
}

/// Whether the git here is one that imports signatures of commits.
pub(crate) fn takes_signatures() -> bool {
    let version = crate::common::git_line(&["version"], Path::new("/"));
    let numbers = version.split([' ', '.']).filter_map(|word| word.parse::<u32>().ok()).take(2).collect::<Vec<_>>();
    numbers >= vec![2, 51]
}

/// Cooks, imports by git and verifies: the refs are `expected` each time. Gives the bundle.
/// A git that knows no signatures must refuse a stream that has one.
pub(crate) fn assert_carried(paths: &[&Path], subject: &Subject, expected: &Refs) -> Vec<u8> {
    let (bundle, cooked) = cooked(paths, subject, &PLAIN).unwrap();
    assert!(!cooked.lossy);
    let plain = stream(&bundle);
    assert_eq!(cooked.tar_size, plain.len() as u64);
    let is_signed = cooked.notes.iter().any(|note| note.contains("git 2.51"));
    if is_signed && !takes_signatures() {
        imported(&plain).unwrap_err();
    } else {
        assert_eq!(&imported(&plain).unwrap(), expected, "{}", plain.escape_ascii());
    }
    let is_permissive = plain.starts_with(b"feature done\nfeature date-format=raw-permissive\n");
    assert_eq!(is_permissive, cooked.notes.iter().any(|note| note.contains("git 2.28")));
    let history = larder::verify::gitfast(&bundle[..]).unwrap();
    assert_eq!(&Refs::from_iter(history.refs), expected);
    bundle
}

/// Cooks and gives why that cannot be.
pub(crate) fn refused(paths: &[&Path], subject: &Subject) -> String {
    match cooked(paths, subject, &PLAIN) {
        Err(error @ CookError::NotRepresentable { .. }) => error.failure().unwrap().message,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was cooked"),
    }
}
