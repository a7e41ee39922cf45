//! `LAYOUT.md` and the code agree: the tests compare every table with the types and constants, and generate the drawing of
//! each record from its table. `ATOMSCOPE_BLESS=1` writes the drawings again.

#![cfg(not(atomscope_loom))]
#![allow(clippy::panic, reason = "only tests use this")]

mod support;

use std::mem::{offset_of, size_of, size_of_val};

use atomscope_layout::attached::{Attachment, Reach};
use atomscope_layout::cells::{CellRecord, Mode};
use atomscope_layout::classes::{ClassRecord, VariantRecord};
use atomscope_layout::event::{EVENT_SLOT_BYTES, EventKind, EventRecord, event_flags};
use atomscope_layout::failures::{FailureRecord, PANIC_SLOT_BYTES, PanicRecord, Severity, failure_flags};
use atomscope_layout::forest::MAX_TREE_LEVELS;
use atomscope_layout::instances::{Domain, InstanceRecord};
use atomscope_layout::limits::{
    CUT_MARK, LANE_SLOTS, MAX_ACTORS, MAX_CLASSES, MAX_CLOCK_SAMPLES, MAX_DEAD_LETTERS, MAX_DOCUMENT_BYTES,
    MAX_EVENTS, MAX_FAILURES, MAX_FIELDS, MAX_HISTOGRAMS, MAX_INSTANCES, MAX_INSTRUMENTS, MAX_JOURNAL_WRITES,
    MAX_KINDS, MAX_LANES, MAX_METRICS, MAX_NAMES, MAX_PANICS, MAX_RECORDS, MAX_SECTIONS, MAX_THREADS,
    MAX_VARIANTS, METRIC_NAME_BYTES, MIN_METRICS, PATH_CUT_MARK, SEPARATION_BYTES,
};
use atomscope_layout::metrics::{BUILTIN, Kind};
use atomscope_layout::own_records::{FieldRecord, FieldType, KindRecord, OwnRecord};
use atomscope_layout::records::{
    ActorRecord, ClockSampleRecord, EndKind, EndRecord, HistoryRecord, JournalWriteRecord, LetterRecord,
    MetricRecord, TimeRecord, actor_flags, dead_letter_flags, end_flags,
};
use atomscope_layout::region::{
    Condition, HEADER_BYTES, HeaderRecord, MAGIC, SectionRecord, State, VERSION_MAJOR, VERSION_MINOR, header,
};
use atomscope_layout::ring::{DEAD_LETTER_SLOT_BYTES, SLOT_HEAD_WORDS};
use atomscope_layout::seqlock::READ_TRIES;
use atomscope_layout::sync::Ordering;
use atomscope_layout::table::{Key, Spawned, Stopped};
use atomscope_layout::threads::ThreadRecord;
use atomscope_layout::{Capacities, RegionMap};
use support::tables::{DOCUMENT, Field, chapter, documented, numbers, table};
use zerocopy::FromZeros;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/LAYOUT.md");

/// The fields of a record as the compiler lays them out. It does not compile if a field is missing.
macro_rules! fields {
    ($record:ident { $($field:ident),+ $(,)? }) => {{
        let $record { $($field),+ } = $record::new_zeroed();
        let fields = [$((stringify!($field).to_owned(), offset_of!($record, $field), size_of_val(&$field))),+];
        (format!("### {}", stringify!($record)), fields.to_vec(), size_of::<$record>())
    }};
}

fn check((heading, fields, bytes): (String, Vec<Field>, usize)) {
    assert_eq!(documented(&heading), fields, "under `{heading}`");
    let end = fields.last().map(|(_, offset, bytes)| offset + bytes);
    assert_eq!(end, Some(bytes), "under `{heading}`: the record has more bytes than its fields");
}

