//! After every storm the probe agrees with the truth exactly: in-process, and as another process reads it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use atomscope_probe::bus::TelemetryBus;
use atomscope_probe::dead_letters::DeadLetterFeed;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::storms::{self, Arrival, Outcome, Storm, Truth};
use atomscope_tests::support;
use atomscope_tests::support::dumps::dump_of;
use serde_json::Value;

/// One storm at a time: each keeps two processors busy, and meets more hazards when it has them.
static SKY: Mutex<()> = Mutex::new(());

fn blow(name: &str, workers: usize) {
    let _alone = SKY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let storm = storms::all().into_iter().find(|storm| storm.name == name).unwrap();
    let actors = storms::actors_from_env();
    let mut telemetry = None;
    let node = format!("storm-{name}-{workers}");
    let mut outcome = run(storm, workers, actors, &node, &mut telemetry);
    let telemetry = telemetry.unwrap();
    compare(&telemetry, &outcome.truth);
    // Stop all actors: no ghost may stay.
    outcome.stop_everything();
    assert!(outcome.truth.live.is_empty());
    compare(&telemetry, &outcome.truth);
}

fn run(
    storm: Storm,
    workers: usize,
    actors: usize,
    node: &str,
    telemetry: &mut Option<Arc<TelemetryExtension>>,
) -> Outcome {
    storms::run(storm, workers, actors, "sky", |system| {
        let region = Region::builder(node).actors(2 * actors).build().unwrap();
        let installed = TelemetryExtension::with_region(region).install(system);
        let registry = installed.actors.clone();
        *telemetry = Some(installed);
        registry
    })
}

fn compare(telemetry: &TelemetryExtension, truth: &Truth) {
    let own = telemetry.actors.snapshot();
    assert_eq!((own.total, own.flat.len()), (truth.live.len() as u64, truth.live.len()), "in-process count");
    let listed: BTreeSet<String> = own.flat.into_iter().map(|actor| actor.path).collect();
    assert_eq!(
        difference(&listed, &truth.live),
        (vec![], vec![]),
        "in-process: listed but dead, live but missing"
    );
    assert_eq!(telemetry.actors.total_spawned(), truth.spawned);
    assert_eq!(telemetry.actors.total_stopped(), truth.stopped);
    assert_eq!(telemetry.actors.live_count(), truth.live.len() as u64);

    let region = telemetry.region().path().expect("a shared region").to_str().unwrap();
    let dump = dump_of(region);
    let listed: BTreeSet<String> = array(&dump["actors"]["flat"]).iter().map(path).collect();
    assert_eq!(difference(&listed, &truth.live), (vec![], vec![]), "dump: listed but dead, live but missing");
    let about = &dump["atomscope"];
    assert_eq!(dump["actors"]["total"], truth.live.len());
    assert_eq!(about["totals"]["spawned"], truth.spawned);
    assert_eq!(about["totals"]["stopped"], truth.stopped);
    assert_eq!(about["totals"]["live"], truth.live.len());
    assert_eq!(about["totals"]["inexact"], false);
    assert_eq!(about["drift"], 0);
    assert_eq!(about["unreadable"], 0);
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn path(actor: &Value) -> String {
    actor["path"].as_str().expect("a path").to_owned()
}

/// The first few entries that only one of the two sets has.
fn difference<'a>(
    found: &'a BTreeSet<String>,
    truth: &'a BTreeSet<String>,
) -> (Vec<&'a String>, Vec<&'a String>) {
    (found.difference(truth).take(5).collect(), truth.difference(found).take(5).collect())
}

#[test]
fn actors_that_stop_before_their_spawn_is_told_leave_no_ghost_with_2_workers() {
    blow("early_stops", 2);
}

#[test]
fn actors_that_stop_before_their_spawn_is_told_leave_no_ghost_with_4_workers() {
    blow("early_stops", 4);
}

#[test]
fn children_whose_parents_alternate_are_exact_with_2_workers() {
    blow("repeated_children", 2);
}

#[test]
fn children_whose_parents_alternate_are_exact_with_4_workers() {
    blow("repeated_children", 4);
}

#[test]
fn names_that_are_taken_again_at_once_are_exact_with_2_workers() {
    blow("replaced_names", 2);
}

#[test]
fn names_that_are_taken_again_at_once_are_exact_with_4_workers() {
    blow("replaced_names", 4);
}

#[test]
fn many_that_come_and_most_that_go_are_exact_with_2_workers() {
    blow("plain", 2);
}

#[test]
fn many_that_come_and_most_that_go_are_exact_with_4_workers() {
    blow("plain", 4);
}

#[test]
fn everything_at_once_is_exact_with_2_workers() {
    blow("mixed", 2);
}

