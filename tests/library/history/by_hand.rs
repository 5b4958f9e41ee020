//! Packs, their indices, bundles and `git.tar`s made by hand from any objects: whole and consistent to
//! the last checksum, whatever is wrong with what they hold.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use larder::archive::{ObjectType, object};
use larder::key::Sha1Git;
use sha1::{Digest as _, Sha1};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// A pack that is written entry by entry.
#[derive(Clone)]
pub(crate) struct Pack {
    bytes: Vec<u8>,
    entries: Vec<(Sha1Git, u64, u32)>,
}

impl Pack {
    pub(crate) fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), entries: Vec::new() }
    }

    /// Adds an entry; `code` 7 takes the id of its base, 6 the offset.
    pub(crate) fn add(&mut self, id: Sha1Git, code: u8, base: &[u8], size: usize, data: &[u8]) -> u64 {
        let offset = self.bytes.len();
        let (mut byte, mut rest) = (code << 4 | (size & 15) as u8, size >> 4);
        while rest != 0 {
            self.bytes.push(byte | 0x80);
            (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        let mut encoder = ZlibEncoder::new(&mut self.bytes, Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap();
        let crc = crc32fast::hash(&self.bytes[offset..]);
        self.entries.push((id, offset as u64, crc));
        offset as u64
    }

    /// Adds a whole object.
    pub(crate) fn object(&mut self, object_type: ObjectType, content: &[u8]) -> Sha1Git {
        let code = [ObjectType::Commit, ObjectType::Tree, ObjectType::Blob, ObjectType::Tag];
        let code = code.iter().position(|one| *one == object_type).unwrap() as u8 + 1;
        let id = object::hash(object_type, content).unwrap();
        self.add(id, code, b"", content.len(), content);
        id
    }

    /// What leads back to an entry from the one that is added next.
    pub(crate) fn distance(&self, base: u64) -> Vec<u8> {
        let mut distance = self.bytes.len() as u64 - base;
        let mut bytes = vec![(distance & 0x7f) as u8];
        while distance >> 7 != 0 {
            distance = (distance >> 7) - 1;
            bytes.insert(0, (distance & 0x7f) as u8 | 0x80);
        }
        bytes
    }

    /// Adds a commit of a tree that holds these blobs.
    pub(crate) fn commit(&mut self, blobs: &[Sha1Git]) -> Sha1Git {
        let mut tree = Vec::new();
        for (at, id) in blobs.iter().enumerate() {
            tree.extend_from_slice(format!("100644 f{at:06}\0").as_bytes());
            tree.extend_from_slice(id.as_bytes());
        }
        let tree = self.object(ObjectType::Tree, &tree);
        self.object(ObjectType::Commit, &commit(tree, &[]))
    }

    /// The pack, its index, and its checksum.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<u8>, Sha1Git) {
        let count = u32::try_from(self.entries.len()).unwrap();
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let checksum: [u8; 20] = Sha1::digest(&self.bytes).into();
        self.bytes.extend_from_slice(&checksum);
        self.entries.sort();
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        for byte in 0..=255_u8 {
            let count = self.entries.iter().filter(|(id, ..)| id.as_bytes()[0] <= byte).count();
            index.extend_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
        }
        self.entries.iter().for_each(|(id, ..)| index.extend_from_slice(id.as_bytes()));
        self.entries.iter().for_each(|(_, _, crc)| index.extend_from_slice(&crc.to_be_bytes()));
        self.entries.iter().for_each(|(_, offset, _)| {
            index.extend_from_slice(&u32::try_from(*offset).unwrap().to_be_bytes());
        });
        index.extend_from_slice(&checksum);
        let own = Sha1::digest(&index);
        index.extend_from_slice(&own);
        (self.bytes, index, Sha1Git::from_bytes(checksum))
    }

    /// Writes the pack into a new repository.
    pub(crate) fn put(self, name: &str, repository: &Path) {
        let (pack, index, _) = self.finish();
        let folder = repository.join("objects/pack");
        std::fs::write(folder.join(format!("pack-{name}.pack")), pack).unwrap();
        std::fs::write(folder.join(format!("pack-{name}.idx")), index).unwrap();
    }
}

/// The content of a commit.
pub(crate) fn commit(tree: Sha1Git, parents: &[Sha1Git]) -> Vec<u8> {
    let parents = parents.iter().fold(String::new(), |text, id| text + format!("parent {id}\n").as_str());
    let who = "A <a@example.org> 0 +0000";
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\nx\n").into_bytes()
}

/// The content of a tag.
pub(crate) fn tag(name: &str, object_type: ObjectType, target: Sha1Git) -> Vec<u8> {
    format!("object {target}\ntype {object_type}\ntag {name}\ntagger A <a@example.org> 0 +0000\n\nx\n").into_bytes()
}

/// The content of a tree with these entries: mode, name, id.
pub(crate) fn tree(entries: &[(&str, &str, Sha1Git)]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(mode, name, id)| [format!("{mode} {name}\0").as_bytes(), id.as_bytes()].concat())
        .collect()
}

/// The bundle of a history, before it is one.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) pack: Pack,
    /// In the order in which they are to stand.
    pub(crate) refs: Vec<(String, Sha1Git)>,
    /// What each tag leads to in the end, as far as `packed-refs` is to say so.
    pub(crate) peeled: Vec<(Sha1Git, Sha1Git)>,
    /// The file `HEAD`.
    pub(crate) head: String,
    /// What follows the refs in a `bundle` as HEAD.
    pub(crate) head_id: Option<Sha1Git>,
}

