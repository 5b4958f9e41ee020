//! Patterns of allow-lists: `*` stands for anything within one part of a path, `**` for any number of
//! whole parts. Pure.

/// Whether all of `text` fits `pattern`; both are cut at slashes.
///
/// ```
/// use larder::archiver::pattern::fits;
/// assert!(fits("integration/*", "integration/autoland"));
/// assert!(!fits("integration/*", "integration/x/y"));
/// assert!(fits("releases/**", "releases/mozilla/esr"));
/// ```
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let text: Vec<&str> = text.split('/').collect();
    any(&pattern, &text, |part| *part == "**", |pattern, text| part_fits(pattern, text))
}

/// Within one part.
fn part_fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    any(&pattern, &text, |c| *c == '*', |a, b| a == b)
}

/// The usual walk with one place to fall back to: linear in memory, at worst the product of the
/// lengths in time.
fn any<T>(pattern: &[T], text: &[T], is_star: impl Fn(&T) -> bool, one: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p).is_some_and(&is_star) {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|wanted| one(wanted, &text[t])) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_part_and_double_stars_do_not() {
        let cases = [
            ("ash", "ash", true),
            ("ash", "ash2", false),
            ("*", "ash", true),
            ("*", "a/b", false),
            ("**", "a/b/c", true),
            ("projects/*", "projects/ash", true),
            ("projects/*", "projects", false),
            ("projects/**", "projects/a/b", true),
            ("**/ash", "x/y/ash", true),
            ("**/ash", "x/y/ash2", false),
            ("m*-c*l", "mozilla-central", true),
            ("m*-c*l", "mozilla/central", false),
            ("FIREFOX_*_RELEASE", "FIREFOX_128_0_RELEASE", true),
            ("", "", true),
            ("a/**/b/**/c", "a/b/x/b/y/c", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
