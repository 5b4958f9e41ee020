//! The log: to standard error, as lines for people or as one JSON object a line. What of it is logged and in which form,
//! the setting `log` says, which may change while larder runs.
//!
//! Whatever form it has, no value, whoever wrote it, begins a line of its own or steers a terminal.

use crate::config::DEFAULT_LOG;
use crate::escaped::{self, Escaped};
use anyhow::{Context, bail};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Changes what is logged.
static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Whether it is JSON.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Begins to log, by the defaults until the settings are read.
pub(super) fn start() {
    let (filter, handle) = tracing_subscriber::reload::Layer::new(EnvFilter::new(DEFAULT_LOG));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .fmt_fields(
            debug_fn(|out, field, value| match field.name() {
                "message" => write!(out, "{}", Escaped(format_args!("{value:?}"))),
                name => write!(out, "{name}={}", Escaped(format_args!("{value:?}"))),
            })
            .delimited(" "),
        )
        .with_filter(dynamic_filter_fn(|_, _| !AS_JSON.load(Relaxed)));
    let objects = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(|| Objects)
        .with_filter(dynamic_filter_fn(|_, _| AS_JSON.load(Relaxed)));
    tracing_subscriber::registry().with(filter).with(lines).with(objects).init();
    // The second call of a process, if there were one, would have failed above.
    let _ = FILTER.set(handle);
}

/// What is logged from now on, and how: `debug`, `warn,larder::kitchen=debug`, `json`, `json,debug`.
pub(super) fn set(log: &str) -> anyhow::Result<()> {
    let (as_json, filter) = read(log)?;
    let filter = EnvFilter::try_new(filter).with_context(|| format!("log cannot be {log:?}"))?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(filter)).context("cannot change what is logged")?;
    AS_JSON.store(as_json, Relaxed);
    Ok(())
}

/// Whether it is to be JSON, and what is left: the filter.
fn read(log: &str) -> anyhow::Result<(bool, String)> {
    let (mut form, mut filter) = (None, Vec::new());
    for word in log.split(',') {
        match word.trim() {
            word @ ("json" | "text") if form.is_none_or(|form| form == word) => form = Some(word),
            "json" | "text" => bail!("log cannot be both json and text"),
            _ => filter.push(word),
        }
    }
    let filter = if filter.is_empty() { DEFAULT_LOG.to_owned() } else { filter.join(",") };
    Ok((form == Some("json"), filter))
}

/// Standard error, for lines that are JSON: what a terminal would take for more than a letter is written as JSON
/// writes such, which it need not have been.
struct Objects;

impl Write for Objects {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(escaped::json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_stands_anywhere_among_what_is_logged_and_once() {
        for (log, as_json, filter) in [
            ("debug", false, "debug"),
            ("json", true, DEFAULT_LOG),
            ("text", false, DEFAULT_LOG),
            ("json,warn,larder=debug", true, "warn,larder=debug"),
            ("warn, json ,larder=debug", true, "warn,larder=debug"),
            ("larder::json=debug", false, "larder::json=debug"),
        ] {
            assert_eq!(read(log).unwrap(), (as_json, filter.to_owned()), "{log}");
        }
        assert!(read("json,text").is_err());
    }
}
