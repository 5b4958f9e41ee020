//! A repository of files that hardly compress, for what takes its time: cooks, downloads.

use super::process::Start as _;
use super::{git, git_command, git_line};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// What lies in the files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Bytes by chance: a bundle is as large as they are.
    Bytes,
    /// Letters by chance: a bundle is half as large, and slow to cook.
    Letters,
}

/// Makes `name` in `folder`, a bare repository of one commit with so many files of so many bytes;
/// gives the ids of the commit and of its directory.
pub(crate) fn repository(
    folder: &Path,
    name: &str,
    (files, size): (usize, usize),
    contents: Contents,
) -> (String, String) {
    git(&["init", "-q", "--bare", name], folder);
    let repository = folder.join(name);
    let mut import = git_command(&repository).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).start().unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(b"commit refs/heads/main\ncommitter x <x@example.org> 0 +0000\ndata 0\n").unwrap();
    let mut state = 7_u64;
    for file in 0..files {
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if contents == Contents::Bytes { (state >> 56) as u8 } else { b'a' + (state >> 60) as u8 }
        };
        let bytes: Vec<u8> = (0..size).map(|_| random()).collect();
        input.write_all(format!("M 100644 inline f{file}\ndata {size}\n").as_bytes()).unwrap();
        input.write_all(&bytes).unwrap();
        input.write_all(b"\n").unwrap();
    }
    drop(input);
    assert!(import.wait().unwrap().success());
    (git_line(&["rev-parse", "main"], &repository), git_line(&["rev-parse", "main^{tree}"], &repository))
}
