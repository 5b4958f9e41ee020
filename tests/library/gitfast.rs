//! `gitfast.gz` against git itself: what `git fast-import` makes of a stream has the ids that the
//! archive has, and what it would not is refused by name.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod flips;
mod model;
mod odd;
mod served;
mod workshop;

use crate::common::fixtures::{WELL_FORMED, fixture};
use crate::common::{git, git_line};
use larder::archive::ObjectType;
use larder::cook::CookError;
use larder::cook::history::Subject;
use larder::key::{Format, ObjectKind, Sha1Git, Swhid};
use larder::verify::{Checked, History, Proof, agrees};
use std::path::Path;
use tempfile::TempDir;
use workshop::{How, PEOPLE, PLAIN, Refs, Workshop, assert_carried, cooked, main_of, refs_of, refused, snapshot};

#[test]
fn every_revision_and_release_of_the_fixtures_is_carried_or_refused_by_name() {
    let mut refusals = Vec::new();
    let mut carried = 0;
    for name in WELL_FORMED {
        let fixture = fixture(name);
        for object in fixture.cookable() {
            let subject = match object.kind {
                ObjectKind::Revision => Subject::Revision(object.id),
                ObjectKind::Release => Subject::Release(object.id),
                _ => continue,
            };
            match cooked(&[&fixture.path], &subject, &PLAIN) {
                Err(error @ CookError::NotRepresentable { .. }) => {
                    let message = error.failure().unwrap().message;
                    assert!(message.contains("the format `bundle` has it as it is"), "{message}");
                    let reason = message.rsplit(": ").next().unwrap_or_default();
                    let reason = reason.split("; ").next().unwrap_or_default();
                    refusals.push(format!("{name} {}: {reason}", object.name));
                }
                Err(other) => panic!("{name} {}: {other}", object.name),
                Ok((bundle, _)) => {
                    carried += 1;
                    let refs = workshop::imported(&workshop::stream(&bundle)).unwrap();
                    assert!(refs.values().any(|id| *id == object.id), "{name} {}", object.name);
                    let history = larder::verify::gitfast(&bundle[..]).unwrap();
                    assert_eq!(Refs::from_iter(history.refs), refs, "{name} {}", object.name);
                }
            }
        }
    }
    assert!(carried > 20, "{carried}");
    assert_eq!(refusals, REFUSED);
}

/// Those of [`WELL_FORMED`] that fast-import has no words for, and why.
const REFUSED: [&str; 10] = [
    "plain head: it is an empty directory",
    "plain v1: it is an empty directory",
    "deep deepest-revision: it is an empty directory",
    "modes head: its mode is 100664",
    "tags tag-of-tree: it leads to a tree",
    "tags tag-of-empty-tree: it leads to a tree",
    "tags tag-of-tag-of-tree: it leads to a tree",
    "tags signed-revision: fast-import has no word for its header x-unknown",
    "sizes head: it is an empty directory",
    "sizes release: it is an empty directory",
];

