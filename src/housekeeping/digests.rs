//! SHA-256 of what was published, computed behind the cooks.

use crate::catalogue::CatalogueError;
use crate::key::BundleKey;
use crate::kitchen::Orders;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::time::Duration;

/// How often files without a SHA-256 are looked for when none was announced.
const DIGEST_EVERY: Duration = Duration::from_mins(1);

/// How many files are digested between two looks into the catalogue.
const DIGEST_BATCH: u32 = 32;

/// Computes the SHA-256 of what was published; it is slower than all the rest of a small cook, so
/// it follows behind.
pub(super) async fn digest_files(orders: Orders) {
    while !orders.is_stopping() {
        let digest = orders.clone();
        let full_batch = tokio::task::spawn_blocking(move || digest_batch(&digest)).await;
        if matches!(full_batch, Ok(Ok(true))) {
            continue;
        }
        if let Ok(Err(error)) = full_batch {
            tracing::warn!(%error, "cannot record digests");
        }
        tokio::select! {
            () = tokio::time::sleep(DIGEST_EVERY) => {}
            () = orders.published() => {}
            () = orders.stopped() => {}
        }
    }
}

/// Digests a batch of files; whether there may be more.
fn digest_batch(orders: &Orders) -> Result<bool, CatalogueError> {
    let catalogue = orders.bundles().catalogue();
    let batch = catalogue.without_sha256(DIGEST_BATCH)?;
    let mut recorded = 0;
    for (key, blake3) in &batch {
        if orders.is_stopping() {
            return Ok(false);
        }
        match sha256(orders, key) {
            Ok(Some(sha256)) => {
                catalogue.set_sha256(key, blake3, sha256)?;
                recorded += 1;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%key, %error, "cannot digest"),
        }
    }
    // Files that are gone or cannot be read come again in the next batch: not at once.
    Ok(recorded > 0 && batch.len() == DIGEST_BATCH as usize)
}

/// SHA-256 of a bundle's file; `None` when it is gone, or larder stops.
fn sha256(orders: &Orders, key: &BundleKey) -> std::io::Result<Option<[u8; 32]>> {
    let Some(mut found) = orders.bundles().open(key)? else { return Ok(None) };
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        let n = found.file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some(hasher.finalize().into()));
        }
        if orders.is_stopping() {
            return Ok(None);
        }
        hasher.update(&buffer[..n]);
    }
}
