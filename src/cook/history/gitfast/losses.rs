//! What fast-import has no word for: refused, or left out and noted.

use super::commit::shown;
use crate::cook::error::CookError;
use crate::key::Sha1Git;

/// So many commits are named; of further ones only the number.
const NAMED: u64 = 20;

/// Headers that a stream is without.
#[derive(Debug)]
pub(super) struct Losses {
    allowed: bool,
    notes: Vec<String>,
    commits: u64,
}

impl Losses {
    /// With `allowed`, headers may be left out.
    pub(super) fn new(allowed: bool) -> Self {
        Self { allowed, notes: Vec::new(), commits: 0 }
    }

    /// Notes that a commit has headers that a stream cannot have.
    ///
    /// # Errors
    /// Unless they may be left out.
    pub(super) fn headers(&mut self, commit: &Sha1Git, headers: &[&[u8]]) -> Result<(), CookError> {
        let Some(first) = headers.first() else { return Ok(()) };
        if !self.allowed {
            let reason = format!("fast-import has no word for its header {}", shown(first));
            return Err(CookError::not_representable(format!("commit {commit}"), reason));
        }
        self.commits += 1;
        if self.commits <= NAMED {
            let names: Vec<_> = headers.iter().map(|name| shown(name)).collect();
            self.notes.push(format!("commit {commit} is without its header {}", names.join(", ")));
        }
        Ok(())
    }

    /// Whether anything was left out, and what, for people.
    pub(super) fn into_notes(mut self) -> (bool, Vec<String>) {
        if self.commits > NAMED {
            self.notes.push(format!("{} further commits are without a header", self.commits - NAMED));
        }
        if self.commits > 0 {
            self.notes
                .push("these commits, and all that come from them, have other ids than in the archive".to_owned());
        }
        (self.commits > 0, self.notes)
    }
}
