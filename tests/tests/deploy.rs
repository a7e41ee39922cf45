//! The files of `atomscope deploy` are sound: the programs that read them accept them, and they name metrics that there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use atomscope_layout::metrics::BUILTIN;
use atomscope_tests::support::{Node, Running, atomscope, program, wait_until};
use serde_json::Value;

/// Runs `atomscope deploy` with these arguments.
fn deploy(arguments: &[&str]) -> String {
    let output = atomscope([&["deploy"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The names that `atomscope deploy` lists.
fn names() -> Vec<String> {
    let words = deploy(&[]);
    words.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_file_of_the_folder_is_listed_and_printed_as_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reader/deploy");
    let entries = std::fs::read_dir(folder).expect("the folder");
    let mut files: Vec<String> = entries
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a text"))
        .collect();
    let mut printed: Vec<String> = names().iter().map(|name| deploy(&[name])).collect();
    files.sort();
    printed.sort();
    assert!(files == printed, "a file is not printed, or not as it is");
    for text in printed.iter().filter(|text| !text.starts_with('{')) {
        assert!(text.starts_with("# ") && text.contains("atomscope deploy"), "{text}");
    }
}

#[test]
fn images_have_the_version_of_the_program() {
    let mut images = 0;
    for name in names() {
        for rest in deploy(&[&name]).split("REGISTRY/atomscope:").skip(1) {
            let version = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next();
            assert_eq!(version, Some(env!("CARGO_PKG_VERSION")), "{name}");
            images += 1;
        }
    }
    assert!(images >= 3, "{images}");
}

/// The lines of a text that are no comments, without their indents.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn who_listens_in_a_cluster_asks_for_a_token_and_prometheus_sends_it() {
    for name in ["sidecar", "daemonset"] {
        let text = deploy(&[name]);
        let lines = lines(&text);
        assert!(text.contains("0.0.0.0:9464") && lines.contains(&"- name: ATOMSCOPE_TOKEN"), "{name}");
        let secret = lines.iter().position(|line| *line == "secretKeyRef:").expect("a secret");
        assert_eq!(lines[secret + 1..secret + 3], ["name: atomscope", "key: token"], "{name}");
        assert!(text.contains("create secret generic atomscope --from-literal=token="), "{name}");
    }
    assert!(lines(&deploy(&["daemonset"])).contains(&"kind: NetworkPolicy"));
    let scrape = deploy(&["scrape-kubernetes"]);
    let lines = lines(&scrape);
    let authorization = lines.iter().position(|line| *line == "authorization:").expect("a token is sent");
    assert!(lines[authorization + 1].starts_with("credentials_file: "));
}

#[test]
fn the_image_is_built_without_what_the_sources_became() {
    assert!(lines(&deploy(&["container"])).contains(&"COPY . ."));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ignored = std::fs::read_to_string(root.join(".dockerignore")).expect("it is there");
    let ignored = lines(&ignored);
    for folder in [".git", "**/target"] {
        assert!(ignored.contains(&folder), "{folder}");
    }
}

/// The names of metrics in a text: words that begin as those of the exporter do.
fn metrics(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let mut found: Vec<_> =
        words.filter(|word| word.starts_with("atomscope_") || word.starts_with("atomr_")).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn the_dashboard_has_panels_without_gaps_in_their_numbers_and_a_query_in_each() {
    let dashboard: Value = serde_json::from_str(&deploy(&["dashboard"])).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    assert!(panels.len() > 5);
    for (panel, number) in panels.iter().zip(1..) {
        assert_eq!(panel["id"], number);
        let is_row = panel["type"] == "row";
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(is_row || queries > 0, "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a text");
            assert!(!metrics(query).is_empty(), "{query}");
        }
    }
}

/// Removes the names of a file's samples from `missing` until only these are left.
fn wait_for_all_but(left: &[&str], missing: &mut BTreeSet<&str>, file: &Path) {
    wait_until("all metrics were exported", || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.split(['{', ' ']).next());
        names.for_each(|name| _ = missing.remove(name));
        missing.iter().all(|name| left.contains(name))
    });
}

#[test]
fn the_rules_and_the_dashboard_name_metrics_that_are_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("atomscope.prom");
    let mut node = Node::demo(["--node", "deploy", "--rate", "200"]);
    let mut exporter = Command::new(program("atomscope"));
    // With this limit something is left out, which is told by a metric of its own.
    exporter.args([
        "export",
        "prometheus",
        "--top",
        "5",
        "--limit",
        "1",
        "--interval",
        "200ms",
        "--textfile",
    ]);
    exporter.args([file.as_os_str(), node.who().as_ref()]).stdin(Stdio::null());
    let _exporter = Running(exporter.spawn().expect("atomscope can be run"));
    let (rules, dashboard) = (deploy(&["rules"]), deploy(&["dashboard"]));
    assert!(metrics(&rules).len() > 10 && metrics(&dashboard).len() > 10);
    let texts = rules + &dashboard;
    let mut missing: BTreeSet<&str> = metrics(&texts).into_iter().collect();
    // The demo node logs through no layer of the probe, so these of its built-in metrics are unknown.
    for unknown in ["failures.errors", "failures.warnings"] {
        assert!(BUILTIN.iter().any(|(name, ..)| *name == unknown), "{unknown}");
        missing.remove(format!("atomscope_{}_total", unknown.replace('.', "_")).as_str());
    }
    wait_for_all_but(&["atomscope_node_ended"], &mut missing, &file);
    node.kill();
    wait_for_all_but(&[], &mut missing, &file);
}

