//! The threads of a cook. One that the system has none left for is an error that passes, and not a panic.

use super::CookError;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts a thread.
///
/// # Errors
/// [`CookError::NoThread`].
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    part: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, CookError> {
    Builder::new().spawn_scoped(scope, part).map_err(CookError::NoThread)
}

/// Starts up to `number` threads that all do the same: fewer when the system has no more, for the work
/// is then done by those that there are.
pub(super) fn start_some<'scope, T: Send + 'scope, F: FnOnce() -> T + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    number: usize,
    part: impl Fn() -> F,
) -> Vec<ScopedJoinHandle<'scope, T>> {
    (0..number).map_while(|_| start(scope, part()).ok()).collect()
}
