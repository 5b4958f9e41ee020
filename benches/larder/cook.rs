//! Cooking from nothing beside `git archive`: wall, size, memory. `tar.gz` and `tar.zst` beside its
//! `tar.gz`, `zip` beside its `zip`.

use super::common::server::Server;
use super::common::{git_command, git_line};
use super::{median, spread};
use crate::common::process::{Process, Start as _};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUNDS: usize = 9;

/// In turn, on the packed repositories of real sources, or those that `LARDER_BENCH_REPOSITORIES` names. larder's time is that of a POST to a running
/// server, from the request to its answer that the bundle is done: queue, catalogue, hashing of every
/// object, fsync. git's is that of its process, which does none of these.
pub(super) fn beside_git_archive() {
    for (ours, theirs) in [("tar.gz", "tar.gz"), ("zip", "zip"), ("tar.zst", "tar.gz")] {
        of_format(ours, theirs);
    }
}

fn of_format(format: &str, git_format: &str) {
    println!("\ncook {format} from nothing, beside git archive --format={git_format} ({ROUNDS} rounds in turn)");
    println!("  git/larder wall: min / median / max; larder/git size; peak anonymous memory of larder");
    for repository in super::history::repositories() {
        let out = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let tree = git_line(&["rev-parse", "HEAD^{tree}"], &repository);
        let (theirs, ours) = (out.path().join("git.out"), out.path().join("larder.out"));
        let data = out.path().join("data");
        let server = Server::start(&data, &[&repository], &[]);
        let key = format!("directory/{tree}.{format}");
        let (mut ratios, mut git_times, mut larder_times) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let mut archive = git_command(&repository);
            archive.args(["archive", &format!("--format={git_format}"), "-o"]).arg(&theirs).arg(&tree);
            let git = timed(&mut archive);
            let start = Instant::now();
            let answer = server.send("POST", &format!("/vault/{key}"), &[("Prefer", "wait=60")]);
            let larder = start.elapsed().as_secs_f64();
            assert_eq!(answer.json()["status"], "done");
            remove(&data, &key);
            // The first warms the page cache for both.
            if round > 0 {
                ratios.push(git / larder);
                git_times.push(git * 1000.0);
                larder_times.push(larder * 1000.0);
            }
        }
        drop(server);
        let data = TempDir::new_in(out.path()).unwrap();
        let peak = peak_anonymous(larder_cook(data.path(), &repository, &key, &[]).start().unwrap());
        let copied = larder_cook(data.path(), &repository, &key, &["-o", ours.to_str().unwrap()]).status().unwrap();
        assert!(copied.success());
        let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
        println!(
            "  {:10} {}   git {:.0} ms, larder {:.0} ms   size {:.4}   {} MiB",
            repository.file_name().unwrap().to_string_lossy(),
            spread(&ratios),
            median(&git_times),
            median(&larder_times),
            size(&ours) / size(&theirs),
            peak >> 10
        );
    }
}

/// One file of 4 GiB, which git keeps whole.
pub(super) fn of_a_4_gib_file() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    super::common::git(&["init", "-q", "--bare", "."], folder.path());
    let mut git = git_command(folder.path())
        .args(["-c", "core.compression=1", "hash-object", "-w", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    let lines: Vec<String> = (0..1000).map(|n| format!("{} is a line of a large file\n", n * 7919 % 1000)).collect();
    let line = lines.concat();
    for block in 0..(4_u64 << 30) / (line.len() as u64 + 9) {
        stdin.write_all(format!("{block:08x}\n").as_bytes()).unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
    }
    drop(stdin);
    let output = git.wait_with_output().unwrap();
    let blob = String::from_utf8(output.stdout).unwrap();
    let mut mktree =
        git_command(folder.path()).arg("mktree").stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    let entry = format!("100644 blob {}\tlarge\n", blob.trim());
    mktree.stdin.take().unwrap().write_all(entry.as_bytes()).unwrap();
    let tree = String::from_utf8(mktree.wait_with_output().unwrap().stdout).unwrap();
    let data = TempDir::new_in(folder.path()).unwrap();
    let start = Instant::now();
    let peak = peak_anonymous(
        larder_cook(data.path(), folder.path(), &format!("directory/{}.tar.gz", tree.trim()), &[]).start().unwrap(),
    );
    println!("\na file of 4 GiB: {:.0} s, peak anonymous memory {} MiB", start.elapsed().as_secs_f64(), peak >> 10);
}

fn larder_cook(data: &Path, repository: &Path, key: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("cook").arg(key).arg("--data").arg(data).arg("--git").arg(repository);
    command.args(flags).env("LARDER_LOG", "off").stdout(Stdio::null()).stdin(Stdio::null());
    command
}

pub(super) fn remove(data: &Path, key: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    let status = command.args(["remove", key, "--data"]).arg(data).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
}

pub(super) fn timed(command: &mut Command) -> f64 {
    let start = Instant::now();
    assert!(command.status().unwrap().success());
    start.elapsed().as_secs_f64()
}

/// The most memory of a child and its own children at a time, in KiB: anonymous, and all that is
/// resident, files mapped from the page cache included (a page that two of them map counts twice).
pub(super) struct Peak {
    pub(super) anonymous: u64,
    pub(super) resident: u64,
}

/// Waits for a child and watches its memory.
pub(super) fn peak(mut child: Process) -> Peak {
    let mut peak = Peak { anonymous: 0, resident: 0 };
    while child.try_wait().unwrap().is_none() {
        peak.anonymous = peak.anonymous.max(memory(child.id(), "RssAnon:"));
        peak.resident = peak.resident.max(memory(child.id(), "VmRSS:"));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

/// The anonymous part of [`peak`] alone.
pub(super) fn peak_anonymous(child: Process) -> u64 {
    peak(child).anonymous
}

fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let own: u64 = status
        .lines()
        .find_map(|found| found.strip_prefix(line))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    own + children.split_whitespace().filter_map(|id| id.parse().ok()).map(|id| memory(id, line)).sum::<u64>()
}