#[test]
fn everything_at_once_is_exact_with_4_workers() {
    blow("mixed", 4);
}

/// The value of a built-in metric.
fn metric(telemetry: &TelemetryExtension, name: &str) -> u64 {
    let region = telemetry.region().path().expect("a shared region").to_str().unwrap();
    let dump = dump_of(region);
    let all = array(&dump["atomscope"]["metrics"]);
    all.iter().find(|metric| metric["name"] == name).unwrap()["value"].as_u64().unwrap()
}

fn late_telemetry(node: &str, actors: usize) -> Arc<TelemetryExtension> {
    TelemetryExtension::with_region(Region::builder(node).actors(2 * actors).build().unwrap())
}

/// Checks that the list of live actors is right or counts as inexact. Returns whether it counts as exact.
fn listed(telemetry: &TelemetryExtension, truth: &Truth) -> bool {
    let region = telemetry.region().path().expect("a shared region").to_str().unwrap();
    let mut dump = Value::Null;
    support::wait_until("no stop waits any more", || {
        dump = dump_of(region);
        dump["atomscope"]["waiting_stops"] == 0
    });
    let listed: BTreeSet<String> = array(&dump["actors"]["flat"]).iter().map(path).collect();
    let is_exact = dump["atomscope"]["totals"]["inexact"] == false;
    let found = (difference(&listed, &truth.live), &dump["atomscope"]["drift"]);
    assert!(
        found == ((vec![], vec![]), &Value::from(0)) || !is_exact,
        "listed but dead, live but missing, or drifting, and all is said to be well: {found:?}"
    );
    is_exact
}

/// The probe is installed while the system is at rest. After a whole round of its sampler it knows which actors are
/// older.
fn blow_on_older_actors(workers: usize) {
    let _alone = SKY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let actors = storms::actors_from_env() / 5;
    let telemetry = late_telemetry(&format!("storm-late-{workers}"), actors);
    // A stop that certainly belongs to an older actor does not wait.
    let waiting = std::cell::Cell::new(0);
    let is_content = || {
        let before = waiting.replace(metric(&telemetry, "actors.early_stops"));
        let foreign = metric(&telemetry, "actors.foreign");
        foreign > 0 && waiting.get() == before
    };
    let mut outcome = storms::run_late(workers, actors, Arrival::Calm(&is_content), |system, _| {
        telemetry.clone().install(system).actors.clone()
    });
    assert!(outcome.hazards.respawn_before_stop > 0, "{:?}", outcome.hazards);
    assert!(listed(&telemetry, &outcome.truth), "the list does not count as exact");
    compare_list(&telemetry, &outcome.truth);
    outcome.stop_everything();
    assert!(listed(&telemetry, &outcome.truth), "the list does not count as exact");
    compare_list(&telemetry, &outcome.truth);
    assert_eq!(telemetry.actors.total_spawned(), telemetry.actors.total_stopped());
}

fn compare_list(telemetry: &TelemetryExtension, truth: &Truth) {
    let own: BTreeSet<String> =
        telemetry.actors.snapshot().flat.into_iter().map(|actor| actor.path).collect();
    assert_eq!(difference(&own, &truth.live), (vec![], vec![]), "listed but dead, live but missing");
    assert_eq!(telemetry.actors.live_count(), truth.live.len() as u64);
}

/// The probe is installed while older actors are replaced. It counts each stop whose actor it cannot know as doubtful.
fn come_in_the_middle(workers: usize) {
    let _alone = SKY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let actors = storms::actors_from_env() / 5;
    let telemetry = late_telemetry(&format!("storm-middle-{workers}"), actors);
    let mut outcome = storms::run_late(workers, actors, Arrival::Stormy, |system, tee| {
        let letters = Arc::new(DeadLetterFeed::new(TelemetryBus::new(16), 16));
        telemetry.clone().install_tee(system, tee, letters).actors.clone()
    });
    listed(&telemetry, &outcome.truth);
    outcome.stop_everything();
    listed(&telemetry, &outcome.truth);
}

#[test]
fn actors_that_take_the_names_of_older_ones_are_exact_with_2_workers() {
    blow_on_older_actors(2);
}

#[test]
fn actors_that_take_the_names_of_older_ones_are_exact_with_4_workers() {
    blow_on_older_actors(4);
}

#[test]
fn who_comes_while_older_actors_are_replaced_is_exact_or_says_that_it_is_not_with_2_workers() {
    come_in_the_middle(2);
}

#[test]
fn who_comes_while_older_actors_are_replaced_is_exact_or_says_that_it_is_not_with_4_workers() {
    come_in_the_middle(4);
}
