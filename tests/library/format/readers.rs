//! What others read in the bundles.

use super::memory::Memory;
use super::tar_of;
use super::trees::{Plan, any_root};
use larder::cook::Root;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Read;

/// Path -> type byte, mode, content or target.
type Listing = BTreeMap<Vec<u8>, (u8, u32, Vec<u8>)>;

fn expected(plan: &Plan, path: Vec<u8>, listing: &mut Listing) {
    let file_mode = |mode: &str| if mode.ends_with("755") || mode.ends_with("744") { 0o755 } else { 0o644 };
    match plan {
        Plan::File(mode, content) => listing.insert(path, (b'0', file_mode(mode), content.clone())),
        Plan::Repeated(mode, size, byte) => listing.insert(path, (b'0', file_mode(mode), vec![*byte; *size])),
        Plan::Link(target) => listing.insert(path, (b'2', 0o777, target.clone())),
        Plan::Gitlink(_) => listing.insert([&path[..], b"/"].concat(), (b'5', 0o755, vec![])),
        Plan::Folder(_, children) => {
            let path = [&path[..], b"/"].concat();
            listing.insert(path.clone(), (b'5', 0o755, vec![]));
            let mut seen = Vec::new();
            for (name, child) in children {
                if !seen.contains(name) {
                    seen.push(name.clone());
                    expected(child, [&path[..], name].concat(), listing);
                }
            }
            None
        }
    };
}

fn read_back(tar: &[u8]) -> Listing {
    let mut archive = tar::Archive::new(tar);
    let mut listing = Listing::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 318_211_200));
        let (kind, mode) = (header.entry_type().as_byte(), header.mode().unwrap());
        let mut content = Vec::new();
        if kind == b'2' {
            content = entry.link_name_bytes().unwrap().into_owned();
            // The crate leaves this record to who asks.
            for record in entry.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap) {
                if record.key_bytes() == b"linkpath" {
                    content = record.value_bytes().to_vec();
                }
            }
        } else {
            entry.read_to_end(&mut content).unwrap();
        }
        assert!(listing.insert(path, (kind, mode, content)).is_none());
    }
    listing
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn another_implementation_reads_what_the_tree_says(plan in any_root()) {
        let mut archive = Memory::default();
        let (_, root) = plan.put(&mut archive);
        let mut listing = Listing::new();
        expected(&plan, b"source".to_vec(), &mut listing);
        let read = read_back(&tar_of(&archive, Root::Directory(root)));
        for ((path, member), (read_path, read_member)) in listing.iter().zip(&read) {
            prop_assert_eq!(path.escape_ascii().to_string(), read_path.escape_ascii().to_string());
            prop_assert_eq!((member.0, member.1, member.2.len()), (read_member.0, read_member.1, read_member.2.len()));
            prop_assert!(member.2 == read_member.2);
        }
        prop_assert_eq!(listing.len(), read.len());
    }
}
