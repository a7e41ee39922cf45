//! One test for each defect, which fails without its fix. Tests of a primitive's defects are next to the primitive.
#![allow(unsafe_code, reason = "fork")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atomr_core::actor::{Actor, ActorPath, ActorSystem, Address, Context, Props, SpawnObserver};
use atomr_core::prelude::Config;
use atomscope_probe::actor_registry::ActorRegistry;
use atomscope_probe::bus::{TelemetryBus, TelemetryEvent};
use atomscope_probe::dead_letters::DeadLetterFeed;
use atomscope_probe::dto::ActorStatus;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::dumps::{dump, dump_of, metric};
use atomscope_tests::support::{self, wait_until};

fn status(path: &str, actor_type: &str) -> ActorStatus {
    ActorStatus {
        path: path.into(),
        parent: None,
        actor_type: actor_type.into(),
        mailbox_depth: 0,
        spawned_at: "now".into(),
        host: None,
    }
}

/// The exit handler took locks that another thread may have held at the fork.
#[test]
fn a_child_forked_from_a_busy_node_can_exit() {
    if support::role().is_none() {
        let ended = support::again("a_child_forked_from_a_busy_node_can_exit", "node").output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let system = runtime.block_on(ActorSystem::create("forking", Config::empty())).unwrap();
    let telemetry = {
        let _within = runtime.enter();
        TelemetryExtension::new("regression-fork", 64).install(&system)
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                runtime.spawn(async {});
            }
        });
        for _ in 0..300 {
            // SAFETY: the child does nothing but exit, whose handlers are what is tested.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: runs the exit handlers and ends the process.
                unsafe { libc::exit(0) };
            }
            let began = Instant::now();
            // SAFETY: the child is ours and was not waited for yet; no status is asked for.
            while unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) } == 0 {
                if began.elapsed() > Duration::from_secs(20) {
                    // SAFETY: the child is ours.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                    stop.store(true, Ordering::Relaxed);
                    panic!("a child hung in its exit");
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(telemetry);
}

/// The warning panicked when the standard error could not be written.
#[test]
fn a_warning_that_nobody_can_read_does_no_harm() {
    if support::role().is_some() {
        let telemetry = TelemetryExtension::new("regression-warn", usize::MAX);
        telemetry.dead_letters.record("a".into(), None, "b".into(), "c".into());
        return;
    }
    let mut command = support::again("a_warning_that_nobody_can_read_does_no_harm", "node");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(command.stderr(full).stdout(Stdio::null()).status().unwrap().success());
}

/// The private region that replaced a refused one was as large, and ended the process.
#[test]
fn a_host_with_too_little_address_space_runs_on() {
    const NAME: &str = "a_host_with_too_little_address_space_runs_on";
    if support::role().is_some() {
        let region = Region::builder("regression-space").actors(4_000_000).build_or_private();
        let telemetry = TelemetryExtension::with_region(region);
        telemetry.actors.record_spawn(status("/user/a", "T"));
        assert_eq!(telemetry.actors.live_count(), 1);
        return;
    }
    let child = support::again(NAME, "node");
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -v 1000000 && exec "$@""#, "sh"]).arg(child.get_program());
    let output = command.args(child.get_args()).env("ATOMSCOPE_TEST_CHILD", "node").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// With the probe turned off, the builder returned an error, so programs that check it failed.
#[test]
fn a_program_with_a_builder_runs_when_the_probe_is_turned_off() {
    if support::role().is_some() {
        let region = Region::builder("regression-off").build().unwrap();
        assert!(region.path().is_none());
        return;
    }
    let mut command = support::again("a_program_with_a_builder_runs_when_the_probe_is_turned_off", "node");
    assert!(command.env("ATOMSCOPE", "off").output().unwrap().status.success());
}

/// Regions that could not be shared had no sampler, and kept early stops for ever.
#[test]
fn a_private_node_gives_up_stops_of_older_actors_too() {
    let region = Region::builder("regression-private").private().build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let user = ActorPath::root(Address::local("private")).child("user");
    (0..10).for_each(|number| telemetry.actors.on_spawn(&user.child(format!("a{number}")), Some(&user), "T"));
    (0..5).for_each(|number| telemetry.actors.on_stop(&user.child(format!("older{number}"))));
    wait_until("the stops of older actors are given up", || telemetry.actors.live_count() == 10);
    assert_eq!(telemetry.actors.total_stopped(), 0);
}

/// A stop was dropped when another thread held its record.
#[test]
fn a_stop_that_meets_a_change_of_its_record_is_not_lost() {
    let registry = ActorRegistry::new(TelemetryBus::new(16));
    let stop = AtomicBool::new(false);
    for round in 0..200 {
        let path = format!("/user/{round}");
        registry.record_spawn(status(&path, "T"));
        std::thread::scope(|scope| {
            let changes = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    registry.set_host(&path, "a-host-of-some-length");
                }
            });
            std::thread::sleep(Duration::from_micros(50));
            registry.record_stop(&path);
            stop.store(true, Ordering::Relaxed);
            changes.join().unwrap();
        });
        stop.store(false, Ordering::Relaxed);
    }
    assert_eq!((registry.live_count(), registry.snapshot().total), (0, 0));
}

