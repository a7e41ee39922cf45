//! Failures of a node as another process reads them: its panics, and the errors and warnings that it logs.
#![allow(unsafe_code, reason = "fork")]

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::bus::TelemetryEvent;
use atomscope_probe::{FailureLayer, Region, TelemetryExtension};
use atomscope_tests::support::dumps::{all_events, dump_of, metric};
use atomscope_tests::support::{self, Node};
use serde_json::Value;

/// Starts this test again as a node in the given role. It ends by itself only when it is killed.
fn node(test: &str) -> Node {
    Node::start(support::again(test, "node").env("RUST_BACKTRACE", "0").stderr(std::process::Stdio::null()))
}

/// What a node does before another process looks at it.
fn ready(region: &Region) -> ! {
    println!("ready region={}", region.path().unwrap().display());
    loop {
        std::thread::park();
    }
}

fn panics_on_a_thread(name: &str, panic: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.into()).spawn(panic).unwrap().join().unwrap_err();
}

fn failures(dump: &Value) -> Vec<&Value> {
    dump["atomscope"]["failures"].as_array().unwrap().iter().collect()
}

fn panics(dump: &Value) -> Vec<&Value> {
    dump["atomscope"]["panics"].as_array().unwrap().iter().collect()
}

#[test]
fn panics_that_differ_in_digits_only_are_one_failure_and_each_is_kept() {
    if support::role().is_some() {
        let region = Region::builder("failures-digits").actors(8).build().unwrap();
        for number in 0..10 {
            panics_on_a_thread("baker", move || panic!("order {number} of {} is lost", 12 * number));
        }
        panics_on_a_thread("butcher", || panic!("order of meat is lost"));
        ready(&region);
    }
    let mut node = node("panics_that_differ_in_digits_only_are_one_failure_and_each_is_kept");
    node.kill();
    let dump = dump_of(node.region());
    let [newest, oldest] = failures(&dump)[..] else { panic!("{:?}", dump["atomscope"]["failures"]) };
    assert_eq!((&newest["message"], &newest["count"]), (&"order of meat is lost".into(), &1.into()));
    assert_eq!((&oldest["message"], &oldest["count"]), (&"order 0 of 0 is lost".into(), &10.into()));
    assert_eq!((&oldest["severity"], &oldest["thread"]), (&"panic".into(), &"baker".into()));
    assert!(oldest["location"].as_str().unwrap().starts_with("tests/tests/failures.rs:"), "{oldest}");
    assert!(
        oldest["first"].as_str() < oldest["last"].as_str()
            && oldest["last"].as_str() < newest["last"].as_str()
    );
    let kept = panics(&dump);
    assert_eq!(kept.len(), 11);
    assert_eq!((&kept[0]["seq"], &kept[0]["thread"]), (&11.into(), &"butcher".into()));
    assert_eq!(kept[0]["failure"], newest["number"]);
    assert_eq!(
        (&kept[1]["message"], &kept[1]["failure"]),
        (&"order 9 of 108 is lost".into(), &oldest["number"])
    );
    assert_ne!(kept[1]["tid"], kept[2]["tid"], "each has a thread of its own");
    assert_eq!((metric(&dump, "failures.panics"), metric(&dump, "failures.unlisted")), (11, 0));
    let mut events = all_events(node.region());
    events.retain(|event| event["kind"] == "panicked");
    assert_eq!(events.len(), 11);
    assert_eq!(events[10]["topic"], "failures");
    assert_eq!((&events[10]["seq"], &events[10]["message"]), (&11.into(), &"order of meat is lost".into()));
}

#[test]
fn every_command_tells_what_panicked_while_the_node_runs_and_after_it_was_killed() {
    if support::role().is_some() {
        let region = Region::builder("failures-told").actors(8).build().unwrap();
        for number in 0..3 {
            panics_on_a_thread("baker", move || panic!("the oven is {number} degrees\u{1b}[2J"));
        }
        ready(&region);
    }
    let mut node = node("every_command_tells_what_panicked_while_the_node_runs_and_after_it_was_killed");
    let text = |arguments: &[&str]| {
        let output = support::atomscope(arguments);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        text
    };
    let check = |who: &str| {
        let shown = text(&["show", who]);
        let line =
            shown.lines().find(|line| line.contains("Failures: 3 panics, - errors, - warnings; newest: "));
        let line = line.unwrap_or_else(|| panic!("{shown}"));
        assert!(
            line.contains(" at tests/tests/failures.rs:") && line.contains(": the oven is 2 degrees"),
            "{shown}"
        );
        let listing = support::atomscope_json(["failures", who, "--json", "--filter", "thread = baker"]);
        assert_eq!((&listing["failures"][0]["count"], &listing["summary"]["panics"]), (&3.into(), &3.into()));
        assert_eq!(listing["panics"][0]["message"], "the oven is 2 degrees\u{1b}[2J");
        let doctor = text(&["doctor", who]);
        assert!(doctor.contains("warning  3 panics; the newest: panic "), "{doctor}");
        let tail = text(&["tail", who, "--no-follow", "--topic", "failures"]);
        let told: Vec<_> =
            tail.lines().filter(|line| line.contains("panic") && line.contains("baker")).collect();
        assert_eq!(told.len(), 3, "{tail}");
        assert!(told[2].contains("the oven is 2 degrees"), "{tail}");
    };
    check(&node.who());
    let region = node.region().to_str().unwrap().to_owned();
    node.kill();
    check(&region);
}

