//! Rules for dependencies: known licences, one registry, no crate in two versions without a reason, and no crate of
//! ours with more than it needs. `cargo audit` reports yanked and unmaintained crates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that require attribution only.
const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The only registry that crates may come from.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates with several versions, and the crates that need each.
const TWICE: [(&str, &str); 17] = [
    ("bitflags", "1 for nix 0.23 of shared_memory"),
    ("getrandom", "0.2 for rand 0.8 of shared_memory, 0.3 for rand 0.9 of proptest, 0.4 for tempfile"),
    ("hashbrown", "0.14 for dashmap of atomr"),
    (
        "prometheus",
        "0.13 for atomr-telemetry, whose exporter a test compares with ours; the benchmarks use the newest",
    ),
    ("r-efi", "for getrandom, on UEFI alone"),
    ("rand", "0.8 for shared_memory, 0.9 for proptest"),
    ("rand_chacha", "as rand"),
    ("rand_core", "as rand"),
    ("syn", "2 for derive macros that have not moved to 3"),
    ("thiserror", "1 for atomr"),
    ("thiserror-impl", "as thiserror"),
    ("windows-sys", "0.52 for ring; on Windows alone, as the following"),
    ("windows_aarch64_msvc", "0.34 for shared_memory, 0.52 for ring"),
    ("windows_i686_gnu", "as windows_aarch64_msvc"),
    ("windows_i686_msvc", "as windows_aarch64_msvc"),
    ("windows_x86_64_gnu", "as windows_aarch64_msvc"),
    ("windows_x86_64_msvc", "as windows_aarch64_msvc"),
];

/// Dependencies that a crate of ours must not have, with any features.
const APART: [(&str, &[&str]); 3] = [
    ("atomscope-layout", &["libc", "memmap2", "tokio", "atomr-core", "atomscope-probe", "atomscope"]),
    ("atomscope", &["atomr-core", "atomr-telemetry", "atomscope-probe"]),
    ("atomscope-probe", &["atomscope", "clap", "atomr-telemetry"]),
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn packages(metadata: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.map(|package| {
        let text = |field: &str| package[field].as_str().expect("a text");
        (text("name"), text("version"), package)
    })
}

/// Whether one alternative of each part of an SPDX expression is allowed. Deeper nesting is not parsed, and so not
/// allowed.
fn is_allowed(licence: &str) -> bool {
    licence.split(" AND ").all(|part| {
        let part = part.trim_start_matches('(').trim_end_matches(')').replace('/', " OR ");
        part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_the_registry() {
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed(""));
    let metadata = metadata();
    for (name, version, package) in packages(&metadata) {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence), "{name} {version} is under {licence:?}");
        match package["source"].as_str() {
            Some(source) => assert_eq!(source, SOURCE, "{name} {version}"),
            None => assert!(name.starts_with("atomscope"), "{name} {version} is a path"),
        }
    }
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    packages(&metadata).for_each(|(name, version, _)| versions.entry(name).or_default().push(version));
    versions.retain(|_, versions| versions.len() > 1);
    let found: BTreeSet<&str> = versions.keys().copied().collect();
    let reasons: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let without: Vec<_> = versions.iter().filter(|(name, _)| !reasons.contains(*name)).collect();
    assert!(without.is_empty(), "several versions without a reason: {without:?}");
    let idle: Vec<_> = reasons.difference(&found).collect();
    assert!(idle.is_empty(), "these exist in one version only: {idle:?}");
}

#[test]
fn each_crate_of_ours_is_built_without_what_is_not_its_business() {
    let metadata = metadata();
    let names: BTreeMap<&str, &str> = packages(&metadata)
        .map(|(name, _, package)| (package["id"].as_str().expect("an id"), name))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes").iter();
    let nodes: BTreeMap<&str, &Value> =
        nodes.map(|node| (node["id"].as_str().expect("an id"), node)).collect();
    for (ours, banned) in APART {
        let (id, _) = names.iter().find(|(_, name)| **name == ours).expect("one of ours");
        let (mut seen, mut next) = (BTreeSet::new(), vec![*id]);
        while let Some(id) = next.pop() {
            for dependency in nodes[id]["deps"].as_array().expect("dependencies") {
                // Only dependencies of the shipped crate, not those of its tests and loom models.
                let ships = |kind: &Value| {
                    kind["kind"].is_null() && kind["target"].as_str() != Some("cfg(atomscope_loom)")
                };
                let id = dependency["pkg"].as_str().expect("an id");
                let kinds = dependency["dep_kinds"].as_array().expect("kinds");
                if kinds.iter().any(ships) && seen.insert(id) {
                    next.push(id);
                }
            }
        }
        let needed: BTreeSet<&str> = seen.into_iter().map(|id| names[id]).collect();
        let unwanted: Vec<_> = banned.iter().filter(|name| needed.contains(*name)).collect();
        assert!(unwanted.is_empty(), "{ours} needs {unwanted:?}");
    }
}

/// Only the feature `export` of the program has an HTTP server.
#[test]
fn the_library_and_the_small_program_are_built_without_the_server() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for features in [&["--no-default-features"][..], &["--no-default-features", "--features", "program"]] {
        let mut command = Command::new(&cargo);
        command
            .args(["tree", "--locked", "-p", "atomscope", "-e", "normal", "--prefix", "none"])
            .args(features);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo can be run");
        let tree = String::from_utf8(output.stdout).expect("names");
        let needed: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(needed.contains("atomscope-layout"), "{tree}");
        let unwanted: Vec<_> = ["tokio", "hyper", "rustls", "ring", "flate2"]
            .into_iter()
            .filter(|name| needed.contains(name))
            .collect();
        assert!(unwanted.is_empty(), "with {features:?} it needs {unwanted:?}");
    }
}
