//! The cost of many actors: memory is proportional to their number, and the number of allocations is not. The tests count
//! and do not measure time.

#![cfg(not(atomscope_loom))]
#![allow(unsafe_code, reason = "a counting allocator")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;

use atomscope_layout::Capacities;
use atomscope_layout::decode::ActorList;
use atomscope_layout::dto::ActorSnapshot;
use atomscope_layout::json::{JsonWriter, PIECE_BYTES};
use atomscope_layout::limits::PATH_CUT_MARK;
use atomscope_layout::records::{ActorRecord, actor_flags};
use atomscope_layout::table::{Key, Spawned};
use support::Region;
use zerocopy::FromZeros as _;

/// Counts the allocations of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations so far, bytes held, and the maximum of bytes held.
#[derive(Clone, Copy)]
struct Count {
    allocations: u64,
    held_bytes: isize,
    peak_bytes: isize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { allocations: 0, held_bytes: 0, peak_bytes: 0 }) };
}

fn note(allocations: u64, bytes: isize) {
    let _ = COUNT.try_with(|cell| {
        let count = cell.get();
        let held_bytes = count.held_bytes + bytes;
        let allocations = count.allocations + allocations;
        cell.set(Count { allocations, held_bytes, peak_bytes: count.peak_bytes.max(held_bytes) });
    });
}

// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as isize);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(1, bytes as isize - layout.size() as isize);
        // SAFETY: the caller keeps `realloc`'s contract, and `start` came from the system's allocator.
        unsafe { System.realloc(start, layout, bytes) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        note(0, -(layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract, and `start` came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

/// The result of `work`, its number of allocations, and the maximum of bytes that it held in addition to those before.
fn counted<T>(work: impl FnOnce() -> T) -> (T, u64, usize) {
    let before = COUNT.get();
    COUNT.set(Count { peak_bytes: before.held_bytes, ..before });
    let result = work();
    let after = COUNT.get();
    (result, after.allocations - before.allocations, (after.peak_bytes - before.held_bytes) as usize)
}

/// A good hash, so that keys spread evenly.
fn key(number: u64) -> Key {
    let mix = |seed: u64| {
        let mixed = (number.wrapping_add(seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    Key(mix(1), mix(2))
}

/// A region with this many actors, a hundred below each parent.
fn crowd(actors: usize) -> Region {
    let region = Region::new(&Capacities { actors, lanes: 2, names: 8, ..Capacities::LEAST });
    let _ = region.names().intern_static("orders::Order");
    for number in 0..actors as u64 {
        let team = number / 100;
        let parent = format!("akka://crowd/user/team-{team}");
        let mut record = ActorRecord::new_zeroed();
        record.key = key(number).words();
        (record.spawned, record.type_id) = (number, 1);
        let path = match number % 100 {
            0 => parent,
            member => {
                record.flags = actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
                (record.parent_key, record.parent_bytes) = (key(team * 100).words(), parent.len() as u16);
                format!("{parent}/member-{member}")
            }
        };
        record.path_bytes = path.len() as u8;
        record.text[..path.len()].copy_from_slice(path.as_bytes());
        assert_eq!(region.spawn(&record), Spawned::Stands);
    }
    region
}

#[test]
fn a_list_and_its_tree_take_memory_in_proportion_to_the_actors_and_no_allocation_for_one() {
    for actors in [25_000, 100_000, 200_000] {
        let region = crowd(actors);
        let (tree, allocations, peak_bytes) = counted(|| region.read().actor_list().into_tree());
        assert_eq!(tree.actors().len(), actors);
        assert!(allocations < 200, "{allocations} allocations for {actors} actors");
        assert!(peak_bytes < 450 * actors, "{} bytes an actor", peak_bytes / actors);
    }
}

#[test]
fn json_of_many_actors_is_written_without_being_built() {
    let tree = crowd(200_000).read().actor_list().into_tree();
    let (done, allocations, peak_bytes) = counted(|| serde_json::to_writer(io::sink(), &tree));
    done.unwrap();
    assert!((allocations, peak_bytes) < (100, 10_000), "{allocations} allocations, {peak_bytes} bytes");
    let (done, allocations, peak_bytes) = counted(|| {
        let mut nowhere = io::sink();
        let mut json = JsonWriter::new(&mut nowhere);
        json.value(&tree)?;
        json.finish()
    });
    done.unwrap();
    assert!(
        (allocations, peak_bytes) < (20, PIECE_BYTES + 1_000),
        "{allocations} allocations, {peak_bytes} bytes"
    );
}

#[test]
fn counting_actors_takes_a_few_bytes_for_one() {
    let region = crowd(200_000);
    let (counts, allocations, peak_bytes) = counted(|| region.read().class_counts());
    assert_eq!(counts.tally.listed, 200_000);
    // Two bitmaps of the keys, and the few actors whose keys have the same bits.
    assert!(allocations < 100 && peak_bytes < 16 * 200_000, "{allocations} allocations, {peak_bytes} bytes");
}

#[test]
fn looking_at_every_actor_allocates_nothing() {
    let region = crowd(10_000);
    let list = region.read().actor_list();
    let read = || list.iter().map(|actor| actor.path().len() + actor.class().len()).sum::<usize>();
    let (bytes, allocations, _) = counted(read);
    assert!(bytes > 10_000 * 30);
    assert_eq!(allocations, 0);
}

#[test]
fn a_list_that_is_taken_anew_uses_the_memory_that_it_has() {
    let region = crowd(100_000);
    let mut list = ActorList::default();
    list.refresh(&region.read());
    let ((), allocations, peak_bytes) = counted(|| list.refresh(&region.read()));
    assert_eq!(list.len(), 100_000);
    // Only a bitmap of the keys is allocated again.
    assert!(allocations < 40 && peak_bytes < 8 * 100_000, "{allocations} allocations, {peak_bytes} bytes");
}

#[test]
fn a_list_that_is_taken_anew_holds_nothing_of_the_one_before() {
    let mut list = crowd(1_000).read().actor_list();
    let other = crowd(10);
    list.refresh(&other.read());
    list.sort_by_path();
    assert_eq!(serde_json::to_string(&list).unwrap(), {
        let snapshot: ActorSnapshot = other.read().actors().into();
        serde_json::to_string(&snapshot.flat).unwrap()
    });
}

#[test]
fn json_that_is_never_built_is_that_of_what_is_built() {
    let region = crowd(300);
    let put = |number: u64, path: &str, change: &dyn Fn(&mut ActorRecord)| {
        let mut record = ActorRecord::new_zeroed();
        record.key = key(number).words();
        record.text[..path.len()].copy_from_slice(path.as_bytes());
        record.path_bytes = path.len() as u8;
        change(&mut record);
        assert_eq!(region.spawn(&record), Spawned::Stands);
    };
    let parent = actor_flags::PARENT;
    // A parent that is no prefix of the path, listed and not listed; siblings that sort between parent and child; an actor
    // that is its own parent; a cut path with a listed parent; the same path twice; a host and a time given as text.
    put(1_001, "akka://crowd/user/team-1-b", &|record| record.flags = 0);
    put(1_002, "akka://crowd/user/team-1akka://crowd/user/team-0", &|record| {
        (record.path_bytes, record.parent_bytes, record.flags) = (24, 24, parent);
    });
    put(1_003, "strangerakka://elsewhere", &|record| {
        (record.path_bytes, record.parent_bytes, record.flags) = (8, 16, parent);
    });
    put(1_004, "itself", &|record| {
        (record.parent_bytes, record.flags) = (6, parent | actor_flags::PARENT_IS_PREFIX);
    });
    let cut = format!("akka{PATH_CUT_MARK}{}", key(1_005));
    put(1_005, &cut, &|record| {
        record.flags = parent | actor_flags::PARENT_IS_PREFIX | actor_flags::PATH_CUT;
        (record.parent_bytes, record.parent_key) = (24, key(200).words());
    });
    put(1_006, &format!("{}yesterdayhere \u{7f}", cut), &|record| {
        record.path_bytes = cut.len() as u8;
        (record.spawned_bytes, record.host_bytes) = (9, 6);
        record.flags = actor_flags::SPAWNED_TEXT | actor_flags::HOST;
    });
    let tree = region.read().actor_list().into_tree();
    let built: ActorSnapshot = region.read().actors().into();
    assert_eq!(ActorSnapshot::from(&tree), built);
    assert_eq!(serde_json::to_string(&tree).unwrap(), serde_json::to_string(&built).unwrap());
    let below: Vec<&str> = built.flat.iter().filter_map(|status| status.parent.as_deref()).collect();
    assert!(below.contains(&"akka://crowd/user/team-2"), "the path of its own entry");
}
