//! Real processes that publish records of their own, as the commands of `atomscope` see them: while they work, and after
//! SIGKILL.

use std::time::Duration;

use atomscope_layout::decode::{FieldValue, RegionReader};
use atomscope_probe::{Level, Region, SharedRecord, Text};
use atomscope_tests::support::dumps::{about, all_events, decoded};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::{Value, json};

atomscope_probe::record_enum! {
    /// What a market does.
    enum Phase: u16 { Closed, Auction, Continuous }
}

atomscope_probe::record! {
    /// One order book.
    struct OrderBook {
        /// The best price that somebody would pay.
        best_bid: f64 "USD",
        depth: u32 "orders",
        open: bool,
        phase: Phase,
        change: f32 "%",
        drift: i16,
        levels: [f64; 3] "USD",
        symbol: Text<16>,
    }

    /// Numbers that are all the same in each state.
    struct Pattern { numbers: [u64; 64] }

    /// How far an import is.
    struct Progress { rows: u64 "rows", hosts: [Text<4>; 2] }
}

fn book() -> OrderBook {
    OrderBook {
        best_bid: 1.25,
        depth: 7,
        open: true,
        phase: Phase::Auction,
        change: 0.1,
        drift: -3,
        levels: [1.0, 2.5, f64::NAN],
        symbol: "EUR/USD".into(),
    }
}

fn progress() -> Progress {
    Progress { rows: 5, hosts: ["db-1".into(), Text::default()] }
}

/// Threads that publish without end: each a record of its own, and one together.
const THREADS: u64 = 3;

/// Publishes, with short rests, until it is killed.
fn work() -> ! {
    let region = Region::builder("market").actors(64).build().unwrap();
    let mut books = ["EURUSD", "USDJPY", "never"].map(|name| region.record::<OrderBook>(name).unwrap());
    books[0].publish(&book());
    books[1].publish(&OrderBook { best_bid: 0.5, open: false, ..book() });
    let gone = region.record::<Progress>("gone").unwrap();
    drop(gone);
    let shared: SharedRecord<Pattern> = region.shared_record("all").unwrap();
    region.events("orders").unwrap().publish(Level::Warn, "order 7\nis late");
    region.events_of::<Progress>("imports").unwrap().publish(Level::Info, &progress());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mut own, shared) = (region.record::<Pattern>(&thread.to_string()).unwrap(), shared.clone());
            scope.spawn(move || {
                for number in 1.. {
                    own.publish(&Pattern { numbers: [number; 64] });
                    shared.publish(&Pattern { numbers: [THREADS * number + thread; 64] });
                    // Between publishes that follow each other at once, no reader could copy a record.
                    if number % 100 == 0 {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
        }
        println!("ready region={}", region.path().unwrap().display());
    });
    unreachable!("the threads have no end")
}

fn start(name: &str) -> Node {
    Node::start(&mut support::again(name, "work"))
}

fn rows(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let who = node.who();
    let json = support::atomscope_json([&["records", who.as_str()], arguments, &["--json"]].concat());
    json.as_array().unwrap().clone()
}

