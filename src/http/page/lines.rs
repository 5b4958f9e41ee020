//! Lines to take along: how a bundle is fetched, checked and depended on with the tools that people have.

use crate::bodies::Base;
use crate::digest::base64;
use crate::key::{BundleKey, Family, Format, ObjectKind};
use maud::{Markup, html};

/// A tool and what it is told.
struct Recipe {
    tool: &'static str,
    lines: String,
}

/// The section with all of them. `digest_comes` says that the SHA-256 will be known in a moment.
pub(super) fn lines(base: &Base, key: &BundleKey, sha256: Option<[u8; 32]>, digest_comes: bool) -> Markup {
    html! {
        section aria-labelledby="lines" {
            h2 id="lines" { "To take along" }
            @for recipe in recipes(base, key, sha256.as_ref()) {
                h3 { (recipe.tool) }
                pre.lines data-copy="" { (recipe.lines) }
            }
            @if digest_comes {
                p.aside data-again="" { "The lines for Guix, Nix and Bazel come in a moment, with the SHA-256." }
            }
        }
    }
}

fn recipes(base: &Base, key: &BundleKey, sha256: Option<&[u8; 32]>) -> Vec<Recipe> {
    let (url, file) = (base.bundle(key), key.file_name());
    let mut recipes = vec![
        Recipe { tool: "curl", lines: format!("curl -f -OJ {}", quoted(&url)) },
        Recipe { tool: "larder, verified", lines: format!("larder get {}", quoted(&url)) },
        Recipe { tool: "Verify a file that you have", lines: verify(base, key) },
    ];
    if let Some(lines) = unpacked(key, &file) {
        recipes.push(Recipe { tool: "git", lines });
    }
    let is_pinned = key.format().is_immutable() && !matches!(key.format().family(), Family::History(_));
    if let Some(sha256) = sha256.filter(|_| is_pinned) {
        let integrity = format!("sha256-{}", base64(sha256));
        recipes.push(Recipe {
            tool: "Guix",
            lines: format!(
                "(origin\n  (method url-fetch)\n  (uri \"{url}\")\n  (file-name \"{file}\")\n  (sha256\n   (base32 \"{}\")))",
                nix_base32(sha256)
            ),
        });
        recipes.push(Recipe {
            tool: "Nix",
            lines: format!("fetchurl {{\n  url = \"{url}\";\n  hash = \"{integrity}\";\n}}"),
        });
        let (rule, strip) = match key.format().family() {
            Family::Flat(_) => ("http_archive", "\n    strip_prefix = \"source\","),
            Family::Raw | Family::History(_) => ("http_file", ""),
        };
        recipes.push(Recipe {
            tool: "Bazel",
            lines: format!(
                "{rule}(\n    name = \"source\",\n    urls = [\"{url}\"],\n    integrity = \"{integrity}\",{strip}\n)"
            ),
        });
    }
    recipes
}

/// The flat bundle of a revision or a release is that of its directory: what leads there is the proof.
fn verify(base: &Base, key: &BundleKey) -> String {
    let (file, swhid) = (key.file_name(), key.swhid());
    let needs_proof = key.format().is_flat() && matches!(key.kind(), ObjectKind::Revision | ObjectKind::Release);
    if !needs_proof {
        return format!("larder verify {file} {swhid}");
    }
    let proof = base.url(&format!("/vault/{}/{}/proof", key.kind(), key.id()));
    format!("curl -f -o proof {}\nlarder verify {file} {swhid} --proof proof", quoted(&proof))
}

/// How git takes a history.
fn unpacked(key: &BundleKey, file: &str) -> Option<String> {
    let folder = file.strip_suffix(&format!(".{}", key.format())).unwrap_or(file);
    match key.format() {
        Format::Bundle => Some(format!("git clone {file} project")),
        Format::GitTar => Some(format!("tar -xf {file}\ngit clone {folder}.git project")),
        Format::Gitfast => Some(format!("git init project\nzcat {file} | git -C project fast-import")),
        Format::TarGz | Format::Tar | Format::TarZst | Format::Zip | Format::Raw => None,
    }
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-~".contains(&byte)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Nix's and Guix's own base 32: another alphabet, and the last bits first.
fn nix_base32(digest: &[u8; 32]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let bits = |bit: usize| {
        let (byte, shift) = (bit / 8, bit % 8);
        let low = u16::from(digest[byte]);
        let high = digest.get(byte + 1).map_or(0, |byte| u16::from(*byte));
        usize::from((high << 8 | low) >> shift & 31)
    };
    (0..52).rev().map(|digit| char::from(DIGITS[bits(digit * 5)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn base_32_is_that_of_nix() {
        // nix-hash --type sha256 --to-base32 of the digest of no bytes.
        let digest = <sha2::Sha256 as sha2::Digest>::digest([]).into();
        assert_eq!(nix_base32(&digest), "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
    }

    #[test]
    fn each_kind_of_bundle_has_the_lines_that_fit_it() {
        let base = Base::new("https://bundles.example.org", "");
        let tools = |key: &str, digest: Option<[u8; 32]>| {
            let key = key.parse().unwrap();
            recipes(&base, &key, digest.as_ref()).into_iter().map(|recipe| recipe.tool).collect::<Vec<_>>()
        };
        let first = ["curl", "larder, verified", "Verify a file that you have"];
        let with = |more: &[&'static str]| [&first[..], more].concat();
        let digest = Some([7; 32]);
        assert_eq!(tools(&format!("revision/{ID}.zip"), digest), with(&["Guix", "Nix", "Bazel"]));
        assert_eq!(tools(&format!("revision/{ID}.zip"), None), first);
        assert_eq!(tools(&format!("content/{ID}"), digest), with(&["Guix", "Nix", "Bazel"]));
        for history in ["bundle", "git.tar", "gitfast.gz"] {
            assert_eq!(tools(&format!("revision/{ID}.{history}"), digest), with(&["git"]), "{history}");
        }
        let proof = |key: &str| verify(&base, &key.parse().unwrap()).contains("--proof");
        assert!(proof(&format!("revision/{ID}.tar")) && proof(&format!("release/{ID}.zip")));
        assert!(!proof(&format!("directory/{ID}.tar")) && !proof(&format!("revision/{ID}.bundle")));
    }

    #[test]
    fn a_url_is_one_word_of_a_shell() {
        assert_eq!(quoted("https://x.example/a_b-c~1"), "https://x.example/a_b-c~1");
        assert_eq!(quoted("https://x.example/a'&$(b)"), "'https://x.example/a'\\''&$(b)'");
    }
}
