//! One member's header blocks: ustar, and pax where ustar cannot say it. Pure: from a member to
//! bytes, and nothing in the bytes depends on where the member lies.
//!
//! Every byte here is part of the format (`docs/format.md`); `verify` encodes what it has read
//! again with the same function and compares.

use crate::key::Sha1Git;

/// Everything in a tar is a multiple of this many bytes.
pub(crate) const BLOCK: usize = 512;
/// The top directory of every bundle.
pub(crate) const TOP: &[u8] = b"source/";
/// Where pax headers say they are, for readers that would extract them.
pub(crate) const PAX_DIRECTORY: &[u8] = b"source/PaxHeaders/";
/// The bytes of two zero blocks, which end a tar.
pub(crate) const TRAILER: usize = 2 * BLOCK;

const NAME: usize = 100;
const PREFIX: usize = 155;
/// The largest size that eleven octal digits hold.
const OCTAL_SIZE: u64 = (1 << 33) - 1;
/// 1980-02-01T00:00:00Z: the earliest month that zip can hold in every time zone.
const MTIME: u64 = 318_211_200;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    Directory,
    Gitlink,
    File { executable: bool, size: u64 },
    Symlink { target: &'a [u8] },
}

/// A member, as its header says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    /// From `source/` on; a directory's and a gitlink's ends in `/`.
    pub(crate) name: &'a [u8],
    pub(crate) node: Node<'a>,
    /// The mode's bytes in the git tree.
    pub(crate) raw_mode: &'a [u8],
    pub(crate) id: &'a Sha1Git,
}

impl Member<'_> {
    /// `git <raw mode> <id>`, where the header does not imply the mode of the tree entry.
    pub(crate) fn comment(&self) -> Option<Vec<u8>> {
        let implied = [&b"40000"[..], b"100644", b"100755", b"120000"];
        let plain = !matches!(self.node, Node::Gitlink) && implied.contains(&self.raw_mode);
        (!plain).then(|| [b"git ", self.raw_mode, b" ", self.id.to_string().as_bytes()].concat())
    }
}

/// Appends the header blocks of `member`: one block, or a pax header before it.
pub(crate) fn write_headers(member: &Member<'_>, out: &mut Vec<u8>) {
    let split = split_name(member.name);
    let (mode, size, typeflag, target): (_, _, _, &[u8]) = match member.node {
        Node::Directory | Node::Gitlink => (0o755, 0, b'5', b""),
        Node::File { executable, size } => (if executable { 0o755 } else { 0o644 }, size, b'0', b""),
        Node::Symlink { target } => (0o777, 0, b'2', target),
    };
    let target_fits = target.len() <= NAME;
    let mut records = Vec::new();
    write_records(member, split.is_some(), target_fits, size, &mut records);
    if !records.is_empty() {
        let name = [PAX_DIRECTORY, member.id.to_string().as_bytes()].concat();
        let length = records.len() as u64;
        write_block(&Block { prefix: b"", name: &name, mode: 0o644, size: length, typeflag: b'x', target: b"" }, out);
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // What stands in for a name or a target that does not fit is harmless to a reader that knows
    // no pax: a cut name could be `..`.
    let (stand_in, short);
    let (prefix, name) = if let Some(split) = split {
        split
    } else {
        stand_in = stand_in_for(member);
        (&b""[..], &stand_in[..])
    };
    let target = if target_fits {
        target
    } else {
        short = member.id.to_string();
        short.as_bytes()
    };
    write_block(&Block { prefix, name, mode, size, typeflag, target }, out);
}

/// A file or a directory as any tar has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainMember<'a> {
    /// The folder that holds all members; ends in `/`.
    pub(crate) top: &'a [u8],
    /// The name, from `top` on. It must fit ustar's fields.
    pub(crate) name: &'a [u8],
    pub(crate) mode: u64,
    /// The length of a file in bytes; `None` for a directory.
    pub(crate) size: Option<u64>,
}