#[test]
fn each_record_is_documented_as_the_compiler_lays_it_out() {
    check(fields!(HeaderRecord {
        region_bytes,
        header_bytes,
        sections,
        pid,
        uid,
        process_start_ticks,
        boot_id,
        pid_namespace,
        created_unix_ns,
        actor_capacity,
        flags,
        builtins,
        reserved,
    }));
    check(fields!(SectionRecord { id, offset_bytes, count, stride_bytes, record_bytes, reserved }));
    check(fields!(ClockSampleRecord { ticks, mono_ns, boot_ns, unix_ns, rate, reserved }));
    check(fields!(TimeRecord {
        time_namespace,
        mono_offset_ns,
        boot_offset_ns,
        created_mono_ns,
        created_boot_ns,
    }));
    check(fields!(HistoryRecord { crashes, first_unix_ns, newest_unix_ns }));
    check(fields!(EndRecord { kind, code, unix_ns, mono_ns, tid, thread, sender, address, flags }));
    let kinds = [("Exit", EndKind::Exit), ("Signal", EndKind::Signal), ("Unknown", EndKind::Unknown)];
    let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind as usize));
    assert_eq!(numbers("### EndRecord", &["kind", "number"]), kinds);
    assert_eq!(ClockSampleRecord::RATE_ONE, 1 << 40);
    check(fields!(MetricRecord { ready, name_bytes, label_bytes, unit_bytes, help_bytes, text }));
    check(fields!(ActorRecord {
        control,
        key,
        spawned,
        type_id,
        flags,
        path_bytes,
        type_bytes,
        spawned_bytes,
        host_bytes,
        parent_bytes,
        zero,
        cell,
        depth,
        parent_key,
        text,
        reserved,
    }));
    check(fields!(LetterRecord {
        stamp,
        type_id,
        flags,
        recipient_bytes,
        sender_bytes,
        type_bytes,
        preview_bytes,
        text,
    }));
    check(fields!(JournalWriteRecord {
        stamp,
        sequence_nr,
        journal_bytes,
        persistence_id_bytes,
        reserved,
        text,
    }));
    check(fields!(PanicRecord {
        stamp,
        failure,
        tid,
        class,
        flags,
        location_bytes,
        thread_bytes,
        actor_bytes,
        message_bytes,
        text,
    }));
    check(fields!(FailureRecord {
        ready,
        key,
        count,
        last,
        first,
        class,
        flags,
        location_bytes,
        thread_bytes,
        actor_bytes,
        target_bytes,
        message_bytes,
        zero,
        text,
        reserved,
    }));
    check(fields!(InstanceRecord {
        control,
        key,
        since,
        domain,
        name_bytes,
        reserved,
        owner,
        counted_by,
        numbers,
        name
    }));
    check(fields!(CellRecord { identity, handled, busy_ns, since, running, failures, polls, task }));
    let modes = [Mode::Unknown, Mode::Runs, Mode::Awaits].map(|mode| (format!("{mode:?}"), mode as usize));
    assert_eq!(numbers("### CellRecord", &["mode", "number"]), modes);
    check(fields!(ClassRecord {
        name,
        spawned,
        stopped,
        failures,
        restarts,
        untracked,
        overwritten,
        long_polls,
    }));
    check(fields!(VariantRecord { class, name }));
    check(fields!(ThreadRecord { identity, runtime, parks, since, name, reserved }));
    check(fields!(KindRecord { ready, help_bytes, name_bytes, first_field, text }));
    check(fields!(FieldRecord { ready, unit_bytes, values_bytes, name_bytes, help_bytes, length, text }));
    check(fields!(OwnRecord { sequence, stamp, payload, kind, first, name_bytes, name, lost, reserved }));
    let types = FieldType::ALL.map(|of| (of.word().to_owned(), of as usize));
    assert_eq!(numbers("### FieldRecord", &["type", "number"]), types);
    let (heading, mut fields, bytes) =
        fields!(EventRecord { stamp, type_id, flags, text_bytes, kind, part, parts, numbers, text });
    let at = fields.iter().position(|(name, ..)| name == "text_bytes").unwrap();
    let (name, offset, all) = fields.remove(at);
    let each = (0..all / 2).map(|text| (format!("{name}[{text}]"), offset + 2 * text, 2));
    fields.splice(at..at, each);
    check((heading, fields, bytes));
}

