//! From a URL below `/archiver/` to what is wanted: both generations of the URL, the parameters and
//! their defaults, the allow-lists. Pure; nothing that a source does not allow gets past here.

use super::settings::Archiver;
use super::source::Source;
use crate::task::Wanted;
use url::form_urlencoded;

/// The longest parameter, in bytes.
const MAX_PARAMETER: usize = 512;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The archive.
    pub wanted: Wanted,
    /// The region that it should come from. It is no part of the key.
    pub region: Option<String>,
    /// Whether the canonical bundle of its directory is asked for instead.
    pub canonical: bool,
}

/// Why a request asks for nothing that may be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no such source.
    #[error("there is no source {0:?} here")]
    NoSource(String),
    /// Something is malformed, unknown or missing.
    #[error("{0}")]
    Malformed(String),
    /// The source does not offer this repository.
    #[error("the source {source_name} does not offer the repository {repo:?}")]
    Forbidden {
        /// The source.
        source_name: String,
        /// The repository.
        repo: String,
    },
}

/// Reads the path below `/archiver/`, decoded and cut at its slashes, and the query.
///
/// Both generations: `<source>/<rev>?repo=...` and `<source>/<repo>/<rev>`, whose repository may have
/// slashes of its own.
pub fn read<S: AsRef<str>>(path: &[S], query: Option<&str>, archiver: &Archiver) -> Result<Ask, AskError> {
    let path: Vec<&str> = path.iter().flat_map(|segment| segment.as_ref().split('/')).collect();
    let (name, rest) = path.split_first().unwrap_or((&"", &[]));
    let source = archiver.sources.get(*name).ok_or_else(|| AskError::NoSource(shown(name)))?;
    let mut given = Given::read(query)?;
    let (rev, repo) = rest.split_last().ok_or_else(|| AskError::Malformed("a revision is missing".to_owned()))?;
    if !repo.is_empty() {
        given.set("repo", repo.join("/"))?;
    }
    let wanted = wanted(source, rev, &given)?;
    let region = given.region.or_else(|| source.defaults.region.clone());
    Ok(Ask { wanted, region, canonical: given.canonical })
}

/// The archive of a source with these parameters, if the source offers it.
fn wanted(source: &Source, rev: &str, given: &Given) -> Result<Wanted, AskError> {
    let malformed = |what: String| Err(AskError::Malformed(what));
    let pick = |given: &Option<String>, default: &Option<String>| given.clone().or_else(|| default.clone());
    let repo = pick(&given.repo, &source.defaults.repo).unwrap_or_default();
    let subdir = pick(&given.subdir, &source.defaults.subdir).unwrap_or_default();
    let subdir = subdir.trim_matches('/');
    let suffix = pick(&given.suffix, &source.defaults.suffix).unwrap_or_else(|| source.suffixes[0].clone());
    if source.takes("repo") || source.takes("name") {
        if repo.is_empty() {
            return malformed("repo is missing".to_owned());
        }
        if !is_path(&repo) {
            return malformed("repo is not the path of a repository".to_owned());
        }
        if !source.allows(&repo) {
            return Err(AskError::Forbidden { source_name: source.name.clone(), repo: shown(&repo) });
        }
    } else if given.repo.is_some() {
        return malformed(format!("the source {} has one repository only: leave repo out", source.name));
    }
    if !subdir.is_empty() && !source.takes("subdir") {
        return malformed(format!("the source {} offers no subdirectories", source.name));
    }
    if !subdir.is_empty() && !is_path(subdir) {
        return malformed("subdir is not the path of a directory".to_owned());
    }
    if !source.suffixes.contains(&suffix) {
        return malformed(format!("the source {} offers the suffixes {}", source.name, source.suffixes.join(", ")));
    }
    let Some(rev) = source.revision(rev).filter(|rev| is_path(rev)) else {
        return malformed(format!("{:?} is not a revision of the source {}", shown(rev), source.name));
    };
    let url = source.archive_url(&repo, &rev, &suffix, subdir);
    let (source, subdir) = (source.name.clone(), subdir.to_owned());
    Ok(Wanted { source, repo, rev, suffix, subdir, url })
}

/// The parameters that a request names; one that is empty counts as left out.
#[derive(Default)]
struct Given {
    repo: Option<String>,
    suffix: Option<String>,
    subdir: Option<String>,
    region: Option<String>,
    canonical: bool,
}

