//! Reads `/metrics` as Prometheus does: samples by name and labels.

use super::client::request;
use super::process::Start as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A metric's name, and its labels.
type Series = (String, BTreeMap<String, String>);

/// What a scrape gave.
pub(crate) struct Scraped {
    pub(crate) text: String,
    samples: BTreeMap<Series, f64>,
}

/// Asks `address` for `/metrics`, in the text format.
#[track_caller]
pub(crate) fn scrape(address: &str) -> Scraped {
    let answer = request(address, "GET", "/metrics", &[]).expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).expect("it is UTF-8");
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
        let before = samples.insert(sample.0, sample.1);
        assert!(before.is_none(), "twice: {line}");
    }
    Scraped { text, samples }
}

/// `name{label="value",...} number`, where no value holds a quotation mark.
fn sample(line: &str) -> Option<(Series, f64)> {
    let (name, value) = line.rsplit_once(' ')?;
    let (name, labels) = match name.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (name, ""),
    };
    let pairs = labels.split_terminator("\",").map(|pair| pair.trim_end_matches('"'));
    let labels = pairs.map(|pair| pair.split_once("=\"").map(|(name, value)| (name.to_owned(), value.to_owned())));
    Some(((name.to_owned(), labels.collect::<Option<_>>()?), value.parse().ok()?))
}

impl Scraped {
    /// The sample with just these labels; zero where there is none of that name with these.
    #[track_caller]
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        *self
            .samples
            .get(&(name.to_owned(), labels))
            .unwrap_or_else(|| panic!("no {name} of these labels:\n{}", self.text))
    }

    /// All samples of a name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|((found, _), _)| found == name).map(|(_, value)| value).sum()
    }

    /// The names of all series, with their labels.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.samples.keys().map(|(name, labels)| format!("{name}{labels:?}")).collect()
    }

    /// The names of all metrics.
    pub(crate) fn metrics(&self) -> BTreeSet<&str> {
        self.samples.keys().map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether `promtool` is there; says so when it is not.
pub(crate) fn has_promtool() -> bool {
    let found = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("passed over: promtool (Debian's prometheus) is not installed");
    }
    found
}

/// Has Prometheus' own checker read a scrape.
pub(crate) fn check_with_promtool(scraped: &Scraped) {
    if !has_promtool() {
        return;
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = promtool.start().expect("it was just there");
    checking.stdin.take().expect("a pipe").write_all(scraped.text.as_bytes()).expect("it reads");
    let checked = checking.wait_with_output().expect("it ends");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}
