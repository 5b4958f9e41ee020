//! Names that some filesystem takes for `.git`: what `git fsck` reports as `hasDotgit`.
//!
//! HFS+ ignores certain code points and case; NTFS ignores case, trailing dots and spaces and what
//! follows a colon, knows `git~1` as the short name, and separates by backslashes. Which of these
//! count is git's decision (its `utf8.c` and `path.c`); a test asks git itself.

/// Whether a file of this name is, somewhere, the repository of the directory it is put in.
pub(super) fn is_dotgit(name: &[u8]) -> bool {
    is_hfs_dotgit(name) || name.split(|byte| *byte == b'\\').any(is_ntfs_dotgit)
}

fn is_ntfs_dotgit(name: &[u8]) -> bool {
    let rest = strip_ignoring_case(name, b".git").or_else(|| strip_ignoring_case(name, b"git~1"));
    let Some(rest) = rest else { return false };
    match rest.iter().find(|byte| !matches!(byte, b'.' | b' ')) {
        None => true,
        Some(byte) => matches!(byte, b':' | b'/'),
    }
}

fn strip_ignoring_case<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn is_hfs_dotgit(name: &[u8]) -> bool {
    // What is not UTF-8, or not a character by git's table, ends the name here as it does for git.
    let valid = match std::str::from_utf8(name) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&name[..error.valid_up_to()]).unwrap_or_default(),
    };
    let mut seen = valid
        .chars()
        .filter(|c| !is_ignored_by_hfs(*c))
        .take_while(|c| !matches!(c, '/' | '\u{fffe}' | '\u{ffff}'))
        .map(|c| c.to_ascii_lowercase());
    ".git".chars().all(|c| seen.next() == Some(c)) && seen.next().is_none()
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}
