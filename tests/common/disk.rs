//! Small file systems of a test's own, which only root may mount.

use super::process::tell_keeper;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount.
    pub(crate) fn tmpfs(on: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0755");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], on).then(|| Self::kept(on))
    }

    /// The folder mounted on itself, so that it alone can be made read-only.
    pub(crate) fn onto_itself(folder: &Path) -> Option<Self> {
        mount(&["--bind", folder.to_str().unwrap()], folder).then(|| Self::kept(folder))
    }

    fn kept(folder: &Path) -> Self {
        tell_keeper('+', "mount", folder.to_str().unwrap());
        Self(folder.to_owned())
    }

    /// Read-only or writable again. A draft that is open at the moment makes it wait.
    pub(crate) fn remount(&self, how: &str) {
        for _ in 0..600 {
            if mount(&["-o", &format!("remount,bind,{how}")], &self.0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("cannot remount {how}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
        tell_keeper('-', "mount", self.0.to_str().unwrap());
    }
}

fn mount(args: &[&str], on: &Path) -> bool {
    Command::new("mount").args(args).arg(on).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

pub(crate) fn skipped() {
    println!("skipped: this test mounts a file system, which takes root");
}

/// Fills the disk with a file, but for so many bytes.
pub(crate) fn fill(filler: &Path, disk: &Path, leave: u64) {
    let _ = fs::remove_file(filler);
    let free = {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(disk).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().nth(1).unwrap().trim().parse::<u64>().unwrap()
    };
    let size = free.saturating_sub(leave).max(1).to_string();
    // Others write meanwhile, so that it may not fit: then the disk is as full as it can be.
    let _ = Command::new("fallocate").args(["-l", &size]).arg(filler).stderr(Stdio::null()).status();
}

/// Fills the disk to the last byte, whoever writes meanwhile.
pub(crate) fn fill_up(filler: &Path, disk: &Path) {
    while !filler.exists() || fs::metadata(filler).unwrap().len() == 0 {
        fill(filler, disk, 0);
    }
}
