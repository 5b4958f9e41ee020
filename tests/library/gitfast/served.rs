//! The format through a running server: asked for, waited for, fetched, and given to git.

use super::workshop::{PEOPLE, Refs, Workshop, imported, refs_of, stream};
use crate::common::server::Server;
use larder::archive::ObjectType;
use larder::catalogue::{Access, Catalogue};
use larder::cook::history::Subject;
use tempfile::TempDir;

const SIGNATURE: &str = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n";
const MERGED_TAG: &str = "mergetag object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n type commit\n tag v1\n \n x\n";

#[test]
fn a_signed_history_is_served_with_the_git_that_it_needs_and_verifies() {
    let workshop = Workshop::new();
    let signed = workshop.commit(workshop.small_tree(), &[], &format!("{PEOPLE}{SIGNATURE}"), "signed\n");
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[workshop.path()], &[]);
    let key = format!("revision/{signed}.gitfast.gz");
    let status = server.cook(&key);
    assert_eq!((status["status"].as_str(), status.get("lossy")), (Some("done"), None), "{status}");
    assert!(status["notes"][0].as_str().unwrap().contains("git 2.51"), "{status}");
    let file = data.path().join("x.gitfast.gz");
    std::fs::write(&file, server.get(&format!("/vault/{key}")).body).unwrap();
    let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
    verify.arg("verify").arg(file).arg(format!("swh:1:rev:{signed}")).env_remove("LARDER_CONFIG").env_remove("HOME");
    assert!(verify.status().unwrap().success());
}

#[test]
fn a_snapshot_fetched_from_a_server_is_imported_by_git_with_the_same_ids() {
    let (repository, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    super::rich(repository.path());
    let (Subject::Snapshot(manifest), refs) = refs_of(repository.path()) else { panic!("it is a snapshot") };
    let catalogue = Catalogue::open(&data.path().join("catalogue.db"), Access::Migrate).unwrap();
    let key = format!("snapshot/{}.gitfast.gz", catalogue.add_snapshot(&manifest, None).unwrap());
    drop(catalogue);
    // Whether what is lost may be lost makes no difference where nothing is.
    for flags in [&[][..], &["--gitfast-lossy"]] {
        let server = Server::start(data.path(), &[repository.path()], flags);
        let status = server.cook(&key);
        assert_eq!(status["status"], "done", "{status}");
        assert!(status.get("lossy").is_none() && status.get("notes").is_none(), "{status}");
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/gzip")));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(imported(&stream(&answer.body)).unwrap(), refs);
        server.kill();
    }
}

#[test]
fn a_history_with_a_merged_tag_is_refused_by_name_and_lossy_where_the_settings_allow_that() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let merged = workshop.commit(tree, &[], &format!("{PEOPLE}{MERGED_TAG}"), "merged\n");
    let head = workshop.commit(tree, &[merged], PEOPLE, "head\n");
    let release = workshop.tag("v1", head, ObjectType::Commit, "tagger T <t> 3 +0100\n\nrelease\n");
    let keys = [format!("revision/{head}.gitfast.gz"), format!("release/{release}.gitfast.gz")];

    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[workshop.path()], &[]);
    for key in &keys {
        let status = server.cook(key);
        let (code, message) = (&status["error"]["code"], status["error"]["message"].as_str().unwrap());
        assert_eq!((status["status"].as_str(), code.as_str()), (Some("failed"), Some("not-representable")));
        assert!(message.contains(&format!("commit {merged}")) && message.contains("mergetag"), "{message}");
        assert!(message.contains("`bundle`"), "{message}");
        assert_eq!(server.get(&format!("/vault/{key}")).status, 404);
        let bundle = key.replace("gitfast.gz", "bundle");
        assert_eq!(server.cook(&bundle)["status"], "done", "the format that it points to has it");
    }
    server.kill();

    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[workshop.path()], &["--gitfast-lossy"]);
    // What becomes of the history without the header.
    let bare = workshop.commit(tree, &[], PEOPLE, "merged\n");
    let head = workshop.commit(tree, &[bare], PEOPLE, "head\n");
    let release = workshop.tag("v1", head, ObjectType::Commit, "tagger T <t> 3 +0100\n\nrelease\n");
    let main = (b"refs/heads/main".to_vec(), head);
    let expected = [Refs::from([main.clone()]), Refs::from([main, (b"refs/tags/v1".to_vec(), release)])];
    for (key, expected) in keys.iter().zip(expected) {
        let status = server.cook(key);
        assert_eq!((&status["status"], &status["lossy"]), (&"done".into(), &true.into()), "{status}");
        let note = status["notes"][0].as_str().unwrap();
        assert!(note.contains(&merged.to_string()) && note.contains("mergetag"), "{note}");
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!(imported(&stream(&answer.body)).unwrap(), expected);
    }
}
