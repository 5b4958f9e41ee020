//! Looking at the next few bytes of what is read, without taking them.

use std::io::{self, BufRead, Read};

/// Reads from `inner`, after what was looked at already.
pub(super) struct Ahead<R> {
    held: Vec<u8>,
    at: usize,
    inner: R,
}

impl<R: BufRead> Ahead<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { held: Vec::new(), at: 0, inner }
    }

    /// The next bytes: at least `wanted`, unless there are fewer.
    pub(super) fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        self.held.drain(..self.at);
        self.at = 0;
        while self.held.len() < wanted {
            let more = self.inner.fill_buf()?;
            if more.is_empty() {
                break;
            }
            let n = more.len().min(wanted - self.held.len());
            self.held.extend_from_slice(&more[..n]);
            self.inner.consume(n);
        }
        Ok(&self.held)
    }

    /// Passes over bytes that were looked at.
    pub(super) fn consume_ahead(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.held.len());
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.held.len() { Ok(&self.held[self.at..]) } else { self.inner.fill_buf() }
    }

    fn consume(&mut self, amount: usize) {
        if self.at < self.held.len() {
            self.consume_ahead(amount);
        } else {
            self.inner.consume(amount);
        }
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn what_was_looked_at_is_read_once() {
        let mut ahead = Ahead::new(BufReader::with_capacity(2, &b"abcdefgh"[..]));
        assert_eq!(ahead.ahead(5).unwrap(), b"abcde");
        ahead.consume_ahead(1);
        assert_eq!(ahead.ahead(3).unwrap(), b"bcde");
        let mut rest = Vec::new();
        ahead.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bcdefgh");
        assert_eq!(ahead.ahead(3).unwrap(), b"");
    }
}
