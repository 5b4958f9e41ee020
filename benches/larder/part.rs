//! Cooking a `bundle` of a part of a repository, what an old tag leads to, beside `git pack-objects`
//! with and without looking for every delta anew: size, wall.

use super::common::fixtures::{REAL, fixture};
use super::common::{git_command, git_line};
use super::cook::{peak, remove, timed};
use super::{median, spread};
use crate::common::process::Start as _;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const ROUNDS: usize = 5;

/// Repositories and what is taken out of each, `DIR@REVISION`, a comma between two.
const PARTS: &str = "LARDER_BENCH_PARTS";
/// Another `larder`, to be run in turn with this one.
const BEFORE: &str = "LARDER_BENCH_BEFORE";

/// In turn. larder's time is that of `larder cook`, from its start to its end, git's that of `git
/// pack-objects --revs --no-reuse-delta`, with as many threads as there are processors.
pub(super) fn beside_pack_objects() {
    println!("\nbundle of a part of a repository, beside git pack-objects --no-reuse-delta ({ROUNDS} rounds in turn)");
    println!("  larder/git wall: min / median / max; size of the pack: larder/git, git with its deltas reused/git");
    for (repository, revision) in parts() {
        let out = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let id = git_line(&["rev-parse", &format!("{revision}^{{commit}}")], &repository);
        let key = format!("revision/{id}.bundle");
        let before = std::env::var_os(BEFORE).map(PathBuf::from);
        let larder = Path::new(env!("CARGO_BIN_EXE_larder"));
        let (mut ratios, mut times, mut git_times, mut gains) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut sizes = [0; 3];
        for round in 0..=ROUNDS {
            let git = pack(&repository, &id, &["--no-reuse-delta"], out.path());
            let own = cook(larder, out.path(), &repository, &key);
            let before = before.as_ref().map(|before| cook(before, out.path(), &repository, &key));
            // The first warms the page cache for all.
            if round > 0 {
                ratios.push(own.0 / git.0);
                times.push(own.0);
                git_times.push(git.0);
                gains.extend(before.map(|before| own.0 / before.0));
            }
            sizes = [own.1, git.1, before.map_or(0, |before| before.1)];
        }
        let reused = pack(&repository, &id, &[], out.path()).1;
        let ratio = |size: u64| size as f64 / sizes[1] as f64;
        println!("  {} at {revision}: {}", repository.display(), spread(&ratios));
        println!("    git {:.2} s, {} bytes; larder {:.2} s", median(&git_times), sizes[1], median(&times));
        println!("    size {:.3}, of git's deltas {:.3}", ratio(sizes[0]), ratio(reused));
        if !gains.is_empty() {
            println!("    beside the other larder: wall {}; size of the other {:.3}", spread(&gains), ratio(sizes[2]));
        }
        let data = out.path().join("data");
        let peak = peak(command(larder, &data, &repository, &key).start().unwrap());
        println!("    larder: {} MiB anonymous, {} MiB resident", peak.anonymous >> 10, peak.resident >> 10);
    }
}

fn parts() -> Vec<(PathBuf, String)> {
    if let Ok(list) = std::env::var(PARTS) {
        let part = |one: &str| one.rsplit_once('@').map(|(path, revision)| (path.into(), revision.to_owned()));
        return list.split(',').map(|one| part(one).expect("a part is DIR@REVISION")).collect();
    }
    // What has a history of some length: its first commit but one.
    let first = |path: PathBuf| {
        let commits = git_line(&["rev-list", "--first-parent", "HEAD"], &path);
        commits.lines().rev().nth(1).map(|commit| (path, commit.to_owned()))
    };
    fixture(REAL).repositories().into_iter().filter_map(first).collect()
}

/// Seconds and bytes.
fn pack(repository: &Path, id: &str, options: &[&str], folder: &Path) -> (f64, u64) {
    let mut list = tempfile::tempfile_in(folder).unwrap();
    writeln!(list, "{id}").unwrap();
    list.rewind().unwrap();
    let path = folder.join("git.pack");
    let mut git = git_command(repository);
    git.args(["pack-objects", "-q", "--revs", "--stdout", "--delta-base-offset"]).args(options);
    let time = timed(git.stdin(list).stdout(File::create(&path).unwrap()));
    (time, fs::metadata(path).unwrap().len())
}

/// Seconds and bytes.
fn cook(larder: &Path, folder: &Path, repository: &Path, key: &str) -> (f64, u64) {
    let (data, file) = (folder.join("data"), folder.join("larder.bundle"));
    let start = Instant::now();
    assert!(command(larder, &data, repository, key).status().unwrap().success());
    let time = start.elapsed().as_secs_f64();
    let copied = command(larder, &data, repository, key).arg("-o").arg(&file).status().unwrap();
    assert!(copied.success());
    remove(&data, key);
    (time, fs::metadata(file).unwrap().len())
}

fn command(larder: &Path, data: &Path, repository: &Path, key: &str) -> Command {
    let mut command = Command::new(larder);
    command.args(["cook", key, "--data"]).arg(data).arg("--git").arg(repository);
    command.env("LARDER_LOG", "off").stdout(Stdio::null()).stdin(Stdio::null());
    command
}
