//! Opening the file: where it may lie, whose it is, which version it has, and making it.
//!
//! `<catalogue>.lock` beside it is held shared (`flock`) by every process that has the catalogue
//! open, for as long as it has; whoever changes the schema holds it alone. So no statement ever
//! meets a schema that it was not written for. SQLite's own locks come after it, never before.
//!
//! A catalogue that does not exist yet is made by any process that may write: there is nothing in
//! it to lose. One of another version is touched by `Access::Migrate` only.

use super::connect::{Reach, connect, prepare_writer, sqlite, write_ahead};
use super::upgrade::{STEPS, upgrade};
use super::{Access, CatalogueError};
use crate::members::Lock;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The version of `schema.sql`.
pub const VERSION: i64 = 5;
/// "lard", big endian: what makes an SQLite file a catalogue.
const APPLICATION: i64 = 1_818_325_604;
/// How long a migration waits for other processes to close the catalogue.
const ALONE: Duration = Duration::from_secs(10);

/// File systems that other machines share (their `f_type`).
const NETWORK: [(u32, &str); 7] = [
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
];

/// An open catalogue.
pub(super) struct Opened {
    /// Its path, with no symlink in it.
    pub(super) path: PathBuf,
    /// `None` with `Access::Read` and `Access::Frozen`.
    pub(super) writer: Option<Connection>,
    /// How readers get at it.
    pub(super) reach: Reach,
    /// Our share of the lock.
    pub(super) hold: Option<Lock>,
}

/// Opens the catalogue at `path`, made or brought to [`VERSION`] first where `access` allows.
pub(super) fn open(path: &Path, access: Access) -> Result<Opened, CatalogueError> {
    let path = resolve(path)?;
    refuse_network(&path)?;
    match access {
        Access::Migrate | Access::Write => {}
        Access::Read => return open_to_read(path),
        Access::Frozen => return open_frozen(path),
    }
    let hold = lock_file(&path)?;
    create(&path)?;
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    settle(&path, access, &hold, &mut writer)?;
    prepare_writer(&writer).map_err(|e| sqlite("open the catalogue", &path, e))?;
    Ok(Opened { path, writer: Some(writer), reach: Reach::Live, hold: Some(hold) })
}

/// Whether there is no file, an empty one, or one without a table.
pub(super) fn is_blank(path: &Path) -> Result<bool, CatalogueError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("look at", path, error)),
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Ok(true),
        Ok(metadata) if metadata.is_file() => Ok(matches!(state(path, &Reach::Live.connect(path)?)?, State::New)),
        Ok(_) => Err(CatalogueError::Foreign { path: path.to_owned() }),
    }
}

/// What [`migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version found.
    pub from: i64,
    /// The version now: the same where there was nothing to do.
    pub to: i64,
}

/// Brings the catalogue at `path`, which must exist, to this larder's version. One that has it already is
/// only read, whoever has it open.
///
/// # Errors
/// [`CatalogueError::InUse`] while another process has an older one open, [`CatalogueError::Version`] for a newer
/// one, [`CatalogueError::TooOld`] for one that no step leads from.
pub fn migrate(path: &Path) -> Result<Migrated, CatalogueError> {
    match open(path, Access::Read) {
        Ok(_) => Ok(Migrated { from: VERSION, to: VERSION }),
        // What is wrong with it is said better where it is to be migrated.
        Err(_) => migrate_to(path, VERSION, STEPS),
    }
}

pub(super) fn migrate_to(path: &Path, to: i64, steps: &[(i64, &str)]) -> Result<Migrated, CatalogueError> {
    if !path.exists() {
        return Err(CatalogueError::Absent { path: path.to_owned() });
    }
    alone(path, |path, connection| {
        let from = match state(path, connection)? {
            State::New => return Err(CatalogueError::Absent { path: path.to_owned() }),
            State::Current => VERSION,
            State::Other(found) => found,
        };
        if from > to {
            return Err(CatalogueError::Version { path: path.to_owned(), found: from, known: to });
        }
        upgrade(path, connection, from, to, steps)?;
        Ok(Migrated { from, to })
    })
}

