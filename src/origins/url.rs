//! Which URLs may be mirrored. Owns their one written form and what is refused before git sees them:
//! helpers (`ext::`), options in disguise, credentials, transports that are not allowed, and hosts
//! inside the network.

use crate::address::are_public;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::{fmt, io};
use url::{Host, Url};

/// The longest URL of an origin, in bytes.
pub const MAX_URL: usize = 2048;

/// How git reaches a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Smart or dumb HTTP, with TLS.
    Https,
    /// HTTP that anybody on the way can read and change. The ids are checked whatever was sent.
    Http,
    /// git's own protocol; as open as HTTP.
    Git,
    /// With the keys of the user that larder runs as.
    Ssh,
    /// A path of this machine.
    File,
}

impl Transport {
    const ALL: [Self; 5] = [Self::Https, Self::Http, Self::Git, Self::Ssh, Self::File];

    /// The scheme of its URLs, which is also git's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Git => "git",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Git => 9418,
            Self::Ssh => 22,
            Self::File => 0,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|transport| transport.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is none of https, http, git, ssh, file"))
    }
}

/// Why a URL is not mirrored. Holds none of the URL: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of git's, or one that could mean something else to a program on the way.
    #[error("an origin is a URL like https://example.org/project.git")]
    Malformed,
    /// With a user's name or a password.
    #[error("the URL of an origin holds no password (--token-file names one), and a user's name only with ssh")]
    Credentials,
    /// A transport that the settings do not allow.
    #[error("the transport {0} is not among origin_transports")]
    Transport(Transport),
    /// Something inside the network.
    #[error("its host is inside the network, and origin_private does not allow that")]
    Private,
    /// A host that has no address.
    #[error("its host has no address")]
    NoAddress,
}

/// A URL that git may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    url: String,
    transport: Transport,
    /// Host and port; none of a file.
    host: Option<(Host<String>, u16)>,
}

impl Remote {
    /// Reads a URL; whether its transport is allowed is another question.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte));
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
        let transport: Transport = scheme.to_ascii_lowercase().parse().map_err(|_| UrlError::Malformed)?;
        if !plain || text.len() > MAX_URL || rest.starts_with('-') {
            return Err(UrlError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let user_is_legal = url.username().is_empty() || transport == Transport::Ssh && is_word(url.username());
        if url.password().is_some() || !user_is_legal {
            return Err(UrlError::Credentials);
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(url.path()).collect();
        let path_is_legal = decoded.len() > 1 && !decoded.iter().any(u8::is_ascii_control);
        if !path_is_legal || url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::Malformed);
        }
        let host = match (transport, url.host()) {
            (Transport::File, None) => None,
            (Transport::File, Some(_)) | (_, None) => return Err(UrlError::Malformed),
            (_, Some(host)) => Some((legal_host(&host)?, url.port().unwrap_or(transport.default_port()))),
        };
        Ok(Self { url: url.into(), transport, host })
    }

    /// Its one written form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// How git reaches it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Its host, and its port where that is not the usual one, as git writes it; none of a file.
    pub(super) fn authority(&self) -> Option<String> {
        let (host, port) = self.host.as_ref()?;
        Some(if *port == self.transport.default_port() { host.to_string() } else { format!("{host}:{port}") })
    }

    /// The addresses of its host, for git to use and no others; none of a file. Asks the resolver.
    ///
    /// # Errors
    /// [`UrlError::Private`] when one of them is inside the network and `private` is not allowed.
    pub fn addresses(&self, private: bool) -> Result<Vec<SocketAddr>, UrlError> {
        self.addresses_by(private, |name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }

    /// [`Remote::addresses`], names looked up by other means.
    fn addresses_by(
        &self,
        private: bool,
        look_up: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Result<Vec<SocketAddr>, UrlError> {
        let Some((host, port)) = &self.host else { return Ok(Vec::new()) };
        let found: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(*address, *port).into()],
            Host::Ipv6(address) => vec![(*address, *port).into()],
            Host::Domain(name) => look_up(name, *port).map_err(|_| UrlError::NoAddress)?,
        };
        if found.is_empty() {
            return Err(UrlError::NoAddress);
        }
        if !private && !are_public(found.iter().map(SocketAddr::ip)) {
            return Err(UrlError::Private);
        }
        Ok(found)
    }

    /// What binds curl to these addresses of the host (`http.curloptResolve`).
    #[must_use]
    pub fn pinned(&self, addresses: &[SocketAddr]) -> Option<String> {
        let (Some((Host::Domain(name), port)), Transport::Https | Transport::Http) = (&self.host, self.transport)
        else {
            return None;
        };
        let list: Vec<String> = addresses
            .iter()
            .map(|address| match address.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            })
            .collect();
        Some(format!("{name}:{port}:{}", list.join(",")))
    }
}

/// A host that no program takes for an option.
fn legal_host(host: &Host<&str>) -> Result<Host<String>, UrlError> {
    match host {
        // Of a scheme that it does not know the parser leaves an address as it is written.
        Host::Domain(name) => match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Ok(Host::Ipv4(address)),
            Ok(IpAddr::V6(address)) => Ok(Host::Ipv6(address)),
            Err(_) if is_word(name) => Ok(Host::Domain((*name).to_owned())),
            Err(_) => Err(UrlError::Malformed),
        },
        Host::Ipv4(address) => Ok(Host::Ipv4(*address)),
        Host::Ipv6(address) => Ok(Host::Ipv6(*address)),
    }
}

