//! Keeps the one owner of files and rows: what the catalogue does to files in a transaction it is told by a
//! closure, and `clippy.toml` keeps every method that takes one to `src/bundles/`. clippy knows the types;
//! this knows which methods they are.

use super::{read_sources, tokens};
use std::fs;
use std::path::Path;

#[test]
fn every_method_of_the_catalogue_that_is_told_what_to_do_with_files_is_kept_to_bundles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = fs::read_to_string(root.join("clippy.toml")).unwrap();
    let mut files = Vec::new();
    read_sources(&root.join("src"), "", &mut files);
    let mut found = Vec::new();
    for (_, text) in files.iter().filter(|(path, _)| path.starts_with("catalogue/")) {
        found.extend(told(&tokens(text)));
    }
    assert!(found.len() > 5, "found {found:?} only");
    for name in found {
        assert!(kept.contains(&format!("catalogue::Catalogue::{name}\"")), "clippy.toml does not name {name}");
    }
}

#[test]
fn checker_finds_methods_that_are_told_and_no_others() {
    let source = "impl C {
        pub fn files(&self, f: impl FnOnce(&Key) -> io::Result<()>) -> Result<(), E> {}
        pub fn many(&self, mut f: impl FnMut(&[Key], u8) -> io::Result<bool>, n: u8) {}
        pub fn rows(&self, f: impl Fn(&str) -> usize) -> io::Result<()> {}
        pub fn none(&self) -> io::Result<()> {}
        fn private(&self, f: impl FnOnce() -> io::Result<()>) {}
    }";
    assert_eq!(told(&tokens(source)), ["files", "many"]);
}

/// The public functions with a closure among their parameters that gives an `io::Result`.
fn told(tokens: &[String]) -> Vec<String> {
    const ANSWER: [&str; 5] = ["-", ">", "io", "::", "Result"];
    let mut found = Vec::new();
    for (at, three) in tokens.windows(3).enumerate() {
        let [public, function, name] = three else { continue };
        if (public.as_str(), function.as_str()) != ("pub", "fn") {
            continue;
        }
        let Some(open) = tokens[at..].iter().position(|token| token == "(") else { continue };
        let mut depth = 0_usize;
        let end = tokens[at + open..].iter().position(|token| {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let parameters = &tokens[at + open..at + open + end.unwrap_or(0)];
        if parameters.windows(ANSWER.len()).any(|some| some.iter().zip(ANSWER).all(|(token, wanted)| token == wanted)) {
            found.push(name.clone());
        }
    }
    found
}
