//! Tables of sources: presets, templates, and what is refused.

use super::*;

fn source(text: &str) -> Result<Source, String> {
    let raw: RawSource = toml::from_str(text).map_err(|error| error.to_string())?;
    Source::new("s", raw).map_err(|error| error.to_string())
}

#[test]
fn presets_make_the_urls_of_their_forges() {
    let cases = [
        ("hgweb", "https://hg.x.org", "", "https://hg.x.org/a/b/archive/3d11cb4f31b9.tar.gz"),
        ("hgweb", "https://hg.x.org/", "t/m", "https://hg.x.org/a/b/archive/3d11cb4f31b9.tar.gz/t/m"),
        ("github", "https://github.com", "", "https://github.com/a/b/archive/3d11cb4f31b9.tar.gz"),
        ("gitlab", "https://gitlab.com", "", "https://gitlab.com/a/b/-/archive/3d11cb4f31b9/b-3d11cb4f31b9.tar.gz"),
        ("gitea", "https://x.org/git", "", "https://x.org/git/a/b/archive/3d11cb4f31b9.tar.gz"),
        ("cgit", "https://x.org", "", "https://x.org/a/b/snapshot/b-3d11cb4f31b9.tar.gz"),
        ("gitiles", "https://x.org", "", "https://x.org/a/b/+archive/3d11cb4f31b9.tar.gz"),
    ];
    for (preset, base, subdir, url) in cases {
        let source = source(&format!("preset = {preset:?}\nbase = {base:?}\nrepos = [\"**\"]")).unwrap();
        assert_eq!(source.archive_url("a/b", "3d11cb4f31b9", "tar.gz", subdir), url);
    }
}

#[test]
fn a_template_of_ones_own_is_filled_and_its_values_are_escaped() {
    let text = "url = \"https://hg.mozilla.org/{repo}/archive/{rev}.{suffix}/testing/mozharness\"\nrepos = [\"*\"]";
    let hg = source(text).unwrap();
    let url = "https://hg.mozilla.org/mozilla-central/archive/3d11cb4f31b9.tar.gz/testing/mozharness";
    assert_eq!(hg.archive_url("mozilla-central", "3d11cb4f31b9", "tar.gz", ""), url);
    assert_eq!(hg.host(), "hg.mozilla.org");
    let escaped = hg.archive_url("{rev}", "a?b", "zip", "");
    assert_eq!(escaped, "https://hg.mozilla.org/%7Brev%7D/archive/a%3Fb.zip/testing/mozharness");
}

/// What is asked for, what the upstream is asked for, and whether that moves.
type Asked<'a> = (&'a str, Option<(&'a str, bool)>);

#[test]
fn what_a_revision_looks_like_is_the_sources_to_say() {
    let base = "url = \"https://x.org/{rev}\"\n";
    let full = "aB".repeat(20);
    let lower = full.to_lowercase();
    let cases: [(&str, &[Asked<'_>]); 5] = [
        (
            "",
            &[
                ("3d11cb4f31b9", Some(("3d11cb4f31b9", false))),
                ("3D11CB4F31B9", Some(("3d11cb4f31b9", false))),
                (&full, Some((&lower, false))),
                ("tip", None),
                ("abc123", None),
                ("3d11cb4f31bx", None),
            ],
        ),
        (
            "revisions = [\"full-hash\", \"v*\"]",
            &[("v1.2", Some(("v1.2", true))), ("3d11cb4f31b9", None), (&full, Some((&lower, false)))],
        ),
        (
            "revisions = [\"hash\", \"**\"]",
            &[
                ("main", Some(("main", true))),
                ("Release/One", Some(("Release/One", true))),
                ("ABC123", Some(("ABC123", true))),
                // What looks like a hash is one.
                ("ABCDEF1", Some(("abcdef1", false))),
            ],
        ),
        (
            "revision_digits = 12\nrevisions = [\"full-hash\", \"v*\"]",
            &[(&full, Some((&lower[..12], false))), ("v1", Some(("v1", true))), ("3d11cb4f31b9", None)],
        ),
        ("revisions = [\"*\"]\nrevision_digits = 7", &[("abcdef1", Some(("abcdef1", true)))]),
    ];
    for (lines, revisions) in cases {
        let source = source(&format!("{base}{lines}")).unwrap();
        for (asked, expected) in revisions {
            let found = source.revision(asked).map(|rev| (rev.clone(), source.moves(&rev)));
            let expected = expected.map(|(rev, moves)| (rev.to_owned(), moves));
            assert_eq!(found, expected, "{lines}: {asked}");
        }
    }
}

#[test]
fn every_suffix_can_be_offered_and_read() {
    for suffix in SUFFIXES {
        assert!(source(&format!("url = \"https://x.org/{{rev}}\"\nsuffixes = [{suffix:?}]")).is_ok(), "{suffix}");
        assert!(crate::archiver::structure::Packing::of(suffix).is_some(), "{suffix}");
    }
}

#[test]
fn the_top_directory_of_gitiles_is_kept() {
    let top =
        |text: &str| source(&format!("base = \"https://x.org\"\nrepos = [\"**\"]\n{text}")).unwrap().top_directory;
    assert_eq!(top("preset = \"gitiles\""), Top::Keep);
    assert_eq!(top("preset = \"hgweb\""), Top::Auto);
    assert_eq!(top("preset = \"gitiles\"\ntop_directory = \"strip\""), Top::Strip);
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases = [
        ("", "a preset or a url"),
        ("preset = \"hgweb\"", "base"),
        ("preset = \"github\"", "repos"),
        ("preset = \"sourceforge\"", "sourceforge"),
        ("url = \"https://{repo}.x.org/{rev}\"", "host"),
        ("url = \"https://u:p@x.org/{rev}\"", "host"),
        ("url = \"ftp://x.org/{rev}\"", "https://"),
        ("url = \"https://x.org/\"", "{rev}"),
        ("url = \"https://x.org/{rev}/{branch}\"", "{branch}"),
        ("url = \"https://x.org/{rev\"", "url"),
        ("url = \"https://x.org/{rev}\"\nsuffixes = [\"tar.Z\"]", "tar.Z"),
        ("url = \"https://x.org/{rev}\"\nrevision_digits = 6", "revision_digits"),
        ("url = \"https://x.org/{rev}\"\nmoving_expiry = \"0s\"", "moving_expiry"),
        ("url = \"https://x.org/{rev}\"\ntop_directory = \"some\"", "top_directory"),
        ("url = \"https://x.org/{rev}\"\nsuffixes = []", "suffixes"),
        ("url = \"https://x.org/{rev}\"\ntimeout = \"soon\"", "timeout"),
        ("url = \"https://x.org/{rev}\"\nheaders = { Authorization = \"x\" }", "token_file"),
        ("url = \"https://x.org/{rev}\"\ntoken_env = \"A\"\ntoken_file = \"b\"", "not both"),
        ("url = \"https://x.org/{rev}\"\nmax_sise = \"1GiB\"", "max_sise"),
    ];
    for (text, word) in cases {
        let error = source(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
    let named = Source::new("status", toml::from_str("url = \"https://x.org/{rev}\"").unwrap()).unwrap_err();
    assert!(named.to_string().contains("archiver.sources.status"), "{named}");
}
