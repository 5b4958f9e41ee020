//! Answers that take much memory to make, or to hold until they are taken: how many are made at once, how many
//! wait for that, and how many lie on the disk meanwhile. Knows no endpoint.

use super::body::{Body, FileBody};
use super::places::{Client, Place, Places};
use super::range::ByteRange;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Up to so many bytes an answer is held in memory.
const IN_MEMORY: usize = 32 << 10;

/// Answers that lie on the disk, in all and of one client.
const SPOOLED: (usize, usize) = (32, 8);

/// Who makes answers of one sort. Cheap to clone.
#[derive(Clone)]
pub(super) struct Makers {
    at_once: Arc<Semaphore>,
    /// Those who make one and those who wait for it.
    queue: Arc<Semaphore>,
}

impl Makers {
    /// So many at once, and so many more that wait.
    pub(super) fn new(at_once: usize, waiting: usize) -> Self {
        Self { at_once: Arc::new(Semaphore::new(at_once)), queue: Arc::new(Semaphore::new(at_once + waiting)) }
    }

    /// Runs `work`, which blocks, when it is its turn; `None` when too many wait already. Who waits no longer, for its
    /// client has gone, is passed over; what has begun counts until it ends.
    pub(super) async fn make<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let queued = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await.ok()?;
        let work = move || {
            let _held = (queued, turn);
            work()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => Some(value),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

/// Room on the disk for answers until they are taken.
#[derive(Clone)]
pub(super) struct Spool(Arc<Places>);

impl Default for Spool {
    fn default() -> Self {
        Self(Arc::new(Places::new(SPOOLED.0, SPOOLED.1)))
    }
}

impl Spool {
    /// A body of these bytes: in memory when they are few, else in a file without a name in `folder`, or in the
    /// system's folder for such where that one cannot be written. `None` when there is no place for another. Blocking.
    pub(super) fn body(&self, client: Client, parts: &[&[u8]], folder: &Path) -> io::Result<Option<Body>> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size <= IN_MEMORY {
            return Ok(Some(Body::from(parts.concat())));
        }
        let Some(place) = self.0.take(client) else { return Ok(None) };
        let file = tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile())?;
        Ok(Some(spooled(file, parts, place)?))
    }
}

/// Why a body was not written.
#[derive(Debug)]
pub(super) enum NotWritten<E> {
    /// There is no place for another large one.
    NoPlace,
    /// It would be larger than it may.
    TooLarge,
    /// Nothing can be written in the folder.
    Io(io::Error),
    /// What was to be written failed.
    Failed(E),
}

impl Spool {
    /// A body of what `write` writes, of at most `most` bytes: in memory while they are few, then in a file without a
    /// name in `folder`, or in the system's folder for such. No more of them is held in memory than of a small one.
    /// Blocking.
    pub(super) fn written<E>(
        &self,
        client: Client,
        folder: &Path,
        most: u64,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<Body, NotWritten<E>> {
        let mut gathering =
            Gathering { spool: self, client, folder, most, size: 0, memory: Vec::new(), file: None, refused: None };
        let written = write(&mut gathering);
        match (gathering.refused.take(), written) {
            (Some(refused), _) => Err(match refused {
                Refused::NoPlace => NotWritten::NoPlace,
                Refused::TooLarge => NotWritten::TooLarge,
                Refused::Io(error) => NotWritten::Io(error),
            }),
            (None, Err(error)) => Err(NotWritten::Failed(error)),
            (None, Ok(())) => gathering.into_body().map_err(NotWritten::Io),
        }
    }
}

/// What was written so far.
struct Gathering<'s> {
    spool: &'s Spool,
    client: Client,
    folder: &'s Path,
    most: u64,
    size: u64,
    /// All of it, or what is not in the file yet.
    memory: Vec<u8>,
    file: Option<(File, Place)>,
    /// Why no more is taken.
    refused: Option<Refused>,
}

enum Refused {
    NoPlace,
    TooLarge,
    Io(io::Error),
}

impl Gathering<'_> {
    /// Moves what is in memory to the file.
    fn spill(&mut self) -> Result<(), Refused> {
        let (file, _) = if let Some(file) = &mut self.file {
            file
        } else {
            let place = self.spool.0.take(self.client).ok_or(Refused::NoPlace)?;
            let file = tempfile::tempfile_in(self.folder).or_else(|_| tempfile::tempfile()).map_err(Refused::Io)?;
            self.file.insert((file, place))
        };
        file.write_all(&self.memory).map_err(Refused::Io)?;
        self.memory.clear();
        Ok(())
    }

    fn into_body(mut self) -> io::Result<Body> {
        match self.file.take() {
            None => Ok(Body::from(self.memory)),
            Some((mut file, place)) => {
                file.write_all(&self.memory)?;
                Ok(Body::File(FileBody::single(file, ByteRange { start: 0, end: self.size }).in_place(place)))
            }
        }
    }
}

