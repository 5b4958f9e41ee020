//! Lines of a stream in bounded memory, with the offset behind each. A line that has no end yet is
//! not given; one that is too long is passed over, and may be left in its midst.

use std::io::{self, Read};

/// A longer line is none that nginx wrote with its limits on a request's head.
pub(super) const LONGEST: usize = 64 << 10;

/// Read at a time; more than a line.
const BUFFER: usize = 4 * LONGEST;

/// The lines of `input`.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is not given yet.
    start: usize,
    end: usize,
    /// The offset of `start` in the file.
    offset: u64,
    /// Whether `start` lies in the midst of a line that is passed over.
    skipping: bool,
}

impl<R: Read> Lines<R> {
    /// The lines from `offset` on, where `input` stands. With `skipping` that is in the midst of a
    /// line, which is passed over.
    pub(super) fn new(input: R, offset: u64, skipping: bool) -> Self {
        Self { input, buffer: vec![0; BUFFER], start: 0, end: 0, offset, skipping }
    }

    /// The next line without its end; an empty one in place of one that is too long. `None` when no
    /// further line has its end yet.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut looked_at = 0;
        loop {
            let rest = &self.buffer[self.start + looked_at..self.end];
            if let Some(found) = memchr::memchr(b'\n', rest) {
                let from = self.start;
                let length = looked_at + found;
                self.start += length + 1;
                self.offset += length as u64 + 1;
                let skipped = std::mem::take(&mut self.skipping) || length > LONGEST;
                return Ok(Some(if skipped { &[] } else { &self.buffer[from..from + length] }));
            }
            looked_at = self.end - self.start;
            if self.skipping || looked_at > LONGEST {
                self.skipping = true;
                self.offset += looked_at as u64;
                (self.start, self.end, looked_at) = (0, 0, 0);
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, looked_at);
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(None),
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The offset behind what was given or passed over.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives as much at a time as it is told to.
    struct Dripping<'a>(&'a [u8], Vec<usize>);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.pop().unwrap_or(usize::MAX).clamp(1, buffer.len()).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(input: impl Read) -> (Vec<Vec<u8>>, u64, bool) {
        let mut lines = Lines::new(input, 0, false);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(line.to_vec());
        }
        (found, lines.offset(), lines.skipping)
    }

    proptest! {
        #[test]
        fn however_it_is_read_the_lines_are_the_same(
            lines in prop::collection::vec(prop::collection::vec(1..255_u8, 0..40), 0..20),
            rest in prop::collection::vec(11..255_u8, 0..40),
            drips in prop::collection::vec(1..50_usize, 0..60),
        ) {
            let lines: Vec<Vec<u8>> =
                lines.into_iter().map(|line| line.into_iter().filter(|b| *b != b'\n').collect()).collect();
            let mut text: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
            let whole = text.len() as u64;
            text.extend(rest);
            prop_assert_eq!(all(Dripping(&text, drips)), (lines, whole, false));
        }
    }

    #[test]
    fn too_long_a_line_is_passed_over_even_where_it_is_not_finished() {
        for length in [LONGEST, LONGEST + 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER] {
            let mut text = b"a\n".to_vec();
            text.resize(2 + length, b'x');
            let unfinished = all(text.as_slice());
            let kept = length <= LONGEST;
            let at = if kept { 2 } else { text.len() as u64 };
            assert_eq!(unfinished, (vec![b"a".to_vec()], at, !kept), "{length}");
            // Taken up where it was left, the rest of it is passed over as well.
            let more = b"rest\nb\n";
            let mut lines =
                Lines::new(io::Read::chain(&text[usize::try_from(at).unwrap()..], more.as_slice()), at, !kept);
            assert!(lines.next().unwrap().unwrap().is_empty(), "{length}");
            assert_eq!(lines.next().unwrap(), Some(b"b".as_slice()));
            assert_eq!(lines.offset(), (text.len() + more.len()) as u64);
            text.extend(b"\nb\n");
            let (finished, offset, _) = all(text.as_slice());
            assert_eq!((finished[1].len(), finished.len()), (if kept { length } else { 0 }, 3));
            assert_eq!((offset, finished[2].as_slice()), (text.len() as u64, b"b".as_slice()));
        }
    }
}