#[derive(Default)]
struct Baker;

#[async_trait]
impl Actor for Baker {
    type Msg = u32;

    async fn handle(&mut self, _: &mut Context<Self>, number: u32) {
        panic!("the oven is {number} degrees");
    }
}

#[test]
fn a_panic_that_atomr_catches_is_noted() {
    if support::role().is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let region = runtime.block_on(async {
            let system = ActorSystem::create("bakery", Config::empty()).await.unwrap();
            let telemetry = TelemetryExtension::new("failures-actor", 64).install(&system);
            let mut events = telemetry.bus.subscribe_topic("failures");
            let baker = system.actor_of(Props::create(Baker::default), "baker").unwrap();
            baker.tell(300);
            let event = events.recv().await.unwrap();
            let TelemetryEvent::Panicked(panic) = event else { panic!("{event:?}") };
            assert_eq!(panic.message.as_deref(), Some("the oven is 300 degrees"));
            telemetry.region().clone()
        });
        ready(&region);
    }
    let mut node = node("a_panic_that_atomr_catches_is_noted");
    let live = dump_of(node.region());
    node.kill();
    for dump in [&live, &dump_of(node.region())] {
        let [failure] = failures(dump)[..] else { panic!("{:?}", dump["atomscope"]["failures"]) };
        assert_eq!(failure["message"], "the oven is 300 degrees");
        assert_eq!(failure["thread"], "tokio-rt-worker");
    }
}

#[test]
fn a_panic_whose_value_is_no_text_and_one_with_an_endless_text_are_noted() {
    if support::role().is_some() {
        let region = Region::builder("failures-values").actors(8).build().unwrap();
        panics_on_a_thread("value", || std::panic::panic_any(7));
        panics_on_a_thread("endless", || panic!("{}", "é".repeat(1 << 20)));
        // Without a hook in between.
        panics_on_a_thread("resumed", || std::panic::resume_unwind(Box::new("not a new panic")));
        ready(&region);
    }
    let node = node("a_panic_whose_value_is_no_text_and_one_with_an_endless_text_are_noted");
    let dump = dump_of(node.region());
    let [endless, value] = panics(&dump)[..] else { panic!("{:?}", dump["atomscope"]["panics"]) };
    assert_eq!(value["message"], "a value that is no text");
    let message = endless["message"].as_str().unwrap();
    assert!(message.starts_with("éé") && message.ends_with("é…") && message.len() > 256, "{message}");
    assert!(metric(&dump, "texts.cut") > 0);
}

#[test]
fn a_panic_goes_to_every_region_that_wants_panics_and_texts_only_to_those_that_keep_them() {
    if support::role().is_some() {
        let region = |name: &str| Region::builder(name).actors(8).failures(2).kept_panics(2);
        let without = region("failures-without").panics(false).build().unwrap();
        panics_on_a_thread("early", || panic!("nobody notes this"));
        let secret = region("failures-secret").previews(false).build().unwrap();
        let all: Vec<Region> =
            (0..40).map(|number| region(&format!("failures-{number}")).build().unwrap()).collect();
        panics_on_a_thread("baker", || panic!("the oven burns"));
        panics_on_a_thread("baker", || panic!("and the bread"));
        std::mem::forget((all, secret));
        ready(&without);
    }
    let node = node("a_panic_goes_to_every_region_that_wants_panics_and_texts_only_to_those_that_keep_them");
    let listed = support::listed(node.pid());
    let dumps: Vec<Value> = listed.iter().map(|node| dump_of(node["path"].as_str().unwrap())).collect();
    assert_eq!(dumps.len(), 42);
    for dump in &dumps {
        let messages: Vec<_> = panics(dump).iter().map(|panic| panic["message"].as_str()).collect();
        match dump["node"].as_str().unwrap() {
            "failures-without" => {
                assert!(messages.is_empty());
                let panics = dump["atomscope"]["metrics"].as_array().unwrap();
                let known = panics.iter().find(|metric| metric["name"] == "failures.panics").unwrap();
                assert_eq!(known["value"], Value::Null, "nothing counts them");
            }
            "failures-secret" => assert_eq!(messages, [None, None]),
            _ => assert_eq!(messages, [Some("and the bread"), Some("the oven burns")]),
        }
    }
}