/// Appends the header blocks of `member`: one, or a pax header before it where the size needs one.
pub(crate) fn write_plain(member: &PlainMember<'_>, out: &mut Vec<u8>) {
    let size = member.size.unwrap_or(0);
    if size > OCTAL_SIZE {
        let mut records = Vec::new();
        write_record(b"size", size.to_string().as_bytes(), &mut records);
        let name = [member.top, b"PaxHeaders"].concat();
        let length = records.len() as u64;
        write_block(&Block { prefix: b"", name: &name, mode: 0o644, size: length, typeflag: b'x', target: b"" }, out);
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    let (prefix, name) = split_name(member.name).expect("because the name fits ustar's fields");
    let typeflag = if member.size.is_some() { b'0' } else { b'5' };
    write_block(&Block { prefix, name, mode: member.mode, size, typeflag, target: b"" }, out);
}

/// The name in the ustar block of a member whose own does not fit.
fn stand_in_for(member: &Member<'_>) -> Vec<u8> {
    let slash: &[u8] = if member.name.ends_with(b"/") { b"/" } else { b"" };
    [TOP, member.id.to_string().as_bytes(), slash].concat()
}

/// Splits a name into ustar's prefix and name: whole when it fits, else at its last `/` that leaves
/// both parts within their fields; `None` when there is none.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let end = name.len() - 1;
    let slash = name[..end.min(PREFIX + 1)].iter().rposition(|&byte| byte == b'/')?;
    (end - slash <= NAME).then(|| (&name[..slash], &name[slash + 1..]))
}

fn write_records(member: &Member<'_>, name_fits: bool, target_fits: bool, size: u64, out: &mut Vec<u8>) {
    let path = (!name_fits).then_some(member.name);
    let linkpath = match member.node {
        Node::Symlink { target } if !target_fits => Some(target),
        _ => None,
    };
    if [path, linkpath].into_iter().flatten().any(|text| std::str::from_utf8(text).is_err()) {
        write_record(b"hdrcharset", b"BINARY", out);
    }
    if let Some(path) = path {
        write_record(b"path", path, out);
    }
    if let Some(target) = linkpath {
        write_record(b"linkpath", target, out);
    }
    if size > OCTAL_SIZE {
        write_record(b"size", size.to_string().as_bytes(), out);
    }
    if let Some(comment) = member.comment() {
        write_record(b"comment", &comment, out);
    }
}

/// `"<length> <key>=<value>\n"`, the length counting its own digits (POSIX, pax extended header).
fn write_record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

struct Block<'a> {
    prefix: &'a [u8],
    name: &'a [u8],
    mode: u64,
    size: u64,
    typeflag: u8,
    target: &'a [u8],
}

/// Appends one ustar header block (POSIX, ustar interchange format).
fn write_block(block: &Block<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + BLOCK, 0);
    let header = &mut out[start..];
    header[..block.name.len()].copy_from_slice(block.name);
    octal(&mut header[100..107], block.mode);
    octal(&mut header[108..115], 0);
    octal(&mut header[116..123], 0);
    if block.size <= OCTAL_SIZE {
        octal(&mut header[124..135], block.size);
    } else {
        // Readers without pax take this base-256 form, and do not lose their place.
        header[124] = 0x80;
        header[128..136].copy_from_slice(&block.size.to_be_bytes());
    }
    octal(&mut header[136..147], MTIME);
    header[148..156].fill(b' ');
    header[156] = block.typeflag;
    header[157..157 + block.target.len()].copy_from_slice(block.target);
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[265..269].copy_from_slice(b"root");
    header[297..301].copy_from_slice(b"root");
    octal(&mut header[329..336], 0);
    octal(&mut header[337..344], 0);
    header[345..345 + block.prefix.len()].copy_from_slice(block.prefix);
    let sum = header.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut header[148..154], sum);
    header[154] = 0;
}

/// Fills `field` with `value` in octal digits, zeros in front; the byte after it stays NUL.
fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b"01234567"[(value & 7) as usize];
        value >>= 3;
    }
}