#[test]
fn the_header_is_documented_as_it_is() {
    let words =
        |name: &str, range: std::ops::Range<usize>| (name.to_owned(), range.start * 8, range.len() * 8);
    let fields = [
        words("magic", header::MAGIC..header::MAGIC + 1),
        words("version", header::VERSION..header::VERSION + 1),
        words("record", header::RECORD),
        words("state", header::STATE..header::STATE + 1),
        words("conditions", header::CONDITIONS..header::CONDITIONS + 1),
        words("attached", header::ATTACHED..header::ATTACHED + 1),
        words("time", header::TIME),
        words("history", header::HISTORY),
        words("series_ended", header::SERIES_ENDED..header::SERIES_ENDED + 1),
        words("process_beat", header::PROCESS_BEAT),
        words("runtime_beat", header::RUNTIME_BEAT),
        words("end", header::END),
        words("node", header::NODE),
        words("system", header::SYSTEM),
        words("program", header::PROGRAM),
        words("writer", header::WRITER),
        words("poll_beat", header::POLL_BEAT),
        words("actors_used", header::ACTORS_USED..header::ACTORS_USED + 1),
        words("instances_used", header::INSTANCES_USED..header::INSTANCES_USED + 1),
        words("directory", header::DIRECTORY),
    ];
    assert_eq!(documented("## The header"), fields);
    assert_eq!((HEADER_BYTES, SEPARATION_BYTES, READ_TRIES), (4096, 128, 16));
    assert_eq!(MAGIC.to_le_bytes(), *b"ATOMSCPE");
    assert!(DOCUMENT.contains(&format!("\nVersion {VERSION_MAJOR}.{VERSION_MINOR}. ")));
    assert_eq!((CUT_MARK, PATH_CUT_MARK), ("…", "…#"));
    let states = [State::Starting, State::Running, State::Stopping, State::Closed];
    assert_eq!(
        numbers("## State and verdict", &["state", "number"]),
        states.map(|s| (format!("{s:?}"), s as usize))
    );
    assert_eq!(
        numbers("## State and verdict", &["condition", "bit"]),
        Condition::ALL.map(|c| (format!("{c:?}"), c.bit().trailing_zeros() as usize))
    );
}

