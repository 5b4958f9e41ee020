//! Names and kinds that are hard on programs that read zips: which of them get which right, as
//! `docs/format.md` says, section 7. Whoever changes one of these tables changes that page.

use super::bundle;
use super::memory::Memory;
use larder::cook::Root;
use larder::key::{Format, Sha1Git};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const UNZIP: &str = "unzip -qq -^ \"$1\"";
const SEVEN_ZIP: &str = "7z x -y -bso0 \"$1\"";
const BSDTAR: &str = "bsdtar -xf \"$1\"";
const PYTHON: &str = "python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall()' \"$1\"";
/// `tests/install` fetches a JDK for the long run only.
const JAVA: &str = concat!("java -Dfile.encoding=UTF-8 ", env!("CARGO_MANIFEST_DIR"), "/tests/Unzip.java \"$1\"");

/// All programs but Java.
const PROGRAMS: [&str; 4] = [UNZIP, SEVEN_ZIP, BSDTAR, PYTHON];

/// The zip of files of these names, and the folder it lies in.
fn zipped(names: &[&[u8]]) -> TempDir {
    let mut archive = Memory::default();
    let file = archive.blob(b"content");
    let root = archive.tree(names.iter().map(|name| ("100644", name.to_vec(), file)).collect());
    written(&archive, root)
}

fn written(archive: &Memory, root: Sha1Git) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (zip, _) = bundle(archive, Root::Directory(root), Format::Zip, 1).unwrap();
    fs::write(folder.path().join("x.zip"), zip).unwrap();
    folder
}

/// What `program` makes of the zip in a folder: whether it says that all is well, and the files.
fn extracted(folder: &Path, program: &str) -> (bool, Vec<String>) {
    let out = folder.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    let mut command = Command::new("bash");
    command.args(["-ec", program, "-"]).arg(folder.join("x.zip")).current_dir(&out).env("LC_ALL", "C.UTF-8");
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let find = ["source", "!", "-type", "d", "-printf", "%P\\0"];
    let found = Command::new("find").args(find).current_dir(&out).output().unwrap().stdout;
    let mut found: Vec<_> = found.split(|byte| *byte == 0).map(escaped).collect();
    found.retain(|name| !name.is_empty());
    found.sort();
    (ran.status.success() && ran.stderr.is_empty(), found)
}

fn escaped(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

fn sorted(names: &[&[u8]]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|name| escaped(name)).collect();
    names.sort();
    names
}

/// A test of Java costs seconds for each zip, and it need not be there.
fn java_is_asked() -> bool {
    std::env::var_os("LARDER_TEST_LONG").is_some() && Command::new("javac").arg("-version").output().is_ok()
}

#[test]
fn every_program_takes_names_in_utf_8_as_they_are() {
    let (longest, letters) = ([b'n'; 255], "\u{e9}".repeat(127));
    let names: [&[u8]; 31] = [
        "caf\u{e9}".as_bytes(),
        b"a\nb",
        b"a\x1b[31mb\x01\x7f",
        b"a\tb",
        b"a\\b",
        b"a\\",
        b"-rf",
        b"--help",
        &longest,
        letters.as_bytes(),
        b"NAME",
        b"Name",
        b"name",
        b"x.",
        b"y ",
        b" z",
        b"c:x",
        b"CON",
        b"aux.txt",
        b"*",
        b"?",
        b"[a]",
        b"<>|",
        b"\"",
        b"...",
        b"..x",
        b"%2e%2e",
        "\u{202e}gnp.exe".as_bytes(),
        "\u{ff0f}s".as_bytes(),
        "\u{1f980}".as_bytes(),
        b"'",
    ];
    let folder = zipped(&names);
    let java = java_is_asked().then_some(JAVA);
    for program in PROGRAMS.into_iter().chain(java) {
        assert_eq!(extracted(folder.path(), program), (true, sorted(&names)), "{program}");
    }
}

