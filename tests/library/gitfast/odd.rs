//! Commits, trees, tags and refs that fast-import alters or refuses: git decides which these are.

use super::workshop::{
    Entry, PEOPLE, PLAIN, Refs, Workshop, assert_carried, cooked, imported, main_of, refused, snapshot,
};
use larder::archive::ObjectType;
use larder::cook::CookError;
use larder::key::{ObjectKind, Sha1Git};

#[test]
fn odd_people_are_carried_or_refused_as_git_decides() {
    let idents = [
        "A <a> 1 +051800",
        "A <a> 1 -0000",
        "A <a> 0001 +0000",
        "A <a> 99999999999999999999 +0000",
        "A <a> 18446744073709551615 +0000",
        "A <a> -1 +0000",
        " <> 1 +0000",
        "<a> 1 +0000",
        "A <a<b> 1 +0000",
        "A <a> 1 +1400",
        "A <a> 1 +1401",
        "A <a> 1 +00",
        "A <a> 1 +99",
        "A <a> 1",
        "A <a>",
        "A a 1 +0000",
        "A<a> 1 +0000",
        "A > <a> 1 +0000",
        "A <a> 1 +0000 ",
        "A <a> 1 +-100",
        "A <a> 1  +0000",
        "A <> 1 +1400",
        "",
        " ",
        "A <a> +0000",
        "A <a> 1 0000",
        "\u{1}\u{fe} <a\r> 1 +0000",
        "A \" \\ <a b> 1 +0000",
        "A <a> 1 +0000\r",
        "A <a> 1.5 +0000",
        "A <a>  1 +0000",
        "A <a> +1 +0000",
        "A <a> \t1 +0000",
        "A <a> 1 -9999",
        "A <a> 1 +-0",
        "A <a> 1 + 100",
        "A <a> 1 ++100",
        "A <a> 1 ++-100",
        "A <a> 1 +18446744073709551615",
        "A <a> 1 +18446744073709551616",
        "A <a> - 1 +0000",
    ];
    let workshop = Workshop::new();
    let (tree, mut carried) = (workshop.small_tree(), 0);
    for ident in idents {
        let commit = workshop.commit(tree, &[], &format!("author {ident}\ncommitter C <c> 2 +0000\n"), "m\n");
        let naive = format!(
            "blob\nmark :1\ndata 8\ncontent\n\ncommit refs/heads/main\nauthor {ident}\ncommitter C <c> 2 +0000\n\
             data 2\nm\n\nM 100644 :1 file\n"
        );
        let is_right = |stream: &str| imported(stream.as_bytes()).is_ok_and(|refs| refs.values().eq([&commit]));
        let by_git = is_right(&naive);
        let permissive = is_right(&format!("feature date-format=raw-permissive\n{naive}"));
        match cooked(&[workshop.path()], &main_of(commit), &PLAIN) {
            Ok((_, cooked)) => {
                carried += 1;
                assert_eq!((cooked.notes.is_empty(), permissive), (by_git, true), "{ident:?}");
                assert_carried(
                    &[workshop.path()],
                    &main_of(commit),
                    &Refs::from([(b"refs/heads/main".to_vec(), commit)]),
                );
            }
            Err(CookError::NotRepresentable { what, reason }) => {
                assert!(!by_git && !permissive, "{ident:?} was refused: {reason}");
                assert_eq!(what, format!("commit {commit}"));
                assert!(reason.starts_with("author"), "{reason}");
            }
            Err(other) => panic!("{ident:?}: {other}"),
        }
    }
    assert!((10..idents.len() - 10).contains(&carried), "{carried}");
}

