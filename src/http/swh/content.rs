//! Contents: by sha1git, and by the checksums that are remembered of some; their bytes; and objects as git hashes them.

use super::history::attached;
use super::path::core_swhid;
use super::reading::{Fault, MOST, Objects, Reply, find};
use super::said::Wrong;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::checksums::{Algorithm, Checksums, Summing};
use crate::digest::hex;
use crate::http::query;
use crate::key::{ObjectKind, Sha1Git, is_download_name};
use hyper::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};
use std::io::Write;

/// The largest content whose checksums are computed for a request, in bytes.
const MOST_SUMMED: u64 = MOST;

/// The most checksums that are asked about at once.
const MOST_KNOWN: usize = 1000;

impl Objects {
    /// `content/[<algorithm>:]<digest>/`
    pub(super) fn content(&self, named: &str) -> Result<Reply, Fault> {
        let id = self.content_id(named)?;
        let mut reader = self.reader();
        let found = self.content_of(reader.as_mut(), &id, Some(&whole_name(named)))?;
        Ok(Reply::Value(found.ok_or_else(|| no_content(named))?))
    }

    /// `content/[<algorithm>:]<digest>/raw/`
    pub(super) fn content_raw(&self, named: &str, asked: Option<&str>) -> Result<Reply, Fault> {
        let id = self.content_id(named)?;
        let mut reader = self.reader();
        let header = reader.header(&id)?.filter(|header| header.object_type == ObjectType::Blob);
        let header = header.ok_or_else(|| no_content(named))?;
        check_size(&id, header.size)?;
        let body = self.bytes(MOST, |out| stream(reader.as_mut(), &id, out))?;
        let name = query::value(asked, "filename");
        let disposition = match name.as_deref().map(|name| (std::str::from_utf8(name), name)) {
            Some((Ok(name), _)) if is_download_name(name) => format!("attachment; filename=\"{name}\""),
            // RFC 8187.
            Some((_, name)) if !name.is_empty() => {
                format!("attachment; filename*=utf-8''{}", percent_encode(name, ESCAPED))
            }
            _ => format!("attachment; filename=\"content_{}_raw\"", whole_name(named).replace(':', "_")),
        };
        Ok(Reply::Whole(attached(body, &disposition)))
    }

