//! Times: the time of a stamp, the birth of a region and an age, by the clocks of a node, even if its wall clock is set.

#![cfg(not(atomscope_loom))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "they are tests")]

mod support;

use atomscope_layout::clock_samples::Log;
use atomscope_layout::decode::{Birth, Identity, Moment};
use atomscope_layout::event::{EVENT_WORDS, EventKind, EventRecord, TelemetryEvent};
use atomscope_layout::follow::Follower;
use atomscope_layout::records::{ClockSampleRecord, TimeRecord};
use atomscope_layout::region::HeaderRecord;
use atomscope_layout::sync::Ordering;
use support::Region;

fn sample(ticks: u64, unix_ns: u64, rate: u64) -> ClockSampleRecord {
    ClockSampleRecord { ticks, mono_ns: ticks, boot_ns: ticks + 7, unix_ns, rate, reserved: [0; 2] }
}

const ONE: u64 = ClockSampleRecord::RATE_ONE;

#[test]
fn a_stamp_has_the_time_of_the_sample_before_it() {
    let region = Region::small();
    let log = Log::new(region.section(region.map.clock_samples));
    log.rewrite(&[sample(100, 1_000, ONE), sample(200, 9_000, 2 * ONE)]);
    let clock = region.read().clock().unwrap();
    let times = [90, 100, 199, 200, 201, 300].map(|stamp| clock.unix_ns(stamp).unwrap());
    assert_eq!(times, [990, 1_000, 1_099, 9_000, 9_002, 9_200]);
    let moment = clock.moment(201).unwrap();
    assert_eq!((moment.mono_ns, moment.boot_ns), (Some(202), Some(209)));
    // A later clock sample does not change earlier times.
    log.append(2, || sample(250, 50, ONE)).unwrap();
    let later = region.read().clock().unwrap();
    assert_eq!([199, 249, 250].map(|stamp| later.unix_ns(stamp).unwrap()), [1_099, 9_098, 50]);
}

#[test]
fn a_region_has_the_clock_with_which_it_was_made() {
    let clock = Region::small().read().clock().unwrap();
    assert_eq!(clock.unix_ns(1_000_000), Some(1_000_000_000_002_000_000));
    let moment = clock.moment(0).unwrap();
    assert_eq!((moment.mono_ns, moment.boot_ns), (Some(5_000), Some(6_000)));
}

#[test]
fn without_a_clock_sample_no_stamp_has_a_time() {
    let region = Region::small();
    Log::new(region.section(region.map.clock_samples)).rewrite(&[]);
    assert_eq!(region.read().clock(), None);
}

#[test]
fn while_a_sample_is_being_added_only_what_was_complete_before_has_a_time() {
    let region = Region::small();
    let log = region.section(region.map.clock_samples);
    Log::new(log).rewrite(&[sample(100, 1_000, ONE)]);
    Log::new(log).set_complete(1_000_000);
    log[0].fetch_add(1, Ordering::Relaxed);
    let clock = region.read().clock().unwrap();
    assert_eq!(clock.unix_ns(1_000_000), Some(1_000_900));
    assert_eq!((clock.unix_ns(1_000_001), clock.moment(u64::MAX)), (None, None));
}

#[test]
fn an_event_has_the_time_of_a_sample_that_came_after_the_look_began() {
    let region = Region::small();
    let log = Log::new(region.section(region.map.clock_samples));
    log.rewrite(&[sample(0, 0, ONE)]);
    let reader = region.read();
    let mut decoder = reader.event_decoder();
    log.append(1, || sample(50, 1_000_000_000, ONE)).unwrap();
    let (record, _) = EventRecord::with_texts(EventKind::JournalWrite, 60, [1, 0], &["j", "p"]);
    let words: [u64; EVENT_WORDS] = zerocopy::transmute!(record);
    let part = decoder.decode(&words).unwrap();
    let TelemetryEvent::JournalWrite(write) = part.event else { panic!("another event") };
    assert_eq!(write.timestamp, "1970-01-01T00:00:01.000000010Z");
}

#[test]
fn durations_are_those_of_a_clock_that_nobody_sets() {
    let at = |unix_s: i128, mono_s: Option<i128>, boot_s: Option<i128>| {
        let ns = |seconds: i128| seconds * 1_000_000_000;
        Moment { unix_ns: ns(unix_s), mono_ns: mono_s.map(ns), boot_ns: boot_s.map(ns) }
    };
    let seconds = |now: Moment, then: Moment| now.since(&then).map(|since| since.as_secs());
    // In between, the wall clock was set back by two hours, and the machine was suspended for an hour.
    let (then, now) = (at(7_200, Some(10), Some(10)), at(0, Some(20), Some(3_620)));
    assert_eq!(seconds(now, then), Some(3_610));
    assert_eq!(seconds(at(0, Some(20), None), then), Some(10));
    assert_eq!(seconds(at(0, None, None), then), None, "by the wall clock it is in the future");
    assert_eq!(seconds(at(7_260, None, None), then), Some(60));
    assert!(now.is_after(&then) && !then.is_after(&now));
    assert!(!at(0, None, None).is_after(&then));
}

#[test]
fn the_newer_region_is_the_one_that_was_made_later_whatever_the_wall_clock_said() {
    let identity = |boot: u64, created: (u64, u64), offset: i64| {
        let (unix_ns, created_mono_ns) = created;
        let header = HeaderRecord { boot_id: [boot; 2], created_unix_ns: unix_ns, ..support::HEADER };
        let mono_offset_ns = offset as u64;
        let time = TimeRecord { created_mono_ns, mono_offset_ns, ..TimeRecord::default() };
        let text = String::new;
        Identity { node: text(), system: None, program: text(), writer: text(), header, time }.birth()
    };
    let (older, newer) = (identity(1, (900, 10), 0), identity(1, (100, 20), 0));
    assert!(newer.is_after(&older) && !older.is_after(&newer));
    // In a time namespace that is ahead by a thousand seconds.
    let shifted = identity(1, (500, 1_015), 1_000);
    assert!(shifted.is_after(&older) && newer.is_after(&shifted));
    // For other boots, and if the boot is unknown, only the wall clock can decide.
    let (other, unknown) = (identity(2, (300, 5), 0), identity(1, (950, 0), 0));
    assert!(other.is_after(&newer) && older.is_after(&other) && unknown.is_after(&newer));
    // These comparisons alone are not an order: newer, other and older form a cycle.
    let all = [older, newer, other];
    let ranks = Birth::ranks(&all, Some([2, 2]));
    assert!(ranks[0] < ranks[1] && ranks[1] < ranks[2]);
    let ranks = Birth::ranks(&all, Some([1, 1]));
    assert!(ranks[2] < ranks[0] && ranks[0] < ranks[1]);
    let ranks = Birth::ranks(&[older, newer, unknown], Some([1, 1]));
    assert!(ranks[1] < ranks[0] && ranks[0] < ranks[2]);
}

#[test]
fn every_stamp_that_has_a_time_is_given_to_whoever_leaves_out_samples() {
    let region = support::hostile::filled();
    let reader = region.read();
    let mut stamps = Vec::new();
    reader.each_stamp(|stamp| stamps.push(stamp));
    let actors = reader.actor_list();
    assert!(!actors.is_empty());
    actors.iter().for_each(|actor| assert!(stamps.contains(&actor.spawn_stamp())));
    for event in Follower::from_oldest(&reader).last_batch(&reader).events {
        assert!(stamps.contains(&event.stamp), "{event:?}");
    }
}
