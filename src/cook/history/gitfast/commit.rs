//! Commits and tags as fast-import makes them: what of one it carries, and its bytes made again from
//! that. Pure; the writer of the format compares with what it read, the reader hashes.
//!
//! **Invariant: what [`Commit::read`] and [`Tag::read`] accept encodes to the bytes that were read**,
//! but for the headers that it says it left out.

use super::ident::{self, Date};
use super::needs::Needs;
use super::signature::Signature;
use crate::archive::ObjectType;
use crate::key::Sha1Git;

/// What a stream says of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    pub(crate) tree: Sha1Git,
    pub(crate) parents: Vec<Sha1Git>,
    pub(crate) author: &'a [u8],
    pub(crate) committer: &'a [u8],
    pub(crate) encoding: Option<&'a [u8]>,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) message: &'a [u8],
}

/// What a stream says of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub(crate) target: Sha1Git,
    pub(crate) target_type: ObjectType,
    pub(crate) name: &'a [u8],
    pub(crate) tagger: Option<&'a [u8]>,
    pub(crate) message: &'a [u8],
}

impl<'a> Commit<'a> {
    /// Reads the content of a commit, and the names of the headers that fast-import has no word for, or
    /// would write in another place.
    ///
    /// # Errors
    /// What else fast-import cannot carry.
    pub(crate) fn read(content: &'a [u8]) -> Result<(Self, Vec<&'a [u8]>), String> {
        let mut rest = content;
        let tree = id_header(&mut rest, b"tree ").ok_or("it does not begin with a tree")?;
        let mut parents = Vec::new();
        while let Some(parent) = id_header(&mut rest, b"parent ") {
            parents.push(parent);
        }
        let author = header(&mut rest, b"author ").ok_or("there is no author behind its parents")?;
        let committer = header(&mut rest, b"committer ").ok_or("there is no committer behind its author")?;
        for (who, person) in [("author", author), ("committer", committer)] {
            ident::check(person).map_err(|reason| format!("{who} \"{}\": {reason}", shown(person)))?;
        }
        let mut kept = content[..content.len() - rest.len()].to_vec();
        let (mut encoding, mut signatures, mut others) = (None, Vec::<(Signature, &[u8])>::new(), Vec::new());
        while rest.first() != Some(&b'\n') {
            let (name, lines) = any_header(&mut rest).ok_or("there is no empty line before its message")?;
            // A value that goes on in a second line cannot be said.
            let value = lines.strip_prefix(b"encoding ").and_then(|value| value.strip_suffix(b"\n"));
            if let Some(value) =
                value.filter(|value| encoding.is_none() && !value.iter().any(|b| matches!(b, 0 | b'\n')))
            {
                // It comes before signatures: those that stand before it are in the wrong place.
                others.extend(signatures.drain(..).map(|(signature, _)| signature.name()));
                encoding = Some(value);
                kept.extend_from_slice(lines);
                continue;
            }
            let is_next = |one: &Signature| signatures.last().is_none_or(|(last, _)| last.is_before(one));
            match Signature::read(lines).filter(is_next) {
                Some(signature) => signatures.push((signature, lines)),
                None => others.push(name),
            }
        }
        for (_, lines) in &signatures {
            kept.extend_from_slice(lines);
        }
        let signatures = signatures.into_iter().map(|(signature, _)| signature).collect();
        let commit = Self { tree, parents, author, committer, encoding, signatures, message: &rest[1..] };
        kept.extend_from_slice(rest);
        if commit.encode() != kept {
            return Err("fast-import would write its headers in another form".to_owned());
        }
        Ok((commit, others))
    }

    /// The content of the commit that fast-import makes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = format!("tree {}\n", self.tree).into_bytes();
        for parent in &self.parents {
            out.extend_from_slice(format!("parent {parent}\n").as_bytes());
        }
        line(&mut out, b"author ", self.author);
        line(&mut out, b"committer ", self.committer);
        if let Some(encoding) = self.encoding {
            line(&mut out, b"encoding ", encoding);
        }
        for signature in &self.signatures {
            signature.encode(&mut out);
        }
        out.push(b'\n');
        out.extend_from_slice(self.message);
        out
    }

    /// What fast-import must be able to do for it.
    pub(crate) fn needs(&self) -> Needs {
        let any_zone = is_odd(self.author) || is_odd(self.committer);
        Needs { any_zone, signatures: !self.signatures.is_empty() }
    }
}