#[test]
fn headers_that_git_would_write_otherwise_are_refused() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let cases = [
        ("author A <a> 1 +0000\n", "committer"),
        ("committer C <c> 1 +0000\n", "author"),
        ("committer C <c> 1 +0000\nauthor A <a> 1 +0000\n", "author"),
        ("author A <a> 1 +0000\nauthor B <b> 1 +0000\ncommitter C <c> 1 +0000\n", "committer"),
        ("author A <a> 1 +0000\ncommitter C <c> 1 +0000\nencoding a\nencoding b\n", "encoding"),
        ("author A <a> 1 +0000\ncommitter C <c> 1 +0000\nencoding a\n b\n", "encoding"),
        ("author A\0 <a> 1 +0000\ncommitter C <c> 1 +0000\n", "NUL"),
    ];
    for (headers, word) in cases {
        let commit = workshop.commit(tree, &[], headers, "m\n");
        let message = refused(&[workshop.path()], &main_of(commit));
        assert!(message.contains(&commit.to_string()) && message.contains(word), "{headers:?}: {message}");
    }
    let no_message = workshop.object(ObjectType::Commit, format!("tree {tree}\n{PEOPLE}").as_bytes());
    assert!(refused(&[workshop.path()], &main_of(no_message)).contains("empty line"));
}

#[test]
fn odd_messages_encodings_and_parents_are_carried() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let root = workshop.commit(tree, &[], PEOPLE, "");
    let nul = workshop.commit(tree, &[root, root], PEOPLE, "a\0b\ndata 5\n\n\n");
    let encoded = workshop.commit(tree, &[nul], &format!("{PEOPLE}encoding \n"), "no newline");
    let tip = workshop.commit(tree, &[encoded, root, nul], &format!("{PEOPLE}encoding x y\n"), "\ndone\n");
    let refs = Refs::from([(b"refs/heads/main".to_vec(), tip)]);
    assert_carried(&[workshop.path()], &main_of(tip), &refs);
}

