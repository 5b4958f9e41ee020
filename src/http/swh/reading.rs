//! How objects are read for an answer: on a thread of their own, so many at once, and written row by row, so that no
//! answer is whole in memory. Owns these bounds and what failing comes to; knows no endpoint.

use super::super::answer::linked;
use super::super::body::Body;
use super::super::large::{NotWritten, Spool};
use super::super::places::Client;
use super::super::refused::busy;
use super::super::vault::Vault;
use super::Call;
use super::accept::Rendering;
use super::said::{Fields, Wrong, described, found};
use crate::archive::object::HeaderError;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::bodies::Base;
use crate::catalogue::CatalogueError;
use crate::checksums::Remembered;
use crate::key::{ObjectKind, Sha1Git};
use crate::kitchen::{OrderError, Orders};
use hyper::{Response, StatusCode};
use serde_json::Value;
use std::io::{self, Write};

/// The largest answer, in bytes.
pub(super) const MOST: u64 = 64 << 20;

/// The largest commit or tag that is shown, in bytes: what is made of one is some twenty times as large in memory.
const MOST_TEXT: u64 = 1 << 20;

/// The directory without entries.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// What an endpoint reads through. Used by one thread, which may block.
pub(super) struct Objects {
    pub(super) orders: Orders,
    pub(super) base: Base,
    pub(super) checksums: Remembered,
    spool: Spool,
    client: Client,
    rendering: Rendering,
    pub(super) fields: Fields,
}

/// What an endpoint says.
pub(super) enum Reply {
    /// A small value.
    Value(Value),
    /// JSON that was written already, and the URL of what follows it.
    Written(Body, Option<String>),
    /// An answer that is none of JSON.
    Whole(Response<Body>),
}

/// Why it says nothing.
#[derive(Debug)]
pub(super) enum Fault {
    Wrong(Wrong),
    Order(OrderError),
    /// Too many large answers are on their way.
    NoPlace,
    /// The answer would be too large.
    TooLarge,
}

impl Vault {
    /// Runs `read` when it is its turn, and answers with what it says.
    pub(super) async fn swh_read(
        &self,
        call: &Call<'_>,
        read: impl FnOnce(&Objects) -> Result<Reply, Fault> + Send + 'static,
    ) -> Result<Response<Body>, Wrong> {
        let objects = Objects {
            orders: self.orders.clone(),
            base: self.base.clone(),
            checksums: self.checksums.clone(),
            spool: self.spool.clone(),
            client: call.client,
            rendering: call.rendering,
            fields: Fields::wanted(call.query),
        };
        let Some(said) = self.readers.make(move || read(&objects)).await else {
            return Err(Wrong::of_problem(busy()));
        };
        match said {
            Ok(Reply::Value(value)) => Ok(found(value, call.query, call.rendering)),
            Ok(Reply::Written(body, next)) => {
                let mut response = Response::new(body);
                described(&mut response, call.rendering);
                Ok(linked(response, next.as_deref()))
            }
            Ok(Reply::Whole(response)) => Ok(response),
            Err(Fault::Wrong(wrong)) => Err(wrong),
            Err(Fault::Order(error)) => Err(self.swh_wrong(&error)),
            Err(Fault::NoPlace) => Err(Wrong::of_problem(busy())),
            Err(Fault::TooLarge) => {
                let reason = format!("the answer would have more than {MOST} bytes");
                Err(Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableObject", reason))
            }
        }
    }
}

impl Objects {
    pub(super) fn reader(&self) -> Box<dyn Reader> {
        self.orders.archive().reader()
    }

    /// Whether there is an object of this kind.
    pub(super) fn has(&self, reader: &mut dyn Reader, kind: ObjectKind, id: &Sha1Git) -> Result<bool, Fault> {
        let wanted = match kind {
            ObjectKind::Content => ObjectType::Blob,
            ObjectKind::Directory => ObjectType::Tree,
            ObjectKind::Revision => ObjectType::Commit,
            ObjectKind::Release => ObjectType::Tag,
            ObjectKind::Snapshot => {
                self.orders.check_blocked(id)?;
                return Ok(self.orders.bundles().catalogue().has_snapshot(id)?);
            }
        };
        Ok(reader.header(id)?.is_some_and(|header| header.object_type == wanted))
    }

