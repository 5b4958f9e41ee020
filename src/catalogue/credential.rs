//! How origins that ask who is there are visited: where a secret lies, and never the secret.

use super::error::Fault;
use super::row::{execute, first};
use super::{Catalogue, CatalogueError};
use rusqlite::Row;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// The files that an origin is visited with. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A token or a password, sent with a user's name by HTTP.
    Token {
        /// Whose first line it is.
        file: PathBuf,
        /// The name sent with it.
        user: String,
    },
    /// A user's name and a password by HTTP, from a file in the form of `.netrc`.
    Netrc {
        /// The file.
        file: PathBuf,
    },
    /// A key of SSH.
    SshKey {
        /// The private key.
        file: PathBuf,
        /// The keys that hosts may have; `None` for those that the user larder runs as knows.
        known_hosts: Option<PathBuf>,
    },
}

impl Catalogue {
    /// What an origin is visited with; `None` for nothing, or where there is no such origin.
    pub fn credential(&self, url: &str) -> Result<Option<Credential>, CatalogueError> {
        self.read("look up how an origin is visited", |connection| {
            let sql = "SELECT c.kind, c.file, c.\"user\", c.known_hosts
                       FROM origin o JOIN credential c ON c.origin = o.id WHERE o.url = ?1";
            first(connection, sql, [url], credential)
        })
    }

    /// Sets what an origin is visited with from now on; `false` when there is no such origin.
    pub fn set_credential(&self, url: &str, credential: Option<&Credential>) -> Result<bool, CatalogueError> {
        self.write("note how an origin is visited", |transaction| {
            let id =
                first(transaction, "SELECT id FROM origin WHERE url = ?1", [url], |row| Ok(row.get::<_, i64>(0)?))?;
            let Some(id) = id else { return Ok(false) };
            execute(transaction, "DELETE FROM credential WHERE origin = ?1", [id])?;
            let Some(credential) = credential else { return Ok(true) };
            let (kind, file, user, known_hosts) = match credential {
                Credential::Token { file, user } => (0_u8, file, Some(user), None),
                Credential::Netrc { file } => (1, file, None, None),
                Credential::SshKey { file, known_hosts } => (2, file, None, known_hosts.as_ref()),
            };
            let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
            let sql = "INSERT INTO credential (origin, kind, file, \"user\", known_hosts) VALUES (?1, ?2, ?3, ?4, ?5)";
            execute(transaction, sql, (id, kind, bytes(file), user, known_hosts.map(bytes)))?;
            Ok(true)
        })
    }
}

fn credential(row: &Row<'_>) -> Result<Credential, Fault> {
    let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
    let file = path(row.get(1)?);
    match (row.get(0)?, row.get::<_, Option<String>>(2)?, row.get::<_, Option<Vec<u8>>>(3)?) {
        (0_u8, Some(user), None) => Ok(Credential::Token { file, user }),
        (1, None, None) => Ok(Credential::Netrc { file }),
        (2, None, known_hosts) => Ok(Credential::SshKey { file, known_hosts: known_hosts.map(path) }),
        _ => Err(Fault::Row("an origin is visited in no way that is known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Access;
    use crate::time::Timestamp;

    #[test]
    fn what_an_origin_is_visited_with_is_kept_replaced_and_forgotten_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        let (url, now) = ("https://example.org/a.git", Timestamp::from_millis(1_000_000_000_000));
        let odd = PathBuf::from(OsString::from_vec(b"/a b/\xff".to_vec()));
        let token = Credential::Token { file: odd.clone(), user: "me".to_owned() };
        assert!(!catalogue.set_credential(url, Some(&token)).unwrap(), "there is no such origin");
        catalogue.add_origin(url, false, now).unwrap();
        assert_eq!(catalogue.credential(url).unwrap(), None);
        for credential in [
            token,
            Credential::Netrc { file: odd.clone() },
            Credential::SshKey { file: odd.clone(), known_hosts: None },
            Credential::SshKey { file: odd.clone(), known_hosts: Some("/etc/ssh/known".into()) },
        ] {
            assert!(catalogue.set_credential(url, Some(&credential)).unwrap());
            assert_eq!(catalogue.credential(url).unwrap(), Some(credential));
        }
        catalogue.set_credential(url, None).unwrap();
        assert_eq!(catalogue.credential(url).unwrap(), None);
        catalogue.set_credential(url, Some(&Credential::Netrc { file: odd })).unwrap();
        catalogue.remove_origin(url).unwrap();
        catalogue.add_origin(url, false, now).unwrap();
        assert_eq!(catalogue.credential(url).unwrap(), None);
    }
}