/// A reader that reads the stops after the spawns sees more stops than spawns.
#[test]
fn actors_that_come_and_go_never_hide_one_that_lives() {
    let registry = ActorRegistry::new(TelemetryBus::new(16));
    registry.record_spawn(status("/user/stays", "T"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // More threads than processors, so that a snapshot is interrupted.
        for number in 0..4 {
            let (registry, stop) = (&registry, &stop);
            scope.spawn(move || {
                let path = format!("/user/goes{number}");
                while !stop.load(Ordering::Relaxed) {
                    registry.record_spawn(status(&path, "T"));
                    registry.record_stop(&path);
                }
            });
        }
        let least = (0..300_000).map(|_| registry.live_count()).min();
        stop.store(true, Ordering::Relaxed);
        assert!(least >= Some(1));
    });
}

/// A gauge could take a counter's place, the probe's own included.
#[test]
fn a_metrics_name_is_of_one_kind_and_the_probes_own_are_its_own() {
    let region = Region::builder("regression-metrics").build().unwrap();
    let counter = region.counter("orders", "orders", "Orders");
    counter.add(5);
    region.gauge("orders", "orders", "Not orders").set(1);
    region.gauge("actors.spawned", "actors", "Not spawned").set(77);
    region.counter("orders", "orders", "The same").add(2);
    let path = region.path().unwrap().as_os_str();
    let dump = dump_of(path);
    let metrics = dump["atomscope"]["metrics"].as_array().unwrap();
    let value = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap()["value"].clone();
    assert_eq!((value("orders"), value("actors.spawned")), (7.into(), 0.into()));
}

/// Previews that must not be kept came in through the bus.
#[test]
fn previews_that_are_not_to_be_kept_are_kept_nowhere() {
    let region = Region::builder("regression-previews").previews(false).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    telemetry.dead_letters.record("a".into(), None, "T".into(), "a-secret".into());
    let own = DeadLetterFeed::new(telemetry.bus.clone(), 4);
    own.record("a".into(), None, "T".into(), "a-secret".into());
    let letter = own.recent(1).remove(0);
    telemetry.bus.publish(TelemetryEvent::DeadLetter(letter));
    let bytes = std::fs::read(telemetry.region().path().unwrap()).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"a-secret"));
}

