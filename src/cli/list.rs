//! `larder list`: the bundles that are there, in order of id, a kind after the other, or sorted.
//!
//! Sorted, all rows that are listed are held at once, some 200 bytes each; with `--limit` no more than a few
//! times that many, or pages. In order of id nothing is held but a page.

use super::rooms;
use crate::bodies::{Base, status_body};
use crate::bundle::Bundle;
use crate::config::Settings;
use crate::key::ObjectKind;
use bytesize::ByteSize;
use std::cmp::Reverse;
use std::io::IsTerminal;

/// Rows read at a time.
const PAGE: u32 = 1000;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only bundles of this kind: directory, revision, release, snapshot, content
    kind: Option<ObjectKind>,
    /// In this order; largest, most used and newest come first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t)]
    sort: Sort,
    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line, with the fields of the status body; its links begin with the public_url of these
    /// settings, or http:// and what they listen on
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// By kind, then by id
    #[default]
    Id,
    /// By size
    Size,
    /// By hits
    Hits,
    /// By last access
    Used,
    /// By when they were cooked
    Cooked,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let mut lines = List { args, base: base(settings), people: std::io::stdout().is_terminal(), count: 0, bytes: 0 };
    let mut held = Vec::new();
    let catalogue = rooms::read_catalogue(settings)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let kinds = ObjectKind::ALL.into_iter().filter(|kind| args.kind.is_none_or(|wanted| wanted == *kind));
    'kinds: for kind in kinds {
        let mut after = None;
        loop {
            let page = catalogue.list(kind, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some((last.key.id(), last.key.format()));
            if args.sort == Sort::Id {
                for bundle in page {
                    if lines.count == limit {
                        break 'kinds;
                    }
                    lines.show(&bundle)?;
                }
            } else {
                held.extend(page);
                // Not at each page: to sort all of them again and again would take the square of their number.
                if held.len() / 2 >= limit.max(PAGE as usize) {
                    keep_first(&mut held, args.sort, limit);
                }
            }
        }
    }
    keep_first(&mut held, args.sort, limit);
    for bundle in &held {
        lines.show(bundle)?;
    }
    lines.end()
}

/// Sorts what is held, and forgets what is beyond the limit.
fn keep_first(held: &mut Vec<Bundle>, sort: Sort, limit: usize) {
    let size = |bundle: &Bundle| bundle.file.map_or(0, |file| file.size);
    match sort {
        Sort::Id => {}
        Sort::Size => held.sort_by_key(|bundle| Reverse(size(bundle))),
        Sort::Hits => held.sort_by_key(|bundle| Reverse(bundle.hits)),
        Sort::Used => held.sort_by_key(|bundle| Reverse(bundle.last_access_at)),
        Sort::Cooked => held.sort_by_key(|bundle| Reverse(bundle.done_at)),
    }
    held.truncate(limit);
}

/// What is printed. A header and a total are for people: a program that reads the lines has none to skip.
struct List<'a> {
    args: &'a Args,
    base: Base,
    people: bool,
    count: usize,
    bytes: u64,
}

impl List<'_> {
    fn show(&mut self, bundle: &Bundle) -> anyhow::Result<()> {
        self.count += 1;
        if self.args.json {
            return super::print_json(&status_body(&bundle.key, Some(bundle), None, &self.base));
        }
        if self.people && self.count == 1 {
            super::print(&format!("{}\n", row("BUNDLE", "SIZE", "HITS", "LAST ACCESS", "")))?;
        }
        self.bytes = self.bytes.saturating_add(bundle.file.map_or(0, |file| file.size));
        super::print(&format!("{}\n", line(bundle)))
    }

    fn end(&self) -> anyhow::Result<()> {
        if !self.people || self.args.json {
            return Ok(());
        }
        let words = if self.count == 1 { "bundle" } else { "bundles" };
        super::print(&format!("{} {words}, {}\n", self.count, ByteSize(self.bytes)))
    }
}

fn line(bundle: &Bundle) -> String {
    let size = bundle.file.map_or_else(String::new, |file| ByteSize(file.size).to_string());
    let used = bundle.last_access_at.map_or_else(String::new, |at| at.to_string());
    row(&bundle.key.to_string(), &size, &bundle.hits.to_string(), &used, if bundle.pinned { "pinned" } else { "" })
}

/// Columns that keep their place whatever is in them: the longest key is that of a `gitfast.gz`.
fn row(key: &str, size: &str, hits: &str, used: &str, pinned: &str) -> String {
    const KEY: usize = "revision/".len() + 40 + ".gitfast.gz".len();
    format!("{key:<KEY$} {size:>10} {hits:>8}  {used:<20} {pinned}").trim_end().to_owned()
}

/// The URLs that `--json` shows: those of the server that runs with the same settings.
pub(super) fn base(settings: &Settings) -> Base {
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
    Base::new(&public_url, &settings.root_path)
}
