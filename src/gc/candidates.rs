//! What a plan is made of: the files of the catalogue, read a page at a time and no further than the
//! plan goes, and what the store and the disk hold.

use super::plan::Stock;
use crate::bundles::{Bundles, Error};
use crate::catalogue::{Candidate, Catalogue, CatalogueError};
use crate::limits::Policy;

/// Rows read at a time: the first few suffice for most plans, the pages of long ones are longer.
const FIRST_PAGE: u32 = 64;
const LAST_PAGE: u32 = 4096;

/// The files in order of last access, with what the policy asks of them. Ends after an error.
pub fn candidates(
    catalogue: &Catalogue,
    policy: Policy,
) -> impl Iterator<Item = Result<Candidate, CatalogueError>> + '_ {
    let mut limit = FIRST_PAGE;
    let mut last = None;
    let mut ended = false;
    let pages = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let page = catalogue.candidates(last.as_ref(), policy == Policy::Gdsf, limit);
        ended = page.as_ref().map_or(true, |page| page.len() < limit as usize);
        last = page.as_ref().ok().and_then(|page| page.last().copied());
        limit = (limit * 4).min(LAST_PAGE);
        Some(page.map_or_else(|error| vec![Err(error)], |page| page.into_iter().map(Ok).collect()))
    });
    pages.flatten()
}

/// What there is, as the catalogue counts it and the disk says now.
pub fn stock(bundles: &Bundles) -> Result<Stock, Error> {
    let (totals, free) = (bundles.catalogue().totals()?, bundles.free()?);
    Ok(Stock { files: totals.files, allocated: totals.allocated, free, wanted: 0, coming: 0 })
}
