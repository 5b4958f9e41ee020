//! Cooking `git.tar` and `bundle` of a snapshot beside git doing the same: wall, size, memory.

use super::common::fixtures::{REAL, fixture};
use super::common::git_command;
use super::cook::{Peak, peak, remove, timed};
use super::kit::snapshot;
use super::{median, spread};
use crate::common::process::Start as _;
use larder::catalogue::{Access, Catalogue};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const ROUNDS: usize = 3;

/// Repositories to be measured, `:` between them, instead of those of the fixture.
const REPOSITORIES: &str = "LARDER_BENCH_REPOSITORIES";

/// In turn, on packed repositories, all refs. larder's time is that of `larder cook`, from its start
/// to its end: queue, catalogue, the hash of every object, fsync. git's is that of `git bundle create
/// --all` and then `git index-pack` of the bundle's pack.
pub(super) fn beside_git() {
    println!("\ncook of a snapshot, beside git bundle create --all and git index-pack ({ROUNDS} rounds in turn)");
    println!("  larder/git wall: min / median / max; larder/git size; peak memory");
    for repository in repositories() {
        let out = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let data = out.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let manifest = snapshot(&repository);
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
        let id = catalogue.add_snapshot(&manifest, None).unwrap();
        drop(catalogue);
        let theirs = out.path().join("theirs.bundle");
        for ext in ["git.tar", "bundle"] {
            let key = format!("snapshot/{id}.{ext}");
            let (mut ratios, mut git_times, mut larder_times) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..=ROUNDS {
                let git = timed(&mut bundle(&repository, &theirs)) + timed(&mut index(&theirs, out.path()));
                let start = Instant::now();
                assert!(larder(&data, &repository, &key).status().unwrap().success());
                let larder = start.elapsed().as_secs_f64();
                let file = stored(&data, &key);
                let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
                // The first warms the page cache for both.
                if round > 0 {
                    ratios.push(larder / git);
                    git_times.push(git);
                    larder_times.push(larder);
                }
                if round == ROUNDS {
                    // A repository has the index too.
                    let index = if ext == "git.tar" { size(&out.path().join("x.idx")) } else { 0.0 };
                    let ratio = size(&file) / (size(&theirs) + index);
                    let name = repository.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
                    let (git, larder) = (median(&git_times), median(&larder_times));
                    println!(
                        "  {name:22} {ext:8} {}   git {git:.2} s, larder {larder:.2} s   size {ratio:.4}",
                        spread(&ratios)
                    );
                }
                remove(&data, &key);
            }
        }
        for ext in ["git.tar", "bundle"] {
            let key = format!("snapshot/{id}.{ext}");
            show(ext, &peak(larder(&data, &repository, &key).start().unwrap()));
            remove(&data, &key);
        }
        show("git bundle", &peak(bundle(&repository, &theirs).start().unwrap()));
        show("git index-pack", &peak(index(&theirs, out.path()).start().unwrap()));
    }
}

fn show(what: &str, peak: &Peak) {
    println!("    {what:14} {} MiB anonymous, {} MiB resident", peak.anonymous >> 10, peak.resident >> 10);
}

pub(super) fn repositories() -> Vec<PathBuf> {
    if let Ok(list) = std::env::var(REPOSITORIES) {
        return list.split(':').map(PathBuf::from).collect();
    }
    fixture(REAL).repositories()
}

fn bundle(repository: &Path, to: &Path) -> Command {
    let mut command = git_command(repository);
    command.args(["bundle", "create", "-q"]).arg(to).arg("--all").stdin(Stdio::null());
    command
}

/// Index-pack of the pack within a bundle, which begins behind the first blank line.
fn index(bundle: &Path, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = "sed '1,/^$/d' \"$1\" | git index-pack --stdin -o \"$2/x.idx\" \"$2/x.pack\" >/dev/null";
    let _ = std::fs::remove_file(folder.join("x.pack"));
    let _ = std::fs::remove_file(folder.join("x.idx"));
    command.args(["-c", script, "sh"]).arg(bundle).arg(folder).current_dir(folder);
    command
}

fn larder(data: &Path, repository: &Path, key: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["cook", key, "--data"]).arg(data).arg("--git").arg(repository);
    command.env("LARDER_LOG", "off").stdout(Stdio::null()).stdin(Stdio::null());
    command
}

fn stored(data: &Path, key: &str) -> PathBuf {
    let (kind, name) = key.split_once('/').unwrap();
    data.join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name)
}
