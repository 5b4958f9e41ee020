//! `--output`: what the name of a file says of the format that is wanted, and whether standard output
//! takes a bundle.

use crate::key::Format;
use anyhow::bail;
use std::io::IsTerminal;
use std::path::Path;

/// The format that a file's name ends in, the longest that fits: `x.git.tar` is no `tar`.
pub(super) fn format_of_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    let extensions = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
    let mut said = extensions.filter(|ext| !ext.bytes().any(|byte| byte.is_ascii_uppercase()));
    said.find_map(|ext| Format::from_spelling(ext).ok())
}

/// The format that is wanted, by what was said of it and by the name of the file; `None` where neither says.
///
/// # Errors
/// The two do not agree.
pub(super) fn wanted(said: Option<Format>, output: Option<&Path>) -> anyhow::Result<Option<Format>> {
    match (said, output.and_then(format_of_name)) {
        (Some(said), Some(named)) if said != named => {
            let output = output.unwrap_or(Path::new("-")).display();
            bail!("{output} would be a {said} bundle under the name of a {named} one: name one format")
        }
        (said, named) => Ok(said.or(named)),
    }
}

/// Whether it is standard output that is meant.
///
/// # Errors
/// It is, and it is a terminal.
pub(super) fn is_stdout(output: Option<&Path>) -> anyhow::Result<bool> {
    if output != Some(Path::new("-")) {
        return Ok(false);
    }
    if std::io::stdout().is_terminal() {
        bail!("a bundle is not for a terminal: name a file with --output, or pipe it into a program");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_extension_of_a_name_is_its_format() {
        for (name, format) in [
            ("x.git.tar", Some(Format::GitTar)),
            ("a/v1.0.tar.gz", Some(Format::TarGz)),
            ("x.tar", Some(Format::Tar)),
            ("v1.0.tgz", Some(Format::TarGz)),
            ("x.gz", None),
            ("zip", None),
            ("-", None),
        ] {
            assert_eq!(format_of_name(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_name_gives_the_format_and_never_contradicts_one_that_was_said() {
        let zip = Some(Path::new("x.zip"));
        assert_eq!(wanted(None, zip).unwrap(), Some(Format::Zip));
        assert_eq!(wanted(Some(Format::Tar), Some(Path::new("x"))).unwrap(), Some(Format::Tar));
        assert_eq!(wanted(None, None).unwrap(), None);
        let error = wanted(Some(Format::Tar), zip).unwrap_err().to_string();
        assert!(error.contains("tar bundle") && error.contains("zip one"), "{error}");
    }
}