impl Given {
    fn read(query: Option<&str>) -> Result<Self, AskError> {
        let mut given = Self::default();
        // A `&` too many, at the start perhaps, makes a pair of nothing, which the parser leaves out.
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            given.set(&name, value.into_owned())?;
        }
        Ok(given)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), AskError> {
        let field = match name {
            "repo" => &mut self.repo,
            "suffix" => &mut self.suffix,
            "subdir" => &mut self.subdir,
            "region" | "preferred_region" => &mut self.region,
            "canonical" => {
                self.canonical = match value.as_str() {
                    "" | "0" => false,
                    "1" => true,
                    _ => return Err(AskError::Malformed("canonical is 0 or 1".to_owned())),
                };
                return Ok(());
            }
            _ => return Err(AskError::Malformed(format!("unknown parameter {:?}", shown(name)))),
        };
        if value.len() > MAX_PARAMETER {
            return Err(AskError::Malformed(format!("{name} has more than {MAX_PARAMETER} bytes")));
        }
        if value.is_empty() {
            return Ok(());
        }
        match field {
            Some(before) if *before != value => Err(AskError::Malformed(format!("{name} is named twice"))),
            field => {
                *field = Some(value);
                Ok(())
            }
        }
    }
}

/// Parts that are neither empty nor lead elsewhere, and hold nothing that cannot be seen.
fn is_path(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with('-');
    text.len() <= MAX_PARAMETER
        && text.split('/').all(part)
        && !text.contains(['\\', '?', '#', '{', '}'])
        && !text.chars().any(char::is_control)
}

