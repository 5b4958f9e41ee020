//! What was read, beside what larder would have written: compressed bytes that differ from those of
//! the one encoder are seen, even where they say the same.

use super::VerifyError;

/// No unit becomes so long, so what piles up beyond it says nothing.
const MOST: usize = 4 << 20;

/// Two streams of bytes that are to be equal, whichever is ahead.
#[derive(Default)]
pub(super) struct Echo {
    read: Vec<u8>,
    due: Vec<u8>,
}

impl Echo {
    /// The next bytes as they were read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let rest = settle(&mut self.due, bytes)?;
        self.read.extend_from_slice(rest);
        if self.read.len() > MOST { Err(VerifyError::Encoding) } else { Ok(()) }
    }

    /// The next bytes as larder writes them.
    pub(super) fn expect(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let rest = settle(&mut self.read, bytes)?;
        self.due.extend_from_slice(rest);
        Ok(())
    }

    /// Both ended together.
    pub(super) fn end(&self) -> Result<(), VerifyError> {
        if self.read.is_empty() && self.due.is_empty() { Ok(()) } else { Err(VerifyError::Encoding) }
    }
}

/// Takes the common start away from both; what is left of `bytes`.
fn settle<'a>(waiting: &mut Vec<u8>, bytes: &'a [u8]) -> Result<&'a [u8], VerifyError> {
    let (now, later) = bytes.split_at(bytes.len().min(waiting.len()));
    if waiting[..now.len()] != *now {
        return Err(VerifyError::Encoding);
    }
    waiting.drain(..now.len());
    Ok(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_side_may_be_ahead_and_both_must_agree() {
        let mut echo = Echo::default();
        echo.read(b"abc").unwrap();
        echo.expect(b"abcdef").unwrap();
        assert!(echo.end().is_err());
        echo.read(b"defg").unwrap();
        assert!(echo.end().is_err());
        echo.expect(b"g").unwrap();
        echo.end().unwrap();
        echo.expect(b"x").unwrap();
        assert!(echo.read(b"y").is_err());
        assert!(Echo::default().read(&vec![0; MOST + 1]).is_err());
    }
}
