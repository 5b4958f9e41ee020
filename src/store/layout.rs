//! From keys to paths and back: the one place that knows how bundles lie in the store.
//!
//! Pure: touches no file. `nginx/` repeats this rule, so a change here is a new [`VERSION`].

use crate::key::BundleKey;
use std::path::{Path, PathBuf};

/// The name of the layout's root. It changes with the bytes of the formats or with the layout, so
/// that old and new never mix.
pub const VERSION: &str = "v0";

/// Where a bundle lies below `bundles/`[`VERSION`]: `directory/4b/82/4b825....tar.gz`, the two
/// folders being the id's first four digits.
///
/// ```
/// use larder::store::layout;
/// let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar".parse()?;
/// let path = layout::relative_path(&key);
/// assert_eq!(path.to_str(), Some("directory/4b/82/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar"));
/// assert_eq!(layout::parse(&path), Some(key));
/// # Ok::<(), larder::key::ParseError>(())
/// ```
#[must_use]
pub fn relative_path(key: &BundleKey) -> PathBuf {
    let [kind, outer, inner, name] = parts(key);
    [kind, outer, inner, name].iter().collect()
}

/// The folders and the file name of [`relative_path`], outermost first.
pub(super) fn parts(key: &BundleKey) -> [String; 4] {
    let id = key.id().to_string();
    [key.kind().to_string(), id[..2].to_owned(), id[2..4].to_owned(), format!("{id}.{}", key.format())]
}

/// The key whose [`relative_path`] this is, byte for byte; `None` for any other path.
#[must_use]
pub fn parse(relative: &Path) -> Option<BundleKey> {
    let text = relative.to_str()?;
    let (kind, rest) = text.split_once('/')?;
    let (_, name) = rest.rsplit_once('/')?;
    let key = BundleKey::from_segment(kind.parse().ok()?, name).ok()?;
    // Comparing the text, not the path, refuses `a//b`, `a/./b` and a name without its extension.
    (relative_path(&key).as_os_str() == relative.as_os_str()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Format, ObjectKind, Sha1Git};
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn any_key() -> impl Strategy<Value = BundleKey> {
        (any::<[u8; 20]>(), 0..5_usize, 0..Format::ALL.len()).prop_filter_map("no such bundle", |(id, kind, format)| {
            BundleKey::new(ObjectKind::ALL[kind], Sha1Git::from_bytes(id), Format::ALL[format]).ok()
        })
    }

    proptest! {
        #[test]
        fn every_path_parses_back_to_its_key(key in any_key()) {
            prop_assert_eq!(parse(&relative_path(&key)), Some(key));
        }

        #[test]
        fn a_path_with_one_byte_changed_never_parses_as_the_same_key(
            key in any_key(), at in 0..60_usize, to in "[0-9a-z/.]",
        ) {
            let mut text = relative_path(&key).to_str().unwrap().to_owned();
            prop_assume!(at < text.len() && text[at..=at] != to);
            text.replace_range(at..=at, &to);
            let parsed = parse(Path::new(&text));
            prop_assert_ne!(parsed, Some(key));
            if let Some(other) = parsed {
                let path = relative_path(&other);
                prop_assert_eq!(path.to_str(), Some(text.as_str()));
            }
        }

        #[test]
        fn whatever_parses_is_the_path_of_what_it_parses_to(text in "(directory|revision|tmp)/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{40}(\\.tar(\\.gz)?)?") {
            if let Some(key) = parse(Path::new(&text)) {
                let path = relative_path(&key);
                prop_assert_eq!(path.to_str(), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn nothing_but_a_bundles_own_path_parses() {
        let good = format!("directory/4b/82/{ID}.tar.gz");
        assert!(parse(Path::new(&good)).is_some());
        for bad in [
            String::new(),
            ID.to_owned(),
            format!("/{good}"),
            format!("./{good}"),
            format!("{good}/"),
            format!("directory//4b/82/{ID}.tar.gz"),
            format!("directory/4b/./82/{ID}.tar.gz"),
            format!("directory/4b/82/../82/{ID}.tar.gz"),
            format!("directory/4b/83/{ID}.tar.gz"),
            format!("directory/82/4b/{ID}.tar.gz"),
            format!("directory/4b82/{ID}.tar.gz"),
            format!("directory/4b/82/{ID}"),
            format!("directory/4b/82/{ID}.rar"),
            format!("content/4b/82/{ID}.tar"),
            format!("directory/4B/82/{}.tar.gz", ID.to_uppercase()),
            format!("tmp/12-ab/{ID}.tar.gz"),
            format!("v0/directory/4b/82/{ID}.tar.gz"),
        ] {
            assert_eq!(parse(Path::new(&bad)), None, "{bad}");
        }
    }
}
