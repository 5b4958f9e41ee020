//! What is there, page by page, and what still lacks its SHA-256.

use super::row::{bundle, bundle_columns, collect, execute, first, key, key_params};
use super::{Catalogue, CatalogueError};
use crate::bundle::Bundle;
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};

impl Catalogue {
    /// The done bundles of a kind in order of id, then format, after the given one. A page costs
    /// the same wherever it lies.
    pub fn list(
        &self,
        kind: ObjectKind,
        after: Option<(Sha1Git, Format)>,
        limit: u32,
    ) -> Result<Vec<Bundle>, CatalogueError> {
        // An empty blob sorts before every id.
        let (id, format) = after.map_or((Vec::new(), 0), |(id, format)| (id.as_bytes().to_vec(), format.code()));
        self.read("list bundles", |connection| {
            collect(
                connection,
                concat!(
                    "SELECT ",
                    bundle_columns!(),
                    " FROM bundle b INDEXED BY bundle_done LEFT JOIN file f ON f.id = b.file
                      WHERE b.kind = ?1 AND b.status = 2 AND (b.sha1git, b.format) > (?2, ?3)
                      ORDER BY b.sha1git, b.format LIMIT ?4"
                ),
                (kind.code(), id, format, limit),
                bundle,
            )
        })
    }

    /// The last bundle of a page of [`list`](Self::list) that has `limit` of them, and whether there are more behind
    /// it; `None` when there are fewer.
    pub fn list_end(
        &self,
        kind: ObjectKind,
        after: Option<(Sha1Git, Format)>,
        limit: u32,
    ) -> Result<Option<(BundleKey, bool)>, CatalogueError> {
        let (id, format) = after.map_or((Vec::new(), 0), |(id, format)| (id.as_bytes().to_vec(), format.code()));
        self.read("list bundles", |connection| {
            let sql = "SELECT b.kind, b.sha1git, b.format FROM bundle b INDEXED BY bundle_done
                       WHERE b.kind = ?1 AND b.status = 2 AND (b.sha1git, b.format) > (?2, ?3)
                       ORDER BY b.sha1git, b.format LIMIT 2 OFFSET ?4";
            let parameters = (kind.code(), id, format, limit.saturating_sub(1));
            let found = collect(connection, sql, parameters, |row| key(row, 0))?;
            Ok(found.first().map(|last| (*last, found.len() > 1)))
        })
    }

    /// Files whose SHA-256 is not known yet, oldest first: one of the names and the BLAKE3 of each.
    pub fn without_sha256(&self, limit: u32) -> Result<Vec<(BundleKey, [u8; 32])>, CatalogueError> {
        self.read("look for files without sha256", |connection| {
            let files = collect(
                connection,
                "SELECT id, blake3 FROM file INDEXED BY file_without_sha256
                 WHERE sha256 IS NULL AND id > 0 ORDER BY id LIMIT ?1",
                [limit],
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
            )?;
            let mut named = Vec::with_capacity(files.len());
            for (file, blake3) in files {
                let sql = "SELECT kind, sha1git, format FROM bundle WHERE file = ?1 LIMIT 1";
                named.extend(first(connection, sql, [file], |row| key(row, 0))?.map(|key| (key, blake3)));
            }
            Ok(named)
        })
    }

    /// Notes the SHA-256 of a bundle's file, if that file still has this BLAKE3.
    pub fn set_sha256(&self, key: &BundleKey, blake3: &[u8; 32], sha256: [u8; 32]) -> Result<(), CatalogueError> {
        self.write("note a sha256", |transaction| {
            let (kind, id, format) = key_params(key);
            execute(
                transaction,
                "UPDATE file SET sha256 = ?5 WHERE blake3 = ?4 AND id =
                     (SELECT file FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3)",
                (kind, id, format, blake3, sha256),
            )
            .map(drop)
        })
    }
}
