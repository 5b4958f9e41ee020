//! The files that private origins are visited with: what is checked of them, and how git gets at what is
//! in them.
//!
//! **Where a secret is.** In its file, in the pipe between a helper and git, and in what git sends; never in
//! arguments, in the environment (which has paths), in a log, or in the catalogue. It is sent to the host
//! of the URL and to no other: no redirect is followed, the helper answers for that host alone, and without
//! TLS it goes no further than this machine.

use super::url::{Remote, Transport};
use crate::catalogue::Credential;
use rustix::fs::{CWD, Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The name that goes with a token unless another is given: forges take any, and some this one only.
pub const DEFAULT_USER: &str = "x-access-token";

/// The longest file of secrets, and the longest token, in bytes.
const MAX_FILE: u64 = 1 << 20;
const MAX_TOKEN: u64 = 8 << 10;

/// A helper of git (`gitcredentials(7)`) that gives what is in a file to one host.
const HELPER: &str = "credential.helper=!f() { test \"$1\" = get || return 0; here=; \
    while IFS= read -r line && test -n \"$line\"; do test \"$line\" = \"host=$LARDER_TOKEN_HOST\" && here=1; done; \
    test -n \"$here\" || return 0; IFS= read -r token <\"$LARDER_TOKEN_FILE\"; test -n \"$token\" || return 0; \
    printf 'username=%s\\npassword=%s\\n' \"$LARDER_TOKEN_USER\" \"$token\"; }; f";

/// Why an origin cannot be visited with what was given.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A token for SSH, a key for HTTP, or either for something else.
    #[error("a token or a netrc file is for an origin of https, a key for one of ssh")]
    Transport,
    /// Anybody on the way could read it.
    #[error("a token or a netrc file is sent by https only, or by http to this machine")]
    Plain,
    /// A file that cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file that cannot be used.
    #[error("{} {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A user's name that cannot be sent.
    #[error("the user's name of a token is up to 256 printable characters")]
    User,
}

/// What git is given so that it is let in.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// Further configuration.
    pub(super) config: Option<&'static str>,
    /// Further variables.
    pub(super) variables: Vec<(&'static str, OsString)>,
    /// Further options of ssh, for a shell.
    pub(super) ssh: String,
    /// Where the variables lead.
    _home: Option<TempDir>,
}

impl Access {
    /// Checks the files once more, and makes what git needs to get at them.
    pub(super) fn new(credential: &Credential, remote: &Remote, addresses: &[SocketAddr]) -> Result<Self, SecretError> {
        check(credential, remote, addresses)?;
        match credential {
            Credential::Token { file, user } => Ok(Self {
                config: Some(HELPER),
                variables: vec![
                    ("LARDER_TOKEN_FILE", file.into()),
                    ("LARDER_TOKEN_USER", user.into()),
                    ("LARDER_TOKEN_HOST", remote.authority().unwrap_or_default().into()),
                ],
                ..Self::default()
            }),
            Credential::Netrc { file } => {
                let unreadable = |cause| SecretError::Unreadable { path: file.clone(), cause };
                let home = tempfile::Builder::new().prefix("larder-home-").tempdir().map_err(unreadable)?;
                // curl reads it from no other place.
                symlink(file, home.path().join(".netrc")).map_err(unreadable)?;
                let variables = vec![("HOME", home.path().into())];
                Ok(Self { variables, _home: Some(home), ..Self::default() })
            }
            Credential::SshKey { file, known_hosts } => {
                let only = "-F none -o IdentitiesOnly=yes -o IdentityAgent=none";
                let known = known_hosts.as_ref().map_or_else(String::new, |known| {
                    let known = known.display();
                    format!(" -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=none -o UserKnownHostsFile={known}")
                });
                let ssh = format!(" {only} -i {}{known}", file.display());
                Ok(Self { ssh, ..Self::default() })
            }
        }
    }
}

