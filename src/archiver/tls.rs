//! What of TLS the Archiver has to say itself: the authorities that settings name, and why a certificate
//! was refused.

use rustls::CertificateError;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file of certificates, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The certificates of a file, as PEM; a file without one is an error.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    match reqwest::Certificate::from_pem_bundle(&text) {
        Ok(certificates) if certificates.is_empty() => Err(io::Error::other("it holds no certificate")),
        Ok(_) => Ok(text),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Why the certificate of a server was refused, if `error` comes of that.
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(rustls::Error::InvalidCertificate(error)) = inner.downcast_ref() {
            return Some(words(error));
        }
        // What an I/O error holds is not its source, but the source of that is.
        let held = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => inner.source(),
        };
    }
    None
}

fn words(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "who issued it is not trusted here",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name",
        CertificateError::Revoked => "it was revoked",
        _ => "it is not valid",
    }
}
