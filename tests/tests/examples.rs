//! The examples of the probe, as the commands of `atomscope` see them: a program of threads, a service on tokio, and a node
//! on atomr.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use atomscope_tests::support::{self, listed, wait_until};
use serde_json::Value;

/// An example that runs. Drop kills it.
struct Running(Child);

impl Running {
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
        let running = Self(Command::new(program).stdin(Stdio::null()).spawn().unwrap());
        wait_until("the example is found", || !listed(running.0.id()).is_empty());
        running
    }

    fn who(&self) -> String {
        self.0.id().to_string()
    }

    fn row(&self) -> Value {
        listed(self.0.id()).remove(0)
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

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// No command speaks of actors where there are none.
fn speaks_of_no_actors(running: &Running) {
    let row = running.row();
    assert_eq!((&row["state"], &row["system"], &row["actors"]), (&"live".into(), &Value::Null, &Value::Null));
    for command in ["show", "doctor"] {
        let text = running.text(command).to_lowercase();
        for word in ["actor", "dead letter", "async runtime", "install"] {
            assert!(!text.contains(word), "{command} says {word}: {text}");
        }
    }
}

#[test]
fn a_program_of_threads_shows_its_numbers_records_and_events() {
    let importer = Running::start("plain");
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
    let service = Running::start("service");
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
    let shop = Running::start("actors");
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