/// Whether an origin can be visited with this, as far as that is to be seen here.
pub(super) fn check(credential: &Credential, remote: &Remote, addresses: &[SocketAddr]) -> Result<(), SecretError> {
    match (credential, remote.transport()) {
        (Credential::Token { .. } | Credential::Netrc { .. }, Transport::Https)
        | (Credential::SshKey { .. }, Transport::Ssh) => {}
        (Credential::Token { .. } | Credential::Netrc { .. }, Transport::Http) => {
            let is_here = |address: &SocketAddr| address.ip().is_loopback();
            if addresses.is_empty() || !addresses.iter().all(is_here) {
                return Err(SecretError::Plain);
            }
        }
        _ => return Err(SecretError::Transport),
    }
    match credential {
        Credential::Token { file, user } => {
            if user.is_empty() || user.len() > 256 || user.chars().any(char::is_control) {
                return Err(SecretError::User);
            }
            let mut line = Vec::new();
            let opened = BufReader::new(open(file, 0o027)?.take(MAX_TOKEN + 2));
            let read = opened.take(MAX_TOKEN + 2).read_until(b'\n', &mut line);
            read.map_err(|cause| SecretError::Unreadable { path: file.clone(), cause })?;
            let token = line.strip_suffix(b"\n").unwrap_or(&line);
            let legal = !token.is_empty() && token.len() as u64 <= MAX_TOKEN;
            if !legal || token.iter().any(u8::is_ascii_control) {
                return Err(unusable(file, "has no token in its first line"));
            }
        }
        Credential::Netrc { file } => drop(open(file, 0o027)?),
        Credential::SshKey { file, known_hosts } => {
            // As ssh itself insists.
            open(file, 0o077)?;
            open_for_ssh(file)?;
            if let Some(known) = known_hosts {
                open(known, 0o022)?;
                open_for_ssh(known)?;
            }
        }
    }
    Ok(())
}

