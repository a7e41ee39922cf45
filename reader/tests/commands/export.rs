//! `export`, and `dump --format prom`.
#![cfg(feature = "export")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use atomscope::export::facts::Selection;
use atomscope::export::nodes::Nodes;
use atomscope::export::prometheus::Prometheus;
use atomscope::export::text::Format;
use atomscope::find::{Search, Target};
use atomscope_layout::dto::ShardingEvent;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::metrics::{BUILTIN, Builtin};
use flate2::read::GzDecoder;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::fixture::nodes::shop;
use crate::fixture::{Locked, Node, PATIENCE, RegionDir, is_writing, random, wait_for, wait_until, write};

/// A running `export`, which is killed at the end of the test.
struct Exporter {
    child: Child,
    /// The lines of its standard error.
    notes: Receiver<String>,
}

impl Exporter {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, notes) = mpsc::channel();
        // Ends with the program, or with the test.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, notes }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.notes.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no line on stderr: {error}"))
    }

    /// Ends it by a signal, and checks that it ends well.
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let rest: Vec<_> = self.notes.iter().collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest:?}");
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running HTTP server.
struct Server {
    exporter: Exporter,
    address: SocketAddr,
}

/// The answer to a request.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut from: impl std::io::Read) -> Self {
        let mut all = Vec::new();
        // A client of TLS is told of an end only if the server says goodbye.
        let _ = from.read_to_end(&mut all);
        let end = all.windows(4).position(|at| at == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_lowercase(), body: all[end..].to_vec() }
    }

    fn text(self) -> String {
        String::from_utf8(self.body).unwrap()
    }
}

impl Server {
    fn start(dir: &RegionDir, args: &[&str]) -> Self {
        Self::of(dir.command([&["export", "prometheus", "--listen", "127.0.0.1:0"], args].concat()))
    }

    fn of(command: Command) -> Self {
        let exporter = Exporter::start(command);
        let line = exporter.line();
        let address = line.rsplit_once("://").and_then(|(_, rest)| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { exporter, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        // A server of TLS may close the connection before all is written.
        let _ = write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        Answer::read(stream)
    }

    fn metrics(&self) -> String {
        let answer = self.ask("GET", "/metrics", "");
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.text()
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    fn until(&self, mut is_so: impl FnMut(&str) -> bool) -> String {
        wait_for("the metrics are as wanted, and not", || {
            let text = self.metrics();
            if is_so(&text) { Ok(text) } else { Err(text) }
        })
    }
}

/// The samples of an exposition: name and labels as they stand there, and the value. Fails if a line is there twice, or if a
/// family is not together.
#[track_caller]
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(!families.contains(&name), "the family {name} is there twice");
            families.push(name);
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let of = families.last().unwrap();
        assert!(name.starts_with(of.as_str()), "{name} is not in its family, but in {of}");
        assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line} is there twice");
    }
    samples
}

fn of(node: &str) -> String {
    format!("node=\"{node}\",system=\"Shop\",pid=\"{}\"", std::process::id())
}

