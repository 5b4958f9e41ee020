//! Asking for a bundle and waiting until it is cooked: by events where they come through, else by
//! asking for the status again and again. Owns what is read of a status body.

use super::client::{Client, Fault, Retries, clean, fault, json};
use super::download::refused;
use super::events::Events;
use super::{GetError, Step, Target, Tell, again};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// A stream that brings nothing at all for so long is held up by somebody in between: larder sends a
/// comment every five seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// The most bytes of one stream. A cook of days has fewer.
const MAX_STREAM: u64 = 256 << 20;

/// What a request for the status waits for at most, in seconds: less than what connections survive
/// without a byte.
const PREFER_WAIT: &str = "wait=20";

/// Between two requests for the status, where a server does not wait.
const PAUSE: Duration = Duration::from_secs(2);

/// What is read of a status body.
#[derive(Deserialize)]
struct StatusBody {
    status: Option<String>,
    progress: Option<Progress>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Progress {
    message: String,
    done: u64,
    total: Option<u64>,
    /// What is counted; bytes where a server does not say.
    unit: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    message: String,
}

/// Where a bundle stands, by a status body.
enum Standing {
    Cooking,
    Done,
    /// It is not asked for any more: removed, perhaps.
    Gone,
}

impl StatusBody {
    fn standing(&self, tell: &Tell<'_>) -> Result<Standing, Fault> {
        match self.status.as_deref() {
            Some("done") => Ok(Standing::Done),
            Some("failed") => Err(Fault::Final(GetError::Cook(match &self.error {
                Some(failure) => format!("{} ({})", clean(&failure.message), clean(&failure.code)),
                None => "the server does not say why".to_owned(),
            }))),
            Some("new" | "pending") => {
                match &self.progress {
                    Some(at) => {
                        let objects = at.unit.as_deref() == Some("objects");
                        tell(&Step::Cooking { message: &clean(&at.message), done: at.done, total: at.total, objects });
                    }
                    None => {
                        tell(&Step::Cooking { message: "waiting for the cook", done: 0, total: None, objects: false });
                    }
                }
                Ok(Standing::Cooking)
            }
            None => Ok(Standing::Gone),
            Some(_) => Err(Fault::passing("the server's answer is not what larder answers")),
        }
    }
}

/// Asks for the bundle; whether it is there already.
pub(super) async fn ask(client: &Client, target: &Target, tell: &Tell<'_>) -> Result<bool, GetError> {
    let mut retries = Retries::new(&client.patience);
    loop {
        match look(client, client.http.post(target.bundle()), tell).await {
            Ok(Standing::Done) => return Ok(true),
            Ok(Standing::Cooking) => return Ok(false),
            Ok(Standing::Gone) => return Err(GetError::NoSuchObject),
            Err(fault) => again(&mut retries, fault, tell).await?,
        }
    }
}

/// Sends a request that a status body answers.
async fn look(client: &Client, request: RequestBuilder, tell: &Tell<'_>) -> Result<Standing, Fault> {
    let response = client.send(request).await?;
    match response.status() {
        StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => {
            json::<StatusBody>(response).await?.standing(tell)
        }
        StatusCode::NOT_FOUND => Ok(Standing::Gone),
        _ => Err(Fault::Final(refused(response).await)),
    }
}

/// Waits until the bundle is done, or no longer asked for.
pub(super) async fn wait(client: &Client, target: &Target, tell: &Tell<'_>) -> Result<(), GetError> {
    let mut retries = Retries::new(&client.patience);
    loop {
        match follow(client, target, tell).await {
            Ok(true) => return Ok(()),
            Ok(false) => return poll(client, target, tell).await,
            Err(fault) => again(&mut retries, fault, tell).await?,
        }
    }
}

/// Follows the events to their end; `false` when there are none to be had.
async fn follow(client: &Client, target: &Target, tell: &Tell<'_>) -> Result<bool, Fault> {
    let request = client.http.get(target.status()).header(ACCEPT, "text/event-stream, application/json;q=0.5");
    let Ok(sent) = tokio::time::timeout(SILENCE, client.send(request)).await else { return Ok(false) };
    let mut response = sent?;
    let is_stream =
        response.headers().get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"text/event-stream"));
    if response.status() != StatusCode::OK || !is_stream {
        return Ok(false);
    }
    let (mut events, mut taken) = (Events::default(), 0);
    loop {
        let Ok(chunk) = tokio::time::timeout(SILENCE, response.chunk()).await else { return Ok(false) };
        let Some(chunk) = chunk.map_err(|error| fault(&error))? else {
            return Err(Fault::passing("the stream of events broke off"));
        };
        taken += chunk.len() as u64;
        let Ok(whole) = events.push(&chunk) else { return Ok(false) };
        for data in whole {
            let Ok(body) = serde_json::from_slice::<StatusBody>(&data) else { return Ok(false) };
            match body.standing(tell)? {
                Standing::Done | Standing::Gone => return Ok(true),
                Standing::Cooking => {}
            }
        }
        if taken > MAX_STREAM {
            return Ok(false);
        }
    }
}

/// Asks for the status until the bundle is done.
async fn poll(client: &Client, target: &Target, tell: &Tell<'_>) -> Result<(), GetError> {
    let mut retries = Retries::new(&client.patience);
    loop {
        let asked = Instant::now();
        match look(client, client.http.get(target.status()).header("prefer", PREFER_WAIT), tell).await {
            Ok(Standing::Done | Standing::Gone) => return Ok(()),
            Ok(Standing::Cooking) => {
                retries.progressed();
                tokio::time::sleep_until(asked + PAUSE).await;
            }
            Err(fault) => again(&mut retries, fault, tell).await?,
        }
    }
}
