//! `larder list`: the bundles that are there, in order of id, a kind after the other.

use super::rooms;
use crate::bundle::Bundle;
use crate::config::Settings;
use crate::http::status_body::{Base, status_body};
use crate::key::ObjectKind;
use bytesize::ByteSize;

/// Rows read at a time.
const PAGE: u32 = 1000;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only bundles of this kind: directory, revision, release, snapshot, content
    kind: Option<ObjectKind>,
    /// One JSON object a line, with the fields of the status body
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let catalogue = rooms::read_catalogue(settings)?;
    let base = base(settings);
    for kind in ObjectKind::ALL.into_iter().filter(|kind| args.kind.is_none_or(|wanted| wanted == *kind)) {
        let mut after = None;
        loop {
            let page = catalogue.list(kind, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some((last.key.id(), last.key.format()));
            for bundle in &page {
                if args.json {
                    super::print_json(&status_body(&bundle.key, Some(bundle), None, &base))?;
                } else {
                    super::print(&line(bundle))?;
                }
            }
        }
    }
    Ok(())
}

fn line(bundle: &Bundle) -> String {
    let size = bundle.file.map_or_else(String::new, |file| ByteSize(file.size).to_string());
    let used = bundle.last_access_at.map_or_else(String::new, |at| at.to_string());
    let pin = if bundle.pinned { " pinned" } else { "" };
    format!("{} {size:>10} {:>8} hits  {used}{pin}\n", bundle.key, bundle.hits)
}

/// The URLs that `--json` shows: those of the server that runs with the same settings.
pub(super) fn base(settings: &Settings) -> Base {
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
    Base::new(&public_url, &settings.root_path)
}