/// An actor's class was empty in its event when the table of names was full.
#[test]
fn events_tell_every_type_even_where_names_find_no_room() {
    let bus = TelemetryBus::new(4096);
    let mut receiver = bus.subscribe();
    let registry = ActorRegistry::new(bus.clone());
    let feed = DeadLetterFeed::new(bus, 16);
    for number in 0..600 {
        registry.record_spawn(status(&format!("/user/a{number}"), &format!("Type{number}")));
        feed.record(format!("/user/d{number}"), None, format!("Letter{number}"), String::new());
    }
    for number in 0..600 {
        let Ok(TelemetryEvent::ActorSpawned(actor)) = receiver.try_recv() else {
            panic!("no spawn {number}")
        };
        assert_eq!((actor.path, actor.actor_type), (format!("/user/a{number}"), format!("Type{number}")));
        assert_eq!(actor.spawned_at, "now");
        let Ok(TelemetryEvent::DeadLetter(letter)) = receiver.try_recv() else {
            panic!("no letter {number}")
        };
        assert_eq!(
            (letter.recipient, letter.message_type),
            (format!("/user/d{number}"), format!("Letter{number}"))
        );
    }
}

/// A telemetry without an actor system, and the parent of the actors that a test reports.
fn observed(node: &str) -> (Arc<TelemetryExtension>, ActorPath) {
    let telemetry = TelemetryExtension::with_region(Region::builder(node).build().unwrap());
    (telemetry, ActorPath::root(Address::local("older")).child("user"))
}

/// Waits for so many more rounds of the sampler.
fn rounds(telemetry: &TelemetryExtension, more: u64) {
    let now = || metric(&dump(telemetry), "sampler.rounds");
    let first = now();
    wait_until("the sampler has made more rounds", || now() >= first + more);
}

/// The stop of an older actor waited for ten seconds, and removed the first actor that was spawned under its name.
#[test]
fn a_stop_that_has_outlived_a_round_is_not_that_of_the_next_actor_of_its_name() {
    let (telemetry, user) = observed("regression-successor");
    let mut events = telemetry.bus.subscribe();
    // A round during which the process was stopped does not count.
    let mut tries = 0;
    wait_until("the successor is listed", || {
        tries += 1;
        let path = user.child(format!("a{tries}"));
        telemetry.actors.on_stop(&path);
        rounds(&telemetry, 3);
        telemetry.actors.on_spawn(&path, Some(&user), "T");
        let listed = telemetry.actors.snapshot().total == 1;
        assert!(tries < 20 || listed, "swallowed {tries} times");
        listed
    });
    let about = dump(&telemetry)["atomscope"].take();
    assert_eq!((telemetry.actors.live_count(), &about["drift"]), (1, &0.into()));
    assert_eq!((&about["totals"]["inexact"], &about["totals"]["foreign"]), (&false.into(), &1.into()));
    let path = user.child(format!("a{tries}")).to_string();
    let mut published = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event {
        TelemetryEvent::ActorSpawned(actor) if actor.path == path => Some("spawned"),
        TelemetryEvent::ActorStopped { path: stopped } if stopped == path => Some("stopped"),
        _ => None,
    });
    // The event of the older actor's stop would look like the stop of its successor.
    assert_eq!([published.next(), published.next()], [Some("spawned"), None]);
    assert_eq!(metric(&dump(&telemetry), "events.stops_unpublished"), 1);
}

/// A spawn that came after its stop was given up left a ghost, and the list was said to be exact.
#[test]
fn a_stop_that_is_given_up_makes_the_list_inexact() {
    let (telemetry, user) = observed("regression-given-up");
    let path = user.child("a");
    telemetry.actors.on_stop(&path);
    let mut last = dump(&telemetry);
    assert_eq!(last["atomscope"]["totals"]["inexact"], false);
    wait_until("the stop is given up", || {
        last = dump(&telemetry);
        last["atomscope"]["waiting_stops"] == 0
    });
    assert_eq!(
        (&last["atomscope"]["totals"]["inexact"], metric(&last, "events.stops_unpublished")),
        (&true.into(), 1)
    );
    telemetry.actors.on_spawn(&path, Some(&user), "T");
    assert_eq!(
        (telemetry.actors.live_count(), &dump(&telemetry)["atomscope"]["totals"]["inexact"]),
        (1, &true.into())
    );
}

