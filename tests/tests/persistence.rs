//! Journals, snapshot stores and recoveries, read from another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomr_persistence::{
    InMemoryJournal, InMemorySnapshotStore, Journal, PersistentRepr, RecoveryPermitter, SnapshotMetadata,
    SnapshotStore,
};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::persistence_workload::{Bank, Done, Flaky, visit};
use atomscope_tests::support::dumps::{dump, instance, metric, metric_entry};
use atomscope_tests::support::stubs::Stub;
use atomscope_tests::support::{self, Node};
use serde_json::{Value, json};

const ACCOUNTS: u64 = 7;

fn event(id: &str, sequence_nr: u64) -> PersistentRepr {
    PersistentRepr { persistence_id: id.into(), sequence_nr, ..PersistentRepr::default() }
}

/// The events of a journal in a dump: the sum of listed and unlisted ones, and the total.
fn sums(dump: &Value, journal: &str) -> (u64, u64) {
    let journals = dump["persistence"]["journals"].as_array().unwrap();
    let listed = journals.iter().find(|listed| listed["name"] == journal).unwrap();
    let ids = listed["persistence_ids"].as_array().unwrap();
    let listed: u64 = ids.iter().map(|id| id["event_count"].as_u64().unwrap()).sum();
    let numbers = instance(dump, "journals", journal);
    (listed + numbers["unlisted_events"].as_u64().unwrap(), numbers["events"].as_u64().unwrap())
}

/// An event-sourced node: each account is visited three times, and recovers at the second and third visit.
async fn bank_node() {
    let system = ActorSystem::create("bank", Config::empty()).await.unwrap();
    let region =
        Region::builder("bank-1").actors(100).poll_interval(Duration::from_millis(10)).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region).install(&system);
    println!("ready region={}", telemetry.region().path().unwrap().display());
    let permitter = RecoveryPermitter::new(5);
    telemetry.persistence.watch_recovery(&permitter);
    let journal = InMemoryJournal::new();
    let bank = Bank {
        journal: telemetry.persistence.wrap_journal("accounts", journal.clone()),
        snapshots: telemetry.persistence.wrap_snapshot_store(InMemorySnapshotStore::new()),
        snapshot_every: 10,
    };
    let mut done = Done::default();
    for round in 0..3 {
        for account in 0..ACCOUNTS {
            let before = journal.event_count(&format!("account-{account}"));
            let visited =
                visit(&system, &bank, &format!("account-{account}"), &[account + 1, 3, round]).await;
            assert_eq!(
                visited.balance,
                before + visited.events,
                "the recovered account has the same balance"
            );
            done.add(&visited);
        }
    }
    bank.journal.delete_messages_to("account-0", 2).await.unwrap();
    let mut ids = Vec::new();
    for account in 0..ACCOUNTS {
        let id = format!("account-{account}");
        let highest = journal.highest_sequence_nr(&id, 0).await.unwrap();
        ids.push(json!({ "persistence_id": id, "highest_sequence_nr": highest, "event_count": highest }));
    }
    let _running = (permitter.try_acquire().unwrap(), permitter.try_acquire().unwrap());
    println!("truth {}", json!({ "ids": ids, "done": done }));
    tokio::time::sleep(support::PATIENCE).await;
}

#[test]
fn a_dump_of_an_event_sourced_node_says_what_its_journal_holds() {
    const NAME: &str = "a_dump_of_an_event_sourced_node_says_what_its_journal_holds";
    if support::role().is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(bank_node());
    }
    let mut node = Node::start(&mut support::again(NAME, "bank"));
    let truth: Value = serde_json::from_str(&node.line_with("truth ")).unwrap();
    let done: Done = serde_json::from_value(truth["done"].clone()).unwrap();
    assert!(done.snapshots_saved > 0 && done.snapshots_loaded > 0 && done.replayed_events > 0, "{done:?}");
    let region = node.region().to_owned();
    let who = ["dump".as_ref(), "--region".as_ref(), region.as_os_str()];
    let running = |dump: &Value| metric(dump, "persistence.recoveries_running") == 2;
    support::wait_until("the poller has seen two recoveries", || running(&support::atomscope_json(who)));
    // The region reads the same for a live and a dead node.
    for _ in 0..2 {
        let dump = support::atomscope_json(who);
        assert_eq!(
            dump["persistence"]["journals"],
            json!([{ "name": "accounts", "persistence_ids": truth["ids"] }])
        );
        assert_eq!(dump["persistence"]["total_events"], done.events);
        assert_eq!(metric(&dump, "persistence.recovery_permits"), 5);
        assert_eq!(metric(&dump, "persistence.snapshots_saved"), done.snapshots_saved);
        assert_eq!(metric(&dump, "persistence.snapshots_loaded"), done.snapshots_loaded);
        assert_eq!(metric(&dump, "persistence.snapshot_failures"), 0);
        let latency = metric_entry(&dump, "persistence.write_latency{journal=accounts}");
        assert_eq!((&latency["unit"], &latency["value"]), (&json!("nanoseconds"), &json!(done.writes)));
        let journal = instance(&dump, "journals", "accounts");
        for (field, value) in [
            ("events", done.events),
            ("writes", done.writes),
            ("failures", 0),
            ("replays", done.replays),
            ("replayed_events", done.replayed_events),
            ("replay_failures", 0),
            ("deletes", 1),
            ("unlisted_events", 0),
            ("rolled_up_ids", 0),
            ("cancelled", 0),
        ] {
            assert_eq!(journal[field], value, "{field}");
        }
        assert_ne!(journal["latency_histogram"], 0);
        let recent = dump["persistence"]["recent_writes"].as_array().unwrap();
        assert_eq!(recent.len() as u64, done.events.min(128));
        let last = recent.iter().rev().find(|write| write["persistence_id"] == "account-3").unwrap();
        assert_eq!(last["sequence_nr"], truth["ids"][3]["highest_sequence_nr"]);
        node.kill();
    }
}

