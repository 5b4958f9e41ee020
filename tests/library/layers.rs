//! Keeps the layers of `src/lib.rs`: a room imports from its own layer or from below, of another folder only what
//! may import all of that folder; rooms of layer 2 are ignorant of each other, layers 0 and 1 do no I/O but in two rooms, tokio and
//! hyper are named from layer 4 up, and no two folders import each other, by however many others between.
//!
//! Reads the source as text: every path that starts with `crate`, `super`, `std` or an async crate, in an
//! import or in the midst of code, outside comments, strings and what is `#[cfg(test)]`. `checker_*`
//! plant violations.

mod owner;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tokens::tokens;

/// Every room and its layer; the longest path that fits a module decides.
const LAYERS: &[(&str, u8)] = &[
    ("address", 0),
    ("chance", 0),
    ("digest", 0),
    ("time", 0),
    ("key", 0),
    ("bundle", 0),
    ("segment", 0),
    ("limits", 0),
    ("escaped", 0),
    ("task", 0),
    ("metrics", 1),
    ("archive::object", 1),
    ("archive::snapshot", 1),
    ("archive::git::reftable", 1),
    ("store::layout", 1),
    ("http::etag", 1),
    ("http::conditional", 1),
    ("http::range", 1),
    ("archiver::media", 1),
    ("archiver::pattern", 1),
    ("archiver::region::settings", 1),
    ("archiver::request", 1),
    ("archiver::settings", 1),
    ("archiver::source", 1),
    ("archiver::structure", 1),
    ("archiver::template", 1),
    ("archiver::tree", 1),
    ("upstream::settings", 1),
    ("dir", 1),
    ("members", 1),
    ("archive", 2),
    ("store", 2),
    ("catalogue", 2),
    ("checksums", 2),
    ("bundles", 3),
    ("admission", 3),
    ("cook", 3),
    ("verify", 3),
    ("gc", 3),
    ("fsck", 3),
    ("sweep", 3),
    ("access", 3),
    ("origins", 3),
    ("bodies", 3),
    ("blocking", 4),
    ("kitchen", 4),
    ("housekeeping", 4),
    ("archiver", 4),
    ("get", 4),
    ("upstream", 4),
    ("http", 5),
    ("cli", 6),
    ("config", 6),
    ("main", 6),
];

/// What only these may import: the command that starts the server is all that knows of the server.
const ONLY: &[(&str, &str)] = &[("http", "cli::serve")];

/// The lowest layer that may name one of [`ASYNC`].
const ASYNC_LAYER: u8 = 4;
const ASYNC: [&str; 3] = ["tokio", "hyper", "hyper_util"];

/// What the pure rooms of `http` may take from hyper: plain data, which are not hyper's own but those
/// of the crate beneath it.
const PLAIN: [&str; 6] = ["header", "HeaderMap", "Method", "StatusCode", "Uri", "Version"];

/// The highest layer that is pure, and the modules of `std` that it does without.
const PURE_LAYER: u8 = 1;
const IMPURE: [&str; 4] = ["env", "fs", "net", "process"];

/// What in layer 1 is not pure: the handles and locks of files, for all that is above.
const FILES: [&str; 2] = ["dir", "members"];

/// What only `members` may name outside tests: every `flock` is there.
const LOCKS: [&str; 5] = ["TryLockError", "FlockOperation", "lock_shared", "try_lock_shared", "fcntl_lock"];

#[test]
fn imports_point_down_only() {
    let mut files = Vec::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.len() > 15, "found the source of {} modules only", files.len());
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let circle = circle(&files);
    assert!(circle.is_empty(), "folders in a circle: {}", circle.join(" -> "));
}

