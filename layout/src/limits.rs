//! Every limit of the layout, with the reason beside it.

/// Everything that two threads write apart is at least this far apart, whatever the CPU's line is: two 64-byte lines,
/// since adjacent ones are fetched in pairs.
pub const SEPARATION_BYTES: usize = 128;

/// Words in a bucket of the actor table: one 64-byte line, so that a look-up touches two lines of control words. (A loom
/// model cannot afford as many.)
pub const BUCKET_SLOTS: usize = if cfg!(atomscope_loom) { 2 } else { 8 };

/// Bytes of text in an actor record: path first, then what the record needs beside it.
pub const ACTOR_TEXT_BYTES: usize = 192;
/// Bytes of an actor's path that are kept; a longer one is cut visibly. What is left of the text is for the rest.
pub const ACTOR_PATH_BYTES: usize = 152;
/// Bytes of text in a dead letter: recipient, sender, preview.
pub const DEAD_LETTER_TEXT_BYTES: usize = 344;
/// Bytes of a dead letter's recipient, and of its sender, that are kept.
pub const DEAD_LETTER_PATH_BYTES: usize = 152;
/// Bytes of an interned name that are kept.
pub const NAME_BYTES: usize = 248;
/// Bytes of a metric's name, unit and help together.
pub const METRIC_TEXT_BYTES: usize = 240;
/// What a cut text ends in before anything else.
pub const CUT_MARK: &str = "…";
/// What a cut path ends in: this, then the key as 32 hex digits.
pub const PATH_CUT_MARK: &str = "…#";

/// Actors at most in one region: the slots' offsets then stay far below 2⁴⁰.
pub const MAX_ACTORS: usize = 16 << 20;
/// Counter lanes at most; more threads than this on one machine are not known.
pub const MAX_LANES: usize = 1024;
/// Dead letters kept at most.
pub const MAX_DEAD_LETTERS: usize = 1 << 20;
/// Events kept per lane at most.
pub const MAX_EVENTS: usize = 1 << 20;
/// Interned names at most.
pub const MAX_NAMES: usize = 1 << 20;
/// Metrics at most.
pub const MAX_METRICS: usize = 1 << 16;
/// Capacity for metrics of every region: the built-in ones, and some of the application's.
pub const MIN_METRICS: usize = 96;
/// Instances at most.
pub const MAX_INSTANCES: usize = 1 << 20;
/// Histograms at most.
pub const MAX_HISTOGRAMS: usize = 1 << 12;
/// Journal writes kept at most.
pub const MAX_JOURNAL_WRITES: usize = 1 << 16;
/// Bytes of a document at most: both copies and what is before them.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Bytes of the texts of a journal write: journal first, then persistence id.
pub const JOURNAL_WRITE_TEXT_BYTES: usize = 216;
/// Bytes of a journal's name that are kept in a journal write.
pub const JOURNAL_NAME_BYTES: usize = 64;
/// Sightings of a clock at most.
pub const MAX_SIGHTINGS: usize = 1 << 12;
/// Sections that the directory has room for.
pub const MAX_SECTIONS: usize = 32;

const _: () = {
    // A cut path keeps some text before its mark and key.
    assert!(PATH_CUT_MARK.len() + 32 < ACTOR_PATH_BYTES);
    // Beside the longest path there is room for a time stamp in RFC 3339 (35 bytes).
    assert!(ACTOR_TEXT_BYTES - ACTOR_PATH_BYTES >= 35);
    // Recipient and sender leave room for some preview.
    assert!(DEAD_LETTER_TEXT_BYTES >= 2 * DEAD_LETTER_PATH_BYTES + 40);
    // Records are whole words.
    assert!(ACTOR_TEXT_BYTES % 8 == 0 && DEAD_LETTER_TEXT_BYTES % 8 == 0 && NAME_BYTES % 8 == 0);
};
