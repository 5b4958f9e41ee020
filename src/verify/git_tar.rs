//! Reads a `git.tar` bundle: its files in the order in which larder writes them, and not a byte else.
//! What can be made from the pack, its index and what tags lead to, is made again and compared.

use super::git_bundle::check_target;
use super::pack::{self, Found};
use super::{History, Seen, VerifyError};
use crate::archive::snapshot::{MAX_MANIFEST, Manifest};
use crate::archive::{ObjectType, object};
use crate::cook::history::git_tar::{CONFIG, MANIFEST, PACKED_REFS, UNBORN};
use crate::cook::history::peeled::Peeled;
use crate::cook::history::{Head, index, is_ref_name};
use crate::cook::tarball::{self, BLOCK, PlainMember, write_plain};
use crate::key::Sha1Git;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// The longest file that is held in memory: as of a manifest.
const MAX_HELD: u64 = 2 * MAX_MANIFEST as u64;
/// `swh_1_snp_<id>.git/`.
const TOP: usize = "swh_1_snp_".len() + 40 + ".git/".len();

/// What the bundle holds, every id in it recomputed.
pub(super) fn read(file: &File, seen: Seen<'_>) -> Result<History, VerifyError> {
    let mut tar = Tar::new(file)?;
    tar.folder(b"")?;
    let head = tar.held(b"HEAD")?.unwrap_or_default();
    if tar.held(b"config")?.as_deref() != Some(CONFIG) {
        return Err(tar.wrong("the configuration is not larder's"));
    }
    let manifest = match tar.held(MANIFEST)? {
        Some(bytes) => Some(Manifest::decode(&bytes).map_err(|error| tar.wrong(&format!("the manifest: {error}")))?),
        None => None,
    };
    for folder in [&b"objects/"[..], b"objects/info/", b"objects/pack/"] {
        tar.folder(folder)?;
    }
    let found = objects(&mut tar)?;
    let listed = tar.held(b"packed-refs")?.unwrap_or_default();
    let refs = refs(&listed, &found, &tar)?;
    for folder in [&b"refs/"[..], b"refs/heads/", b"refs/tags/"] {
        tar.folder(folder)?;
    }
    tar.end()?;
    let head = parse_head(&head, &refs, &found).ok_or_else(|| tar.wrong("HEAD is none that larder writes"))?;
    found.objects.iter().for_each(|(id, _)| seen(id));
    let others = found.others(&refs);
    Ok(History { head, refs, others, objects: found.objects.len() as u64, tags: found.tags, manifest })
}

/// The index and the pack; nothing where there are no objects.
fn objects(tar: &mut Tar<'_>) -> Result<Found, VerifyError> {
    let Some((name, size)) = tar.begin_pack()? else {
        return Ok(Found { objects: Vec::new(), indexed: Vec::new(), checksum: [0; 20], tags: BTreeMap::new() });
    };
    let index_at = tar.at;
    tar.skip(size)?;
    let (pack, size) = tar.begin_pack()?.ok_or_else(|| tar.wrong("there is an index and no pack"))?;
    let pack_at = tar.at;
    tar.skip(size)?;
    let found = pack::read(tar.file, pack_at, pack_at + size)?;
    let named = format!("objects/pack/pack-{}.", Sha1Git::from_bytes(found.checksum));
    if name != format!("{named}idx").as_bytes() || pack != format!("{named}pack").as_bytes() {
        return Err(tar.wrong("the pack has not the name of its checksum"));
    }
    let mut compare = Compare { file: tar.file, at: index_at };
    let id = |at: usize| found.objects[at].0;
    index::write(&found.indexed, id, &found.checksum, &mut compare).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => tar.wrong("the index is not that of the pack"),
        _ => VerifyError::Read(error),
    })?;
    if compare.at != index_at + index::size(&found.indexed) || found.objects.is_empty() {
        return Err(tar.wrong("the index is not that of the pack"));
    }
    Ok(found)
}

