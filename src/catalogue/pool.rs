//! Connections that read.
//!
//! At most [`LIMIT`] are open, made when first needed; who finds them all lent waits. The mutex
//! guards the list of idle ones and is never held while SQLite works. A thread that holds a reader
//! does not take the writer, so the two never wait for each other.
//!
//! Each connection, and the one that writes, has a page cache of SQLite's 2 MB: 18 MB in all. Larger ones
//! gained nothing at ten million bundles (`benches/README.md`), for what they miss is in the kernel's.

use super::CatalogueError;
use super::connect::Reach;
use rusqlite::Connection;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const LIMIT: usize = 8;

#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    reach: Reach,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    /// Idle, lent, and those being opened.
    open: usize,
}

impl Pool {
    pub(super) fn new(path: PathBuf, reach: Reach) -> Self {
        Self { path, reach, state: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn lend(&self) -> Result<Reader<'_>, CatalogueError> {
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Ok(Reader { pool: self, connection: Some(connection) });
            }
            if state.open < LIMIT {
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.open += 1;
        drop(state);
        // Dropped without a connection, a reader gives its place back.
        let mut reader = Reader { pool: self, connection: None };
        reader.connection = Some(self.reach.connect(&self.path)?);
        Ok(reader)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan.
pub(super) struct Reader<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("because only lend makes a reader, and gives it one")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
