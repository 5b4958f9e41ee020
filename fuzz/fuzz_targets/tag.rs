//! The first lines of tags and commits.
#![no_main]

use larder::archive::object::{commit_tree, tag_target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((id, object_type)) = tag_target(bytes) {
        let head = format!("object {id}\ntype {object_type}\ntag ");
        assert!(bytes.starts_with(head.as_bytes()));
    }
    if let Ok(id) = commit_tree(bytes) {
        assert!(bytes.starts_with(format!("tree {id}\n").as_bytes()));
    }
});
