//! What the fuzz targets start from: small real inputs, cooked from the fixtures, and words by hand.

use crate::common::fixtures::fixture;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::DeflateEncoder;
use larder::archive::git::GitArchive;
use larder::archive::snapshot::{Manifest, Target};
use larder::archive::{Archive, Reader};
use larder::cook::history::{self, Subject};
use larder::cook::{self, Control, Root, proof};
use larder::key::{Family, Format, ObjectKind, Sha1Git, Swhid};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Inputs by target, each one that the target takes.
pub(crate) fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    // Of the second, fast-import can make everything.
    let (plain, octopus) = (Source::new("plain"), Source::new("octopus"));
    let head = Subject::Revision(plain.id("head"));
    let [tar, tar_gz, tar_zst, zip] =
        [Format::Tar, Format::TarGz, Format::TarZst, Format::Zip].map(|format| plain.flat(format));
    let stream = |revision: &str| inflated(&octopus.history(&Subject::Revision(octopus.id(revision)), Format::Gitfast));
    let (manifest, v1) = (manifest(&plain), plain.id("v1"));
    let mut reader = plain.archive.reader();
    let proven = |reader: &mut dyn Reader, kind, id| proof::proof(reader, kind, id).unwrap().unwrap();
    BTreeMap::from([
        ("access_log", vec![log_line(&plain)]),
        (
            "archive",
            vec![
                packed(0, &tar),
                packed(1, &tar_gz),
                packed(2, &bzip2(&tar)),
                packed(3, &tar),
                packed(4, &xz(&tar)),
                packed(5, &tar_zst),
                packed(6, &lzip(&tar)),
                packed(7, &zip),
            ],
        ),
        ("bundle", vec![tar.clone(), tar_gz]),
        (
            "delta",
            vec![pair(b"some text, some more text\n", b"more text, some text, some more\n"), pair(&tar, &tar[1..])],
        ),
        ("etag", ["*", "\"x\", W/\"6553f100-123\"", "\"6553f100-123\""].map(Vec::from).to_vec()),
        ("gitfast", vec![stream("base"), stream("merge"), signed(&stream("merge"))]),
        ("history", [Format::GitTar, Format::Bundle].map(|format| plain.history(&head, format)).to_vec()),
        ("join", deflated()),
        ("key", vec![format!("directory/{v1}.tar.gz").into(), format!("swh:1:rel:{v1}").into()]),
        ("manifest", vec![manifest.encode()]),
        ("pack", packs()),
        (
            "proof",
            vec![
                proven(&mut *reader, ObjectKind::Revision, &plain.id("head")),
                proven(&mut *reader, ObjectKind::Release, &v1),
                proof::of_snapshot(&manifest),
            ],
        ),
        ("range", ["bytes=0-0,7-", "bytes=-5", "bytes=1-2, 4-8"].map(ranged).to_vec()),
        ("reftable", tables()),
        ("tag", [plain.id("head"), v1].map(|id| content(&mut *reader, &id)).to_vec()),
        ("tree", vec![content(&mut *reader, &plain.id("root"))]),
        (
            "url",
            ["https://example.org/x.git", "ssh://git@[::1]:22/x", "file:///srv/x", "file:///srv://-/x"]
                .map(Vec::from)
                .to_vec(),
        ),
        ("zip", vec![zip]),
        ("zst", vec![tar_zst]),
    ])
}

/// Streams of stored blocks, of fixed codes, of codes of their own, and of several blocks.
fn deflated() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..9000_u32).flat_map(|n| format!("{} {}\n", n * n % 977, n % 31).into_bytes()).collect();
    [(0, &text[..50_000]), (6, b"a, a, a"), (6, &text[..600]), (1, &text), (6, &text), (6, b"")]
        .map(|(level, plain)| {
            let mut stream = DeflateEncoder::new(Vec::new(), Compression::new(level));
            stream.write_all(plain).unwrap();
            stream.finish().unwrap()
        })
        .to_vec()
}

/// A fixture and its objects.
struct Source {
    ids: crate::common::fixtures::Fixture,
    archive: GitArchive,
}

impl Source {
    fn new(name: &str) -> Self {
        let ids = fixture(name);
        let archive = GitArchive::new(vec![ids.path.clone()]).unwrap();
        assert!(archive.discover() > 0);
        Self { ids, archive }
    }

    fn id(&self, name: &str) -> Sha1Git {
        self.ids.id(name).id
    }

    fn flat(&self, format: Format) -> Vec<u8> {
        let (mut out, scratch) = (Vec::new(), std::env::temp_dir());
        let order = cook::Order {
            archive: &self.archive,
            root: Root::Directory(self.id("root")),
            format: crate::format::flat(format),
            threads: 1,
            max_size: 1 << 30,
            scratch: &scratch,
            control: &Control::default(),
            segments: None,
            remembered: None,
        };
        cook::cook(&order, &mut out).unwrap();
        out
    }