#[test]
fn the_sections_are_documented_as_they_are() {
    let capacities = Capacities {
        actors: 9,
        lanes: 3,
        dead_letters: 5,
        events: 7,
        names: 11,
        metrics: 104,
        ..Capacities::LEAST
    };
    let map = RegionMap::for_capacities(&capacities).unwrap();
    let sections = [
        ("counters", map.counters),
        ("metrics", map.metrics),
        ("names", map.names),
        ("actors", map.actors),
        ("dead letters", map.dead_letters),
        ("events", map.events),
        ("instances", map.instances),
        ("documents", map.documents),
        ("histograms", map.histograms),
        ("journal writes", map.journal_writes),
        ("clock samples", map.clock_samples),
        ("failures", map.failures),
        ("panics", map.panics),
        ("cells", map.cells),
        ("classes", map.classes),
        ("variants", map.variants),
        ("handled", map.handled),
        ("threads", map.threads),
        ("kinds", map.kinds),
        ("fields", map.fields),
        ("own records", map.records),
    ];
    let rows = table("## The sections", &["id", "section", "least count", "least stride", "stride"]);
    assert_eq!(rows.len(), map.section_count());
    for ((row, (name, section)), entry) in rows.iter().zip(sections).zip(map.directory()) {
        assert_eq!((row[0].parse(), row[1].as_str()), (Ok(entry.id), name));
        let stride = section.stride * 8;
        assert_eq!((entry.offset_bytes, entry.stride_bytes), (section.start as u64 * 8, stride as u64));
        match row[4].strip_prefix("multiple of ") {
            Some(unit) => assert_eq!(stride % unit.parse::<usize>().unwrap(), 0, "{name}"),
            None => assert_eq!(row[4], stride.to_string(), "{name}"),
        }
    }
    // Readers check the directory against the minimum of each section.
    let least = |row: &Vec<String>| -> (usize, usize) { (row[2].parse().unwrap(), row[3].parse().unwrap()) };
    let least: Vec<_> = rows.iter().map(least).collect();
    let smallest = RegionMap::for_capacities(&Capacities::LEAST).unwrap();
    let found = smallest.directory().map(|entry| (entry.count as usize, entry.stride_bytes as usize));
    // A writer has at least one lane in addition to the shared one, and slots for both; readers do not require them.
    let extra = |row: &Vec<String>| match row[1].as_str() {
        "counters" | "events" | "handled" => 1,
        "actors" => 2 * LANE_SLOTS,
        // The capacity for clock samples is fixed.
        "clock samples" => smallest.clock_samples.count - 2,
        _ => 0,
    };
    let found = found.into_iter().zip(&rows).map(|((count, stride), row)| (count - extra(row), stride));
    assert_eq!(found.collect::<Vec<_>>(), least);
    assert_eq!((EVENT_SLOT_BYTES, DEAD_LETTER_SLOT_BYTES, PANIC_SLOT_BYTES), (256, 384, 512));
    let slot = table("## Rings", &["field", "offset", "bytes", "meaning"]);
    let offsets: Vec<_> = slot.iter().map(|row| (row[0].as_str(), row[1].parse().unwrap())).collect();
    assert_eq!(offsets, [("sequence", 0), ("mark", 8), ("record", SLOT_HEAD_WORDS * 8)]);
}

#[test]
fn the_limits_are_documented_as_they_are() {
    let limits = [
        ("MAX_SECTIONS", MAX_SECTIONS),
        ("MAX_LANES", MAX_LANES),
        ("MAX_METRICS", MAX_METRICS),
        ("MIN_METRICS", MIN_METRICS),
        ("METRIC_NAME_BYTES", METRIC_NAME_BYTES),
        ("MAX_NAMES", MAX_NAMES),
        ("MAX_ACTORS", MAX_ACTORS),
        ("MAX_DEAD_LETTERS", MAX_DEAD_LETTERS),
        ("MAX_EVENTS", MAX_EVENTS),
        ("MAX_INSTANCES", MAX_INSTANCES),
        ("MAX_DOCUMENT_BYTES", MAX_DOCUMENT_BYTES),
        ("MAX_HISTOGRAMS", MAX_HISTOGRAMS),
        ("MAX_JOURNAL_WRITES", MAX_JOURNAL_WRITES),
        ("MAX_CLOCK_SAMPLES", MAX_CLOCK_SAMPLES),
        ("MAX_FAILURES", MAX_FAILURES),
        ("MAX_PANICS", MAX_PANICS),
        ("MAX_INSTRUMENTS", MAX_INSTRUMENTS),
        ("MAX_CLASSES", MAX_CLASSES),
        ("MAX_VARIANTS", MAX_VARIANTS),
        ("MAX_THREADS", MAX_THREADS),
        ("MAX_KINDS", MAX_KINDS),
        ("MAX_FIELDS", MAX_FIELDS),
        ("MAX_RECORDS", MAX_RECORDS),
    ];
    assert!(DOCUMENT.contains(&format!("the section has {LANE_SLOTS} more slots for each lane")));
    // The levels of a tree are a limit of the JSON, not of a region.
    assert!(DOCUMENT.contains(&format!("the {}st level", MAX_TREE_LEVELS + 1)));
    assert_eq!(
        numbers("## Conventions", &["limit", "value"]),
        limits.map(|(name, value)| (name.to_owned(), value))
    );
}

