//! What the system says of this process, for `/metrics`: a few small files of `/proc`. Nothing where there is none.

use crate::metrics::Process;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Looks; `None` where the system does not say.
pub(super) fn look() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (page, ticks) = (rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second());
    let mut process = of_stat(&stat, page, ticks)?;
    // It says how long after the system it began. Not by /proc/uptime, which the service's unit hides.
    let up = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    process.started += now.as_secs_f64() - up.as_secs_f64();
    process.open_files = open_files();
    process.max_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Some(process)
}

/// The fields of proc_pid_stat(5), counted from behind the name, which may hold anything.
fn of_stat(stat: &str, page: u64, ticks: u64) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // The third field is the first here.
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.trim().parse::<u64>().ok();
    let time = |clock: u64| Duration::from_millis(clock.saturating_mul(1000) / ticks.max(1));
    Some(Process {
        cpu: time(field(14)?.saturating_add(field(15)?)),
        threads: field(20)?,
        started: time(field(22)?).as_secs_f64(),
        virtual_size: field(23)?,
        resident: field(24)?.saturating_mul(page),
        ..Process::default()
    })
}

/// Newer kernels (6.2) say the number as the folder's size.
fn open_files() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).map(|folder| folder.size()) {
        Ok(count) if count > 0 => count,
        _ => fs::read_dir(FOLDER).map_or(0, |entries| entries.count() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_shifts_no_field() {
        let stat =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1234 1048576 300 18446744073709551615 1";
        let process = of_stat(stat, 4096, 100).unwrap();
        assert_eq!((process.cpu, process.threads), (Duration::from_secs(3), 9));
        assert_eq!((process.started, process.virtual_size, process.resident), (12.34, 1_048_576, 300 * 4096));
        assert_eq!(of_stat("7 (a) S 1", 4096, 100), None);
    }

    #[test]
    fn this_process_has_memory_files_and_a_beginning() {
        let process = look().unwrap();
        assert!(process.resident > 1 << 20 && process.virtual_size > process.resident, "{process:?}");
        let before = process.open_files;
        let _held = [fs::File::open("/dev/null").unwrap(), fs::File::open("/dev/null").unwrap()];
        assert!(process.threads >= 1 && before >= 3 && process.max_files >= before, "{process:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.started < now + 1.0 && process.started > now - 86_400.0, "{process:?} at {now}");
    }
}
