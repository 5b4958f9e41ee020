//! `/openapi.json` is true: it has every route that the code declares and no other, and what a larder that runs answers
//! to each operation is an answer that the document has, of a media type and a form that it says.

use crate::common::client::Answer;
use crate::common::fixtures::{Fixture, fixture};
use crate::common::server::Server;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

/// Routes that are not in the document, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    ("/metrics", "its form is that of Prometheus, and it is for this machine alone: docs/metrics.md"),
    (
        "/archiver/",
        "its clients have had a document of their own since 2015, and its bodies are theirs: docs/archiver.md",
    ),
    ("/static/", "its paths are of one version of the pages and of nobody else"),
];

/// The id of no object.
const NOTHING: &str = "1111111111111111111111111111111111111111";

/// Paths and methods, as `Route` declares them in the comments of its variants; with the parameters of each.
fn declared() -> BTreeMap<(String, String), BTreeSet<String>> {
    let source = include_str!("../../src/http/route.rs");
    let begin = source.find("pub enum Route {").expect("the routes are declared there");
    let lines = source[begin..].lines().take_while(|line| *line != "}");
    let mut found = BTreeMap::<_, BTreeSet<String>>::new();
    for line in lines.filter_map(|line| line.trim().strip_prefix("/// `")) {
        let declaration = line.split('`').next().unwrap();
        let (methods, target) = declaration.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (path, query) = target.split_once(['?']).unwrap_or((target, ""));
        let path = path.trim_end_matches('[').replace("[.:ext]", "");
        // In the path of a bundle `:id` may have an extension.
        let is_bundle = target.contains("[.:ext]");
        let parts = path.split('/').map(|part| match part.strip_prefix(':') {
            Some("id") if is_bundle => "{bundle}".to_owned(),
            Some(name) => format!("{{{name}}}"),
            None => part.to_owned(),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let parameters = query.split(['?', '&', '[', ']']).filter_map(|part| part.strip_suffix('='));
        let parameters: Vec<_> = parameters.map(str::to_owned).collect();
        for method in methods.split(", ").filter(|method| *method != "HEAD") {
            found.entry((path.clone(), method.to_lowercase())).or_default().extend(parameters.clone());
        }
    }
    assert!(found.len() > 15, "{found:#?}");
    found
}

fn documented(document: &Value) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let all = [&item["parameters"], &operation["parameters"]].into_iter().filter_map(Value::as_array).flatten();
            let own = all.filter(|parameter| parameter["in"] == "query");
            let names = own.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
            found.insert((path.clone(), method.clone()), names);
        }
    }
    found
}

/// What a reference refers to.
fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("{place} is nowhere")),
        None => value,
    }
}

/// What is wrong with `value` by those words of JSON Schema that the document uses; others are refused.
fn wrong(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = follow(document, schema);
    for (word, said) in schema.as_object().unwrap() {
        let fault = match word.as_str() {
            "type" => {
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let fits = said == is || said.as_array().is_some_and(|all| all.iter().any(|one| one == is));
                (!fits).then(|| format!("{is} is not {said}"))
            }
            "enum" => (!said.as_array().unwrap().contains(value)).then(|| format!("none of {said}")),
            "const" => (said != value).then(|| format!("not {said}")),
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                assert_eq!(said, "^[0-9a-f]{40}$", "the only pattern of a body");
                (text.len() != 40 || !text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| "not an id".to_owned())
            }
            "required" if value.is_object() => said
                .as_array()
                .unwrap()
                .iter()
                .find(|name| value.get(name.as_str().unwrap()).is_none())
                .map(|name| format!("{name} is missing")),
            "properties" if value.is_object() => value.as_object().unwrap().iter().find_map(|(name, member)| {
                let known = said.get(name).map(|schema| wrong(document, schema, member));
                let unknown = schema["additionalProperties"] == false;
                known
                    .unwrap_or_else(|| unknown.then(|| "not documented".to_owned()))
                    .map(|fault| format!("{name}: {fault}"))
            }),
            "items" => value.as_array().unwrap().iter().find_map(|item| wrong(document, said, item)),
            "oneOf" => {
                let fits = said.as_array().unwrap().iter().filter(|one| wrong(document, one, value).is_none()).count();
                (fits != 1).then(|| format!("fits {fits} of its forms"))
            }
            "required" | "properties" | "additionalProperties" => None,
            other => panic!("{other} is not looked at here"),
        };
        if fault.is_some() {
            return fault;
        }
    }
    None
}

