//! The checks of a flat tree, with `git fsck` as the judge of names, order and duplicates.

use super::super::tree_entries;
use super::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Messages of `git fsck` that are a reason to refuse a tree.
const REFUSED: [&str; 8] =
    ["nullSha1", "fullPathname", "emptyName", "hasDot", "hasDotdot", "hasDotgit", "duplicateEntries", "treeNotSorted"];

/// Names in UTF-8; each is judged alone in a tree.
const NAMES: &[&str] = &[
    "a",
    ".",
    "..",
    "...",
    ". ",
    ".a",
    "a/b",
    "/",
    "a/",
    "/a",
    "../a",
    ".git",
    ".GIT",
    ".Git",
    ".giT",
    ".git ",
    ".git.",
    ".git..",
    ".git . .",
    ".git.a",
    ".gita",
    ".git:",
    ".git:a",
    ".git::$INDEX_ALLOCATION",
    ".git :x",
    ".git a",
    " .git",
    "..git",
    "git",
    "GIT~1",
    "git~1",
    "Git~1 ",
    "git~1.",
    "git~1:",
    "git~1:x",
    "git~1a",
    "git~2",
    "git~10",
    "git~",
    "gi~1",
    ".gi",
    ".g",
    ".git\\",
    ".git\\a",
    "\\.git",
    "a\\.git",
    "a\\.git\\b",
    "a\\git~1",
    "a\\b\\.GIT ",
    "a\\.gita",
    "a\\",
    "\\",
    "a\\ .git",
    "a\\.git:x",
    "..\\.git",
    "a\\..",
    "..\\a",
    ".git\\..",
    ".gitmodules",
    ".gitattributes",
    ".gitignore",
    ".git\u{200c}",
    ".g\u{200d}it",
    "\u{200e}.git",
    ".gi\u{200f}t",
    ".g\u{202a}it",
    ".g\u{202b}it",
    ".g\u{202c}it",
    ".g\u{202d}it",
    ".g\u{202e}it",
    ".g\u{202f}it",
    ".g\u{206a}it",
    ".g\u{206b}it",
    ".g\u{206c}IT",
    ".g\u{206d}it",
    ".g\u{206e}it",
    ".g\u{206f}it",
    ".g\u{2070}it",
    ".g\u{feff}it",
    "\u{feff}.git",
    ".git\u{feff}",
    ".g\u{200b}it",
    ".g\u{2069}it",
    ".gît",
    ".ｇit",
    ".g\u{200c}i\u{200c}t\u{200c}",
    ".git\u{200c}a",
    ".git\u{200c} ",
    "git\u{200c}~1",
    ".\u{200c}",
    "\u{200c}..",
    "\u{200c}.\u{200c}g\u{200c}I\u{200c}T",
    "a\\.g\u{200c}it",
    ".g\u{200c}it:",
    "con",
    "aux.c",
    "a:b",
    "a b",
    "\t",
    "a\nb",
    "COM1",
    ".gitx\\.git",
    "-",
    "~",
    "\u{7f}",
];

/// Names that are not UTF-8, or at its edges.
const BYTE_NAMES: &[&[u8]] = &[
    b".git\xff",
    b"\xff.git",
    b".g\xffit",
    b".git\xe2\x80",
    b".git\xe2\x80\x8c\xff",
    b".g\xe2\x80it",
    b".git\xc0\x80",
    b".git\xed\xa0\x80",
    b".git\xf5\x80\x80\x80",
    b".git\xef\xbf\xbe",
    b".git\xef\xbf\xbf",
    b".git\xef\xbf\xbd",
    b".g\xef\xbf\xbeit",
    b".git\xef\xb7\x90",
    b"\xe9",
    &[b'a'; 300],
];

fn entry(mode: &str, name: &[u8]) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", &[7; 20]].concat()
}

