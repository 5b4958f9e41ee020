//! Who asks, what they were promised, and what they were once given.

use super::cast::{Front, Fronts};
use super::place::{self, Place};
use crate::common::client::{Answer, request};
use crate::common::kitchenware::{Menu, Random};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How a task of the Archiver's is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    Failure,
}

#[derive(Default)]
pub(super) struct Ledger {
    /// The bundles whose order was accepted.
    ordered: Mutex<BTreeSet<String>>,
    /// The tasks that were given, and for what.
    tasks: Mutex<BTreeMap<String, String>>,
    /// The digests of what was served.
    seen: Mutex<BTreeMap<String, String>>,
    /// How often there was which answer; 0 is none.
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Ledger {
    /// What bundles are to be, before they are first served.
    pub(super) fn expect_bytes(&self, menu: &Menu) {
        self.seen.lock().unwrap().extend(menu.clone());
    }

    /// What was promised since it was last taken.
    pub(super) fn take(&self) -> (BTreeSet<String>, BTreeMap<String, String>) {
        (std::mem::take(&mut *self.ordered.lock().unwrap()), std::mem::take(&mut *self.tasks.lock().unwrap()))
    }

    /// How often there was which answer.
    pub(super) fn tally(&self) -> String {
        let mut text = String::from("answers:");
        for (status, times) in &*self.answers.lock().unwrap() {
            let _ = write!(text, " {status} {times} times");
        }
        text
    }

    /// Asks for something, by chance, and notes what is promised.
    pub(super) fn ask(&self, place: &Place, fronts: &Fronts, act: u32, random: &mut Random) {
        let front = fronts.get(usize::from(random.below(2) == 1));
        let key = random.choose(&place.keys);
        match random.below(12) {
            0..=3 => drop(self.get(&front, key)),
            4..=6 => self.order(&front, key),
            7 => self.order(&front, &place.lacking),
            8..=9 => {
                let target = place::target(act, random.below(30));
                if let Some(answer) = self.send(&front, "GET", &target, &[202, 302])
                    && answer.status == 202
                {
                    let id = answer.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
                    self.tasks.lock().unwrap().insert(id, target);
                }
            }
            10 => drop(self.send(&front, "GET", &format!("/vault/{key}/status"), &[200, 404])),
            _ => {
                // What was once resolved can be cooked from then on.
                let resolve = format!("/vault/resolve?origin={}&ref=main", crate::origins::escaped(&place.url()));
                if let Some(answer) = self.send(&front, "GET", &resolve, &[200, 404])
                    && answer.status == 200
                {
                    let id = answer.json()["revision"]["id"].as_str().unwrap().to_owned();
                    self.order(&front, &format!("revision/{id}.tar.gz"));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }

    fn order(&self, front: &Front, key: &str) {
        if self.send(front, "POST", &format!("/vault/{key}"), &[201]).is_some() {
            self.ordered.lock().unwrap().insert(key.to_owned());
        }
    }

    /// Whether a bundle is served, with the bytes that it always had.
    pub(super) fn get(&self, front: &Front, key: &str) -> bool {
        let answer = self.send(front, "GET", &format!("/vault/{key}"), &[200, 404]);
        let Some(answer) = answer.filter(|answer| answer.status == 200) else { return false };
        let digest = blake3::hash(&answer.body).to_hex().to_string();
        let mut seen = self.seen.lock().unwrap();
        let first = seen.entry(key.to_owned()).or_insert_with(|| digest.clone());
        assert!(*first == digest, "{key} has other bytes than it had");
        true
    }

    /// An answer with one of these statuses; none where the server is busy, or was killed before it could
    /// give a whole one.
    fn send(&self, front: &Front, method: &str, target: &str, statuses: &[u16]) -> Option<Answer> {
        let answer = request(&front.address, method, target, &[]);
        *self.answers.lock().unwrap().entry(answer.as_ref().map_or(0, |answer| answer.status)).or_default() += 1;
        match answer {
            Ok(answer) if statuses.contains(&answer.status) => Some(answer),
            Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => None,
            Ok(answer) => {
                panic!("{method} {target}: {} {}", answer.status, String::from_utf8_lossy(&answer.body))
            }
            Err(error) => {
                assert!(front.is_killed.load(Ordering::SeqCst), "{method} {target}: {error}");
                None
            }
        }
    }

    /// Waits until a cook has ended: `done`, the reason why it failed, or `absent`.
    pub(super) fn ended(&self, front: &Front, key: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.send(front, "GET", &format!("/vault/{key}/status"), &[200, 404]);
            let body = answer.map(|answer| if answer.status == 404 { "absent".into() } else { answer.json() });
            if let Some(body) = &body {
                match (body.as_str(), body["status"].as_str()) {
                    (Some(absent), _) => return absent.to_owned(),
                    (_, Some("done")) => return "done".to_owned(),
                    (_, Some("failed")) => return body["error"]["code"].as_str().unwrap().to_owned(),
                    _ => {}
                }
            }
            assert!(Instant::now() < deadline, "{key} never ends: {body:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a task has ended, and looks how.
    pub(super) fn task_ends(&self, front: &Front, id: &str, expected: Expected, within: Duration) {
        let deadline = Instant::now() + within;
        let word = if expected == Expected::Success { "SUCCESS" } else { "FAILURE" };
        loop {
            let answer = self.send(front, "GET", &format!("/archiver/status/{id}"), &[200]);
            let body = answer.map(|answer| answer.json()["result"].clone()).unwrap_or_default();
            match body["state"].as_str() {
                Some(state @ ("SUCCESS" | "FAILURE")) => {
                    assert_eq!(state, word, "{body}");
                    return;
                }
                _ => assert!(Instant::now() < deadline, "the task {id} never ends: {body}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The bytes of an archive that was fetched.
    pub(super) fn archive(&self, front: &Front, target: &str) -> Option<Vec<u8>> {
        let hit = self.send(front, "GET", target, &[302, 202])?;
        let location = hit.header("location").filter(|_| hit.status == 302)?;
        let path = &location[location.find("/vault").unwrap_or_else(|| panic!("{location}"))..];
        Some(self.send(front, "GET", path, &[200])?.body)
    }
}
