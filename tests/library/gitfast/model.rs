//! Histories made at random: what git imports has their ids.

use super::workshop::{PEOPLE, Refs, Workshop, assert_carried, snapshot};
use larder::archive::ObjectType;
use larder::key::{ObjectKind, Sha1Git};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Paths and what stands there.
type Paths = BTreeMap<Vec<u8>, (&'static str, u8)>;

const NAMES: [&[u8]; 10] =
    [b"a", b"a.b", b"a-", b"a0", b"b", b"\"q", b"sp ace ", b"\xff\xc3\xa9", b"n\nl\\", b"gitmodules"];
const MODES: [&str; 4] = ["100644", "100755", "120000", "160000"];

/// A path by its names, and the mode and the content that it gets, if it is not removed.
type Edit = (Vec<usize>, Option<(usize, u8)>);

#[derive(Clone, Debug)]
struct Step {
    /// How far back its parents are, at most so many.
    parents: Vec<usize>,
    edits: Vec<Edit>,
    branch: bool,
    tag: bool,
    /// Its people and further headers.
    headers: String,
}

fn any_step() -> impl Strategy<Value = Step> {
    let path = prop::collection::vec(0..NAMES.len(), 1..4);
    let edit = (path, prop::option::weighted(0.7, (0..MODES.len(), 0..20_u8)));
    let parents = prop::collection::vec(1..5_usize, 0..4);
    let odd = prop::bool::weighted(0.03);
    (parents, prop::collection::vec(edit, 0..6), any::<bool>(), any::<bool>(), odd, odd).prop_map(
        |(parents, edits, branch, tag, signed, odd_zone)| {
            let people = if odd_zone { PEOPLE.replace("-0130", "-051800") } else { PEOPLE.to_owned() };
            let headers = people + if signed { "gpgsig -----BEGIN SSH SIGNATURE-----\n x\n" } else { "" };
            Step { parents, edits, branch, tag, headers }
        },
    )
}

/// Sets or removes a path, a directory too; what stands in the way goes.
fn edit(paths: &mut Paths, path: &[usize], to: Option<(usize, u8)>) {
    let name = path.iter().map(|&name| NAMES[name]).collect::<Vec<_>>().join(&b'/');
    let below = |other: &[u8], above: &[u8]| other.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"));
    paths.retain(|other, _| *other != name && !below(other, &name));
    if let Some((mode, content)) = to {
        paths.retain(|other, _| !below(&name, other));
        paths.insert(name, (MODES[mode], content));
    }
}

fn tree(workshop: &Workshop, paths: &Paths) -> Sha1Git {
    let mut folders: BTreeMap<Vec<u8>, Paths> = BTreeMap::new();
    // By git's order: a directory's name ends in a slash.
    let mut entries: BTreeMap<Vec<u8>, (&str, Sha1Git)> = BTreeMap::new();
    for (path, &(mode, content)) in paths {
        if let Some(slash) = path.iter().position(|byte| *byte == b'/') {
            let folder = folders.entry(path[..slash].to_vec()).or_default();
            folder.insert(path[slash + 1..].to_vec(), (mode, content));
        } else {
            let id = match mode {
                "160000" => Sha1Git::from_bytes([content + 1; 20]),
                _ => workshop.blob(&format!("content {content}\n")),
            };
            entries.insert(path.clone(), (mode, id));
        }
    }
    for (name, below) in folders {
        entries.insert([&name[..], b"/"].concat(), ("40000", tree(workshop, &below)));
    }
    let entries: Vec<_> =
        entries.iter().map(|(name, (mode, id))| (*mode, name.strip_suffix(b"/").unwrap_or(name), *id)).collect();
    workshop.tree(&entries)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_out_of_git_with_its_ids(steps in prop::collection::vec(any_step(), 1..14)) {
        let workshop = Workshop::new();
        let mut commits: Vec<(Sha1Git, Paths)> = Vec::new();
        let mut refs = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let parents: Vec<_> = step.parents.iter().filter_map(|back| commits.len().checked_sub(*back)).collect();
            let mut paths = parents.first().map(|at| commits[*at].1.clone()).unwrap_or_default();
            for (path, to) in &step.edits {
                edit(&mut paths, path, *to);
            }
            let parents: Vec<_> = parents.iter().map(|at| commits[*at].0).collect();
            let id = workshop.commit(tree(&workshop, &paths), &parents, &step.headers, &format!("commit {number}"));
            if step.branch || number + 1 == steps.len() {
                refs.push((format!("refs/heads/{number}"), ObjectKind::Revision, id));
            }
            if step.tag {
                let name = format!("t{number}");
                let tag = workshop.tag(&name, id, ObjectType::Commit, "\na tag");
                refs.push((format!("refs/tags/{name}"), ObjectKind::Release, tag));
            }
            commits.push((id, paths));
        }
        let named: Vec<_> = refs.iter().map(|(name, kind, id)| (name.as_str(), *kind, *id)).collect();
        let expected: Refs = refs.iter().map(|(name, _, id)| (name.clone().into_bytes(), *id)).collect();
        assert_carried(&[workshop.path()], &snapshot(&named), &expected);
    }
}
