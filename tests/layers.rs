//! Keeps the layers of `src/lib.rs`: a room imports from its own layer or from below, rooms of layer 2
//! are ignorant of each other, layers 0 and 1 do no I/O, and tokio and hyper are named from layer 4 up.
//!
//! Reads the source as text: every path that starts with `crate`, `super` or `std`, in an import or in the
//! midst of code, outside comments, strings and `#[cfg(test)]` items. `checker_*` plant violations.

use std::fs;
use std::path::Path;

/// Every room and its layer; the longest path that fits a module decides.
const LAYERS: [(&str, u8); 21] = [
    ("time", 0),
    ("key", 0),
    ("bundle", 0),
    ("archive::object", 1),
    ("store::layout", 1),
    ("http::etag", 1),
    ("http::conditional", 1),
    ("http::range", 1),
    ("archive", 2),
    ("store", 2),
    ("catalogue", 2),
    ("cook", 3),
    ("verify", 3),
    ("gc", 3),
    ("fsck", 3),
    ("access", 3),
    ("kitchen", 4),
    ("http", 5),
    ("cli", 6),
    ("config", 6),
    ("main", 6),
];

/// The lowest layer that may name one of [`ASYNC_CRATES`].
const ASYNC_LAYER: u8 = 4;
const ASYNC_CRATES: [&str; 3] = ["tokio", "hyper", "hyper_util"];

/// The highest layer that is pure, and the modules of `std` that it does without.
const PURE_LAYER: u8 = 1;
const IMPURE: [&str; 4] = ["env", "fs", "net", "process"];

#[test]
fn imports_point_down_only() {
    let mut files = Vec::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.len() > 15, "found the source of {} modules only", files.len());
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn checker_finds_what_is_planted() {
    let cases = [
        ("key.rs", "use crate::store::Store;", "key (layer 0) imports store (layer 2)"),
        ("archive/object.rs", "use super::Reader;", "archive::object (layer 1) imports archive (layer 2)"),
        ("archive/git.rs", "fn f() { crate::store::open() }", "archive::git (layer 2) imports its sibling store"),
        ("catalogue/claim.rs", "use crate::{key::BundleKey, archive::Archive};", "imports its sibling archive"),
        ("catalogue/mod.rs", "use crate::{key, cook::{self, flat}};", "catalogue (layer 2) imports cook (layer 3)"),
        ("cook/flat/walk.rs", "use super::super::super::http::Server;", "imports http (layer 5)"),
        ("store/draft.rs", "pub(in crate::store) fn f() {} use super::super::cli as c;", "imports cli (layer 6)"),
        ("cook/mod.rs", "use tokio::fs;", "cook (layer 3) names tokio"),
        ("http/range.rs", "fn f(x: &hyper::Request<()>) {}", "http::range (layer 1) names hyper"),
        ("kitchen/mod.rs", "use\n    crate :: http\n ::server;", "kitchen (layer 4) imports http (layer 5)"),
        ("store/layout.rs", "use std::{io, fs::{self, File}};", "store::layout (layer 1) is pure, and names std::fs"),
        ("key.rs", "fn f() { std::process::exit(1) }", "key (layer 0) is pure, and names std::process"),
        ("shelf.rs", "", "shelf is in no layer"),
        ("key.rs", "use crate::shelf::x;", "imports shelf, which is in no layer"),
        ("key.rs", "use r#crate::x; const C: char = '\"'; use crate::cli;", "imports cli (layer 6)"),
        ("key.rs", "/* /* */ \" */ use crate::cli;", "imports cli (layer 6)"),
        ("key.rs", "#[cfg(test)] mod tests { } use crate::cli;", "imports cli (layer 6)"),
        ("key.rs", "fn f<'a>(x: &'a str) { crate::cli::run('\\'') }", "imports cli (layer 6)"),
        ("main.rs", "mod inner { use crate::shelf; }", "imports shelf, which is in no layer"),
    ];
    for (path, text, expected) in cases {
        let found = violations(&[(path.to_owned(), text.to_owned())]);
        assert!(found.iter().any(|line| line.contains(expected)), "{path}: {text}: {found:?}");
    }
}

