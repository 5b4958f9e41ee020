//! Software Heritage's API: a large directory beside the cook of its revision, and a thousand identifiers at once. Of
//! the repositories that `LARDER_BENCH_REPOSITORIES` names.

use super::common::client::request_with_body;
use super::common::server::Server;
use super::common::{git, git_line};
use super::history::repositories;
use super::spread;
use std::path::Path;
use std::time::Instant;
use tempfile::TempDir;

const ROUNDS: usize = 50;

pub(super) fn of_objects() {
    for repository in repositories() {
        of_repository(&repository);
    }
}

fn of_repository(repository: &Path) {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start(data.path(), &[repository], &[]);
    let revision = git_line(&["rev-parse", "HEAD"], repository);
    let objects = git(
        &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)", "--unordered"],
        repository,
    );
    let objects: Vec<&str> = std::str::from_utf8(&objects).unwrap().lines().collect();
    println!(
        "\napi: {}, {} objects; milliseconds, min / median / max of {ROUNDS}",
        repository.display(),
        objects.len()
    );

    let directory = largest(repository);
    let start = Instant::now();
    assert_eq!(server.cook(&format!("revision/{revision}"))["status"], "done");
    let cook = start.elapsed().as_secs_f64() * 1000.0;
    println!("  cook of {revision}: {cook:.0}");
    let path = format!("/api/1/directory/{}/", directory.0);
    let (first, all) = timed(|| {
        let answer = server.get(&path);
        assert_eq!(answer.json().as_array().unwrap().len(), directory.1);
    });
    println!("  directory of {} entries: {first:.2} the first time, then {}", directory.1, spread(&all));

    let step = objects.len() / 1000;
    let swhids: Vec<String> = (0..1000)
        .map(|n| {
            let (word, id) = objects[n * step].split_once(' ').unwrap();
            let kind = larder::key::ObjectKind::from_spelling(word).unwrap();
            format!("swh:1:{}:{id}", kind.swhid_type())
        })
        .collect();
    let body = serde_json::to_string(&swhids).unwrap();
    let ask = |body: &str, known: bool| {
        let headers = [("Content-Type", "application/json")];
        let answer = request_with_body(&server.address, "POST", "/api/1/known/", &headers, body.as_bytes()).unwrap();
        let told = answer.json();
        assert!(told.as_object().unwrap().values().all(|told| told["known"] == known), "{told}");
    };
    let (first, all) = timed(|| ask(&body, true));
    println!("  1000 known: {first:.2} the first time, then {}", spread(&all));
    let absent: Vec<String> = (0..1000).map(|n| format!("swh:1:rev:{:040x}", n * 7919)).collect();
    let body = serde_json::to_string(&absent).unwrap();
    let (first, all) = timed(|| ask(&body, false));
    println!("  1000 unknown: {first:.2} the first time, then {}", spread(&all));
}

/// The tree of HEAD with the most entries, but for what no listing shows at once.
fn largest(repository: &Path) -> (String, usize) {
    let listed = git(&["ls-tree", "-r", "-d", "HEAD"], repository);
    let trees = String::from_utf8_lossy(&listed).into_owned();
    let trees = trees.lines().map(|line| line.split([' ', '\t']).nth(2).unwrap().to_owned());
    let entries = |tree: &String| String::from_utf8_lossy(&git(&["ls-tree", tree], repository)).lines().count();
    trees.map(|tree| (entries(&tree), tree)).max().map(|(count, tree)| (tree, count)).expect("it has a directory")
}

/// How long the first took, and each of the rounds after it.
fn timed(mut work: impl FnMut()) -> (f64, Vec<f64>) {
    let mut times = (0..=ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1000.0
    });
    let first = times.next().expect("there is one round at least");
    (first, times.collect())
}
