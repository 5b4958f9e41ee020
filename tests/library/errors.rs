//! How errors are made: what one says of its cause, it says once.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The texts of `#[error("...")]`, each with the fields of its variant.
fn errors(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for part in text.split("#[error(").skip(1) {
        let end = part.find(")]").unwrap_or(part.len());
        let (said, fields) = part.split_at(end);
        // As far as the next variant, or the end of the type.
        let end = fields.find("\n    },").or_else(|| fields.find("),\n")).or_else(|| fields.find("\n}"));
        found.push((said, &fields[..end.unwrap_or(fields.len())]));
    }
    found
}

/// Who prints an error prints its chain of causes, `a: b: c`. One that says its cause and has it as a
/// `source` too would say it twice.
fn says_twice(said: &str, fields: &str) -> bool {
    let is_source = |mark: &str| fields.contains(mark);
    said.contains("{source}") || said.contains("{0}") && (is_source("#[from]") || is_source("#[source]"))
}

#[test]
fn no_error_that_says_its_cause_has_it_as_a_source_too() {
    let (mut files, mut count) = (Vec::new(), 0);
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (said, fields) in errors(&text) {
            count += 1;
            assert!(!says_twice(said, fields), "{}: {said}", file.display());
        }
    }
    assert!(count > 100, "only {count} errors were found");
    assert!(says_twice("\"look: {0}\"", "\n    Store(#[from] io::Error"));
    assert!(!says_twice("transparent", "\n    Store(#[from] io::Error"));
}
