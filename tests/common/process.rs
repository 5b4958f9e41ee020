//! Whatever a test starts ends with it. A process started here is killed with all that it started when
//! it is dropped; and when the test's process ends without dropping anything, by an abort, a signal or a
//! deadline of CI, a keeper does it: a shell that reads from a pipe what there is, and at the pipe's end,
//! which the kernel sees to, kills every group of processes and unmounts every file system it still knows.
//!
//! A group and not `PR_SET_PDEATHSIG`: that is about one process, forgets what this one forks (nginx's
//! workers), and goes by the thread that started it, which for a test is not the whole life of a kit.

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Lines `+ KIND WHAT` and `- KIND WHAT`. It heeds no signal that a terminal sends to all.
const KEEPER: &str = r#"
trap '' HUP INT QUIT TERM
held=
while read -r sign kind what; do
    line="$kind $what"
    case $sign in
    +) held="$held$line
" ;;
    -)
        rest=
        while read -r one; do
            if [ -n "$one" ] && [ "$one" != "$line" ]; then
                rest="$rest$one
"
            fi
        done <<LIST
$held
LIST
        held=$rest
        ;;
    esac
done
while read -r kind what; do
    case $kind in
    group) kill -KILL "-$what" ;;
    mount) umount -l "$what" ;;
    esac
done <<LIST
$held
LIST
"#;

/// Never waited for: it ends after us.
static KEEPER_PROCESS: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let keeper = Command::new("sh")
        .args(["-c", KEEPER])
        .stdin(Stdio::piped())
        // Nobody who reads what the test says waits for the keeper.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    Mutex::new(keeper.expect("sh can be run"))
});

/// `+` or `-`, and what: a `group` by its number, a `mount` by its folder.
pub(crate) fn tell_keeper(sign: char, kind: &str, what: &str) {
    let mut keeper = KEEPER_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let input = keeper.stdin.as_mut().expect("its input is a pipe");
    input.write_all(format!("{sign} {kind} {what}\n").as_bytes()).expect("the keeper reads as long as we live");
}

/// Starts what is to end with the test.
pub(crate) trait Start {
    /// As `spawn`, in a group of processes of its own.
    fn start(&mut self) -> io::Result<Process>;
}

impl Start for Command {
    fn start(&mut self) -> io::Result<Process> {
        // Before it, so that it does not inherit what the other holds.
        LazyLock::force(&KEEPER_PROCESS);
        let child = self.process_group(0).spawn()?;
        tell_keeper('+', "group", &child.id().to_string());
        Ok(Process { child: Some(child) })
    }
}

/// A process, and what it started; killed when dropped.
pub(crate) struct Process {
    /// `None` once its output was waited for.
    child: Option<Child>,
}

impl Process {
    /// As of [`Child`].
    pub(crate) fn wait_with_output(mut self) -> io::Result<Output> {
        let child = self.child.take().expect("it is taken here alone");
        let group = child.id();
        let output = child.wait_with_output();
        release(group);
        output
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.child.as_ref().expect("it is taken with the process alone")
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("it is taken with the process alone")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let group = child.id();
        // One that has ended was waited for: what it left behind, as a crash does, is the test's business
        // until the test ends.
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill_process_group(pid(group), Signal::KILL);
            let _ = child.wait();
        }
        release(group);
    }
}

/// The keeper need not know a group any more that has no process; its number may become another's.
fn release(group: u32) {
    if test_kill_process_group(pid(group)).is_err() {
        tell_keeper('-', "group", &group.to_string());
    }
}

fn pid(id: u32) -> Pid {
    let id = i32::try_from(id).expect("the kernel gives no larger ones");
    Pid::from_raw(id).expect("no child has the number 0")
}

/// Sends a signal to a process that the test started.
pub(crate) fn signal(id: u32, signal: Signal) {
    rustix::process::kill_process(pid(id), signal).expect("it runs, and is ours");
}
