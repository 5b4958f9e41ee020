//! Text from outside (names of files and refs, paths, words of other servers) as it may stand in a log
//! or on a terminal: what could begin a line of its own, steer a terminal or change the order in which
//! the rest is read is written as its number.

use std::fmt::{self, Display, Write};

/// A value of one line, with nothing in it but what is seen.
///
/// ```
/// use larder::escaped::Escaped;
/// assert_eq!(Escaped("a\nb\u{1b}[2Jc\u{202e}d é").to_string(), "a\\nb\\u{1b}[2Jc\\u{202e}d é");
/// ```
pub struct Escaped<T>(pub T);

/// The same of several lines.
pub struct Lines<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { out: f, keeps: |_| false }, "{}", self.0)
    }
}

impl<T: Display> Display for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { out: f, keeps: |c| matches!(c, '\n' | '\t') }, "{}", self.0)
    }
}

/// JSON with what steers a terminal written as JSON does: it says the same.
#[must_use]
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Outside of strings JSON has none of these but spaces and line feeds.
        if is_unseen(c) && !matches!(c, '\n' | '\t' | '\r') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("because a string takes all");
            }
        } else {
            out.push(c);
        }
    }
    out
}

struct Escaping<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    keeps: fn(char) -> bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut seen = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| is_unseen(*c) && !(self.keeps)(*c)) {
            self.out.write_str(&text[seen..at])?;
            write!(self.out, "{}", c.escape_default())?;
            seen = at + c.len_utf8();
        }
        self.out.write_str(&text[seen..])
    }
}

/// Controls, what separates lines, what has no width, and what turns the direction of writing.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unseen_is_left_and_all_else_is_as_it_was() {
        for code in (0..=0x0010_ffff).filter_map(char::from_u32) {
            let text = Escaped(code).to_string();
            assert!(!text.chars().any(is_unseen), "{text:?}");
            assert_eq!(text == code.to_string(), !is_unseen(code), "{text:?}");
        }
        for hostile in ["\r", "\n", "\u{1b}", "\u{7f}", "\u{9b}", "\u{2028}", "\u{202e}", "\u{2066}", "\u{200b}"] {
            assert_ne!(Escaped(hostile).to_string(), hostile);
        }
        assert_eq!(Escaped("grün 日本 \\ \"x\"").to_string(), "grün 日本 \\ \"x\"");
        assert_eq!(Lines("a\tb\nc\rd").to_string(), "a\tb\nc\\rd");
    }

    #[test]
    fn json_says_the_same_without_what_steers_a_terminal() {
        let value = serde_json::json!({ "name": "\u{1b}[31m\u{9b}\u{202e}\u{e0041}\u{7f}\n é" });
        let text = json(&serde_json::to_string(&value).unwrap());
        assert!(!text.chars().any(is_unseen), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