/// What of a client's text is said back to it.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn archiver() -> Archiver {
        let text = r#"
            [sources.mozharness]
            url = "https://hg.mozilla.org/{repo}/archive/{rev}.{suffix}/testing/mozharness"
            repos = ["mozilla-*", "projects/*"]
            [sources.hgmo]
            preset = "hgweb"
            base = "https://hg.mozilla.org"
            repos = ["**"]
            revisions = ["hash", "v*"]
            defaults = { region = "us-west-2" }
            [sources.one]
            url = "https://x.org/{rev}.tar.gz"
            [sources.short]
            preset = "hgweb"
            base = "https://hg.mozilla.org"
            repos = ["**"]
            revision_digits = 12
        "#;
        Archiver::new(toml::from_str(text).unwrap()).unwrap()
    }

    fn ask(target: &str) -> Result<Ask, AskError> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        read(&path.split('/').collect::<Vec<_>>(), query, &archiver())
    }

    #[test]
    fn both_generations_of_the_url_ask_for_the_same() {
        let first = ask("mozharness/3d11cb4f31b9?repo=mozilla-central&region=us-east-1").unwrap();
        let url = "https://hg.mozilla.org/mozilla-central/archive/3d11cb4f31b9.tar.gz/testing/mozharness";
        assert_eq!((first.wanted.url.as_str(), first.region.as_deref()), (url, Some("us-east-1")));
        let second = ask("mozharness/mozilla-central/3d11cb4f31b9?&preferred_region=us-east-1&suffix=tar.gz").unwrap();
        assert_eq!(first, second);
        let nested = ask("hgmo/releases/mozilla/esr/3d11cb4f31b9?&subdir=testing/mozharness").unwrap();
        assert_eq!(
            (nested.wanted.repo.as_str(), nested.region.as_deref()),
            ("releases/mozilla/esr", Some("us-west-2"))
        );
        assert_eq!(nested.wanted.file_name(), "esr-3d11cb4f31b9.tar.gz");
        assert!(ask("one/3d11cb4f31b9?canonical=1").unwrap().canonical);
    }

    #[test]
    fn every_parameter_but_the_region_is_in_the_key() {
        let key = |target: &str| ask(target).unwrap().wanted.key();
        let base = key("hgmo/a/3d11cb4f31b9");
        assert_eq!(base, key("hgmo/3d11cb4f31b9?repo=a&region=x&canonical=1"));
        assert_eq!(base, key("hgmo/a/3d11cb4f31b9?suffix=tar.gz&subdir="));
        let others = [
            "hgmo/b/3d11cb4f31b9",
            "hgmo/x/a/3d11cb4f31b9",
            "hgmo/a/3d11cb4f31b8",
            "hgmo/a/3d11cb4f31b9?suffix=zip",
            "hgmo/a/3d11cb4f31b9?subdir=d",
        ];
        for other in others {
            assert_ne!(base, key(other), "{other}");
        }
    }

    /// A request whose six fields are these.
    fn fields(parts: [&str; 6]) -> Wanted {
        let [source, repo, rev, suffix, subdir, url] = parts.map(str::to_owned);
        Wanted { source, repo, rev, suffix, subdir, url }
    }

    #[test]
    fn a_byte_that_moves_from_one_field_to_the_next_makes_another_key() {
        let whole = ["s", "ab", "cd", "ef", "gh", "ij"];
        let mut keys = vec![fields(whole).key()];
        for at in 0..whole.len() - 1 {
            for to_the_right in [true, false] {
                let (left, right) = (whole[at], whole[at + 1]);
                let cut = if to_the_right { left.len() - 1 } else { left.len() + 1 };
                let both = [left, right].concat();
                let mut moved = whole;
                (moved[at], moved[at + 1]) = both.split_at(cut);
                assert_eq!(moved.concat(), whole.concat(), "nothing else changes");
                keys.push(fields(moved).key());
            }
        }
        // All of it in one field.
        for at in 0..whole.len() {
            let all = whole.concat();
            let mut alone = [""; 6];
            alone[at] = &all;
            keys.push(fields(alone).key());
        }
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "two requests have one key");
    }

    #[test]
    fn a_hash_in_upper_case_is_the_same_request() {
        let asked = |target: &str| ask(target).unwrap().wanted;
        assert_eq!(asked("hgmo/a/3D11CB4F31B9"), asked("hgmo/a/3d11cb4f31b9"));
        let full = "3d11cb4f31b9".repeat(4)[..40].to_owned();
        let mixed = full.replace('d', "D");
        assert_eq!(asked(&format!("one/{mixed}")).url, format!("https://x.org/{full}.tar.gz"));
        // A name is as it is.
        assert_eq!(asked("hgmo/a/vA").rev, "vA");
        let short = asked(&format!("short/a/{}", full.to_uppercase()));
        assert_eq!((short.rev.as_str(), &short), ("3d11cb4f31b9", &asked("short/a/3d11cb4f31b9")));
        assert_eq!(asked("short/a/3d11cb4").rev, "3d11cb4", "what is shorter stays so");
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        let malformed = [
            "hgmo",
            "hgmo/3d11cb4f31b9",
            "hgmo/a/tip",
            "hgmo/a/3d11cb4f31b9?x=1",
            "hgmo/a/3d11cb4f31b9?repo=b",
            "hgmo/a/3d11cb4f31b9?region=x&preferred_region=y",
            "hgmo/a/3d11cb4f31b9?canonical=yes",
            "hgmo/a/3d11cb4f31b9?suffix=tar.xz",
            "hgmo/a/3d11cb4f31b9?subdir=../x",
            "hgmo/a/../3d11cb4f31b9",
            "hgmo/a//3d11cb4f31b9",
            "hgmo/3d11cb4f31b9?repo=a%00",
            "hgmo/3d11cb4f31b9?repo=-a",
            "hgmo/a/v1?subdir=a%0Ab",
            "mozharness/3d11cb4f31b9?repo=mozilla-central&subdir=x",
            "one/3d11cb4f31b9?repo=x",
        ];
        for target in malformed {
            assert!(matches!(ask(target), Err(AskError::Malformed(_))), "{target}: {:?}", ask(target));
        }
        assert!(matches!(ask("none/3d11cb4f31b9"), Err(AskError::NoSource(_))));
        assert!(matches!(ask("mozharness/private/3d11cb4f31b9"), Err(AskError::Forbidden { .. })));
    }

    proptest! {
        #[test]
        fn no_request_leaves_the_upstream(path in "hgmo(/[ -~]{0,9}){0,4}/[0-9a-f]{12}", query in ".{0,30}") {
            if let Ok(ask) = ask(&format!("{path}?{query}")) {
                prop_assert!(ask.wanted.url.starts_with("https://hg.mozilla.org/"));
                let url = url::Url::parse(&ask.wanted.url).unwrap();
                prop_assert_eq!(url.as_str(), ask.wanted.url.as_str());
            }
        }
    }
}
