//! Every limit of the layout, with its reason.
//!
//! ```
//! use atomscope_layout::limits::{MAX_ACTORS, SEPARATION_BYTES};
//! assert!(MAX_ACTORS == 4_000_000 && SEPARATION_BYTES == 128);
//! ```

/// Minimum distance between data that different threads write. It is two 64-byte cache lines, because processors
/// fetch adjacent lines in pairs.
pub const SEPARATION_BYTES: usize = 128;

/// A slot of the tables of actors and instances begins on a cache line.
pub const SLOT_LINE_BYTES: usize = 64;

/// Bytes of text in an actor record: the path first, then the other texts.
pub const ACTOR_TEXT_BYTES: usize = 192;
/// Bytes of an actor's path that are kept; a longer path is cut visibly. The other texts share the remaining bytes.
pub const ACTOR_PATH_BYTES: usize = 152;
/// Bytes of text in a dead letter: recipient, sender, preview.
pub const DEAD_LETTER_TEXT_BYTES: usize = 344;
/// Bytes of a dead letter's recipient, and of its sender, that are kept.
pub const DEAD_LETTER_PATH_BYTES: usize = 152;
/// Bytes of an interned name that are kept.
pub const NAME_BYTES: usize = 248;
/// Bytes of a metric's name, labels, unit and help together.
pub const METRIC_TEXT_BYTES: usize = 368;
/// Bytes of a metric's name. A longer one is refused: two metrics with cut names would look alike.
pub const METRIC_NAME_BYTES: usize = 248;
/// Bytes of a metric's unit that are kept.
pub const METRIC_UNIT_BYTES: usize = 24;
/// The end of a text that was cut.
pub const CUT_MARK: &str = "…";
/// The end of a path that was cut: this mark, then the key as 32 hex digits.
pub const PATH_CUT_MARK: &str = "…#";

/// Maximum number of actors in one region. With the slots that lanes may hold, a slot number then needs 22 bits.
pub const MAX_ACTORS: usize = 4_000_000;
/// Free slots of the table of actors that a lane may hold: three chains of sixteen.
pub const LANE_SLOTS: usize = 48;
/// Maximum number of slots of the table of actors.
pub const MAX_ACTOR_SLOTS: usize = MAX_ACTORS + LANE_SLOTS * (MAX_LANES + 1);
/// Maximum number of counter lanes: more than any known machine has threads.
pub const MAX_LANES: usize = 1024;
/// Maximum number of dead letters kept.
pub const MAX_DEAD_LETTERS: usize = 1 << 20;
/// Maximum number of events kept per lane.
pub const MAX_EVENTS: usize = 1 << 20;
/// Maximum number of interned names.
pub const MAX_NAMES: usize = 1 << 20;
/// Maximum number of metrics.
pub const MAX_METRICS: usize = 1 << 16;
/// Minimum capacity for metrics: all built-in ones, and some that the application registers.
pub const MIN_METRICS: usize = 96;
/// Maximum number of instances.
pub const MAX_INSTANCES: usize = 1 << 20;
/// Maximum number of histograms.
pub const MAX_HISTOGRAMS: usize = 1 << 12;
/// Maximum number of journal writes kept.
pub const MAX_JOURNAL_WRITES: usize = 1 << 16;
/// Maximum size of a document in bytes: its head and both copies.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Bytes of the texts of a journal write: journal first, then persistence id.
pub const JOURNAL_WRITE_TEXT_BYTES: usize = 216;
/// Bytes of a journal's name that are kept in a journal write.
pub const JOURNAL_NAME_BYTES: usize = 64;
/// Maximum number of slots of the failure log.
pub const MAX_FAILURES: usize = 1 << 12;
/// Maximum number of panics kept.
pub const MAX_PANICS: usize = 1 << 16;
/// Bytes of the texts of a failure: location, thread, actor, target, message.
pub const FAILURE_TEXT_BYTES: usize = 640;
/// Bytes of the texts of a panic: location, thread, actor, message.
pub const PANIC_TEXT_BYTES: usize = 464;
/// Bytes of the location of a failure that are kept. The message gets what the other texts leave.
pub const FAILURE_LOCATION_BYTES: usize = 128;
/// Bytes of the name of a failure's thread that are kept.
pub const FAILURE_THREAD_BYTES: usize = 32;
/// Bytes of the path of a failure's actor that are kept.
pub const FAILURE_ACTOR_BYTES: usize = ACTOR_PATH_BYTES;
/// Bytes of the target of an error or warning that are kept.
pub const FAILURE_TARGET_BYTES: usize = 72;
/// Maximum number of cells of instrumented actors.
pub const MAX_INSTRUMENTS: usize = 1 << 20;
/// Maximum number of classes of instrumented actors.
pub const MAX_CLASSES: usize = 1 << 12;
/// Maximum number of rows of classes and variants.
pub const MAX_VARIANTS: usize = 1 << 16;
/// Maximum number of threads of watched runtimes.
pub const MAX_THREADS: usize = 1 << 16;
/// Maximum number of kinds of the application's own records.
pub const MAX_KINDS: usize = 1 << 12;
/// Maximum number of fields of these kinds.
pub const MAX_FIELDS: usize = 1 << 16;
/// Maximum number of the application's own records.
pub const MAX_RECORDS: usize = 1 << 16;
/// Maximum number of clock samples.
pub const MAX_CLOCK_SAMPLES: usize = 1 << 12;
/// Entries of the directory.
pub const MAX_SECTIONS: usize = 32;

const _: () = {
    // A cut path keeps some text before its mark and key.
    assert!(PATH_CUT_MARK.len() + 32 < ACTOR_PATH_BYTES);
    // A record with the longest path can still hold a time in RFC 3339 (35 bytes).
    assert!(ACTOR_TEXT_BYTES - ACTOR_PATH_BYTES >= 35);
    // Recipient and sender leave at least 40 bytes for the other texts.
    assert!(DEAD_LETTER_TEXT_BYTES >= 2 * DEAD_LETTER_PATH_BYTES + 40);
    // The lengths of an actor's texts have eight bits, and a link to a slot has 22, with 0 for no slot.
    assert!(ACTOR_TEXT_BYTES <= u8::MAX as usize && MAX_ACTOR_SLOTS < 1 << 22);
    // The other texts leave a message at least 256 bytes in the log, and 144 in a panic.
    const OTHERS: usize = FAILURE_LOCATION_BYTES + FAILURE_THREAD_BYTES + FAILURE_ACTOR_BYTES;
    assert!(FAILURE_TEXT_BYTES >= OTHERS + FAILURE_TARGET_BYTES + 256);
    assert!(PANIC_TEXT_BYTES >= OTHERS + 144);
    // The longest name and unit leave labels a quarter of the text.
    assert!(METRIC_TEXT_BYTES - METRIC_NAME_BYTES - METRIC_UNIT_BYTES >= METRIC_TEXT_BYTES / 4);
    // The number of a class has 16 bits in a cell.
    assert!(MAX_CLASSES <= 1 << 16);
    // Records are whole words.
    assert!(ACTOR_TEXT_BYTES % 8 == 0 && DEAD_LETTER_TEXT_BYTES % 8 == 0 && NAME_BYTES % 8 == 0);
    assert!(FAILURE_TEXT_BYTES % 8 == 0 && PANIC_TEXT_BYTES % 8 == 0);
};
