//! Durations, rates and the order of nodes after changes of the wall clock, suspends, and in time namespaces.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomscope::system::{boottime_ns, monotonic_ns};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::records::{ClockSampleRecord, TimeRecord};
use serde_json::Value;

use crate::fixture::{Actor, EPOCH_NS, Node, RegionDir, SECOND};

const HOUR_NS: u64 = 3_600 * 1_000_000_000;

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// The age of a node from `show`, `ps` and `stat`, and its spawns per second.
fn ages(dir: &RegionDir) -> [Value; 4] {
    let json = |arguments: &[&str]| dir.run(arguments).json();
    let stat = json(&["stat", "--json", "n", "1s", "1"]);
    [
        json(&["show", "--json"])["uptime_s"].clone(),
        json(&["ps", "--json"])[0]["age_s"].clone(),
        stat["interval_s"].clone(),
        stat["spawned_per_s"].clone(),
    ]
}

/// Checks the ages of a node that was created a hundred seconds ago and has had a thousand spawns.
#[track_caller]
fn are_right(ages: &[Value; 4]) {
    let [uptime, age, interval, spawned] = ages.each_ref().map(|age| age.as_f64().unwrap());
    for age in [uptime, age, interval] {
        assert!((100.0..200.0).contains(&age), "{ages:?}");
    }
    assert!((5.0..=10.0).contains(&spawned), "{ages:?}");
}

#[test]
fn a_node_whose_wall_clock_was_set_since_its_start_has_lived_as_long_as_it_has() {
    // The wall clock was two hours ahead at the node's start, or at 1970.
    for created_unix_ns in [unix_ns() + 2 * HOUR_NS, 12 * 1_000_000_000] {
        let dir = RegionDir::new();
        let node = Node::with("n", |record| record.created_unix_ns = created_unix_ns);
        node.created(100 * SECOND);
        node.count(Builtin::Spawned, 1_000);
        let lock = node.live(&dir);
        are_right(&ages(&dir));
        // A dead node has lived until its last heartbeat.
        node.beat(Duration::ZERO);
        drop(lock);
        let dead = RegionDir::new();
        node.dead(&dead);
        are_right(&ages(&dead));
        let dump = dir.join("node.raw");
        dead.run(["dump", "--format", "raw", "-o", dump.to_str().unwrap()]).ok();
        let shown = dead.run(["show", "--json", "--region", dump.to_str().unwrap()]).json();
        assert!((100.0..200.0).contains(&shown["uptime_s"].as_f64().unwrap()), "{shown}");
    }
}

#[test]
fn what_a_node_does_not_know_is_unknown_and_not_0() {
    let dir = RegionDir::new();
    let node = Node::with("n", |record| record.created_unix_ns = unix_ns() + 2 * HOUR_NS);
    node.set_time(TimeRecord::default());
    node.count(Builtin::Spawned, 1_000);
    let _lock = node.live(&dir);
    assert_eq!(ages(&dir), [(); 4].map(|()| Value::Null));
    let stdout = dir.run(["stat", "n", "1s", "1"]).ok();
    let cells: Vec<_> = stdout.lines().nth(1).unwrap().split_whitespace().take(5).collect();
    assert_eq!(cells, ["1000", "-", "-", "-", "-"]);
    assert!(dir.run(["show"]).ok().contains("       Uptime: unknown, since 20"));
    let csv = dir.run(["stat", "n", "--csv", "1s", "1"]).ok();
    assert!(csv.lines().nth(1).unwrap().contains("Z,,true,1000,,,,,0,0,"), "{csv}");
}

#[test]
fn an_actor_keeps_its_time_and_its_age_whatever_the_clocks_do_afterwards() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.created(7_200 * SECOND);
    // The actor was spawned an hour ago. A stamp is a nanosecond of the clock since boot.
    let now = boottime_ns();
    let hour_ago = (now / 1_000_000_000).checked_sub(3_600).map_or(1, |s| s.max(1));
    node.actor(Actor { path: "akka://S/user/a", actor_type: "A", spawned_s: hour_ago, ..Actor::default() });
    let spawned = hour_ago * 1_000_000_000;
    let sample = |ticks: u64, unix_ns: u64, slept: u64| ClockSampleRecord {
        ticks,
        mono_ns: ticks - slept,
        boot_ns: ticks,
        unix_ns,
        rate: ClockSampleRecord::RATE_ONE,
        reserved: [0; 2],
    };
    let first = sample(spawned / 2, EPOCH_NS, 0);
    let later = [
        // The wall clock is set, the machine sleeps while the tick counter runs, and the rate is corrected.
        sample(spawned + 1_000, EPOCH_NS * 2, 0),
        sample(spawned + 2_000, EPOCH_NS * 2 + 5, 1_500),
        ClockSampleRecord {
            rate: ClockSampleRecord::RATE_ONE * 99 / 100,
            ..sample(spawned + 3_000, EPOCH_NS, 1_500)
        },
    ];
    let (node, _lock) = node.shared(&dir);
    let look = || {
        let actors = dir.run(["actors", "--json"]).json();
        (actors[0]["spawned_at"].clone(), actors[0]["age_s"].as_f64().unwrap())
    };
    let mut log = vec![first];
    node.sampled(&log);
    let (spawned_at, age_s) = look();
    let expected = (now - spawned) as f64 / 1e9;
    assert!((age_s - expected).abs() < 60.0, "{age_s} s, not {expected}");
    for sample in later {
        log.push(sample);
        node.sampled(&log);
        let (again, age) = look();
        assert_eq!(again, spawned_at);
        assert!((age - age_s).abs() < 60.0, "{age} s, not {age_s}");
    }
}