/// A history with something of all that fast-import has a word for.
fn rich(dir: &Path) {
    let script = r#"
        git init -q . && git config core.autocrlf false
        at() { export GIT_AUTHOR_DATE="$1 +0530" GIT_COMMITTER_DATE="$1 -0930"; }
        at 1000000001; git commit -q --allow-empty -m root
        mkdir -p a/b c; echo 1 >a/b/f; echo 2 >c/g; printf '#!' >run; chmod +x run; ln -s a/b link; : >empty
        printf x >"$(printf 'caf\303\251')"; printf y >"$(printf 'raw\377')"; printf z >"$(printf 'new\nline "q" \\')"
        git add -A; at 1000000002; git commit -q -m 'many paths'
        git branch side; git branch third; git branch fourth
        rm -r a; echo now a file >a; git add -A; at 1000000003; git commit -q -m 'a directory becomes a file'
        rm a; mkdir -p a/x/y; echo deep >a/x/y/z; chmod -x run; rm link; echo file >link; git mv c/g c/h
        git update-index --add --cacheinfo 160000,1234567890123456789012345678901234567890,module
        git add -A; at 1000000004; git commit -q -m 'and a directory again'
        git checkout -q side; echo s >side; git add -A; at 1000000005; git commit -q -m side
        git checkout -q third; echo t >third; git add -A
        at 1000000006; git -c i18n.commitEncoding=ISO-8859-1 commit -q -m "$(printf 'caf\351')"
        git checkout -q fourth; git rm -q -r .; at 1000000007; git commit -q -m 'nothing left'
        git checkout -q main; at 1000000008; git merge -q --no-ff -m octopus side third
        at 1000000009; git merge -q -s ours --no-ff -m ours fourth
        git checkout -q --orphan second; git rm -rfq .; echo o >o; git add -A; at 1000000010; git commit -q -m 'second root'
        git checkout -q main; at 1000000011; git merge -q --allow-unrelated-histories -m 'two roots' second
        git commit -q --allow-empty --cleanup=verbatim --allow-empty-message -m ''
        git tag light; git tag -a -m annotated v1; git tag -a -m 'of a blob' blob :o
        git tag -f -a -m nested v1 v1 2>/dev/null; git tag -a -m 'of an old one' old "$(git rev-parse side)"
        git update-ref refs/odd/place side
    "#;
    let mut command = crate::common::git_command(dir);
    let program = std::mem::replace(&mut command, std::process::Command::new("bash"));
    command.current_dir(dir).args(["-euc", script]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_history_of_everything_keeps_all_its_ids_and_counts_its_objects() {
    let folder = TempDir::new().unwrap();
    rich(folder.path());
    let (subject, refs) = refs_of(folder.path());
    assert!(refs.len() > 8);
    let bundle = assert_carried(&[folder.path()], &subject, &refs);
    let history = larder::verify::gitfast(&bundle[..]).unwrap();
    let listed = git_line(&["rev-list", "--objects", "--no-object-names", "--all"], folder.path());
    assert_eq!(history.objects, listed.lines().count() as u64);
}

#[test]
fn the_bytes_do_not_depend_on_threads_nor_on_how_objects_are_stored() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    rich(folder.path());
    let (subject, _) = refs_of(folder.path());
    let once = |paths: &[&Path], threads| cooked(paths, &subject, &How { threads, ..PLAIN }).unwrap().0;
    let loose = once(&[folder.path()], 1);
    for threads in [2, 8] {
        assert_eq!(once(&[folder.path()], threads), loose, "{threads} threads");
    }
    git(&["clone", "-q", "--mirror", folder.path().to_str().unwrap(), "."], other.path());
    assert_eq!(once(&[other.path()], 2), loose, "another repository");
    git(&["repack", "-adfq", "--depth=50"], folder.path());
    assert_eq!(once(&[folder.path()], 2), loose, "packed");
    assert_eq!(once(&[other.path(), folder.path()], 2), loose, "from two repositories");
}

#[test]
fn a_stream_of_many_units_is_one_gzip_member_with_the_same_bytes() {
    let workshop = Workshop::new();
    let mut parents = Vec::new();
    let noise = |seed: u64| {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{:x}", state >> 20)
        };
        std::iter::repeat_with(next).take(60_000).collect::<String>()
    };
    for seed in 0..12 {
        let tree = workshop.tree(&[("100644", b"noise", workshop.blob(&noise(seed)))]);
        parents = vec![workshop.commit(tree, &parents, PEOPLE, "m")];
    }
    // One that is not held in memory as a whole.
    let large = "0123456789abcdef".repeat((17 << 20) / 16);
    let tree = workshop.tree(&[("100644", b"large", workshop.blob(&large))]);
    let head = workshop.commit(tree, &parents, PEOPLE, "m");
    let refs = Refs::from([(b"refs/heads/main".to_vec(), head)]);
    let bundle = assert_carried(&[workshop.path()], &main_of(head), &refs);
    for threads in [1, 8] {
        assert_eq!(cooked(&[workshop.path()], &main_of(head), &How { threads, ..PLAIN }).unwrap().0, bundle);
    }
    let error = cooked(&[workshop.path()], &main_of(head), &How { max_size: 20 << 20, ..PLAIN }).unwrap_err();
    assert!(matches!(error, CookError::TooLarge { .. }), "{error}");
}