fn is_word(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes().all(legal) && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_git_or_ssh_could_misread_are_refused() {
        for text in [
            "",
            "example.org/x",
            "example.org:x.git",
            "/srv/x.git",
            "-u/x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "ext::https://example.org/x",
            "https::https://example.org/x",
            "ftp://example.org/x",
            "fd://17/x",
            "ssh://-oProxyCommand=x/y",
            "ssh://git@-oProxyCommand=x/y",
            "ssh://[-oProxyCommand=x]/y",
            "https://example.org",
            "https://example.org/",
            "https://exa mple.org/x",
            "https://example.org/x\n",
            "https://example.org/x%0ahost=other",
            "https://example.org/x?y",
            "https://example.org/x#y",
            "https:///x",
            "file://host/x",
            "https://example.org/\u{e9}",
        ] {
            assert_eq!(Remote::parse(text), Err(UrlError::Malformed), "{text:?}");
        }
        let long = format!("https://example.org/{}", "x".repeat(MAX_URL));
        assert_eq!(Remote::parse(&long), Err(UrlError::Malformed));
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for text in ["https://me:secret@example.org/x", "https://secret@example.org/x", "ssh://me:secret@example.org/x"]
        {
            let error = Remote::parse(text).unwrap_err();
            assert_eq!(error, UrlError::Credentials, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(Remote::parse("ssh://git@example.org/x").is_ok());
    }

    #[test]
    fn a_url_has_one_written_form() {
        for (text, form) in [
            ("HTTPS://Example.ORG:443/a/../x.git", "https://example.org/x.git"),
            ("https://example.org/x.git", "https://example.org/x.git"),
            ("file:///srv/x.git", "file:///srv/x.git"),
        ] {
            assert_eq!(Remote::parse(text).unwrap().as_str(), form);
        }
    }

    #[test]
    fn what_is_inside_the_network_is_told_from_what_is_not() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[ff02::1]",
            "[2001:db8::1]",
            "2130706433",
            "0x7f.1",
            "localhost",
        ] {
            let remote = Remote::parse(&format!("https://{text}/x")).unwrap();
            assert_eq!(remote.addresses(false), Err(UrlError::Private), "{text}");
            assert!(remote.addresses(true).is_ok());
        }
        // The blocks themselves are `address`'s to test.
        for text in ["8.8.8.8", "[2606:4700::1111]", "172.32.0.1", "100.128.0.1"] {
            assert!(Remote::parse(&format!("https://{text}/x")).unwrap().addresses(false).is_ok(), "{text}");
        }
        for text in ["git://127.0.0.1/x", "ssh://127.0.0.1/x"] {
            assert_eq!(Remote::parse(text).unwrap().addresses(false), Err(UrlError::Private), "{text}");
        }
    }

    #[test]
    fn a_name_with_one_inner_address_among_public_ones_is_refused() {
        let remote = Remote::parse("https://example.org/x").unwrap();
        let at = |addresses: &[&str], private| {
            let found = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect();
            remote.addresses_by(private, |name, port| {
                assert_eq!((name, port), ("example.org", 443));
                Ok(found)
            })
        };
        for inner in ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "::ffff:192.168.0.1", "3fff::1", "192.88.99.1"] {
            for list in [["8.8.8.8", inner], [inner, "8.8.8.8"], ["2606:4700::1111", inner]] {
                assert_eq!(at(&list, false), Err(UrlError::Private), "{list:?}");
                assert_eq!(at(&list, true).unwrap().len(), 2);
            }
        }
        let found = at(&["8.8.8.8", "2606:4700::1111"], false).unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8.8.8.8:443", "[2606:4700::1111]:443"]);
        assert_eq!(at(&[], true), Err(UrlError::NoAddress));
        let unknown = remote.addresses_by(false, |_, _| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(unknown, Err(UrlError::NoAddress));
    }

    #[test]
    fn git_is_bound_to_just_the_addresses_that_were_checked() {
        let addresses: Vec<SocketAddr> =
            ["8.8.8.8:8443", "[2606:4700::1111]:8443"].map(|address| address.parse().unwrap()).to_vec();
        let pinned = |url: &str| Remote::parse(url).unwrap().pinned(&addresses);
        let bound = Some("example.org:8443:8.8.8.8,[2606:4700::1111]".to_owned());
        assert_eq!(pinned("https://example.org:8443/x"), bound);
        assert_eq!(pinned("http://example.org:8443/x"), bound);
        let usual = pinned("https://example.org/x").unwrap();
        assert!(usual.starts_with("example.org:443:"), "{usual}");
        // What is no name is not looked up, and no other transport knows the setting.
        for url in ["https://8.8.8.8/x", "https://[2606:4700::1111]/x", "ssh://example.org/x", "git://example.org/x"] {
            assert_eq!(pinned(url), None, "{url}");
        }
    }

    #[test]
    fn a_url_may_be_so_long_and_no_longer() {
        let of_length = |length: usize| format!("https://example.org/{}", "x".repeat(length - 20));
        assert_eq!(of_length(MAX_URL).len(), MAX_URL);
        assert!(Remote::parse(&of_length(MAX_URL)).is_ok());
        assert_eq!(Remote::parse(&of_length(MAX_URL + 1)), Err(UrlError::Malformed));
    }
}
