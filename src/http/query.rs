//! The query of a request, from text to what it asks for. Pure. What is not understood in one is refused, and never
//! passed over: who misspells a parameter is told so, and no two URLs mean the same by chance.

use super::page::{Place, Search};
use super::route::RouteError;
use crate::archiver::media::MEDIA_TYPES;
use crate::key::{Format, ObjectKind, ParseError, Sha1Git, is_download_name};
use crate::origins::TreePath;
use percent_encoding::percent_decode_str;

/// The most bundles on a page of the list.
pub const MAX_PAGE: u32 = 1000;

/// The bundles on a page when the request does not say.
const DEFAULT_PAGE: u32 = 100;

/// A page of the list of bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The kind listed.
    pub kind: ObjectKind,
    /// The last bundle of the page before.
    pub after: Option<(Sha1Git, Format)>,
    /// How many at most.
    pub limit: u32,
}

/// What is asked of a known repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its URL.
    pub origin: String,
    /// A branch, a tag or an id.
    pub reference: Vec<u8>,
    /// A path below the directory of that.
    pub path: Option<TreePath>,
}

/// A bundle that is asked for by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wished {
    /// Of which repository, and of what in it.
    pub question: Question,
    /// In which format.
    pub format: Option<Format>,
}

/// How a bundle is to be saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedAs {
    /// Under this name.
    pub name: Option<String>,
    /// As this media type.
    pub media_type: Option<&'static str>,
}

/// A page of the list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// The last URL of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: u32,
}

/// A page of the visits of an origin, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visits {
    /// The origin's URL.
    pub url: String,
    /// The number of the last visit of the page before.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: u32,
}

/// Nothing is asked for in a query.
pub(super) fn none(query: Option<&str>) -> Result<(), RouteError> {
    match parameters(query).next() {
        None => Ok(()),
        Some(_) => Err(RouteError::Query("this takes no parameters")),
    }
}

pub(super) fn page(kind: ObjectKind, query: Option<&str>) -> Result<Page, RouteError> {
    let mut page = Page { kind, after: None, limit: DEFAULT_PAGE };
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("limit", limit) => page.limit = parse_limit(limit)?,
            ("cursor", cursor) => page.after = Some(parse_cursor(cursor)?),
            _ => return Err(RouteError::Query("the parameters of a list are limit and cursor")),
        }
    }
    Ok(page)
}

fn parse_limit(text: &str) -> Result<u32, RouteError> {
    match text.parse() {
        Ok(limit @ 1..=MAX_PAGE) => Ok(limit),
        _ => Err(RouteError::Query("limit is a number from 1 to 1000")),
    }
}

/// A page of origins, or of the visits of one.
pub(super) fn origins(query: Option<&str>) -> Result<Result<Origins, Visits>, RouteError> {
    let (mut url, mut cursor, mut limit) = (None, None, DEFAULT_PAGE);
    for (name, value) in parameters(query) {
        match name {
            "url" => url = Some(text(&value, "url is the URL of an origin")?),
            "cursor" => cursor = Some(text(&value, BAD_CURSOR)?),
            "limit" => limit = parse_limit(&String::from_utf8_lossy(&value))?,
            _ => return Err(RouteError::Query("the parameters of origins are url, limit and cursor")),
        }
    }
    Ok(match url {
        None => Ok(Origins { after: cursor, limit }),
        Some(url) => {
            let before = cursor.map(|cursor| cursor.parse().map_err(|_| RouteError::Query(BAD_CURSOR))).transpose()?;
            Err(Visits { url, before, limit })
        }
    })
}

/// What a form of the first page asks for. Forms write a space as a plus sign.
pub(super) fn search(query: Option<&str>) -> Result<Option<Search>, RouteError> {
    let (mut text, mut reference) = (None, String::new());
    for (name, value) in query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        match name {
            "q" => text = Some(value),
            "ref" => reference = value,
            _ => return Err(RouteError::Query("the parameters of the first page are q and ref")),
        }
    }
    Ok(text.map(|text| Search { text, reference }))
}

/// What is wanted of an object that is looked at: a bundle of it, or a part of what is in it.
pub(super) fn place(mut place: Place, query: Option<&str>) -> Result<Place, RouteError> {
    for (name, value) in parameters(query) {
        let value = String::from_utf8(value).unwrap_or_default();
        match name {
            "format" => place.format = Some(value.parse()?),
            "from" => place.from = value.parse().map_err(|_| RouteError::Query("from is the number of an entry"))?,
            _ => return Err(RouteError::Query("the parameters of a page are format and from")),
        }
    }
    if let Some(format) = place.format
        && !format.is_of(place.swhid.kind)
    {
        return Err(ParseError::Combination { kind: place.swhid.kind, format }.into());
    }
    Ok(place)
}

pub(super) fn question(query: Option<&str>) -> Result<Question, RouteError> {
    let (mut origin, mut reference, mut path) = (None, b"HEAD".to_vec(), None);
    for (name, value) in parameters(query) {
        match name {
            "origin" => origin = Some(text(&value, "origin is the URL of a known repository")?),
            "ref" if !value.is_empty() && value.len() <= MAX_REF && !value.contains(&0) => reference = value,
            "ref" => return Err(RouteError::Query("ref is a branch, a tag or forty hexadecimal digits")),
            "path" => match TreePath::parse(&value) {
                Some(parsed) => path = Some(parsed),
                None => return Err(RouteError::Query("path is names between slashes, from the top of the tree")),
            },
            _ => return Err(RouteError::Query("the parameters of resolve are origin, ref and path")),
        }
    }
    let origin = origin.ok_or(RouteError::Query("origin is missing: the URL of a known repository"))?;
    Ok(Question { origin, reference, path })
}