/// The forms of signatures that git knows, others, and both together.
const SIGNATURES: [&str; 9] = [
    "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n",
    "gpgsig -----BEGIN PGP SIGNATURE-----\n Version: GnuPG v2\n \n abc\n -----END PGP SIGNATURE-----\n \n",
    "gpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n",
    "gpgsig -----BEGIN SIGNED MESSAGE-----\n abc\n -----END SIGNED MESSAGE-----\n",
    "gpgsig \n",
    "gpgsig  \n  \n data 3\n abc\n",
    "gpgsig-sha256 -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n",
    "gpgsig a\ngpgsig-sha256 b\n",
    "encoding latin-1\ngpgsig \u{1}\u{fffd}\r\n",
];

#[test]
fn signed_commits_are_carried_and_it_is_said_which_git_takes_them() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let mut tips = vec![workshop.commit(tree, &[], PEOPLE, "root\n")];
    for header in SIGNATURES {
        let alone = workshop.commit(tree, &[], &format!("{PEOPLE}{header}"), "");
        assert_carried(&[workshop.path()], &main_of(alone), &Refs::from([(b"refs/heads/main".to_vec(), alone)]));
        tips.push(workshop.commit(tree, &tips[tips.len() - 1..], &format!("{PEOPLE}{header}"), "signed\n"));
    }
    let head = workshop.commit(tree, &tips[5..], PEOPLE, "head\n");
    let tag = workshop.tag("v1", head, ObjectType::Commit, "\nof the head\n");
    let subject =
        snapshot(&[("refs/heads/tip", ObjectKind::Revision, head), ("refs/tags/v1", ObjectKind::Release, tag)]);
    let refs = Refs::from([("refs/heads/tip", head), ("refs/tags/v1", tag)].map(|(name, id)| (name.into(), id)));
    let bundle = assert_carried(&[workshop.path()], &subject, &refs);
    for threads in [1, 8] {
        let (again, cooked) = cooked(&[workshop.path()], &subject, &How { threads, lossy: true, ..PLAIN }).unwrap();
        assert!(again == bundle && !cooked.lossy, "nothing is lost where it may be");
        assert_eq!(cooked.notes, ["needs git 2.51 or later (signatures of commits)"]);
    }
}

#[test]
fn odd_time_zones_of_commits_and_tags_are_carried_and_it_is_said_which_git_takes_them() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let odd = PEOPLE.replace("-0130", "-7530");
    let commit = workshop.commit(tree, &[], &odd, "odd\n");
    let last = workshop.commit(tree, &[commit], PEOPLE, "last\n");
    let plain = workshop.commit(tree, &[], PEOPLE, "plain\n");
    let tag = workshop.tag("v1", plain, ObjectType::Commit, "tagger T <t> 3 +051800\n\nm\n");
    let outer = workshop.tag("v2", tag, ObjectType::Tag, "tagger T <t> 3 +0000\n\nm\n");
    for (refs, zone) in [
        (vec![("refs/heads/a", ObjectKind::Revision, last)], true),
        (vec![("refs/heads/a", ObjectKind::Revision, plain), ("refs/tags/v2", ObjectKind::Release, outer)], true),
        (vec![("refs/heads/a", ObjectKind::Revision, plain)], false),
    ] {
        let expected = refs.iter().map(|(name, _, id)| (name.as_bytes().to_vec(), *id)).collect();
        assert_carried(&[workshop.path()], &snapshot(&refs), &expected);
        let (bundle, cooked) = cooked(&[workshop.path()], &snapshot(&refs), &PLAIN).unwrap();
        assert_eq!(cooked.notes.len(), usize::from(zone), "{:?}", cooked.notes);
        let stream = workshop::stream(&bundle);
        assert_eq!(stream.starts_with(b"feature done\nfeature date-format=raw-permissive\n"), zone);
        // It is said where it is needed, and nowhere else.
        let line = b"feature date-format=raw-permissive\n";
        let other = match stream.strip_prefix(b"feature done\n").unwrap() {
            rest if zone => [b"feature done\n", rest.strip_prefix(line).unwrap()].concat(),
            rest => [b"feature done\n", &line[..], rest].concat(),
        };
        assert!(larder::verify::gitfast(&flips::deflated(&other)[..]).is_err());
        assert!(larder::verify::gitfast(&flips::deflated(&stream)[..]).is_ok());
    }
}