#[test]
fn live_nodes_are_served_in_both_formats_and_packed() {
    let dir = RegionDir::new();
    let _shop = shop().live(&dir);
    shop().dead(&dir);
    let server = Server::start(&dir, &["--label", "zone=eu"]);
    let text = server.until(|text| text.contains("atomr_actors_live{"));
    let shop = of("shop");
    let all = samples(&text);
    assert_eq!(all[&format!("atomr_dead_letters_total{{{shop},zone=\"eu\"}}")], 1.0);
    assert_eq!(all[&format!("atomscope_class_actors{{{shop},zone=\"eu\",class=\"shop::Payer\"}}")], 1.0);
    assert_eq!(all[&format!("atomscope_node_state{{{shop},zone=\"eu\",state=\"live\"}}")], 1.0);
    // The region of a dead node is no node.
    assert_eq!(all["atomscope_export_nodes"], 1.0);

    let open = server.ask("GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    let open = open.text();
    assert!(
        open.ends_with("# EOF\n")
            && open.contains("# TYPE atomr_dead_letters counter\natomr_dead_letters_total{")
    );

    let packed = server.ask("GET", "/metrics", "Accept-Encoding: gzip\r\n");
    assert!(packed.head.contains("content-encoding: gzip"), "{}", packed.head);
    let mut unpacked = String::new();
    GzDecoder::new(packed.body.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(samples(&unpacked).len(), all.len());
    server.exporter.stop();
}

#[test]
fn there_are_metrics_and_health_and_nothing_that_could_be_written() {
    let dir = RegionDir::new();
    let server = Server::start(&dir, &[]);
    let head = server.ask("HEAD", "/metrics", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.head.contains("content-length: "), "{}", head.head);
    assert_eq!(server.ask("GET", "/healthz", "").text(), "ok\n");
    assert_eq!(server.ask("GET", "/etc/passwd", "").status, 404);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(server.ask(method, "/metrics", "Content-Length: 0\r\n").status, 405, "{method}");
    }
}

#[test]
fn every_scrape_gets_the_last_counts_of_an_ended_node_and_none_gets_its_gauges() {
    let dir = RegionDir::new();
    let server = Server::start(&dir, &[]);
    let node = shop();
    node.count(Builtin::Spawned, 3);
    let locked = node.live(&dir);
    let shop = of("shop");
    let live = format!("atomr_actors_spawned_total{{{shop}}} 6\n");
    server.until(|text| text.contains(&live));
    drop(locked);
    // The last counts are those of no live node.
    let last = format!("atomr_actors_spawned_total{{{shop},ended=\"1\"}} 6\n");
    let end = format!("atomscope_node_ended{{{shop},how=\"crashed\"}} 1\n");
    server.until(|text| text.contains("atomscope_export_nodes 0\n"));
    for _ in 0..2 {
        assert_eq!(server.ask("HEAD", "/metrics", "").status, 200);
        // An answer is the same for 100 ms.
        std::thread::sleep(Duration::from_millis(150));
        let text = server.metrics();
        assert!(text.contains(&last) && !text.contains(&live) && text.contains(&end), "{text}");
        assert!(!text.contains("atomr_actors_live{"), "{text}");
    }
}

/// An exporter and its nodes in this process.
struct Own {
    nodes: Nodes,
    exporter: Prometheus,
}

impl Own {
    fn new(dir: &RegionDir, last_for: Duration) -> Self {
        let search = Search { dir: Some(dir.path().to_owned()), ..Search::default() };
        let exporter = Prometheus::new(Selection::default(), Vec::new()).last_for(last_for);
        Self { nodes: Nodes::new(search, Vec::new()), exporter }
    }

    /// Looks at the nodes until there are so many.
    fn until(&mut self, count: usize) {
        wait_for(&format!("there are {count} nodes, and not"), || {
            self.nodes.poll(&mut self.exporter).unwrap();
            let now = self.nodes.len();
            if now == count { Ok(()) } else { Err(now) }
        });
    }

    fn text(&mut self) -> String {
        self.exporter.collect(&mut self.nodes).unwrap().to_text(Format::Text)
    }
}

#[test]
fn the_last_counts_of_a_node_are_forgotten_and_its_end_is_not() {
    let dir = RegionDir::new();
    let locked = shop().live(&dir);
    let mut own = Own::new(&dir, Duration::ZERO);
    own.until(1);
    drop(locked);
    own.until(0);
    assert!(own.text().contains("ended=\"1\""));
    let text = own.text();
    assert!(!text.contains("ended=\"1\"") && text.contains("atomscope_node_ended{"), "{text}");
}

#[test]
fn events_before_the_first_answer_are_counted() {
    let dir = RegionDir::new();
    let node = shop();
    let event = ShardingEvent {
        region_id: "orders".to_owned(),
        shard_id: "1".to_owned(),
        event: "started".to_owned(),
    };
    node.event(1, 5, &TelemetryEvent::ShardingChanged(event));
    let _locked = node.live(&dir);
    let mut own = Own::new(&dir, Duration::ZERO);
    own.until(1);
    own.nodes.poll(&mut own.exporter).unwrap();
    let text = own.text();
    let counted =
        format!("atomr_sharding_events_total{{{},region=\"orders\",event=\"started\"}} 1\n", of("shop"));
    assert!(text.contains(&counted), "{text}");
}

#[test]
fn of_names_that_exclude_each_other_the_oldest_nodes_one_stays() {
    let dir = RegionDir::new();
    let mut own = Own::new(&dir, Duration::ZERO);
    let mut locked = Vec::new();
    for name in ["one", "two", "three", "four"] {
        locked.push(Node::new(name).live(&dir));
        own.until(locked.len());
    }
    drop(locked.remove(0));
    own.until(3);
    own.text();
    let exposition = own.exporter.collect(&mut own.nodes).unwrap();
    let names = exposition.sources().iter().filter_map(|source| source.labels.first());
    assert_eq!(names.map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["two", "three", "four"]);
}

#[test]
fn names_of_the_application_are_never_ours_and_never_empty() {
    let dir = RegionDir::new();
    let node = Node::roomy("roomy");
    let names =
        ["_total", "", "atomscope.node_state", "atomr_actors_live", "atomscope", "jobs_total", "latency_ms"];
    for (number, name) in names.into_iter().enumerate() {
        let unit = ["", "", "", "", "drops", "1", "ms"][number];
        node.metric(BUILTIN.len() + 4 + number, name, unit, "Own.");
    }
    let path = node.dead(&dir);
    let text = dir.run(["dump", path.to_str().unwrap(), "--format", "prom"]).ok();
    samples(&text);
    for name in [
        "app_atomscope_node_state",
        "app_atomr_actors_live",
        "app_atomscope_drops",
        "jobs",
        "latency_seconds",
    ] {
        assert!(text.contains(&format!("\n{name}{{node=\"roomy\"")), "{name}: {text}");
    }
    assert!(text.contains("what=\"invalid names\"} 2\n"), "{text}");
    assert!(!text.contains("# TYPE  ") && !text.contains("\n{"), "{text}");
}

#[test]
fn a_program_without_actors_has_no_counts_of_actors() {
    let dir = RegionDir::new();
    let (plain, _shop) = (Node::new("plain"), shop().live(&dir));
    let path = plain.dead(&dir);
    let text = dir.run(["dump", path.to_str().unwrap(), "--format", "prom"]).ok();
    for name in ["atomr_actors_", "atomr_dead_letters", "atomscope_actors_", "atomscope_dead_letters_"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    assert!(text.contains("atomscope_node_state{node=\"plain\""), "{text}");
}

#[test]
fn rows_that_documents_dropped_are_a_count_that_never_falls() {
    let typical = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/2.0/typical.raw");
    let dir = RegionDir::new();
    let text = dir.run(["dump", typical.to_str().unwrap(), "--format", "prom"]).ok();
    let all = samples(&text);
    let value = |of: &dyn Fn(&str) -> bool| *all.iter().find(|(name, _)| of(name)).unwrap().1;
    let rows = |name: &str| {
        name.starts_with("atomscope_drops_total{") && name.contains("what=\"rows of the cluster")
    };
    let counted = |name: &str| name.starts_with("atomscope_documents_rows_dropped_total{");
    assert_eq!(value(&rows), value(&counted));
    // Rows of the cluster are missing, so its members are not known; and no event was read, so none was counted.
    for name in [
        "atomr_cluster_members_up",
        "atomr_cluster_unreachable",
        "atomr_cluster_member_events",
        "events_lost",
    ] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}

#[test]
fn ended_nodes_of_one_file_are_exported_once() {
    let dir = RegionDir::new();
    let mut own = Own::new(&dir, PATIENCE);
    let mut locked = shop().live(&dir);
    for spawned in [7, 8] {
        // As in a container that is started again: name, pid and path are those of the node before.
        let path = locked.path.clone();
        drop(locked);
        let (node, part) = (shop(), dir.join("part"));
        node.count(Builtin::Spawned, spawned);
        write(&part, &node.bytes());
        fs::rename(&part, &path).unwrap();
        locked = Locked::new(path);
        own.until(1);
        own.text();
    }
    drop(locked);
    own.until(0);
    let text = own.text();
    samples(&text);
    let last: Vec<_> = text.lines().filter(|line| line.starts_with("atomr_actors_spawned_total{")).collect();
    assert!(last.len() == 1 && last[0].contains(",region_file=") && last[0].ends_with(" 11"), "{last:?}");
    // Each end is counted, and none of this is a conflict.
    let ended = format!("atomscope_node_ended{{{},how=\"crashed\"}} 2\n", of("shop"));
    assert!(text.contains(&ended) && text.contains("\natomscope_export_conflicts 0\n"), "{text}");
}

#[test]
fn of_live_nodes_at_one_path_the_newest_is_exported_and_the_other_is_counted() {
    let dir = RegionDir::new();
    let mut own = Own::new(&dir, PATIENCE);
    let old = shop().live(&dir);
    own.until(1);
    let (node, part) = (shop(), dir.join("part"));
    node.count(Builtin::Spawned, 8);
    write(&part, &node.bytes());
    fs::rename(&part, &old.path).unwrap();
    let _new = Locked::new(old.path.clone());
    own.until(2);
    let text = own.text();
    let spawned: Vec<_> =
        text.lines().filter(|line| line.starts_with("atomr_actors_spawned_total{")).collect();
    assert!(spawned.len() == 1 && spawned[0].ends_with(" 11"), "{spawned:?}");
    assert!(samples(&text)["atomscope_export_conflicts"] > 0.0, "{text}");
}

#[test]
fn paths_that_are_no_utf8_are_told_apart() {
    let dir = RegionDir::new();
    let paths = [b"\xfe.raw", b"\xff.raw"].map(|name| dir.join(OsStr::from_bytes(name)));
    let locked = paths.clone().map(|path| {
        let locked = shop().live(&dir);
        fs::rename(&locked.path, path).unwrap();
        locked
    });
    let search = Search { dir: Some(dir.path().to_owned()), ..Search::default() };
    let mut own = Own::new(&dir, PATIENCE);
    own.nodes = Nodes::new(search, paths.map(Target::File).into());
    own.until(2);
    let text = own.text();
    for byte in ["fe", "ff"] {
        let file = format!("region_file=\"{}/\\\\x{byte}.raw\"}}", dir.path().display());
        assert!(text.contains(&file), "{file}: {text}");
    }
    drop(locked);
}

#[test]
fn a_node_that_starts_is_not_unreadable_and_is_found_as_soon_as_it_is_ready() {
    // In the directory of regions, and a file of the user's choice.
    for is_target in [false, true] {
        let (dir, other) = (RegionDir::new(), RegionDir::new());
        let path = shop().dead(if is_target { &other } else { &dir });
        let locked = Locked::new(path.clone());
        let mut magic = [0; 8];
        locked.file.read_exact_at(&mut magic, 0).unwrap();
        locked.file.write_all_at(&[0; 8], 0).unwrap();
        let search = Search { dir: Some(dir.path().to_owned()), ..Search::default() };
        let mut own = Own::new(&dir, PATIENCE);
        own.nodes = Nodes::new(search, is_target.then_some(Target::File(path)).into_iter().collect());
        own.until(0);
        assert_eq!((own.nodes.unreadable(), own.nodes.notices()), (0, Vec::new()), "{is_target}");
        locked.file.write_all_at(&magic, 0).unwrap();
        // Nothing has told of it: the region is looked for at each poll.
        own.nodes.poll(&mut own.exporter).unwrap();
        assert_eq!(own.nodes.len(), 1, "{is_target}");
    }
    // Without the lock it ended before it was ready.
    let dir = RegionDir::new();
    let path = shop().dead(&dir);
    let bytes = fs::read(&path).unwrap();
    write(&path, &[&[0; 8], &bytes[8..]].concat());
    let mut own = Own::new(&dir, PATIENCE);
    own.until(0);
    assert_eq!(own.nodes.unreadable(), 1);
}

#[test]
fn nodes_of_one_name_system_and_pid_are_told_apart_by_their_files() {
    let dir = RegionDir::new();
    let regions = [shop().live(&dir), shop().live(&dir)];
    let server = Server::start(&dir, &[]);
    let text = server.until(|text| text.contains("atomscope_export_nodes 2\n"));
    samples(&text);
    for Locked { path, .. } in &regions {
        let one =
            format!("atomr_dead_letters_total{{{},region_file=\"{}\"}} 1\n", of("shop"), path.display());
        assert!(text.contains(&one), "{text}");
    }
    let [one, two] = regions;
    drop(one);
    // A series does not change its labels because another one has gone.
    let text = server.until(|text| text.contains("atomscope_export_nodes 1\n"));
    let live =
        format!("atomr_dead_letters_total{{{},region_file=\"{}\"}} 1\n", of("shop"), two.path.display());
    assert!(text.contains(&live), "{text}");
}

#[test]
fn who_chooses_nodes_and_the_limit_bounds_their_rows() {
    let dir = RegionDir::new();
    let roomy = Node::roomy("roomy");
    roomy.fill();
    (0..3).for_each(|number| {
        roomy.metric(BUILTIN.len() + 8 + number, &format!("own.{number}"), "percent", "Own.")
    });
    let (_roomy, _shop) = (roomy.live(&dir), shop().live(&dir));
    let server =
        Server::start(&dir, &["roomy", "--limit", "1", "--detail", "associations,keys", "--top", "1"]);
    let text = server.until(|text| text.contains("node=\"roomy\""));
    samples(&text);
    assert!(!text.contains("node=\"shop\""), "{text}");
    for name in ["atomr_remote_bytes", "atomscope_journal_writes_total", "own_0_percent", "own_2_percent"] {
        assert!(text.contains(&format!("\n{name}{{node=\"roomy\"")), "{name}: {text}");
    }
    // A region of this size has actors of three classes.
    let server = Server::start(&dir, &["shop", "--limit", "1"]);
    let text = server.until(|text| text.contains("node=\"shop\""));
    let left_out = format!("atomscope_export_left_out{{{},what=\"classes\"}} 2\n", of("shop"));
    assert!(text.contains(&left_out), "{text}");
    assert_eq!(text.matches("\natomscope_class_actors{").count(), 1);
    assert!(!text.contains("atomr_mailbox_depth"), "{text}");
    // A file that is no region is counted, a dump is no node, and a file that is not there may come.
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/2.0/typical.raw");
    let (damaged, missing) = (dir.join("damaged"), dir.join("missing"));
    fs::write(&damaged, [7; 5000]).unwrap();
    let files = [&damaged, &missing, &dump].map(|path| path.to_str().unwrap());
    let server = Server::start(&dir, &files);
    server.until(|text| text.contains("\natomscope_export_regions_unreadable 1\n"));
    let notes = [server.exporter.line(), server.exporter.line()];
    assert!(notes[0].contains(files[0]), "{notes:?}");
    assert!(notes[1].contains("typical.raw is a dump") && notes[1].contains("--format prom"), "{notes:?}");
    let digits = "9".repeat(30);
    assert!(dir.run(["export", "prometheus", &digits]).failed(1).contains(&digits));
}

#[test]
fn a_token_from_a_file_or_the_environment_is_demanded() {
    let dir = RegionDir::new();
    let file = dir.join("token");
    fs::write(&file, "secret\n").unwrap();
    // A token that is no text is one all the same.
    let mut of_bytes = dir.command(["export", "prometheus", "--listen", "127.0.0.1:0"]);
    of_bytes.env("ATOMSCOPE_TOKEN", OsStr::from_bytes(b"\xff\xfesecret"));
    assert_eq!(Server::of(of_bytes).ask("GET", "/metrics", "").status, 401);
    let mut by_environment = dir.command(["export", "prometheus", "--listen", "127.0.0.1:0"]);
    by_environment.env("ATOMSCOPE_TOKEN", "secret");
    for server in [Server::start(&dir, &["--token-file", file.to_str().unwrap()]), Server::of(by_environment)]
    {
        for (header, status) in [
            ("", 401),
            ("Authorization: Bearer wrong\r\n", 401),
            ("Authorization: Basic secret\r\n", 401),
            ("Authorization: Bearer secret\r\n", 200),
        ] {
            assert_eq!(server.ask("GET", "/metrics", header).status, status, "{header}");
        }
        assert_eq!(server.ask("GET", "/healthz", "").status, 200);
    }
    fs::write(&file, " \n").unwrap();
    let empty =
        dir.run(["export", "prometheus", "--listen", "127.0.0.1:0", "--token-file", file.to_str().unwrap()]);
    assert!(empty.failed(1).contains("is empty"));
}

#[test]
fn a_new_token_is_taken_up_and_an_empty_one_is_not() {
    let dir = RegionDir::new();
    let file = dir.join("token");
    fs::write(&file, "secret\n").unwrap();
    let server = Server::start(&dir, &["--token-file", file.to_str().unwrap()]);
    let statuses = || {
        ["secret", "newer"]
            .map(|token| server.ask("GET", "/metrics", &format!("Authorization: Bearer {token}\r\n")).status)
    };
    assert_eq!(statuses(), [200, 401]);
    fs::write(&file, "newer\n").unwrap();
    let note = server.exporter.line();
    assert!(note.contains("the new token") && note.contains(file.to_str().unwrap()), "{note}");
    assert_eq!(statuses(), [401, 200]);
    // Without a token, everybody would be let in.
    fs::write(&file, "\n").unwrap();
    let note = server.exporter.line();
    assert!(note.contains("is empty") && note.ends_with("the previous token stays in use"), "{note}");
    assert_eq!(statuses(), [401, 200]);
    server.exporter.stop();
}

/// A file beside the certificates and keys of these tests, which are all of 127.0.0.1.
fn tls_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

impl Server {
    /// The metrics, if the server has this certificate.
    fn metrics_over_tls(&self, cert: &Path) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(client, self.connect());
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let answer = Answer::read(stream);
        assert_eq!(answer.status, 200, "{}", answer.head);
        Some(answer.text())
    }
}

#[test]
fn tls_is_served_with_a_certificate_and_its_key() {
    let dir = RegionDir::new();
    let _shop = shop().live(&dir);
    let (cert, key) = (tls_file("cert.pem"), tls_file("key.pem"));
    let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(&dir, &files);
    assert!(server.metrics_over_tls(&cert).unwrap().contains("# TYPE atomscope_export_nodes gauge"));
    // Without TLS there is no answer, and the next client gets one.
    assert_eq!(server.ask("GET", "/metrics", "").status, 0);

    let alone = dir.run(["export", "prometheus", "--tls-cert", cert.to_str().unwrap()]);
    assert!(alone.failed(2).contains("--tls-key"));
    let other = tls_file("new-key.pem");
    for (cert, key) in [(&key, &key), (&cert, &other)] {
        let wrong = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let wrong =
            dir.run([&["export", "prometheus", "--listen", "127.0.0.1:0"], wrong.as_slice()].concat());
        assert!(wrong.failed(1).contains("for TLS"));
    }
}

#[test]
fn a_new_certificate_is_taken_up_and_one_that_cannot_be_used_is_not() {
    let dir = RegionDir::new();
    let (old, new) = (tls_file("cert.pem"), tls_file("new-cert.pem"));
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let put = |from: &Path, to: &Path| {
        let part = dir.join("part");
        fs::copy(from, &part).unwrap();
        fs::rename(&part, to).unwrap();
    };
    put(&old, &cert);
    put(&tls_file("key.pem"), &key);
    let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(&dir, &files);
    assert!(server.metrics_over_tls(&old).is_some() && server.metrics_over_tls(&new).is_none());

    // The new certificate with the old key.
    put(&new, &cert);
    let note = server.exporter.line();
    assert!(note.contains(files[3]) && note.contains("stays in use"), "{note}");
    assert!(server.metrics_over_tls(&old).is_some() && server.metrics_over_tls(&new).is_none());

    put(&tls_file("new-key.pem"), &key);
    let note = server.exporter.line();
    assert!(note.contains("the new certificate"), "{note}");
    assert!(server.metrics_over_tls(&new).is_some() && server.metrics_over_tls(&old).is_none());

    fs::write(&cert, "no certificate\n").unwrap();
    let note = server.exporter.line();
    assert!(note.contains(files[1]) && note.contains("no certificate in PEM"), "{note}");
    fs::remove_file(&cert).unwrap();
    let note = server.exporter.line();
    assert!(note.contains("No such file"), "{note}");
    assert!(server.metrics_over_tls(&new).is_some());
    server.exporter.stop();
}

#[test]
fn clients_that_are_silent_slow_or_verbose_hinder_nobody() {
    let dir = RegionDir::new();
    let server = Server::start(&dir, &[]);
    let silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.ask("GET", "/metrics", "").status, 200);
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    let mut stream = server.connect();
    // The server may close the connection before all is written.
    let _ = write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{long}\r\n");
    let refused = Answer::read(stream);
    assert!(matches!(refused.status, 0 | 431), "{}", refused.head);
    // Each of them is cut off.
    for mut stream in silent.into_iter().chain(slow) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.ask("GET", "/metrics", "").status, 200);
}

