//! Time and memory that the program needs for a node with a million actors. Other tests count in every run what it
//! reads and holds; here it is measured.

use std::time::Duration;

use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::crowd;

const ACTORS: usize = 1_000_000;
/// The default of `top --history`.
const HISTORY_BYTES: u64 = 128 << 20;
/// A list of the actors by path, and as a tree: rows, texts, parents and children.
const SNAPSHOT_BYTES: u64 = 160 * ACTORS as u64;

#[test]
#[ignore = "needs a release build and a gigabyte of memory, and takes time by the clock"]
fn a_million_actors_are_counted_quickly_and_listed_only_where_a_list_is_shown() {
    let place = tempfile::Builder::new().tempdir_in("/dev/shm").expect("a folder");
    let path = place.path().join("crowd.region");
    let region = Region::builder("crowd").actors(ACTORS).file(&path).build().expect("a region");
    let telemetry = TelemetryExtension::with_region(region);
    crowd::populate(&telemetry, ACTORS);

    let (tick, show) = (crowd::stat_tick(&path, 50), crowd::show(&path));
    let overview = crowd::top_memory(&path, "overview", "seen", Duration::from_secs(5));
    let actors = crowd::top_memory(&path, "actors", "member-1 ", Duration::from_secs(20));
    println!("a tick of stat {tick:?}, show {show:?}, top {} and {} MiB", overview >> 20, actors >> 20);
    // Four times the goal for a quiet machine, because this machine may be busy.
    assert!(tick < Duration::from_millis(4 * 5) && show < Duration::from_millis(4 * 300));
    assert!(overview < HISTORY_BYTES / 2, "the overview lists no actors");
    assert!(actors < HISTORY_BYTES + 2 * SNAPSHOT_BYTES);
}
