//! What the URL of a page of a forge names: a repository, and a branch, a tag or a commit of it. Pure.
//!
//! The forms are those of GitHub, GitLab, Gitea and Forgejo, Bitbucket, sourcehut, cgit, gitweb and gitiles, as their
//! pages link to themselves. Which part of a path is the repository and which the name of a branch only a look at
//! what is known tells: every reading that could be meant is given, the likeliest first.

use super::wanted::Named;
use crate::key::Sha1Git;
use crate::origins::TreePath;
use percent_encoding::percent_decode_str;
use url::Url;

/// The most readings of one URL.
const MAX_READINGS: usize = 48;

/// Names of branches are looked for with so many slashes at most.
const MAX_PARTS: usize = 6;

/// What `text` may name, if it is a URL, and an id that stands in it.
pub(super) fn read(text: &str) -> Option<(Vec<Named>, Option<Sha1Git>)> {
    let text = text.strip_prefix("git+").unwrap_or(text);
    let url = Url::parse(&spelled_out(text)).ok()?;
    if !matches!(url.scheme(), "http" | "https" | "git" | "ssh" | "file") || url.cannot_be_a_base() {
        return None;
    }
    let parts: Vec<String> = url.path_segments()?.filter(|part| !part.is_empty()).map(decoded).collect();
    let mut found = Vec::new();
    by_query(&url, &parts, &mut found);
    for at in 1..parts.len() {
        by_path(&url, &parts, at, &mut found);
    }
    // The URL of the repository itself, with a branch or tag behind a sign that is no part of it.
    let fragment = url.fragment().filter(|fragment| !fragment.is_empty()).map(decoded);
    if let Some((path, reference)) = url.path().rsplit_once('@').filter(|(path, _)| path.len() > 1) {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        push(&url, &parts, Some(decoded(reference)), None, &mut found);
    }
    push(&url, &parts, fragment, None, &mut found);
    found.truncate(MAX_READINGS);
    let id = text.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| Sha1Git::from_spelling(word).ok());
    Some((found, id))
}

/// `git@host:path` is what ssh clones, `github:owner/name` what Nix calls it.
fn spelled_out(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    for (short, host) in [("github:", "github.com"), ("gitlab:", "gitlab.com")] {
        if let Some(rest) = text.strip_prefix(short) {
            let mut parts = rest.splitn(3, '/');
            let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let reference = parts.next().map_or(String::new(), |reference| format!("#{reference}"));
            return format!("https://{host}/{owner}/{name}{reference}");
        }
    }
    match text.split_once(':') {
        Some((host, path)) if host.contains('@') && !path.starts_with('/') => format!("ssh://{host}/{path}"),
        _ => text.to_owned(),
    }
}

/// cgit: `/x.git/commit/?id=`, `?h=`. gitweb: `?p=x.git;a=commit;h=`.
fn by_query(url: &Url, parts: &[String], found: &mut Vec<Named>) {
    let value = |wanted: &str| {
        let pairs = url.query()?.split(['&', ';']).filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, value)| *name == wanted && !value.is_empty()).map(|(_, value)| decoded(value)).next()
    };
    if let (Some(project), Some(reference)) = (value("p"), value("h").or_else(|| value("hb"))) {
        let below: Vec<String> = project.split('/').map(str::to_owned).collect();
        push(url, &below, Some(reference.clone()), None, found);
        push(url, &[parts, &below].concat(), Some(reference), None, found);
    } else if let Some(reference) = value("id").or_else(|| value("h")) {
        const PAGES: [&str; 10] =
            ["commit", "tree", "log", "tag", "patch", "diff", "snapshot", "plain", "blame", "about"];
        let page = parts.iter().rposition(|part| PAGES.contains(&part.as_str()));
        push(url, &parts[..page.unwrap_or(parts.len())], Some(reference), None, found);
    }
}

/// What stands before the name of a branch, a tag or a commit.
const PAGES: [&str; 13] =
    ["+", "+log", "tags", "releases", "refs", "commit", "commits", "tree", "blob", "raw", "src", "log", "rev"];

/// The repository is the parts before `at`; what stands there says what follows.
fn by_path(url: &Url, parts: &[String], at: usize, found: &mut Vec<Named>) {
    let words: Vec<&str> = parts[at..].iter().map(String::as_str).collect();
    let words = words.strip_prefix(&["-"]).unwrap_or(&words);
    let rest = match *words {
        ["releases", "tag", ref rest @ ..] | ["src" | "raw" | "media", "branch" | "tag" | "commit", ref rest @ ..] => {
            rest
        }
        [word, ref rest @ ..] if PAGES.contains(&word) => rest,
        ["archive", ref rest @ ..] => {
            let Some((last, before)) = rest.split_last() else { return };
            let name = [before, &[without_extension(last)]].concat().join("/");
            push(url, &parts[..at], Some(name), None, found);
            return;
        }
        _ => return,
    };
    for count in 1..=rest.len().min(MAX_PARTS) {
        let path = (count < rest.len()).then(|| TreePath::parse(rest[count..].join("/").as_bytes())).flatten();
        push(url, &parts[..at], Some(rest[..count].join("/")), path, found);
    }
}

