//! `--origin URL --ref NAME --path DIR`: a bundle named by what people call it, for `cook` and `get`.

use crate::config::Settings;
use crate::get::Question;
use crate::key::{BundleKey, Format};
use crate::kitchen::Orders;
use crate::origins::{Locals, Remote, TreePath, resolve};
use crate::time::Timestamp;
use anyhow::{Context, bail};

#[derive(clap::Args)]
pub(super) struct Named {
    /// URL of a repository whose --ref is wanted: one that is mirrored, or that is under --git
    #[arg(long, value_name = "URL", conflicts_with = "bundle")]
    origin: Option<String>,
    /// Branch, tag or id of the origin [default: HEAD]
    #[arg(long = "ref", value_name = "NAME", requires = "origin")]
    reference: Option<String>,
    /// Only what lies at this path of the origin's tree
    #[arg(long, value_name = "DIR", requires = "origin")]
    path: Option<TreePath>,
}

impl Named {
    /// The question for a server; `None` where no origin is named.
    pub(super) fn question(&self) -> Option<Question> {
        let origin = self.origin.clone()?;
        let reference = self.reference.clone().unwrap_or_else(|| "HEAD".to_owned());
        Some(Question { origin, reference, path: self.path.clone() })
    }

    /// The bundle by the archives here; `None` where no origin is named.
    pub(super) fn key(
        &self,
        settings: &Settings,
        orders: &Orders,
        mut locals: Locals,
        format: Option<Format>,
    ) -> anyhow::Result<Option<BundleKey>> {
        let Some(Question { origin, reference, path }) = self.question() else { return Ok(None) };
        // A repository that lies here is asked now; a mirror has what the last visit found.
        if origin.starts_with(&settings.local_origins)
            && let Some(visited) = locals.visit(&origin, &Timestamp::now)?
            && let Some(failure) = visited.failure
        {
            return Err(anyhow::Error::new(failure).context("cannot read the refs of the origin"));
        }
        let catalogue = orders.bundles().catalogue();
        let written = Remote::parse(&origin).map_or_else(|_| origin.clone(), |remote| remote.as_str().to_owned());
        let found = match catalogue.origin(&origin)? {
            None => catalogue.origin(&written)?,
            found => found,
        };
        let Some(found) = found else {
            bail!("no such origin is known: it is neither under --git nor was it added (`larder origin add`)")
        };
        let Some(snapshot) = found.snapshot else { bail!("the origin was never visited: `larder origin visit`") };
        let manifest = catalogue.snapshot(&snapshot)?.context("the snapshot of the origin is lost")?;
        let mut reader = orders.archive().reader();
        let resolved = resolve(&manifest, reader.as_mut(), reference.as_bytes())?;
        let Some(mut resolved) = resolved else { bail!("the origin has no {reference:?}") };
        if let Some(path) = &path
            && !resolved.descend(reader.as_mut(), path)?
        {
            bail!("nothing is at this path of {reference:?}");
        }
        let key = resolved.bundle(format, path.is_some());
        key.map(Some).with_context(|| format!("there is no such bundle of {reference:?}"))
    }
}
