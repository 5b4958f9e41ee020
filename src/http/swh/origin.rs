//! Origins and their visits, as the catalogue has them.

use super::reading::{Fault, Objects, Reply};
use super::said::Wrong;
use super::text::moment;
use crate::catalogue::{Origin, Outcome, Visit};
use crate::digest::hex;
use crate::http::query;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

/// Visits of a page: when the request does not say, and at most.
const VISITS: (u64, u64) = (10, 1000);

/// Origins of a page, and of one that is searched for: when the request does not say, and at most.
const ORIGINS: (u64, u64) = (100, 1000);
const FOUND: (u64, u64) = (70, 1000);

/// How many origins one search looks at: a further page goes on where it ended.
const SEARCHED: usize = 20_000;

/// How many failures there may be before a visit that was none: larder keeps some hundred.
const FAILURES: u32 = 200;

/// A page of something.
pub(super) struct Page {
    limit: u32,
    after: Option<String>,
}

impl Page {
    /// `?origin_count=&page_token=`
    pub(super) fn of_origins(asked: Option<&str>) -> Result<Self, Wrong> {
        Self::read(asked, "origin_count", ORIGINS)
    }

    /// `?limit=&page_token=`
    pub(super) fn of_search(asked: Option<&str>) -> Result<Self, Wrong> {
        Self::read(asked, "limit", FOUND)
    }

    fn read(asked: Option<&str>, name: &str, counts: (u64, u64)) -> Result<Self, Wrong> {
        let token = query::value(asked, "page_token").filter(|token| !token.is_empty());
        let after = token.map(|token| String::from_utf8_lossy(&token).into_owned());
        Ok(Self { limit: count(asked, name, counts)?, after })
    }
}

/// A number of a query: at least one, and no more than there may be.
fn count(asked: Option<&str>, name: &str, (default, most): (u64, u64)) -> Result<u32, Wrong> {
    let wanted = match query::value(asked, name).as_deref().map(super::number) {
        None => default,
        Some(Some(wanted)) => wanted,
        Some(None) => return Err(Wrong::validation(name, "A valid integer is required.")),
    };
    Ok(u32::try_from(wanted.clamp(1, most)).unwrap_or(u32::MAX))
}

/// Which visits of an origin are asked for.
pub(super) struct Visits {
    limit: u32,
    before: Option<u64>,
}

impl Visits {
    /// `?per_page=&last_visit=`
    pub(super) fn read(asked: Option<&str>) -> Result<Self, Wrong> {
        let before = match query::value(asked, "last_visit").as_deref().map(super::number) {
            Some(None) => return Err(Wrong::validation("last_visit", "A valid integer is required.")),
            Some(before @ Some(_)) => before,
            None => None,
        };
        Ok(Self { limit: count(asked, "per_page", VISITS)?, before })
    }
}

/// Which visit of an origin is the latest.
pub(super) struct Latest {
    has_snapshot: bool,
    is_of_git: bool,
}

impl Latest {
    /// `?require_snapshot=&visit_type=`
    pub(super) fn read(asked: Option<&str>) -> Result<Self, Wrong> {
        let has_snapshot = match query::value(asked, "require_snapshot").map(|value| value.to_ascii_lowercase()) {
            None => false,
            Some(value) => match value.as_slice() {
                b"true" | b"1" | b"t" | b"y" | b"yes" | b"on" => true,
                b"false" | b"0" | b"f" | b"n" | b"no" | b"off" | b"" => false,
                _ => return Err(Wrong::validation("require_snapshot", "Must be a valid boolean.")),
            },
        };
        let is_of_git = query::value(asked, "visit_type").is_none_or(|kind| kind.is_empty() || kind == b"git");
        Ok(Self { has_snapshot, is_of_git })
    }
}

impl Objects {
    /// `origins/`
    pub(super) fn origins(&self, page: &Page) -> Result<Reply, Fault> {
        let catalogue = self.orders.bundles().catalogue();
        let end = catalogue.origins_end(page.after.as_deref(), page.limit)?;
        let next = end.filter(|(_, more)| *more).map(|(last, _)| {
            self.base.url(&format!("/api/1/origins/?origin_count={}&page_token={}", page.limit, escaped(&last)))
        });
        let origins = catalogue.origins(page.after.as_deref(), page.limit)?;
        self.page(next, |out| {
            out.begin("[")?;
            for origin in &origins {
                out.element(self.origin_value(origin))?;
            }
            out.text("]")
        })
    }

    /// `origin/search/<words>/`: those whose URLs have all of the words, whatever their case.
    pub(super) fn search(&self, words: &str, page: &Page) -> Result<Reply, Fault> {
        let (sought, lower) = (words, words.to_lowercase());
        let words: Vec<&str> = lower.split_whitespace().collect();
        let catalogue = self.orders.bundles().catalogue();
        let (mut found, mut after, mut looked) = (Vec::new(), page.after.clone(), 0);
        let limit = page.limit as usize;
        let more = loop {
            let some = catalogue.origins(after.as_deref(), 1000)?;
            let is_last = some.len() < 1000;
            for origin in some {
                looked += 1;
                after = Some(origin.url.clone());
                let url = origin.url.to_lowercase();
                if words.iter().all(|word| url.contains(word)) {
                    found.push(origin);
                    if found.len() == limit {
                        break;
                    }
                }
            }
            if found.len() == limit || looked >= SEARCHED {
                break !catalogue.origins(after.as_deref(), 1)?.is_empty();
            }
            if is_last {
                break false;
            }
        };
        let next = after.filter(|_| more).map(|after| {
            let path = escaped(sought);
            self.base.url(&format!("/api/1/origin/search/{path}/?limit={limit}&page_token={}", escaped(&after)))
        });
        self.page(next, |out| {
            out.begin("[")?;
            for origin in &found {
                let mut value = self.origin_value(origin);
                let newest = catalogue.visits(&origin.url, None, 1)?.pop();
                let visited = origin.visited_at.map(moment);
                value["has_visits"] = visited.is_some().into();
                value["nb_visits"] = newest.as_ref().map_or(0, |visit| visit.number).into();
                value["snapshot_id"] = origin.snapshot.map(|id| id.to_string()).into();
                value["last_visit_date"] = visited.clone().into();
                value["last_eventful_visit_date"] = newest.map(|visit| moment(visit.first_at)).into();
                out.element(value)?;
            }
            out.text("]")
        })
    }

