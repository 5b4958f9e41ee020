//! From what somebody pasted to what they want. Pure: what there is of it `found` looks up.

use super::forge;
use super::place::Place;
use crate::key::{BundleKey, Sha1Git};
use crate::origins::TreePath;
use percent_encoding::percent_decode_str;

/// What was pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An object by its SWHID, or a bundle by its name.
    Place(Place),
    /// An object of some kind.
    Id(Sha1Git),
    /// Readings of a URL, and an id that stands in it.
    Named(Vec<Named>, Option<Sha1Git>),
    /// None of these: why not, in words for people.
    Nothing(&'static str),
}

/// A repository that may be meant, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The ways in which its URL may be known.
    pub(super) origins: Vec<String>,
    /// A branch, a tag or an id; the repository itself when there is none.
    pub(super) reference: Option<String>,
    /// A path in the tree of that.
    pub(super) path: Option<TreePath>,
}

/// Reads what was pasted, with the branch or tag that was named beside it.
pub(super) fn read(text: &str, reference: &str) -> Wanted {
    let text = text.trim();
    let reference = Some(reference.trim()).filter(|reference| !reference.is_empty());
    // A whole SWHID may stand in the URL of somebody's page of it.
    let lower = text.to_ascii_lowercase();
    if let Some(at) = lower.find("swh:1:").or_else(|| lower.find("swh%3a1%3a")) {
        let unescaped = if at == 0 { text.into() } else { percent_decode_str(&text[at..]).decode_utf8_lossy() };
        let swhid = unescaped.split(['/', '?', '#']).next().unwrap_or_default();
        let read =
            |swhid: &str| Place::parse(swhid).or_else(|_| BundleKey::from_swhid(swhid).map(|key| of_bundle(&key)));
        return match if at == 0 { read(text) } else { read(swhid) } {
            Ok(place) => Wanted::Place(place),
            Err(_) => Wanted::Nothing(
                "A SWHID is swh:1:, then cnt, dir, rev, rel or snp, a colon and forty hexadecimal digits.",
            ),
        };
    }
    if let Ok(id) = Sha1Git::from_spelling(text) {
        return Wanted::Id(id);
    }
    if text.len() >= 7 && text.len() < 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Wanted::Nothing("An id has all of its forty digits: git rev-parse prints them.");
    }
    let named = text.rsplit_once("/vault/").map_or(text, |(_, named)| named);
    if let Ok((key, says_format)) = BundleKey::from_name(named.trim_end_matches("/status")) {
        let place = Place::of(key.swhid());
        return Wanted::Place(if says_format { place.as_format(Some(key.format())) } else { place });
    }
    // A URL and a branch or tag, in one line or in two fields.
    let (url, beside) =
        text.split_once(char::is_whitespace).map_or((text, None), |(url, rest)| (url, Some(rest.trim())));
    let beside = beside.or(reference);
    let (mut readings, id) = forge::read(url).unwrap_or_default();
    // As it is written: that is what is known of repositories that lie here, whose URLs may be of any form.
    let whole = Named { origins: vec![url.to_owned()], reference: None, path: None };
    readings.insert(0, whole);
    if let Some(beside) = beside {
        readings.retain(|named| named.reference.is_none());
        for named in &mut readings {
            named.reference = Some(beside.to_owned());
        }
    }
    if url.contains(':') && !url.is_empty() {
        Wanted::Named(readings, id)
    } else if text.is_empty() {
        Wanted::Nothing("Nothing was pasted.")
    } else {
        Wanted::Nothing("This is neither a SWHID nor an id of forty digits nor a URL.")
    }
}

fn of_bundle(key: &BundleKey) -> Place {
    Place::of(key.swhid()).as_format(Some(key.format()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Format;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn what_names_an_object_is_read_in_every_form() {
        let plain = Place::of(format!("swh:1:rev:{ID}").parse().unwrap());
        for text in [
            format!("swh:1:rev:{ID}"),
            format!(" SWH:1:REV:{} \n", ID.to_uppercase()),
            format!("https://archive.softwareheritage.org/swh:1:rev:{ID}/"),
            format!("https://archive.softwareheritage.org/browse/swh%3A1%3Arev%3A{ID}?x=y"),
            format!("commit/{ID}"),
            format!("http://127.0.0.1:8417/vault/revision/{ID}"),
        ] {
            assert_eq!(read(&text, ""), Wanted::Place(plain.clone()), "{text}");
        }
        for text in [
            format!("swh:1:rev:{ID}.zip"),
            format!("https://x.example/vault/revision/{ID}.zip"),
            format!("rev/{ID}.zip"),
        ] {
            assert_eq!(read(&text, ""), Wanted::Place(plain.as_format(Some(Format::Zip))), "{text}");
        }
        let Wanted::Place(place) = read(&format!("swh:1:rev:{ID};origin=https://example.org/r.git"), "") else {
            panic!("it is a SWHID")
        };
        assert_eq!(place.origin.as_deref(), Some("https://example.org/r.git"));
        assert_eq!(read(&ID.to_uppercase(), ""), Wanted::Id(ID.parse().unwrap()));
    }

    #[test]
    fn a_branch_stands_behind_the_url_or_beside_it() {
        for (text, beside) in
            [("https://example.org/r v1", ""), ("https://example.org/r", "v1"), ("local:r.git\tv1", "")]
        {
            let Wanted::Named(readings, None) = read(text, beside) else { panic!("{text}") };
            let url = text.split_whitespace().next().unwrap();
            assert_eq!((readings[0].origins[0].as_str(), readings[0].reference.as_deref()), (url, Some("v1")));
            assert!(readings.iter().all(|named| named.reference.as_deref() == Some("v1")), "{readings:?}");
        }
    }

    #[test]
    fn what_is_nothing_is_told_why() {
        for text in ["", "  ", "hello", "4b825dc", "swh:1:rev:4b82", "<script>alert(1)</script>"] {
            assert!(matches!(read(text, ""), Wanted::Nothing(_)), "{text}");
        }
    }
}
