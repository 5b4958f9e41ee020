//! What no checksum sees: bundles that are consistent to the last byte and lack an object, have one of
//! another type than what names it says, or refs and a HEAD that larder does not write.

use super::by_hand::{Made, Named, Pack, commit, id, revision, tag, tree};
use crate::common::git;
use larder::archive::{ObjectType, object};
use larder::cook::history::Head;
use larder::key::Sha1Git;
use larder::verify::{self, History, VerifyError};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const ABSENT: Sha1Git = Sha1Git::from_bytes([0x11; 20]);

/// The revision of [`revision`] with tags of everything, each needed by one other object or by a ref.
fn everything() -> Vec<Named> {
    let mut all = revision();
    let tip = id(all.last().unwrap());
    let mut add = |name, object_type, content: Vec<u8>| {
        all.push((name, object_type, content));
        id(all.last().unwrap())
    };
    let inner = add("inner tag", ObjectType::Tag, tag("inner", ObjectType::Commit, tip));
    add("outer tag", ObjectType::Tag, tag("v1", ObjectType::Tag, inner));
    let blob = add("tagged blob", ObjectType::Blob, b"tagged".to_vec());
    add("tag of a blob", ObjectType::Tag, tag("blob", ObjectType::Blob, blob));
    let inside = add("file of a tagged folder", ObjectType::Blob, b"inside".to_vec());
    let folder = add("tagged folder", ObjectType::Tree, tree(&[("100644", "inside", inside)]));
    add("tag of a folder", ObjectType::Tag, tag("tree", ObjectType::Tree, folder));
    all
}

fn named(objects: &[Named], name: &str) -> Sha1Git {
    id(objects.iter().find(|one| one.0 == name).unwrap())
}