/// Runs `body` on the catalogue at `path` with the lock held alone; it must exist.
fn alone<T>(
    path: &Path,
    body: impl FnOnce(&Path, &mut Connection) -> Result<T, CatalogueError>,
) -> Result<T, CatalogueError> {
    let path = resolve(path)?;
    refuse_network(&path)?;
    let hold = lock_file(&path)?;
    let began = Instant::now();
    while !try_alone(&path, &hold, began)? {}
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare_writer(&writer).map_err(|e| sqlite("open the catalogue", &path, e))?;
    body(&path, &mut writer)
}

/// Takes the lock alone, or waits a moment: others may close the catalogue, for a while since `began`.
fn try_alone(path: &Path, hold: &Lock, began: Instant) -> Result<bool, CatalogueError> {
    if hold.try_alone().map_err(|e| failed("lock", &lock_path(path), e))? {
        return Ok(true);
    }
    if began.elapsed() >= ALONE {
        return Err(CatalogueError::InUse { path: path.to_owned() });
    }
    std::thread::sleep(Duration::from_millis(5));
    Ok(false)
}

/// Holds the lock alone, so that the file is whole and stays as it is.
fn open_frozen(path: PathBuf) -> Result<Opened, CatalogueError> {
    let lock = lock_path(&path);
    let hold = Lock::of(File::open(&lock).map_err(|e| failed("open", &lock, e))?);
    if !hold.try_alone().map_err(|e| failed("lock", &lock, e))? {
        return Err(CatalogueError::InUse { path });
    }
    if !has_no_log(&path) {
        return Err(failed("read without its log", &path, io::ErrorKind::StorageFull.into()));
    }
    match state(&path, &Reach::Frozen.connect(&path)?)? {
        State::Current => Ok(Opened { path, writer: None, reach: Reach::Frozen, hold: Some(hold) }),
        State::New => Err(CatalogueError::Absent { path }),
        State::Other(found) => Err(CatalogueError::Version { path, found, known: VERSION }),
    }
}

/// What a killed process committed is in its log still, and only opening the catalogue in full reads that.
fn has_no_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(&log).map_or(true, |metadata| metadata.len() == 0)
}

/// Whether the file system is mounted so that nobody writes.
fn cannot_be_written(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A catalogue that is nowhere but in memory, and the name by which others of this process reach it.
pub(super) fn open_in_memory() -> Result<Opened, CatalogueError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let path = PathBuf::from(format!("file:/larder-{}?vfs=memdb", MADE.fetch_add(1, Ordering::Relaxed)));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
    let writer = connect(&path, flags)?;
    writer.execute_batch(include_str!("../../schema.sql")).map_err(|e| sqlite("make the catalogue", &path, e))?;
    Ok(Opened { path, writer: Some(writer), reach: Reach::Memory, hold: None })
}

fn open_to_read(path: PathBuf) -> Result<Opened, CatalogueError> {
    let hold = match File::open(lock_path(&path)) {
        Ok(file) => {
            let hold = Lock::of(file);
            hold.share().map_err(|e| failed("lock", &lock_path(&path), e))?;
            Some(hold)
        }
        // Nobody who writes was ever here, or we may not see it: SQLite's locks remain.
        Err(_) => None,
    };
    if !path.try_exists().map_err(|e| failed("look for", &path, e))? {
        return Err(CatalogueError::Absent { path });
    }
    let (found, reach) = match Reach::Live.connect(&path).and_then(|connection| state(&path, &connection)) {
        // The companions that reading takes cannot be made there, nor can anybody change the file.
        Err(_) if cannot_be_written(&path) && has_no_log(&path) => {
            (state(&path, &Reach::Frozen.connect(&path)?)?, Reach::Frozen)
        }
        found => (found?, Reach::Live),
    };
    match found {
        State::Current => Ok(Opened { path, writer: None, reach, hold }),
        State::New => Err(CatalogueError::Absent { path }),
        State::Other(found) => Err(CatalogueError::Version { path, found, known: VERSION }),
    }
}

