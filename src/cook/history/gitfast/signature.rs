//! The signature of a commit: one header of it in git's form, one command of fast-import from git
//! 2.51 on. Pure.
//!
//! A header's further lines begin with a space; a command has the bytes without these. git 2.50 knew
//! the command in another form (`gpgsig sha1`, no format), and refuses this one.

/// Of which form of the commit it is the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    /// The commit with ids in SHA-1.
    Sha1,
    /// The commit with ids in SHA-256.
    Sha256,
}

impl Algorithm {
    /// In the order in which fast-import writes their headers.
    const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    fn header(self) -> &'static [u8] {
        match self {
            Self::Sha1 => b"gpgsig",
            Self::Sha256 => b"gpgsig-sha256",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    algorithm: Algorithm,
    /// Any bytes but NUL.
    data: Vec<u8>,
}

/// A commit has at most one for each algorithm.
pub(crate) const MAX_SIGNATURES: usize = Algorithm::ALL.len();

impl Signature {
    /// Reads a header with all its lines; `None` when it is no signature that fast-import carries.
    pub(super) fn read(lines: &[u8]) -> Option<Self> {
        let value = |algorithm: Algorithm| lines.strip_prefix(algorithm.header())?.strip_prefix(b" ");
        let (algorithm, value) = Algorithm::ALL.into_iter().find_map(|one| Some((one, value(one)?)))?;
        let mut lines = value.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let mut data = lines.next()?.to_vec();
        for line in lines {
            data.push(b'\n');
            data.extend_from_slice(line.strip_prefix(b" ")?);
        }
        (!data.contains(&0)).then_some(Self { algorithm, data })
    }

    /// What the command with this line and this data says; `None` when it is not [`Self::command`].
    pub(crate) fn said(line: &[u8], data: Vec<u8>) -> Option<Self> {
        let mut signature = Self { algorithm: Algorithm::Sha1, data };
        for algorithm in Algorithm::ALL {
            signature.algorithm = algorithm;
            if signature.command().as_bytes() == line {
                return Some(signature);
            }
        }
        None
    }

    /// The header's name.
    pub(super) fn name(&self) -> &'static [u8] {
        self.algorithm.header()
    }

    /// What stands behind the command.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The command's line, without its newline.
    pub(super) fn command(&self) -> String {
        format!("gpgsig {} {}", self.algorithm.word(), format(&self.data))
    }

    /// Adds the header.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.algorithm.header());
        out.push(b' ');
        for &byte in &self.data {
            out.push(byte);
            if byte == b'\n' {
                out.push(b' ');
            }
        }
        out.push(b'\n');
    }

    /// Whether fast-import writes the header of this one in front of that of `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.algorithm < other.algorithm
    }
}

/// What git calls the format of a signature, by its first line.
fn format(data: &[u8]) -> &'static str {
    let formats: [(&[u8], _); 4] = [
        (b"-----BEGIN PGP SIGNATURE-----", "openpgp"),
        (b"-----BEGIN PGP MESSAGE-----", "openpgp"),
        (b"-----BEGIN SIGNED MESSAGE-----", "x509"),
        (b"-----BEGIN SSH SIGNATURE-----", "ssh"),
    ];
    formats.into_iter().find(|(begin, _)| data.starts_with(begin)).map_or("unknown", |(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_a_command_and_data_and_back() {
        let cases: [(&str, &str, &str); 7] = [
            (
                "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n \n",
                "sha1 openpgp",
                "-----BEGIN PGP SIGNATURE-----\n\nabc\n",
            ),
            ("gpgsig-sha256 -----BEGIN PGP MESSAGE-----\n", "sha256 openpgp", "-----BEGIN PGP MESSAGE-----"),
            ("gpgsig -----BEGIN SIGNED MESSAGE-----\n", "sha1 x509", "-----BEGIN SIGNED MESSAGE-----"),
            ("gpgsig -----BEGIN SSH SIGNATURE-----\n", "sha1 ssh", "-----BEGIN SSH SIGNATURE-----"),
            ("gpgsig  -----BEGIN SSH SIGNATURE-----\n", "sha1 unknown", " -----BEGIN SSH SIGNATURE-----"),
            ("gpgsig \n", "sha1 unknown", ""),
            ("gpgsig \n  \n", "sha1 unknown", "\n "),
        ];
        for (header, words, data) in cases {
            let signature = Signature::read(header.as_bytes()).unwrap();
            let command = signature.command();
            assert_eq!((command.as_str(), signature.data()), (&*format!("gpgsig {words}"), data.as_bytes()));
            assert_eq!(Signature::said(command.as_bytes(), data.into()).as_ref(), Some(&signature));
            let mut again = Vec::new();
            signature.encode(&mut again);
            assert_eq!(again, header.as_bytes());
        }
    }

    #[test]
    fn what_is_no_signature_or_another_spelling_is_told() {
        for header in
            ["gpgsig\n", "gpgsig-sha1 x\n", "gpgsig-sha256\n x\n", "gpgsig x\0\n", "gpgsig x", "gpgsig x\ny\n"]
        {
            assert_eq!(Signature::read(header.as_bytes()), None, "{header:?}");
        }
        for line in ["gpgsig sha1", "gpgsig sha1 ssh", "gpgsig sha1 unknown ", "gpgsig md5 unknown", "gpgsig"] {
            assert_eq!(Signature::said(line.as_bytes(), b"x".to_vec()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_data_comes_through_the_header(data in "[-a \n]{0,20}", sha256 in any::<bool>()) {
            let algorithm = Algorithm::ALL[usize::from(sha256)];
            let signature = Signature { algorithm, data: data.into() };
            let mut header = Vec::new();
            signature.encode(&mut header);
            prop_assert_eq!(Signature::read(&header), Some(signature));
        }
    }
}
