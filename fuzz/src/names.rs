//! Short texts from strangers: names of bundles, fields of a request, lines of a log, URLs.

use larder::access::log::line::{Line, read};
use larder::http::etag::{Comparison, is_strongly, list_has};
use larder::http::range::{MAX_RANGES, Selection, select};
use larder::key::{BundleKey, Swhid};
use larder::origins::{MAX_URL, Remote};
use larder::store::layout;

/// A line of nginx's access log: what it is said to be a hit of stands in it, and a tab forges no field.
pub fn access_log(text: &[u8]) -> bool {
    let Line::Hit { key, .. } = read(text, "") else { return false };
    let text = std::str::from_utf8(text).expect("because a hit is of a line that is UTF-8");
    assert!(text.ends_with(&key.to_string()) || text.contains(&key.id().to_string()));
    assert_eq!(text.split('\t').count(), 12);
    true
}

/// Lines of `If-Match` and its like: what is equal strongly is equal weakly too.
pub fn etag(field: &[u8]) -> bool {
    const ETAG: &str = "\"6553f100-123\"";
    let has = |comparison| list_has(field.split(|byte| *byte == b'\n'), ETAG, comparison);
    let (strong, weak) = (has(Comparison::Strong), has(Comparison::Weak));
    assert!(weak || !strong);
    assert!(is_strongly(field, ETAG) != Some(true) || field.trim_ascii() == ETAG.as_bytes());
    weak
}

/// Names of bundles: what parses is written back as itself, and is a safe file name.
pub fn key(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (key, swhid) = (text.parse::<BundleKey>(), text.parse::<Swhid>());
    if let Ok(key) = key {
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(layout::parse(&layout::relative_path(&key)), Some(key));
    }
    if let Ok(swhid) = swhid {
        assert_eq!(swhid.to_string().parse(), Ok(swhid));
    }
    key.is_ok() || swhid.is_ok()
}

/// `Range`, behind the eight bytes of a size: what is selected lies in the file, and is not larger.
pub fn range(bytes: &[u8]) -> bool {
    let Some((size, field)) = bytes.split_first_chunk() else { return false };
    let size = u64::from_le_bytes(*size);
    let Selection::Parts(parts) = select(field, size) else { return false };
    assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
    assert!(parts.iter().map(|part| part.end - part.start).fold(0_u64, u64::saturating_add) <= size);
    true
}

/// URLs of origins: what git is given reads as itself, and is no option of a program on the way.
pub fn url(text: &[u8]) -> bool {
    let Some(Ok(remote)) = std::str::from_utf8(text).ok().map(Remote::parse) else { return false };
    assert_eq!(Remote::parse(remote.as_str()), Ok(remote.clone()));
    let (_, server) = remote.as_str().split_once("://").expect("a scheme");
    assert!(remote.as_str().len() <= 3 * MAX_URL && !server.starts_with('-'));
    assert!(remote.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    true
}
