//! The async runtime and the process, read from another process.

use std::time::Duration;

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::dumps::metric;
use atomscope_tests::support::{self, Node};

const WORKERS: usize = 3;
const TASKS: usize = 50;

async fn waiting_node() {
    let system = ActorSystem::create("runtime", Config::empty()).await.unwrap();
    let region = Region::builder("runtime-1").actors(100).poll_interval(Duration::from_millis(10));
    let telemetry = TelemetryExtension::with_region(region.build().unwrap()).install(&system);
    // The first runtime stays the watched one.
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    telemetry.watch_runtime(other.handle());
    other.shutdown_background();
    for _ in 0..TASKS {
        tokio::spawn(std::future::pending::<()>());
    }
    println!("ready region={}", telemetry.region().path().unwrap().display());
    tokio::time::sleep(support::PATIENCE).await;
}

#[test]
fn a_dump_says_how_the_async_runtime_is_and_what_the_process_takes() {
    const NAME: &str = "a_dump_says_how_the_async_runtime_is_and_what_the_process_takes";
    if support::role().is_some() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        return runtime.worker_threads(WORKERS).enable_all().build().unwrap().block_on(waiting_node());
    }
    let mut node = Node::start(&mut support::again(NAME, "wait"));
    let region = node.region().to_owned();
    let json_of = |command: &[&str]| {
        support::atomscope_json(
            command.iter().map(AsRef::as_ref).chain(["--region".as_ref(), region.as_os_str()]),
        )
    };
    support::wait_until("the tasks are seen", || {
        metric(&json_of(&["dump"]), "runtime.tasks") >= TASKS as u64
    });
    support::wait_until("every worker has worked and slept", || {
        let dump = json_of(&["dump"]);
        let workers = dump["atomscope"]["instances"]["workers"].as_array().unwrap();
        workers.len() == WORKERS && workers.iter().all(|worker| worker["parks"].as_u64() > Some(0))
    });
    let dump = json_of(&["dump"]);
    assert_eq!(metric(&dump, "runtime.workers"), WORKERS as u64);
    // Tasks of the runtime, of the node and of this test; nothing else is spawned.
    assert!((TASKS as u64..TASKS as u64 + 50).contains(&metric(&dump, "runtime.tasks")));
    let workers = dump["atomscope"]["instances"]["workers"].as_array().unwrap();
    let names: Vec<_> = workers.iter().map(|worker| worker["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["0", "1", "2"]);
    assert!(workers.iter().any(|worker| worker["busy_ns"].as_u64() > Some(0)), "{workers:?}");

    let process = &dump["atomscope"]["process"];
    // The workers, the thread of the test, the sampler and the poller.
    assert!(process["threads"].as_u64() >= Some(WORKERS as u64 + 3), "{process}");
    assert!(process["memory_bytes"].as_u64() > Some(1 << 20), "{process}");
    assert!(process["memory_peak_bytes"].as_u64() >= process["memory_bytes"].as_u64(), "{process}");
    assert!(process["open_files"].as_u64() >= Some(3), "{process}");
    let shown = json_of(&["show", "--json"]);
    assert!(shown["process"]["threads"].as_u64() >= Some(WORKERS as u64 + 3), "{shown}");
    let row = json_of(&["stat", "--json", "1s", "1"]);
    assert!(row["cpu_percent"].is_number() && row["threads"].as_u64() >= Some(WORKERS as u64 + 3), "{row}");
    let text_of = |command: &[&str]| {
        let output = support::atomscope(
            command.iter().map(AsRef::as_ref).chain(["--region".as_ref(), region.as_os_str()]),
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let page = text_of(&["show"]);
    assert!(page.contains("Resources: processor ") && page.contains("open"), "{page}");
    let table = text_of(&["stat", "--process", "1s", "1"]);
    assert!(table.contains("CPU(%)") && table.contains("MEMORY(MiB)"), "{table}");
    let table = text_of(&["stat", "1s", "1"]);
    assert!(table.contains("CPU(%)") && !table.contains("MEMORY(MiB)"), "{table}");

    node.kill();
    let dump = json_of(&["dump"]);
    assert!(dump["atomscope"]["process"].is_null());
    assert_eq!(metric(&dump, "runtime.workers"), WORKERS as u64, "the last seen value stays");
}

#[test]
fn a_runtime_that_is_watched_ends_as_any_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let telemetry = TelemetryExtension::new("runtime-2", 64);
    telemetry.watch_runtime(runtime.handle());
    let (alive, mut gone) = tokio::sync::oneshot::channel::<()>();
    runtime.spawn(async move {
        std::future::pending::<()>().await;
        drop(alive);
    });
    assert!(matches!(gone.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)));
    drop(runtime);
    assert!(matches!(gone.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)));
}