/// What is asked for by `/archive`: a question without a path, and a format.
pub(super) fn wished(query: Option<&str>) -> Result<Wished, RouteError> {
    const WHAT: RouteError = RouteError::Query("the parameters of archive are origin, ref and format");
    let (formats, rest): (Vec<&str>, Vec<&str>) =
        query.unwrap_or_default().split('&').partition(|pair| pair.starts_with("format="));
    let question = question(Some(&rest.join("&"))).map_err(|error| match error {
        RouteError::Query(_) if rest.iter().any(|pair| !pair.starts_with("origin=") && !pair.starts_with("ref=")) => {
            WHAT
        }
        error => error,
    })?;
    let format = match formats[..] {
        [] => None,
        [format] => Some(Format::from_spelling(&format["format=".len()..])?),
        _ => return Err(WHAT),
    };
    if question.path.is_some() { Err(WHAT) } else { Ok(Wished { question, format }) }
}

/// The longest name of a ref that is looked up, in bytes.
const MAX_REF: usize = 4095;

const BAD_CURSOR: &str = "cursor is that of a page before";

/// The parameters of a query, their values decoded. A plus sign is one: neither a URL nor a ref holds
/// a space.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, Vec<u8>)> {
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode_str(value).collect())
    })
}

/// The value of a parameter where others are passed over, decoded; the last, when it is there more than once.
pub(super) fn value(query: Option<&str>, wanted: &str) -> Option<Vec<u8>> {
    parameters(query).filter(|(name, _)| *name == wanted).last().map(|(_, value)| value)
}

fn text(value: &[u8], what: &'static str) -> Result<String, RouteError> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.len() <= MAX_REF);
    text.map(str::to_owned).ok_or(RouteError::Query(what))
}

/// How a bundle is to be saved: `?filename=`, and of a content `type=`, which is that of an archive or means nothing.
pub(super) fn saved_as(kind: ObjectKind, query: Option<&str>) -> Result<SavedAs, RouteError> {
    let mut saved = SavedAs::default();
    for (name, value) in parameters(query) {
        match name {
            "filename" if saved.name.is_none() => saved.name = Some(checked_name(value)?),
            "filename" => return Err(RouteError::Query("there is more than one filename")),
            "type" if kind == ObjectKind::Content => {
                let known = MEDIA_TYPES.into_iter().find(|known| known.as_bytes() == value);
                saved.media_type = saved.media_type.or(known);
            }
            _ => return Err(RouteError::Query("the parameter of a bundle is filename; of a content, type too")),
        }
    }
    Ok(saved)
}

fn checked_name(name: Vec<u8>) -> Result<String, RouteError> {
    const WHAT: &str = "filename is made of letters, digits and . _ + -, and does not begin with a full stop";
    String::from_utf8(name).ok().filter(|name| is_download_name(name)).ok_or(RouteError::Query(WHAT))
}

/// A cursor names the last bundle of a page: `<id>.<ext>`, which needs no escape in a URL.
#[must_use]
pub fn cursor((id, format): &(Sha1Git, Format)) -> String {
    format!("{id}.{format}")
}

fn parse_cursor(text: &str) -> Result<(Sha1Git, Format), RouteError> {
    text.split_once('.')
        .and_then(|(id, ext)| Some((id.parse().ok()?, ext.parse().ok()?)))
        .ok_or(RouteError::Query(BAD_CURSOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BundleKey;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn a_bundle_is_saved_under_a_plain_name_only() {
        for (query, name) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("filename=project-1.0.tar.gz"), Ok(Some("project-1.0.tar.gz"))),
            (Some("&filename=a+b_c.zip&"), Ok(Some("a+b_c.zip"))),
            (Some("filename=a%2Bb"), Ok(Some("a+b"))),
            (Some("filename="), Err(())),
            (Some("filename=.htaccess"), Err(())),
            (Some("filename=a%22b"), Err(())),
            (Some("filename=a%0d%0ab"), Err(())),
            (Some("filename=a/b"), Err(())),
            (Some("filename=%ff"), Err(())),
            (Some("filename=a&filename=b"), Err(())),
            (Some("filename=x.zip&c"), Err(())),
            (Some("name=x"), Err(())),
        ] {
            let read = saved_as(ObjectKind::Revision, query).map(|saved| saved.name);
            assert_eq!(read.as_ref().map(Option::as_deref).map_err(drop), name, "{query:?}");
        }
        let long = |length| saved_as(ObjectKind::Content, Some(&format!("filename={}", "x".repeat(length))));
        assert!(long(200).is_ok() && long(201).is_err());
    }

    #[test]
    fn a_content_is_saved_as_a_type_of_archives_only() {
        for (query, media_type) in [
            ("filename=x.tgz&type=application/x-gzip", Some("application/x-gzip")),
            ("type=application/zip", Some("application/zip")),
            ("type=text/html", None),
            ("type=", None),
        ] {
            let saved = saved_as(ObjectKind::Content, Some(query)).unwrap();
            assert_eq!(saved.media_type, media_type, "{query}");
            assert!(saved_as(ObjectKind::Directory, Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn a_page_is_bounded_and_its_cursor_reads_back() {
        let key: BundleKey = format!("directory/{ID}.tar").parse().unwrap();
        let query = format!("limit=7&cursor={}", cursor(&(key.id(), key.format())));
        let expected = Page { kind: ObjectKind::Directory, after: Some((key.id(), key.format())), limit: 7 };
        assert_eq!(page(ObjectKind::Directory, Some(&query)), Ok(expected));
        for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=", "what=1", "limit"] {
            let error = page(ObjectKind::Directory, Some(query)).unwrap_err();
            assert!(matches!(error, RouteError::Query(_)), "{query}: {error:?}");
        }
    }
}