/// Returns with `hold` shared and the schema at [`VERSION`].
fn settle(path: &Path, access: Access, hold: &Lock, writer: &mut Connection) -> Result<(), CatalogueError> {
    let lock = |e| failed("lock", &lock_path(path), e);
    let began = Instant::now();
    loop {
        hold.share().map_err(lock)?;
        match (state(path, writer)?, access) {
            (State::Current, _) => return Ok(()),
            (State::New, _) => {}
            (State::Other(found), Access::Migrate) if found < VERSION => {}
            (State::Other(found), _) => {
                return Err(CatalogueError::Version { path: path.to_owned(), found, known: VERSION });
            }
        }
        // To change a share into the whole is to give it up first; hence the second look.
        hold.give_up().map_err(lock)?;
        if try_alone(path, hold, began)? {
            match state(path, writer)? {
                State::New => {
                    make(writer).map_err(|e| sqlite("make the catalogue", path, e))?;
                    sync_folder(path).map_err(|e| failed("fsync the folder of", path, e))?;
                }
                State::Other(found) if found < VERSION => upgrade(path, writer, found, VERSION, STEPS)?,
                State::Current | State::Other(_) => {}
            }
            hold.give_up().map_err(lock)?;
        }
    }
}

enum State {
    /// Empty: nothing in it yet.
    New,
    Current,
    /// A catalogue of this version.
    Other(i64),
}

fn state(path: &Path, connection: &Connection) -> Result<State, CatalogueError> {
    let look = || -> rusqlite::Result<(i64, i64, bool)> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let empty = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
        Ok((version, application, empty))
    };
    match look() {
        Ok((0, 0, true)) => Ok(State::New),
        Ok((VERSION, APPLICATION, false)) => Ok(State::Current),
        Ok((version, APPLICATION, _)) => Ok(State::Other(version)),
        Ok(_) => Err(CatalogueError::Foreign { path: path.to_owned() }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(CatalogueError::Foreign { path: path.to_owned() })
        }
        Err(error) => Err(sqlite("open the catalogue", path, error)),
    }
}

/// Applies `schema.sql` to an empty file, in one transaction.
fn make(writer: &mut Connection) -> rusqlite::Result<()> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(include_str!("../../schema.sql"))?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    write_ahead(writer)
}

/// SQLite fsyncs the file; that it has a name is for us to see to.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Makes the file, empty, if it is not there, and sees to its mode whatever the umask. SQLite gives
/// its companions (`-wal`, `-shm`) the same.
///
/// Without ever opening it: closing any handle of a file gives up all locks that the process has on
/// it (`fcntl`), and with them those of SQLite's connections.
fn create(path: &Path) -> Result<(), CatalogueError> {
    match rustix::fs::mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed("make", path, error.into())),
    }
    let metadata = std::fs::symlink_metadata(path).map_err(|e| failed("look at", path, e))?;
    if !metadata.is_file() {
        return Err(CatalogueError::Foreign { path: path.to_owned() });
    }
    if metadata.permissions().mode() & 0o7777 != 0o600 {
        std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(|e| failed("set the mode of", path, e))?;
    }
    Ok(())
}

fn lock_file(path: &Path) -> Result<Lock, CatalogueError> {
    let path = lock_path(path);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed("make", &path, e.into()))?;
    let file = File::from(file);
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|e| failed("set the mode of", &path, e))?;
    Ok(Lock::of(file))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// The path with its folder's symlinks followed; the file itself may not be one.
fn resolve(path: &Path) -> Result<PathBuf, CatalogueError> {
    let absolute = std::path::absolute(path).map_err(|e| failed("find", path, e))?;
    let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(failed("open", path, io::ErrorKind::IsADirectory.into()));
    };
    Ok(folder.canonicalize().map_err(|e| failed("find", folder, e))?.join(name))
}

fn refuse_network(path: &Path) -> Result<(), CatalogueError> {
    let folder = path.parent().unwrap_or(path);
    let stat = rustix::fs::statfs(folder).map_err(|e| failed("look at the file system of", folder, e.into()))?;
    // The type is a signed or unsigned word of 32 or 64 bits, by architecture; the magic has 32.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only the low 32 bits mean anything")]
    let magic = stat.f_type as u32;
    match network(magic) {
        Some(filesystem) => Err(CatalogueError::Network { path: path.to_owned(), filesystem }),
        None => Ok(()),
    }
}

fn network(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> CatalogueError {
    CatalogueError::Io { action, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_magic() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xFF53_4D42), Some("CIFS"));
        assert_eq!(network(0xEF53), None, "ext4");
        assert_eq!(network(0x0102_1994), None, "tmpfs");
    }
}