#[tokio::test]
async fn failures_of_a_journal_are_told_apart_from_what_it_wrote() {
    let system = ActorSystem::create("flaky", Config::empty()).await.unwrap();
    let telemetry = TelemetryExtension::new("flaky-1", 64).install(&system);
    let journal = InMemoryJournal::new();
    let bank = Bank {
        journal: telemetry.persistence.wrap_journal("flaky", Flaky::new(journal.clone(), 3)),
        snapshots: telemetry.persistence.wrap_snapshot_store(InMemorySnapshotStore::new()),
        snapshot_every: 0,
    };
    let mut done = Done::default();
    for round in 0..20 {
        done.add(&visit(&system, &bank, &format!("account-{}", round % 4), &[1, 2, 3]).await);
    }
    assert!(done.failed_writes > 5 && done.failed_replays > 3, "{done:?}");
    let dump = dump(&telemetry);
    let written: u64 = (0..4).map(|account| journal.event_count(&format!("account-{account}"))).sum();
    assert_eq!((written, sums(&dump, "flaky")), (done.events, (written, written)));
    assert_eq!(dump["persistence"]["total_events"], written);
    assert_eq!(metric(&dump, "persistence.failures"), done.failed_writes);
    assert_eq!(metric(&dump, "persistence.write_latency{journal=flaky}"), done.writes);
    let numbers = instance(&dump, "journals", "flaky");
    for (field, value) in [
        ("writes", done.writes),
        ("failures", done.failed_writes),
        ("replays", done.replays),
        ("replay_failures", done.failed_replays),
        ("replayed_events", done.replayed_events),
    ] {
        assert_eq!(numbers[field], value, "{field}");
    }
}