impl<'a> Tag<'a> {
    /// Reads the content of a tag.
    ///
    /// # Errors
    /// What fast-import cannot carry.
    pub(crate) fn read(content: &'a [u8]) -> Result<Self, String> {
        let mut rest = content;
        let target = id_header(&mut rest, b"object ").ok_or("it does not begin with an object")?;
        let target_type = header(&mut rest, b"type ").and_then(object_type).ok_or("its target is of no known type")?;
        let name = header(&mut rest, b"tag ").ok_or("it has no name")?;
        if name.contains(&0) {
            return Err("its name has a NUL".to_owned());
        }
        let tagger = header(&mut rest, b"tagger ");
        if let Some(tagger) = tagger {
            ident::check(tagger).map_err(|reason| format!("tagger \"{}\": {reason}", shown(tagger)))?;
        }
        let message = rest.strip_prefix(b"\n").ok_or_else(|| match any_header(&mut rest) {
            Some((name, _)) => format!("fast-import has no word for its header {}", shown(name)),
            None => "there is no empty line before its message".to_owned(),
        })?;
        let tag = Self { target, target_type, name, tagger, message };
        if tag.encode() != content {
            return Err("fast-import would write its headers in another form".to_owned());
        }
        Ok(tag)
    }

    /// The content of the tag that fast-import makes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = format!("object {}\ntype {}\n", self.target, self.target_type).into_bytes();
        line(&mut out, b"tag ", self.name);
        if let Some(tagger) = self.tagger {
            line(&mut out, b"tagger ", tagger);
        }
        out.push(b'\n');
        out.extend_from_slice(self.message);
        out
    }

    /// What fast-import must be able to do for it.
    pub(crate) fn needs(&self) -> Needs {
        Needs { any_zone: self.tagger.is_some_and(is_odd), ..Needs::default() }
    }
}

/// Whether the date of this person comes through in the permissive form alone.
fn is_odd(person: &[u8]) -> bool {
    ident::check(person) == Ok(Date::Permissive)
}

/// Adds a header.
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Takes the next line if it starts with `name`; its value.
fn header<'a>(rest: &mut &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = rest.strip_prefix(name)?;
    let end = memchr::memchr(b'\n', value)?;
    *rest = &value[end + 1..];
    Some(&value[..end])
}

fn id_header(rest: &mut &[u8], name: &[u8]) -> Option<Sha1Git> {
    let mut ahead = *rest;
    let id = std::str::from_utf8(header(&mut ahead, name)?).ok()?.parse().ok()?;
    *rest = ahead;
    Some(id)
}

/// Takes the next header, its continuation lines too: its name and all its bytes.
fn any_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut end = memchr::memchr(b'\n', rest)? + 1;
    while rest.get(end) == Some(&b' ') {
        end += memchr::memchr(b'\n', &rest[end..])? + 1;
    }
    let (lines, behind) = rest.split_at(end);
    *rest = behind;
    let name = lines.split(|byte| matches!(byte, b' ' | b'\n')).next()?;
    Some((name, lines))
}

fn object_type(word: &[u8]) -> Option<ObjectType> {
    [ObjectType::Blob, ObjectType::Tree, ObjectType::Commit, ObjectType::Tag]
        .into_iter()
        .find(|object_type| object_type.to_string().as_bytes() == word)
}

