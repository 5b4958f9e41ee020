//! A program under which system calls on what lies below a folder fail, or never return (`faults.c`).

use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes the program in a folder.
pub(crate) fn make(folder: &Path) -> PathBuf {
    let program = folder.join("faults");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/faults.c");
    let compiled = Command::new("cc").args(["-O1", "-Wall", "-o"]).arg(&program).arg(source).status();
    assert!(compiled.expect("a C compiler is installed").success());
    program
}