#[tokio::test]
async fn a_write_of_many_persistence_ids_counts_for_each_of_them() {
    let telemetry = TelemetryExtension::new("mixed-1", 64);
    let journal = telemetry.persistence.wrap_journal("mixed", InMemoryJournal::new());
    let long = "x".repeat(500);
    let batch = [event("a", 1), event("a", 2), event("b", 1), event(&long, 1), event("a", 3), event("b", 2)];
    journal.write_messages(batch.to_vec()).await.unwrap();
    journal.write_messages(Vec::new()).await.unwrap();
    let dump = dump(&telemetry);
    let ids = dump["persistence"]["journals"][0]["persistence_ids"].as_array().unwrap();
    let counts: Vec<_> = ids.iter().map(|id| (&id["highest_sequence_nr"], &id["event_count"])).collect();
    assert_eq!(json!(counts), json!([[3, 3], [2, 2], [1, 1]]));
    let name = ids[2]["persistence_id"].as_str().unwrap();
    assert!(name.starts_with("xxx") && name.ends_with('…'), "{name}");
    assert_eq!(sums(&dump, "mixed"), (6, 6));
    let recent: Vec<_> = dump["persistence"]["recent_writes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|write| &write["sequence_nr"])
        .collect();
    assert_eq!(json!(recent), json!([1, 2, 1, 1, 3, 2]));
    assert_eq!(instance(&dump, "journals", "mixed")["writes"], 2);
}

#[tokio::test]
async fn what_was_replayed_is_known_though_this_node_never_wrote_it() {
    let journal = InMemoryJournal::new();
    journal.write_messages((1..=9).map(|number| event("old", number)).collect()).await.unwrap();
    let telemetry = TelemetryExtension::new("replaying-1", 64);
    let wrapped = telemetry.persistence.wrap_journal("old", journal);
    assert_eq!(wrapped.replay_messages("old", 4, 9, u64::MAX).await.unwrap().len(), 6);
    assert!(wrapped.replay_messages("never", 1, 9, u64::MAX).await.unwrap().is_empty());
    assert_eq!(
        json!(telemetry.snapshot().persistence.journals),
        json!([{ "name": "old", "persistence_ids":
            [{ "persistence_id": "old", "highest_sequence_nr": 9, "event_count": 0 }] }])
    );
}

#[tokio::test]
async fn a_writes_latency_lies_between_what_it_waited_for_and_what_its_caller_waited() {
    let telemetry = TelemetryExtension::new("slow-1", 64);
    let journal = telemetry.persistence.wrap_journal("slow", Arc::new(Stub::Slow));
    let start = Instant::now();
    for waits_ms in [30, 60] {
        journal.write_messages(vec![event("a", waits_ms)]).await.unwrap();
    }
    let waited_ns = start.elapsed().as_nanos() as u64;
    let dump = dump(&telemetry);
    let latency = metric_entry(&dump, "persistence.write_latency{journal=slow}");
    assert_eq!(latency["value"], 2);
    let [sum, greatest] = ["sum", "greatest"].map(|field| latency["histogram"][field].as_u64().unwrap());
    // The clock may have a resolution of some milliseconds.
    let tick_ns = 10_000_000;
    assert!((90_000_000 - 2 * tick_ns..=waited_ns + 2 * tick_ns).contains(&sum), "{sum} of {waited_ns}");
    assert!((60_000_000 - tick_ns..=sum).contains(&greatest), "{greatest} of {sum}");
}

#[tokio::test]
async fn a_journal_keeps_its_histogram_whatever_the_application_does_with_it() {
    let telemetry = TelemetryExtension::new("kept-1", 64);
    let journal = telemetry.persistence.wrap_journal("kept", InMemoryJournal::new());
    let region = telemetry.region();
    let labels = [("journal", "kept")];
    let same = region.histogram_with("persistence.write_latency", "nanoseconds", "", &labels);
    drop(same.removed_on_drop());
    let next = region.histogram("next", "By", "");
    journal.write_messages(vec![event("a", 1)]).await.unwrap();
    next.record(3);
    let dump = dump(&telemetry);
    let of = |name| metric_entry(&dump, name)["value"].clone();
    assert_eq!([of("persistence.write_latency{journal=kept}"), of("next")], [json!(1), json!(1)]);
}

#[tokio::test]
async fn what_is_given_up_or_panics_is_counted_as_that() {
    let telemetry = TelemetryExtension::new("hopeless-1", 64);
    let meta = SnapshotMetadata { persistence_id: "a".into(), sequence_nr: 1, timestamp: 0 };
    for stub in [Stub::Endless, Stub::Panicking] {
        // The wrapper also accepts a `dyn Journal`.
        let journal: Arc<dyn Journal> = Arc::new(stub);
        let journal = telemetry.persistence.wrap_journal("hopeless", journal);
        let store = telemetry.persistence.wrap_snapshot_store(Arc::new(stub));
        let meta = meta.clone();
        let [write, replay, save, load] = [
            tokio::spawn({
                let journal = journal.clone();
                async move { drop(journal.write_messages(vec![event("a", 1)]).await) }
            }),
            tokio::spawn(async move { drop(journal.replay_messages("a", 1, 2, 3).await) }),
            tokio::spawn({
                let store = store.clone();
                async move { store.save(meta, Vec::new()).await }
            }),
            tokio::spawn(async move { drop(store.load("a").await) }),
        ];
        tokio::task::yield_now().await;
        for call in [write, replay, save, load] {
            call.abort();
            assert_eq!(call.await.unwrap_err().is_panic(), stub == Stub::Panicking);
        }
    }
    let dump = dump(&telemetry);
    assert_eq!(metric(&dump, "persistence.snapshot_failures"), 4);
    assert_eq!(metric(&dump, "persistence.failures"), 0);
    let journal = instance(&dump, "journals", "hopeless");
    assert_eq!(
        (&journal["cancelled"], &journal["writes"], &journal["events"]),
        (&json!(4), &json!(0), &json!(0))
    );
}

/// More ids than free slots, from several threads, while the poller evicts the least active ones.
#[test]
fn ids_that_do_little_give_way_and_no_event_is_lost() {
    const ROOM: usize = 32;
    const BUSY: usize = 6;
    let region = Region::builder("crowded-1")
        .actors(100)
        .instances(2 * ROOM)
        .poll_interval(Duration::from_millis(10))
        .build()
        .unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let persistence = &telemetry.persistence;
    let _wrapped = persistence.wrap_journal("crowded", InMemoryJournal::new());
    // Idle ids hold all slots.
    (0..ROOM).for_each(|id| persistence.record_write("crowded", &format!("early-{id}"), 1));
    let busy: Vec<_> = (0..BUSY).map(|id| format!("busy-{id}")).collect();
    let enough = AtomicBool::new(false);
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (busy, enough) = (&busy, &enough);
                scope.spawn(move || {
                    let mut written = 0;
                    while !enough.load(Ordering::Relaxed) {
                        for id in busy {
                            (0..20).for_each(|number| persistence.record_write("crowded", id, number));
                        }
                        let rare = format!("rare-{}-{}", writer, written % 100_003);
                        persistence.record_write("crowded", &rare, 1);
                        written += 20 * BUSY as u64 + 1;
                        std::thread::yield_now();
                    }
                    written
                })
            })
            .collect();
        support::wait_until("the busy ids are listed, after a time of evictions", || {
            let dump = dump(&telemetry);
            let ids = dump["persistence"]["journals"][0]["persistence_ids"].as_array().unwrap().clone();
            let listed = |busy: &String| ids.iter().any(|id| id["persistence_id"] == *busy);
            let rolled_up = instance(&dump, "journals", "crowded")["rolled_up_ids"].as_u64().unwrap();
            busy.iter().all(listed) && rolled_up > 3 * ROOM as u64
        });
        enough.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let written = written + ROOM as u64;
    // The poller may be in one more round.
    support::wait_until("the sums are right", || sums(&dump(&telemetry), "crowded") == (written, written));
    let dump = dump(&telemetry);
    assert_eq!(dump["persistence"]["total_events"], written);
    assert!(dump["persistence"]["journals"][0]["persistence_ids"].as_array().unwrap().len() <= ROOM);
    assert!(metric(&dump, "persistence.unlisted_ids") > 0);
}

