//! `larder backup`: a copy of the catalogue while larder runs. It has its name when it is whole and
//! on disk; until then it lies beside, under a name of its own.

use super::rooms;
use crate::config::Settings;
use anyhow::{Context, bail};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{CWD, RenameFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = "{msg} {bar:30} {percent}%";

#[derive(clap::Args)]
pub(super) struct Args {
    /// File to write
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let file = std::path::absolute(&args.file).with_context(|| format!("{} names no file", args.file.display()))?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        bail!("{} names no file", file.display());
    };
    if !args.force && file.symlink_metadata().is_ok() {
        bail!("{} is there already: --force replaces it", file.display());
    }
    let catalogue = rooms::read_catalogue(settings)?;
    let mut part_name = name.to_owned();
    part_name.push(format!(".{}.part", std::process::id()));
    let part = Part(folder.join(part_name));
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part.0);
    drop(open.with_context(|| format!("cannot make {}", part.0.display()))?);
    let bar = progress_bar();
    catalogue.backup(&part.0, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let size = keep(&part.0, folder, &file, args.force).with_context(|| format!("cannot write {}", file.display()))?;
    super::print(&format!("{} {}\n", file.display(), ByteSize(size)))
}

/// Gives the copy its name when it is on disk, and its size.
fn keep(part: &Path, folder: &Path, file: &Path, replace: bool) -> io::Result<u64> {
    let copy = File::open(part)?;
    copy.sync_all()?;
    if replace {
        std::fs::rename(part, file)?;
    } else {
        match rustix::fs::renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system that cannot say so: a hard link replaces nothing either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => std::fs::hard_link(part, file)?,
            Err(error) => return Err(error.into()),
        }
    }
    File::open(folder)?.sync_all()?;
    Ok(copy.metadata()?.len())
}

/// What is being written; gone when dropped, unless it was renamed, and with it what SQLite keeps beside.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(suffix);
            let _ = std::fs::remove_file(PathBuf::from(name));
        }
    }
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
    ProgressBar::new(0).with_style(style).with_message("copying")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_progress_bar_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
