//! Which refs a snapshot, a release and a revision have, and what is said of what has none.

use super::*;

fn id(byte: u8) -> Sha1Git {
    Sha1Git::from_bytes([byte; 20])
}

fn revision(byte: u8) -> Target {
    Target::Object(ObjectKind::Revision, id(byte))
}

fn alias(name: &str) -> Target {
    Target::Alias(name.as_bytes().to_vec())
}

fn of(branches: &[(&str, Target)]) -> Refs {
    let mut manifest = Manifest::default();
    for (name, target) in branches {
        assert!(manifest.insert(name.as_bytes(), target.clone()), "{name}");
    }
    of_snapshot(&manifest)
}

fn names(refs: &Refs) -> Vec<(String, u8)> {
    let text = |one: &Ref| (String::from_utf8(one.name.clone()).unwrap(), one.target.as_bytes()[0]);
    refs.list.iter().map(text).collect()
}

fn pairs(expected: &[(&str, u8)]) -> Vec<(String, u8)> {
    expected.iter().map(|(name, byte)| ((*name).to_owned(), *byte)).collect()
}

fn said(refs: &Refs) -> Vec<String> {
    refs.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn branches_are_refs_and_aliases_are_what_they_lead_to() {
    let refs = of(&[
        ("HEAD", alias("refs/heads/main")),
        ("refs/heads/main", revision(1)),
        ("refs/heads/main/next", revision(2)),
        ("refs/remotes/origin/HEAD", alias("refs/other")),
        ("refs/other", alias("refs/heads/main/next")),
        ("refs/tags/v1", Target::Object(ObjectKind::Release, id(3))),
        ("refs/tags/tree", Target::Object(ObjectKind::Directory, id(4))),
        ("refs/tags/blob", Target::Object(ObjectKind::Content, id(5))),
    ]);
    assert_eq!(refs.head, Some(Head::Symbolic(b"refs/heads/main".to_vec())));
    assert_eq!(refs.head_target(), Some(id(1)));
    let expected = [
        ("refs/heads/main", 1),
        ("refs/heads/main/next", 2),
        ("refs/other", 2),
        ("refs/remotes/origin/HEAD", 2),
        ("refs/tags/blob", 5),
        ("refs/tags/tree", 4),
        ("refs/tags/v1", 3),
    ];
    assert_eq!(names(&refs), pairs(&expected));
    assert_eq!(refs.left_out, []);
}

#[test]
fn names_that_git_refuses_are_left_out_and_said() {
    let refs = of(&[
        ("../../x", revision(1)),
        ("refs/heads/..", revision(2)),
        ("refs/heads/a\nb", revision(3)),
        ("refs/heads/a.lock", alias("nowhere")),
        ("refs/heads/fine", revision(4)),
    ]);
    assert_eq!(names(&refs), pairs(&[("refs/heads/fine", 4)]));
    let reason = "left out: git takes no such name";
    assert_eq!(
        said(&refs),
        ["../../x", "refs/heads/..", r"refs/heads/a\nb", "refs/heads/a.lock"]
            .map(|name| format!("\"{name}\" {reason}"))
    );
}

#[test]
fn what_leads_nowhere_is_left_out_and_said() {
    let refs = of(&[
        ("refs/heads/a", alias("refs/heads/b")),
        ("refs/heads/b", alias("refs/heads/a")),
        ("refs/heads/c", alias("refs/heads/c")),
        ("refs/heads/d", alias("refs/heads/none")),
        ("refs/heads/e", Target::Dangling),
        ("refs/heads/f", alias("refs/heads/e")),
        ("refs/heads/s", Target::Object(ObjectKind::Snapshot, id(1))),
    ]);
    assert_eq!(refs.list, []);
    assert_eq!(refs.left_out.len(), 7);
    assert!(said(&refs)[0].contains("leads back to itself"), "{:?}", said(&refs));
}

#[test]
fn what_is_outside_refs_is_kept_under_larder_and_takes_no_name_of_another() {
    let refs = of(&[
        ("HEAD", alias("main")),
        ("main", revision(1)),
        ("refs/larder/main", revision(2)),
        ("refs/larder/main-1", revision(3)),
        ("stash/x", revision(4)),
        ("refs/heads/tag", Target::Object(ObjectKind::Release, id(5))),
        ("heads/tag", revision(6)),
    ]);
    let expected = [
        ("refs/larder/heads/tag", 5),
        ("refs/larder/heads/tag-1", 6),
        ("refs/larder/main", 2),
        ("refs/larder/main-1", 3),
        ("refs/larder/main-2", 1),
        ("refs/larder/stash/x", 4),
    ];
    assert_eq!(names(&refs), pairs(&expected));
    assert_eq!(refs.head, Some(Head::Symbolic(b"refs/larder/main-2".to_vec())));
    assert_eq!(
        said(&refs),
        [
            r#""heads/tag" kept as refs/larder/heads/tag-1: another ref has the name it would have"#,
            r#""main" kept as refs/larder/main-2: another ref has the name it would have"#,
            r#""refs/heads/tag" kept as refs/larder/heads/tag: git takes nothing but commits below refs/heads/"#,
        ]
    );
}

#[test]
fn head_leads_to_a_branch_to_a_commit_or_is_left_out() {
    let tag = Target::Object(ObjectKind::Release, id(1));
    let cases = [
        (Some(revision(1)), Some(Head::Detached(id(1)))),
        (Some(alias("refs/heads/none")), Some(Head::Symbolic(b"refs/heads/none".to_vec()))),
        (Some(alias("refs/heads/gone")), Some(Head::Symbolic(b"refs/heads/gone".to_vec()))),
        (Some(alias("refs/../x")), None),
        (Some(alias("HEAD")), None),
        (Some(alias("refs/tags/v1")), None),
        (Some(Target::Dangling), None),
        (Some(tag.clone()), None),
        (None, None),
    ];
    for (target, head) in cases {
        let mut branches = vec![("refs/heads/gone", Target::Dangling), ("refs/tags/v1", tag.clone())];
        branches.extend(target.clone().map(|target| ("HEAD", target)));
        let refs = of(&branches);
        assert_eq!(refs.head, head, "{target:?}");
        let is_said = refs.left_out.iter().any(|left| left.name == b"HEAD");
        assert_eq!(is_said, target.is_some() && head.is_none(), "{target:?}");
    }
}

#[test]
fn the_commit_made_for_a_directory_is_fixed() {
    let empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
    let made = of_directory(&empty).unwrap().made.unwrap();
    assert_eq!(
        String::from_utf8(made.content).unwrap(),
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
         author larder <larder@localhost> 318211200 +0000\n\
         committer larder <larder@localhost> 318211200 +0000\n\n\
         swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
    );
}
