//! What a line of the access log says: pure. `docs/access-log.md` documents the format, which begins
//! with a word of its own so that a log of another format is noticed and never misread.
//!
//! A line is hostile: a client chooses its path and its `Range`. nginx writes what is not printable
//! as `\x09`, so a tab ends a field and nothing else.

use crate::key::BundleKey;
use crate::store::layout;
use crate::time::Timestamp;
use std::path::Path;

/// The first field of every line, which names the format.
pub const MARK: &str = "larder1";

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A bundle was fetched.
    Hit {
        /// Which one.
        key: BundleKey,
        /// When, as the web server's clock said.
        at: Timestamp,
    },
    /// A request that does not count.
    Other,
    /// Not a line of this format.
    Foreign,
}

/// Reads a line, without its end, of a log for a larder under `root_path`.
#[must_use]
pub fn read(line: &[u8], root_path: &str) -> Line {
    let Some(fields) = fields(line) else { return Line::Foreign };
    let [msec, _, _, method, status, sent, length, content_range, range, completion, path] = fields;
    let Some(at) = time(msec) else { return Line::Foreign };
    let half = || {
        let length: Option<u64> = length.parse().ok();
        match (sent.parse::<u64>(), length) {
            (Ok(sent), Some(length)) => sent >= length - length / 2,
            // Where the length was not known beforehand only its end tells.
            _ => completion == "OK",
        }
    };
    let counts = method == "GET"
        && match status {
            "304" => true,
            "200" => half(),
            "206" => has_first_byte(content_range, range) && half(),
            _ => false,
        };
    match key(path, root_path) {
        Some(key) if counts => Line::Hit { key, at },
        _ => Line::Other,
    }
}

/// The fields after the mark.
fn fields(line: &[u8]) -> Option<[&str; 11]> {
    let mut fields = std::str::from_utf8(line).ok()?.split('\t');
    if fields.next() != Some(MARK) {
        return None;
    }
    let mut found = [""; 11];
    for field in &mut found {
        *field = fields.next()?;
    }
    fields.next().is_none().then_some(found)
}

/// Seconds with milliseconds: `1795347060.120`.
fn time(text: &str) -> Option<Timestamp> {
    let (seconds, millis) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if millis.len() != 3 || seconds.len() > 12 || !digits(seconds) || !digits(millis) {
        return None;
    }
    let (seconds, millis): (i64, i64) = (seconds.parse().ok()?, millis.parse().ok()?);
    Some(Timestamp::from_millis(seconds * 1000 + millis))
}

/// Whether a partial answer had the bundle's first byte. Several ranges have no `Content-Range` of
/// their own; then what was asked for decides.
fn has_first_byte(content_range: &str, range: &str) -> bool {
    if content_range != "-" {
        return content_range.starts_with("bytes 0-");
    }
    let Some((unit, ranges)) = range.split_once('=') else { return false };
    unit.trim().eq_ignore_ascii_case("bytes")
        && ranges.split(',').filter_map(|range| range.split_once('-')).any(|(first, _)| {
            let first = first.trim();
            !first.is_empty() && first.bytes().all(|byte| byte == b'0')
        })
}

