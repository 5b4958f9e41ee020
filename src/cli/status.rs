//! `larder status`: where one bundle stands.

use super::{list, parse_bundle, rooms};
use crate::bodies::status_body;
use crate::bundle::Bundle;
use crate::config::Settings;
use crate::digest::hex;
use crate::key::BundleKey;
use bytesize::ByteSize;
use std::fmt::Write as _;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundle: swh:1:dir:ID, directory/ID or directory/ID.tar
    #[arg(value_parser = parse_bundle)]
    bundle: BundleKey,
    /// The status body as JSON
    #[arg(long)]
    json: bool,
}

/// Whether the bundle was ever asked for.
pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<bool> {
    let bundle = rooms::read_catalogue(settings)?.bundle(&args.bundle)?;
    if args.json {
        super::print_json(&status_body(&args.bundle, bundle.as_ref(), None, &list::base(settings)))?;
    } else {
        super::print(&describe(&args.bundle, bundle.as_ref()))?;
    }
    Ok(bundle.is_some())
}

fn describe(key: &BundleKey, bundle: Option<&Bundle>) -> String {
    let Some(bundle) = bundle else { return format!("{key}: never asked for\n") };
    let mut text = format!("{key}: {}\n", bundle.status);
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<12} {value}");
        }
    };
    field("swhid", Some(key.swhid().to_string()));
    field("size", bundle.file.map(|file| format!("{} ({} bytes)", ByteSize(file.size), file.size)));
    field("blake3", bundle.file.map(|file| hex(&file.blake3)));
    field("sha256", bundle.sha256.map(|digest| hex(&digest)));
    field("asked for", Some(bundle.created_at.to_string()));
    field("cooked", bundle.done_at.map(|at| at.to_string()));
    field("last access", bundle.last_access_at.map(|at| at.to_string()));
    field("hits", Some(bundle.hits.to_string()));
    field("pinned", bundle.pinned.then(|| "yes".to_owned()));
    field("failed", bundle.failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message)));
    text
}