/// A program for the public API of `atomr-telemetry`, compiled against both crates.
macro_rules! program {
    ($name:ident, $telemetry:ident) => {
        mod $name {
            use atomr_persistence::{InMemoryJournal, Journal};
            use serde_json::{Value, json};
            use $telemetry::bus::TelemetryBus;
            use $telemetry::dto::{JournalWriteInfo, PersistenceSnapshot};
            use $telemetry::persistence::{InMemoryJournalAdmin, JournalAdmin, PersistenceProbe};

            struct Dummy;

            #[async_trait::async_trait]
            impl JournalAdmin for Dummy {
                fn name(&self) -> &str {
                    "dummy"
                }
                async fn list_persistence_ids(&self) -> Vec<String> {
                    vec!["p1".into()]
                }
            }

            fn comparable(snapshot: PersistenceSnapshot) -> Value {
                let PersistenceSnapshot { mut journals, total_events, recent_writes } = snapshot;
                let timeless = |write: JournalWriteInfo| {
                    assert!(write.timestamp.starts_with("20"), "{}", write.timestamp);
                    JournalWriteInfo { timestamp: String::new(), ..write }
                };
                for journal in &mut journals {
                    journal.persistence_ids.sort_by(|a, b| a.persistence_id.cmp(&b.persistence_id));
                }
                let recent: Vec<_> = recent_writes.into_iter().map(timeless).collect();
                json!([journals, total_events, recent])
            }

            pub async fn run() -> Vec<Value> {
                let probe = PersistenceProbe::new(TelemetryBus::new(64));
                let mut seen = vec![comparable(probe.snapshot()), comparable(probe.snapshot_async().await)];
                let journal = InMemoryJournal::new();
                for (id, number) in [("b", 1), ("a", 1), ("b", 2), ("b", 3)] {
                    journal.write_messages(vec![super::event(id, number)]).await.unwrap();
                    probe.record_write("memory", id, number);
                }
                journal.delete_messages_to("b", 1).await.unwrap();
                probe.register_journal(std::sync::Arc::new(InMemoryJournalAdmin::new("memory", journal)));
                probe.register_journal(std::sync::Arc::new(Dummy));
                seen.push(comparable(probe.snapshot()));
                seen.push(comparable(probe.snapshot_async().await));
                // More writes than are kept.
                (0..300).for_each(|number| probe.record_write("other", "c", number));
                seen.push(comparable(probe.snapshot()));
                seen.push(json!(probe.total_events()));
                seen
            }
        }
    };
}

program!(theirs, atomr_telemetry);
program!(ours, atomscope_probe);

#[tokio::test]
async fn the_face_of_atomr_telemetry_tells_the_same() {
    let (ours, theirs) = (ours::run().await, theirs::run().await);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
}