fn text(arguments: &[&str]) -> String {
    let output = support::atomscope(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_show_records_with_their_fields_while_the_node_lives_and_after_its_death() {
    if support::role().is_some() {
        work();
    }
    let name = "the_commands_show_records_with_their_fields_while_the_node_lives_and_after_its_death";
    let mut node = start(name);
    let who = node.who();
    let check = |node: &Node| {
        let books = rows(node, &["OrderBook", "--sort", "best_bid"]);
        let [first, second, never] = books.as_slice() else { panic!("{books:#?}") };
        let mut first = first.clone();
        assert!(first["age_s"].as_f64() >= Some(0.0), "{first:#}");
        first["age_s"].take();
        assert_eq!(
            first,
            json!({
                "record": "EURUSD", "kind": "OrderBook", "best_bid": 1.25, "depth": 7, "open": true, "phase": "Auction",
                "change": 0.1, "drift": -3, "levels": [1.0, 2.5, null], "symbol": "EUR/USD", "published": 1, "lost": 0,
                "age_s": null,
            })
        );
        assert_eq!((&second["record"], &second["best_bid"]), (&"USDJPY".into(), &0.5.into()));
        assert_eq!(
            (&never["published"], &never["depth"], &never["age_s"]),
            (&0.into(), &Value::Null, &Value::Null)
        );
        let found = rows(node, &["--filter", "best_bid > 1 and open = yes"]);
        assert_eq!((found.len(), &found[0]["record"]), (1, &"EURUSD".into()), "{found:#?}");
    };
    check(&node);
    assert!(rows(&node, &["Pattern"]).len() as u64 >= THREADS);
    let table = text(&["records", &who, "OrderBook"]);
    for part in ["BEST_BID(USD)", "DEPTH(orders)", "EUR/USD", "Auction", "1,2.5,-"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let stat = text(&["stat", &who, "50ms", "1", "--json", "--metric", "OrderBook/EURUSD.best_bid"]);
    let stat: Value = serde_json::from_str(stat.lines().next().unwrap()).unwrap();
    assert_eq!(stat["metrics"]["OrderBook/EURUSD.best_bid"], 1.25, "{stat:#}");
    assert!(text(&["show", &who]).contains("3 OrderBook"), "{}", text(&["show", &who]));
    let wrong = support::atomscope(["records", &who, "Nothing"]);
    let why = String::from_utf8(wrong.stderr).unwrap();
    assert!(why.contains("OrderBook, Progress, Pattern"), "{why}");

    let about = about(node.region());
    let kind = &about["records"]["kinds"][0];
    assert_eq!(kind["help"], "One order book.");
    assert_eq!(kind["bytes"], size_of::<OrderBook>());
    assert_eq!(
        kind["fields"][0],
        json!({
            "name": "best_bid", "unit": "USD", "help": "The best price that somebody would pay.", "type": "f64", "offset": 0,
            "element_bytes": 8, "length": 0, "values": [],
        })
    );
    assert_eq!(kind["fields"][3]["values"], json!(["Closed", "Auction", "Continuous"]));
    let list = about["records"]["list"].as_array().unwrap();
    assert!(list.iter().all(|record| record["name"] != "gone"), "{list:#?}");

    let secret = text(&["dump", &who, "--redact"]);
    for word in ["EUR", "OrderBook", "best_bid", "Auction", "USDJPY"] {
        assert!(!secret.contains(word), "{word}");
    }
    assert!(secret.contains("2.5"), "numbers stay");

    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("redacted.raw");
    text(&["dump", &who, "--redact", "--format", "raw", "-o", raw.to_str().unwrap()]);
    let bytes = std::fs::read(&raw).unwrap();
    for word in ["EUR", "OrderBook", "best_bid", "Auction", "USDJPY"] {
        assert!(bytes.windows(word.len()).all(|window| window != word.as_bytes()), "{word}");
    }
    let redacted = support::atomscope_json(["records", raw.to_str().unwrap(), "--json"]);
    let redacted = redacted.as_array().unwrap();
    assert_eq!(redacted.len() as u64, 3 + 1 + THREADS);
    let numbers = redacted[0].as_object().unwrap().values();
    assert_eq!(
        numbers
            .filter(|value| [json!(1.25), json!(7), json!(true), json!(1), json!("")].contains(value))
            .count(),
        6
    );

    let lines = text(&["dump", &who, "--format", "ndjson"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count() as u64;
    assert_eq!((of("record_kind"), of("record")), (3, 3 + 1 + THREADS));
    assert!(lines.iter().any(|line| line["record_kind"] == "OrderBook" && line["values"]["depth"] == 7));

    node.kill();
    let dead = ["records", "--region", node.region().to_str().unwrap(), "OrderBook"];
    let dead = text(&dead[..3]);
    assert!(dead.contains("EUR/USD"), "{dead}");
}

#[test]
fn tail_lists_the_events_of_an_application_by_topic() {
    let name = "tail_lists_the_events_of_an_application_by_topic";
    if support::role().is_some() {
        work();
    }
    let mut node = start(name);
    let (who, region) = (node.who(), node.region().to_str().unwrap().to_owned());
    let tail = |node: &[&str], topics: &[&str]| -> Vec<Value> {
        let topics: Vec<_> = topics.iter().flat_map(|topic| ["--topic", topic]).collect();
        let lines = text(&[&["tail", "--no-follow", "--json"], node, topics.as_slice()].concat());
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // The last line about a dead node is none.
        events.filter(|event| event["kind"] != "ended").collect()
    };
    let order = json!({"kind": "own", "topic": "orders", "level": "warn", "text": "order 7\nis late"});
    let import = json!({
        "kind": "own", "topic": "imports", "level": "info", "text": "", "record": "Progress",
        "values": {"rows": 5, "hosts": ["db-1", ""]},
    });
    let check = |node: &[&str]| {
        for (topics, expected) in [
            (&["orders"][..], vec![&order]),
            (&["orders", "imports"], vec![&order, &import]),
            (&["actors"], vec![]),
        ] {
            let mut found = tail(node, topics);
            for event in &mut found {
                let event = event.as_object_mut().unwrap();
                for of_the_line in ["at", "stamp", "lane", "node", "pid"] {
                    assert!(event.remove(of_the_line).is_some_and(|value| !value.is_null()), "{of_the_line}");
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{topics:?}");
        }
    };
    check(&[who.as_str()]);
    let shown = text(&["tail", "--no-follow", &who]);
    for part in ["orders      warn order 7\\u{a}is late", "imports     info Progress: rows 5, hosts db-1,"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("redacted.raw").to_str().unwrap().to_owned();
    text(&["dump", &who, "--redact", "--format", "raw", "-o", &raw]);
    let bytes = std::fs::read(&raw).unwrap();
    for word in ["orders", "imports", "is late", "db-1"] {
        assert!(bytes.windows(word.len()).all(|window| window != word.as_bytes()), "{word}");
    }
    let redacted = tail(&[&raw], &[]);
    let levels: Vec<_> = redacted.iter().map(|event| (&event["level"], &event["text"])).collect();
    assert_eq!(levels, [(&"warn".into(), &"".into()), (&"info".into(), &"".into())]);
    node.kill();
    check(&["--region", &region]);
}

/// Every state of a record that is read is one that was published.
fn check_whole(record: &[FieldValue]) {
    let [FieldValue::List(numbers)] = record else { panic!("{record:?}") };
    assert_eq!(numbers.len(), 64);
    assert!(numbers.iter().all(|number| *number == numbers[0]), "torn: {numbers:?}");
}

#[test]
fn no_reader_ever_gets_a_torn_record_and_a_kill_leaves_at_most_one_unreadable_for_each_thread() {
    let name = "no_reader_ever_gets_a_torn_record_and_a_kill_leaves_at_most_one_unreadable_for_each_thread";
    if support::role().is_some() {
        work();
    }
    let (mut half_written, mut read) = (0, 0);
    for round in 0..12 {
        let mut node = start(name);
        let file = std::fs::File::open(node.region()).unwrap();
        let memory = support::mapped(memmap2::MmapOptions::new().map_raw_read_only(&file).unwrap());
        let region = RegionReader::open(memory.words()).unwrap();
        let patterns = || {
            let found = region.own_records();
            let kind = found.kinds.iter().position(|kind| kind.name == "Pattern");
            let of_kind =
                found.list.iter().filter(|record| Some(record.kind) == kind && record.published > 0);
            let checked = of_kind.inspect(|record| check_whole(&record.values)).count() as u64;
            (checked, found.unreadable)
        };
        wait_until("all threads have published", || patterns().0 > THREADS);
        read += (0..200 + 37 * round).map(|_| patterns().0).sum::<u64>();
        node.kill();
        let (whole, unreadable) = patterns();
        assert_eq!(whole + unreadable, THREADS + 1, "records of {THREADS} threads, and theirs together");
        assert!(unreadable <= THREADS, "{unreadable} unreadable records of {THREADS} threads");
        assert_eq!(about(node.region())["records"]["unreadable"], unreadable);
        half_written += unreadable;
    }
    println!("{read} states were read whole; {half_written} records were met half-written");
    assert!(read > 0);
}

#[test]
#[ignore = "needs python3"]
fn a_decoder_that_was_written_from_the_page_alone_reads_the_same() {
    // A test that is ignored does not run as another process.
    let mut node =
        start("the_commands_show_records_with_their_fields_while_the_node_lives_and_after_its_death");
    node.kill();
    let region = node.region().as_os_str();
    let theirs = decoded(["dump".as_ref(), region]);
    assert_eq!(theirs[0]["atomscope"]["records"], about(region)["records"]);
    let theirs = decoded(["tail".as_ref(), "--first".as_ref(), region]);
    assert_eq!((&theirs, theirs.len()), (&all_events(node.region()), 3));
}