#[test]
fn a_label_with_a_meaning_of_its_own_and_a_used_address_are_refused() {
    let dir = RegionDir::new();
    let wrong = dir.run(["export", "prometheus", "--label", "pid=1"]).failed(2);
    assert!(wrong.contains("has a meaning of its own"), "{wrong}");
    let wrong = dir.run(["export", "prometheus", "--detail", "nonsense"]).failed(2);
    assert!(wrong.contains("associations"), "{wrong}");
    let server = Server::start(&dir, &[]);
    let used = dir.run(["export", "prometheus", "--listen", &server.address.to_string()]).failed(1);
    assert!(used.contains("another program has it"), "{used}");
}

#[test]
fn the_text_file_is_whole_whenever_it_is_read_and_goes_with_the_exporter() {
    let dir = RegionDir::new();
    let _shop = shop().live(&dir);
    let file = dir.join("atomscope.prom");
    let path = file.to_str().unwrap();
    let command = dir.command(["export", "prometheus", "--textfile", path, "--interval", "100ms"]);
    let exporter = Exporter::start(command);
    let (mut rounds, mut last) = (0, None);
    wait_until("there were five rounds", || {
        let Ok(text) = fs::read_to_string(&file) else { return false };
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        rounds += u32::from(last.replace(modified) != Some(modified));
        assert!(samples(&text).contains_key("atomscope_export_nodes"));
        rounds == 5
    });
    exporter.stop();
    assert!(!file.exists());
}

