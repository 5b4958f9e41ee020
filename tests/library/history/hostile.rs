//! What an archive or a manifest may hold to do harm: refused by name, or carried without it.

use super::kit::{cook, objects, refs, try_cook, unpacked};
use crate::common::process::Start as _;
use crate::common::{git, git_command, git_line};
use larder::archive::snapshot::{Manifest, Target};
use larder::cook::CookError;
use larder::cook::history::Subject;
use larder::key::{Format, ObjectKind, Sha1Git};
use larder::verify;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

fn repository() -> TempDir {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "."], folder.path());
    folder
}

/// Writes an object as it is given.
fn object(repository: &Path, object_type: &str, content: &[u8]) -> Sha1Git {
    let mut git = git_command(repository)
        .args(["hash-object", "-w", "-t", object_type, "--literally", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    git.stdin.take().unwrap().write_all(content).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn tree(repository: &Path, blob: &[u8]) -> Sha1Git {
    let blob = object(repository, "blob", blob);
    object(repository, "tree", &[&b"100644 f\0"[..], blob.as_bytes()].concat())
}

fn commit(repository: &Path, tree: Sha1Git, parents: &[Sha1Git]) -> Sha1Git {
    let parents = parents.iter().fold(String::new(), |text, id| text + &format!("parent {id}\n"));
    let who = "A <a@example.org> 0 +0000";
    object(repository, "commit", format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\nx\n").as_bytes())
}

fn tag(repository: &Path, name: &str, object_type: &str, target: Sha1Git) -> Sha1Git {
    let text = format!("object {target}\ntype {object_type}\ntag {name}\ntagger A <a@example.org> 0 +0000\n\nx\n");
    object(repository, "tag", text.as_bytes())
}

fn missing(archive: &Path, subject: &Subject) -> Sha1Git {
    for format in [Format::GitTar, Format::Bundle] {
        let mut out = Vec::new();
        let error = try_cook(archive, subject, format, 2, &mut out).unwrap_err();
        assert!(out.is_empty(), "nothing of it is given out");
        let CookError::Missing { id } = error else { panic!("{error}") };
        if format == Format::Bundle {
            return id;
        }
    }
    unreachable!("because the last format returns")
}

#[test]
fn a_missing_object_fails_the_cook_and_is_named() {
    let folder = repository();
    let absent = Sha1Git::from_bytes([0x11; 20]);
    let whole = tree(folder.path(), b"x");
    let old = commit(folder.path(), whole, &[absent]);
    let new = commit(folder.path(), whole, &[old]);
    assert_eq!(missing(folder.path(), &Subject::Revision(new)), absent);

    let no_blob = object(folder.path(), "tree", &[&b"100644 f\0"[..], absent.as_bytes()].concat());
    let no_tree = object(folder.path(), "tree", &[&b"40000 f\0"[..], absent.as_bytes()].concat());
    for tree in [no_blob, no_tree, absent] {
        assert_eq!(missing(folder.path(), &Subject::Revision(commit(folder.path(), tree, &[]))), absent);
    }
    let release = tag(folder.path(), "v1", "commit", absent);
    assert_eq!(missing(folder.path(), &Subject::Release(release)), absent);
    let gitlink = object(folder.path(), "tree", &[&b"160000 f\0"[..], absent.as_bytes()].concat());
    cook(folder.path(), &Subject::Revision(commit(folder.path(), gitlink, &[])), Format::Bundle);
}

#[test]
fn an_object_of_another_type_than_what_names_it_says_fails_the_cook() {
    let folder = repository();
    let blob = object(folder.path(), "blob", b"x");
    let whole = tree(folder.path(), b"x");
    let lies = [
        commit(folder.path(), blob, &[]),
        commit(folder.path(), whole, &[whole]),
        commit(folder.path(), object(folder.path(), "tree", &[&b"100644 f\0"[..], whole.as_bytes()].concat()), &[]),
        commit(folder.path(), object(folder.path(), "tree", &[&b"40000 f\0"[..], blob.as_bytes()].concat()), &[]),
    ];
    for pack in [false, true] {
        if pack {
            for id in lies {
                let list = format!("{id}\n{blob}\n{whole}\n");
                pack_objects(folder.path(), &list);
            }
        }
        for id in lies {
            let error =
                try_cook(folder.path(), &Subject::Revision(id), Format::Bundle, 2, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, CookError::Corrupt { .. }), "{error}");
        }
    }
}

/// Git reads every entry by the type bits of its mode, as a gitlink where these are none that it knows.
#[test]
fn trees_of_any_mode_are_carried_with_what_git_finds_in_them() {
    let folder = repository();
    let (blob, absent) = (object(folder.path(), "blob", b"far"), Sha1Git::from_bytes([0x11; 20]));
    let below = tree(folder.path(), b"below");
    let unknown = ["0", "644", "777", "10644", "20000", "60000", "110000", "140000", "150000", "170000", "7150777"];
    let directories = ["40000", "040000", "40755", "47777", "0000040000", "7040000"];
    let files = ["100644", "100664", "100000", "0100755", "1100644", "120000", "120777", "77777777777777777777120000"];
    let cases = (unknown.iter().flat_map(|mode| [(mode, blob), (mode, below), (mode, absent)]))
        .chain(directories.iter().map(|mode| (mode, below)))
        .chain(files.iter().map(|mode| (mode, blob)));
    let list = |id: Sha1Git| {
        let lines = git_line(&["rev-list", "--objects", "--no-object-names", &id.to_string()], folder.path());
        lines.lines().map(|line| line.parse().unwrap()).collect::<BTreeSet<Sha1Git>>()
    };
    let mut tip = commit(folder.path(), tree(folder.path(), b"x"), &[]);
    for (mode, id) in cases {
        let odd = object(folder.path(), "tree", &[mode.as_bytes(), b" a\0", id.as_bytes()].concat());
        tip = commit(folder.path(), tree(folder.path(), b"x"), &[commit(folder.path(), odd, &[tip])]);
        // Alone too: below the tip all would be reached some other way.
        let alone = commit(folder.path(), odd, &[]);
        let (file, _) = cook(folder.path(), &Subject::Revision(alone), Format::Bundle);
        let mut found = BTreeSet::new();
        verify::bundle_ids(Format::Bundle, verify::Input::File(&file), &mut |id| {
            found.insert(*id);
        })
        .unwrap();
        assert_eq!(found, list(alone), "{mode}");
    }
    // A commit and a tag may name things in upper case.
    let text = format!("tree {}\nparent {}\n", below.to_string().to_uppercase(), tip.to_string().to_uppercase());
    let who = "A <a@example.org> 0 +0000";
    tip = object(folder.path(), "commit", format!("{text}author {who}\ncommitter {who}\n\nx\n").as_bytes());
    let text = format!("object {}\ntype commit\ntag v1\n\nx\n", tip.to_string().to_uppercase());
    let release = object(folder.path(), "tag", text.as_bytes());
    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &Subject::Release(release), into.path());
    git(&["fsck", "--connectivity-only"], &bare);
    let expected: Vec<_> = list(release).iter().map(ToString::to_string).collect();
    assert!(expected.len() > 3 * (3 * unknown.len() + directories.len() + files.len()));
    assert_eq!(objects(&bare), expected);
}

fn pack_objects(repository: &Path, list: &str) {
    let mut git = git_command(repository)
        .args(["pack-objects", "-q", "objects/pack/pack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .start()
        .unwrap();
    git.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
}

#[test]
fn names_that_would_lead_elsewhere_are_left_out_and_the_rest_is_whole() {
    let folder = repository();
    let revision = commit(folder.path(), tree(folder.path(), b"x"), &[]);
    let mut manifest = Manifest::default();
    let to = || Target::Object(ObjectKind::Revision, revision);
    for name in
        [&b"../../x"[..], b"refs/heads/..", b"refs/heads/../../x", b"refs/heads/a\nb", b"refs/heads/a\rb", b"/etc/x"]
    {
        assert!(manifest.insert(name, to()));
    }
    assert!(!manifest.insert(b"refs/heads/a\0b", to()), "no manifest holds a NUL");
    for name in [&b"refs/heads/a"[..], b"refs/heads/a/b", b"refs/heads", b"refs/heads/-x", b"main", b"refs/x/\xff"] {
        assert!(manifest.insert(name, to()));
    }
    assert!(manifest.insert(b"refs/heads/cyclic", Target::Alias(b"refs/heads/cyclic2".to_vec())));
    assert!(manifest.insert(b"refs/heads/cyclic2", Target::Alias(b"refs/heads/cyclic".to_vec())));
    assert!(manifest.insert(b"refs/heads/dangling", Target::Dangling));
    assert!(manifest.insert(b"HEAD", Target::Alias(b"refs/heads/a/b".to_vec())));
    let subject = Subject::Snapshot(manifest);
    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &subject, into.path());
    let entries: Vec<_> = std::fs::read_dir(into.path()).unwrap().collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(objects(&bare).len(), 3);
    let output = git(&["for-each-ref", "--format=%(refname)"], &bare);
    let names: Vec<_> = output.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).collect();
    let expected: [&[u8]; 6] =
        [b"refs/heads", b"refs/heads/-x", b"refs/heads/a", b"refs/heads/a/b", b"refs/larder/main", b"refs/x/\xff"];
    assert_eq!(names, expected);
    assert_eq!(git_line(&["rev-parse", "HEAD"], &bare), revision.to_string());
    let (_, cooked) = cook(folder.path(), &subject, Format::Bundle);
    assert_eq!(cooked.notes.len(), 9, "{:?}", cooked.notes);
    assert!(cooked.notes.iter().all(|note| !note.contains(['\n', '\r'])));
}

#[test]
fn a_tag_of_a_tag_of_a_tree_is_carried() {
    let folder = repository();
    let inner = tag(folder.path(), "inner", "tree", tree(folder.path(), b"x"));
    for (name, kept) in [("v1", "refs/tags/v1"), ("v1..", "refs/larder/release"), ("a b", "refs/larder/release")] {
        let outer = tag(folder.path(), name, "tag", inner);
        let into = TempDir::new().unwrap();
        let bare = unpacked(folder.path(), &Subject::Release(outer), into.path());
        assert_eq!(refs(&bare), format!("{outer} {kept}"));
        assert_eq!(objects(&bare).len(), 4);
        assert_eq!(git_line(&["rev-parse", &format!("{kept}^{{}}")], &bare).len(), 40);
    }
}

#[test]
fn an_empty_snapshot_is_an_empty_repository() {
    let folder = repository();
    let subject = Subject::Snapshot(Manifest::default());
    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &subject, into.path());
    git(&["fsck", "--full", "--strict"], &bare);
    assert_eq!(refs(&bare), "");
    for format in [Format::GitTar, Format::Bundle] {
        let (file, _) = cook(folder.path(), &subject, format);
        let history = if format == Format::GitTar { verify::git_tar(&file) } else { verify::git_bundle(&file) };
        assert_eq!(history.unwrap().objects, 0);
    }
}

#[test]
fn directories_and_revisions_have_a_branch() {
    let folder = repository();
    let directory = tree(folder.path(), b"x");
    let revision = commit(folder.path(), directory, &[]);
    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &Subject::Directory(directory), into.path());
    assert_eq!(git_line(&["rev-parse", "HEAD^{tree}"], &bare), directory.to_string());
    assert_eq!(git_line(&["symbolic-ref", "HEAD"], &bare), "refs/heads/main");
    let bare = unpacked(folder.path(), &Subject::Revision(revision), into.path());
    assert_eq!(refs(&bare), format!("{revision} refs/heads/main"));
    git(&[Path::new("clone"), Path::new("-q"), &bare, &into.path().join("clone")], into.path());
    assert_eq!(std::fs::read(into.path().join("clone/f")).unwrap(), b"x");
}
