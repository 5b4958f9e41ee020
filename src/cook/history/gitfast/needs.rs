//! What a stream asks of fast-import that git 2.39, which every other stream is written for, has not
//! or has only when the stream says so. Pure; the writer and the reader of the format share it.

/// What some commit or tag of a stream needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Dates that are taken as they are, whatever their time zone.
    pub(crate) any_zone: bool,
    /// Signatures of commits.
    pub(crate) signatures: bool,
}

/// The line behind the first one that has dates taken as they are.
pub(crate) const ANY_ZONE: &[u8] = b"feature date-format=raw-permissive\n";

impl Needs {
    /// Adds what another commit or tag needs.
    pub(crate) fn add(&mut self, other: Self) {
        self.any_zone |= other.any_zone;
        self.signatures |= other.signatures;
    }

    /// For people, who may have an older git.
    pub(super) fn notes(self) -> impl Iterator<Item = String> {
        let signatures = self.signatures.then(|| "needs git 2.51 or later (signatures of commits)".to_owned());
        let zones = self.any_zone.then(|| "needs git 2.28 or later (odd time zones)".to_owned());
        signatures.into_iter().chain(zones)
    }
}
