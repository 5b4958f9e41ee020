//! Which authors, committers and taggers fast-import carries as they are. Pure.
//!
//! The rule is that of git 2.39 to 2.47 with dates in the raw form, which is what a plain
//! `git fast-import` reads; a test asks git itself.

use std::num::ParseIntError;

/// Whether what stands behind `author `, `committer ` or `tagger ` comes through fast-import
/// unchanged; if not, why.
pub(crate) fn check(ident: &[u8]) -> Result<(), &'static str> {
    if ident.contains(&0) {
        return Err("it has a NUL");
    }
    if ident.first() == Some(&b'<') {
        return Err("there is no space before its <");
    }
    let open = bracket(ident).filter(|&at| ident[at] == b'<').ok_or("it has no <, or a > before it")?;
    if ident[..open].last().is_none_or(|&byte| byte != b' ') {
        return Err("there is no space before its <");
    }
    let rest = &ident[open + 1..];
    let close = bracket(rest).filter(|&at| rest[at] == b'>').ok_or("it has no >, or a second <")?;
    let date = rest[close + 1..].strip_prefix(b" ").ok_or("there is no date behind its >")?;
    check_date(date)
}

/// The first `<` or `>`.
fn bracket(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| matches!(byte, b'<' | b'>'))
}

/// Seconds, a space, a sign and a time zone of at most 1400.
fn check_date(date: &[u8]) -> Result<(), &'static str> {
    const NO_DATE: &str = "its date is not seconds and a time zone";
    let space = date.iter().position(|&byte| byte == b' ').ok_or(NO_DATE)?;
    let (seconds, zone) = (&date[..space], &date[space + 1..]);
    let seconds = seconds.strip_prefix(b"-").unwrap_or(seconds);
    number(seconds).ok_or(NO_DATE)?.map_err(|_| "its date is out of range")?;
    let zone = zone.strip_prefix(b"+").or_else(|| zone.strip_prefix(b"-")).ok_or(NO_DATE)?;
    match number(zone).ok_or(NO_DATE)? {
        Ok(0..=1400) => Ok(()),
        _ => Err("its time zone is over 1400"),
    }
}

/// The number of these digits if it has 64 bits; `None` when these are not digits.
fn number(digits: &[u8]) -> Option<Result<u64, ParseIntError>> {
    let are_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| are_digits).map(str::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fast_import_alters_or_refuses_is_told() {
        let cases = [
            ("A <a> 1 +0000", true),
            ("A <a> 1 -0000", true),
            ("A <a> 0001 +0000", true),
            ("A <a> -1 +0000", true),
            ("A <a> 18446744073709551615 +0000", true),
            (" <> 1 +0000", true),
            ("A <> 1 +1400", true),
            ("A <a> 1 +00", true),
            ("A <a> 1 +051800", false),
            ("A <a> 1 +1401", false),
            ("A <a> 18446744073709551616 +0000", false),
            ("<a> 1 +0000", false),
            ("A<a> 1 +0000", false),
            ("A <a<b> 1 +0000", false),
            ("A > <a> 1 +0000", false),
            ("A a 1 +0000", false),
            ("A <a>", false),
            ("A <a> 1", false),
            ("A <a> 1 0000", false),
            ("A <a> 1 +", false),
            ("A <a> 1 +0000 ", false),
            ("A <a> x +0000", false),
            ("A\0 <a> 1 +0000", false),
            ("", false),
        ];
        for (ident, carried) in cases {
            assert_eq!(check(ident.as_bytes()).is_ok(), carried, "{ident:?}: {:?}", check(ident.as_bytes()));
        }
    }
}
