//! What `deploy/` brings for Prometheus and Grafana: that it names what larder has, and means what it says.

use crate::common::fixtures::fixture;
use crate::common::scrape::{has_promtool, scrape};
use crate::common::server::Server;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(shipped("grafana/larder.json")).unwrap()).unwrap()
}

/// The expressions of all panels and annotations, as Prometheus would get them.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let notes = dashboard["annotations"]["list"].as_array().unwrap();
    let all = targets.flatten().chain(notes).map(|one| one["expr"].as_str().unwrap());
    all.map(|expr| expr.replace("$__rate_interval", "1m").replace("$instance", ".*")).collect()
}

/// Words of larder's and of every process's metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("larder_") || word.starts_with("process_")).collect()
}

#[test]
fn every_metric_that_rules_dashboard_and_document_name_is_in_a_scrape() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let config = data.path().join("larder.toml");
    fs::write(
        &config,
        "max_size = \"1GiB\"\naccess_log = \"access.log\"\n\
         [archiver.sources.up]\nurl = \"http://127.0.0.1:9/{repo}/{rev}.{suffix}\"\nrepos = [\"**\"]\n\
         suffixes = [\"zip\"]\nprivate_addresses = true\n\
         [archiver.regions.here]\nbucket = \"b\"\nendpoint = \"http://127.0.0.1:9\"\nallow_http = true\n\
         access_key_env = \"NONE\"\nsecret_key_env = \"NONE\"\n",
    )
    .unwrap();
    let server = Server::start(data.path(), &[&plain.path], &["--config", config.to_str().unwrap()]);
    let id = plain.cookable().find(|id| id.kind.to_string() == "directory").unwrap();
    assert_eq!(server.cook(&format!("directory/{}.zip", id.id))["status"], "done");
    scrape(&server.address);
    let well = scrape(&server.address);
    fs::remove_file(data.path().join("catalogue.db")).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut ill = scrape(&server.address);
    while ill.sum("larder_trouble") == 0.0 {
        assert!(Instant::now() < deadline, "{}", ill.text);
        std::thread::sleep(Duration::from_millis(100));
        ill = scrape(&server.address);
    }
    let found: BTreeSet<&str> = well.metrics().union(&ill.metrics()).copied().collect();
    let text = fs::read_to_string(shipped("prometheus/larder.rules.yml")).unwrap();
    let tried = fs::read_to_string(shipped("prometheus/larder.rules.test.yml")).unwrap();
    let document = fs::read_to_string(shipped("../docs/metrics.md")).unwrap();
    for (name, text) in [("rules", text), ("their tests", tried), ("dashboard", expressions(&dashboard()).join("\n"))] {
        let named = metrics_in(&text);
        assert!(named.len() > 10, "{name} names {named:?} only");
        let is_there = |metric: &&&str| found.contains(*metric) || found.contains(format!("{metric}_count").as_str());
        let strange: Vec<_> = named.iter().filter(|metric| !is_there(metric)).collect();
        assert!(strange.is_empty(), "{name}: {strange:?} are no metrics of larder:\n{found:?}");
    }
    // The other way round for the document: all that there is stands in it.
    let told = metrics_in(&document);
    let family =
        |metric: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end)).map(str::to_owned);
    let untold: Vec<_> = found
        .iter()
        .filter(|metric| metric.starts_with("larder_"))
        .filter(|metric| !told.contains(*metric) && family(metric).is_none_or(|family| !told.contains(family.as_str())))
        .collect();
    assert!(untold.is_empty(), "docs/metrics.md says nothing of {untold:?}");
}

#[test]
fn alerts_fire_for_what_they_say_and_for_nothing_else() {
    if !has_promtool() {
        return;
    }
    let promtool = |args: &[&str], folder: &Path| {
        let done = Command::new("promtool").args(args).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}{}", text(&done.stdout), text(&done.stderr));
    };
    let folder = shipped("prometheus");
    promtool(&["check", "rules", "larder.rules.yml"], &folder);
    promtool(&["test", "rules", "larder.rules.test.yml"], &folder);
    // Prometheus reads the dashboard's expressions, each as if it were a rule.
    let rule = |(number, expr)| format!("  - record: panel:{number}\n    expr: '{expr}'\n");
    let rules = expressions(&dashboard()).into_iter().enumerate().map(rule).collect::<Vec<String>>().concat();
    let made = tempfile::tempdir().unwrap();
    fs::write(made.path().join("panels.yml"), format!("groups:\n- name: panels\n  rules:\n{rules}")).unwrap();
    promtool(&["check", "rules", "panels.yml"], made.path());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