impl Write for Gathering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        let taken = if self.size > self.most {
            Err(Refused::TooLarge)
        } else {
            self.memory.extend_from_slice(bytes);
            if self.memory.len() > IN_MEMORY { self.spill() } else { Ok(()) }
        };
        taken.map_err(|refused| {
            self.refused = Some(refused);
            io::Error::other("the answer is not taken")
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn spooled(mut file: File, parts: &[&[u8]], place: Place) -> io::Result<Body> {
    let mut size = 0;
    for part in parts {
        file.write_all(part)?;
        size += part.len() as u64;
    }
    Ok(Body::File(FileBody::single(file, ByteRange { start: 0, end: size }).in_place(place)))
}

#[cfg(test)]
mod tests {
    use super::super::body::tests::collect;
    use super::*;

    #[tokio::test]
    async fn a_large_answer_lies_on_the_disk_and_takes_a_place_until_it_is_sent() {
        let (spool, folder) = (Spool::default(), tempfile::tempdir().unwrap());
        let bytes = vec![7; 100_000];
        let body = |size: usize| spool.body(Client::Unix, &[b"head", &bytes[..size]], folder.path()).unwrap();
        assert!(matches!(body(9), Some(Body::Full(_))));
        let mut large: Vec<_> = std::iter::from_fn(|| body(100_000)).collect();
        assert_eq!(large.len(), SPOOLED.1);
        let (sent, failed) = collect(large.pop().unwrap()).await;
        assert!(failed.is_none() && sent == [b"head".as_slice(), &bytes].concat());
        assert!(body(100_000).is_some(), "a place is free again");
        let missing = spool.body(Client::Unix, &[&bytes], &folder.path().join("missing")).unwrap();
        assert!(missing.is_some(), "anywhere, when not there");
    }

    #[tokio::test]
    async fn what_is_written_bit_by_bit_is_the_body_and_no_more_than_may_be() {
        let (spool, folder) = (Spool::default(), tempfile::tempdir().unwrap());
        let write = |rows: usize, most: u64| {
            let written = spool.written(Client::Unix, folder.path(), most, |out| {
                (0..rows).try_for_each(|row| out.write_all(format!("{row:>99}\n").as_bytes()))
            });
            written.map_err(|error| match error {
                NotWritten::NoPlace => "no place",
                NotWritten::TooLarge => "too large",
                NotWritten::Io(_) | NotWritten::Failed(_) => "other",
            })
        };
        assert!(matches!(write(327, 1 << 20), Ok(Body::Full(bytes)) if bytes.len() == 32_700));
        let Ok(body @ Body::File(_)) = write(1000, 1 << 20) else { panic!("it lies on the disk") };
        let (sent, failed) = collect(body).await;
        assert!(failed.is_none() && sent.len() == 100_000);
        assert!(sent.chunks(100).enumerate().all(|(row, line)| line == format!("{row:>99}\n").as_bytes()));
        assert!(write(1000, 100_000).is_ok());
        assert_eq!(write(1000, 99_999).unwrap_err(), "too large");
        let held: Vec<_> = std::iter::from_fn(|| write(1000, 1 << 20).ok()).collect();
        assert_eq!((held.len(), write(1000, 1 << 20).unwrap_err()), (SPOOLED.1, "no place"));
        assert!(write(1, 1 << 20).is_ok(), "small ones take none");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_so_many_are_made_and_wait_and_who_has_gone_does_not() {
        let makers = Makers::new(1, 1);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let making = tokio::spawn({
            let makers = makers.clone();
            async move { makers.make(move || released.recv().is_ok()).await }
        });
        while makers.at_once.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), makers.make(|| ())).await;
        assert!(waiting.is_err(), "it waits for its turn");
        let second = tokio::spawn({
            let makers = makers.clone();
            async move { makers.make(|| 2).await }
        });
        while makers.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(makers.make(|| ()).await.is_none(), "one is made and one waits");
        release.send(()).unwrap();
        assert_eq!((making.await.unwrap(), second.await.unwrap()), (Some(true), Some(2)));
    }
}