/// Bytes of somebody's for a message: escaped, and cut when they are long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let dots = if bytes.len() > SHOWN { "..." } else { "" };
    format!("{}{dots}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    const PARENT: &str = "parent ce013625030ba8dba906f756967f9e9ca394464a\n";
    const PEOPLE: &str = "author A <a> 1 +0000\ncommitter C <c> 2 -0130\n";

    #[test]
    fn what_is_read_encodes_to_itself() {
        for (headers, message) in [
            (format!("{TREE}{PEOPLE}"), ""),
            (format!("{TREE}{PARENT}{PARENT}{PEOPLE}encoding \n"), "no newline"),
            (format!("{TREE}{PARENT}{PEOPLE}encoding latin-1\n"), "\n\0nul\n\n"),
        ] {
            let content = format!("{headers}\n{message}");
            let (commit, others) = Commit::read(content.as_bytes()).unwrap();
            assert_eq!((commit.encode(), commit.message), (content.clone().into_bytes(), message.as_bytes()));
            assert!(others.is_empty());
        }
    }

    #[test]
    fn headers_without_a_word_or_in_another_place_are_named_and_left_out() {
        let cases: [(&str, &[&str], &str); 6] = [
            (
                "gpgsig a\n b\n \nencoding x\nHG:extra y\nencoding z\n",
                &["gpgsig", "HG:extra", "encoding"],
                "encoding x\n",
            ),
            ("gpgsig a\ngpgsig-sha256 b\ngpgsig c\n", &["gpgsig"], "gpgsig a\ngpgsig-sha256 b\n"),
            ("gpgsig-sha256 b\ngpgsig a\n", &["gpgsig"], "gpgsig-sha256 b\n"),
            ("gpgsig a\ngpgsig-sha256 b\nencoding x\n", &["gpgsig", "gpgsig-sha256"], "encoding x\n"),
            ("mergetag object x\n type commit\ngpgsig a\n", &["mergetag"], "gpgsig a\n"),
            ("gpgsig a\0\ngpgsig b\n", &["gpgsig"], "gpgsig b\n"),
        ];
        for (headers, left_out, kept) in cases {
            let content = format!("{TREE}{PEOPLE}{headers}\nm\n");
            let (commit, others) = Commit::read(content.as_bytes()).unwrap();
            assert_eq!(others, left_out.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{headers}");
            assert_eq!(commit.encode(), format!("{TREE}{PEOPLE}{kept}\nm\n").into_bytes());
        }
    }

    #[test]
    fn what_is_needed_is_told() {
        let (zone, signature) = ("author A <a> 1 +051800\ncommitter C <c> 2 +0000\n", "gpgsig a\n");
        for (headers, any_zone, signatures) in [
            (PEOPLE.to_owned(), false, false),
            (zone.to_owned(), true, false),
            (zone.replace("0518", "").replace("0000", "1401"), true, false),
            (format!("{PEOPLE}{signature}"), false, true),
            (format!("{zone}encoding x\ngpgsig-sha256 b\n"), true, true),
        ] {
            let content = format!("{TREE}{headers}\nm\n");
            let (commit, others) = Commit::read(content.as_bytes()).unwrap();
            assert_eq!((commit.encode(), others.len()), (content.clone().into_bytes(), 0));
            assert_eq!(commit.needs(), Needs { any_zone, signatures }, "{headers}");
        }
        for (zone, any_zone) in [("+1400", false), ("+051800", true)] {
            let content = format!("object {}\ntype commit\ntag v1\ntagger A <a> 1 {zone}\n\n", &TREE[5..45]);
            assert_eq!(Tag::read(content.as_bytes()).unwrap().needs(), Needs { any_zone, signatures: false });
        }
    }

    #[test]
    fn what_fast_import_cannot_say_is_refused() {
        for content in [
            format!("{PARENT}{TREE}{PEOPLE}\nm"),
            format!("{TREE}committer C <c> 2 +0000\n\nm"),
            format!("{TREE}author A <a> 1 +0000\n\nm"),
            format!("{TREE}{PARENT}author A <a> 1 +x\ncommitter C <c> 2 +0000\n\n"),
            format!("{TREE}{PEOPLE}"),
            format!("{TREE}{PEOPLE}gpgsig x"),
            TREE.to_uppercase(),
            String::new(),
        ] {
            assert!(Commit::read(content.as_bytes()).is_err(), "{content:?}");
        }
    }

    #[test]
    fn tags_with_and_without_a_tagger_are_read_and_others_refused() {
        let object = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\n";
        for rest in ["\n", "tagger A <a> 1 +0000\n\nm\n-----BEGIN", "\nm\0"] {
            let content = format!("{object}{rest}");
            assert_eq!(Tag::read(content.as_bytes()).unwrap().encode(), content.as_bytes());
        }
        for rest in ["", "tagger A <a>\n\n", "other x\n\n", "tagger A <a> 1 +0000\n", "tagger A <a> 1 +0000"] {
            assert!(Tag::read(format!("{object}{rest}").as_bytes()).is_err(), "{rest:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_without_a_loss_encodes_to_itself(
            lines in prop::collection::vec(
                "(encoding|author|parent|gpgsig|gpgsig-sha256|) ?(A <a> 1 \\+0000|x|\0|)", 0..4)
        ) {
            let content = format!("{TREE}{PEOPLE}{}\n\nm", lines.join("\n"));
            if let Ok((commit, others)) = Commit::read(content.as_bytes()) && others.is_empty() {
                prop_assert_eq!(commit.encode(), content.as_bytes());
            }
        }
    }
}