/// A folder with the rules and their tests.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("atomscope-rules.yml"), deploy(&["rules"])).expect("a file");
    std::fs::write(folder.path().join("prometheus.yml"), deploy(&["scrape"])).expect("a file");
    let tests = folder.path().join("rules-test.yml");
    std::fs::write(&tests, include_str!("../deploy/rules-test.yml")).expect("a file");
    (folder, tests)
}

#[track_caller]
fn promtool(folder: &Path, arguments: &[&str]) -> String {
    let mut promtool = Command::new("promtool");
    let Output { status, stdout, stderr } =
        promtool.args(arguments).current_dir(folder).output().expect("promtool can be run");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}");
    said
}

#[test]
#[ignore = "needs promtool"]
fn prometheus_takes_the_rules_and_the_configuration() {
    let (folder, _) = folder();
    promtool(folder.path(), &["check", "rules", "atomscope-rules.yml"]);
    promtool(folder.path(), &["check", "config", "prometheus.yml"]);
    // The promtool of Debian does not know Kubernetes.
    let kubernetes = deploy(&["scrape-kubernetes"]);
    let found = "kubernetes_sd_configs:\n      - role: pod\n";
    assert!(kubernetes.contains(found));
    let both = deploy(&["scrape"]) + &kubernetes.replace(found, "static_configs: []\n");
    std::fs::write(folder.path().join("both.yml"), both).expect("a file");
    // The files of certificates and tokens are not here.
    promtool(folder.path(), &["check", "config", "--syntax-only", "both.yml"]);
}

#[test]
#[ignore = "needs promtool"]
fn each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() {
    let (folder, tests) = folder();
    promtool(folder.path(), &["test", "rules", "rules-test.yml"]);
    let (rules, tests) = (deploy(&["rules"]), std::fs::read_to_string(tests).expect("a text"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname: {alert}\n        exp_alerts:")),
            "no test raises {alert}"
        );
    }
}

#[test]
#[ignore = "needs promtool"]
fn prometheus_understands_the_queries_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&deploy(&["dashboard"])).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list").iter();
    let queries = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: String = queries
        .enumerate()
        .map(|(number, target)| {
            let query = target["expr"].as_str().expect("a text").replace("$__rate_interval", "5m");
            format!("  - record: panel:{number}\n    expr: {}\n", Value::from(query))
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queries.yml");
    std::fs::write(&file, format!("groups:\n- name: panels\n  rules:\n{rules}")).expect("a file");
    promtool(folder.path(), &["check", "rules", "queries.yml"]);
}
