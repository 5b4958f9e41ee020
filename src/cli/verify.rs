//! `larder verify`: whether a file is the bundle of an object, by its bytes alone. Owns how the format
//! is told from the file, and the exit codes; opens no store and no catalogue.

use super::output::format_of_name;
use crate::escaped::Escaped;
use crate::key::{Format, ObjectKind, Swhid};
use crate::verify::{self, Checked, Differs, Input, Proof, VerifyError};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The file is whole, and a bundle of something else.
const DIFFERS: u8 = 4;

/// The file is not a bundle as larder writes it.
const DAMAGED: u8 = 5;

const TEMPLATE: &str = "verifying {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}";
const SPINNER: &str = "{spinner} verifying, {elapsed}";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundle; - is standard input
    file: PathBuf,
    /// What it is to be the bundle of: swh:1:dir:ID
    swhid: Swhid,
    /// What leads from a revision or a release to its directory, or a snapshot's manifest: what the server gives
    /// as /vault/KIND/ID/proof
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Its format, where neither its name nor its first bytes are to say
    #[arg(long, value_name = "EXT")]
    format: Option<Format>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// What was found, for programs.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    format: &'static str,
    verified: bool,
    expected: String,
    /// The id of the directory or the content that was found; none for a history, which has many.
    recomputed: Option<String>,
    /// How many objects were found in a history.
    objects: Option<u64>,
    error: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let proof = args.proof.as_deref().map(read_proof).transpose()?;
    let (format, checked) = check(args)?;
    let needs_proof = matches!(checked, Ok(Checked::Directory(_)))
        && proof.is_none()
        && matches!(args.swhid.kind, ObjectKind::Revision | ObjectKind::Release);
    if needs_proof {
        usage(&format!(
            "a {format} bundle of a {} is checked against its proof: give it with --proof",
            args.swhid.kind
        ));
    }
    let (code, error) = match &checked {
        Err(error @ (VerifyError::Read(_) | VerifyError::Unsupported(_))) => (1, Some(error.to_string())),
        Err(error) => (DAMAGED, Some(error.to_string())),
        Ok(found) => match verify::agrees(found, format, &args.swhid, proof.as_ref()) {
            Ok(()) => (0, None),
            Err(differs @ Differs::Proof(_)) => (DAMAGED, Some(differs.to_string())),
            Err(differs) => (DIFFERS, Some(differs.to_string())),
        },
    };
    let (recomputed, objects) = match &checked {
        Ok(Checked::Directory(id)) => (Some(Swhid { kind: ObjectKind::Directory, id: *id }), None),
        Ok(Checked::Content(id)) => (Some(Swhid { kind: ObjectKind::Content, id: *id }), None),
        Ok(Checked::History(history)) => (None, Some(history.objects)),
        Err(_) => (None, None),
    };
    if args.json {
        super::print_json(&Report {
            file: &args.file,
            format: format.ext(),
            verified: error.is_none(),
            expected: args.swhid.to_string(),
            recomputed: recomputed.map(|swhid| swhid.to_string()),
            objects,
            error: error.clone(),
        })?;
    }
    match error {
        Some(error) => super::complain(Escaped(format_args!("{}: {error}", args.file.display()))),
        None if args.json => {}
        None => {
            let file = Escaped(args.file.display());
            super::print(&format!("{file}: verified as {} ({format})\n", args.swhid))?;
        }
    }
    Ok(code.into())
}

/// Ends the program as clap does where the command line is wrong.
fn usage(message: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, format!("{message}\n")).exit()
}

fn read_proof(path: &Path) -> anyhow::Result<Proof> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Proof::read(file).with_context(|| format!("in {}", path.display()))
}

