//! What a commit or a tag says to people: who, when and why. Read leniently, for it is only shown: old history has
//! forms that git no longer writes, and what cannot be read is left out. Nothing that is verified depends on it.

/// The header and the message of a commit or a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described<'a> {
    header: &'a [u8],
    /// What stands behind the first empty line: any bytes.
    pub message: &'a [u8],
}

/// Who did something, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Name and address as they stand there.
    pub full: &'a [u8],
    /// A name: any bytes.
    pub name: &'a [u8],
    /// An address: any bytes.
    pub email: &'a [u8],
    /// Seconds since 1970.
    pub seconds: Option<i64>,
    /// How far the clock there was ahead of UTC, in minutes.
    pub zone: i32,
}

impl<'a> Described<'a> {
    /// Splits the content of a commit or a tag.
    ///
    /// ```
    /// use larder::archive::object::Described;
    /// let commit = Described::new(b"tree 4b82\nauthor A. U. Thor <a@example.org> 1112354055 +0200\n\nWhy\n");
    /// let author = commit.signature("author").expect("because it has one");
    /// assert_eq!((author.name, author.seconds, author.zone), (&b"A. U. Thor"[..], Some(1_112_354_055), 120));
    /// assert_eq!(commit.message, b"Why\n");
    /// ```
    #[must_use]
    pub fn new(content: &'a [u8]) -> Self {
        let end = content.windows(2).position(|pair| pair == b"\n\n");
        let (header, message) = end.map_or((content, &[][..]), |end| (&content[..end], &content[end + 2..]));
        Self { header, message }
    }

    /// The first line of the header with this key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'a [u8]> {
        let mut lines = self.header.split(|byte| *byte == b'\n');
        lines.find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b" "))
    }

    /// All headers: names, and values with the lines that go on joined by newlines.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'a [u8], Vec<u8>)> {
        let mut headers: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for line in self.header.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let (Some(more), Some((_, value))) = (line.strip_prefix(b" "), headers.last_mut()) {
                value.push(b'\n');
                value.extend_from_slice(more);
            } else {
                let name = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
                headers.push((&line[..name], line.get(name + 1..).unwrap_or_default().to_vec()));
            }
        }
        headers
    }

    /// The same of `author`, `committer` or `tagger`.
    #[must_use]
    pub fn signature(&self, key: &str) -> Option<Signature<'a>> {
        self.value(key).map(Signature::parse)
    }
}

impl<'a> Signature<'a> {
    /// `name <email> seconds zone`; the last `>` ends the address, for a name may hold anything.
    fn parse(line: &'a [u8]) -> Self {
        let Some(end) = line.iter().rposition(|byte| *byte == b'>') else {
            return Self { full: line, name: line.trim_ascii(), ..Self::default() };
        };
        let (who, when) = (&line[..end], &line[end + 1..]);
        let begin = who.iter().position(|byte| *byte == b'<').unwrap_or(who.len());
        let (name, email) = (who[..begin].trim_ascii(), who.get(begin + 1..).unwrap_or_default().trim_ascii());
        let when = std::str::from_utf8(when).unwrap_or_default();
        let mut words = when.split_ascii_whitespace();
        let seconds = words.next().and_then(|word| word.parse().ok());
        let full = &line[..=end];
        Self { full, name, email, seconds, zone: words.next().and_then(zone).unwrap_or_default() }
    }
}

/// `+0530` is 330. Zones that no place has are none.
fn zone(word: &str) -> Option<i32> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number =
        digits.parse::<i32>().ok().filter(|_| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 14 && minutes < 60).then_some(sign * (60 * hours + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signatures_are_read_as_far_as_they_can_be() {
        for (line, name, email, seconds, zone) in [
            ("A B <a@b> 5 -0130", "A B", "a@b", Some(5), -90),
            ("A B <a@b> 5", "A B", "a@b", Some(5), 0),
            ("<> -5 +0000", "", "", Some(-5), 0),
            ("A <B> C <d> 7 +9999", "A", "B> C <d", Some(7), 0),
            ("no address", "no address", "", None, 0),
            ("A <a> soon +0100", "A", "a", None, 60),
            ("A <a>99999999999999999999 +0100", "A", "a", None, 60),
        ] {
            let full = &line[..line.rfind('>').map_or(line.len(), |end| end + 1)];
            let expected =
                Signature { full: full.as_bytes(), name: name.as_bytes(), email: email.as_bytes(), seconds, zone };
            assert_eq!(Signature::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_message_begins_behind_the_first_empty_line() {
        let commit = Described::new(b"tree 1\ngpgsig a\n b\n\none\n\ntwo");
        assert_eq!((commit.message, commit.value("gpgsig")), (&b"one\n\ntwo"[..], Some(&b"a"[..])));
        assert_eq!(commit.value("tre"), None);
        assert_eq!(Described::new(b"tree 1\nauthor x").message, b"");
    }

    #[test]
    fn a_header_may_go_on_in_further_lines() {
        let commit = Described::new(b"tree 1\nencoding x\ngpgsig a\n \n b\nodd\n\nwords");
        let headers = commit.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &value[..])).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"tree", b"1"), (b"encoding", b"x"), (b"gpgsig", b"a\n\nb"), (b"odd", b"")];
        assert_eq!(headers, expected);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let described = Described::new(&[b"author ", &content[..]].concat()[..]).signature("author").is_some();
            let _ = Described::new(&content).headers();
            prop_assert!(described || content.first() == Some(&b'\n'));
        }
    }
}