/// Opens a file that is to be read with no more permissions than those outside of `mask`.
fn open(path: &Path, mask: u32) -> Result<File, SecretError> {
    let unreadable = |cause| SecretError::Unreadable { path: path.to_owned(), cause };
    if !path.is_absolute() {
        return Err(unusable(path, "is not an absolute path"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(unusable(path, "is not a small regular file"));
    }
    if metadata.mode() & mask != 0 {
        return Err(unusable(path, "can be read or changed by others: chmod 600"));
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(unusable(path, "belongs to another user"));
    }
    Ok(file)
}

/// A path that neither a shell nor ssh reads as anything else.
fn open_for_ssh(path: &Path) -> Result<(), SecretError> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+@,-".contains(byte);
    if path.as_os_str().as_bytes().iter().all(legal) {
        Ok(())
    } else {
        Err(unusable(path, "has characters in its path that ssh may read otherwise"))
    }
}

fn unusable(path: &Path, why: &'static str) -> SecretError {
    SecretError::Unusable { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn checked(credential: &Credential, url: &str, address: &str) -> Result<(), String> {
        let addresses: Vec<SocketAddr> = if address.is_empty() { vec![] } else { vec![address.parse().unwrap()] };
        check(credential, &Remote::parse(url).unwrap(), &addresses).map_err(|error| error.to_string())
    }

    #[test]
    fn files_that_others_can_read_or_change_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = "https://example.org/x";
        for (mode, fine) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o602, false)]
        {
            let path = file(folder.path(), "token", "secret\n", mode);
            let token = Credential::Token { file: path.clone(), user: "me".to_owned() };
            assert_eq!(checked(&token, url, "8.8.8.8:443").is_ok(), fine, "{mode:o}");
            assert_eq!(checked(&Credential::Netrc { file: path.clone() }, url, "").is_ok(), fine, "{mode:o}");
            let key = Credential::SshKey { file: path.clone(), known_hosts: None };
            assert_eq!(checked(&key, "ssh://example.org/x", "").is_ok(), fine && mode != 0o640, "{mode:o}");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        let (key, known) = (file(folder.path(), "key", "k", 0o600), file(folder.path(), "known", "h", 0o644));
        let with = |known: PathBuf| Credential::SshKey { file: key.clone(), known_hosts: Some(known) };
        assert_eq!(checked(&with(known.clone()), "ssh://example.org/x", ""), Ok(()));
        fs::set_permissions(&known, Permissions::from_mode(0o666)).unwrap();
        assert!(checked(&with(known), "ssh://example.org/x", "").is_err());
        let odd = file(folder.path(), "a b", "h", 0o600);
        assert!(checked(&with(odd), "ssh://example.org/x", "").unwrap_err().contains("characters"));
        assert!(checked(&with("known".into()), "ssh://example.org/x", "").unwrap_err().contains("absolute"));
        assert!(checked(&with(folder.path().join("none")), "ssh://example.org/x", "").is_err());
        assert!(checked(&Credential::Netrc { file: folder.path().to_owned() }, url, "").is_err());
    }

    #[test]
    fn a_token_is_one_line_and_no_error_repeats_it() {
        let folder = tempfile::tempdir().unwrap();
        for (text, fine) in [
            ("secret", true),
            ("secret\n", true),
            ("secret\nand more\n", true),
            ("", false),
            ("\nsecret\n", false),
            ("secret\r\n", false),
            ("sec\0ret\n", false),
            (&"secret".repeat(3000), false),
        ] {
            let path = file(folder.path(), "token", text, 0o600);
            let token = Credential::Token { file: path, user: "me".to_owned() };
            let said = checked(&token, "https://example.org/x", "");
            assert_eq!(said.is_ok(), fine, "{text:.20?}");
            assert!(!said.err().unwrap_or_default().contains("secret"), "{text:.20?}");
        }
        let path = file(folder.path(), "token", "secret", 0o600);
        for user in ["", "a\nhost=evil", &"u".repeat(257)] {
            let token = Credential::Token { file: path.clone(), user: user.to_owned() };
            assert!(checked(&token, "https://example.org/x", "").is_err(), "{user:.20?}");
        }
    }

    #[test]
    fn a_secret_goes_nowhere_in_the_clear_but_to_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "token", "secret", 0o600);
        let secrets =
            [Credential::Token { file: path.clone(), user: "me".to_owned() }, Credential::Netrc { file: path.clone() }];
        for secret in &secrets {
            for (url, address, fine) in [
                ("https://example.org/x", "8.8.8.8:443", true),
                ("http://example.org/x", "8.8.8.8:80", false),
                ("http://example.org/x", "10.0.0.1:80", false),
                ("http://example.org/x", "", false),
                ("http://localhost/x", "127.0.0.1:80", true),
                ("http://localhost/x", "[::1]:80", true),
                ("ssh://example.org/x", "8.8.8.8:22", false),
                ("git://example.org/x", "127.0.0.1:9418", false),
                ("file:///srv/x", "", false),
            ] {
                assert_eq!(checked(secret, url, address).is_ok(), fine, "{url} {address}");
            }
        }
        let key = Credential::SshKey { file: path, known_hosts: None };
        assert!(checked(&key, "https://example.org/x", "8.8.8.8:443").is_err());
    }

    /// What the helper says when git asks it so.
    fn helped(action: &str, asked: &str, token: &Path) -> String {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let script = HELPER.strip_prefix("credential.helper=!").unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{script} \"$@\""), script, action])
            .env("LARDER_TOKEN_FILE", token)
            .env("LARDER_TOKEN_USER", "me")
            .env("LARDER_TOKEN_HOST", "example.org:8443")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // One that has nothing to say may not listen to the end.
        let _ = child.stdin.take().unwrap().write_all(asked.as_bytes());
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn the_helper_answers_for_one_host_and_stores_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a token", r"se$cret\n'x %s", 0o600);
        let asked = |host: &str| format!("protocol=https\nhost={host}\npath=x\nwwwauth[]=Basic realm=\"x\"\n\n");
        let answer = "username=me\npassword=se$cret\\n'x %s\n";
        assert_eq!(helped("get", &asked("example.org:8443"), &path), answer);
        for host in ["example.org", "example.org:443", "evil.example.org:8443", "example.org:8443.evil", ""] {
            assert_eq!(helped("get", &asked(host), &path), "", "{host}");
        }
        for action in ["store", "erase", ""] {
            assert_eq!(helped(action, &asked("example.org:8443"), &path), "", "{action}");
        }
        assert_eq!(helped("get", "protocol=https\n\nhost=example.org:8443\n", &path), "");
        assert_eq!(helped("get", &asked("example.org:8443"), &folder.path().join("none")), "");
    }
}
