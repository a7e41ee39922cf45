//! `atomscope export` on real nodes, beside `atomr-telemetry`'s exporter, under a real Prometheus and a real node exporter.

mod beside;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope_tests::support::exporter::{Exporter, Samples, check_metrics, get, samples};
use atomscope_tests::support::{self, Node, Running, own_memory, wait_until};
use serde_json::Value;

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

mod both {
    use atomr_core::actor::ActorSystem;
    use atomr_core::prelude::Config;
    use atomr_telemetry::bus::TelemetryEvent;
    use atomr_telemetry::dto::{ActorStatus, RemoteAssociationInfo, ShardRegionInfo, ShardingSnapshot};
    use atomr_telemetry::exporters::prometheus::PrometheusExporter;

    use super::*;

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
        theirs.add_exporter(Arc::new(beside::Feed(Arc::downgrade(&ours))));
        println!("ready region={}", ours.region().path().unwrap().display());

        beside::report(&theirs);
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
        theirs.persistence.record_write("other", "id", 7);
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

        // Its exporter counts events in a task of its own, in their order, and the dead letter was the last one.
        wait_until("all events are counted", || {
            let text = exporter.render().unwrap();
            text.lines().any(|line| line.starts_with("atomr_dead_letters_total") && line.ends_with(" 1"))
        });
        exporter.seed_from_snapshot(&theirs.snapshot());
        let text = exporter.render().unwrap();
        // An event of an association says nothing of its bytes to our probe, which has calls for them.
        for remote in ["akka.tcp://far@h:1", "akka.tcp://near@h:1"] {
            ours.remote.record_inbound_bytes(remote, 12);
            ours.remote.record_outbound_bytes(remote, 34);
        }
        text.lines().for_each(|line| println!("theirs {line}"));
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
        let ours: Samples = ours
            .into_iter()
            .map(|((name, mut labels), value)| {
                ["system", "pid"].iter().for_each(|label| drop(labels.remove(*label)));
                ((name, labels), value)
            })
            .collect();
        let differs = |(series, value): &(&_, &f64)| ours.get(series) != Some(value);
        theirs
            .iter()
            .filter(differs)
            .map(|(series, value)| format!("{series:?} {value}: {:?}", ours.get(series)))
            .collect::<Vec<_>>()
    };
    // The exporter reads the events of a node once it knows that there are some.
    let mut left = Vec::new();
    wait_until("all series agree", || {
        let before = std::mem::replace(&mut left, missing());
        if left != before {
            println!("different: {left:#?}");
        }
        left.is_empty()
    });
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

/// Scrapes until the memory of the exporter is that of its work.
const WARM_UP: usize = 40;
/// The least number of scrapes after these.
const MEASURED: usize = 80;

/// Clients that send nothing, or begin and do not go on. The exporter cuts each off after some seconds.
fn stuck(address: SocketAddr) -> Vec<TcpStream> {
    let begins = |number: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        if number.is_multiple_of(2) {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
        }
        stream
    };
    (0..50).map(begins).collect()
}

/// `ATOMSCOPE_LOAD_SECONDS` and `ATOMSCOPE_LOAD_ACTORS` make it longer and larger.
#[test]
fn many_nodes_many_clients_and_stuck_ones_need_no_more_memory_with_time() {
    const NAME: &str = "many_nodes_many_clients_and_stuck_ones_need_no_more_memory_with_time";
    if support::role().is_some() {
        crowd();
    }
    let node = Node::start(&mut support::again(NAME, "node"));
    let exporter = Exporter::start(&[&node.who()]);
    wait_until("all nodes are found", || exporter.metrics().contains("atomscope_export_nodes 50\n"));
    let length = std::env::var("ATOMSCOPE_LOAD_SECONDS").map_or(0, |text| text.parse().unwrap());
    let length = Duration::from_secs(length);
    let memory = || own_memory(exporter.running.0.id()).unwrap();
    let (begun, mut warm, mut took, mut clients) = (Instant::now(), 0, Vec::new(), Vec::new());
    while took.len() < WARM_UP + MEASURED || begun.elapsed() < length {
        if took.len().is_multiple_of(100) {
            clients = stuck(exporter.address);
        }
        let start = Instant::now();
        let text = exporter.metrics();
        took.push(start.elapsed());
        assert_eq!(text.matches("\natomr_actors_live{").count(), 50);
        if took.len() == WARM_UP {
            warm = memory();
        }
        std::thread::sleep(Duration::from_millis(50).saturating_sub(start.elapsed()));
    }
    drop(clients);
    let end = memory();
    took.sort();
    println!(
        "{} scrapes, median {:?}, p99 {:?}, {:.1} MiB at first, {:.1} MiB at the end",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        warm as f64 / 1024.0 / 1024.0,
        end as f64 / 1024.0 / 1024.0
    );
    assert!(end < warm + (8 << 20), "{warm} bytes at first, {end} at the end");
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
    let body = get(prometheus, &path).unwrap_or_else(|why| panic!("{query}: {why}"));
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["data"]["result"].as_array().unwrap().iter();
    rows.map(|row| (row["metric"].clone(), row["value"][1].as_str().unwrap().parse().unwrap())).collect()
}

/// Needs the programs `prometheus` and `promtool`. `ATOMSCOPE_SCRAPES`, two a second, makes it longer.
#[test]
#[ignore = "needs Prometheus"]
fn a_real_prometheus_stores_what_a_dump_says_and_forgets_a_killed_node() {
    let mut node = Node::demo(["--node", "scraped"]);
    let exporter = Exporter::start(&["scraped"]);
    wait_until("the node is exported", || exporter.metrics().contains("atomr_actors_live{"));
    check_metrics(&exporter.metrics());

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
    wait_until("Prometheus is ready", || get(address, "/-/ready").is_ok());
    wait_until("Prometheus scrapes", || query(address, "up").iter().any(|(_, up)| *up == 1.0));
    let value = |text: &str| query(address, text).first().map_or(f64::NAN, |(_, value)| *value);
    let scrapes = std::env::var("ATOMSCOPE_SCRAPES").map_or(10, |text| text.parse().unwrap());
    for scrape in 1..=scrapes {
        wait_until("it scrapes again", || value("sum(count_over_time(up[10m]))") >= f64::from(scrape));
    }
    // Before the first scrape there is no `up`, so each of them counts.
    assert_eq!(value("min(min_over_time(up[10m]))"), 1.0);
    assert!(value("min(rate(atomr_actors_spawned_total{node=\"scraped\"}[1m]))") > 0.0);

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
        let value = metric["value"].as_f64();
        let names = [format!("{name}_total"), format!("{name}_{unit}_total")];
        wait_until(&name, || {
            // An unknown value has no series by either name.
            let found = names.iter().flat_map(|name| query(address, name));
            found.map(|(_, value)| value).eq(value)
        });
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