    fn history(&self, subject: &Subject, format: Format) -> Vec<u8> {
        let Subject::Revision(id) = subject else { panic!("a seed is of a revision") };
        let Family::History(format) = format.family() else { panic!("{format} is of no history") };
        let (mut out, scratch) = (Vec::new(), std::env::temp_dir());
        let order = history::Order {
            archive: &self.archive,
            swhid: Swhid { kind: ObjectKind::Revision, id: *id },
            subject: subject.clone(),
            format,
            threads: 1,
            max_size: 1 << 30,
            lossy: false,
            scratch: &scratch,
            room: &|_| Ok(()),
            control: &Control::default(),
        };
        history::cook(&order, &mut out).unwrap();
        out
    }
}

/// The same stream with a signature and an odd time zone in its first commit: it holds no id of one.
fn signed(stream: &[u8]) -> Vec<u8> {
    let start = stream.strip_prefix(b"feature done\n").unwrap();
    let at = start.windows(11).position(|word| word == b"\ncommitter ").unwrap() + 1;
    let end = at + start[at..].iter().position(|byte| *byte == b'\n').unwrap();
    let zone = at + start[at..end].iter().rposition(|byte| *byte == b' ').unwrap();
    let signature = b" +051800\ngpgsig sha1 ssh\ndata 31\n-----BEGIN SSH SIGNATURE-----\nx\n";
    let first = b"feature done\nfeature date-format=raw-permissive\n";
    [&first[..], &start[..zone], signature, &start[end + 1..]].concat()
}

fn content(reader: &mut dyn Reader, id: &Sha1Git) -> Vec<u8> {
    let mut content = Vec::new();
    reader.find(id, &mut content).unwrap().unwrap();
    content
}

fn manifest(plain: &Source) -> Manifest {
    let mut manifest = Manifest::default();
    for (name, target) in [
        ("HEAD", Target::Alias(b"refs/heads/main".to_vec())),
        ("refs/heads/gone", Target::Dangling),
        ("refs/heads/main", Target::Object(ObjectKind::Revision, plain.id("head"))),
        ("refs/tags/v1", Target::Object(ObjectKind::Release, plain.id("v1"))),
    ] {
        assert!(manifest.insert(name.as_bytes(), target));
    }
    manifest
}

fn log_line(plain: &Source) -> Vec<u8> {
    let path = format!("/vault/directory/{}.tar.gz", plain.id("root"));
    format!("larder1\t1700000000.000\t::1\t-\tGET\t200\t291\t291\t-\t-\tOK\t{path}").into()
}

/// A base and a target, behind the length of the base.
fn pair(base: &[u8], target: &[u8]) -> Vec<u8> {
    [&u32::try_from(base.len()).unwrap().to_le_bytes(), base, target].concat()
}

fn ranged(field: &str) -> Vec<u8> {
    [&100_u64.to_le_bytes(), field.as_bytes()].concat()
}

fn packed(packing: u8, bytes: &[u8]) -> Vec<u8> {
    [&[packing], bytes].concat()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    lzma(Stream::new_easy_encoder(0, Check::Crc64).unwrap(), bytes)
}

fn lzip(bytes: &[u8]) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(0).unwrap();
    let raw = lzma(Stream::new_raw_encoder(Filters::new().lzma1(options.dict_size(1 << 16))).unwrap(), bytes);
    let size = (6 + raw.len() + 20) as u64;
    let (sum, length) = (crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u64).to_le_bytes());
    [b"LZIP\x01\x10", &raw[..], &sum, &length, &size.to_le_bytes()].concat()
}

fn lzma(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + (1 << 16));
    while stream.process_vec(&bytes[usize::try_from(stream.total_in()).unwrap()..], &mut out, Action::Finish).unwrap()
        != Status::StreamEnd
    {}
    out
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn inflated(gz: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(gz).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Entries as the target `pack` has them: type, distance of the base, length, content.
fn packs() -> Vec<Vec<u8>> {
    let entry = |code: u8, back: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap();
        [&[code, back][..], &length.to_le_bytes(), content].concat()
    };
    let (blob, delta) = (2, 4);
    let base = entry(blob, 0, b"some text, some more text\n");
    // Copies 10 bytes from 5 on, and puts an "x" behind them.
    let copies = entry(delta, 1, &[26, 11, 0x91, 5, 10, 1, b'x']);
    let of_that = entry(delta, 1, &[11, 3, 0x90, 2, 1, b'y']);
    let of_the_first = entry(delta, 3, &[26, 52, 0x90, 26, 0x90, 26]);
    let tree_and_tagged = [entry(1, 0, b""), base.clone()].concat();
    vec![[base, copies, of_that, of_the_first].concat(), tree_and_tagged]
}

/// Tables that git wrote, without their footers.
fn tables() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reftable/reftable");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "ref"));
    tables.map(|path| std::fs::read(path).unwrap()).map(|table| table[..table.len() - 68].to_vec()).collect()
}
