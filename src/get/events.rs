//! Reads server-sent events (WHATWG HTML, section 9.2) as they come in, of which only the data is of
//! use here. Pure. What a server sends may be anything: what is held is bounded.

/// The most bytes of one event, and of one line.
const MAX_EVENT: usize = 1 << 20;

/// An event, or a line of one, has more than the cap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Lines on their way to be events.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    after_cr: bool,
}

impl Events {
    /// Takes what has come; gives the data of the events that it completes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => whole.extend(self.end_line()?),
                _ if self.line.len() < MAX_EVENT => self.line.push(byte),
                _ => return Err(TooLong),
            }
        }
        Ok(whole)
    }

    fn end_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Ok(Some(data).filter(|data| !data.is_empty()));
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if self.data.len() + data.len() > MAX_EVENT {
                return Err(TooLong);
            }
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str, piece: usize) -> Vec<String> {
        let mut events = Events::default();
        let pieces = text.as_bytes().chunks(piece);
        let found = pieces.flat_map(|piece| events.push(piece).unwrap());
        found.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_are_found_however_they_are_cut_and_lines_end() {
        for end in ["\n", "\r", "\r\n"] {
            let text =
                "retry: 1||: a comment||id: 1|data: {\"a\":1}||data:x|data: y|event: z||data: cut".replace('|', end);
            for piece in 1..text.len() {
                assert_eq!(all(&text, piece), ["{\"a\":1}", "x\ny"], "{end:?} {piece}");
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut events = Events::default();
        assert_eq!(events.push(&vec![b'x'; MAX_EVENT + 1]), Err(TooLong));
        let mut events = Events::default();
        let line = [b"data: ", &vec![b'x'; MAX_EVENT / 2][..], b"\n"].concat();
        assert_eq!(events.push(&line), Ok(Vec::new()));
        assert_eq!(events.push(&[&line[..], &line].concat()), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Events::default().push(&bytes);
        }
    }
}