#[test]
fn a_full_log_counts_what_it_cannot_list() {
    if support::role().is_some() {
        let region = Region::builder("failures-full").actors(8).failures(4).kept_panics(3).build().unwrap();
        for letter in 'a'..='f' {
            panics_on_a_thread("baker", move || panic!("{letter}"));
        }
        ready(&region);
    }
    let node = node("a_full_log_counts_what_it_cannot_list");
    let dump = dump_of(node.region());
    assert_eq!(failures(&dump).len(), 4);
    assert_eq!((metric(&dump, "failures.panics"), metric(&dump, "failures.unlisted")), (6, 2));
    let kept: Vec<_> = panics(&dump).iter().map(|panic| panic["message"].as_str().unwrap()).collect();
    assert_eq!(kept, ["f", "e", "d"]);
    assert_eq!(panics(&dump)[0]["failure"], Value::Null, "the log had no slot for it");
    assert_eq!(dump["atomscope"]["panic_totals"]["lapped"], 3);
}

#[test]
fn the_hook_before_is_called_and_the_first_region_of_a_panicking_thread_does_no_harm() {
    if support::role().is_some() {
        static SEEN: AtomicU64 = AtomicU64::new(0);
        std::panic::set_hook(Box::new(|_| {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }));
        struct MakesRegion;
        impl Drop for MakesRegion {
            fn drop(&mut self) {
                // The hook cannot be set here.
                drop(Region::builder("failures-early").actors(8).build().unwrap());
            }
        }
        panics_on_a_thread("early", || {
            let _made = MakesRegion;
            panic!("nobody notes this");
        });
        let region = Region::builder("failures-chained").actors(8).build().unwrap();
        panics_on_a_thread("baker", || panic!("the oven burns"));
        assert_eq!(SEEN.load(Ordering::Relaxed), 2);
        ready(&region);
    }
    let node = node("the_hook_before_is_called_and_the_first_region_of_a_panicking_thread_does_no_harm");
    assert_eq!(panics(&dump_of(node.region())).len(), 1);
}

