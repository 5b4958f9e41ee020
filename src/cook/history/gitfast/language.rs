//! The lines of a fast-import stream as larder writes them, and no others: how a path is quoted,
//! what a changed path looks like. Pure; the writer and the reader of the format share it.

use std::io::Write as _;

/// The first line: who reads the stream must know that it ends with [`DONE`].
pub(crate) const START: &[u8] = b"feature done\n";
/// The last line, so that a stream that was cut short is not taken for whole.
pub(crate) const DONE: &[u8] = b"done\n";
/// What a ref that goes away is reset to.
pub(crate) const NOTHING: &[u8] = b"0000000000000000000000000000000000000000";
/// The longest path, in bytes, as in flat bundles. It bounds the depth too, to 2,048.
pub(crate) const MAX_PATH: usize = 4095;

/// Adds `D <path>`.
pub(crate) fn delete(path: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"D ");
    quote(path, out);
    out.push(b'\n');
}

/// Adds `M <mode> <target> <path>`.
pub(crate) fn modify(mode: &[u8], target: &[u8], path: &[u8], out: &mut Vec<u8>) {
    for part in [b"M ", mode, b" ", target, b" "] {
        out.extend_from_slice(part);
    }
    quote(path, out);
    out.push(b'\n');
}

/// Adds `:<mark>`.
pub(crate) fn mark(mark: u32, out: &mut Vec<u8>) {
    write!(out, ":{mark}").expect("because a vector takes all");
}

/// Adds a path: as it is, or between double quotes when it holds a double quote, a backslash or a
/// control character. Bytes that are not ASCII stay as they are.
fn quote(path: &[u8], out: &mut Vec<u8>) {
    if !path.iter().any(|&byte| needs_quotes(byte)) {
        out.extend_from_slice(path);
        return;
    }
    out.push(b'"');
    for &byte in path {
        match escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None if needs_quotes(byte) => write!(out, "\\{byte:03o}").expect("because a vector takes all"),
            None => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The path that was [`quote`]d so, or `None` when none was.
pub(crate) fn unquote(written: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = written.strip_prefix(b"\"") else {
        return (!written.iter().any(|&byte| needs_quotes(byte))).then(|| written.to_vec());
    };
    let mut path = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.strip_suffix(b"\"")?.iter().copied();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'\\' => match bytes.next()? {
                digit @ b'0'..=b'3' => {
                    [bytes.next()?, bytes.next()?].into_iter().try_fold(digit - b'0', |value, digit| {
                        matches!(digit, b'0'..=b'7').then(|| value << 3 | (digit - b'0'))
                    })?
                }
                letter => (0..=u8::MAX).find(|&byte| escape(byte) == Some(letter))?,
            },
            _ => byte,
        });
    }
    // Only one spelling is right.
    let mut again = Vec::with_capacity(written.len());
    quote(&path, &mut again);
    (again == written).then_some(path)
}

fn needs_quotes(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f)
}

/// The letter behind a backslash.
fn escape(byte: u8) -> Option<u8> {
    Some(match byte {
        7 => b'a',
        8 => b'b',
        9 => b't',
        10 => b'n',
        11 => b'v',
        12 => b'f',
        13 => b'r',
        b'"' | b'\\' => byte,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(path: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        quote(path, &mut out);
        out
    }

    #[test]
    fn paths_are_quoted_only_where_they_must_be() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"a b/c ", b"a b/c "),
            (b"caf\xc3\xa9 \xff", b"caf\xc3\xa9 \xff"),
            (b"a\nb", b"\"a\\nb\""),
            (b"\"", b"\"\\\"\""),
            (b"\\\x01\x7f\xff", b"\"\\\\\\001\\177\xff\""),
        ];
        for (path, written) in cases {
            assert_eq!(quoted(path), written);
            assert_eq!(unquote(written).as_deref(), Some(path));
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        for written in [&b"\"a\""[..], b"\"\\012\"", b"\"\\n", b"\"", b"a\"", b"\"\\8\"", b"\"\\00\"", b"\"\\x\""] {
            assert_eq!(unquote(written), None, "{}", written.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn every_path_reads_back(path in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(!quoted(&path).contains(&b'\n'));
            prop_assert_eq!(unquote(&quoted(&path)), Some(path));
        }

        #[test]
        fn what_is_read_is_written_so(written in "[\"\\\\a0-9n]{0,12}") {
            if let Some(path) = unquote(written.as_bytes()) {
                prop_assert_eq!(quoted(&path), written.as_bytes());
            }
        }
    }
}