fn refs(listed: &[u8], found: &Found, tar: &Tar<'_>) -> Result<Vec<(Vec<u8>, Sha1Git)>, VerifyError> {
    let wrong = || tar.wrong("the refs are not as larder lists them");
    let mut refs = Vec::<(Vec<u8>, Sha1Git)>::new();
    let mut again = PACKED_REFS.to_vec();
    let mut peeled = Peeled::default();
    let target = |tag: &Sha1Git| {
        let content = found.tags.get(tag).ok_or_else(wrong)?;
        object::tag_target(content).map_err(|_| wrong())
    };
    let lines = listed.strip_prefix(PACKED_REFS).ok_or_else(wrong)?;
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"^")) {
        let (id, name) = line.split_at_checked(41).ok_or_else(wrong)?;
        let id: Sha1Git = std::str::from_utf8(&id[..40]).ok().and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        if !is_ref_name(name) || refs.last().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(wrong());
        }
        check_target(found, name, &id)?;
        again.extend_from_slice(format!("{id} ").as_bytes());
        again.extend_from_slice(name);
        again.push(b'\n');
        if found.type_of(&id) == Some(ObjectType::Tag) {
            again.extend_from_slice(format!("^{}\n", peeled.of(&id, target)?).as_bytes());
        }
        refs.push((name.to_vec(), id));
    }
    if again == listed { Ok(refs) } else { Err(wrong()) }
}

/// Where HEAD points. Inside: `None` for what larder writes when it points nowhere.
#[expect(clippy::option_option, reason = "the outer one is for what is malformed")]
fn parse_head(text: &[u8], refs: &[(Vec<u8>, Sha1Git)], found: &Found) -> Option<Option<Head>> {
    let line = text.strip_suffix(b"\n")?;
    let Some(name) = line.strip_prefix(b"ref: ") else {
        let id: Sha1Git = std::str::from_utf8(line).ok()?.parse().ok()?;
        return (found.type_of(&id)? == ObjectType::Commit).then_some(Some(Head::Detached(id)));
    };
    let target = refs.iter().find(|(one, _)| one == name).map(|(_, id)| *id);
    match target {
        Some(id) => (found.type_of(&id)? == ObjectType::Commit).then(|| Some(Head::Symbolic(name.to_vec()))),
        None if name == UNBORN => Some(None),
        None => is_ref_name(name).then(|| Some(Head::Symbolic(name.to_vec()))),
    }
}

struct Tar<'a> {
    file: &'a File,
    size: u64,
    at: u64,
    top: Vec<u8>,
}

impl<'a> Tar<'a> {
    fn new(file: &'a File) -> Result<Self, VerifyError> {
        let size = file.metadata().map_err(VerifyError::Read)?.len();
        let mut tar = Self { file, size, at: 0, top: Vec::new() };
        tar.top = tar.bytes(TOP)?;
        let id = tar.top.strip_prefix(b"swh_1_").and_then(|rest| rest.strip_suffix(b".git/"));
        let is_top = id.is_some_and(|id| {
            let (kind, id) = id.split_at(4);
            [&b"dir_"[..], b"rev_", b"rel_", b"snp_"].contains(&kind)
                && std::str::from_utf8(id).is_ok_and(|id| id.parse::<Sha1Git>().is_ok())
        });
        if is_top { Ok(tar) } else { Err(tar.wrong("it does not begin with the folder of a repository")) }
    }