#[test]
fn the_flags_are_documented_as_they_are() {
    let flags = |heading, flags: &[(&str, u32)]| {
        let bits = flags.iter().map(|(name, flag)| ((*name).to_owned(), flag.trailing_zeros() as usize));
        assert_eq!(numbers(heading, &["flag", "bit"]), bits.collect::<Vec<_>>());
    };
    flags(
        "### ActorRecord",
        &[
            ("PARENT", actor_flags::PARENT),
            ("PARENT_IS_PREFIX", actor_flags::PARENT_IS_PREFIX),
            ("PATH_CUT", actor_flags::PATH_CUT),
            ("TEXT_CUT", actor_flags::TEXT_CUT),
            ("SPAWNED_TEXT", actor_flags::SPAWNED_TEXT),
            ("HOST", actor_flags::HOST),
            ("DEPTH", actor_flags::DEPTH),
        ],
    );
    let letter = [("SENDER", dead_letter_flags::SENDER), ("TEXT_CUT", dead_letter_flags::TEXT_CUT)];
    flags("### LetterRecord", &letter);
    let failure = [("MESSAGE", failure_flags::MESSAGE), ("TEXT_CUT", failure_flags::TEXT_CUT)];
    flags("### FailureRecord", &failure);
    assert_eq!(
        numbers("### FailureRecord", &["severity", "number"]),
        Severity::ALL.map(|severity| (severity.name().to_owned(), severity as usize))
    );
    flags("### EndRecord", &[("PANICKED", end_flags::PANICKED), ("HAS_ADDRESS", end_flags::HAS_ADDRESS)]);
    flags(
        "### EventRecord",
        &[
            ("OPTIONAL", event_flags::OPTIONAL),
            ("TEXT_CUT", event_flags::TEXT_CUT),
            ("TIME_TEXT", event_flags::TIME_TEXT),
            ("REACHABLE", event_flags::REACHABLE),
            ("LIST_SHIFT", 1 << event_flags::LIST_SHIFT),
        ],
    );
}

#[test]
fn the_kinds_of_events_are_documented_as_they_are() {
    let kinds = [
        EventKind::ActorSpawned,
        EventKind::ActorStopped,
        EventKind::MailboxSampled,
        EventKind::DeadLetter,
        EventKind::ClusterChanged,
        EventKind::ShardingChanged,
        EventKind::JournalWrite,
        EventKind::RemoteAssociation,
        EventKind::StreamsGraphStarted,
        EventKind::StreamsGraphFinished,
        EventKind::DDataUpdated,
        EventKind::Panicked,
        EventKind::Own,
        EventKind::LongPoll,
    ];
    let snake = |name: String| {
        let parts = name.char_indices().map(|(at, c)| match c.is_uppercase() && at > 0 {
            true => format!("_{}", c.to_lowercase()),
            false => c.to_lowercase().to_string(),
        });
        parts.collect::<String>()
    };
    let known = kinds
        .map(|kind| vec![snake(format!("{kind:?}")), (kind as u16).to_string(), kind.topic().to_owned()]);
    let documented = table("### EventRecord", &["kind", "number", "topic"]);
    assert_eq!(documented.into_iter().map(|row| row[..3].to_vec()).collect::<Vec<_>>(), known);
}

#[test]
fn the_built_in_metrics_are_documented_as_they_are() {
    let known = BUILTIN.iter().enumerate().map(|(number, (name, unit, kind, help))| {
        let kind = kind.name();
        [&number.to_string(), *name, *unit, kind, *help].map(str::to_owned).to_vec()
    });
    let documented = table("### MetricRecord", &["number", "name", "unit", "kind", "help"]);
    assert_eq!(documented, known.collect::<Vec<_>>());
    assert_eq!(Kind::ALL.map(|kind| kind as u64), [1, 2, 3, 4, 5]);
}