#[test]
fn names_that_are_not_utf_8_come_out_of_the_programs_that_take_bytes() {
    let names: [&[u8]; 3] = [b"caf\xe9", b"\x80\xff", b"\xed\xa0\x80"];
    let folder = zipped(&names);
    for program in [UNZIP, SEVEN_ZIP, BSDTAR] {
        assert_eq!(extracted(folder.path(), program), (true, sorted(&names)), "{program}");
    }
    let page_437 = ["caf\u{398}", "\u{c7}\u{a0}", "\u{3c6}\u{e1}\u{c7}"];
    assert_eq!(extracted(folder.path(), PYTHON), (true, sorted(&page_437.map(str::as_bytes))));
    if java_is_asked() {
        assert_eq!(extracted(folder.path(), JAVA), (false, Vec::new()), "it refuses the whole zip");
    }
}

#[test]
fn what_unzip_and_bsdtar_make_of_some_names_is_known() {
    let folder = zipped(&[b"a\nb", b"x;1"]);
    let found = |program| extracted(folder.path(), program);
    let plain = "unzip -qq \"$1\"";
    assert_eq!(found(plain), (true, sorted(&[b"ab", b"x"])), "no control characters, no versions of VMS");
    assert_eq!(found("unzip -qq -^ -V \"$1\""), (true, sorted(&[b"a\nb", b"x;1"])));

    // Two names of one text: libarchive composes what is marked as UTF-8.
    let names = ["cafe\u{301}", "caf\u{e9}"].map(str::as_bytes);
    let folder = zipped(&names);
    for program in [UNZIP, SEVEN_ZIP, PYTHON] {
        assert_eq!(extracted(folder.path(), program), (true, sorted(&names)), "{program}");
    }
    assert_eq!(extracted(folder.path(), BSDTAR), (true, sorted(&names[1..])));
}

#[test]
fn every_program_goes_down_three_hundred_directories() {
    let mut archive = Memory::default();
    let file = archive.blob(b"content");
    let leaf = archive.tree(vec![("100644", b"f".to_vec(), file)]);
    let root = (0..300).fold(leaf, |inner, _| archive.tree(vec![("40000", b"d".to_vec(), inner)]));
    let folder = written(&archive, root);
    let path = [&b"d/".repeat(300)[..], b"f"].concat();
    let java = java_is_asked().then_some(JAVA);
    for program in PROGRAMS.into_iter().chain(java) {
        assert_eq!(extracted(folder.path(), program), (true, sorted(&[&path])), "{program}");
    }
}

#[test]
fn symlinks_and_executables_come_out_of_the_programs_that_know_them() {
    let mut archive = Memory::default();
    let (target, file) = (archive.blob(b"d/run"), archive.blob(b"#!/bin/sh\n"));
    let inner = archive.tree(vec![("100755", b"run".to_vec(), file), ("100644", b"text".to_vec(), file)]);
    let root = archive.tree(vec![("40000", b"d".to_vec(), inner), ("120000", b"link".to_vec(), target)]);
    let folder = written(&archive, root);
    let java = java_is_asked().then_some(JAVA);
    for program in PROGRAMS.into_iter().chain(java) {
        let (is_well, found) = extracted(folder.path(), program);
        assert_eq!((is_well, found), (true, sorted(&[b"d/run", b"d/text", b"link"])), "{program}");
        let at = |name: &str| folder.path().join("out/source").join(name);
        let modes = ["d/run", "d/text"].map(|name| fs::metadata(at(name)).unwrap().permissions().mode() & 0o100 != 0);
        let link = fs::read_link(at("link")).ok();
        if program == PYTHON || program == JAVA {
            assert_eq!((modes, link), ([false; 2], None), "{program} knows neither");
            assert_eq!(fs::read(at("link")).unwrap(), b"d/run");
        } else {
            assert_eq!((modes, link.as_deref()), ([true, false], Some(Path::new("d/run"))), "{program}");
        }
    }
}