#[test]
fn checker_finds_circles_of_folders() {
    let case =
        |files: &[(&str, &str)]| circle(&files.iter().map(|(p, t)| ((*p).into(), (*t).into())).collect::<Vec<_>>());
    let (cook, verify) = (("cook/a.rs", "use crate::verify::x;"), ("verify/mod.rs", "use crate::{gc::y, key};"));
    assert!(case(&[cook, verify, ("gc.rs", "use super::key;")]).is_empty());
    let found = case(&[cook, verify, ("gc.rs", "fn f() { crate::cook::z() }")]);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!((found.first(), found.contains(&"gc".to_owned())), (found.last(), true), "{found:?}");
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
        ("http/etag.rs", "use hyper::{HeaderMap, body::Incoming};", "http::etag (layer 1) names hyper"),
        ("store/mod.rs", "use hyper::StatusCode;", "store (layer 2) names hyper"),
        ("cook/mod.rs", "use tokio;", "cook (layer 3) names tokio"),
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
        ("catalogue/read.rs", "use crate::archiver::request::Ask;", "imports archiver::request of archiver (layer 4)"),
        ("get/check.rs", "use crate::http::range::x;", "imports http::range of http (layer 5)"),
        ("cli/list.rs", "use crate::http::vault;", "imports http, as only cli::serve may"),
        ("catalogue/migrate.rs", "fn f() { file.lock_shared() }", "names lock_shared, as only members may"),
        ("gc/lock.rs", "use std::fs::{File, TryLockError};", "names TryLockError, as only members may"),
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
        ("http/mod.rs", "use crate::kitchen::Orders; use hyper::body::Body; use tokio::net::TcpListener;"),
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
        ("archive/object/hash.rs", "pub(super) fn f() {} pub(in crate::archive) fn g() {}"),
        ("http/conditional.rs", "use hyper::header::{self, HeaderName}; use hyper::{HeaderMap, Method};"),
        ("cli/serve.rs", "use crate::http::server;"),
        ("members/lock.rs", "use std::fs::{File, TryLockError};"),
        ("store/mod.rs", "use crate::members::Members; #[cfg(test)] mod tests { use std::fs::TryLockError; }"),
        ("key.rs", "fn hyperbole() {} struct Tokio; use my_hyper::x; let hyper = 1;"),
    ];
    for (path, text) in cases {
        let found = violations(&[(path.to_owned(), text.to_owned())]);
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

#[test]
fn checker_leaves_out_test_modules_in_files_of_their_own() {
    let files = [
        ("key.rs", "#[cfg(test)]\nmod table;\nmod real;"),
        ("key/table.rs", "use crate::cli;"),
        ("key/parse.rs", "#[cfg(test)] #[path = \"parse_tests.rs\"] mod tests;"),
        ("key/parse_tests.rs", "use crate::cli;"),
        ("key/real.rs", "use crate::cli;"),
    ];
    let found = violations(&files.map(|(path, text)| (path.to_owned(), text.to_owned())));
    assert_eq!(found, ["src/key/real.rs: key::real (layer 0) imports cli (layer 6)"]);
}

/// Every breach in `files`, which are (path below `src/`, text), as a line for a reader.
fn violations(files: &[(String, String)]) -> Vec<String> {
    let tests = test_modules(files);
    let mut found = Vec::new();
    for (path, text) in files {
        let module = module_of(path);
        // lib.rs is the map itself.
        if module.is_empty() || tests.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let Some((_, layer)) = room(&module) else {
            found.push(format!("src/{path}: {} is in no layer", module.join("::")));
            continue;
        };
        let name = format!("src/{path}: {} (layer {layer})", module.join("::"));
        let (tokens, _) = without_tests(&tokens(text));
        let locks = tokens.iter().filter(|token| module[0] != "members" && LOCKS.contains(&token.as_str()));
        found.extend(locks.map(|lock| format!("{name} names {lock}, as only members may")));
        for target in imports(&module, &tokens) {
            found.extend(judge(&module, layer, &target).map(|fault| format!("{name} {fault}")));
        }
    }
    found
}

/// What is wrong with an import of `target` in `module`, which is of `layer`.
fn judge(module: &[String], layer: u8, target: &[String]) -> Option<String> {
    let first = target.first()?;
    if first == "std" {
        let pure = layer <= PURE_LAYER && !FILES.contains(&module[0].as_str());
        let impure = target.get(1).filter(|name| pure && IMPURE.contains(&name.as_str()));
        return impure.map(|name| format!("is pure, and names std::{name}"));
    }
    if ASYNC.contains(&first.as_str()) {
        let plain =
            first == "hyper" && module[0] == "http" && target.get(1).is_some_and(|x| PLAIN.contains(&x.as_str()));
        return (layer < ASYNC_LAYER && !plain).then(|| format!("names {first}"));
    }
    let Some((target_room, target_layer)) = room(target) else {
        return Some(format!("imports {first}, which is in no layer"));
    };
    if target_layer > layer {
        return Some(format!("imports {target_room} (layer {target_layer})"));
    }
    let folder = |path: &[String]| room(&path[..1]).map_or(0, |(_, layer)| layer);
    if folder(target) > folder(module) {
        return Some(format!("imports {target_room} of {first} (layer {})", folder(target)));
    }
    if let Some((_, only)) =
        ONLY.iter().find(|(room, only)| room == first && module[0] != *room && module.join("::") != *only)
    {
        return Some(format!("imports {first}, as only {only} may"));
    }
    let sibling = target_layer == 2 && layer == 2 && module.first() != Some(first);
    sibling.then(|| format!("imports its sibling {target_room}"))
}

/// Folders that import each other in a circle, the first again as the last; empty when there are none.
fn circle(files: &[(String, String)]) -> Vec<String> {
    let tests = test_modules(files);
    let mut below = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, text) in files {
        let module = module_of(path);
        if module.is_empty() || tests.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let targets = imports(&module, &without_tests(&tokens(text)).0);
        let rooms = targets.into_iter().filter_map(|target| target.into_iter().next());
        below.entry(module[0].clone()).or_default().extend(rooms.filter(|room| *room != module[0]));
    }
    // Whoever imports nothing that is left is in no circle: what stays when they are taken away is.
    while let Some(free) = below.keys().find(|room| below[*room].iter().all(|next| !below.contains_key(next))).cloned()
    {
        below.remove(&free);
    }
    let mut way: Vec<String> = below.keys().take(1).cloned().collect();
    while let Some(next) =
        way.last().and_then(|last| below[last].iter().find(|next| below.contains_key(*next))).cloned()
    {
        let begin = way.iter().position(|room| *room == next);
        way.push(next);
        if let Some(begin) = begin {
            return way.split_off(begin);
        }
    }
    way
}