#[test]
fn a_header_without_a_word_or_in_another_place_is_refused_by_name_unless_it_may_be_lost() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let root = workshop.commit(tree, &[], PEOPLE, "root\n");
    let cases = [
        ("gpgsig", "gpgsig -----BEGIN PGP SIGNATURE-----\n x\nencoding latin-1\n", "encoding latin-1\n"),
        ("gpgsig", "gpgsig a\0b\n", ""),
        ("mergetag", "mergetag object 1\n type commit\n tag v1\n \n x\n", ""),
        ("HG:extra", "HG:extra rebase_source:abc\n", ""),
    ];
    for (name, header, kept) in cases {
        let odd = workshop.commit(tree, &[root], &format!("{PEOPLE}{header}"), "odd\n");
        let child = workshop.commit(tree, &[odd], PEOPLE, "child\n");
        let tag = workshop.tag("v1", child, ObjectType::Commit, "\nof a child\n");
        let subject = snapshot(&[
            ("refs/heads/root", ObjectKind::Revision, root),
            ("refs/heads/tip", ObjectKind::Revision, child),
            ("refs/tags/v1", ObjectKind::Release, tag),
        ]);
        let message = refused(&[workshop.path()], &subject);
        assert!(message.contains(&format!("commit {odd}")) && message.contains(name), "{message}");

        let (bundle, cooked) = cooked(&[workshop.path()], &subject, &How { lossy: true, ..PLAIN }).unwrap();
        assert!(cooked.lossy && cooked.notes[0].contains(&odd.to_string()), "{:?}", cooked.notes);
        let bare = workshop.commit(tree, &[root], &format!("{PEOPLE}{kept}"), "odd\n");
        let new = workshop.commit(tree, &[bare], PEOPLE, "child\n");
        let tag = workshop.tag("v1", new, ObjectType::Commit, "\nof a child\n");
        let expected = Refs::from(
            [("refs/heads/root", root), ("refs/heads/tip", new), ("refs/tags/v1", tag)]
                .map(|(name, id)| (name.as_bytes().to_vec(), id)),
        );
        assert_eq!(workshop::imported(&workshop::stream(&bundle)).unwrap(), expected);
        let history = larder::verify::gitfast(&bundle[..]).unwrap();
        assert_eq!(Refs::from_iter(history.refs.clone()), expected);
        assert_never_cleared(&history, &subject);
    }
    // Nothing lost, nothing marked.
    let (_, cooked) = cooked(&[workshop.path()], &main_of(root), &How { lossy: true, ..PLAIN }).unwrap();
    assert!(!cooked.lossy && cooked.notes.is_empty());
}

/// What a lossy bundle makes is not what it is of, with a proof and without, and it is said why.
fn assert_never_cleared(history: &History, subject: &Subject) {
    let Subject::Snapshot(manifest) = subject else { panic!("{subject:?}") };
    let encoded = manifest.encode();
    let proof = [format!("snapshot {}\0", encoded.len()).as_bytes(), &encoded].concat();
    let proof = Proof::decode(&proof).unwrap();
    let swhid = Swhid { kind: ObjectKind::Snapshot, id: manifest.id() };
    for proof in [None, Some(&proof)] {
        let checked = Checked::History(history.clone());
        let words = agrees(&checked, Format::Gitfast, &swhid, proof).unwrap_err().to_string();
        assert!(words.contains("lossy"), "{words}");
    }
}

#[test]
fn an_object_that_is_missing_fails_by_its_id() {
    let workshop = Workshop::new();
    let nothing = Sha1Git::from_bytes([7; 20]);
    let tree = workshop.small_tree();
    let blob = workshop.tree(&[("100644", b"file", nothing)]);
    for commit in [
        workshop.commit(tree, &[nothing], PEOPLE, ""),
        workshop.commit(nothing, &[], PEOPLE, ""),
        workshop.commit(blob, &[], PEOPLE, ""),
    ] {
        let error = cooked(&[workshop.path()], &main_of(commit), &PLAIN).unwrap_err();
        assert!(matches!(error, CookError::Missing { id } if id == nothing), "{error}");
    }
}