fn without_extension(name: &str) -> &str {
    let ends = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar", ".zip", ".bundle"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The repository at these parts of the path, as it may have been added: with `.git` and without, and by https.
fn push(url: &Url, parts: &[String], reference: Option<String>, path: Option<TreePath>, found: &mut Vec<Named>) {
    let (Some(host), false) = (url.host_str().filter(|host| !host.is_empty()).or(Some("")), parts.is_empty()) else {
        return;
    };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let below = parts.join("/");
    let bare = below.strip_suffix(".git").unwrap_or(&below);
    let mut origins = Vec::new();
    for scheme in [url.scheme(), "https"] {
        let user =
            if scheme == "ssh" && !url.username().is_empty() { format!("{}@", url.username()) } else { String::new() };
        let port = if scheme == url.scheme() { port.as_str() } else { "" };
        for below in [below.as_str(), bare, &format!("{bare}.git")] {
            let origin = format!("{scheme}://{user}{host}{port}/{below}");
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
    }
    found.push(Named { origins, reference, path });
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn pages_of_forges_name_a_repository_and_what_is_shown_of_it() {
        let gh = "https://github.com/o/r";
        for (text, origin, reference, path) in [
            (format!("{gh}/commit/{ID}"), gh, ID, ""),
            (format!("{gh}/tree/v1.0"), gh, "v1.0", ""),
            (format!("{gh}/tree/main/src/lib"), gh, "main", "src/lib"),
            (format!("{gh}/tree/feature/x/src"), gh, "feature/x", "src"),
            (format!("{gh}/blob/main/a%20b.txt#L3"), gh, "main", "a b.txt"),
            (format!("{gh}/releases/tag/v1.0"), gh, "v1.0", ""),
            (format!("{gh}/archive/refs/tags/v1.0.tar.gz"), gh, "refs/tags/v1.0", ""),
            (format!("{gh}/archive/v1.0.zip"), gh, "v1.0", ""),
            (format!("{gh}.git"), gh, "", ""),
            (format!("{gh}#v1"), gh, "v1", ""),
            (format!("{gh}@v1"), gh, "v1", ""),
            (format!("git+{gh}.git@v1"), gh, "v1", ""),
            ("github:o/r/v1".to_owned(), gh, "v1", ""),
            ("git@github.com:o/r.git".to_owned(), gh, "", ""),
            (format!("https://gitlab.com/g/s/r/-/commit/{ID}?x=y"), "https://gitlab.com/g/s/r", ID, ""),
            ("https://gitlab.com/g/r/-/tree/main/docs".to_owned(), "https://gitlab.com/g/r", "main", "docs"),
            ("https://gitlab.com/g/r/-/tags/v1".to_owned(), "https://gitlab.com/g/r", "v1", ""),
            ("https://codeberg.org/o/r/src/branch/main/x".to_owned(), "https://codeberg.org/o/r", "main", "x"),
            ("https://codeberg.org/o/r/src/tag/v1".to_owned(), "https://codeberg.org/o/r", "v1", ""),
            ("https://bitbucket.org/o/r/commits/abc".to_owned(), "https://bitbucket.org/o/r", "abc", ""),
            ("https://git.sr.ht/~o/r/refs/1.0".to_owned(), "https://git.sr.ht/~o/r", "1.0", ""),
            (
                format!("https://git.example.org:8443/r.git/commit/?id={ID}"),
                "https://git.example.org:8443/r.git",
                ID,
                "",
            ),
            ("https://git.example.org/a/r/tree/docs?h=v1".to_owned(), "https://git.example.org/a/r", "v1", ""),
            (format!("https://example.org/git?p=a/r.git;a=commit;h={ID}"), "https://example.org/a/r.git", ID, ""),
            (format!("https://example.org/git?p=a/r.git;a=commit;h={ID}"), "https://example.org/git/a/r.git", ID, ""),
            (
                "https://x.googlesource.com/a/r/+/refs/heads/main/f".to_owned(),
                "https://x.googlesource.com/a/r",
                "refs/heads/main",
                "f",
            ),
        ] {
            let (found, id) = read(&text).unwrap();
            let is_meant = |named: &Named| {
                named.origins.iter().any(|named| named == origin)
                    && named.reference.as_deref().unwrap_or_default() == reference
                    && named.path.as_ref().map(TreePath::to_bytes).unwrap_or_default() == path.as_bytes()
            };
            assert!(found.iter().any(is_meant), "{text}: {found:#?}");
            assert_eq!(id.is_some(), text.contains(ID), "{text}");
        }
        for text in ["v1.0", "local:r.git", "javascript:alert(1)", "mailto:a@b", "https:", ""] {
            assert!(read(text).is_none_or(|(found, _)| found.is_empty()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_readings_are_few(text in "(https://|git@)?[a-z:/@#?=;.%+-]{0,80}") {
            prop_assert!(read(&text).is_none_or(|(found, _)| found.len() <= MAX_READINGS));
        }
    }
}
