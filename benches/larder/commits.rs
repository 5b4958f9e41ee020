//! Commits that follow each other, each cooked by a running server beside `git archive --format=tar.gz` of the same:
//! wall, CPU, size. And what a fork, a vendored copy and a subdirectory share with what is there.

use super::common::server::{Server, told};
use super::common::{git_command, git_line};
use super::cook::timed;
use super::median;
use crate::common::process::Start as _;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// Of each repository, so many commits, or as many as `LARDER_BENCH_COMMITS` says.
const COMMITS: usize = 200;

/// Of the repositories that `LARDER_BENCH_REPOSITORIES` names, separated by commas.
pub(super) fn beside_git_archive() {
    let Ok(repositories) = std::env::var("LARDER_BENCH_REPOSITORIES") else {
        println!("\ncommits: LARDER_BENCH_REPOSITORIES names no repositories");
        return;
    };
    let commits = std::env::var("LARDER_BENCH_COMMITS").map_or(COMMITS, |count| count.parse().unwrap());
    println!("\ncommits in order, beside git archive --format=tar.gz of the same, in turn");
    println!("  git/larder: wall min / median / mean / max; CPU of all; larder/git size: median, largest");
    for repository in repositories.split(',').map(PathBuf::from) {
        of_repository(&repository, commits);
    }
}

fn of_repository(repository: &Path, count: usize) {
    let listed = git_line(&["rev-list", "--first-parent", &format!("-n{}", count + 1), "HEAD"], repository);
    let commits: Vec<&str> = listed.lines().rev().collect();
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("git.tar.gz"));
    let forks = folder.path().join("forks");
    std::fs::create_dir(&forks).unwrap();
    let (server, log) = Server::telling(&data, repository, &["--git", forks.to_str().unwrap()]);
    let (mut walls, mut sizes, mut first) = (Vec::new(), Vec::new(), 0.0);
    let (mut git_wall, mut larder_wall, mut git_cpu, mut larder_cpu) = (0.0, 0.0, 0.0, 0.0);
    let mut medians = (Vec::new(), Vec::new());
    for (number, commit) in commits.iter().enumerate() {
        let mut archive = git_command(repository);
        archive.args(["archive", "--format=tar.gz", "-o"]).arg(&out).arg(commit);
        let cpu = cpu_of_children();
        let git = timed(&mut archive);
        let git_used = cpu_of_children() - cpu;
        let cpu = cpu_of(server.pid());
        let (larder, size) = cooked(&server, &format!("revision/{commit}"));
        let larder_used = cpu_of(server.pid()) - cpu;
        // The first is cooked from nothing.
        if number == 0 {
            first = git / larder;
            continue;
        }
        walls.push(git / larder);
        medians.0.push(git * 1000.0);
        medians.1.push(larder * 1000.0);
        sizes.push(size / std::fs::metadata(&out).unwrap().len() as f64);
        (git_wall, larder_wall) = (git_wall + git, larder_wall + larder);
        (git_cpu, larder_cpu) = (git_cpu + git_used, larder_cpu + larder_used);
    }
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    let (least, most) = walls.iter().fold((f64::MAX, 0.0), |(a, b), x| (x.min(a), x.max(b)));
    let (copied, made) = sums(&log);
    println!(
        "  {}: {} commits   wall {least:.1} / {:.1} / {:.1} / {most:.1}   CPU {:.1}   size {:.4}, {largest:.4}",
        repository.display(),
        walls.len(),
        median(&walls),
        git_wall / larder_wall,
        git_cpu / larder_cpu,
        median(&sizes),
    );
    println!(
        "    medians: git {:.0} ms, larder {:.1} ms; the first, from nothing: {first:.2} times; segments copied {copied}, made {made}",
        median(&medians.0),
        median(&medians.1),
    );
    sharing(&server, &log, repository, &forks, commits[commits.len() - 1]);
    let hundred = &commits[commits.len().saturating_sub(100)..];
    let trees: BTreeSet<String> =
        hundred.iter().map(|commit| git_line(&["rev-parse", &format!("{commit}^{{tree}}")], repository)).collect();
    at_once(&server, &data, &trees.into_iter().map(|tree| format!("directory/{tree}")).collect::<Vec<_>>());
}