    /// `content/known/<sha1>,<sha1>/`: which of these checksums are remembered.
    pub(super) fn contents_known(&self, list: &str) -> Result<Reply, Fault> {
        let digests: Vec<&str> = list.split(',').collect();
        if digests.len() > MOST_KNOWN {
            let reason = format!("The maximum number of checksums this endpoint can receive is {MOST_KNOWN}");
            return Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "LargePayloadExc", reason).into());
        }
        let mut found = 0_u32;
        let mut results = Vec::new();
        for digest in &digests {
            let bytes = unhex(digest).filter(|bytes| bytes.len() == 20);
            let bytes = bytes.ok_or_else(|| Wrong::bad_input(format!("Invalid hash {digest} for algorithm sha1")))?;
            let is_found = self.checksums.find(Algorithm::Sha1, &bytes).is_some();
            found += u32::from(is_found);
            results.push(json!({"sha1": digest, "found": is_found}));
        }
        let count = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        let percent = f64::from(found) / f64::from(count) * 100.0;
        // A whole number as one, as the real service has it.
        let percent =
            if (found * 100).is_multiple_of(count) { Value::from(found * 100 / count) } else { Value::from(percent) };
        Ok(Reply::Value(json!({"search_res": results, "search_stats": {"nbfiles": count, "pct": percent}})))
    }

    /// `raw/<swhid>/`: an object as git hashes it, with its header.
    pub(super) fn raw(&self, swhid: &str) -> Result<Reply, Fault> {
        let (kind, id) = core_swhid(&swhid.to_ascii_lowercase()).map_err(Wrong::bad_input)?;
        let swhid = crate::key::Swhid { kind, id };
        let absent = || Wrong::not_found(format!("Object with id {swhid} not found."));
        let wanted = match kind {
            ObjectKind::Content => ObjectType::Blob,
            ObjectKind::Directory => ObjectType::Tree,
            ObjectKind::Revision => ObjectType::Commit,
            ObjectKind::Release => ObjectType::Tag,
            ObjectKind::Snapshot => {
                self.orders.check_blocked(&id)?;
                let manifest = self.orders.bundles().catalogue().branches(&id)?.ok_or_else(absent)?;
                let body = self.bytes(MOST + 64, |out| {
                    out.write_all(format!("snapshot {}\0", manifest.bytes().len()).as_bytes())?;
                    Ok(out.write_all(manifest.bytes())?)
                })?;
                return Ok(Reply::Whole(attached(body, &raw_name(&swhid))));
            }
        };
        let mut reader = self.reader();
        let header = reader.header(&id)?.filter(|header| header.object_type == wanted).ok_or_else(absent)?;
        check_size(&id, header.size)?;
        let body = self.bytes(MOST + 64, |out| {
            out.write_all(format!("{wanted} {}\0", header.size).as_bytes())?;
            if wanted == ObjectType::Blob {
                return stream(reader.as_mut(), &id, out);
            }
            let content = find(reader.as_mut(), &id, wanted)?.ok_or_else(absent)?;
            Ok(out.write_all(&content)?)
        })?;
        Ok(Reply::Whole(attached(body, &raw_name(&swhid))))
    }

    /// A content as the real service describes it, its URLs by the name that it was asked for by, or by its SHA-1.
    pub(super) fn content_of(
        &self,
        reader: &mut dyn Reader,
        id: &Sha1Git,
        named: Option<&str>,
    ) -> Result<Option<Value>, Fault> {
        let Some(header) = reader.header(id)?.filter(|header| header.object_type == ObjectType::Blob) else {
            return Ok(None);
        };
        let remembered = self.checksums.get(&[*id]).pop().flatten().filter(|sums| sums.length == header.size);
        let sums = match remembered {
            None if header.size <= MOST_SUMMED => {
                let computed = compute(reader, id)?;
                self.checksums.put(&computed.map(|sums| (*id, sums)).into_iter().collect::<Vec<_>>());
                computed
            }
            remembered => remembered,
        };
        let name = match (named, &sums) {
            (Some(named), _) => named.to_owned(),
            (None, Some(sums)) => format!("sha1:{}", hex(&sums.sha1)),
            (None, None) => format!("sha1_git:{id}"),
        };
        let url = |what: &str| self.base.url(&format!("/api/1/content/{name}/{what}/"));
        Ok(Some(json!({
            "length": header.size,
            "status": "visible",
            "checksums": {
                "blake2s256": sums.map(|sums| hex(&sums.blake2s256)),
                "sha256": sums.map(|sums| hex(&sums.sha256)),
                "sha1_git": id.to_string(),
                "sha1": sums.map(|sums| hex(&sums.sha1)),
            },
            "data_url": url("raw"),
            "filetype_url": url("filetype"),
            "language_url": url("language"),
            "license_url": url("license"),
            "swhid": format!("swh:1:cnt:{id}"),
        })))
    }

    /// The content that a checksum names.
    fn content_id(&self, named: &str) -> Result<Sha1Git, Fault> {
        let whole = whole_name(named);
        let (algorithm, digest) = whole.split_once(':').unwrap_or(("", &whole));
        let wrong = || Wrong::bad_input(format!("Invalid hash {digest} for algorithm {algorithm}"));
        let algorithm = match algorithm {
            "sha1_git" => return Ok(digest.parse().map_err(|_| wrong())?),
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            "blake2s256" => Algorithm::Blake2s256,
            _ => {
                let known = "content keys must contain at least one of: blake2s256, sha1, sha1_git, sha256";
                return Err(Wrong::bad_input(known).into());
            }
        };
        let length = if algorithm == Algorithm::Sha1 { 20 } else { 32 };
        let bytes = unhex(digest).filter(|bytes| bytes.len() == length).ok_or_else(wrong)?;
        Ok(self.checksums.find(algorithm, &bytes).ok_or_else(|| no_content(named))?)
    }
}

/// The checksums of a content; `None` when it is not there.
pub(super) fn compute(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Option<Checksums>, Fault> {
    let mut summing = Summing::default();
    let read = reader.stream(id, &mut summing)?;
    Ok(read.map(|_| summing.finish()))
}

fn stream(reader: &mut dyn Reader, id: &Sha1Git, out: &mut dyn Write) -> Result<(), Fault> {
    match reader.stream(id, out) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(no_content(&format!("sha1_git:{id}")).into()),
        Err(error) => Err(error.into()),
    }
}

/// What is larger has a bundle of its own.
fn check_size(id: &Sha1Git, size: u64) -> Result<(), Fault> {
    if size <= MOST { Ok(()) } else { Err(ArchiveError::TooLarge { id: *id, size, limit: MOST }.into()) }
}

/// What of a file's name stands in a header as it is (RFC 8187 section 3.2.1).
const ESCAPED: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'~').remove(b'+');

fn raw_name(swhid: &crate::key::Swhid) -> String {
    format!("attachment; filename=swh_1_{}_{}_raw", swhid.kind.swhid_type(), swhid.id)
}

/// With the algorithm that is meant where none is named.
fn whole_name(named: &str) -> String {
    let lower = named.to_ascii_lowercase();
    match lower.len() {
        _ if lower.contains(':') => lower,
        64 => format!("sha256:{lower}"),
        _ => format!("sha1:{lower}"),
    }
}

fn no_content(named: &str) -> Wrong {
    let whole = whole_name(named);
    let (algorithm, digest) = whole.split_once(':').unwrap_or(("", &whole));
    Wrong::not_found(format!("Content with {algorithm} checksum equals to {digest} not found!"))
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
