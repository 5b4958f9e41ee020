//! `git.tar`: a bare repository in a tar (`docs/format.md`, "git.tar"). Owns which files it has and
//! what stands in them.

use super::packed::packed;
use super::peeled::Peeled;
use super::refs::{Head, Refs};
use super::{Order, Subject};
use crate::archive::{ObjectType, Reader, object};
use crate::cook::tarball::{self, PlainMember};
use crate::cook::{CookError, Cooked};
use crate::key::{Sha1Git, Swhid};
use std::io::Write;

/// What git writes into a new bare repository.
pub(crate) const CONFIG: &[u8] = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
/// Where HEAD points when nothing says where.
pub(crate) const UNBORN: &[u8] = b"refs/heads/main";
/// The manifest of a snapshot, from which its id can be computed.
pub(crate) const MANIFEST: &[u8] = b"larder-manifest";
/// How git begins a list of refs that is in order and says what each tag leads to.
pub(crate) const PACKED_REFS: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";

/// The folder that holds all: `swh_1_snp_<id>.git/`.
pub(crate) fn top(swhid: &Swhid) -> Vec<u8> {
    format!("swh_1_{}_{}.git/", swhid.kind.swhid_type(), swhid.id).into_bytes()
}

/// Writes the bundle.
pub(super) fn cook(order: &Order<'_>, refs: &Refs, out: &mut dyn Write) -> Result<Cooked, CookError> {
    let mut pack = packed(order, refs)?;
    let listed = packed_refs(&mut *order.archive.reader(), refs)?;
    let mut tar = Tar { top: top(&order.swhid), out, size: 0 };
    tar.folder(b"")?;
    tar.file(b"HEAD", 0o644, &head(refs))?;
    tar.file(b"config", 0o644, CONFIG)?;
    if let Subject::Snapshot(manifest) = &order.subject {
        tar.file(MANIFEST, 0o644, &manifest.encode())?;
    }
    for folder in [&b"objects/"[..], b"objects/info/", b"objects/pack/"] {
        tar.folder(folder)?;
    }
    if pack.count() > 0 {
        let name: String = crate::key::Sha1Git::from_bytes(pack.checksum).to_string();
        let named = |ext: &str| format!("objects/pack/pack-{name}.{ext}").into_bytes();
        let size = pack.index_size();
        tar.streamed(&named("idx"), 0o444, size, &mut |out| pack.write_index(out))?;
        let size = pack.size;
        tar.streamed(&named("pack"), 0o444, size, &mut |out| pack.copy_pack(out))?;
    }
    tar.file(b"packed-refs", 0o644, &listed)?;
    for folder in [&b"refs/"[..], b"refs/heads/", b"refs/tags/"] {
        tar.folder(folder)?;
    }
    tar.put(&[0; tarball::TRAILER])?;
    Ok(Cooked { tar_size: tar.size, members: pack.count(), ..Cooked::default() })
}

/// The file `HEAD`.
pub(crate) fn head(refs: &Refs) -> Vec<u8> {
    match &refs.head {
        Some(Head::Detached(id)) => format!("{id}\n").into_bytes(),
        Some(Head::Symbolic(name)) => [b"ref: ", &name[..], b"\n"].concat(),
        None => [b"ref: ", UNBORN, b"\n"].concat(),
    }
}

/// The file `packed-refs`: all refs, so that one may be called as another's folder is.
fn packed_refs(reader: &mut dyn Reader, refs: &Refs) -> Result<Vec<u8>, CookError> {
    let (mut text, mut peeled, mut buf) = (PACKED_REFS.to_vec(), Peeled::default(), Vec::new());
    // A tag was reached, and so is there.
    let mut target = |id: &Sha1Git| {
        reader.find(id, &mut buf)?.ok_or(CookError::Missing { id: *id })?;
        object::tag_target(&buf).map_err(|error| CookError::Corrupt { id: *id, reason: error.to_string() })
    };
    for one in &refs.list {
        text.extend_from_slice(one.target.to_string().as_bytes());
        text.push(b' ');
        text.extend_from_slice(&one.name);
        text.push(b'\n');
        if one.object_type == ObjectType::Tag {
            text.extend_from_slice(format!("^{}\n", peeled.of(&one.target, &mut target)?).as_bytes());
        }
    }
    Ok(text)
}

struct Tar<'a> {
    top: Vec<u8>,
    out: &'a mut dyn Write,
    size: u64,
}

impl Tar<'_> {
    fn folder(&mut self, name: &[u8]) -> Result<(), CookError> {
        self.header(name, 0o755, None)
    }

    fn file(&mut self, name: &[u8], mode: u64, content: &[u8]) -> Result<(), CookError> {
        self.header(name, mode, Some(content.len() as u64))?;
        self.put(content)?;
        self.pad(content.len() as u64)
    }

    /// A file of `size` bytes, all of which `write` writes.
    fn streamed(
        &mut self,
        name: &[u8],
        mode: u64,
        size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), CookError>,
    ) -> Result<(), CookError> {
        self.header(name, mode, Some(size))?;
        write(self.out)?;
        self.size += size;
        self.pad(size)
    }

    fn header(&mut self, name: &[u8], mode: u64, size: Option<u64>) -> Result<(), CookError> {
        let mut header = Vec::new();
        let name = [&self.top[..], name].concat();
        tarball::write_plain(&PlainMember { top: &self.top, name: &name, mode, size }, &mut header);
        self.put(&header)
    }

    fn pad(&mut self, size: u64) -> Result<(), CookError> {
        self.put(&[0; tarball::BLOCK][..tarball::padding(size)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CookError> {
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).map_err(CookError::Output)
    }
}