#[test]
fn a_passing_error_does_not_end_the_text_file() {
    let dir = RegionDir::new();
    let _shop = shop().live(&dir);
    let (folder, aside) = (dir.join("folder"), dir.join("aside"));
    fs::create_dir(&folder).unwrap();
    let file = folder.join("atomscope.prom");
    let path = file.to_str().unwrap();
    let args = ["export", "prometheus", "--textfile", path, "--interval", "100ms"];
    let exporter = Exporter::start(dir.command(args));
    let wait = || wait_until("there is a file", || file.exists());
    wait();
    fs::rename(&folder, &aside).unwrap();
    let line = exporter.line();
    assert!(line.contains("it is tried again every 0.1 s"), "{line}");
    let _ = fs::remove_file(aside.join("atomscope.prom"));
    fs::rename(&aside, &folder).unwrap();
    wait();
    exporter.stop();
    assert!(!file.exists());

    // What cannot be written at all, and what is somebody else's, stays as it is.
    let directory = folder.to_str().unwrap();
    dir.run(["export", "prometheus", "--textfile", directory]).failed(1);
    assert!(folder.is_dir());
    let both = dir.run(["export", "prometheus", "--textfile", path, "--token-file", path]).failed(2);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn a_dump_has_the_same_families_once() {
    let dir = RegionDir::new();
    let path = shop().dead(&dir);
    let text = dir.run(["dump", path.to_str().unwrap(), "--format", "prom"]).ok();
    let all = samples(&text);
    assert_eq!(all[&format!("atomr_dead_letters_total{{{}}}", of("shop"))], 1.0);
    assert_eq!(all[&format!("atomscope_node_state{{{},state=\"crashed\"}}", of("shop"))], 1.0);
    let redacted = dir.run(["dump", path.to_str().unwrap(), "--format", "prom", "--redact"]).ok();
    assert!(!redacted.contains("hop"), "{redacted}");
}

#[test]
fn a_program_gets_each_node_event_and_sample_as_a_line_and_is_started_again() {
    let dir = RegionDir::new();
    let locked = shop().live(&dir);
    let file = dir.join("lines");
    // It ends after some lines.
    let script = format!("head -n 20 >> {}; exit 3", file.display());
    let args = ["export", "exec", "--interval", "100ms", "--", "sh", "-c", &script];
    let exporter = Exporter::start(dir.command(args));
    let lines = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let first = |kind: &str| {
        wait_for(kind, || {
            let all = lines();
            all.iter().find(|line| line["kind"] == kind).cloned().ok_or(format!("{all:?}"))
        })
    };
    assert_eq!(first("node_started")["node"], "shop");
    let sample = first("sample");
    assert_eq!((&sample["name"], &sample["value"]), (&"atomr_actors_spawned_total".into(), &3.into()));
    assert!(exporter.line().contains("exit status: 3"));
    let resumed = first("resumed");
    assert!(resumed["missed"].as_u64().unwrap() > 0, "{resumed}");
    // The program that was started again learns of its nodes before all else.
    let mut next = None;
    wait_until("there is a line more", || {
        let mut lines = lines().into_iter();
        lines.find(|line| line["kind"] == "resumed");
        next = lines.next();
        next.is_some()
    });
    let next = next.unwrap();
    assert_eq!((&next["kind"], &next["node"]), (&"node_started".into(), &"shop".into()));
    assert_eq!(next["number"], sample["number"]);
    drop(locked);

    let missing = dir.run(["export", "exec", "--", "/does/not/exist"]).failed(1);
    assert!(missing.contains("cannot start /does/not/exist"), "{missing}");
}

#[test]
fn a_program_that_does_not_read_is_not_left_behind() {
    let dir = RegionDir::new();
    let _shop = shop().live(&dir);
    let file = dir.join("pid");
    let script = format!("echo $$ > {}; exec sleep 1000 > /dev/null 2>&1", file.display());
    let args = ["export", "exec", "--interval", "10ms", "--", "sh", "-c", &script];
    let exporter = Exporter::start(dir.command(args));
    let mut pid = None;
    wait_until("the program says its pid", || {
        pid = fs::read_to_string(&file).unwrap_or_default().trim().parse::<u32>().ok();
        pid.is_some()
    });
    let pid = pid.unwrap();
    // Its standard error is read, so a write that lasts is one to the full pipe.
    let writes = || is_writing(exporter.child.id());
    wait_until("the exporter is stuck in a write", || {
        writes() && {
            std::thread::sleep(Duration::from_millis(50));
            writes()
        }
    });
    exporter.stop();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn regions_that_appear_vanish_and_are_damaged_leave_no_trace_in_the_exporter() {
    let steps: usize = std::env::var("ATOMSCOPE_CHAOS").map_or(1000, |steps| steps.parse().unwrap());
    let dir = RegionDir::new();
    let server = Server::start(&dir, &[]);
    server.until(|text| text.contains("atomscope_export_nodes 0\n"));
    let process = format!("/proc/{}", server.exporter.child.id());
    let descriptors = || fs::read_dir(format!("{process}/fd")).unwrap().count();
    let before = descriptors();
    let mut random = random();
    let mut regions: Vec<Locked> = Vec::new();
    for step in 0..steps {
        let at = random() as usize % regions.len().max(1);
        match random() % 8 {
            0..=3 => {
                // Each node has counted its own number, so a series of a wrong node would be seen.
                let node = Node::new(&format!("n{step}"));
                node.count(Builtin::Spawned, step as u64);
                regions.push(node.live(&dir));
            }
            _ if regions.is_empty() => {}
            4 => {
                // It crashes, and its region stays.
                regions.swap_remove(at);
            }
            5 => {
                let gone = regions.swap_remove(at);
                fs::remove_file(&gone.path).unwrap();
            }
            6 => {
                let cut = regions.swap_remove(at);
                let bytes = cut.file.metadata().unwrap().len();
                cut.file.set_len(random() % bytes).unwrap();
            }
            _ => {
                // Another node's region comes in its place.
                let replaced = regions.swap_remove(at);
                let node = Node::new(&format!("n{step}"));
                node.count(Builtin::Spawned, step as u64);
                let part = dir.join("part");
                write(&part, &node.bytes());
                fs::rename(&part, &replaced.path).unwrap();
                regions.push(Locked::new(replaced.path.clone()));
            }
        }
        if regions.len() > 20 {
            let gone = regions.swap_remove(0);
            fs::remove_file(&gone.path).unwrap();
        }
        if step % 20 == 0 {
            let text = server.metrics();
            samples(&text);
            for line in text.lines().filter(|line| line.starts_with("atomr_actors_spawned_total{node=\"n")) {
                let number = line.split('"').nth(1).unwrap().trim_start_matches('n');
                assert!(line.ends_with(&format!(" {number}")), "{line}");
            }
        }
    }
    let names: Vec<_> = regions.iter().map(|of| of.path.clone()).collect();
    let alive = regions.len();
    server.until(|text| text.contains(&format!("atomscope_export_nodes {alive}\n")));
    drop(regions);
    names.iter().for_each(|path| fs::remove_file(path).unwrap());
    server.until(|text| text.contains("atomscope_export_nodes 0\n"));
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    assert!(!maps.contains("atomscope-"), "{maps}");
    // A connection that is being closed may still be there.
    wait_until("it has no more descriptors than at the start", || descriptors() <= before);
    server.exporter.stop();
}
