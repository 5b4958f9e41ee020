//! Which authors, committers and taggers fast-import carries as they are. Pure.
//!
//! The rule is that of git 2.39 to 2.55 with dates in the raw form, which is what a plain
//! `git fast-import` reads, or in the permissive one; a test asks git itself.

/// A date, and how fast-import takes it unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Date {
    /// In the raw form, which is the usual one.
    Raw,
    /// Only in the permissive form, for its time zone is one that no place has.
    Permissive,
}

/// How what stands behind `author `, `committer ` or `tagger ` comes through fast-import unchanged;
/// if it does not, why.
pub(crate) fn check(ident: &[u8]) -> Result<Date, &'static str> {
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

/// Seconds, a space, a sign and a time zone; of at most 1400 unless it is taken as it is.
fn check_date(date: &[u8]) -> Result<Date, &'static str> {
    const NO_DATE: &str = "its date is not seconds and a time zone";
    let (seconds, rest) = number(date).ok_or(NO_DATE)?;
    seconds.ok_or("its date is out of range")?;
    let zone = rest.strip_prefix(b" ").ok_or(NO_DATE)?;
    let zone = zone.strip_prefix(b"+").or_else(|| zone.strip_prefix(b"-")).ok_or(NO_DATE)?;
    let (zone, rest) = number(zone).ok_or(NO_DATE)?;
    if !rest.is_empty() {
        return Err(NO_DATE);
    }
    match zone.ok_or("its time zone is out of range")? {
        0..=1400 => Ok(Date::Raw),
        _ => Ok(Date::Permissive),
    }
}

/// A number as C's `strtoul` reads it, and what follows: spaces, a sign and digits; inside `None` when
/// it has over 64 bits. One below zero counts from 2^64 down.
fn number(text: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (is_negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let (digits, rest) = text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let value = std::str::from_utf8(digits).ok().filter(|digits| !digits.is_empty())?.parse::<u64>().ok();
    Some((value.map(|value| if is_negative { value.wrapping_neg() } else { value }), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fast_import_alters_or_refuses_is_told() {
        let (raw, permissive) = (Some(Date::Raw), Some(Date::Permissive));
        let cases = [
            ("A <a> 1 +0000", raw),
            ("A <a> 1 -0000", raw),
            ("A <a> 0001 +0000", raw),
            ("A <a> -1 +0000", raw),
            ("A <a> 18446744073709551615 +0000", raw),
            (" <> 1 +0000", raw),
            ("A <> 1 +1400", raw),
            ("A <a> 1 +00", raw),
            ("A <a>  1 +0000", raw),
            ("A <a> +1 +0000", raw),
            ("A <a> 1 + 100", raw),
            ("A <a> 1 +-0", raw),
            ("A <a> 1 +051800", permissive),
            ("A <a> 1 +1401", permissive),
            ("A <a> 1 -9999", permissive),
            ("A <a> 1 +-100", permissive),
            ("A <a> 1 +18446744073709551615", permissive),
            ("A <a> 1 +18446744073709551616", None),
            ("A <a> 18446744073709551616 +0000", None),
            ("<a> 1 +0000", None),
            ("A<a> 1 +0000", None),
            ("A <a<b> 1 +0000", None),
            ("A > <a> 1 +0000", None),
            ("A a 1 +0000", None),
            ("A <a>", None),
            ("A <a> 1", None),
            ("A <a> 1 0000", None),
            ("A <a> 1 +", None),
            ("A <a> 1 ++-1", None),
            ("A <a> 1 +0000 ", None),
            ("A <a> 1  +0000", None),
            ("A <a> x +0000", None),
            ("A <a> - 1 +0000", None),
            ("A\0 <a> 1 +0000", None),
            ("", None),
        ];
        for (ident, carried) in cases {
            assert_eq!(check(ident.as_bytes()).ok(), carried, "{ident:?}: {:?}", check(ident.as_bytes()));
        }
    }
}