/// The room a module path lies in, and its layer.
fn room(module: &[String]) -> Option<(&'static str, u8)> {
    let fits = |room: &str| room.split("::").enumerate().all(|(i, part)| module.get(i).is_some_and(|m| m == part));
    LAYERS.iter().copied().filter(|(room, _)| fits(room)).max_by_key(|(room, _)| room.len())
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
            _ if heads_path(tokens, at) => {
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

/// Whether the token at `at` begins a path that counts. `pub(super)` and `pub(in crate::x)` import nothing.
fn heads_path(tokens: &[String], at: usize) -> bool {
    let token = tokens[at].as_str();
    let before = |n: usize| at.checked_sub(n).map(|i| tokens[i].as_str());
    let leads_on = tokens.get(at + 1).is_some_and(|next| next == "::") || matches!(before(1), Some("use" | "crate"));
    (matches!(token, "crate" | "super" | "std") || ASYNC.contains(&token))
        && leads_on
        && before(1) != Some("::")
        && (before(1), before(2), before(3)) != (Some("in"), Some("("), Some("pub"))
}

/// Reads the path or the tree of paths at `at`, beginning from the module `base`; adds each to `found`
/// and gives the place after it.
fn expand(tokens: &[String], mut at: usize, mut base: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("crate") => base.clear(),
            Some(name) if name == "std" || ASYNC.contains(&name) => base = vec![name.to_owned()],
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

/// The modules that lie in files of their own and are declared under `#[cfg(test)]`.
fn test_modules(files: &[(String, String)]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (path, text) in files {
        let (_, tests) = without_tests(&tokens(text));
        for item in tests {
            let words: Vec<_> = item.iter().map(String::as_str).collect();
            match words.as_slice() {
                [.., "path", "=", file, "]", "mod", _, ";"] => {
                    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                    found.push(module_of(&(folder + file.trim_matches('"'))));
                }
                [.., "mod", name, ";"] => found.push([module_of(path), vec![(*name).to_owned()]].concat()),
                _ => {}
            }
        }
    }
    found
}

/// `tokens` without the items under `#[cfg(test)]`, and those items.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<Vec<String>>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut tests) = (Vec::new(), Vec::new());
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        if rest.len() >= MARK.len() && rest.iter().zip(MARK).all(|(token, mark)| token == mark) {
            rest = &rest[MARK.len()..];
            let (item, after) = rest.split_at(item_length(rest));
            tests.push(item.to_vec());
            rest = after;
        } else {
            kept.push(token.clone());
            rest = after;
        }
    }
    (kept, tests)
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