#[test]
fn control_words_are_documented_as_they_are() {
    let region = support::Region::small();
    let state = |name: &str| {
        let states = numbers("### Control word", &["state", "number"]);
        states.into_iter().find_map(|(state, number)| (state == name).then_some(number as u64)).unwrap()
    };
    let part = |word: u64, name: &str| {
        let fields = table("### Control word", &["field", "lowest bit", "bits"]);
        let row = fields.into_iter().find(|row| row[0] == name).unwrap();
        let [lowest, bits] = [&row[1], &row[2]].map(|number| number.parse::<u32>().unwrap());
        word >> lowest & ((1 << bits) - 1)
    };
    let stride = region.map.actors.stride;
    let parts = |slot: usize| {
        let word = region.section(region.map.actors)[slot * stride].load(Ordering::Relaxed);
        ["state", "link", "generation"].map(|name| part(word, name))
    };
    let used = || region.memory.words()[header::ACTORS_USED].load(Ordering::Relaxed);
    assert_eq!((used(), parts(0)), (0, [state("FREE"), 0, 0]));
    for number in 1..=2 {
        let record = ActorRecord { key: [number, number], ..ActorRecord::new_zeroed() };
        assert_eq!(region.spawn(&record), Spawned::Stands);
    }
    assert!(used() >= 2);
    assert_eq!([parts(0), parts(1)], [[state("LIVE"), 0, 1]; 2]);
    assert!(region.update(Key(1, 1), |_| assert_eq!(parts(0), [state("BUSY"), 0, 2])));
    assert_eq!(parts(0), [state("LIVE"), 0, 2]);
    for number in 1..=2 {
        assert!(matches!(region.stop(Key(number, number)), Stopped::Entry { .. }));
    }
    // The slot that was freed last is linked to the one before, by its number plus 1.
    assert_eq!([parts(0), parts(1)], [[state("FREE"), 0, 2], [state("FREE"), 1, 1]]);
}

#[test]
fn the_domains_of_instances_are_documented_as_they_are() {
    let known = Domain::ALL.iter().map(|domain| {
        let fields = domain.fields().iter();
        let fields: Vec<_> =
            fields.map(|f| format!("{} ({})", f.name, format!("{:?}", f.kind).to_lowercase())).collect();
        vec![domain.name().to_owned(), (*domain as u16).to_string(), fields.join(", ")]
    });
    let documented = table("### InstanceRecord", &["domain", "number", "numbers"]);
    assert_eq!(documented, known.collect::<Vec<_>>());
}

#[test]
fn the_attachments_and_what_they_count_are_documented_as_they_are() {
    let known = Attachment::ALL.iter().map(|attachment| {
        let metrics: Vec<_> = attachment.metrics().iter().map(|metric| BUILTIN[*metric as usize].0).collect();
        let numbers = attachment.counts().iter().map(|counts| {
            let fields = counts.fields.iter().map(|at| counts.domain.fields()[*at].name);
            let reach = match counts.reach {
                Reach::All => "",
                Reach::Each => "each of ",
            };
            format!("{reach}{}: {}", counts.domain.name(), fields.collect::<Vec<_>>().join(", "))
        });
        let numbers = numbers.collect::<Vec<_>>().join("; ");
        let bit = (*attachment as u32).to_string();
        vec![bit, attachment.name().to_owned(), metrics.join(", "), numbers]
    });
    let documented =
        table("## Attachments and known numbers", &["bit", "attachment", "metrics", "numbers of instances"]);
    assert_eq!(documented, known.collect::<Vec<_>>());
}

/// Characters per byte in a drawing.
const BYTE: usize = 8;

