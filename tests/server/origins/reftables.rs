//! Repositories whose refs are reftables, beside the same with refs in files; git says what is right.
//! With a git that does not know the format (it came with 2.45) only the fixture is left to be read.

use super::local::wait;
use super::{by_python, commit, ok, refused, repository, repository_as, snapshot};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_command, git_line};
use larder::archive::git::{GitArchive, RefTarget};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const REFTABLE: &str = "--ref-format=reftable";

fn git_knows_reftables() -> bool {
    let folder = TempDir::new().unwrap();
    let known = git_command(folder.path()).args(["init", "-q", REFTABLE, "x"]).output().unwrap().status.success();
    if !known {
        eprintln!("not tested: this git has no reftables");
    }
    known
}

/// `larder origin visit` of the repositories in a folder.
fn visit(data: &Path, folder: &Path, url: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["origin", "visit", url, "--data"]).arg(data).arg("--git").arg(folder);
    command.env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn").stdin(Stdio::null()).output().unwrap()
}

/// HEAD and the refs of a repository as git shows them: an id, or the ref that a symbolic one leads to.
fn by_git(repository: &Path) -> BTreeMap<String, String> {
    let listed = git_line(&["for-each-ref", "--format=%(refname) %(objectname) %(symref)"], repository);
    let mut refs = BTreeMap::new();
    for line in listed.lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        let (id, symbolic) = rest.split_once(' ').unwrap_or((rest, ""));
        refs.insert(name.to_owned(), if symbolic.is_empty() { id } else { symbolic }.to_owned());
    }
    let head = git_command(repository).args(["symbolic-ref", "-q", "HEAD"]).output().unwrap().stdout;
    let head = match String::from_utf8(head).unwrap().trim() {
        "" => git_line(&["rev-parse", "HEAD"], repository),
        name => name.to_owned(),
    };
    refs.insert("HEAD".to_owned(), head);
    refs
}

fn by_larder(repository: &Path) -> BTreeMap<String, String> {
    let archive = GitArchive::new(vec![repository.to_owned()]).unwrap();
    let [repository] = &archive.repositories().unwrap()[..] else { panic!("it is one repository") };
    let mut refs = BTreeMap::new();
    let add = &mut |name: &[u8], target| {
        let target = match target {
            RefTarget::Object(id) => id.to_string(),
            RefTarget::Symbolic(to) => String::from_utf8(to).unwrap(),
        };
        assert!(refs.insert(String::from_utf8(name.to_vec()).unwrap(), target).is_none(), "given once");
        true
    };
    repository.refs(add).unwrap();
    refs
}

fn tables(repository: &Path) -> usize {
    std::fs::read_to_string(repository.join("reftable/tables.list")).unwrap().lines().count()
}

