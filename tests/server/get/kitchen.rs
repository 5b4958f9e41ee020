//! A server with one bundle, and answers about it that no server gives.

use crate::common::contents::{Contents, repository};
use crate::common::server::Server;
use tempfile::TempDir;

/// A server over a repository with one directory of about 3 MB that hardly compresses.
pub(crate) struct Kitchen {
    pub(crate) server: Server,
    pub(crate) key: String,
    pub(crate) bundle: Vec<u8>,
    _folders: [TempDir; 2],
}

impl Kitchen {
    pub(crate) fn open() -> Self {
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let (_, tree) = repository(folders[0].path(), "r.git", (3, 1 << 20), Contents::Bytes);
        let key = format!("directory/{tree}.tar.gz");
        let server = Server::start(folders[1].path(), &[folders[0].path()], &[]);
        assert_eq!(server.cook(&key)["status"], "done");
        let bundle = server.get(&format!("/vault/{key}")).body;
        assert!(bundle.len() > 3 << 20);
        Self { server, key, bundle, _folders: folders }
    }
}

/// An answer by hand, from its status to its body.
pub(crate) fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\nconnection: close\r\n{fields}\r\n\r\n").as_bytes(), body].concat()
}