#[test]
fn what_a_dead_node_had_is_as_old_as_it_was_at_its_last_beat() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    // The actor was spawned 40 seconds ago, and the last heartbeat was 20 seconds later.
    node.actor(Actor { path: "akka://S/user/a", actor_type: "A", spawned_s: 1, ..Actor::default() });
    node.sampled(&[ClockSampleRecord {
        ticks: 1_000_000_000,
        mono_ns: monotonic_ns() - 40_000_000_000,
        boot_ns: boottime_ns() - 40_000_000_000,
        unix_ns: EPOCH_NS,
        rate: ClockSampleRecord::RATE_ONE,
        reserved: [0; 2],
    }]);
    node.beat(Duration::from_secs(20));
    node.dead(&dir);
    let age_s = dir.run(["actors", "--json"]).json()[0]["age_s"].as_f64().unwrap();
    assert!((age_s - 20.0).abs() < 1.0, "{age_s} s");
}

#[test]
fn of_two_nodes_the_one_that_was_made_later_is_taken_whatever_their_wall_clocks_said() {
    let dir = RegionDir::new();
    let dead = |pid: u64, created_unix_ns: u64, age: Duration| {
        let node = Node::with("shop", |record| (record.pid, record.created_unix_ns) = (pid, created_unix_ns));
        node.created(age);
        node.dead(&dir);
    };
    // When the older node started, the wall clock was two hours ahead.
    dead(5_000_011, EPOCH_NS + 2 * HOUR_NS, 900 * SECOND);
    dead(5_000_012, EPOCH_NS, 60 * SECOND);
    let ran = dir.run(["show", "--json", "shop"]);
    assert_eq!(ran.json()["pid"], 5_000_012);
    let rows = dir.run(["ps", "--json"]).json();
    let pids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [5_000_012, 5_000_011]);
}

#[test]
fn beats_of_another_time_namespace_are_compared_in_one_clock() {
    let offset_ns = 1_000 * 1_000_000_000u64;
    let time = |ahead: bool| {
        let offset = if ahead { offset_ns } else { offset_ns.wrapping_neg() };
        let (mono, boot) = (monotonic_ns().wrapping_add(offset), boottime_ns().wrapping_add(offset));
        let second = |ns: u64| ns.wrapping_sub(100 * 1_000_000_000);
        let time = TimeRecord {
            time_namespace: 4_711,
            mono_offset_ns: offset,
            boot_offset_ns: offset,
            created_mono_ns: second(mono),
            created_boot_ns: second(boot),
        };
        (time, mono)
    };
    for ahead in [true, false] {
        let (record, now) = time(ahead);
        if !ahead && boottime_ns() < 2_000 * 1_000_000_000 {
            // This machine may have booted too recently.
            continue;
        }
        for (age_s, state) in [(0, "live"), (60, "wedged")] {
            let dir = RegionDir::new();
            // By its own clock, the process also started at another time.
            let ticks = |start: u64| if ahead { start + 100_000 } else { start - 100_000 };
            let node = Node::with("n", |of| of.process_start_ticks = ticks(of.process_start_ticks));
            node.set_time(record);
            node.header().process_beat(now - age_s * 1_000_000_000);
            node.count(Builtin::Spawned, 1_000);
            let _lock = node.live(&dir);
            let row = dir.run(["ps", "--json"]).json()[0].clone();
            assert_eq!(row["state"], state, "{row}");
            let beat = row["beat_age_s"].as_f64().unwrap() - age_s as f64;
            assert!((0.0..30.0).contains(&beat), "{row}");
            are_right(&ages(&dir));
        }
    }
}

#[test]
fn beats_of_a_clock_that_is_not_known_have_no_age() {
    let dir = RegionDir::new();
    // A node in another pid namespace, whose process cannot be found. It does not name its time namespace.
    let node = Node::with("n", |record| (record.pid, record.pid_namespace) = (1, 4_711));
    node.set_time(TimeRecord::default());
    node.beat(900 * SECOND);
    let _lock = node.live(&dir);
    let row = dir.run(["ps", "--json"]).json()[0].clone();
    assert_eq!((&row["state"], &row["beat_age_s"]), (&"live".into(), &Value::Null), "{row}");
    let shown = dir.run(["show"]).ok();
    assert!(shown.contains("Beats: probe unknown\n"), "{shown}");
}
