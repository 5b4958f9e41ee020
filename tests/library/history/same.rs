//! The same bytes each time, with any number of threads; and no byte changes unnoticed.

use super::kit::{cook, snapshot, try_cook};
use crate::common::process::Start as _;
use crate::common::{git, git_command, git_line};
use larder::cook::history::Subject;
use larder::key::Format;
use larder::verify::{self, Checked, History, VerifyError, agrees};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Stdio;
use tempfile::TempDir;

const FORMATS: [Format; 2] = [Format::GitTar, Format::Bundle];

/// A repository of some hundred commits: branches, merges, tags, packs with deltas, loose objects.
fn history(commits: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "."], folder.path());
    for part in 0..3 {
        let mut stream = String::new();
        for at in 0..commits / 3 {
            let number = part * commits + at;
            let branch = if at % 7 == 3 { "side" } else { "main" };
            let _ = writeln!(stream, "commit refs/heads/{branch}\nmark :{}", at + 1);
            let _ = writeln!(stream, "committer C <c@example.org> {number} +0000\ndata 2\nx");
            if (at == 0 || at == 3) && part > 0 {
                let _ = writeln!(stream, "from refs/heads/{branch}^0");
            }
            if at % 20 == 19 {
                let _ = writeln!(stream, "merge :{}", at - 2);
            }
            for file in 0..3 {
                let line = |n: usize| n * (file + 1) + usize::from(n == at % 200);
                let lines = (0..200).fold(String::new(), |text, n| text + &line(n).to_string() + "\n");
                let _ = writeln!(stream, "M 100644 inline d{}/f{file}\ndata {}\n{lines}", number % 5, lines.len());
            }
        }
        let _ = writeln!(stream, "tag v{part}\nfrom refs/heads/main\ntagger T <t@example.org> 0 +0000\ndata 1\nt");
        let mut import = git_command(folder.path())
            .args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .start()
            .unwrap();
        import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        if part == 0 {
            git(&["repack", "-adfq", "--depth=50"], folder.path());
        }
    }
    folder
}

#[test]
fn a_bundle_is_the_same_bytes_each_time_and_with_any_number_of_threads() {
    let folder = history(300);
    let subject = Subject::Snapshot(snapshot(folder.path()));
    for format in FORMATS {
        let mut first = Vec::new();
        try_cook(folder.path(), &subject, format, 1, &mut first).unwrap();
        for threads in [1, 2, 8] {
            let mut again = Vec::new();
            try_cook(folder.path(), &subject, format, threads, &mut again).unwrap();
            assert!(again == first, "{format} with {threads} threads");
        }
    }
}

#[test]
fn what_is_verified_is_what_git_has() {
    let folder = history(300);
    let subject = Subject::Snapshot(snapshot(folder.path()));
    let count = super::kit::objects(folder.path()).len() as u64;
    for format in FORMATS {
        let (file, _) = cook(folder.path(), &subject, format);
        let found = verified(format, &file).unwrap();
        assert_eq!(found.objects, count);
        let mut refs: Vec<_> = found.refs.iter().collect();
        refs.sort();
        let refs: Vec<_> =
            refs.into_iter().map(|(name, id)| format!("{id} {}", String::from_utf8_lossy(name))).collect();
        assert_eq!(refs.join("\n"), super::kit::refs(folder.path()));
        assert_eq!(found.tags.len(), 3);
        let Subject::Snapshot(manifest) = &subject else { unreachable!("because it was made above") };
        assert_eq!(found.manifest.as_ref(), (format == Format::GitTar).then_some(manifest));
    }
}

/// All of a repository that is small enough for each of its bytes to be changed in turn, three times.
#[test]
fn no_byte_of_a_bundle_changes_unnoticed_and_no_proof_is_needed() {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "-b", "main", "."], folder.path());
    let stream = "commit refs/heads/main\ncommitter C <c@example.org> 0 +0000\ndata 1\nxM 644 inline f\ndata 1\nx\n\
                  reset refs/heads/a\nfrom refs/heads/main\n\n\
                  tag v1\nfrom refs/heads/main\ntagger T <t@example.org> 0 +0000\ndata 1\nt\n";
    let mut import = git_command(folder.path()).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).start().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let id = |name: &str| git_line(&["rev-parse", name], folder.path()).parse().unwrap();
    for subject in
        [Subject::Snapshot(snapshot(folder.path())), Subject::Revision(id("main")), Subject::Release(id("v1"))]
    {
        let swhid = super::kit::swhid(&subject);
        let (mut file, _) = cook(folder.path(), &subject, Format::Bundle);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let is_verified = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            verify::git_bundle(&file)
                .is_ok_and(|found| agrees(&Checked::History(found), Format::Bundle, &swhid, None).is_ok())
        };
        assert!(is_verified(&bytes), "{swhid}");
        for at in 0..bytes.len() {
            for mask in [1, 3, 0x20] {
                bytes[at] ^= mask;
                assert!(!is_verified(&bytes), "{swhid}: byte {at} of {} by {mask}", bytes.len());
                bytes[at] ^= mask;
            }
        }
    }
}

fn verified(format: Format, file: &File) -> Result<History, VerifyError> {
    match format {
        Format::GitTar => verify::git_tar(file),
        _ => verify::git_bundle(file),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// A bundle's refs are not in it twice: another name of a ref is another history, which is not
    /// that of the manifest.
    #[test]
    fn no_byte_of_a_history_changes_unnoticed(places in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 150)) {
        let folder = history(12);
        let subject = Subject::Snapshot(snapshot(folder.path()));
        for format in FORMATS {
            let (mut file, _) = cook(folder.path(), &subject, format);
            let good = verified(format, &file).unwrap();
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            for (place, mask) in &places {
                let at = place.index(bytes.len());
                let mut changed = tempfile::tempfile().unwrap();
                bytes[at] ^= mask;
                changed.write_all(&bytes).unwrap();
                bytes[at] ^= mask;
                let found = verified(format, &changed);
                prop_assert!(found.is_err() || found.unwrap() != good, "{format}: byte {at} by {mask}");
            }
            for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                let mut cut = tempfile::tempfile().unwrap();
                cut.write_all(&bytes[..length]).unwrap();
                prop_assert!(verified(format, &cut).is_err(), "{format} cut to {length}");
            }
        }
    }
}