/// The bundle that a path names: as it was asked for, `<root_path>/vault/<kind>/<id>[.<ext>]`, or as
/// it lies in the store below whatever folder, which is what nginx calls it once `try_files` found it.
fn key(path: &str, root_path: &str) -> Option<BundleKey> {
    if let Some(rest) = path.strip_prefix(root_path).and_then(|rest| rest.strip_prefix("/vault/")) {
        let (kind, name) = rest.split_once('/')?;
        if !name.contains('/') {
            return BundleKey::from_segment(kind.parse().ok()?, name).ok();
        }
    }
    let (folder, _) = path.rmatch_indices('/').nth(3)?;
    layout::parse(Path::new(&path[folder + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    /// A line of a whole answer, its fields from the method on as given.
    fn line(rest: &str) -> String {
        format!("larder1\t1795347060.120\t17\t3\t{}", rest.replace("ID", ID).replace(' ', "\t").replace('_', " "))
    }

    fn hit(rest: &str) -> Option<String> {
        match read(line(rest).as_bytes(), "/root") {
            Line::Hit { key, at } => {
                assert_eq!(at, Timestamp::from_millis(1_795_347_060_120));
                Some(key.to_string())
            }
            Line::Other => None,
            Line::Foreign => panic!("{rest} is of this format"),
        }
    }

    #[test]
    fn what_counts() {
        let counts = [
            "GET 200 1000 1000 - - OK",
            "GET 200 500 1000 - - -",
            "GET 200 501 1001 - - -",
            "GET 200 0 0 - - OK",
            "GET 200 77 - - - OK",
            "GET 304 0 - - - OK",
            "GET 304 0 - - - -",
            "GET 206 100 100 bytes_0-99/1000 bytes=0-99 OK",
            "GET 206 50 100 bytes_0-99/1000 bytes=-5000 -",
            "GET 206 700 700 - bytes=5-9,_0-2 OK",
            "GET 206 700 700 - bytes=000-2,7-9 OK",
        ];
        let does_not = [
            "GET 200 499 1000 - - -",
            "GET 200 500 1001 - - -",
            "GET 200 77 - - - -",
            "GET 200 - 1000 - - -",
            "HEAD 200 0 1000 - - OK",
            "HEAD 304 0 - - - OK",
            "POST 200 1000 1000 - - OK",
            "GET 404 1000 1000 - - OK",
            "GET 412 1000 1000 - - OK",
            "GET 416 1000 1000 bytes_*/1000 bytes=9000- OK",
            "GET 499 0 - - - -",
            "GET 206 99 99 bytes_1-99/1000 bytes=1-99 OK",
            "GET 206 49 100 bytes_0-99/1000 bytes=0-99 -",
            "GET 206 700 700 - bytes=5-9,10-12 OK",
            "GET 206 700 700 - bytes=-9,01-12 OK",
            "GET 206 700 700 - - OK",
            "GET 206 700 700 - lines=0-9 OK",
        ];
        for (cases, expected) in [(&counts[..], true), (&does_not[..], false)] {
            for case in cases {
                assert_eq!(hit(&format!("{case} /root/vault/directory/ID")).is_some(), expected, "{case}");
            }
        }
    }

    #[test]
    fn what_a_path_names() {
        let cases = [
            ("/root/vault/directory/ID", Some("directory/ID.tar.gz")),
            ("/root/vault/directory/ID.tar", Some("directory/ID.tar")),
            ("/root/vault/revision/ID.tar.gz", Some("revision/ID.tar.gz")),
            ("/directory/4b/82/ID.tar", Some("directory/ID.tar")),
            ("/bundles/v0/release/4b/82/ID.tar.gz", Some("release/ID.tar.gz")),
            ("/root/vault/directory/4b/82/ID.tar", Some("directory/ID.tar")),
            ("/vault/directory/ID", None),
            ("/rootvault/directory/ID", None),
            ("/root/vault/directory/ID/status", None),
            ("/root/vault/directory/ID.rar", None),
            ("/root/vault/directory/ID.", None),
            ("/root/vault/content/ID.tar", None),
            ("/root/vault/snapshot/ID", Some("snapshot/ID.git.tar")),
            ("/root/vault/directory/4B825DC642CB6EB9A060E54BF8D69288FBEE4904", None),
            ("/root/vault/directory", None),
            ("/root/vault/../vault/directory/ID", None),
            ("/directory/4b/82/ID", None),
            ("/directory/82/4b/ID.tar", None),
            ("directory/4b/82/ID.tar", None),
            ("/", None),
            ("-", None),
        ];
        for (path, expected) in cases {
            let found = hit(&format!("GET 200 9 9 - - OK {path}"));
            assert_eq!(found, expected.map(|key| key.replace("ID", ID)), "{path}");
        }
    }

    #[test]
    fn another_format_is_noticed() {
        let good = line("GET 200 9 9 - - OK /vault/directory/ID");
        assert!(matches!(read(good.as_bytes(), ""), Line::Hit { .. }));
        for bad in [
            String::new(),
            "192.0.2.1 - - [22/Nov/2026:11:31:00 +0000] \"GET /vault/directory/x HTTP/1.1\" 200 9".to_owned(),
            good.replace("larder1", "larder2"),
            good[3..].to_owned(),
            format!("{good}\t"),
            good.replacen('\t', " ", 1),
            good.replace("1795347060.120", "1795347060"),
            good.replace("1795347060.120", "-1795347060.120"),
            good.replace("1795347060.120", "1795347060.12"),
            good.replace("1795347060.120", "99999999999999999999.120"),
            good.replace("1795347060.120", "+795347060.+20"),
        ] {
            assert_eq!(read(bad.as_bytes(), ""), Line::Foreign, "{bad:?}");
        }
        let mut binary = good.into_bytes();
        binary.push(0xff);
        assert_eq!(read(&binary, ""), Line::Foreign);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..200_usize) {
            let _ = read(&bytes, "/root");
            // And where they stand in a line that is right up to there.
            let line = line("GET 200 1000 1000 - - OK /root/vault/directory/ID");
            let _ = read(&[&line.as_bytes()[..cut.min(line.len())], &bytes].concat(), "/root");
            let path = String::from_utf8_lossy(&bytes).replace('\t', "");
            let whole = line.replace("/root/", &path);
            prop_assert_ne!(read(whole.as_bytes(), ""), Line::Foreign, "a path is not what a line is known by");
        }

        #[test]
        fn no_fields_make_it_panic(fields in prop::collection::vec("[-0-9a-z/=,. %\\\\]{0,60}", 10..13)) {
            let _ = read(format!("{MARK}\t{}", fields.join("\t")).as_bytes(), "");
            let _ = read(format!("{MARK}\t1.000\t{}", fields.join("\t")).as_bytes(), "");
        }

        #[test]
        fn half_of_a_download_is_where_it_begins_to_count(length in 0..u64::MAX, sent in 0..u64::MAX) {
            let counted = hit(&format!("GET 200 {sent} {length} - - - /root/vault/directory/ID")).is_some();
            prop_assert_eq!(counted, u128::from(sent) * 2 >= u128::from(length));
        }
    }
}