#[test]
fn checker_passes_what_is_allowed() {
    let cases = [
        ("lib.rs", "pub mod key; pub mod http;"),
        ("main.rs", "use larder::cli; fn main() {}"),
        ("cook/mod.rs", "use crate::archive::{Archive, object}; use crate::{bundle::Failure, key};"),
        ("archive/git.rs", "use super::object; use super::{Archive, Reader}; use crate::key::Sha1Git;"),
        ("store/mod.rs", "use crate::archive::object::check;"),
        ("http/mod.rs", "use crate::kitchen::Kitchen; use hyper::body::Body; use tokio::net::TcpListener;"),
        ("store/layout.rs", "use std::path::Path; use std::{fmt, io};"),
        ("store/draft.rs", "use std::fs::File;"),
        ("http/route/mod.rs", "mod a { use super::super::server; }"),
        (
            "key.rs",
            "// use crate::cli;\n/* crate::cli */ /// crate::cli\nconst S: &str = \"crate::cli \\\" crate::cli\";",
        ),
        ("key.rs", "const S: &str = r#\"crate::cli \" crate::cli\"#; const B: &[u8] = b\"tokio::x\";"),
        ("key.rs", "#[cfg(test)]\nmod tests { use crate::cli; fn f() { \"}\"; } } const X: u8 = 0;"),
        ("key.rs", "#[cfg(test)] use crate::store::Store; #[cfg(test)]\n#[path = \"x\"] mod tests;"),
        ("key.rs", "mod a { use super::ParseError; }"),
        ("key.rs", "fn hyperbole() {} struct Tokio; use my_hyper::x; let hyper = 1;"),
    ];
    for (path, text) in cases {
        let found = violations(&[(path.to_owned(), text.to_owned())]);
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

/// Every breach in `files`, which are (path below `src/`, text), as a line for a reader.
fn violations(files: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        let module = module_of(path);
        if module.is_empty() {
            continue; // lib.rs is the map itself
        }
        let Some((_, layer)) = room(&module) else {
            found.push(format!("src/{path}: {} is in no layer", module.join("::")));
            continue;
        };
        let name = format!("src/{path}: {} (layer {layer})", module.join("::"));
        let tokens = without_tests(&tokens(text));
        for target in imports(&module, &tokens) {
            found.extend(judge(&module, layer, &target).map(|fault| format!("{name} {fault}")));
        }
        if layer < ASYNC_LAYER {
            let named = ASYNC_CRATES.iter().filter(|&&name| names_crate(&tokens, name));
            found.extend(named.map(|crate_name| format!("{name} names {crate_name}")));
        }
    }
    found
}

/// What is wrong with an import of `target` in `module`, which is of `layer`.
fn judge(module: &[String], layer: u8, target: &[String]) -> Option<String> {
    let first = target.first()?;
    if first == "std" {
        let impure = target.get(1).filter(|name| layer <= PURE_LAYER && IMPURE.contains(&name.as_str()));
        return impure.map(|name| format!("is pure, and names std::{name}"));
    }
    let Some((target_room, target_layer)) = room(target) else {
        return Some(format!("imports {first}, which is in no layer"));
    };
    if target_layer > layer {
        return Some(format!("imports {target_room} (layer {target_layer})"));
    }
    let sibling = target_layer == 2 && layer == 2 && module.first() != Some(first);
    sibling.then(|| format!("imports its sibling {target_room}"))
}

/// The room a module path lies in, and its layer.
fn room(module: &[String]) -> Option<(&'static str, u8)> {
    let fits = |room: &str| room.split("::").enumerate().all(|(i, part)| module.get(i).is_some_and(|m| m == part));
    LAYERS.into_iter().filter(|(room, _)| fits(room)).max_by_key(|(room, _)| room.len())
}

/// `archive/git.rs` and `archive/git/mod.rs` are `archive::git`; `lib.rs` is the root, which is empty.
fn module_of(path: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/').filter(|part| !matches!(*part, "mod" | "lib"));
    parts.map(str::to_owned).collect()
}

/// The module paths, from the root of the crate, that `tokens` of `module` name.
///
/// A path may lead on into a type or a function: [`room`] takes the part that it knows.
fn imports(module: &[String], tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // Inline modules open at this place: the depth of braces where each closes, and its name.
    let mut inner: Vec<(usize, String)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        match token {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inner.pop_if(|(end, _)| *end == depth);
            }
            "mod" if tokens.get(at + 2).is_some_and(|next| next == "{") => {
                inner.push((depth, tokens[at + 1].clone()));
            }
            "crate" | "super" | "std" if at == 0 || tokens[at - 1] != "::" => {
                let here = module.iter().chain(inner.iter().map(|(_, name)| name)).cloned().collect();
                at = expand(tokens, at, here, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or the tree of paths at `at`, beginning from the module `base`; adds each to `found`
/// and gives the place after it.
fn expand(tokens: &[String], mut at: usize, mut base: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("crate") => base.clear(),
            Some("std") => base = vec!["std".to_owned()],
            Some("super") => drop(base.pop()),
            Some("self") => {}
            Some("{") => return expand_group(tokens, at + 1, &base, found),
            Some(name) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => base.push(name.to_owned()),
            // `*`, or something that is no path: what was read so far is what is named.
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|next| next != "::") {
            break;
        }
        at += 1;
    }
    found.push(base);
    at
}

/// The members of `{a, b::c}`, up to the brace that ends it.
fn expand_group(tokens: &[String], mut at: usize, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "}" => return at + 1,
            "," | "*" => at += 1,
            "as" => at += 2,
            _ => {
                let before = at;
                at = expand(tokens, at, base.to_vec(), found).max(before + 1);
            }
        }
    }
    at
}