fn update(repository: &Path, input: &str) {
    let mut child = git_command(repository).args(["update-ref", "--stdin"]).stdin(Stdio::piped()).start().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn refs_of_reftables_are_those_that_git_shows_however_often_they_change() {
    if !git_knows_reftables() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = repository_as(folder.path(), "r.git", &[REFTABLE]);
    assert_eq!(by_larder(&path), by_git(&path));
    // A table for each change, and nobody joins them.
    let loose = |args: &[&str]| {
        let mut git = git_command(&path);
        assert!(git.env("GIT_TEST_REFTABLE_AUTOCOMPACTION", "false").args(args).status().unwrap().success());
    };
    for number in 0..130 {
        loose(&["update-ref", &format!("refs/heads/many/{:03}", number % 90), "main"]);
        if number % 3 == 0 {
            loose(&["update-ref", "-d", &format!("refs/heads/many/{:03}", number % 60)]);
        }
    }
    loose(&["symbolic-ref", "refs/remotes/o/HEAD", "refs/heads/main"]);
    loose(&["update-ref", "ORIG_HEAD", "main"]);
    assert!(tables(&path) > 120, "{} tables", tables(&path));
    assert_eq!(by_larder(&path), by_git(&path));
    git(&["pack-refs", "--all"], &path);
    assert_eq!(tables(&path), 1);
    assert_eq!(by_larder(&path), by_git(&path));

    // Blocks behind blocks, with an index of more than one level, and logs.
    let id = git_line(&["rev-parse", "main"], &path);
    let many = (0..20_000).fold(String::new(), |mut input, number| {
        let _ = writeln!(input, "create refs/reviews/{:02}/{number}/1 {id}", number % 100);
        input
    });
    git(&["config", "core.logAllRefUpdates", "always"], &path);
    update(&path, &many);
    git(&["pack-refs", "--all"], &path);
    let shown = by_larder(&path);
    assert!(shown.len() > 20_000);
    assert_eq!(shown, by_git(&path));
    git(&["config", "reftable.blockSize", "65536"], &path);
    loose(&["update-ref", "--no-deref", "HEAD", &id]);
    git(&["pack-refs", "--all"], &path);
    assert_eq!(by_larder(&path), by_git(&path));
}

#[test]
fn a_snapshot_is_the_same_whether_refs_are_files_or_tables() {
    if !git_knows_reftables() {
        return;
    }
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let tables = repository_as(folder.path(), "tables.git", &[REFTABLE]);
    let files = repository_as(folder.path(), "files.git", &[]);
    let of = |name: &str| snapshot(&ok(&visit(data.path(), folder.path(), &format!("local:{name}.git"))));
    assert_eq!(of("tables"), by_python(&tables));
    assert_eq!(of("tables"), of("files"));
    for repository in [&tables, &files] {
        commit(repository, "other", "more");
        git(&["update-ref", "-d", "refs/tags/light"], repository);
        git(&["symbolic-ref", "refs/heads/alias", "refs/heads/other"], repository);
        git(&["symbolic-ref", "HEAD", "refs/heads/other"], repository);
    }
    assert_eq!(of("tables"), by_python(&tables));
    assert_eq!(of("tables"), of("files"));
    let before = of("files");
    if git_command(&files).args(["refs", "migrate", REFTABLE]).status().unwrap().success() {
        assert!(files.join("reftable/tables.list").exists());
        assert_eq!(of("files"), before);
        git(&["refs", "migrate", "--ref-format=files"], &files);
        assert_eq!(of("files"), before);
    }
}

#[test]
fn a_worktree_shows_the_refs_of_its_repository() {
    if !git_knows_reftables() {
        return;
    }
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", REFTABLE, "main"], folder.path());
    let main = folder.path().join("main");
    git(&["commit", "-q", "--allow-empty", "-m", "one"], &main);
    git(&["worktree", "add", "-q", "-b", "other", "../tree"], &main);
    let tree = folder.path().join("tree");
    git(&["commit", "-q", "--allow-empty", "-m", "two"], &tree);
    git(&["update-ref", "refs/worktree/mine", "HEAD"], &tree);
    assert_eq!(by_larder(&main), by_git(&main));
    assert!(by_git(&main).contains_key("refs/heads/other"));
    assert_eq!(by_larder(&tree), by_git(&main), "HEAD is that of the repository");
}

#[test]
fn a_running_server_follows_the_tables() {
    if !git_knows_reftables() {
        return;
    }
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = repository_as(folder.path(), "r.git", &[REFTABLE]);
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "100ms"]);
    wait(&server, "local:r.git", &by_python(&path));
    for number in 0..5 {
        git(&["tag", &format!("again-{number}"), "main"], &path);
        wait(&server, "local:r.git", &by_python(&path));
    }
}

#[test]
fn a_damaged_stack_fails_alone_and_says_why() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let good = repository(folder.path());
    git(&["init", "-q", "--bare", "bad.git"], folder.path());
    let (bad, fixture) =
        (folder.path().join("bad.git"), Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reftable"));
    std::fs::copy(fixture.join("HEAD"), bad.join("HEAD")).unwrap();
    std::fs::create_dir(bad.join("reftable")).unwrap();
    let list = std::fs::read_to_string(fixture.join("reftable/tables.list")).unwrap();
    for name in list.lines() {
        let table = std::fs::read(fixture.join("reftable").join(name)).unwrap();
        std::fs::write(bad.join("reftable").join(name), &table[..table.len() - 1]).unwrap();
    }
    std::fs::write(bad.join("reftable/tables.list"), &list).unwrap();
    let words = refused(&visit(data.path(), folder.path(), "local:bad.git"));
    assert!(words.contains("damaged"), "{words}");
    assert_eq!(snapshot(&ok(&visit(data.path(), folder.path(), "local:r.git"))), by_python(&good));
    // Whole, it is an origin; none of its objects is there, and its branches dangle.
    for name in list.lines() {
        std::fs::copy(fixture.join("reftable").join(name), bad.join("reftable").join(name)).unwrap();
    }
    assert!(ok(&visit(data.path(), folder.path(), "local:bad.git")).contains("has changed"));
}