/// Cooks a fork of the commit, a tree that holds it in a folder, and its largest folder.
fn sharing(server: &Server, log: &Path, repository: &Path, forks: &Path, commit: &str) {
    let tree = |spec: &str| git_line(&["rev-parse", spec], repository);
    let root = tree(&format!("{commit}^{{tree}}"));
    let fork = forks.join("fork.git");
    let mut clone = git_command(forks);
    clone.args(["clone", "--quiet", "--bare"]).arg(repository).arg(&fork);
    timed(&mut clone);
    let readme = made(&fork, &["hash-object", "-w", "--stdin"], b"a fork\n");
    let listed = git_line(&["ls-tree", &root], &fork);
    let changed = made(&fork, &["mktree"], format!("{listed}\n100644 blob {readme}\tzz-fork\n").as_bytes());
    let vendored = made(&fork, &["mktree"], format!("040000 tree {root}\tvendored\n").as_bytes());
    let folders = git_line(&["ls-tree", "-d", &root], repository);
    let files = |id: &str| git_line(&["ls-tree", "-r", "--name-only", id], repository).lines().count();
    // A gitlink is a folder to git, too.
    let trees = folders.lines().filter(|line| line.contains(" tree "));
    let ids = trees.filter_map(|line| line.split([' ', '\t']).nth(2));
    let largest = ids.max_by_key(|id| files(id)).unwrap_or(&root).to_owned();
    for (what, id) in
        [("a fork with one more file", changed), ("a copy in a folder", vendored), ("its largest folder", largest)]
    {
        let key = format!("directory/{id}");
        // What was made a moment ago is found at the second try.
        let (took, _) = cooked(server, &key);
        let (copied, made) = told(log, &id);
        println!("    {what}: segments copied {copied}, made {made}; {:.0} ms", took * 1000.0);
    }
}

/// The last hundred once more, from nothing: one after the other, and all at once beside a collection that runs
/// again and again.
fn at_once(server: &Server, data: &Path, keys: &[String]) {
    let larder = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(args).arg("--data").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(matches!(command.status().unwrap().code(), Some(0 | 3)));
    };
    let forget = || larder(&["gc", "--max-size", "0B", "--min-free", "0B", "--grace", "0s", "--force"]);
    forget();
    let start = Instant::now();
    for key in keys {
        cooked(server, key);
    }
    let in_turn = start.elapsed().as_secs_f64();
    forget();
    let (start, ended) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                larder(&["gc", "--max-size", "1TiB"]);
            }
        });
        std::thread::scope(|scope| {
            for key in keys {
                scope.spawn(move || cooked(server, key));
            }
        });
        ended.store(true, Ordering::Release);
    });
    let took = start.elapsed().as_secs_f64();
    println!("    {} at once, with gc beside: {took:.1} s; one after the other: {in_turn:.1} s", keys.len());
}

/// Asks for a bundle, and gives the seconds until it is there, and its size.
fn cooked(server: &Server, key: &str) -> (f64, f64) {
    let target = format!("/vault/{key}.tar.gz");
    for _ in 0..20 {
        let start = Instant::now();
        let answer = server.send("POST", &target, &[("Prefer", "wait=60")]);
        if answer.status == 404 {
            // A repository that is new to it: it looks for those once a second.
            std::thread::sleep(std::time::Duration::from_millis(500));
            continue;
        }
        let (took, body) = (start.elapsed().as_secs_f64(), answer.json());
        assert_eq!(body["status"], "done", "{body}");
        return (took, body["size"].as_f64().unwrap());
    }
    panic!("{key} is not found");
}

fn made(repository: &Path, command: &[&str], input: &[u8]) -> String {
    let mut git = git_command(repository);
    let mut git = git.args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    git.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Segments copied and made by all cooks so far.
fn sums(log: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(log).unwrap();
    let number = |line: &str, name: &str| -> u64 {
        let rest = line.split_once(name).map_or("0", |(_, rest)| rest);
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let cooks = text.lines().filter(|line| line.contains("copied="));
    cooks.fold((0, 0), |(copied, made), line| (copied + number(line, "copied="), made + number(line, "made=")))
}

/// Seconds of CPU that a process has used.
fn cpu_of(process: u32) -> f64 {
    ticks(&std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap(), 11)
}

/// And those of children that have ended.
fn cpu_of_children() -> f64 {
    ticks(&std::fs::read_to_string("/proc/self/stat").unwrap(), 13)
}

/// Two fields behind the name, in the hundredths of a second in which Linux gives them.
fn ticks(stat: &str, first: usize) -> f64 {
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[first].parse::<f64>().unwrap() + fields[first + 1].parse::<f64>().unwrap()) / 100.0
}