    /// What `write` writes, as JSON in the form that is wanted.
    pub(super) fn page(
        &self,
        next: Option<String>,
        write: impl FnOnce(&mut Page<'_>) -> Result<(), Fault>,
    ) -> Result<Reply, Fault> {
        let body = self.bytes(MOST, |out| {
            let mut page = Page { out, is_html: self.rendering == Rendering::Html, fields: &self.fields, is_first: true };
            page.frame("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>larder</title></head><body><pre>")?;
            write(&mut page)?;
            page.frame("</pre></body></html>\n")
        })?;
        Ok(Reply::Written(body, next))
    }

    /// What `write` writes, of at most so many bytes.
    pub(super) fn bytes(
        &self,
        most: u64,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Fault>,
    ) -> Result<Body, Fault> {
        self.spool.written(self.client, self.orders.bundles().data(), most, write).map_err(|error| match error {
            NotWritten::NoPlace => Fault::NoPlace,
            NotWritten::TooLarge => Fault::TooLarge,
            NotWritten::Io(error) => Fault::Order(OrderError::Store(error)),
            NotWritten::Failed(fault) => fault,
        })
    }
}

/// The content of a commit or a tag; `None` when there is none of that type.
pub(super) fn text(reader: &mut dyn Reader, id: &Sha1Git, wanted: ObjectType) -> Result<Option<Vec<u8>>, Fault> {
    let Some(header) = reader.header(id)?.filter(|header| header.object_type == wanted) else { return Ok(None) };
    if header.size > MOST_TEXT {
        return Err(ArchiveError::TooLarge { id: *id, size: header.size, limit: MOST_TEXT }.into());
    }
    find(reader, id, wanted)
}

/// The content of an object that is no blob; `None` when there is none of that type.
pub(super) fn find(reader: &mut dyn Reader, id: &Sha1Git, wanted: ObjectType) -> Result<Option<Vec<u8>>, Fault> {
    match reader.header(id)? {
        Some(header) if header.object_type == wanted => {}
        // Git knows it everywhere, and so does the real service.
        None if wanted == ObjectType::Tree && id.to_string() == EMPTY_TREE => return Ok(Some(Vec::new())),
        Some(_) | None => return Ok(None),
    }
    let mut content = Vec::new();
    Ok(reader.find(id, &mut content)?.filter(|is| *is == wanted).map(|_| content))
}

/// JSON on its way.
pub(super) struct Page<'w> {
    out: &'w mut dyn Write,
    is_html: bool,
    fields: &'w Fields,
    /// Whether no element of the list was written yet.
    is_first: bool,
}

impl Page<'_> {
    /// Text that is part of the JSON.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Fault> {
        let written = if self.is_html {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            self.out.write_all(escaped.as_bytes())
        } else {
            self.out.write_all(text.as_bytes())
        };
        Ok(written?)
    }

    /// An element of a list, cut down to the fields that are wanted.
    pub(super) fn element(&mut self, value: Value) -> Result<(), Fault> {
        let value = self.fields.cut(value);
        self.whole_element(&value)
    }

    /// An element of a list as it is.
    pub(super) fn whole_element(&mut self, value: &Value) -> Result<(), Fault> {
        self.comma()?;
        self.text(&value.to_string())
    }

    /// A member of an object as it is.
    pub(super) fn member(&mut self, name: &str, value: &Value) -> Result<(), Fault> {
        self.key(name)?;
        self.text(&value.to_string())
    }

    /// The name of a member whose value follows.
    pub(super) fn key(&mut self, name: &str) -> Result<(), Fault> {
        self.comma()?;
        self.text(&format!("{}:", Value::from(name)))
    }

    /// Ends what [`begin`](Self::begin) began, where more follows.
    pub(super) fn end(&mut self, text: &str) -> Result<(), Fault> {
        self.is_first = false;
        self.text(text)
    }

    /// Begins a list or an object within.
    pub(super) fn begin(&mut self, text: &str) -> Result<(), Fault> {
        self.is_first = true;
        self.text(text)
    }

    fn comma(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.is_first, false) { Ok(()) } else { self.text(",") }
    }

    fn frame(&mut self, html: &str) -> Result<(), Fault> {
        if self.is_html { Ok(self.out.write_all(html.as_bytes())?) } else { Ok(()) }
    }
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<OrderError> for Fault {
    fn from(error: OrderError) -> Self {
        Self::Order(error)
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Order(error.into())
    }
}

impl From<CatalogueError> for Fault {
    fn from(error: CatalogueError) -> Self {
        Self::Order(error.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Order(OrderError::Store(error))
    }
}

/// An object whose first lines are not those of one.
pub(super) fn malformed(id: &Sha1Git, error: HeaderError) -> Fault {
    ArchiveError::Corrupt { id: *id, reason: error.to_string() }.into()
}
