//! A loose object: a file `<aa>/<38 digits>` holding one zlib stream of `<type> <size> NUL <content>`.

use super::fault::{Fault, corrupt};
use super::inflate::{Pieces, Stream};
use super::open;
use super::packs::ObjectDir;
use crate::archive::{Header, ObjectType};
use crate::key::Sha1Git;
use std::fs::File;
use std::io::BufReader;

/// The longest header is `commit ` and twenty digits.
const MAX_HEADER: usize = 32;

const READ_AT_ONCE: usize = 32 << 10;

pub(super) struct Loose<'a> {
    pub(super) header: Header,
    pub(super) content: Pieces<'a, BufReader<File>>,
}

/// Opens the file of an object, or `None` when there is none.
pub(super) fn open(dir: &ObjectDir, id: &Sha1Git) -> Result<Option<File>, Fault> {
    let hex = id.to_string();
    let path = dir.path.join(&hex[..2]).join(&hex[2..]);
    dir.watch.enter(&dir.path)?;
    match open::file(&path, &dir.served) {
        Ok((file, _)) => Ok(Some(file)),
        Err(unopened) => unopened.excuse("open loose object", &path, &dir.served).map(|()| None),
    }
}

/// Reads the header; the content is then read with `content`.
pub(super) fn read(file: File, stream: &mut Stream) -> Result<Loose<'_>, Fault> {
    let mut content = Pieces::new(BufReader::with_capacity(READ_AT_ONCE, file), stream, None);
    let mut text = [0; MAX_HEADER];
    let mut length = 0;
    loop {
        match content.byte()? {
            Some(0) => break,
            Some(byte) if length < MAX_HEADER => {
                text[length] = byte;
                length += 1;
            }
            _ => return Err(corrupt("its file does not begin as an object does")),
        }
    }
    let header = parse(&text[..length]).ok_or(corrupt("its file does not begin as an object does"))?;
    content.expect(header.size)?;
    Ok(Loose { header, content })
}

fn parse(text: &[u8]) -> Option<Header> {
    let (word, size) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let object_type = [ObjectType::Blob, ObjectType::Tree, ObjectType::Commit, ObjectType::Tag]
        .into_iter()
        .find(|object_type| object_type.as_str() == word)?;
    let digits = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
    Some(Header { object_type, size: size.parse().ok().filter(|_| digits)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_strictly() {
        assert_eq!(parse(b"blob 0"), Some(Header { object_type: ObjectType::Blob, size: 0 }));
        assert_eq!(parse(b"tag 123"), Some(Header { object_type: ObjectType::Tag, size: 123 }));
        for text in [&b""[..], b"blob", b"blob ", b"blob 01", b"blob +1", b"blob -1", b"blob  1", b"blobs 1", b" 1"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(b"blob 99999999999999999999"), None);
    }
}
