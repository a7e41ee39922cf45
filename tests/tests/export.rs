//! `atomscope export` on real nodes, beside `atomr-telemetry`'s exporter, under a real Prometheus and a real node exporter.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope_tests::support::{self, Node, PATIENCE, own_memory, wait_until};
use serde_json::Value;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `atomscope export prometheus`, with its address.
struct Exporter {
    running: Running,
    address: SocketAddr,
}

impl Exporter {
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["export", "prometheus", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = Command::new(support::program("atomscope"));
        let mut running = Running(command.args(arguments).stderr(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        let address = line.rsplit_once("://").unwrap().1.split('/').next().unwrap().parse().unwrap();
        // Its further notes are not read, and must not block it.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { running, address }
    }

    fn metrics(&self) -> String {
        get(self.address, "/metrics").unwrap_or_else(|why| panic!("no metrics: {why}"))
    }

    fn samples(&self) -> BTreeMap<Series, f64> {
        samples(&self.metrics())
    }
}

/// The body of an answer with the status 200.
fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // HTTP 1.0 has no chunks and no connection that stays.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
}

/// A name, and labels by their names.
type Series = (String, BTreeMap<String, String>);

/// The samples of an exposition, without comments. Values of labels must not contain commas or quotes.
fn samples(text: &str) -> BTreeMap<Series, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split_terminator("\",").map(|label| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            ((name.to_owned(), labels.collect()), value.parse().unwrap())
        })
        .collect()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn seconds(variable: &str, default: u64) -> Duration {
    Duration::from_secs(std::env::var(variable).map_or(default, |text| text.parse().unwrap()))
}

mod both {
    use std::sync::{Arc, Weak};

    use atomr_core::actor::ActorSystem;
    use atomr_core::prelude::Config;
    use atomr_telemetry::bus::TelemetryEvent;
    use atomr_telemetry::dto::{
        ActorStatus, ClusterMemberInfo, ClusterStateInfo, RemoteAssociationInfo, ShardRegionInfo,
        ShardingSnapshot,
    };
    use atomr_telemetry::exporters::Exporter;
    use atomr_telemetry::exporters::prometheus::PrometheusExporter;

    use super::*;

    /// Passes the events of `atomr-telemetry` on to ours.
    struct Feed(Weak<atomscope_probe::TelemetryExtension>);

    impl Exporter for Feed {
        fn on_event(&self, event: &atomr_telemetry::bus::TelemetryEvent) {
            let event = serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap();
            if let Some(ours) = self.0.upgrade() {
                ours.record_event(event);
            }
        }
    }