#[test]
fn trees_that_git_would_make_otherwise_are_refused_with_their_directory() {
    let workshop = Workshop::new();
    let (blob, null) = (workshop.blob("x"), Sha1Git::NULL);
    let empty = workshop.tree(&[]);
    let cases: [(&[Entry<'_>], &str); 12] = [
        (&[("100664", b"a", blob)], "100664"),
        (&[("040000", b"a", workshop.small_tree())], "040000"),
        (&[("100644", b"b", blob), ("100644", b"a", blob)], "out of order"),
        (&[("100644", b"a", blob), ("100644", b"a", blob)], "same name"),
        (&[("100644", b"a", blob), ("40000", b"a", workshop.small_tree())], "same name"),
        (&[("100644", b".git", blob)], ".git"),
        (&[("100644", b"..", blob)], "directory itself"),
        (&[("100644", b"", blob)], "empty"),
        (&[("100644", b"a/b", blob)], "slash"),
        (&[("120000", b".GitModules", blob)], ".gitmodules"),
        (&[("160000", b"a", null)], "null"),
        (&[("40000", b"a", empty)], "empty directory"),
    ];
    for (entries, word) in cases {
        let inner = workshop.tree(entries);
        let outer = workshop.tree(&[("40000", b"dir", inner)]);
        let first = workshop.commit(workshop.small_tree(), &[], PEOPLE, "fine\n");
        let commit = workshop.commit(outer, &[first], PEOPLE, "odd\n");
        let last = workshop.commit(workshop.small_tree(), &[commit], PEOPLE, "fine again\n");
        let message = refused(&[workshop.path()], &main_of(last));
        assert!(message.contains(&format!("commit {commit}")), "{message}");
        assert!(message.contains("directory \"dir/\"") && message.contains(word), "{message}");
    }
    // The empty tree itself is one that fast-import makes.
    let commit = workshop.commit(empty, &[], PEOPLE, "");
    assert_carried(&[workshop.path()], &main_of(commit), &Refs::from([(b"refs/heads/main".to_vec(), commit)]));
}

#[test]
fn a_path_of_4095_bytes_is_carried_and_a_longer_one_refused() {
    let workshop = Workshop::new();
    let nested = |depth: usize, name: &str| {
        let leaf = workshop.tree(&[("100644", name.as_bytes(), workshop.blob("x"))]);
        let tree = (0..depth).fold(leaf, |tree, _| workshop.tree(&[("40000", b"d", tree)]));
        workshop.commit(tree, &[], PEOPLE, "deep\n")
    };
    let commit = nested(2047, "a");
    assert_carried(&[workshop.path()], &main_of(commit), &Refs::from([(b"refs/heads/main".to_vec(), commit)]));
    assert!(refused(&[workshop.path()], &main_of(nested(2047, "ab"))).contains("4095 bytes"));
}

#[test]
fn tags_are_carried_as_far_as_git_has_a_ref_for_them() {
    let workshop = Workshop::new();
    let (tree, blob) = (workshop.small_tree(), workshop.blob("tagged\n"));
    let commit = workshop.commit(tree, &[], PEOPLE, "m\n");
    let tagger = "tagger T <t> 3 +0100\n\nmessage\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n";
    let inner = workshop.tag("v1", commit, ObjectType::Commit, tagger);
    let middle = workshop.tag("hidden", inner, ObjectType::Tag, "\n");
    let outer = workshop.tag("v1", middle, ObjectType::Tag, tagger);
    let of_blob = workshop.tag("blob", blob, ObjectType::Blob, "\nno tagger\0");
    let carried = [
        ("refs/heads/main", ObjectKind::Revision, commit),
        ("refs/tags/blob", ObjectKind::Release, of_blob),
        ("refs/tags/hidden", ObjectKind::Revision, commit),
        ("refs/tags/v1", ObjectKind::Release, outer),
    ];
    for from in 0..carried.len() {
        let refs: Refs = carried[from..].iter().map(|(name, _, id)| (name.as_bytes().to_vec(), *id)).collect();
        assert_carried(&[workshop.path()], &snapshot(&carried[from..]), &refs);
    }
    let of_tree = workshop.tag("tree", tree, ObjectType::Tree, tagger);
    let unnamed = workshop.tag("a b", commit, ObjectType::Commit, tagger);
    let of_unnamed = workshop.tag("named", unnamed, ObjectType::Tag, tagger);
    let ends = workshop.tag("ends", commit, ObjectType::Commit, "");
    let refused_ones = [
        ("refs/tags/other", ObjectKind::Release, inner, "v1"),
        ("refs/larder/v1", ObjectKind::Release, inner, "v1"),
        ("refs/tags/tree", ObjectKind::Release, of_tree, "tree"),
        ("refs/tags/tree", ObjectKind::Directory, tree, "tree"),
        ("refs/tags/blob", ObjectKind::Content, blob, "blob"),
        ("refs/tags/named", ObjectKind::Release, of_unnamed, "no ref"),
        ("refs/tags/ends", ObjectKind::Release, ends, "empty line"),
    ];
    for (name, kind, id, word) in refused_ones {
        let message = refused(&[workshop.path()], &snapshot(&[(name, kind, id)]));
        assert!(message.contains(word), "{name} {id}: {message}");
    }
    // A hidden tag whose name another one has by then.
    let first = workshop.tag("x", commit, ObjectType::Commit, "\nfirst");
    let hidden = workshop.tag("x", first, ObjectType::Tag, "\nhidden");
    let last = workshop.tag("y", hidden, ObjectType::Tag, "\nlast");
    let subject = snapshot(&[("refs/tags/x", ObjectKind::Release, first), ("refs/tags/y", ObjectKind::Release, last)]);
    assert!(refused(&[workshop.path()], &subject).contains(&hidden.to_string()));
}

#[test]
fn a_ref_inside_another_is_refused_as_git_refuses_it() {
    let workshop = Workshop::new();
    let commit = workshop.commit(workshop.small_tree(), &[], PEOPLE, "m\n");
    let naive = "commit refs/heads/a\nmark :1\ncommitter C <c> 2 +0000\ndata 0\n\nreset refs/heads/a/b\nfrom :1\n\n";
    assert!(imported(naive.as_bytes()).is_err());
    let subject =
        snapshot(&[("refs/heads/a", ObjectKind::Revision, commit), ("refs/heads/a/b", ObjectKind::Revision, commit)]);
    let message = refused(&[workshop.path()], &subject);
    assert!(message.contains("refs/heads/a/b") && message.contains("refs/heads/a is one too"), "{message}");
}

#[test]
fn no_refs_are_a_stream_of_nothing() {
    let workshop = Workshop::new();
    let bundle = assert_carried(&[workshop.path()], &snapshot(&[]), &Refs::new());
    assert_eq!(super::workshop::stream(&bundle), b"feature done\ndone\n");
}
