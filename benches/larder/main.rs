//! larder beside its peers, as ratios of one run: `cargo bench` for all but the 4 GiB file,
//! `cargo bench -- cook commits gitfast history part hit status start api policy scale delete archiver big` for those
//! named.
//!
//! Absolute times differ from machine to machine and from hour to hour; a pair that runs in turn
//! does not. `benches/README.md` keeps what was found.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where something is wrong")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures for people")]

#[path = "../../tests/common/mod.rs"]
mod common;

mod api;
mod archiver;
mod commits;
mod cook;
mod gitfast;
mod history;
mod hit;
#[path = "../../tests/library/history/kit.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod kit;
mod latency;
mod part;
mod policy;
mod scale;
#[path = "../../tests/archiver/seaweed.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod seaweed;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| if named.is_empty() { name != "big" } else { named.iter().any(|n| n == name) };
    if wanted("cook") {
        cook::beside_git_archive();
    }
    if wanted("commits") {
        commits::beside_git_archive();
    }
    if wanted("gitfast") {
        gitfast::beside_git_fast_export();
    }
    if wanted("history") {
        history::beside_git();
    }
    if wanted("part") {
        part::beside_pack_objects();
    }
    if wanted("hit") {
        hit::beside_nginx();
    }
    if wanted("status") {
        latency::of_status_and_no_op_post();
    }
    if wanted("start") {
        latency::of_start_with_a_million_rows();
    }
    if wanted("api") {
        api::of_objects();
    }
    if wanted("policy") {
        policy::of_collection();
    }
    if wanted("scale") {
        scale::of_the_catalogue();
    }
    if wanted("delete") {
        scale::of_real_files();
    }
    if wanted("archiver") {
        archiver::beside_curl_and_status();
    }
    if wanted("big") {
        cook::of_a_4_gib_file();
    }
}

/// The middle value.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// `min / median / max`.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!("{:.2} / {:.2} / {:.2}", sorted[0], median(values), sorted[sorted.len() - 1])
}
