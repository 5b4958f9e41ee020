//! Which names git takes for a ref: the rules of `git check-ref-format`. Pure.

/// Characters that no name holds, besides control characters and space.
const FORBIDDEN: &[u8] = b"~^:?*[\\";

/// Whether git takes `name`, which may be any bytes, for the full name of a ref: one below `refs/`.
///
/// The longest is that of a file's path, for git keeps some refs in files of their own.
pub(crate) fn is_ref_name(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && name.len() <= MAX_NAME && is_well_formed(name)
}

/// The longest name of a ref, in bytes, and of one part between slashes: those of a path.
const MAX_NAME: usize = 4000;
const MAX_PART: usize = 255 - b".lock".len();

/// `git check-ref-format <name>`, of a name with a slash in it.
fn is_well_formed(name: &[u8]) -> bool {
    let holds = |pair: &[u8; 2]| name.windows(2).any(|bytes| bytes == pair);
    !name.ends_with(b".")
        && !holds(b"..")
        && !holds(b"@{")
        && !name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || FORBIDDEN.contains(byte))
        && name.split(|byte| *byte == b'/').all(is_part)
}

fn is_part(part: &[u8]) -> bool {
    !part.is_empty() && part.len() <= MAX_PART && !part.starts_with(b".") && !part.ends_with(b".lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Command;

    fn git_takes(name: &[u8]) -> bool {
        let mut git = Command::new("git");
        git.arg("check-ref-format").arg(std::ffi::OsStr::from_bytes(name));
        git.status().expect("git can be run").success()
    }

    #[test]
    fn names_are_taken_as_git_takes_them() {
        let mut names: Vec<Vec<u8>> = [
            "refs/heads/main",
            "refs/heads/a/b",
            "refs/heads",
            "refs/heads/",
            "refs//heads",
            "/refs/heads/a",
            "refs/heads/..",
            "refs/heads/.",
            "refs/heads/.a",
            "refs/heads/a.",
            "refs/heads/a./b",
            "refs/heads/a..b",
            "refs/heads/a.lock",
            "refs/heads/a.lock/b",
            "refs/heads/.lock",
            "refs/heads/lock",
            "refs/heads/a.lockb",
            "refs/heads/@",
            "refs/heads/@{",
            "refs/heads/a@{b",
            "refs/heads/a{b}",
            "refs/heads/-a",
            "refs/heads/HEAD",
            "refs/../../x",
            "refs/heads/../../x",
            "refs/stash",
            "refs/heads/a b",
            "refs/heads/\u{e9}",
            "refs/x\n",
        ]
        .map(|name| name.as_bytes().to_vec())
        .to_vec();
        names.extend((1..=255_u8).map(|byte| [b"refs/heads/a", &[byte][..], b"b"].concat()));
        for name in names {
            assert_eq!(is_ref_name(&name), git_takes(&name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_git_would_take_and_larder_does_not() {
        for name in [&b"heads/main"[..], b"HEAD", b"../../x", b"", b"refs", b"refs/", b"refs/a\0b", b"main"] {
            assert!(!is_ref_name(name), "{}", name.escape_ascii());
        }
        assert!(!is_ref_name(&[b"refs/heads/", &[b'a'; 256][..]].concat()));
    }
}
