//! Snapshots: their branches, a page at a time.

use super::bundles::old_id;
use super::reading::{Fault, Objects, Reply};
use super::said::Wrong;
use super::text::text;
use crate::archive::snapshot::{Branches as _, Encoded, Target};
use crate::http::query;
use crate::key::{ObjectKind, Sha1Git};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde_json::{Value, json};

/// The most branches of a page, and as many as there are when the request does not say.
const MOST: u64 = 1000;

/// What of a branch's name does not stand in a URL as it is.
const ESCAPED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>');

/// Which branches are asked for.
pub(super) struct Wanted {
    count: u64,
    from: Vec<u8>,
    /// Words for what they lead to; all when it is empty.
    types: Vec<String>,
    /// The parameters as they stand in the URL of the next page, but for where that begins.
    rest: String,
}

impl Wanted {
    /// What `?branches_count=&branches_from=&target_types=` say.
    pub(super) fn read(asked: Option<&str>) -> Result<Self, Wrong> {
        const TYPES: [&str; 6] = ["content", "directory", "revision", "release", "snapshot", "alias"];
        let count = query::value(asked, "branches_count");
        let count = match count.as_deref().map(super::number) {
            None => MOST,
            Some(None) => return Err(Wrong::validation("branches_count", "A valid integer is required.")),
            Some(Some(0)) => {
                let words = "Ensure this value is greater than or equal to 1.";
                return Err(Wrong::validation("branches_count", words));
            }
            Some(Some(count)) if count > MOST => {
                return Err(Wrong::validation("branches_count", "Ensure this value is less than or equal to 1000."));
            }
            Some(Some(count)) => count,
        };
        let types = query::value(asked, "target_types").unwrap_or_default();
        let types: Vec<String> =
            String::from_utf8_lossy(&types).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if types.iter().any(|word| !TYPES.contains(&word.as_str())) {
            let words = format!("Valid target type values are: {}", TYPES.join(", "));
            return Err(Wrong::validation("target_types", &words));
        }
        let rest = if types.is_empty() { String::new() } else { format!("&target_types={}", types.join(",")) };
        let from = query::value(asked, "branches_from").unwrap_or_default();
        Ok(Self { count, from, types, rest })
    }

    fn has(&self, target: &Target) -> bool {
        let word = match target {
            Target::Object(kind, _) => kind.as_str(),
            Target::Alias(_) => "alias",
            Target::Dangling => "",
        };
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == word)
    }
}

impl Objects {
    /// `snapshot/<id>/`
    pub(super) fn snapshot(&self, id: &str, wanted: &Wanted) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        self.orders.check_blocked(&id)?;
        let manifest = self.orders.bundles().catalogue().branches(&id)?;
        let manifest = manifest.ok_or_else(|| no_snapshot(&id))?;
        let first = manifest.place(&wanted.from);
        let mut branches = manifest.iter_from(first).filter(|(_, target)| wanted.has(target));
        let count = usize::try_from(wanted.count).unwrap_or(usize::MAX);
        // The page is written while it is read; where the next one begins is known before, for it stands in a header.
        let next = manifest.iter_from(first).filter(|(_, target)| wanted.has(target)).nth(count);
        let next = next.map(|(name, _)| name);
        let link = next.map(|name| {
            let from = percent_encode(name, &ESCAPED);
            let Wanted { count, rest, .. } = wanted;
            self.base.url(&format!("/api/1/snapshot/{id}/?branches_count={count}&branches_from={from}{rest}"))
        });
        let fields = &self.fields;
        self.page(link, |page| {
            page.begin("{")?;
            if fields.has("id") {
                page.member("id", &id.to_string().into())?;
            }
            if fields.has("branches") {
                page.key("branches")?;
                page.begin("{")?;
                for (name, target) in branches.by_ref().take(count) {
                    page.member(&text(name).0, &self.branch(&manifest, &target))?;
                }
                page.end("}")?;
            }
            if fields.has("next_branch") {
                page.member("next_branch", &next.map_or(Value::Null, |name| text(name).0.into()))?;
            }
            page.text("}")
        })
    }

    /// What a branch leads to; null where that is nothing.
    fn branch(&self, manifest: &Encoded, target: &Target) -> Value {
        match target {
            Target::Dangling => Value::Null,
            Target::Object(kind, id) => json!({
                "target": id.to_string(),
                "target_type": kind.as_str(),
                "target_url": self.object_url(*kind, id),
            }),
            Target::Alias(name) => json!({
                "target": text(name).0,
                "target_type": "alias",
                // An alias of an alias is followed to its end.
                "target_url": manifest.lead(name).map(|(_, kind, id)| self.object_url(kind, &id)),
            }),
        }
    }

    /// Where an object is.
    pub(super) fn object_url(&self, kind: ObjectKind, id: &Sha1Git) -> String {
        match kind {
            ObjectKind::Content => self.base.url(&format!("/api/1/content/sha1_git:{id}/")),
            ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release | ObjectKind::Snapshot => {
                self.base.url(&format!("/api/1/{kind}/{id}/"))
            }
        }
    }
}

pub(super) fn no_snapshot(id: &Sha1Git) -> Wrong {
    Wrong::not_found(format!("Snapshot with id {id} not found!"))
}