/// A process that was stopped between a stop and its spawn continues with a round of the sampler, which must not count
/// as a whole round.
#[test]
fn a_spawn_whose_process_was_stopped_after_its_stop_still_finds_that() {
    const NAME: &str = "a_spawn_whose_process_was_stopped_after_its_stop_still_finds_that";
    if support::role().is_some() {
        let (telemetry, user) = observed("regression-stopped");
        let path = user.child("a");
        telemetry.actors.on_stop(&path);
        // SAFETY: stops the process until its parent has it go on; no memory is touched.
        unsafe { libc::raise(libc::SIGSTOP) };
        telemetry.actors.on_spawn(&path, Some(&user), "T");
        assert_eq!((telemetry.actors.snapshot().total, telemetry.actors.live_count()), (0, 0));
        assert_eq!(dump(&telemetry)["atomscope"]["totals"]["inexact"], false);
        return;
    }
    // Standard output is inherited: nobody would read a pipe while the child is stopped.
    let mut child = support::again(NAME, "node").stdout(Stdio::null()).spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    wait_until("the child is stopped", || std::fs::read_to_string(&stat).unwrap().contains(") T "));
    // Longer than one round of the sampler, with a margin.
    std::thread::sleep(Duration::from_secs(2));
    // SAFETY: the child is ours and was not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGCONT) };
    assert!(child.wait().unwrap().success());
}

/// A stop removed the next actor of its path when another thread held its own actor's record.
#[test]
fn an_actor_that_is_reported_after_such_a_stop_is_not_lost() {
    let registry = ActorRegistry::new(TelemetryBus::new(16));
    let (user, path) = (ActorPath::root(Address::local("r")).child("user"), "akka://r/user/a");
    // The state that this leaves in the table: the stop waits, and the record is there.
    registry.on_stop(&user.child("a"));
    registry.record_spawn(status(path, "T"));
    assert_eq!((registry.snapshot().total, registry.live_count()), (1, 1));
    registry.record_stop(path);
    assert_eq!((registry.snapshot().total, registry.live_count()), (0, 0));
}

/// Stops that the application forwards from a task of its own do not show their actors' age.
#[tokio::test]
async fn stops_that_are_handed_on_by_an_older_task_are_no_older_actors() {
    let (telemetry, user) = observed("regression-handed-on");
    let system = ActorSystem::create("handed-on", Config::empty()).await.unwrap();
    let (hand_on, mut stops) = tokio::sync::mpsc::unbounded_channel::<ActorPath>();
    let registry = telemetry.actors.clone();
    let task = tokio::spawn(async move {
        while let Some(path) = stops.recv().await {
            registry.on_stop(&path);
        }
    });
    telemetry.clone().install(&system);
    let paths: Vec<ActorPath> = (0..10).map(|number| user.child(format!("a{number}"))).collect();
    paths.iter().for_each(|path| telemetry.actors.on_spawn(path, Some(&user), "T"));
    paths.iter().for_each(|path| hand_on.send(path.clone()).unwrap());
    drop(hand_on);
    task.await.unwrap();
    assert_eq!(telemetry.actors.live_count(), 1, "the first counted as that of an older actor");
    assert_eq!(dump(&telemetry)["atomscope"]["totals"]["inexact"], true);
}

/// A stamp was converted with a rate that each heartbeat measured again, so an actor's time differed between snapshots.
#[test]
fn an_actor_has_one_time_in_every_look_and_after_its_process_was_stopped() {
    const NAME: &str = "an_actor_has_one_time_in_every_look_and_after_its_process_was_stopped";
    if support::role().is_some() {
        return has_one_time_in_every_look();
    }
    let mut node = support::Node::start(&mut support::again(NAME, "node"));
    let own: BTreeMap<String, String> = serde_json::from_str(&node.line_with("own ")).unwrap();
    let pid = node.pid();
    wait_until("its heartbeat is stale", || support::listed(pid)[0]["beat_age_s"].as_f64() > Some(2.0));
    let who = node.who();
    assert_eq!(spawn_times(&support::atomscope_json(["dump", &who])["actors"]), own, "while it is stopped");
    node.signal("CONT");
    assert!(node.wait().success());
}