    /// Both crates in one process, until its input ends: first everything happens, then it prints what `atomr-telemetry`
    /// exports.
    pub async fn node() {
        let system = ActorSystem::create("shop", Config::empty()).await.unwrap();
        let theirs = atomr_telemetry::TelemetryExtension::new("both", 1024).install(&system);
        let ours = atomscope_probe::TelemetryExtension::new("both", 1024).install_tee(
            &system,
            theirs.actors.clone(),
            theirs.dead_letters.clone(),
        );
        let exporter = Arc::new(PrometheusExporter::with_namespace("both", Some("atomr")).unwrap());
        theirs.add_exporter(exporter.clone());
        theirs.add_exporter(Arc::new(Feed(Arc::downgrade(&ours))));
        println!("ready region={}", ours.region().path().unwrap().display());

        let member = |address: &str, status: &str, reachable| ClusterMemberInfo {
            address: address.into(),
            status: status.into(),
            roles: Vec::new(),
            reachable,
            up_number: 1,
        };
        let state = |members: Vec<ClusterMemberInfo>| ClusterStateInfo {
            unreachable: members.iter().filter(|m| !m.reachable).map(|m| m.address.clone()).collect(),
            members,
            ..Default::default()
        };
        theirs.cluster.update(state(vec![member("a", "Up", true), member("b", "Joining", true)]));
        theirs.cluster.update(state(vec![
            member("a", "Up", true),
            member("b", "Up", false),
            member("c", "Up", false),
        ]));
        theirs.cluster.update(state(vec![member("b", "Up", true), member("c", "Down", false)]));
        let snapshot = ShardingSnapshot {
            regions: vec![ShardRegionInfo {
                region_id: "carts".into(),
                shard_count: 2,
                shards: vec!["1".into(), "2".into()],
            }],
            allocations: vec![("1".into(), "carts".into())],
        };
        theirs.sharding.set_snapshot(snapshot);
        for (shard, event) in [("1", "started"), ("2", "started"), ("2", "stopped")] {
            theirs.sharding.record_shard_event("carts", shard, event);
        }
        // What no event tells is told to both.
        ours.sharding.set_snapshot(
            serde_json::from_value(serde_json::to_value(theirs.sharding.snapshot()).unwrap()).unwrap(),
        );
        let first = theirs.streams.start_graph("first");
        theirs.streams.start_graph("second");
        theirs.streams.finish_graph(first);
        theirs.remote.record_association("akka.tcp://far@h:1", "pending");
        theirs.remote.record_association("akka.tcp://near@h:1", "pending");
        // Its own probe says 0 bytes of every association that it records, and ours leaves out what it does not know.
        for (remote, state) in [("far", "connected"), ("near", "connected")] {
            theirs.bus.publish(TelemetryEvent::RemoteAssociation(RemoteAssociationInfo {
                remote_address: format!("akka.tcp://{remote}@h:1"),
                state: state.into(),
                inbound_bytes: 12,
                outbound_bytes: 34,
            }));
        }
        (1..=3).for_each(|number| theirs.persistence.record_write("journal", "id", number));
        theirs.persistence.record_write("other", "id", 7);
        (0..4).for_each(|_| theirs.ddata.record_update("key"));
        let actor = |name: &str| ActorStatus {
            path: format!("akka://shop/user/{name}"),
            parent: None,
            actor_type: "Clerk".into(),
            mailbox_depth: 0,
            spawned_at: "now".into(),
            host: None,
        };
        // Events of actors and dead letters are no state, so both are told.
        macro_rules! tell {
            ($telemetry:ident, $status:expr) => {{
                for name in ["one", "two", "three"] {
                    $telemetry.actors.record_spawn($status(name));
                }
                $telemetry.actors.record_mailbox_depth("akka://shop/user/two", 5);
                $telemetry.actors.record_stop("akka://shop/user/three");
                $telemetry.dead_letters.record(
                    "akka://shop/user/gone".into(),
                    None,
                    "Order".into(),
                    "one".into(),
                );
            }};
        }
        tell!(theirs, actor);
        tell!(ours, |name| serde_json::from_value(serde_json::to_value(actor(name)).unwrap()).unwrap());

        // Its exporter works in a task of its own, and one event more cannot be told from the last one.
        let mut before = String::new();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            exporter.seed_from_snapshot(&theirs.snapshot());
            let text = exporter.render().unwrap();
            if text == before {
                break;
            }
            before = text;
        }
        // An event of an association says nothing of its bytes to our probe, which has calls for them.
        for remote in ["akka.tcp://far@h:1", "akka.tcp://near@h:1"] {
            ours.remote.record_inbound_bytes(remote, 12);
            ours.remote.record_outbound_bytes(remote, 34);
        }
        before.lines().for_each(|line| println!("theirs {line}"));
        println!("theirs end");
        let mut input = String::new();
        let _ = std::io::stdin().read_line(&mut input);
    }
}

/// `atomr-telemetry`'s exporter counts events, and ours reads state and follows events: where both have a series, they agree.
#[test]
fn the_exporter_of_atomr_telemetry_and_ours_agree_on_every_series_of_theirs() {
    const NAME: &str = "the_exporter_of_atomr_telemetry_and_ours_agree_on_every_series_of_theirs";
    if support::role().is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(both::node());
    }
    let mut node = Node::start_with(&mut support::again(NAME, "node"), Stdio::piped());
    let mut theirs = String::new();
    loop {
        match node.line_with("theirs ").as_str() {
            "end" => break,
            line => theirs += &format!("{line}\n"),
        }
    }
    let who = node.who();
    let exporter = Exporter::start(&[&who, "--top", "100", "--detail", "associations,keys"]);
    let theirs = samples(&theirs);
    assert!(theirs.len() > 25, "{theirs:?}");
    let missing = || {
        let ours = exporter.samples();
        let ours: BTreeMap<Series, f64> = ours
            .into_iter()
            .map(|((name, mut labels), value)| {
                ["system", "pid"].iter().for_each(|label| drop(labels.remove(*label)));
                ((name, labels), value)
            })
            .collect();
        let differs = |(series, value): &(&Series, &f64)| ours.get(series) != Some(value);
        theirs
            .iter()
            .filter(differs)
            .map(|(series, value)| format!("{series:?} {value}: {:?}", ours.get(series)))
            .collect::<Vec<_>>()
    };
    // The exporter reads the events of a node once it knows that there are some.
    let deadline = Instant::now() + PATIENCE.min(Duration::from_secs(20));
    while !missing().is_empty() {
        assert!(Instant::now() < deadline, "{:#?}", missing());
        std::thread::sleep(Duration::from_millis(100));
    }
    node.close_input();
}