/// The format, and what reading the whole file came to.
fn check(args: &Args) -> anyhow::Result<(Format, Result<Checked, VerifyError>)> {
    let of_name = args.format.or_else(|| format_of_name(&args.file));
    if args.file == Path::new("-") {
        let (format, mut input) = recognize(io::stdin().lock(), of_name, args.swhid.kind)?;
        if !verify::is_streaming(format) {
            usage(&format!("a {format} bundle is read from a file, not from standard input"));
        }
        return Ok((format, verify::bundle(format, Input::Stream(&mut input))));
    }
    let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let size = file.metadata().with_context(|| format!("cannot look at {}", args.file.display()))?.len();
    let format = recognize(&file, of_name, args.swhid.kind)?.0;
    if !verify::is_streaming(format) {
        // It is read here and there: how far that is cannot be told in bytes.
        let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(200));
        let style = ProgressStyle::with_template(SPINNER).expect("because a test builds it from the same constant");
        bar.set_style(style);
        let checked = verify::bundle(format, Input::File(&file));
        bar.finish_and_clear();
        return Ok((format, checked));
    }
    io::Seek::rewind(&mut &file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new(size) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
    let bar = bar.with_style(style);
    let checked = verify::bundle(format, Input::Stream(&mut bar.wrap_read(&file)));
    bar.finish_and_clear();
    Ok((format, checked))
}

/// How many bytes are looked at to tell a format.
const MAGIC: usize = 4096;

/// The format that was named, or else the one that the first bytes are of; and all the bytes.
fn recognize<R: Read>(
    mut input: R,
    named: Option<Format>,
    kind: ObjectKind,
) -> anyhow::Result<(Format, impl Read + use<R>)> {
    let mut head = Vec::new();
    let format = match named {
        Some(format) => format,
        None if kind == ObjectKind::Content => Format::Raw,
        None => {
            (&mut input).take(MAGIC as u64).read_to_end(&mut head).context("cannot read the bundle")?;
            format_of_bytes(&head)
                .context("neither its name nor its first bytes are those of a bundle: name its --format")?
        }
    };
    Ok((format, io::Cursor::new(head).chain(input)))
}

fn format_of_bytes(head: &[u8]) -> Option<Format> {
    if head.starts_with(&[0x1f, 0x8b]) {
        let mut inflated = [0; 512];
        let mut inflate = flate2::Decompress::new(false);
        // The header of a bundle's gzip has ten bytes. What cannot be inflated is told by verifying it.
        let _ = inflate.decompress(head.get(10..)?, &mut inflated, flate2::FlushDecompress::Sync);
        return Some(if is_tar(&inflated) || inflate.total_out() == 0 { Format::TarGz } else { Format::Gitfast });
    }
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::TarZst),
        [b'P', b'K', 3, 4, ..] => Some(Format::Zip),
        _ if head.starts_with(b"# v2 git bundle\n") => Some(Format::Bundle),
        _ if head.starts_with(b"source/\0") => Some(Format::Tar),
        _ if is_tar(head) => Some(Format::GitTar),
        _ => None,
    }
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_progress_bar_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_format_is_told_from_the_longest_extension() {
        for format in Format::ALL {
            assert_eq!(format_of_name(Path::new(&format!("/a/b.{format}"))), Some(format));
        }
        for name in ["tar.gz", "x.targz", "x.TAR", "-", "x.tar.gz.part"] {
            assert_eq!(format_of_name(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_format_is_told_from_the_first_bytes() {
        let mut tar = vec![0; 512];
        tar[..7].copy_from_slice(b"source/");
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(format_of_bytes(&tar), Some(Format::Tar));
        tar[..1].copy_from_slice(b"x");
        assert_eq!(format_of_bytes(&tar), Some(Format::GitTar));
        for (head, format) in [
            (&b"PK\x03\x04"[..], Some(Format::Zip)),
            (b"\x28\xb5\x2f\xfd", Some(Format::TarZst)),
            (b"# v2 git bundle\n", Some(Format::Bundle)),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", Some(Format::TarGz)),
            (b"\x1f\x8b", None),
            (b"", None),
            (b"feature done\n", None),
        ] {
            assert_eq!(format_of_bytes(head), format, "{head:?}");
        }
    }
}