/// The bytes of zero that fill `size` up to whole blocks.
pub(crate) const fn padding(size: u64) -> usize {
    // The low bits are the same in whatever width.
    let [low, high, ..] = size.wrapping_neg().to_le_bytes();
    u16::from_le_bytes([low, high]) as usize % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Sha1Git = Sha1Git::from_bytes([0xab; 20]);

    fn headers(name: &[u8], node: Node<'_>, raw_mode: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_headers(&Member { name, node, raw_mode, id: &ID }, &mut out);
        out
    }

    fn file(size: u64) -> Node<'static> {
        Node::File { executable: false, size }
    }

    #[test]
    fn a_plain_member_takes_one_block() {
        for name in [&b"source/a"[..], &[b'x'; 100]] {
            assert_eq!(headers(name, file(1), b"100644").len(), BLOCK);
        }
        assert_eq!(headers(b"source/", Node::Directory, b"40000").len(), BLOCK);
        assert_eq!(headers(b"source/l", Node::Symlink { target: &[b't'; 100] }, b"120000").len(), BLOCK);
    }

    #[test]
    fn names_split_at_the_last_slash_that_fits() {
        let long = [&[b'p'; 155][..], b"/", &[b'n'; 100]].concat();
        assert_eq!(split_name(&long), Some((&[b'p'; 155][..], &[b'n'; 100][..])));
        assert_eq!(split_name(&[&long[..], b"n"].concat()), None);
        assert_eq!(split_name(&[b"p", &long[..]].concat()), None);
        let directory = [&[b'p'; 60][..], b"/", &[b'q'; 60], b"/"].concat();
        assert_eq!(split_name(&directory), Some((&[b'p'; 60][..], &[&[b'q'; 60][..], b"/"].concat()[..])));
        assert_eq!(split_name(&[&[b'n'; 101][..], b"/"].concat()), None);
        let two = [b"a/b/", &[b'n'; 99][..]].concat();
        assert_eq!(split_name(&two), Some((&b"a/b"[..], &[b'n'; 99][..])));
    }

    #[test]
    fn a_name_that_does_not_fit_is_a_pax_record_and_harmless_without_it() {
        let name = [b"source/", &[0xff; 120][..]].concat();
        let bytes = headers(&name, file(1), b"100644");
        assert_eq!(bytes.len(), 3 * BLOCK);
        assert!(bytes[BLOCK..].starts_with(b"21 hdrcharset=BINARY\n137 path=source/\xff"));
        assert!(bytes[2 * BLOCK..].starts_with(format!("source/{ID}\0").as_bytes()));
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..1200 {
            let mut out = Vec::new();
            write_record(b"path", &vec![b'x'; length], &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0, text.len().to_string());
        }
    }

    #[test]
    fn odd_modes_and_gitlinks_are_named_in_a_comment() {
        let bytes = headers(b"source/a", file(0), b"100664");
        assert!(bytes[BLOCK..].starts_with(format!("63 comment=git 100664 {ID}\n").as_bytes()));
        let bytes = headers(b"source/m/", Node::Gitlink, b"160000");
        assert!(bytes[BLOCK..].starts_with(format!("63 comment=git 160000 {ID}\n").as_bytes()));
        assert_eq!(bytes[2 * BLOCK + 156], b'5');
    }

    /// A file with holes, for what is in it does not matter.
    #[test]
    fn gnu_tar_reads_a_plain_file_of_nine_gibibytes_and_the_one_behind_it() {
        let size = 9 << 30;
        let mut first = Vec::new();
        write_plain(&PlainMember { top: b"r.git/", name: b"r.git/pack", mode: 0o444, size: Some(size) }, &mut first);
        assert_eq!(first.len(), 3 * BLOCK);
        let mut second = Vec::new();
        write_plain(&PlainMember { top: b"r.git/", name: b"r.git/refs", mode: 0o644, size: Some(0) }, &mut second);
        let file = tempfile::NamedTempFile::new().unwrap();
        let end = first.len() as u64 + size;
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), &first, 0).unwrap();
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), &second, end).unwrap();
        file.as_file().set_len(end + (BLOCK + TRAILER) as u64).unwrap();
        let list = std::process::Command::new("tar").args(["--utc", "-tvf"]).arg(file.path()).output().unwrap();
        assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
        let list = String::from_utf8(list.stdout).unwrap();
        let fields = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>();
        assert_eq!(fields.len(), 2, "{list}");
        assert_eq!((fields[0][0], fields[0][2], fields[0][5]), ("-r--r--r--", "9663676416", "r.git/pack"));
        assert_eq!((fields[1][0], fields[1][2], fields[1][5]), ("-rw-r--r--", "0", "r.git/refs"));
    }

    #[test]
    fn a_size_over_eight_gibibytes_is_in_pax_and_in_base_256() {
        assert_eq!(headers(b"source/a", file(OCTAL_SIZE), b"100644").len(), BLOCK);
        let bytes = headers(b"source/a", file(OCTAL_SIZE + 1), b"100644");
        assert!(bytes[BLOCK..].starts_with(b"19 size=8589934592\n"));
        assert_eq!(bytes[2 * BLOCK + 124..2 * BLOCK + 136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