/// What is wrong with an answer to an operation, by the document.
fn judged(document: &Value, path: &str, method: &str, answer: &Answer) -> Option<String> {
    let operation = &document["paths"][path][method];
    let response = &operation["responses"][answer.status.to_string()];
    if response.is_null() {
        return Some(format!("{} is not documented", answer.status));
    }
    let content = &follow(document, response)["content"];
    let Some(media_type) = answer.header("content-type") else {
        return (content.is_object() && !matches!(answer.status, 304)).then(|| "it has no media type".to_owned());
    };
    if answer.status == 304 {
        return None;
    }
    let known = content.get(media_type).or_else(|| content.get(media_type.split(';').next().unwrap()));
    let Some(known) = known else { return Some(format!("{media_type} is not documented")) };
    if !media_type.ends_with("json") || answer.body.is_empty() {
        return None;
    }
    known.get("schema").and_then(|schema| wrong(document, schema, &answer.json()))
}

#[test]
fn every_route_is_in_the_document_and_nothing_else_is() {
    let document: Value = serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap();
    let mut declared = declared();
    for (prefix, _) in LEFT_OUT {
        let before = declared.len();
        declared.retain(|(path, _), _| !path.starts_with(prefix));
        assert!(declared.len() < before, "{prefix} is no route");
    }
    assert_eq!(documented(&document), declared);
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<_> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// A path and a method of the document, a request of it, and the status of its answer.
type Example = (&'static str, &'static str, String, Vec<(&'static str, String)>, u16);

fn example(
    path: &'static str,
    method: &'static str,
    target: String,
    headers: &[(&'static str, &str)],
    status: u16,
) -> Example {
    (path, method, target, headers.iter().map(|&(name, value)| (name, value.to_owned())).collect(), status)
}

fn of_bundles(fixture: &Fixture, etag: &str) -> Vec<Example> {
    let (root, v1, nothing) = (fixture.id("root").id, fixture.id("v1").id, NOTHING);
    let events = ("Accept", "text/event-stream");
    vec![
        example("/vault/{kind}", "get", "/vault/directory?limit=1".to_owned(), &[], 200),
        example("/vault/{kind}", "get", "/vault/release".to_owned(), &[], 200),
        example("/vault/{kind}", "get", "/vault/trees".to_owned(), &[], 400),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/directory/{root}"), &[], 200),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/release/{v1}.bundle?filename=x.bundle"), &[], 200),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/directory/{root}"), &[("Range", "bytes=0-4")], 206),
        example(
            "/vault/{kind}/{bundle}",
            "get",
            format!("/vault/directory/{root}"),
            &[("Range", "bytes=0-1,5-6")],
            206,
        ),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/directory/{root}"), &[("If-None-Match", etag)], 304),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/tree/{root}"), &[], 308),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/directory/{root}"), &[("If-Match", "\"x\"")], 412),
        example(
            "/vault/{kind}/{bundle}",
            "get",
            format!("/vault/directory/{root}"),
            &[("Range", "bytes=999999999-")],
            416,
        ),
        example("/vault/{kind}/{bundle}", "get", format!("/vault/directory/{nothing}"), &[], 404),
        example("/vault/{kind}/{bundle}", "get", "/vault/directory/x".to_owned(), &[], 400),
        example("/vault/{kind}/{bundle}", "post", format!("/vault/directory/{root}.zip"), &[], 201),
        example("/vault/{kind}/{bundle}", "post", format!("/vault/revision/{root}"), &[], 404),
        example("/vault/{kind}/{bundle}", "post", format!("/vault/snapshot/{root}.zip"), &[], 400),
        example("/vault/{kind}/{bundle}", "post", format!("/vault/tree/{root}"), &[], 308),
        example("/vault/{kind}/{bundle}/status", "get", format!("/vault/directory/{root}/status"), &[], 200),
        example("/vault/{kind}/{bundle}/status", "get", format!("/vault/directory/{root}/status"), &[events], 200),
        example(
            "/vault/{kind}/{bundle}/status",
            "get",
            format!("/vault/directory/{root}/status"),
            &[events, ("Last-Event-ID", "done")],
            204,
        ),
        example("/vault/{kind}/{bundle}/status", "get", format!("/vault/directory/{nothing}/status"), &[], 404),
        example("/vault/{kind}/{bundle}/status", "get", format!("/vault/tree/{nothing}/status"), &[], 308),
        example("/vault/{kind}/{id}/proof", "get", format!("/vault/release/{v1}/proof"), &[], 200),
        example("/vault/{kind}/{id}/proof", "get", format!("/vault/release/{nothing}/proof"), &[], 404),
        example("/vault/{kind}/{id}/proof", "get", format!("/vault/tag/{v1}/proof"), &[], 308),
    ]
}

