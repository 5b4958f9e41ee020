//! `GET, HEAD /readyz`: whether this larder can do its work, and what hinders it.

use super::answer::json;
use super::body::Body;
use crate::kitchen::{Orders, Trouble};
use hyper::header::RETRY_AFTER;
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What `Retry-After` says, in seconds: a look counts for about as long.
const RETRY: u64 = 5;

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    problems: Vec<Problem<'a>>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    detail: String,
}

/// 200, or 503 and all that is wrong.
pub(super) async fn ready(orders: &Orders) -> Response<Body> {
    of(&orders.health().await)
}

fn of(troubles: &[Trouble]) -> Response<Body> {
    let problem = |trouble: &Trouble| Problem { code: trouble.code(), detail: trouble.to_string() };
    let body = Ready { ready: troubles.is_empty(), problems: troubles.iter().map(problem).collect() };
    if body.ready {
        return json(StatusCode::OK, &body);
    }
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &body);
    response.headers_mut().insert(RETRY_AFTER, RETRY.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_all_that_is_wrong_and_when_to_ask_again() {
        let response = of(&[Trouble::NoRoom, Trouble::NoDrafts(std::io::ErrorKind::PermissionDenied)]);
        assert_eq!((response.status(), &response.headers()[RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &5.into()));
        let Body::Full(bytes) = response.into_body() else { panic!("it has bytes") };
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let problems = body["problems"].as_array().unwrap();
        assert_eq!(body["ready"], false);
        assert_eq!(
            problems.iter().map(|one| one["code"].as_str().unwrap()).collect::<Vec<_>>(),
            ["no_room", "no_drafts"]
        );
        assert_eq!(problems[1]["detail"], "no bundle can be begun in the store: permission denied");
        assert_eq!(of(&[]).status(), StatusCode::OK);
    }
}