/// Nodes of which one has many actors, until the process is killed.
fn crowd() -> ! {
    let actors: usize = std::env::var("ATOMSCOPE_LOAD_ACTORS").map_or(20_000, |text| text.parse().unwrap());
    let regions: Vec<_> = (0..50)
        .map(|number| {
            let count = if number == 0 { actors } else { 100 };
            let builder = atomscope_probe::Region::builder(format!("n{number}")).actors(count.max(1024));
            let telemetry = atomscope_probe::TelemetryExtension::with_region(builder.build().unwrap());
            for actor in 0..count {
                telemetry.actors.record_spawn(atomscope_probe::dto::ActorStatus {
                    path: format!("akka://load/user/a{actor}"),
                    parent: None,
                    actor_type: format!("Class{}", actor % 10),
                    mailbox_depth: 0,
                    spawned_at: String::new(),
                    host: None,
                });
            }
            telemetry
        })
        .collect();
    println!("ready region={}", regions[0].region().path().unwrap().display());
    loop {
        std::thread::park();
    }
}

/// `ATOMSCOPE_LOAD_SECONDS` and `ATOMSCOPE_LOAD_ACTORS` make it longer and larger.
#[test]
fn many_nodes_many_clients_and_stuck_ones_need_no_more_memory_with_time() {
    const NAME: &str = "many_nodes_many_clients_and_stuck_ones_need_no_more_memory_with_time";
    if support::role().is_some() {
        crowd();
    }
    let node = Node::start(&mut support::again(NAME, "node"));
    let exporter = Arc::new(Exporter::start(&[&node.who()]));
    wait_until("all nodes are found", || exporter.metrics().contains("atomscope_export_nodes 50\n"));
    let stuck: Vec<_> = (0..50).map(|_| TcpStream::connect(exporter.address).unwrap()).collect();
    let length = seconds("ATOMSCOPE_LOAD_SECONDS", 6);
    let (begun, mut warm, mut took) = (Instant::now(), None, Vec::new());
    while begun.elapsed() < length {
        let start = Instant::now();
        let text = exporter.metrics();
        took.push(start.elapsed());
        assert_eq!(text.matches("\natomr_actors_live{").count(), 50);
        if begun.elapsed() > length / 3 {
            warm.get_or_insert_with(|| own_memory(exporter.running.0.id()).unwrap());
        }
        std::thread::sleep(Duration::from_millis(50).saturating_sub(start.elapsed()));
    }
    let (warm, end) = (warm.unwrap(), own_memory(exporter.running.0.id()).unwrap());
    assert!(end < warm + (8 << 20), "{warm} bytes at first, {end} at the end");
    took.sort();
    println!(
        "{} scrapes, median {:?}, p99 {:?}, {} MiB",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        end >> 20
    );
    drop(stuck);
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// The values of a query, each with its labels.
fn query(prometheus: SocketAddr, query: &str) -> Vec<(Value, f64)> {
    let path = format!("/api/v1/query?query={}", percent_encoded(query));
    let Ok(body) = get(prometheus, &path) else { return Vec::new() };
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["data"]["result"].as_array().unwrap().iter();
    rows.map(|row| (row["metric"].clone(), row["value"][1].as_str().unwrap().parse().unwrap())).collect()
}

/// Needs the programs `prometheus` and `promtool`. `ATOMSCOPE_SCRAPE_SECONDS` makes it longer.
#[test]
#[ignore = "needs Prometheus"]
fn a_real_prometheus_stores_what_a_dump_says_and_forgets_a_killed_node() {
    let mut node = Node::demo(["--node", "scraped"]);
    let exporter = Exporter::start(&["scraped"]);
    wait_until("the node is exported", || exporter.metrics().contains("atomr_actors_live{"));
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(exporter.metrics().as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let target = exporter.address;
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: atomscope\n  static_configs: [{{targets: ['{target}']}}]\n"
        ),
    )
    .unwrap();
    let address = free_address();
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let prometheus_process = Running(prometheus);
    wait_until("Prometheus scrapes", || query(address, "up").iter().any(|(_, up)| *up == 1.0));
    std::thread::sleep(seconds("ATOMSCOPE_SCRAPE_SECONDS", 5));
    assert!(query(address, "min_over_time(up[1m])").iter().all(|(_, up)| *up == 1.0));
    let spawned = "rate(atomr_actors_spawned_total{node=\"scraped\"}[1m])";
    assert!(query(address, spawned).iter().all(|(_, rate)| *rate > 0.0));

    // A node that stands still has one truth.
    node.signal("STOP");
    let dump = support::atomscope_json(["dump", &node.who()]);
    let totals = &dump["atomscope"]["totals"];
    let expected = [
        ("atomr_actors_spawned_total", totals["spawned"].as_f64().unwrap()),
        ("atomr_actors_stopped_total", totals["stopped"].as_f64().unwrap()),
        ("atomr_actors_live", totals["live"].as_f64().unwrap()),
        ("atomr_dead_letters_total", dump["atomscope"]["dead_letters"]["total"].as_f64().unwrap()),
        ("atomr_streams_started_total", dump["streams"]["total_started"].as_f64().unwrap()),
        ("atomr_remote_endpoints", dump["remote"]["associations"].as_array().unwrap().len() as f64),
    ];
    for (name, value) in expected {
        wait_until(name, || query(address, name).iter().map(|(_, value)| *value).eq([value]));
    }
    let metrics = dump["atomscope"]["metrics"].as_array().unwrap();
    for metric in
        metrics.iter().filter(|metric| metric["kind"] == "counter" && metric["unit"] != "nanoseconds")
    {
        let name = format!("atomscope_{}", metric["name"].as_str().unwrap().replace('.', "_"));
        let unit = metric["unit"].as_str().unwrap().replace('-', "_");
        // An unknown value has no series.
        let value = metric["value"].as_f64();
        let is_one = |name: String| query(address, &name).iter().map(|(_, value)| *value).eq(value);
        let names = [format!("{name}_total"), format!("{name}_{unit}_total")];
        wait_until(&name, || names.iter().any(|name| is_one(name.clone())));
    }

    node.kill();
    wait_until("its series are stale", || {
        query(address, "atomr_actors_live{node=\"scraped\",ended=\"\"}").is_empty()
    });
    let ended = query(address, "atomscope_node_ended{node=\"scraped\"}");
    assert_eq!(ended.len(), 1);
    let last = "last_over_time(atomr_actors_spawned_total{node=\"scraped\",ended=\"1\"}[1m])";
    let spawned = totals["spawned"].as_f64();
    wait_until("its last counts are kept", || {
        query(address, last).iter().map(|(_, value)| *value).eq(spawned)
    });
    drop(prometheus_process);
}

/// Needs the program `prometheus-node-exporter`.
#[test]
#[ignore = "needs the node exporter"]
fn a_real_node_exporter_serves_the_text_file() {
    let node = Node::demo(["--node", "in-a-file"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("atomscope.prom");
    let _export = Running(
        Command::new(support::program("atomscope"))
            .args(["export", "prometheus", "in-a-file", "--interval", "1s", "--textfile"])
            .arg(&file)
            .spawn()
            .unwrap(),
    );
    let (_running, address) = start_node_exporter(folder.path());
    let served = |text: &str| get(address, "/metrics").is_ok_and(|body| body.contains(text));
    wait_until("the series are served", || {
        served(&format!("atomr_actors_live{{node=\"in-a-file\",pid=\"{}\"", node.pid()))
    });
    assert!(served("node_textfile_scrape_error 0"));
}

fn start_node_exporter(folder: &Path) -> (Running, SocketAddr) {
    let address = free_address();
    let child = Command::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", folder.display()))
        .arg(format!("--web.listen-address={address}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Running(child), address)
}
