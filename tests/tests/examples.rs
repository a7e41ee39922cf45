//! The examples of the probe, as the commands of `atomscope` see them: a program of threads, a service on tokio, and a node
//! on atomr.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use atomscope_tests::support::{self, Running, listed, wait_until};
use serde_json::Value;

/// An example that runs.
struct Example(Running);

impl Example {
    /// Starts it, and waits until `atomscope` finds it.
    fn start(example: &str) -> Self {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| {
            let folder = support::program("atomscope").parent().unwrap().to_path_buf();
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            // With the features of all packages, so that nothing else is built again.
            build.args(["build", "--quiet", "--workspace", "--target-dir"]).arg(folder.parent().unwrap());
            build.args(["--example", "plain", "--example", "service", "--example", "actors"]);
            if folder.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
            folder.join("examples")
        });
        let program = folder.join(example).with_extension(std::env::consts::EXE_EXTENSION);
        let child = Command::new(program).stdin(Stdio::null()).spawn().unwrap();
        let example = Self(Running(child));
        wait_until("the example is found", || !listed(example.pid()).is_empty());
        example
    }

    fn pid(&self) -> u32 {
        self.0.0.id()
    }

    fn who(&self) -> String {
        self.pid().to_string()
    }

    fn row(&self) -> Value {
        listed(self.pid()).remove(0)
    }

    fn text(&self, command: &str) -> String {
        let output = support::atomscope([command, &self.who()]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, command: &str) -> Value {
        support::atomscope_json([command, &self.who(), "--json"])
    }

    /// The newest events of a topic.
    fn events(&self, topic: &str) -> Vec<Value> {
        let output = support::atomscope(["tail", &self.who(), "--no-follow", "--topic", topic, "--json"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The value of a metric of the application.
    fn metric(&self, name: &str) -> Value {
        let metrics = self.json("metrics");
        let of_name = |metric: &&Value| metric["name"] == name;
        metrics.as_array().unwrap().iter().find(of_name).unwrap_or_else(|| panic!("no {name}"))["value"]
            .clone()
    }
}

/// No command speaks of actors where there are none, and `stat` has no column of them.
fn speaks_of_no_actors(example: &Example) {
    let row = example.row();
    assert_eq!((&row["state"], &row["system"], &row["actors"]), (&"live".into(), &Value::Null, &Value::Null));
    for command in ["show", "doctor"] {
        let text = example.text(command).to_lowercase();
        for word in ["actor", "dead letter", "async runtime", "install"] {
            assert!(!text.contains(word), "{command} says {word}: {text}");
        }
    }
    let titles = |arguments: &[&str]| {
        let output = support::atomscope([&["stat", &example.who(), "1ms", "1"], arguments].concat());
        String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
    };
    assert_eq!(
        titles(&[]).split_whitespace().collect::<Vec<_>>(),
        ["EVENTS(/s)", "LOST", "BEAT(s)", "CPU(%)", "STATE"]
    );
    let row: Value = serde_json::from_str(&titles(&["--json"])).unwrap();
    assert_eq!((&row["actors"], &row["dead_letters_per_s"]), (&Value::Null, &Value::Null), "{row}");
}

#[test]
fn a_program_of_threads_shows_its_numbers_records_and_events() {
    let importer = Example::start("plain");
    // More batches than `tail` shows, so that the text at the beginning is not among its events.
    wait_until("batches were read", || importer.metric("rows.read").as_u64() >= Some(20 * 250));
    speaks_of_no_actors(&importer);
    let is_published = |worker: &Value| worker["kind"] == "Worker" && worker["published"].as_u64() > Some(0);
    wait_until("all workers have published", || {
        let workers = importer.json("records");
        let workers = workers.as_array().unwrap();
        workers.len() == 4 && workers.iter().all(is_published)
    });
    let batches = importer.events("batches");
    assert!(
        batches.iter().all(|batch| batch["topic"] == "batches" && batch["record"] == "Batch"),
        "{batches:#?}"
    );
    assert!(batches.last().unwrap()["values"]["rows"] == 250, "{batches:#?}");
    assert!(importer.text("show").contains("4 records (4 Worker)"));
}

#[test]
fn a_service_on_tokio_shows_its_connections_and_requests() {
    let service = Example::start("service");
    wait_until("requests were answered", || service.metric("requests").as_u64() > Some(0));
    speaks_of_no_actors(&service);
    let mut connections = Value::Null;
    wait_until("both connections are open", || {
        connections = service.json("records");
        connections.as_array().unwrap().len() == 2
    });
    assert_eq!(connections[0]["kind"], "Connection");
    wait_until("a connection was closed", || !service.events("connections").is_empty());
    let text = service.events("connections")[0]["text"].as_str().unwrap().to_owned();
    assert!(text.ends_with("closed after 200 requests"), "{text}");
}

#[test]
fn a_node_on_atomr_shows_its_actors() {
    let shop = Example::start("actors");
    wait_until("pieces were sold", || shop.metric("pieces.sold").as_u64() > Some(0));
    let row = shop.row();
    assert_eq!(
        (&row["node"], &row["system"], &row["state"]),
        (&"shop-1".into(), &"shop".into(), &"live".into())
    );
    let text = shop.text("show");
    assert!(text.contains("actor system shop") && text.contains("4 live (4 spawned, 0 stopped)"), "{text}");
    assert!(text.contains("Till"), "{text}");
}