/// Whether a crate is named: at the head of a path or after `use` or `extern crate`.
fn names_crate(tokens: &[String], name: &str) -> bool {
    tokens.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).map(|i| tokens[i].as_str());
        let heads_path = tokens.get(at + 1).is_some_and(|next| next == "::") && before != Some("::");
        token == name && (heads_path || matches!(before, Some("use" | "crate")))
    })
}

/// `tokens` without the items under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        if rest.len() >= MARK.len() && rest.iter().zip(MARK).all(|(token, mark)| token == mark) {
            rest = &rest[MARK.len()..];
            rest = &rest[item_length(rest)..];
        } else {
            kept.push(token.clone());
            rest = after;
        }
    }
    kept
}

/// The number of tokens up to the end of an item: a `;`, or the brace that closes its first one.
fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" if depth <= 1 && tokens.get(at + 1).is_none_or(|next| next != ";") => return at + 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the block comment that `text` begins with; they nest.
fn comment_length(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string, character or lifetime that `text` begins with.
fn literal_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|p| text.strip_prefix(p).is_some_and(|rest| rest.starts_with(['"', '#', '\''])));
    let body = &text[prefix.map_or(0, str::len)..];
    let raw = prefix.is_some_and(|p| p.ends_with('r'));
    let length = if raw {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inside = body[hashes..].strip_prefix('"')?; // `r#crate` is a raw identifier
        let close = format!("\"{}", "#".repeat(hashes));
        hashes + 1 + inside.find(&close).map_or(inside.len(), |at| at + close.len())
    } else if let Some(inside) = body.strip_prefix('"') {
        1 + quoted_length(inside, '"')
    } else if let Some(inside) = body.strip_prefix('\'') {
        let mut chars = inside.chars();
        let is_char = chars.next() == Some('\\') || chars.next() == Some('\'');
        if is_char { 1 + quoted_length(inside, '\'') } else { 1 }
    } else {
        return None;
    };
    Some(prefix.map_or(0, str::len) + length)
}

/// The length up to and with the closing quote, escapes heeded.
fn quoted_length(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    inside.len()
}

/// Every `.rs` file below `dir`, as (path below `src/`, text).
fn read_sources(dir: &Path, below: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("src can be read") {
        let entry = entry.expect("src can be read");
        let name = entry.file_name().into_string().expect("names of source files are UTF-8");
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type().expect("the type of a file").is_dir() {
            read_sources(&entry.path(), &path, files);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push((path, fs::read_to_string(entry.path()).expect("a source file can be read")));
        }
    }
}
