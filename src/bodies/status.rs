//! The status body: what larder says of one bundle. Owns its fields; of a cook it knows its progress, of the
//! kitchen and the catalogue nothing.

use super::Base;
use crate::bundle::{Bundle, Status};
use crate::cook::Progress;
use crate::digest::hex;
use crate::key::BundleKey;
use serde::Serialize;
use std::borrow::Cow;

/// The status body, in the order in which it is written.
#[derive(Debug, Serialize)]
pub struct StatusBody<'a> {
    kind: &'static str,
    id: String,
    swhid: String,
    format: &'static str,
    status: Option<&'static str>,
    progress: Option<ProgressBody>,
    size: Option<u64>,
    sha256: Option<String>,
    blake3: Option<String>,
    created_at: Option<String>,
    done_at: Option<String>,
    last_access_at: Option<String>,
    error: Option<Error<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossy: bool,
    links: Links,
}

#[derive(Debug, Serialize)]
struct ProgressBody {
    message: Cow<'static, str>,
    done: u64,
    total: Option<u64>,
    unit: &'static str,
}

#[derive(Debug, Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Debug, Serialize)]
struct Links {
    bundle: String,
    status: String,
    cook: String,
}

/// The status body of `key`; `None` stands for a bundle that was never asked for.
#[must_use]
pub fn status_body<'a>(
    key: &BundleKey,
    bundle: Option<&'a Bundle>,
    progress: Option<Progress>,
    base: &Base,
) -> StatusBody<'a> {
    let done = bundle.filter(|bundle| bundle.status == Status::Done);
    let file = done.and_then(|bundle| bundle.file);
    let url = base.bundle(key);
    StatusBody {
        kind: key.kind().as_str(),
        id: key.id().to_string(),
        swhid: key.swhid().to_string(),
        format: key.format().ext(),
        status: bundle.map(|bundle| bundle.status.as_str()),
        progress: progress.map(|at| ProgressBody {
            message: at.message.into(),
            done: at.done,
            total: at.total,
            unit: at.unit.as_str(),
        }),
        size: file.map(|file| file.size),
        sha256: done.and_then(|bundle| bundle.sha256).map(|digest| hex(&digest)),
        blake3: file.map(|file| hex(&file.blake3)),
        created_at: bundle.map(|bundle| bundle.created_at.to_string()),
        done_at: done.and_then(|bundle| bundle.done_at).map(|at| at.to_string()),
        last_access_at: done.and_then(|bundle| bundle.last_access_at).map(|at| at.to_string()),
        error: bundle
            .and_then(|bundle| bundle.failure.as_ref())
            .map(|failure| Error { code: failure.code.as_str(), message: &failure.message }),
        notes: done.map_or(&[], |bundle| &bundle.remarks.notes),
        lossy: done.is_some_and(|bundle| bundle.remarks.lossy),
        links: Links { status: format!("{url}/status"), cook: url.clone(), bundle: url },
    }
}

impl StatusBody<'_> {
    /// With what is being done for a bundle before it is cooked, where something is.
    #[must_use]
    pub fn saying(mut self, said_before: Option<String>) -> Self {
        let said = |message: String| ProgressBody { message: message.into(), done: 0, total: None, unit: "bytes" };
        self.progress = self.progress.or(said_before.map(said));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Failure, FailureCode, FileFacts, Remarks};
    use crate::time::Timestamp;

    fn json(body: &StatusBody<'_>) -> serde_json::Value {
        serde_json::to_value(body).unwrap()
    }

    fn fields(value: &serde_json::Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn it_has_the_same_fields_in_every_status() {
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let base = Base::new("https://example.org/", "/larder");
        let file = FileFacts { size: 70, allocated: 4096, blake3: [0xab; 32] };
        let mut bundle = Bundle {
            key,
            status: Status::Done,
            file: Some(file),
            sha256: None,
            created_at: Timestamp::from_millis(0),
            done_at: Some(Timestamp::from_millis(1)),
            last_access_at: Some(Timestamp::from_millis(2)),
            hits: 3,
            pinned: false,
            failure: None,
            remarks: Remarks::default(),
        };
        let done = json(&status_body(&key, Some(&bundle), None, &base));
        assert_eq!(done["blake3"], "ab".repeat(32));
        assert_eq!(done["done_at"], "1970-01-01T00:00:00.001Z");
        assert_eq!(
            done["links"]["status"],
            "https://example.org/larder/vault/directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz/status"
        );
        bundle.remarks = Remarks { notes: vec!["\"x\" left out: why".to_owned()], lossy: true };
        let remarked = json(&status_body(&key, Some(&bundle), None, &base));
        assert_eq!(remarked["notes"][0], "\"x\" left out: why");
        assert_eq!(remarked["lossy"], true);
        bundle.status = Status::Failed;
        bundle.failure = Some(Failure { code: FailureCode::HostileTree, message: "an entry is named ..".to_owned() });
        let failed = json(&status_body(&key, Some(&bundle), None, &base));
        assert_eq!(failed["error"]["code"], "hostile-tree");
        assert_eq!(failed["size"], serde_json::Value::Null);
        let unknown = json(&status_body(&key, None, None, &base));
        assert_eq!(unknown["status"], serde_json::Value::Null);
        assert_eq!(fields(&done), fields(&failed));
        assert_eq!(fields(&done), fields(&unknown));
    }
}
