//! Rust source as tokens, as far as paths are concerned. Knows no layers.

/// Words, `::`, single signs, and literals as they stand, quotes and all. Comments are left out.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            found.push(rest[..length].to_owned());
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the block comment that `text` begins with; they nest.
fn comment_length(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string, character or lifetime that `text` begins with.
fn literal_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|p| text.strip_prefix(p).is_some_and(|rest| rest.starts_with(['"', '#', '\''])));
    let body = &text[prefix.map_or(0, str::len)..];
    let raw = prefix.is_some_and(|p| p.ends_with('r'));
    let length = if raw {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inside = body[hashes..].strip_prefix('"')?; // `r#crate` is a raw identifier
        let close = format!("\"{}", "#".repeat(hashes));
        hashes + 1 + inside.find(&close).map_or(inside.len(), |at| at + close.len())
    } else if let Some(inside) = body.strip_prefix('"') {
        1 + quoted_length(inside, '"')
    } else if let Some(inside) = body.strip_prefix('\'') {
        let mut chars = inside.chars();
        let is_char = chars.next() == Some('\\') || chars.next() == Some('\'');
        if is_char { 1 + quoted_length(inside, '\'') } else { 1 }
    } else {
        return None;
    };
    Some(prefix.map_or(0, str::len) + length)
}

/// The length up to and with the closing quote, escapes heeded.
fn quoted_length(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    inside.len()
}
