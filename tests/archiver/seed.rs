//! The three examples that the first Archiver's users were shown (`seed.txt`), held against larder's
//! answers: equal in status, headers and body but for what differs by nature — server, date, protocol,
//! host, port, the task's name, the archive's URLs, and the lengths that follow from these.

use super::Larder;
use super::exchange::{Shown, curl};
use super::hgweb::Hgweb;
use super::seaweed::Seaweed;
use serde_json::Value;

const ORIGINAL: &str = include_str!("seed.txt");
/// The revision that the examples ask for.
const REV: &str = "3d11cb4f31b9";

/// The three answers as they were.
fn examples() -> [Shown; 3] {
    let examples: Vec<Shown> = ORIGINAL
        .split("> curl -i ")
        .skip(1)
        .map(|example| {
            let (_, answer) = example.split_once('\n').unwrap();
            let (head, body) = answer.split_once("\n\n").unwrap();
            let mut lines = head.lines();
            let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let fields = lines.map(|line| line.split_once(": ").unwrap());
            let mut headers: Vec<_> = fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .filter(|(name, _)| !matches!(name.as_str(), "server" | "date"))
                .collect();
            headers.sort();
            let shown = Shown { status, headers, body: body.trim_end().to_owned() };
            assert_eq!(shown.header("content-length"), shown.body.len().to_string(), "the example is whole");
            shown
        })
        .collect();
    examples.try_into().unwrap_or_else(|_| panic!("there are three"))
}

/// An example with these words in the place of others, and the length that follows.
fn with(example: &Shown, words: &[(&str, &str)]) -> Shown {
    let put = |text: &str| words.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
    let body = put(&example.body);
    let headers = example.headers.iter().map(|(name, value)| match name.as_str() {
        "content-length" => (name.clone(), body.len().to_string()),
        _ => (name.clone(), put(value)),
    });
    Shown { status: example.status, headers: headers.collect(), body: body.clone() }
}

/// Asks for what the examples ask for, and compares. `places` are the names in `s3_urls`, and what the
/// URLs of each begin with. Gives where the last of them leads.
pub(crate) fn compare(larder: &Larder, hg: &Hgweb, places: &[(&str, &str)]) -> String {
    let [miss, status, hit] = examples();
    let (rev, base) = (hg.short(), format!("http://{}", larder.server.address));
    let url = format!("{base}/archiver/mozharness/{rev}?repo=mozilla-central&region=us-east-1");

    let answer = curl(&url);
    let task = answer.header("location").to_owned();
    let original = format!("http://127.0.0.1:8010/archiver/status/{REV}");
    assert_eq!(answer, with(&miss, &[(&original, &task)]));
    let id = task.strip_prefix(&format!("{base}/archiver/status/")).expect("the location is absolute");
    assert!(id.starts_with(rev) && id.len() > rev.len(), "{id}");

    larder.ended(&task);
    let answer = curl(&task);
    let urls = |body: &str| -> Vec<(String, String)> {
        let body: Value = serde_json::from_str(body).unwrap();
        let urls = body["result"]["s3_urls"].as_object().unwrap();
        urls.iter().map(|(name, url)| (name.clone(), url.as_str().unwrap().to_owned())).collect()
    };
    let lines = |urls: &[(String, String)]| {
        let lines: Vec<_> = urls.iter().map(|(name, url)| format!("      \"{name}\": \"{url}\"")).collect();
        lines.join(",\n")
    };
    let (there, were) = (urls(&answer.body), urls(&status.body));
    assert_eq!(there.len(), places.len(), "{there:?}");
    for ((name, url), (place, start)) in there.iter().zip(places) {
        assert!(name == place && url.starts_with(start), "{name}: {url}");
    }
    let upstream = format!("http://{}", hg.address);
    let words = [
        (lines(&were), lines(&there)),
        ("https://hg.mozilla.org".to_owned(), upstream),
        (format!("/{REV}.tar.gz"), format!("/{rev}.tar.gz")),
    ];
    let words: Vec<_> = words.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
    assert_eq!(answer, with(&status, &words));

    let answer = curl(&url);
    let (location, was) = (answer.header("location").to_owned(), hit.header("location").to_owned());
    let escaped = |url: &str| url.replace('&', "&amp;");
    assert_eq!(answer, with(&hit, &[(&escaped(&was), &escaped(&location)), (&was, &location)]));
    assert!(location.starts_with(places[0].1), "{location}");
    location
}

#[test]
fn without_regions_the_three_examples_are_answered_as_they_were() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let own = format!("http://{}/vault/content/", larder.server.address);
    compare(&larder, &hg, &[("local", &own)]);
}

#[test]
fn with_two_regions_the_three_examples_are_answered_as_they_were() {
    let (east, west, hg) = (Seaweed::start(), Seaweed::start(), Hgweb::start());
    let regions = [east.settings("us-east-1", ""), west.settings("us-west-2", "")].concat();
    let larder = Larder::start(&format!("{}{regions}", hg.settings()));
    let location = compare(&larder, &hg, &[("us-east-1", &east.endpoint()), ("us-west-2", &west.endpoint())]);
    assert_eq!(super::seaweed::get(&location).0, 200);
}