/// The drawing of a record with these fields: one row for each word, or for each field of whole words.
fn drawing(fields: &[Field], bytes: usize) -> String {
    let mut rows: Vec<Vec<(usize, usize, String)>> = Vec::new();
    let mut end = 0;
    let mut put = |offset: usize, bytes: usize, label: String| match rows.last_mut() {
        Some(row) if offset % 8 != 0 => row.push((offset, bytes, label)),
        _ => rows.push(vec![(offset, bytes, label)]),
    };
    for (name, offset, bytes) in fields {
        if *offset > end {
            put(end, offset - end, format!("zero, {} bytes", offset - end));
        }
        let label = if *bytes > 8 { format!("{name}, {bytes} bytes") } else { name.clone() };
        put(*offset, *bytes, label);
        end = offset + bytes;
    }
    assert_eq!(end, bytes);
    // The columns of the vertical lines of a row, including both ends.
    let borders = |row: &[(usize, usize, String)]| -> Vec<usize> {
        let inner = row.iter().skip(1).map(|(offset, ..)| offset % 8 * BYTE);
        [0].into_iter().chain(inner).chain([8 * BYTE]).collect()
    };
    let line = |above: &[usize], below: &[usize]| -> String {
        let at = |place| match (place, above.contains(&place), below.contains(&place)) {
            (0, false, _) => '┌',
            (0, _, false) => '└',
            (0, ..) => '├',
            (p, false, _) if p == 8 * BYTE => '┐',
            (p, _, false) if p == 8 * BYTE => '┘',
            (p, ..) if p == 8 * BYTE => '┤',
            (_, true, true) => '┼',
            (_, true, false) => '┴',
            (_, false, true) => '┬',
            _ => '─',
        };
        (0..=8 * BYTE).map(at).collect()
    };
    let scale: String = (0..8).map(|byte| format!("{byte:<BYTE$}")).collect();
    let mut text = format!("  byte {}\n", scale.trim_end());
    let mut above = Vec::new();
    for row in &rows {
        let below = borders(row);
        text += &format!("       {}\n{:>6} ", line(&above, &below), row[0].0);
        let last = row.len() - 1;
        for (at, (offset, _, label)) in row.iter().enumerate() {
            let next = if at == last { 8 * BYTE } else { row[at + 1].0 % 8 * BYTE };
            let width = next - offset % 8 * BYTE - 1;
            // A label as wide as its field has no space before it.
            let label = if label.len() < width { format!(" {label}") } else { label.clone() };
            text += &format!("│{label:<width$}");
        }
        text += "│\n";
        above = below;
    }
    text + &format!("       {}\n", line(&above, &[]))
}

#[test]
fn each_drawing_of_a_record_shows_what_its_table_says() {
    let mut document = DOCUMENT.to_owned();
    for heading in [
        "## The header",
        "### HeaderRecord",
        "### SectionRecord",
        "### TimeRecord",
        "### HistoryRecord",
        "### EndRecord",
        "### ClockSampleRecord",
        "### MetricRecord",
        "### ActorRecord",
        "### LetterRecord",
        "### JournalWriteRecord",
        "### PanicRecord",
        "### FailureRecord",
        "### EventRecord",
        "### InstanceRecord",
        "### CellRecord",
        "### ClassRecord",
        "### VariantRecord",
        "### ThreadRecord",
        "### KindRecord",
        "### FieldRecord",
        "### OwnRecord",
        "### RawHeader",
    ] {
        let fields = documented(heading);
        let bytes = fields.last().map(|(_, offset, bytes)| offset + bytes).unwrap();
        let drawn = drawing(&fields, bytes);
        let old = chapter(&document, heading);
        let (before, rest) = old.split_once("```text\n").unwrap();
        let (_, after) = rest.split_once("```\n").unwrap();
        let new = format!("{before}```text\n{drawn}```\n{after}");
        document = document.replacen(old, &new, 1);
    }
    if std::env::var_os("ATOMSCOPE_BLESS").is_some() {
        std::fs::write(PATH, &document).unwrap();
    } else {
        assert!(document == DOCUMENT, "a drawing is out of date: run with ATOMSCOPE_BLESS=1");
    }
}