fn of_others(fixture: &Fixture) -> Vec<Example> {
    let (head, root, nothing) = (fixture.id("head").id, fixture.id("root").id, NOTHING);
    let html = ("Accept", "text/html");
    vec![
        example("/", "get", "/".to_owned(), &[], 200),
        example("/", "get", "/".to_owned(), &[html], 200),
        example("/", "get", format!("/?q={head}"), &[html], 303),
        example("/", "get", "/?q=hello".to_owned(), &[], 404),
        example("/", "get", "/?x=1".to_owned(), &[], 400),
        example("/vault/resolve", "get", "/vault/resolve?origin=local:repo&ref=v1".to_owned(), &[], 200),
        example("/vault/resolve", "get", "/vault/resolve?origin=local:repo&path=README".to_owned(), &[], 200),
        example("/vault/resolve", "get", "/vault/resolve?origin=local:repo&ref=x".to_owned(), &[], 404),
        example("/vault/resolve", "get", "/vault/resolve".to_owned(), &[], 400),
        example("/origins", "get", "/origins".to_owned(), &[], 200),
        example("/origins", "get", "/origins?url=local:repo".to_owned(), &[], 200),
        example("/origins", "get", "/origins?url=local:other".to_owned(), &[], 404),
        example("/archive", "get", "/archive?origin=local:repo&ref=v1&format=tgz".to_owned(), &[], 302),
        example("/archive", "get", "/archive?origin=local:repo&ref=v1&format=tar.zst".to_owned(), &[], 404),
        example("/archive", "get", "/archive?origin=local:other".to_owned(), &[], 404),
        example("/archive/{repository}/{name}", "get", "/archive/repo/v1.tar.gz".to_owned(), &[], 302),
        example("/archive/{repository}/{name}", "get", "/archive/repo/v1".to_owned(), &[], 400),
        example("/archive/{repository}/{name}", "get", "/archive/repo/x.zip".to_owned(), &[], 404),
        example("/browse/{swhid}", "get", format!("/browse/swh:1:dir:{root}?from=3"), &[], 200),
        example("/browse/{swhid}", "get", format!("/browse/swh:1:dir:{root}?format=tar"), &[], 200),
        example("/browse/{swhid}", "get", format!("/browse/swh:1:dir:{nothing}"), &[], 404),
        example("/browse/{swhid}", "get", "/browse/x".to_owned(), &[], 400),
        example("/browse/{swhid}", "post", format!("/browse/swh:1:rev:{head}?format=tar"), &[], 303),
        example(
            "/browse/{swhid}",
            "post",
            format!("/browse/swh:1:rev:{head}?format=tar"),
            &[("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        example("/healthz", "get", "/healthz".to_owned(), &[], 200),
        example("/readyz", "get", "/readyz".to_owned(), &[], 200),
        example("/robots.txt", "get", "/robots.txt".to_owned(), &[], 200),
        example("/openapi.json", "get", "/openapi.json".to_owned(), &[], 200),
    ]
}

#[test]
fn what_larder_answers_is_what_the_document_says() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--snapshot-interval", "100ms"]);
    super::page::wait_for_origin(&server, "local:repo");
    let document = server.get("/openapi.json").json();
    assert_eq!(
        (&document["openapi"], document["info"]["version"].as_str()),
        (&"3.1.0".into(), Some(env!("CARGO_PKG_VERSION")))
    );
    let (root, v1) = (fixture.id("root").id, fixture.id("v1").id);
    server.cook(&format!("directory/{root}.tar.gz"));
    server.cook(&format!("release/{v1}.bundle"));
    let etag = server.get(&format!("/vault/directory/{root}")).header("etag").unwrap().to_owned();
    let examples = [of_bundles(&fixture, &etag), of_others(&fixture)].concat();
    let mut faults = Vec::new();
    let mut met = BTreeSet::new();
    for (path, method, target, headers, status) in &examples {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = server.send(&method.to_uppercase(), target, &headers);
        let fault = if answer.status == *status {
            judged(&document, path, method, &answer)
        } else {
            Some(format!("{}, not {status}", answer.status))
        };
        faults.extend(fault.map(|fault| format!("{method} {target} {headers:?}: {fault}")));
        met.insert((path.to_string(), method.to_string(), *status));
        if *method == "get" && *status != 204 && !headers.iter().any(|(name, _)| *name == "Accept") {
            let head = server.send("HEAD", target, &headers);
            // A HEAD has no Range.
            let expected = if matches!(status, 206 | 416) { 200 } else { *status };
            if head.status != expected || !head.body.is_empty() {
                faults.push(format!("HEAD {target}: {}", head.status));
            }
        }
    }
    // What goes well is all looked at; what goes wrong with the machine or the operator is not made to.
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            for status in operation["responses"].as_object().unwrap().keys().filter(|status| status.as_str() < "400") {
                if !met.contains(&(path.clone(), method.clone(), status.parse().unwrap())) {
                    faults.push(format!("{method} {path}: nothing here is answered by {status}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
