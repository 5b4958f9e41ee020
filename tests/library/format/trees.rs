//! Trees to cook: made by chance, and one that has everything.

use super::memory::{Entry, Memory};
use larder::key::Sha1Git;
use proptest::prelude::*;

/// A tree to be.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    File(&'static str, Vec<u8>),
    Repeated(&'static str, usize, u8),
    Link(Vec<u8>),
    Gitlink([u8; 20]),
    Folder(&'static str, Vec<(Vec<u8>, Plan)>),
}

impl Plan {
    /// Puts it into `archive`: its mode and id.
    pub(crate) fn put(&self, archive: &mut Memory) -> (&'static str, Sha1Git) {
        match self {
            Self::File(mode, content) => (mode, archive.blob(content)),
            Self::Repeated(mode, size, byte) => (mode, archive.blob(&vec![*byte; *size])),
            Self::Link(target) => ("120000", archive.blob(target)),
            Self::Gitlink(id) => ("160000", Sha1Git::from_bytes(*id)),
            Self::Folder(mode, children) => {
                let mut entries: Vec<Entry> = Vec::new();
                for (name, plan) in children {
                    // Names that git could not have side by side, whatever their kinds, are dropped.
                    let taken = entries.iter().any(|(_, other, _)| other == name);
                    if !taken {
                        let (mode, id) = plan.put(archive);
                        entries.push((mode, name.clone(), id));
                    }
                }
                (mode, archive.tree(entries))
            }
        }
    }
}

/// A root directory by chance.
pub(crate) fn any_root() -> impl Strategy<Value = Plan> {
    prop::collection::vec((any_name(), any_plan()), 0..10).prop_map(|children| Plan::Folder("40000", children))
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let mode = prop::sample::select(vec!["100644", "100755", "100664", "100600", "0100644", "100744"]);
    let sizes = prop::sample::select(vec![0, 1, 511, 512, 513, 100_000, 261_631, 261_632, 262_143, 262_144, 1_048_063]);
    let big = prop::sample::select(vec![1_048_064, 1_048_065, 1_048_576, 2_096_640, 2_100_000]);
    let leaf = prop_oneof![
        6 => (mode.clone(), prop::collection::vec(any::<u8>(), 0..2000)).prop_map(|(m, c)| Plan::File(m, c)),
        3 => (mode.clone(), sizes, any::<u8>()).prop_map(|(m, s, b)| Plan::Repeated(m, s, b)),
        1 => (mode, big, any::<u8>()).prop_map(|(m, s, b)| Plan::Repeated(m, s, b)),
        // No newline: the `tar` crate takes it for the end of a pax record whatever its length.
        2 => prop::collection::vec(11..=255_u8, 1..130).prop_map(Plan::Link),
        1 => any::<[u8; 20]>().prop_map(|mut id| { id[0] |= 1; Plan::Gitlink(id) }),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let mode = prop::sample::select(vec!["40000", "40000", "40000", "040000", "40755"]);
        (mode, prop::collection::vec((any_name(), inner), 0..6))
            .prop_map(|(mode, children)| Plan::Folder(mode, children))
    })
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    // Letters first, so that none is a form of `.git`.
    prop_oneof![
        4 => "[a-f]{1,3}".prop_map(String::into_bytes),
        2 => "z[a-z.-]{0,20}".prop_map(String::into_bytes),
        1 => "é[é/ ]{0,1}x{0,120}".prop_map(|name| name.replace('/', "_").into_bytes()),
        1 => prop::collection::vec(128..=255_u8, 1..140).prop_map(|mut name| { name.insert(0, b'y'); name }),
    ]
}

/// One of everything: names and targets of every length class, every kind and mode, sizes at every
/// bound.
pub(crate) fn everything() -> Plan {
    let file = |content: &[u8]| Plan::File("100644", content.to_vec());
    let mut children: Vec<(Vec<u8>, Plan)> = vec![
        (b"README".to_vec(), file(b"read me\n")),
        (b"run".to_vec(), Plan::File("100755", b"#!/bin/sh\n".to_vec())),
        (b"old".to_vec(), Plan::File("100664", b"old mode\n".to_vec())),
        (b"empty".to_vec(), file(b"")),
        (b"link".to_vec(), Plan::Link(b"README".to_vec())),
        (b"far".to_vec(), Plan::Link(b"d/".repeat(200))),
        (b"odd\xffname".to_vec(), file(b"x")),
        ([&[b'l'; 120][..], b"\nbreak"].concat(), Plan::Link(b"1 x=\n".repeat(40))),
        (b"oddlink".to_vec(), Plan::Link([&[0xfe; 101][..], b"/x"].concat())),
        (b"module".to_vec(), Plan::Gitlink([9; 20])),
        (b"void".to_vec(), Plan::Folder("40000", vec![])),
        (b"legacy".to_vec(), Plan::Folder("040000", vec![(b"in".to_vec(), file(b"in"))])),
    ];
    for (byte, size) in (b'A'..).zip([262_143, 262_144, 1_048_064, 1_048_065, 3_000_000]) {
        children.push((format!("size{size}").into_bytes(), Plan::Repeated("100644", size, byte)));
    }
    for length in [92, 93, 94, 100, 101, 255] {
        children.push((vec![b'n'; length], file(b"long")));
        children.push((vec![0xe9; length], file(b"long")));
        children.push((vec![b'g'; length], Plan::Gitlink([7; 20])));
        let inner = vec![(vec![b'i'; length], file(b"deep")), (b"e".to_vec(), Plan::Folder("40000", vec![]))];
        children.push((vec![b'd'; length], Plan::Folder("40000", inner)));
    }
    let mut many = Vec::new();
    for index in 0..400_usize {
        let content = format!("line {index}\n").repeat(1 + index * 7 % 300);
        many.push((format!("file{index:03}").into_bytes(), file(content.as_bytes())));
    }
    children.push((b"many".to_vec(), Plan::Folder("40000", many)));
    Plan::Folder("40000", children)
}