impl Made {
    pub(crate) fn bundle(&self) -> Vec<u8> {
        let mut out = b"# v2 git bundle\n".to_vec();
        let head = self.head_id.iter().map(|id| ("HEAD", *id));
        for (name, id) in self.refs.iter().map(|(name, id)| (name.as_str(), *id)).chain(head) {
            out.extend_from_slice(format!("{id} {name}\n").as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(&self.pack.clone().finish().0);
        out
    }

    /// The `git.tar` of `top`, as `swh_1_rev_...`.
    pub(crate) fn git_tar(&self, top: &str) -> Vec<u8> {
        let (pack, index, checksum) = self.pack.clone().finish();
        let mut refs = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for (name, id) in &self.refs {
            let _ = writeln!(refs, "{id} {name}");
            for (_, end) in self.peeled.iter().filter(|(tag, _)| tag == id) {
                let _ = writeln!(refs, "^{end}");
            }
        }
        let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
        let pack_name = |ext: &str| format!("objects/pack/pack-{checksum}.{ext}");
        let mut tar = Tar { top: format!("{top}.git/"), out: Vec::new() };
        tar.folders(&[""]);
        tar.file("HEAD", 0o644, self.head.as_bytes());
        tar.file("config", 0o644, config.as_bytes());
        tar.folders(&["objects/", "objects/info/", "objects/pack/"]);
        tar.file(&pack_name("idx"), 0o444, &index);
        tar.file(&pack_name("pack"), 0o444, &pack);
        tar.file("packed-refs", 0o644, refs.as_bytes());
        tar.folders(&["refs/", "refs/heads/", "refs/tags/"]);
        tar.out.resize(tar.out.len() + 1024, 0);
        tar.out
    }
}

/// A tar with the headers of `docs/format.md`, section 2.
struct Tar {
    top: String,
    out: Vec<u8>,
}

impl Tar {
    fn folders(&mut self, names: &[&str]) {
        for name in names {
            self.header(name, 0o755, 0, b'5');
        }
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.header(name, mode, content.len(), b'0');
        self.out.extend_from_slice(content);
        self.out.resize(self.out.len().next_multiple_of(512), 0);
    }

    fn header(&mut self, name: &str, mode: u32, size: usize, typeflag: u8) {
        let name = format!("{}{name}", self.top);
        // A name of over 100 bytes is cut at the last slash that leaves both parts short enough.
        let cut = if name.len() > 100 { name[..name.len() - 1].rfind('/') } else { None };
        let (prefix, name) = cut.map_or(("", name.as_str()), |cut| (&name[..cut], &name[cut + 1..]));
        let mut block = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0{0:07o}\0{0:07o}\0{size:011o}\0{1:011o}\0", 0, 318_211_200).as_bytes());
        put(148, b"        ");
        put(156, &[typeflag]);
        put(257, b"ustar\x0000root");
        put(297, b"root");
        put(329, format!("{0:07o}\0{0:07o}\0", 0).as_bytes());
        put(345, prefix.as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.out.extend_from_slice(&block);
    }
}

/// An object by a name of its own.
pub(crate) type Named = (&'static str, ObjectType, Vec<u8>);

pub(crate) fn id((_, object_type, content): &Named) -> Sha1Git {
    object::hash(*object_type, content).unwrap()
}

/// All objects of a revision, which stands last: each is needed, and by one other alone.
pub(crate) fn revision() -> Vec<Named> {
    let mut all: Vec<Named> =
        ["file", "link", "deep", "old", "older"].map(|name| (name, ObjectType::Blob, name.as_bytes().to_vec())).into();
    let mut add = |name, object_type, content: Vec<u8>| {
        all.push((name, object_type, content));
        id(all.last().unwrap())
    };
    let [file, link, deep, old, older] =
        ["file", "link", "deep", "old", "older"].map(|name| object::hash(ObjectType::Blob, name.as_bytes()).unwrap());
    let below = add("folder below", ObjectType::Tree, tree(&[("100644", "deep", deep)]));
    let absent = Sha1Git::from_bytes([0x11; 20]);
    let entries =
        [("100755", "file", file), ("120000", "link", link), ("160000", "module", absent), ("40000", "sub", below)];
    let root = add("root", ObjectType::Tree, tree(&entries));
    let old = add("old root", ObjectType::Tree, tree(&[("100644", "old", old)]));
    let older = add("older root", ObjectType::Tree, tree(&[("100644", "older", older)]));
    let first = add("first parent", ObjectType::Commit, commit(old, &[]));
    let second = add("second parent", ObjectType::Commit, commit(older, &[]));
    add("tip", ObjectType::Commit, commit(root, &[first, second]));
    all
}

impl Made {
    /// A bundle of these objects, whose one branch is at `tip`.
    pub(crate) fn of(objects: &[Named], tip: Sha1Git) -> Self {
        let mut pack = Pack::new();
        for (_, object_type, content) in objects {
            pack.object(*object_type, content);
        }
        let refs = vec![("refs/heads/main".to_owned(), tip)];
        Self { pack, refs, peeled: Vec::new(), head: "ref: refs/heads/main\n".to_owned(), head_id: Some(tip) }
    }
}