#[test]
fn many_threads_that_panic_at_once_are_all_counted() {
    const THREADS: usize = 32;
    const EACH: usize = 100;
    if support::role().is_some() {
        std::panic::set_hook(Box::new(|_| {}));
        let region = Region::builder("failures-storm").actors(8).build().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let _ = std::panic::catch_unwind(|| match thread % 2 {
                            0 => panic!("order {number}"),
                            _ => panic!("invoice {number}"),
                        });
                    }
                });
            }
        });
        ready(&region);
    }
    let node = node("many_threads_that_panic_at_once_are_all_counted");
    let dump = dump_of(node.region());
    let counts: Vec<_> = failures(&dump).iter().map(|failure| failure["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [(THREADS * EACH / 2) as u64; 2]);
    let about = &dump["atomscope"];
    assert_eq!(
        (&about["panic_totals"]["total"], &about["failures_unreadable"]),
        (&(THREADS * EACH).into(), &0.into())
    );
}

#[test]
fn a_panic_in_a_node_that_ends_by_it_is_its_last_record() {
    if support::role().is_some() {
        let region = Region::builder("failures-last").actors(8).build().unwrap();
        println!("ready region={}", region.path().unwrap().display());
        // Not to be unwound: the region stays as that of any process that is aborted.
        std::panic::set_hook({
            let before = std::panic::take_hook();
            Box::new(move |panic| {
                before(panic);
                std::process::abort();
            })
        });
        panic!("the oven explodes");
    }
    let mut node = node("a_panic_in_a_node_that_ends_by_it_is_its_last_record");
    assert!(!node.wait().success());
    let dump = dump_of(node.region());
    assert_eq!(dump["atomscope"]["state"], "crashed");
    assert_eq!(panics(&dump)[0]["message"], "the oven explodes");
}

fn log_to_the_layer() {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    let layer = FailureLayer::new().with_filter(LevelFilter::WARN);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
}

#[test]
fn a_panic_of_a_handler_is_logged_by_atomr_with_the_path_of_its_actor() {
    if support::role().is_some() {
        log_to_the_layer();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let [bakery, other] = runtime.block_on(async {
            let mut regions = Vec::new();
            for name in ["bakery", "other"] {
                let system = ActorSystem::create(name, Config::empty()).await.unwrap();
                let telemetry = TelemetryExtension::new(format!("failures-{name}"), 64).install(&system);
                regions.push(telemetry.region().clone());
                if name == "bakery" {
                    let baker = system.actor_of(Props::create(Baker::default), "baker").unwrap();
                    baker.tell(300);
                    baker.tell(301);
                    // atomr logs after the panic.
                    support::wait_until("both are logged", || logged(&telemetry) == 2);
                }
                std::mem::forget(system);
            }
            <[Region; 2]>::try_from(regions).unwrap()
        });
        std::mem::forget(other);
        ready(&bakery);
    }
    let node = node("a_panic_of_a_handler_is_logged_by_atomr_with_the_path_of_its_actor");
    let dump = dump_of(node.region());
    let found = failures(&dump);
    let of = |severity: &str| *found.iter().find(|failure| failure["severity"] == severity).unwrap();
    assert_eq!(of("panic")["count"], 2);
    assert_eq!(of("panic")["actor"], Value::Null);
    let error = of("error");
    assert_eq!((&error["actor"], &error["count"]), (&"akka://bakery/user/baker".into(), &2.into()));
    assert_eq!(error["message"], "handle panic: the oven is 300 degrees");
    assert!(error["target"].as_str().unwrap().starts_with("atomr_core::actor"), "{error}");
    assert!(error["location"].as_str().unwrap().contains("actor_cell.rs:"), "{error}");
}

/// The errors that were logged in this node.
fn logged(telemetry: &TelemetryExtension) -> u64 {
    metric(&dump_of(telemetry.region().path().unwrap()), "failures.errors")
}

#[test]
fn what_is_logged_goes_to_the_system_of_its_actor_or_else_to_all_and_its_fields_make_no_new_failure() {
    if support::role().is_some() {
        let region = |name: &str| {
            let region = Region::builder(format!("failures-{name}")).actors(8).build().unwrap();
            region.running(name);
            region
        };
        let before = region("shop");
        log_to_the_layer();
        let after = region("bank");
        for number in 0..3 {
            tracing::warn!(number, who = %"me", "order {number} is late");
            tracing::error!(actor = "akka://bank/user/vault", number, "the vault is open");
            tracing::error!(path = ?"no path at all", "unknown");
            tracing::info!("nothing is wrong");
            tracing::error!(target: "atomscope_probe::test", "the probe's own");
        }
        std::mem::forget(before);
        ready(&after);
    }
    let node = node(
        "what_is_logged_goes_to_the_system_of_its_actor_or_else_to_all_and_its_fields_make_no_new_failure",
    );
    for listed in support::listed(node.pid()) {
        let dump = dump_of(listed["path"].as_str().unwrap());
        let (name, errors) = (dump["node"].as_str().unwrap(), metric(&dump, "failures.errors"));
        let log = failures(&dump);
        let messages: Vec<_> = log.iter().map(|failure| failure["message"].as_str().unwrap()).collect();
        let late = log.iter().find(|failure| failure["severity"] == "warning").unwrap();
        assert_eq!(
            (&late["message"], &late["count"]),
            (&"order 0 is late number=0 who=me".into(), &3.into())
        );
        assert!(late["location"].as_str().unwrap().starts_with("tests/tests/failures.rs:"), "{late}");
        assert_eq!((late["target"].as_str(), &late["actor"]), (Some("failures"), &Value::Null));
        match name {
            "failures-bank" => assert_eq!((errors, messages.len()), (6, 3), "{messages:?}"),
            _ => assert_eq!((errors, messages.len()), (3, 2), "{messages:?}"),
        }
    }
}

#[test]
fn a_panic_of_a_forked_child_is_not_noted_in_its_parents_region() {
    if support::role().is_some() {
        let region = Region::builder("failures-fork").actors(8).build().unwrap();
        // SAFETY: the only other threads of this process are the probe's and the test harness's, and the child, which panics
        // and ends, takes no lock of theirs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let caught = std::panic::catch_unwind(|| panic!("in the child"));
            // SAFETY: the call ends the process and has no requirements.
            unsafe { libc::_exit(i32::from(caught.is_ok())) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for a write of its type.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        panics_on_a_thread("baker", || panic!("in the parent"));
        ready(&region);
    }
    let node = node("a_panic_of_a_forked_child_is_not_noted_in_its_parents_region");
    let dump = dump_of(node.region());
    let messages: Vec<_> = panics(&dump).iter().map(|panic| panic["message"].clone()).collect();
    assert_eq!(messages, ["in the parent"]);
}
