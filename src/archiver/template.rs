//! Templates of the URLs that archives are at: what one may hold, and those of the forges that are known.

use super::tree::Top;
use serde::Deserialize;

/// The parameters that a template may name.
const PLACEHOLDERS: [&str; 5] = ["repo", "name", "rev", "suffix", "subdir"];

/// A kind of forge whose URLs are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    Hgweb,
    Github,
    Gitlab,
    Gitea,
    Cgit,
    Gitiles,
}

/// A template, and what goes without saying with it.
pub(super) struct Template {
    pub(super) url: String,
    pub(super) suffixes: Vec<String>,
    /// Hosts of redirects.
    pub(super) redirects: Vec<String>,
    pub(super) top: Top,
}

impl Default for Template {
    fn default() -> Self {
        let suffixes = vec!["tar.gz".to_owned()];
        Self { url: String::new(), suffixes, redirects: Vec::new(), top: Top::Auto }
    }
}

impl Preset {
    /// The template of the forge at `base`, or where it usually is.
    pub(super) fn at(self, base: Option<&str>) -> Result<Template, String> {
        let (usual, path, suffixes): (Option<&str>, &str, &[&str]) = match self {
            Self::Hgweb => (None, "/{repo}/archive/{rev}.{suffix}/{subdir}", &["tar.gz", "tar.bz2", "zip"]),
            Self::Github => (Some("https://github.com"), "/{repo}/archive/{rev}.{suffix}", &["tar.gz", "zip"]),
            Self::Gitlab => (
                Some("https://gitlab.com"),
                "/{repo}/-/archive/{rev}/{name}-{rev}.{suffix}",
                &["tar.gz", "tar.bz2", "tar", "zip"],
            ),
            Self::Gitea => (None, "/{repo}/archive/{rev}.{suffix}", &["tar.gz", "zip"]),
            Self::Cgit => (
                None,
                "/{repo}/snapshot/{name}-{rev}.{suffix}",
                &["tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz", "tar", "zip"],
            ),
            Self::Gitiles => (None, "/{repo}/+archive/{rev}.{suffix}", &["tar.gz"]),
        };
        let base = base.or(usual).ok_or("base: say where this forge is, https://hg.example.org")?;
        let redirects = if base == "https://github.com" { vec!["codeload.github.com".to_owned()] } else { Vec::new() };
        let suffixes = suffixes.iter().map(|&suffix| suffix.to_owned()).collect();
        // Its archives have no directory of their own.
        let top = if self == Self::Gitiles { Top::Keep } else { Top::Auto };
        Ok(Template { url: format!("{}{path}", base.trim_end_matches('/')), suffixes, redirects, top })
    }
}

pub(super) fn check_template(template: &str) -> Result<(), String> {
    let host = authority(template).filter(|host| !host.is_empty());
    let host = host.ok_or("url begins with https:// or http:// and a host")?;
    if host.contains(['{', '@']) {
        return Err("url: the host is fixed, and holds no user".to_owned());
    }
    if !template.bytes().all(|b| b.is_ascii_graphic()) || template.contains('#') {
        return Err("url holds something that no URL has".to_owned());
    }
    for part in template.split('{').skip(1) {
        let name = part.split('}').next().filter(|name| part.len() > name.len()).unwrap_or_default();
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!("url: {{{name}}} is none of {{repo}} {{name}} {{rev}} {{suffix}} {{subdir}}"));
        }
    }
    if template.contains("{rev}") { Ok(()) } else { Err("url: {rev} is missing".to_owned()) }
}

/// The host of a URL, with its port where one is named.
pub(super) fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split(['/', '?']).next()
}
