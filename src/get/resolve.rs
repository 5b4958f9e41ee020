//! From the URL of a repository, a name in it and a path to the bundle that is meant, by what a server says.
//! That is the server's word: what is verified afterwards is the bundle of the object that it named.

use super::client::{Client, Fault, Retries, json};
use super::download::refused;
use super::{GetError, Patience, Target, Tell, again};
use crate::key::{Format, Sha1Git};
use crate::origins::{Resolved, TreePath};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde::Deserialize;

/// What is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The URL of a repository that the server knows.
    pub origin: String,
    /// A branch, a tag or an id.
    pub reference: String,
    /// Where in its tree.
    pub path: Option<TreePath>,
}

/// What is read of the answer of `/vault/resolve`.
#[derive(Deserialize)]
struct Answer {
    release: Option<Object>,
    revision: Option<Object>,
    directory: Option<Object>,
    content: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
}

/// Asks a server what a name means, and gives the bundle of it.
///
/// # Errors
/// [`GetError::NoSuchObject`] when the server knows no such origin, name or path.
pub async fn resolve(
    server: &str,
    question: &Question,
    format: Option<Format>,
    patience: Patience,
    tell: &Tell<'_>,
) -> Result<Target, GetError> {
    let client = Client::new(patience)?;
    let mut retries = Retries::new(&client.patience);
    let url = url(server, question);
    let answer = loop {
        match ask(&client, &url).await {
            Ok(answer) => break answer.ok_or(GetError::NoSuchObject)?,
            Err(fault) => again(&mut retries, fault, tell).await?,
        }
    };
    let key = answer.resolved()?.bundle(format, question.path.is_some());
    Ok(Target::new(server, key.map_err(|error| GetError::Refused(format!("there is no such bundle: {error}")))?))
}

fn url(server: &str, question: &Question) -> String {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let url =
        format!("{server}/vault/resolve?origin={}&ref={}", escaped(&question.origin), escaped(&question.reference));
    match &question.path {
        Some(path) => format!("{url}&path={}", percent_encoding::percent_encode(&path.to_bytes(), NON_ALPHANUMERIC)),
        None => url,
    }
}

/// `None` when the server knows nothing of the kind.
async fn ask(client: &Client, url: &str) -> Result<Option<Answer>, Fault> {
    let response = client.send(client.http.get(url)).await?;
    match response.status() {
        StatusCode::OK => Ok(Some(json(response).await?)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(Fault::Final(refused(response).await)),
    }
}

impl Answer {
    fn resolved(&self) -> Result<Resolved, GetError> {
        let id = |object: &Option<Object>| -> Result<Option<Sha1Git>, GetError> {
            let wrong = |_| GetError::Network("the server's answer is not what larder answers".to_owned());
            object.as_ref().map(|object| object.id.parse().map_err(wrong)).transpose()
        };
        Ok(Resolved {
            branch: None,
            release: id(&self.release)?,
            revision: id(&self.revision)?,
            directory: id(&self.directory)?,
            content: id(&self.content)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_escaped_whole() {
        let question = Question {
            origin: "local:a b/x.git".to_owned(),
            reference: "v1+&ref=x".to_owned(),
            path: TreePath::parse("docs/\u{e9}&/".as_bytes()),
        };
        let url = url("https://example.org", &question);
        let query = url.split_once('?').unwrap().1;
        assert_eq!(query.split('&').count(), 3, "{query}");
        assert!(query.ends_with("&path=docs%2F%C3%A9%26"), "{query}");
        assert!(query.contains("&ref=v1%2B%26ref%3Dx&"), "{query}");
    }
}
