//! The fuzz targets, without a fuzzer: each takes what it was made for, and nothing near it makes one
//! panic. The campaigns themselves belong to `tests/run --long`; this keeps them from going stale.
//!
//! `LARDER_FUZZ_SEEDS=DIR cargo test --test library fuzz` writes the seeds to `DIR/<target>/`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod seeds;
#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library where the fuzzer takes it")]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use targets::{TARGETS, run};

#[test]
fn every_target_takes_its_seeds() {
    let seeds = seeds::seeds();
    let folder = std::env::var_os("LARDER_FUZZ_SEEDS");
    for (target, _) in TARGETS {
        assert!(!seeds[target].is_empty());
        for (number, seed) in seeds[target].iter().enumerate() {
            assert!(run(target, seed), "{target} refuses its seed {number}: {}", seed.escape_ascii());
            if let Some(folder) = &folder {
                let folder = Path::new(folder).join(target);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
            }
        }
    }
}

#[test]
fn no_damaged_seed_makes_a_target_panic_and_some_are_refused() {
    const FLIPS: usize = 40;
    const CUTS: usize = 10;
    for (target, seeds) in seeds::seeds() {
        let mut refused = 0;
        for seed in seeds {
            for part in 0..CUTS {
                refused += usize::from(!run(target, &seed[..seed.len() * part / CUTS]));
            }
            for part in 0..FLIPS {
                let mut damaged = seed.clone();
                damaged[seed.len() * part / FLIPS] ^= [1, 0x10, 0x80, 0xff][part % 4];
                refused += usize::from(!run(target, &damaged));
            }
        }
        assert!(refused > 0, "{target} takes everything");
    }
}

#[test]
fn every_target_is_built_and_run() {
    let text = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let manifest: toml::Table = text("fuzz/Cargo.toml").parse().unwrap();
    let built = manifest["bin"].as_array().unwrap().iter();
    let built: BTreeSet<String> = built.map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(built, names);
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets")).unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, names.iter().map(|name| format!("{name}.rs")).collect());
    for name in &names {
        assert!(text(&format!("fuzz/fuzz_targets/{name}.rs")).contains(&format!("run({name:?}, bytes)")), "{name}");
    }
    let line = text("tests/run");
    let line = line.lines().find_map(|line| line.trim().strip_prefix("for target in ")).unwrap();
    let run: BTreeSet<String> = line.trim_end_matches("; do").split(' ').map(str::to_owned).collect();
    assert_eq!(run, names);
}

/// The fuzzer builds larder with the versions that larder is built with, and cargo has nothing to lock
/// anew.
#[test]
fn the_fuzzers_lock_file_is_larders() {
    let lock = |path: &str| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let lock: toml::Table = text.parse().unwrap();
        lock["package"].as_array().unwrap().clone()
    };
    let identity = |package: &toml::Value| (package["name"].to_string(), package["version"].to_string());
    let (ours, theirs) = (lock("Cargo.lock"), lock("fuzz/Cargo.lock"));
    let known: BTreeSet<_> = ours.iter().map(identity).collect();
    let more: Vec<_> = theirs.iter().map(identity).filter(|package| !known.contains(package)).collect();
    let allowed = ["arbitrary", "larder-fuzz", "libfuzzer-sys"];
    assert!(more.iter().all(|(name, _)| allowed.contains(&name.trim_matches('"'))), "{more:?}");
    let dependencies = |lock: &[toml::Value]| -> BTreeSet<String> {
        let larder = lock.iter().find(|package| package["name"].as_str() == Some("larder")).unwrap();
        let list = larder["dependencies"].as_array().unwrap().iter();
        // A version stands behind the name where a lock file has two of it.
        list.map(|name| name.as_str().unwrap().split(' ').next().unwrap().to_owned()).collect()
    };
    let manifest: toml::Table =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap().parse().unwrap();
    let of_tests = manifest["dev-dependencies"].as_table().unwrap();
    let mut expected = dependencies(&ours);
    expected.retain(|name| !of_tests.contains_key(name));
    assert_eq!(dependencies(&theirs), expected);
}