fn git(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(arguments)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null"), ("LC_ALL", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Compares our verdict on each tree with that of `git fsck` over all of them at once.
fn compare_with_fsck(trees: &[Vec<u8>]) {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--bare", "--object-format=sha1", "."], b"");
    let mut ids = Vec::new();
    for tree in trees {
        let id = git(dir.path(), &["hash-object", "--literally", "-w", "-t", "tree", "--stdin"], tree);
        ids.push(id.trim().to_owned());
    }
    let report = git(dir.path(), &["fsck", "--no-dangling"], b"");
    assert!(report.contains("hasDotgit") || report.contains("duplicateEntries"), "git fsck reports: {report}");
    for (tree, id) in trees.iter().zip(&ids) {
        let refused_by_git = report.lines().any(|line| {
            line.contains(&format!("in tree {id}:")) && REFUSED.iter().any(|word| line.contains(&format!(": {word}:")))
        });
        let entries: Vec<_> = tree_entries(tree).collect::<Result<_, _>>().unwrap();
        let ours = check_flat(&entries);
        assert_eq!(
            ours.is_err(),
            refused_by_git,
            "{:?}: {ours:?}, but git says\n{}",
            String::from_utf8_lossy(tree),
            report.lines().filter(|line| line.contains(id.as_str())).collect::<Vec<_>>().join("\n")
        );
    }
}

#[test]
fn names_are_refused_where_git_fsck_reports_them() {
    // An empty name is left out: git cannot decode such a tree at all.
    let trees: Vec<_> = NAMES
        .iter()
        .map(|name| name.as_bytes())
        .chain(BYTE_NAMES.iter().copied())
        .map(|name| entry("100644", name))
        .collect();
    assert!(trees.len() > 100);
    compare_with_fsck(&trees);
}

#[test]
fn order_and_duplicates_are_judged_as_git_fsck_does() {
    const FILE: &str = "100644";
    const DIR: &str = "40000";
    const LINK: &str = "160000";
    let cases: &[&[(&str, &str)]] = &[
        &[(FILE, "a"), (FILE, "a")],
        &[(DIR, "a"), (DIR, "a")],
        &[(FILE, "a"), (DIR, "a")],
        &[(DIR, "a"), (FILE, "a")],
        &[(FILE, "a"), (FILE, "a.b"), (DIR, "a")],
        &[(FILE, "a"), (FILE, "a-"), (FILE, "a.b"), (FILE, "a.c"), (DIR, "a")],
        &[(FILE, "a"), (DIR, "a-"), (FILE, "a.b"), (DIR, "a")],
        &[(FILE, "a"), (FILE, "a-"), (FILE, "a--"), (DIR, "a-"), (DIR, "a")],
        &[(FILE, "a"), (FILE, "a."), (FILE, "a.b"), (DIR, "a")],
        &[(LINK, "a"), (FILE, "a.b"), (DIR, "a")],
        &[(LINK, "a"), (LINK, "a")],
        &[(FILE, "a"), (FILE, "b"), (DIR, "c")],
        &[(FILE, "b"), (FILE, "a")],
        &[(FILE, "a.b"), (DIR, "a"), (FILE, "a0")],
        &[(DIR, "a"), (FILE, "a.b")],
        &[(FILE, "a0"), (DIR, "a")],
        &[(FILE, "a"), (FILE, "ab"), (DIR, "abc")],
        &[(FILE, "a"), (DIR, "ab"), (FILE, "b")],
        &[(LINK, "a.b"), (LINK, "a0")],
        &[(LINK, "a"), (FILE, "a.b")],
        &[(DIR, "a-"), (DIR, "a"), (DIR, "a0")],
    ];
    let trees: Vec<Vec<u8>> =
        cases.iter().map(|case| case.iter().flat_map(|(mode, name)| entry(mode, name.as_bytes())).collect()).collect();
    compare_with_fsck(&trees);
}

#[test]
fn what_is_refused_says_which_entry_and_why() {
    let null = [&b"100644 a\0"[..], &[0; 20]].concat();
    let long = entry("100644", &[&b"x/"[..], &[b'y'; 500]].concat());
    for (tree, message) in [
        (entry("100644", b""), r#"entry "": its name is empty"#.to_owned()),
        (entry("100644", b"\xff/"), "entry \"\u{fffd}/\": its name has a slash".to_owned()),
        (entry("100644", b"\x1b[2J/"), r#"entry "\u{1b}[2J/": its name has a slash"#.to_owned()),
        (null, r#"entry "a": its id is null"#.to_owned()),
        (long, format!("entry \"x/{}\"...: its name has a slash", "y".repeat(118))),
    ] {
        let entries: Vec<_> = tree_entries(&tree).collect::<Result<_, _>>().unwrap();
        assert_eq!(check_flat(&entries).unwrap_err().to_string(), message);
    }
}