struct Idle;

#[async_trait::async_trait]
impl Actor for Idle {
    type Msg = ();
    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}
}

/// The node of that test: it takes snapshots of itself over some heartbeats, stops itself, and takes more once it
/// continues.
fn has_one_time_in_every_look() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _within = runtime.enter();
    let system = runtime.block_on(ActorSystem::create("one-time", Config::empty())).unwrap();
    let telemetry = TelemetryExtension::new("regression-one-time", 64).install(&system);
    let region = telemetry.region().path().unwrap().to_str().unwrap();
    for number in 0..3 {
        system.actor_of(Props::create(|| Idle), &format!("a{number}")).unwrap();
    }
    let look = || {
        let own = spawn_times(&serde_json::to_value(telemetry.actors.snapshot()).unwrap());
        let dumped = spawn_times(&dump_of(region)["actors"]);
        assert_eq!(own, dumped, "in-process, and in the dump");
        own
    };
    wait_until("its actors are listed", || telemetry.actors.live_count() == 3);
    let first = look();
    assert_eq!(first.len(), 3);
    for _ in 0..4 {
        rounds(&telemetry, 1);
        assert_eq!(look(), first, "some heartbeats later");
    }
    println!("ready region={region}\nown {}", serde_json::to_string(&first).unwrap());
    // SAFETY: stops the process until its parent has it go on; no memory is touched.
    unsafe { libc::raise(libc::SIGSTOP) };
    rounds(&telemetry, 2);
    assert_eq!(look(), first, "after it was continued");
}

/// The spawn time of each actor in a snapshot, by path.
fn spawn_times(snapshot: &serde_json::Value) -> BTreeMap<String, String> {
    let text = |actor: &serde_json::Value, field: &str| actor[field].as_str().unwrap().to_owned();
    let actors = snapshot["flat"].as_array().unwrap().iter();
    actors.map(|actor| (text(actor, "path"), text(actor, "spawned_at"))).collect()
}

/// A host that is given later comes before the parent's path in the record, and must not write over it.
#[test]
fn a_host_that_is_given_later_leaves_the_parent_as_it_is() {
    let (telemetry, _) = observed("regression-host");
    let parent = format!("akka://elsewhere/{}", "p".repeat(60));
    telemetry.actors.record_spawn(ActorStatus { parent: Some(parent.clone()), ..status("/user/a", "T") });
    for host in ["h", "a.much.longer.host", "", "x".repeat(200).as_str()] {
        telemetry.actors.set_host("/user/a", host);
        let actor = telemetry.actors.snapshot().flat.remove(0);
        assert_eq!((actor.parent.as_ref(), actor.spawned_at.as_str()), (Some(&parent), "now"));
        let kept = actor.host.unwrap();
        assert!(
            kept == host || host.len() > 100 && kept.ends_with('…') && host.starts_with(&kept[..40]),
            "{kept}"
        );
    }
    assert_eq!(dump(&telemetry)["actors"]["flat"][0]["parent"], parent);
}

/// The parent's path has its space before a long class, spawn time and host, so that it always identifies its actor.
#[test]
fn a_parent_elsewhere_keeps_its_key_however_long_the_other_texts_are() {
    let (telemetry, _) = observed("regression-parent");
    let long = "x".repeat(400);
    let mut events = telemetry.bus.subscribe();
    telemetry.actors.record_spawn(ActorStatus {
        parent: Some(format!("akka://elsewhere/{long}")),
        spawned_at: long.clone(),
        host: Some(long.clone()),
        ..status(&format!("/user/{long}"), &long)
    });
    let actor = telemetry.actors.snapshot().flat.remove(0);
    let parent = actor.parent.clone().unwrap();
    let key = parent.rsplit_once("…#").unwrap().1;
    assert!(key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{parent}");
    let event = std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event {
        TelemetryEvent::ActorSpawned(actor) => Some(actor),
        _ => None,
    });
    let event = event.unwrap();
    assert_eq!((event.path, event.parent), (actor.path, actor.parent));
}