    fn folder(&mut self, name: &[u8]) -> Result<(), VerifyError> {
        if self.header(name, 0o755, None)? { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The content of a file that may be held in memory, or `None` when another member stands here.
    fn held(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, VerifyError> {
        let size = self.stated_size()?;
        if !self.header(name, 0o644, Some(size))? {
            return Ok(None);
        }
        if size > MAX_HELD || size > self.size - self.at {
            return Err(self.wrong("a file is too large"));
        }
        let content = self.bytes(usize::try_from(size).map_err(|_| self.wrong("a file is too large"))?)?;
        self.skip(size)?;
        Ok(Some(content))
    }

    /// The name, without the folder, and the size of the index or pack that begins here.
    fn begin_pack(&mut self) -> Result<Option<(Vec<u8>, u64)>, VerifyError> {
        for ext in ["idx", "pack"] {
            // The id is wherever the header has it: it is compared with the pack's.
            let size = self.stated_size()?;
            let Some(id) = self.stated_pack()? else { continue };
            let name = format!("objects/pack/pack-{id}.{ext}").into_bytes();
            if self.header(&name, 0o444, Some(size))? {
                return Ok(Some((name, size)));
            }
        }
        Ok(None)
    }

    fn stated_pack(&self) -> Result<Option<Sha1Git>, VerifyError> {
        let block = self.block_with_name()?;
        let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let id = name.strip_prefix(b"pack-").and_then(|rest| rest.get(..40));
        Ok(id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok()))
    }

    /// The size in the header that begins here; whether it is there as larder writes it is seen when
    /// the header is made again.
    fn stated_size(&self) -> Result<u64, VerifyError> {
        let block = self.block_with_name()?;
        let field: [u8; 12] = block[124..136].try_into().expect("because twelve bytes are twelve");
        if field[0] == 0x80 {
            return Ok(u64::from_be_bytes(field[4..].try_into().expect("because eight bytes are eight")));
        }
        let digits = field[..11].iter().map(|digit| u64::from(digit.wrapping_sub(b'0') & 7));
        Ok(digits.fold(0, |size, digit| size << 3 | digit))
    }

    /// The block that names the member, which a pax header may precede.
    fn block_with_name(&self) -> Result<Vec<u8>, VerifyError> {
        let block = self.bytes(BLOCK)?;
        if block[156] != b'x' {
            return Ok(block);
        }
        let all = self.bytes(3 * BLOCK)?;
        Ok(all[2 * BLOCK..].to_vec())
    }

    /// Whether this header stands here, to the byte; it is passed then.
    fn header(&mut self, name: &[u8], mode: u64, size: Option<u64>) -> Result<bool, VerifyError> {
        let mut expected = Vec::new();
        let name = [&self.top[..], name].concat();
        write_plain(&PlainMember { top: &self.top, name: &name, mode, size }, &mut expected);
        let is_there = self.size - self.at >= expected.len() as u64 && self.bytes(expected.len())? == expected;
        if is_there {
            self.at += expected.len() as u64;
        }
        Ok(is_there)
    }

    /// Passes a file's content and the zeros that fill it up.
    fn skip(&mut self, size: u64) -> Result<(), VerifyError> {
        if size > self.size - self.at {
            return Err(self.wrong("a file is cut short"));
        }
        self.at += size;
        self.zeros(tarball::padding(size))
    }

    fn end(&mut self) -> Result<(), VerifyError> {
        self.zeros(tarball::TRAILER)?;
        if self.at == self.size { Ok(()) } else { Err(self.wrong("something follows the end of the tar")) }
    }

    fn zeros(&mut self, length: usize) -> Result<(), VerifyError> {
        if self.bytes(length)?.iter().any(|byte| *byte != 0) {
            return Err(self.wrong("there is something where zeros should be"));
        }
        self.at += length as u64;
        Ok(())
    }

    fn bytes(&self, length: usize) -> Result<Vec<u8>, VerifyError> {
        if length as u64 > self.size - self.at {
            return Err(self.wrong("it is cut short"));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.at).map_err(VerifyError::Read)?;
        Ok(bytes)
    }

    fn unexpected(&self) -> VerifyError {
        self.wrong("another member stands here than larder writes")
    }

    fn wrong(&self, reason: &str) -> VerifyError {
        VerifyError::Git { at: self.at, reason: reason.to_owned() }
    }
}

/// Takes bytes that must be those of the file, and nothing else.
struct Compare<'a> {
    file: &'a File,
    at: u64,
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        self.file.read_exact_at(&mut there, self.at)?;
        if there != bytes {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with holes, for what is in it does not matter.
    #[test]
    fn a_pack_over_eight_gibibytes_is_found_with_its_size_and_what_is_behind_it() {
        let (size, top) = (9_u64 << 30, b"swh_1_snp_0123456789012345678901234567890123456789.git/");
        let name = b"objects/pack/pack-4b825dc642cb6eb9a060e54bf8d69288fbee4904.pack";
        let header = |name: &[u8], mode, size| {
            let mut bytes = Vec::new();
            write_plain(&PlainMember { top, name: &[&top[..], name].concat(), mode, size }, &mut bytes);
            bytes
        };
        let (pack, behind) = (header(name, 0o444, Some(size)), header(b"refs/", 0o755, None));
        let file = tempfile::tempfile().unwrap();
        let end = pack.len() as u64 + size;
        file.write_all_at(&pack, 0).unwrap();
        file.write_all_at(&behind, end).unwrap();
        file.set_len(end + (BLOCK + tarball::TRAILER) as u64).unwrap();
        let length = end + (BLOCK + tarball::TRAILER) as u64;
        let mut tar = Tar { file: &file, size: length, at: 0, top: top.to_vec() };
        assert_eq!(tar.begin_pack().unwrap(), Some((name.to_vec(), size)));
        tar.skip(size).unwrap();
        tar.folder(b"refs/").unwrap();
        tar.end().unwrap();
        let mut tar = Tar { file: &file, size: end - 1, at: 0, top: top.to_vec() };
        tar.begin_pack().unwrap();
        assert!(tar.skip(size).is_err(), "it is cut short");
    }
}
