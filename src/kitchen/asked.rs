//! Which request asked for a cook: its id, so that the log's lines of the cook, which another thread writes long after,
//! have the id of the request.
//!
//! The id is the web server's (`X-Request-Id`), or made here. It is known to the task that answers the request
//! ([`RequestId::within`]); who orders in that task is noted with the bundle until its cook ends. Kept in memory alone: a
//! cook that another process takes up has none.

use super::Orders;
use super::underway::MAX_NAMES;
use crate::key::BundleKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{Instrument, Span};

tokio::task_local! {
    static REQUEST: RequestId;
}

/// The id of a request: at most 64 letters, digits and `._-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest, in bytes.
    const LONGEST: usize = 64;

    /// An id that somebody else gave; `None` when it is none that may stand in a log.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        is_one.then(|| Self(text.into()))
    }

    /// A new one, as nginx makes them: 32 hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        // Without randomness all are alike, and lines are told apart by their time.
        let _ = getrandom::fill(&mut bytes);
        Self(format!("{:032x}", u128::from_be_bytes(bytes)).into())
    }

    /// Answers a request of this id: what is logged and ordered meanwhile has it.
    pub async fn within<F: Future>(self, answer: F) -> F::Output {
        let span = self.span();
        REQUEST.scope(self, answer.instrument(span)).await
    }

    /// What is logged inside has the id.
    #[must_use]
    pub fn span(&self) -> Span {
        // Of the highest level, so that it is there for whatever is logged.
        tracing::error_span!("request", request_id = %self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who asked for what; at most `MAX_NAMES`.
#[derive(Default)]
pub(super) struct Askers {
    /// Held for one lookup only, never while another lock is taken.
    by_key: Mutex<HashMap<BundleKey, RequestId>>,
}

impl Askers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BundleKey, RequestId>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who asked first. `false` when somebody else has, or too many have been noted.
    fn note(&self, key: BundleKey, asker: RequestId) -> bool {
        let mut by_key = self.lock();
        if by_key.len() >= MAX_NAMES || by_key.contains_key(&key) {
            return false;
        }
        by_key.insert(key, asker);
        true
    }

    /// Forgets who asked.
    pub(super) fn forget(&self, key: &BundleKey) {
        self.lock().remove(key);
    }
}

impl Orders {
    /// Notes the request that this task answers as the one that asks for a bundle. `false` when there is nothing to
    /// note.
    pub(super) fn note_asker(&self, key: BundleKey) -> bool {
        REQUEST.try_with(RequestId::clone).is_ok_and(|asker| self.0.askers.note(key, asker))
    }

    /// Who asked for a bundle, if a request to this process has.
    pub(super) fn asker(&self, key: &BundleKey) -> Option<RequestId> {
        self.0.askers.lock().get(key).cloned()
    }

    /// Who asked for one asked for the other too, which it is another name of.
    pub(super) fn pass_asker_on(&self, from: &BundleKey, to: BundleKey) {
        if let Some(asker) = self.asker(from) {
            self.0.askers.note(to, asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        let longest = "a".repeat(64);
        for id in ["a", "req-1.2_3", &longest, &RequestId::random().to_string()] {
            assert_eq!(RequestId::parse(id).unwrap().to_string(), id);
        }
        for id in ["", &format!("{longest}a"), "a b", "a\nb", "a\"b", "\u{e9}", "a=b", "a}b"] {
            assert_eq!(RequestId::parse(id), None, "{id:?}");
        }
    }

    #[test]
    fn who_asked_first_is_who_asked_and_there_are_only_so_many() {
        let askers = Askers::default();
        let key = |number: usize| -> BundleKey { format!("directory/{number:040x}.tar").parse().unwrap() };
        let id = |text| RequestId::parse(text).unwrap();
        assert!(askers.note(key(0), id("first")) && !askers.note(key(0), id("second")));
        assert_eq!(askers.lock()[&key(0)], id("first"));
        let noted = (1..MAX_NAMES + 9).filter(|number| askers.note(key(*number), id("x"))).count();
        assert_eq!(noted, MAX_NAMES - 1);
        askers.forget(&key(0));
        assert!(askers.note(key(0), id("third")));
    }
}
