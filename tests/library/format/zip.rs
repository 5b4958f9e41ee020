//! A zip's many members, its large ones, and what makes it say more than 16 and 32 bits can.

use super::memory::{Entry, Memory};
use super::trees::{Plan, everything};
use super::{bundle, verified};
use larder::cook::{Control, Cooked, Order, Root, cook};
use larder::key::Format;
use larder::verify::{flat_tar_zst, flat_zip};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;
use tempfile::NamedTempFile;

/// Runs a Python program on a zip, as `sys.argv[1]`.
fn python(script: &str, zip: &NamedTempFile) {
    let run = Command::new("python3").args(["-c", script]).arg(zip.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn over_65_535_members_are_all_there() {
    let mut archive = Memory::default();
    let (file, link) = (archive.blob(b"content"), archive.blob(b"target"));
    let names = |n: u32| format!("{n:06}").into_bytes();
    let inner: Vec<Entry> = (0..70_000).map(|n| ("100644", names(n), if n % 7 == 0 { link } else { file })).collect();
    let inner = archive.tree(inner);
    let root = archive.tree(vec![("40000", b"d".to_vec(), inner), ("120000", b"l".to_vec(), link)]);
    let (zip, cooked) = bundle(&archive, Root::Directory(root), Format::Zip, 2).unwrap();
    assert_eq!(cooked.members, 70_003);
    assert_eq!(zip[zip.len() - 14..zip.len() - 10], [0xff; 4][..], "the short counts say that there is a long one");
    assert_eq!(verified(Format::Zip, &zip).unwrap(), root);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&zip).unwrap();
    python(
        "import sys, zipfile\n\
         z = zipfile.ZipFile(sys.argv[1])\n\
         assert len(z.infolist()) == 70003, len(z.infolist())\n\
         assert z.read('source/d/069999') == b'content' and z.read('source/l') == b'target'\n",
        &file,
    );
}

#[test]
fn python_finds_no_fault_and_every_member_as_it_is() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    let (zip, _) = bundle(&archive, Root::Directory(root), Format::Zip, 2).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&zip).unwrap();
    python(
        "import sys, zipfile, stat\n\
         z = zipfile.ZipFile(sys.argv[1])\n\
         assert z.testzip() is None\n\
         assert all(i.date_time == (1980, 2, 1, 0, 0, 0) for i in z.infolist())\n\
         mode = lambda n: z.getinfo(n).external_attr >> 16\n\
         assert z.infolist()[0].filename == 'source/' and mode('source/') == 0o40755\n\
         assert mode('source/run') == 0o100755 and mode('source/README') == 0o100644\n\
         assert mode('source/link') == 0o120777 and z.read('source/link') == b'README'\n\
         assert z.getinfo('source/old').comment.startswith(b'git 100664 ')\n\
         assert z.getinfo('source/module/').comment == b'git 160000 ' + b'09' * 20\n\
         assert z.getinfo('source/empty').compress_type == 0\n\
         assert z.getinfo('source/size3000000').flag_bits == 8\n\
         names = [i.orig_filename.encode('utf-8' if i.flag_bits & 2048 else 'cp437') for i in z.infolist()]\n\
         assert b'source/odd\\xffname' in names\n",
        &file,
    );
}

#[test]
fn a_name_is_marked_as_utf_8_exactly_when_it_must_be() {
    let mut archive = Memory::default();
    let file = |content: &[u8]| Plan::File("100644", content.to_vec());
    let plan = Plan::Folder(
        "40000",
        vec![(b"plain".to_vec(), file(b"1")), ("caf\u{e9}".into(), file(b"2")), (b"caf\xe9".to_vec(), file(b"3"))],
    );
    let (_, root) = plan.put(&mut archive);
    let (zip, _) = bundle(&archive, Root::Directory(root), Format::Zip, 1).unwrap();
    let flags = |name: &[u8]| {
        let at = zip.windows(name.len()).position(|window| window == name).unwrap();
        u16::from_le_bytes([zip[at - 24], zip[at - 23]])
    };
    assert_eq!(flags(b"source/plain"), 0);
    assert_eq!(flags("source/caf\u{e9}".as_bytes()), 1 << 11);
    assert_eq!(flags(b"source/caf\xe9"), 0);
}

/// Over 8 GiB in one member, which is more than ustar can say and more than 4 GiB once deflated; one that
/// is just so large that a zip says it in 64 bits; and one behind them, beyond 4 GiB.
fn giant() -> (Memory, Root) {
    let mut archive = Memory::default();
    let huge = archive.noise((8 << 30) + 9);
    let large = archive.noise(0xff00_0000);
    let small = archive.blob(b"small");
    let root = archive.tree(vec![
        ("100644", b"huge".to_vec(), huge),
        ("100644", b"large".to_vec(), large),
        ("100644", b"small".to_vec(), small),
    ]);
    (archive, Root::Directory(root))
}

/// Cooks that into a file, which has over 5 GiB, and asks these programs whether it is whole.
fn giant_bundle(archive: &Memory, root: Root, format: Format, programs: &[&str]) -> NamedTempFile {
    let suffix = format!(".{}", format.ext());
    let mut file = tempfile::Builder::new().suffix(&suffix).tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (control, scratch) = (Control::default(), &std::env::temp_dir());
    let order = Order {
        archive,
        root,
        format: super::flat(format),
        threads: 2,
        max_size: 1 << 40,
        scratch,
        control: &control,
        segments: None,
        remembered: None,
    };
    let Cooked { members, .. } = cook(&order, &mut file).unwrap();
    assert_eq!(members, 4);
    assert!(file.seek(SeekFrom::End(0)).unwrap() > 5 << 30);
    for program in programs {
        let output = Command::new("bash").args(["-euc", program, "-"]).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    file
}

#[test]
fn over_4_gib_are_a_zip_too() {
    if std::env::var_os("LARDER_TEST_LONG").is_none() {
        return;
    }
    let (archive, root) = giant();
    let programs = [
        "unzip -tqq \"$1\"",
        "7z t -bso0 \"$1\"",
        "[ \"$(bsdtar -xOf \"$1\" | wc -c)\" = 12868124686 ]",
        "python3 -c 'import sys, zipfile; assert zipfile.ZipFile(sys.argv[1]).testzip() is None' \"$1\"",
    ];
    let file = giant_bundle(&archive, root, Format::Zip, &programs);
    assert_eq!(Root::Directory(flat_zip(&File::open(file.path()).unwrap()).unwrap()), root);
}

#[test]
fn over_4_gib_are_a_tar_zst_too() {
    if std::env::var_os("LARDER_TEST_LONG").is_none() {
        return;
    }
    let (archive, root) = giant();
    let programs = [
        "zstd -tq \"$1\"",
        "[ \"$(tar --zstd -xOf \"$1\" | wc -c)\" = 12868124686 ]",
        "[ \"$(bsdtar -xOf \"$1\" | wc -c)\" = 12868124686 ]",
    ];
    let file = giant_bundle(&archive, root, Format::TarZst, &programs);
    assert_eq!(Root::Directory(flat_tar_zst(File::open(file.path()).unwrap()).unwrap()), root);
}
