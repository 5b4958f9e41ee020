//! `larder man`: the manual pages, made from the same declarations as `--help`.

use anyhow::Context;
use std::io::Write;
use std::path::Path;

pub(super) fn run(command: clap::Command, out: Option<&Path>) -> anyhow::Result<()> {
    if let Some(dir) = out {
        return clap_mangen::generate_to(command, dir)
            .with_context(|| format!("cannot write manual pages into {}", dir.display()));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(std::io::stdout().write_all(&page)?)
}
