//! The async runtime and the process, read from another process.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension, ThreadHooks};
use atomscope_tests::support::dumps::{dump, metric};
use atomscope_tests::support::{self, Node};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

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

/// What the dump says of the threads of watched runtimes.
fn runtime_threads(telemetry: &TelemetryExtension) -> Vec<Value> {
    dump(telemetry)["atomscope"]["runtime_threads"].as_array().expect("a list").clone()
}

/// The states of the threads that are or were workers, and how many threads never were.
fn states(threads: &[Value]) -> (Vec<&str>, usize) {
    let (workers, others): (Vec<_>, Vec<_>) =
        threads.iter().partition(|thread| thread["parks"].as_u64() > Some(0));
    let mut states: Vec<_> = workers.iter().map(|thread| thread["state"].as_str().expect("a text")).collect();
    states.sort_unstable();
    (states, others.len())
}

#[test]
fn the_threads_of_a_runtime_that_is_watched_from_its_builder_say_what_they_do() {
    let telemetry = TelemetryExtension::new("runtime-threads", 16);
    let counts: [Arc<AtomicUsize>; 4] = Default::default();
    let [start, stop, park, unpark] = counts.clone().map(|count| {
        move || {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("shop-worker");
    let hooks = ThreadHooks::of(&mut builder).on_thread_start(start).on_thread_stop(stop);
    telemetry.watch_runtime(hooks.on_thread_park(park).on_thread_unpark(unpark));
    let runtime = builder.build().expect("a runtime");
    let (end, ends) = mpsc::channel::<()>();
    let blocking = runtime.spawn_blocking(move || ends.recv().is_err());
    support::wait_until("both workers wait for work", || {
        states(&runtime_threads(&telemetry)) == (vec!["parked"; 2], 1)
    });
    let threads = runtime_threads(&telemetry);
    let tids =
        fs::read_dir("/proc/self/task").expect("threads").map(|entry| entry.expect("a thread").file_name());
    let tids: Vec<_> = tids.map(|tid| tid.into_string().expect("a number")).collect();
    for thread in &threads {
        assert!(tids.contains(&thread["tid"].to_string()), "{thread} is none of {tids:?}");
        assert_eq!((&thread["name"], &thread["runtime"]), (&json!("shop-worker"), &json!(0)));
        assert!(thread["since"].is_string(), "{thread}");
    }
    // A task that blocks its worker.
    let (unblock, blocked) = mpsc::channel::<()>();
    let task = runtime.spawn(async move { blocked.recv().is_err() });
    support::wait_until("a worker is awake", || {
        states(&runtime_threads(&telemetry)) == (vec!["parked", "runs"], 1)
    });
    let region = telemetry.region().path().expect("a shared region").as_os_str();
    let listed = support::atomscope_json(["threads".as_ref(), region, "100ms".as_ref(), "--json".as_ref()]);
    // The blocking thread has never waited for work, so its role is unknown.
    let listed = listed.as_array().expect("a list").iter().filter(|thread| thread["role"].is_string());
    let mut roles: Vec<_> = listed
        .map(|thread| {
            (
                thread["role"].as_str() == Some("worker"),
                thread["parked_s"].is_f64(),
                thread["awake_s"].is_f64(),
            )
        })
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [(true, false, true), (true, true, false)]);
    drop((unblock, end));
    assert!(runtime.block_on(async { task.await.expect("its end") && blocking.await.expect("its end") }));
    let second = {
        let mut builder = Builder::new_multi_thread();
        telemetry.watch_runtime(builder.worker_threads(1));
        builder.build().expect("a runtime")
    };
    support::wait_until("the other runtime's worker waits", || {
        runtime_threads(&telemetry).iter().any(|thread| thread["runtime"] == 1 && thread["state"] == "parked")
    });
    drop((runtime, second));
    let ended = runtime_threads(&telemetry);
    assert!(ended.iter().all(|thread| thread["state"] == "ended"), "{ended:?}");
    let [start, stop, park, unpark] = counts.map(|count| count.load(Ordering::Relaxed));
    assert_eq!((start, stop), (3, 3), "the application's own hooks are called");
    assert!(park > 0 && unpark > 0);
}

#[test]
fn the_thread_that_drives_a_runtime_is_its_worker_until_it_ends() {
    let telemetry = TelemetryExtension::new("runtime-driven", 16);
    let driven = telemetry.clone();
    let driver = thread::Builder::new().name("driver".into()).spawn(move || {
        let mut builder = Builder::new_current_thread();
        driven.watch_runtime(&mut builder);
        let (send, receive) = oneshot::channel();
        let waker = thread::spawn({
            let driven = driven.clone();
            move || {
                support::wait_until("the driver waits", || {
                    let threads = runtime_threads(&driven);
                    threads.len() == 1 && threads[0]["state"] == "parked" && threads[0]["name"] == "driver"
                });
                send.send(()).expect("it waits");
            }
        });
        builder.build().expect("a runtime").block_on(receive).expect("the end");
        waker.join().expect("no panic");
    });
    driver.expect("a thread").join().expect("no panic");
    // The thread-local variables of a thread may be dropped after it was joined.
    support::wait_until("it has ended", || states(&runtime_threads(&telemetry)) == (vec!["ended"], 0));
}

#[test]
fn with_the_probe_turned_off_only_the_applications_own_hooks_are_set() {
    let name = "with_the_probe_turned_off_only_the_applications_own_hooks_are_set";
    if support::role().is_some() {
        let telemetry = TelemetryExtension::new("runtime-off", 16);
        let [own, given]: [Arc<AtomicUsize>; 2] = Default::default();
        let [counts_own, counts_given] = [&own, &given].map(|count| {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).on_thread_start(counts_own);
        telemetry.watch_runtime(ThreadHooks::of(&mut builder).on_thread_stop(counts_given));
        drop(builder.build().expect("a runtime"));
        assert_eq!((own.load(Ordering::Relaxed), given.load(Ordering::Relaxed)), (1, 1));
        return;
    }
    let output = support::again(name, "off").env("ATOMSCOPE", "off").output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[test]
fn a_runtime_that_outlives_a_region_does_not_keep_its_memory() {
    let telemetry = TelemetryExtension::new("runtime-outlives", 16);
    let region = telemetry.region().path().expect("a shared region").to_owned();
    let mut builder = Builder::new_multi_thread();
    telemetry.watch_runtime(builder.worker_threads(1));
    let runtime = builder.build().expect("a runtime");
    support::wait_until("its worker waits", || {
        runtime_threads(&telemetry).iter().any(|thread| thread["state"] == "parked")
    });
    telemetry.region().close();
    drop(telemetry);
    let name = region.file_name().expect("a name").to_string_lossy().into_owned();
    let maps = || fs::read_to_string("/proc/self/maps").expect("the maps");
    support::wait_until("its mapping is gone", || !maps().contains(&name));
    drop(runtime);
}

#[cfg(feature = "instruments")]
mod polls {
    use atomr_core::actor::{Actor, Context, Props};
    #[cfg(tokio_unstable)]
    use atomscope_tests::support::dumps::all_events;
    use atomscope_tests::support::dumps::metric_entry;
    #[cfg(tokio_unstable)]
    use std::{
        collections::{HashMap, HashSet},
        sync::Mutex,
    };
    #[cfg(tokio_unstable)]
    use tokio::task::Id;

    use super::*;

    /// What these nodes call a long poll.
    const LEAST: Duration = Duration::from_millis(50);
    /// Longer than that.
    const LONG: Duration = Duration::from_millis(60);

    enum Order {
        Block,
        Await,
    }

    struct Baker;

    #[async_trait::async_trait]
    impl Actor for Baker {
        type Msg = Order;

        async fn handle(&mut self, _: &mut Context<Self>, order: Order) {
            match order {
                Order::Block => thread::sleep(LONG),
                Order::Await => tokio::time::sleep(LONG).await,
            }
        }
    }

    /// A node whose runtime is watched, after an actor and a task have blocked their worker. Another actor has only awaited.
    /// `hooked` gives the application's hooks.
    fn blocked(
        node: &str,
        classes: usize,
        hooked: impl FnOnce(ThreadHooks<'_>) -> ThreadHooks<'_>,
    ) -> Arc<TelemetryExtension> {
        let region =
            Region::builder(node).actors(16).classes(classes).long_poll(LEAST).build().expect("a region");
        let telemetry = TelemetryExtension::with_region(region);
        let mut builder = Builder::new_multi_thread();
        telemetry.watch_runtime(hooked(ThreadHooks::of(builder.worker_threads(1).enable_all())));
        let runtime = builder.build().expect("a runtime");
        runtime.block_on(async {
            let system = ActorSystem::create(node, Config::empty()).await.expect("a system");
            let telemetry = telemetry.install(&system);
            let spawn = |name: &str| {
                telemetry.actors.spawn(&system, Props::create(|| Baker), name).expect("an actor")
            };
            let (blocking, awaiting) = (spawn("blocking"), spawn("awaiting"));
            awaiting.tell(Order::Await);
            blocking.tell(Order::Block);
            tokio::spawn(async { thread::sleep(LONG) }).await.expect("its end");
            support::wait_until("both actors are done", || class(&telemetry)["handled"] == 2);
            telemetry
        })
    }

    /// What the instrumented actors did.
    fn class(telemetry: &TelemetryExtension) -> Value {
        dump(telemetry)["atomscope"]["instruments"]["classes"][0].take()
    }

    #[test]
    #[cfg(tokio_unstable)]
    fn a_long_poll_is_an_event_with_its_actor_and_the_applications_hooks_are_called() {
        let counts: [Arc<AtomicUsize>; 2] = Default::default();
        let [before, after] = counts.clone().map(|count| {
            move |_: &tokio::runtime::TaskMeta<'_>| {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let telemetry =
            blocked("polls", 8, |hooks| hooks.on_before_task_poll(before).on_after_task_poll(after));
        let region = telemetry.region().path().expect("a shared region");
        let events = all_events(region);
        let polls: Vec<&Value> = events.iter().filter(|event| event["kind"] == "long_poll").collect();
        let blocking = polls.iter().find(|poll| poll["actor"] == "akka://polls/user/blocking");
        let blocking = blocking.unwrap_or_else(|| panic!("{events:#?}"));
        assert_eq!((&blocking["topic"], &blocking["task"]), (&json!("runtime"), &Value::Null));
        assert!(blocking["duration_ns"].as_u64() >= Some(LONG.as_nanos() as u64), "{blocking}");
        assert!(blocking["class"].as_str().is_some_and(|class| class.ends_with("::Baker")), "{blocking}");
        assert!(blocking["tid"].is_u64() && blocking["thread"].is_string(), "{blocking}");
        let is_tasks = |poll: &&&Value| {
            let task = poll["task"].as_str().is_some_and(|task| task.contains("tests/runtime.rs:"));
            task && poll["actor"].is_null()
        };
        assert!(polls.iter().any(|poll| is_tasks(&poll)), "{polls:#?}");
        // The machine may have made others long.
        let all = metric(&dump(&telemetry), "runtime.long_polls");
        assert_eq!((all, class(&telemetry)["long_polls"].as_u64() >= Some(1)), (polls.len() as u64, true));
        let [before, after] = counts.map(|count| count.load(Ordering::Relaxed));
        assert!(before > 4 && before == after, "{before} {after}");

        let text = |command: &[&str]| {
            let output = support::atomscope(command.iter().map(AsRef::as_ref).chain([region.as_os_str()]));
            String::from_utf8(output.stdout).expect("a text")
        };
        let tail = text(&["tail", "--no-follow", "--topic", "runtime"]);
        assert!(tail.contains(" akka://polls/user/blocking held "), "{tail}");
        assert!(text(&["show"]).contains(" long poll"));
        assert!(text(&["doctor"]).contains("held a worker for long"));
        assert!(text(&["actors", "--by", "class"]).contains("LONG_POLLS"));
    }

    #[test]
    #[cfg(tokio_unstable)]
    fn a_known_actor_of_no_known_class_is_told_without_its_task() {
        let telemetry = blocked("polls-unclassed", 1, |hooks| hooks);
        let events = all_events(telemetry.region().path().expect("a shared region"));
        let blocking = events.iter().find(|event| event["actor"] == "akka://polls-unclassed/user/blocking");
        let blocking = blocking.unwrap_or_else(|| panic!("{events:#?}"));
        assert_eq!((&blocking["class"], &blocking["task"]), (&Value::Null, &Value::Null));
    }

    /// How often each handler yields.
    #[cfg(tokio_unstable)]
    const YIELDS: u64 = 25;
    #[cfg(tokio_unstable)]
    const MESSAGES: u64 = 40;

    /// Notes its tasks.
    #[cfg(tokio_unstable)]
    struct Yields(Arc<Mutex<HashSet<Id>>>);

    #[cfg(tokio_unstable)]
    #[async_trait::async_trait]
    impl Actor for Yields {
        type Msg = ();

        async fn handle(&mut self, _: &mut Context<Self>, (): ()) {
            self.0.lock().expect("the tasks").insert(tokio::task::id());
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    #[cfg(tokio_unstable)]
    fn the_polls_of_each_actor_and_class_are_those_that_the_hooks_of_the_application_see() {
        const ACTORS: usize = 8;
        const CELLS: usize = 5;
        for workers in [2, 4] {
            let seen: Arc<Mutex<HashMap<Id, u64>>> = Arc::default();
            let tasks: Arc<Mutex<HashSet<Id>>> = Arc::default();
            let seeing = seen.clone();
            let node = format!("polled-{workers}");
            let region = Region::builder(&node).actors(16).instruments(CELLS).build().expect("a region");
            let telemetry = TelemetryExtension::with_region(region);
            let mut builder = Builder::new_multi_thread();
            let hooks = ThreadHooks::of(builder.worker_threads(workers).enable_all());
            telemetry.watch_runtime(hooks.on_before_task_poll(move |task| {
                *seeing.lock().expect("the polls").entry(task.id()).or_default() += 1;
            }));
            let runtime = builder.build().expect("a runtime");
            let system = runtime.block_on(ActorSystem::create(&node, Config::empty())).expect("a system");
            let entered = runtime.enter();
            let telemetry = telemetry.install(&system);
            let actors: Vec<_> = (0..ACTORS)
                .map(|number| {
                    let tasks = tasks.clone();
                    let props = Props::create(move || Yields(tasks.clone()));
                    telemetry.actors.spawn(&system, props, &format!("yields-{number}")).expect("an actor")
                })
                .collect();
            drop(entered);
            for _ in 0..MESSAGES {
                actors.iter().for_each(|actor| actor.tell(()));
            }
            let handled = ACTORS as u64 * MESSAGES;
            support::wait_until("all is handled", || class(&telemetry)["handled"] == handled);
            let polls_of = |id: &str| {
                let seen = seen.lock().expect("the polls");
                seen.iter().find(|(known, _)| known.to_string() == id).map_or(0, |(_, polls)| *polls)
            };
            let all_seen = || {
                let tasks = tasks.lock().expect("the tasks");
                tasks.iter().map(|task| polls_of(&task.to_string())).sum::<u64>()
            };
            support::wait_until("the class has the polls of all", || {
                class(&telemetry)["polls"] == all_seen()
            });
            let least = YIELDS * MESSAGES + 1;
            let found = dump(&telemetry)["atomscope"]["instruments"]["actors"].take();
            let found = found.as_array().expect("a list");
            assert_eq!(found.len(), CELLS);
            for actor in found {
                let polls = actor["polls"].as_u64().expect("a number");
                // Each message wakes its actor at most once.
                assert!((least..=least + MESSAGES + 2).contains(&polls), "{actor}");
                assert_eq!(polls, polls_of(&actor["task"].to_string()), "{actor}");
            }
            // Those of stopped actors stay.
            actors.iter().take(3).for_each(|actor| actor.stop());
            support::wait_until("they have stopped", || class(&telemetry)["stopped"] == 3);
            support::wait_until("the class has the polls of all", || {
                class(&telemetry)["polls"] == all_seen()
            });
            // The probe's own tasks and those of the system are polled too, and may be just now.
            let total = || seen.lock().expect("the polls").values().sum::<u64>();
            let before = total();
            let polls = metric(&dump(&telemetry), "runtime.polls");
            assert!((before - workers as u64..=total()).contains(&polls), "{before} {polls} {}", total());

            let region = telemetry.region().path().expect("a shared region").as_os_str().to_owned();
            let text = |command: &[&str]| {
                let output =
                    support::atomscope(command.iter().map(AsRef::as_ref).chain([region.as_os_str()]));
                String::from_utf8(output.stdout).expect("a text")
            };
            let is_title = |text: &str| text.lines().next().is_some_and(|line| line.contains(" POLLS"));
            assert!(is_title(&text(&["actors"])) && is_title(&text(&["actors", "--by", "class"])));
            assert!(text(&["show"]).contains(" polls"));
            assert!(text(&["actors", "--filter", &format!("polls >= {least}")]).contains("yields-3"));
        }
    }

    #[test]
    #[cfg(tokio_unstable)]
    fn polls_on_a_runtime_that_is_not_watched_are_unknown() {
        let telemetry = TelemetryExtension::new("not-polled", 16);
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let system = ActorSystem::create("not-polled", Config::empty()).await.expect("a system");
            let telemetry = telemetry.install(&system);
            let actor = telemetry.actors.spawn(&system, Props::create(|| Baker), "baker").expect("an actor");
            actor.tell(Order::Block);
            support::wait_until("it is done", || class(&telemetry)["handled"] == 1);
            let dump = dump(&telemetry);
            let actors = &dump["atomscope"]["instruments"]["actors"];
            assert_eq!((&actors[0]["polls"], &class(&telemetry)["polls"]), (&Value::Null, &Value::Null));
            assert_eq!(metric_entry(&dump, "runtime.polls")["value"], Value::Null);
        });
    }

    #[test]
    #[cfg(not(tokio_unstable))]
    fn without_the_hooks_of_tokio_polls_are_unknown() {
        let telemetry = blocked("no-polls", 8, |hooks| hooks);
        for name in ["runtime.long_polls", "runtime.polls"] {
            assert_eq!(metric_entry(&dump(&telemetry), name)["value"], Value::Null);
        }
        assert_eq!(
            (&class(&telemetry)["polls"], &class(&telemetry)["long_polls"]),
            (&Value::Null, &Value::Null)
        );
        let region = telemetry.region().path().expect("a shared region").as_os_str();
        let classes = support::atomscope(["actors".as_ref(), region, "--by".as_ref(), "class".as_ref()]);
        assert!(!String::from_utf8_lossy(&classes.stdout).contains("POLLS"));
        let actors = support::atomscope(["actors".as_ref(), region]);
        assert!(!String::from_utf8_lossy(&actors.stdout).contains("POLLS"));
    }
}