    /// `origin/<url>/get/`
    pub(super) fn origin(&self, url: &str) -> Result<Reply, Fault> {
        Ok(Reply::Value(self.origin_value(&self.find_origin(url)?)))
    }

    /// `origin/<url>/visits/`
    pub(super) fn visits(&self, url: &str, wanted: &Visits) -> Result<Reply, Fault> {
        let origin = self.find_origin(url)?;
        let visits = self.orders.bundles().catalogue().visits(&origin.url, wanted.before, wanted.limit)?;
        let last = visits.last().filter(|_| visits.len() == wanted.limit as usize);
        let next = last.map(|last| {
            let path = self.origin_url(&origin.url, "visits/");
            format!("{path}?last_visit={}&per_page={}", last.number, wanted.limit)
        });
        self.page(next, |out| {
            out.begin("[")?;
            for visit in &visits {
                let mut value = self.visit_value(&origin, visit);
                let tail = format!("visit/{}/", visit.number);
                value["origin_visit_url"] = self.origin_url(&origin.url, &tail).into();
                out.element(value)?;
            }
            out.text("]")
        })
    }

    /// `origin/<url>/visit/latest/`
    pub(super) fn latest_visit(&self, url: &str, wanted: &Latest) -> Result<Reply, Fault> {
        let origin = self.find_origin(url)?;
        let visits = self.orders.bundles().catalogue().visits(&origin.url, None, FAILURES)?;
        let is_wanted =
            |visit: &&Visit| wanted.is_of_git && (!wanted.has_snapshot || matches!(visit.outcome, Outcome::Full(_)));
        let visit = visits.iter().find(is_wanted);
        let visit = visit.ok_or_else(|| Wrong::not_found(format!("No visit for origin {} found", origin.url)))?;
        Ok(Reply::Value(self.one_visit(&origin, visit)))
    }

    /// `origin/<url>/visit/<number>/`
    pub(super) fn visit(&self, url: &str, number: u64) -> Result<Reply, Fault> {
        let absent = || Wrong::not_found(format!("Origin {url} or its visit with id {number} not found!"));
        let origin = self.look_for_origin(url)?.ok_or_else(absent)?;
        let visits = self.orders.bundles().catalogue().visits(&origin.url, Some(number.saturating_add(1)), 1)?;
        let visit = visits.first().filter(|visit| visit.number == number).ok_or_else(absent)?;
        Ok(Reply::Value(self.one_visit(&origin, visit)))
    }

    fn one_visit(&self, origin: &Origin, visit: &Visit) -> Value {
        let mut value = self.visit_value(origin, visit);
        value["origin_url"] = self.origin_url(&origin.url, "get/").into();
        value
    }

    /// A visit; of several that found the same it has the date of the last.
    fn visit_value(&self, origin: &Origin, visit: &Visit) -> Value {
        let (status, snapshot) = match &visit.outcome {
            Outcome::Full(id) => ("full", Some(id)),
            Outcome::Failed(_) => ("failed", None),
        };
        json!({
            "origin": origin.url,
            "visit": visit.number,
            "date": moment(visit.last_at),
            "status": status,
            "snapshot": snapshot.map(ToString::to_string),
            "type": "git",
            "metadata": {},
            "snapshot_url": snapshot.map(|id| self.base.url(&format!("/api/1/snapshot/{id}/"))),
        })
    }

    fn origin_value(&self, origin: &Origin) -> Value {
        // The identifier of an origin is the SHA-1 of its URL.
        let id = hex(&Sha1::digest(origin.url.as_bytes()));
        json!({
            "url": origin.url,
            "visit_types": ["git"],
            "origin_visits_url": self.origin_url(&origin.url, "visits/"),
            "metadata_authorities_url":
                self.base.url(&format!("/api/1/raw-extrinsic-metadata/swhid/swh:1:ori:{id}/authorities/")),
        })
    }

    /// An origin's URL stands in others as it is, as clients write it too.
    fn origin_url(&self, url: &str, tail: &str) -> String {
        self.base.url(&format!("/api/1/origin/{url}/{tail}"))
    }

    fn find_origin(&self, url: &str) -> Result<Origin, Fault> {
        let absent = || Wrong::not_found(format!("Origin with url {url} not found!"));
        Ok(self.look_for_origin(url)?.ok_or_else(absent)?)
    }

    /// An origin by its URL; some proxies make one slash of two.
    fn look_for_origin(&self, url: &str) -> Result<Option<Origin>, Fault> {
        let catalogue = self.orders.bundles().catalogue();
        if let Some(found) = catalogue.origin(url)? {
            return Ok(Some(found));
        }
        match url.split_once(":/").filter(|(_, rest)| !rest.starts_with('/')) {
            Some((scheme, rest)) => Ok(catalogue.origin(&format!("{scheme}://{rest}"))?),
            None => Ok(None),
        }
    }
}

fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