/// A bundle of some of [`everything`], with the refs that all of it has.
fn made(objects: &[Named]) -> Made {
    let all = everything();
    let at = |name: &str| named(&all, name);
    let mut made = Made::of(objects, at("tip"));
    let tags = [
        ("refs/tags/blob", "tag of a blob", "tagged blob"),
        ("refs/tags/tree", "tag of a folder", "tagged folder"),
        ("refs/tags/v1", "outer tag", "tip"),
    ];
    for (name, tag, end) in tags {
        made.refs.push((name.to_owned(), at(tag)));
        // Of a tag that is not there nothing else would look wrong.
        if objects.iter().any(|one| one.0 == tag) {
            made.peeled.push((at(tag), at(end)));
        }
    }
    made
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What both readers say of it.
fn both(made: &Made) -> [Result<History, VerifyError>; 2] {
    let top = format!("swh_1_rev_{}", made.refs.first().map_or(ABSENT, |(_, id)| *id));
    [verify::git_bundle(&file(&made.bundle())), verify::git_tar(&file(&made.git_tar(&top)))]
}

/// Both readers refuse it, and say so.
fn refused(made: &Made, words: &[&str]) {
    for found in both(made) {
        let error = found.expect_err(&words.join(" ")).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
}

/// The exit code of `larder verify`.
fn code(name: &str, bytes: &[u8], swhid: &str) -> i32 {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut larder = Command::new(env!("CARGO_BIN_EXE_larder"));
    larder.arg("verify").arg(path).arg(swhid).env_remove("LARDER_CONFIG").env_remove("HOME");
    larder.output().unwrap().status.code().unwrap()
}

#[test]
fn a_bundle_made_by_hand_is_one_when_all_is_there() {
    let all = everything();
    for found in both(&made(&all)) {
        let found = found.unwrap();
        assert_eq!((found.objects, found.refs.len(), found.tags.len()), (all.len() as u64, 4, 4));
    }
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("x.bundle"), made(&all).bundle()).unwrap();
    git(&["clone", "-q", "--mirror", "x.bundle", "clone"], folder.path());
    git(&["fsck", "--full", "--strict"], &folder.path().join("clone"));
    let mut tar = made(&all).git_tar("x");
    tar.truncate(tar.len() - 1024);
    std::fs::write(folder.path().join("x.tar"), tar).unwrap();
    assert!(Command::new("tar").args(["-xf", "x.tar"]).current_dir(folder.path()).status().unwrap().success());
    assert_eq!(super::kit::objects(&folder.path().join("x.git")).len(), all.len());
}

#[test]
fn whatever_object_is_left_out_is_missed() {
    let all = everything();
    for (at, (name, ..)) in all.iter().enumerate() {
        let mut left = all.clone();
        let gone = id(&left.remove(at));
        refused(&made(&left), &[&gone.to_string(), "is missing"]);
        assert_eq!(all.iter().filter(|one| one.0 == *name).count(), 1);
    }
}

#[test]
fn what_lacks_an_object_has_the_exit_code_of_damage() {
    let all = revision();
    let tip = id(all.last().unwrap());
    let swhid = format!("swh:1:rev:{tip}");
    let top = format!("swh_1_rev_{tip}");
    let whole = Made::of(&all, tip);
    assert_eq!(code("x.bundle", &whole.bundle(), &swhid), 0);
    assert_eq!(code("x.git.tar", &whole.git_tar(&top), &swhid), 0);
    for at in 0..all.len() {
        let mut left = all.clone();
        let (name, ..) = left.remove(at);
        let made = Made::of(&left, tip);
        assert_eq!(code("x.bundle", &made.bundle(), &swhid), 5, "without {name}");
        assert_eq!(code("x.git.tar", &made.git_tar(&top), &swhid), 5, "without {name}");
    }
}

/// Whatever is there, each of these objects is named as something else than it is.
#[test]
fn an_object_of_another_type_than_what_names_it_says_is_refused() {
    let all = everything();
    let at = |name: &str| named(&all, name);
    let (blob, folder, tip, release) = (at("file"), at("old root"), at("tip"), at("inner tag"));
    let entry = |mode, id| (ObjectType::Tree, tree(&[(mode, "x", id)]));
    let cases = [
        (entry("40000", blob), "blob", "tree"),
        (entry("40000", tip), "commit", "tree"),
        (entry("100644", folder), "tree", "blob"),
        (entry("120000", folder), "tree", "blob"),
        (entry("100755", release), "tag", "blob"),
        ((ObjectType::Commit, commit(blob, &[])), "blob", "tree"),
        ((ObjectType::Commit, commit(tip, &[])), "commit", "tree"),
        ((ObjectType::Commit, commit(folder, &[tip, blob])), "blob", "commit"),
        ((ObjectType::Commit, commit(folder, &[release])), "tag", "commit"),
        ((ObjectType::Tag, tag("x", ObjectType::Tree, tip)), "commit", "tree"),
        ((ObjectType::Tag, tag("x", ObjectType::Commit, release)), "tag", "commit"),
        ((ObjectType::Tag, tag("x", ObjectType::Blob, folder)), "tree", "blob"),
        ((ObjectType::Tag, tag("x", ObjectType::Tag, blob)), "blob", "tag"),
    ];
    for ((object_type, content), is, said) in cases {
        let mut made = made(&all);
        made.pack.object(object_type, &content);
        // It may be named rightly by another object, before or after.
        for found in both(&made) {
            let error = found.unwrap_err().to_string();
            let alone = error.contains(&format!("is a {is}, and what names it says {said}"));
            let other = [format!("called a {is} and a {said}"), format!("called a {said} and a {is}")];
            assert!(alone || other.iter().any(|words| error.contains(words)), "{is} {said}: {error}");
        }
    }
}

#[test]
fn a_lie_about_a_type_is_seen_alone_and_before_and_after_the_truth() {
    let blob = (ObjectType::Blob, b"x".to_vec());
    let target = object::hash(blob.0, &blob.1).unwrap();
    let truth = (ObjectType::Tree, tree(&[("100644", "x", target)]));
    let lie = (ObjectType::Tree, tree(&[("40000", "x", target)]));
    let orders = [vec![&blob, &lie], vec![&blob, &truth, &lie], vec![&blob, &lie, &truth], vec![&lie, &truth, &blob]];
    for order in orders {
        let mut pack = Pack::new();
        let ids: Vec<_> = order.iter().map(|(object_type, content)| pack.object(*object_type, content)).collect();
        let refs = vec![("refs/trees/x".to_owned(), ids[1])];
        let made = Made { pack, refs, peeled: Vec::new(), head: "ref: refs/heads/main\n".to_owned(), head_id: None };
        refused(&made, &[&target.to_string(), "blob", "tree"]);
    }
}

#[test]
fn a_ref_leads_to_an_object_that_is_there_and_a_branch_to_a_commit() {
    let all = everything();
    let whole = made(&all);
    for (name, id, word) in [
        ("refs/heads/z", ABSENT, "is missing"),
        ("refs/z", ABSENT, "is missing"),
        ("refs/tags/z", ABSENT, "is missing"),
        ("refs/heads/z", named(&all, "root"), "is a tree"),
        ("refs/heads/z", named(&all, "file"), "is a blob"),
        ("refs/heads/z", named(&all, "outer tag"), "is a tag"),
    ] {
        let mut made = whole.clone();
        made.refs.insert(1, (name.to_owned(), id));
        made.refs.sort();
        refused(&made, &[&id.to_string(), word]);
    }
    let mut made = whole;
    made.refs.push(("refs/z".to_owned(), named(&all, "root")));
    for found in both(&made) {
        assert_eq!(found.unwrap().others.len(), 1);
    }
}

#[test]
fn names_that_git_refuses_and_refs_in_another_order_are_refused() {
    let all = everything();
    let tip = named(&all, "tip");
    let with = |names: &[&str]| {
        let refs = names.iter().map(|name| ((*name).to_owned(), tip)).collect();
        Made { refs, peeled: Vec::new(), head_id: None, ..made(&all) }
    };
    for name in
        ["refs/heads/..", "refs/heads/a b", "refs/heads/", "main", "refs/heads/a.lock", "refs/heads/\u{7f}", "refs"]
    {
        refused(&with(&[name]), &[]);
        refused(&with(&["refs/a", name]), &[]);
    }
    for names in [&["refs/a", "refs/a"][..], &["refs/b", "refs/a", "refs/c"], &["refs/a", "refs/c", "refs/a"]] {
        refused(&with(names), &[]);
    }
    // In a bundle the last is that of HEAD, and stands where it may.
    let [bundle, tar] = both(&with(&["refs/a", "refs/c", "refs/b"]));
    assert!(bundle.is_ok() && tar.is_err());
    let [bundle, tar] = both(&with(&["refs/a", "refs/b", "refs/c"]));
    assert!(bundle.is_ok() && tar.is_ok());
}

#[test]
fn what_tags_lead_to_is_said_of_tags_alone_and_rightly() {
    let all = everything();
    let (tip, outer, inner) = (named(&all, "tip"), named(&all, "outer tag"), named(&all, "inner tag"));
    let whole = made(&all);
    let without = whole.peeled.iter().filter(|(tag, _)| *tag != outer).copied().collect::<Vec<_>>();
    let and = |more: &[(Sha1Git, Sha1Git)]| [&without[..], more].concat();
    for peeled in
        [without.clone(), and(&[(outer, inner)]), and(&[(outer, tip), (outer, tip)]), and(&[(outer, tip), (tip, tip)])]
    {
        let made = Made { peeled, ..whole.clone() };
        assert!(verify::git_tar(&file(&made.git_tar(&format!("swh_1_rev_{tip}")))).is_err());
    }
}

#[test]
fn head_is_a_commit_that_is_there_or_a_name_that_git_takes() {
    let all = everything();
    let whole = made(&all);
    let tip = named(&all, "tip");
    let folder = named(&all, "root");
    for head_id in [ABSENT, folder, named(&all, "file"), named(&all, "outer tag")] {
        let made = Made { head_id: Some(head_id), ..whole.clone() };
        assert!(verify::git_bundle(&file(&made.bundle())).is_err(), "{head_id}");
    }
    let read = |head: String| {
        let made = Made { head, ..whole.clone() };
        verify::git_tar(&file(&made.git_tar(&format!("swh_1_rev_{tip}"))))
    };
    let refused = [
        String::new(),
        "\n".to_owned(),
        "ref: refs/heads/main".to_owned(),
        "ref:  refs/heads/main\n".to_owned(),
        "ref: refs/heads/..\n".to_owned(),
        "ref: elsewhere\n".to_owned(),
        "ref: refs/tags/v1\n".to_owned(),
        format!("{ABSENT}\n"),
        format!("{folder}\n"),
        format!("{}\n", named(&all, "outer tag")),
        format!("{tip}"),
        format!("{tip} \n"),
    ];
    for head in refused {
        assert!(read(head.clone()).is_err(), "{head:?}");
    }
    let main = b"refs/heads/main".to_vec();
    assert_eq!(read("ref: refs/heads/main\n".to_owned()).unwrap().head, Some(Head::Symbolic(main)));
    assert_eq!(read(format!("{tip}\n")).unwrap().head, Some(Head::Detached(tip)));
    let unborn = b"refs/heads/unborn".to_vec();
    assert_eq!(read("ref: refs/heads/unborn\n".to_owned()).unwrap().head, Some(Head::Symbolic(unborn)));
}

/// Where an object has no HEAD there is one of larder's in a `git.tar`, and no other.
#[test]
fn a_head_at_an_unborn_branch_is_the_one_that_larder_writes() {
    let blob: Named = ("inside", ObjectType::Blob, b"inside".to_vec());
    let folder: Named = ("folder", ObjectType::Tree, tree(&[("100644", "inside", id(&blob))]));
    let release: Named = ("release", ObjectType::Tag, tag("v1", ObjectType::Tree, id(&folder)));
    let (end, of) = (id(&folder), id(&release));
    let mut made = Made::of(&[blob, folder, release], of);
    (made.refs, made.peeled) = (vec![("refs/tags/v1".to_owned(), of)], vec![(of, end)]);
    for (head, expected) in [("refs/heads/main", 0), ("refs/heads/other", 4), ("refs/heads/master", 4)] {
        made.head = format!("ref: {head}\n");
        let tar = made.git_tar(&format!("swh_1_rel_{of}"));
        assert_eq!(code("x.git.tar", &tar, &format!("swh:1:rel:{of}")), expected, "{head}");
    }
}

#[test]
fn a_pack_says_what_is_in_it_once_and_ends_there() {
    let all = revision();
    let tip = id(all.last().unwrap());
    let whole = Made::of(&all, tip);
    let mut twice = whole.clone();
    twice.pack.object(all[0].1, &all[0].2);
    refused(&twice, &["stands in the pack twice"]);
    let mut by_id = whole.clone();
    let made_of = object::hash(ObjectType::Blob, b"fil").unwrap();
    by_id.pack.add(made_of, 7, id(&all[0]).as_bytes(), 4, &[4, 3, 0x90, 3]);
    refused(&by_id, &["names its base by id"]);
    let mut by_distance = whole.clone();
    let distance = by_distance.pack.distance(12);
    by_distance.pack.add(made_of, 6, &distance, 4, &[4, 3, 0x90, 3]);
    for found in both(&by_distance) {
        assert_eq!(found.unwrap().objects, all.len() as u64 + 1);
    }
    let bundle = whole.bundle();
    let start = bundle.windows(4).position(|word| word == b"PACK").unwrap();
    for length in 0..40 {
        let error = verify::git_bundle(&file(&bundle[..start + length])).unwrap_err();
        assert!(matches!(error, VerifyError::Git { .. }), "{length}: {error}");
    }
}

/// Git is asked whether the kit makes what it says it makes.
#[test]
fn git_misses_what_is_left_out_too() {
    let all = revision();
    let tip = id(all.last().unwrap());
    let fetched = |objects: &[Named]| {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("x.bundle"), Made::of(objects, tip).bundle()).unwrap();
        git(&["init", "-q", "--bare", "new"], folder.path());
        let mut fetch = crate::common::git_command(&folder.path().join("new"));
        fetch.args(["-c", "fetch.fsckObjects=false", "fetch", "-q"]).arg(Path::new("../x.bundle")).arg("main:main");
        fetch.output().unwrap().status.success()
    };
    assert!(fetched(&all));
    for at in 0..all.len() {
        let mut left = all.clone();
        left.remove(at);
        assert!(!fetched(&left), "without {}", all[at].0);
    }
}
