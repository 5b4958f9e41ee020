//! The format through a running server: asked for, waited for, fetched, and given to git.

use super::workshop::{PEOPLE, Refs, Workshop, imported, refs_of, stream};
use crate::common::server::Server;
use larder::archive::ObjectType;
use larder::catalogue::{Access, Catalogue};
use larder::cook::history::Subject;
use tempfile::TempDir;

const SIGNATURE: &str = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n";

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
fn a_signed_history_is_refused_by_name_and_lossy_where_the_settings_allow_that() {
    let workshop = Workshop::new();
    let tree = workshop.small_tree();
    let signed = workshop.commit(tree, &[], &format!("{PEOPLE}{SIGNATURE}"), "signed\n");
    let head = workshop.commit(tree, &[signed], PEOPLE, "head\n");
    let release = workshop.tag("v1", head, ObjectType::Commit, "tagger T <t> 3 +0100\n\nrelease\n");
    let keys = [format!("revision/{head}.gitfast.gz"), format!("release/{release}.gitfast.gz")];

    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[workshop.path()], &[]);
    for key in &keys {
        let status = server.cook(key);
        let (code, message) = (&status["error"]["code"], status["error"]["message"].as_str().unwrap());
        assert_eq!((status["status"].as_str(), code.as_str()), (Some("failed"), Some("not-representable")));
        assert!(message.contains(&format!("commit {signed}")) && message.contains("gpgsig"), "{message}");
        assert!(message.contains("`bundle`"), "{message}");
        assert_eq!(server.get(&format!("/vault/{key}")).status, 404);
        let bundle = key.replace("gitfast.gz", "bundle");
        assert_eq!(server.cook(&bundle)["status"], "done", "the format that it points to has it");
    }
    server.kill();

    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[workshop.path()], &["--gitfast-lossy"]);
    // What becomes of the history without the signature.
    let bare = workshop.commit(tree, &[], PEOPLE, "signed\n");
    let head = workshop.commit(tree, &[bare], PEOPLE, "head\n");
    let release = workshop.tag("v1", head, ObjectType::Commit, "tagger T <t> 3 +0100\n\nrelease\n");
    let main = (b"refs/heads/main".to_vec(), head);
    let expected = [Refs::from([main.clone()]), Refs::from([main, (b"refs/tags/v1".to_vec(), release)])];
    for (key, expected) in keys.iter().zip(expected) {
        let status = server.cook(key);
        assert_eq!((&status["status"], &status["lossy"]), (&"done".into(), &true.into()), "{status}");
        let note = status["notes"][0].as_str().unwrap();
        assert!(note.contains(&signed.to_string()) && note.contains("gpgsig"), "{note}");
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!(imported(&stream(&answer.body)).unwrap(), expected);
    }
}
