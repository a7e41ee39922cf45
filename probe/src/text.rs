//! Texts of records: paths are joined in words of eight bytes and hashed, without formatting.

#[cfg(feature = "atomr")]
use atomr_core::actor::{ActorPath, PathElement};
use atomscope_layout::limits::{ACTOR_PATH_BYTES, DEAD_LETTER_PATH_BYTES, PATH_CUT_MARK};
use atomscope_layout::names::put_text;
use atomscope_layout::table::Key;
use atomscope_layout::words::{WORD, short};
use zerocopy::IntoBytes;

use crate::hash::{Lanes, PathHasher, SLASHES};

/// A text in pieces. Joined, they are the output of `Display`.
pub(crate) trait Pieces {
    fn each(&self, to: &mut impl Joins);

    /// Joins the pieces in an empty text; returns the length in bytes, which may be more than the text holds.
    fn join(&self, text: &mut PathText) -> usize {
        join_pieces(self, text)
    }

    /// The key of the text, which may have any length.
    fn key(&self, hasher: PathHasher) -> Key {
        key_of_pieces(self, hasher)
    }
}

/// Receives the pieces of a text.
pub(crate) trait Joins {
    fn piece(&mut self, piece: &str);
}

impl Pieces for str {
    #[inline]
    fn each(&self, to: &mut impl Joins) {
        to.piece(self);
    }

    #[inline]
    fn key(&self, hasher: PathHasher) -> Key {
        let mut hashing = Hashing::new(hasher, hasher.start());
        self.split('/').for_each(|part| segment(part, &mut hashing));
        hasher.finish(hashing.lanes)
    }
}

#[cfg(feature = "atomr")]
impl Pieces for ActorPath {
    #[inline]
    fn each(&self, to: &mut impl Joins) {
        each(self, &self.elements, to);
    }

    #[inline(always)]
    fn join(&self, text: &mut PathText) -> usize {
        if !is_local(self) {
            return join_pieces(self, text);
        }
        let mut joining = Joining::of_local(text);
        segments(self, &self.elements, &mut joining);
        joining.bytes
    }

    fn key(&self, hasher: PathHasher) -> Key {
        hasher.usual_key(self).unwrap_or_else(|| key_of_pieces(self, hasher))
    }
}

/// Whether it is the path of a local actor, which takes the fast way. With a plain `inline` the units of code that a build
/// happens to cut decide whether the hooks call it.
#[cfg(feature = "atomr")]
#[inline(always)]
fn is_local(path: &ActorPath) -> bool {
    let address = &path.address;
    address.protocol.as_bytes() == b"akka" && address.host.is_none() && !path.elements.is_empty()
}

/// Whether an element, or the system's name, contains a slash: then its text is more than one segment.
#[cfg(feature = "atomr")]
#[cold]
fn has_slash(path: &ActorPath) -> bool {
    path.address.system.contains('/') || path.elements.iter().any(|element| element.as_str().contains('/'))
}

/// Passes the segments of a local path: the system's name and these elements.
#[cfg(feature = "atomr")]
#[inline(always)]
fn segments(path: &ActorPath, elements: &[PathElement], to: &mut impl Segments) {
    segment(&path.address.system, to);
    for element in elements {
        segment(element.as_str(), to);
    }
}

/// Receives the segments of a text.
trait Segments {
    /// A segment of at most 7 bytes, in a word that is padded with zeros.
    fn short(&mut self, word: u64, bytes: usize);
    /// A segment of 8 to 15 bytes: its first and its last eight.
    fn middle(&mut self, first: u64, last: u64, bytes: usize);
    /// A longer segment.
    fn long(&mut self, text: &[u8]);
}

#[inline(always)]
fn segment(text: &str, to: &mut impl Segments) {
    let text = text.as_bytes();
    if text.len() < WORD {
        return to.short(short(text), text.len());
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if text.len() < 2 * WORD => {
            to.middle(u64::from_le_bytes(*first), u64::from_le_bytes(*last), text.len());
        }
        _ => to.long(text),
    }
}

/// Hashes segments.
struct Hashing {
    hasher: PathHasher,
    lanes: Lanes,
    slashes: u64,
}

const LOWEST: u64 = u64::from_ne_bytes([1; WORD]);

impl Hashing {
    #[inline(always)]
    fn new(hasher: PathHasher, lanes: Lanes) -> Self {
        Self { hasher, lanes, slashes: 0 }
    }

    /// Looks for a slash, which sets the highest bit of its byte. Characters beyond ASCII set it too.
    #[inline(always)]
    fn look(&mut self, word: u64) {
        self.slashes |= (word ^ SLASHES).wrapping_sub(LOWEST);
    }

    #[cfg(feature = "atomr")]
    #[inline(always)]
    fn may_have_met_slash(&self) -> bool {
        self.slashes & LOWEST << 7 != 0
    }
}

impl Segments for Hashing {
    #[inline(always)]
    fn short(&mut self, word: u64, bytes: usize) {
        self.look(word);
        self.lanes = self.hasher.short_end(self.lanes, word, bytes);
    }

    #[inline(always)]
    fn middle(&mut self, first: u64, last: u64, bytes: usize) {
        self.look(first);
        self.look(last);
        self.lanes = self.hasher.end(self.lanes, first, last, bytes);
    }

    #[inline(always)]
    fn long(&mut self, text: &[u8]) {
        // By value, so that the callers keep these in registers.
        let slashes;
        (self.lanes, slashes) = hash_long(self.hasher, self.lanes, text);
        self.slashes |= slashes;
    }
}

/// Hashes a segment of 16 bytes or more.
#[inline(never)]
fn hash_long(hasher: PathHasher, lanes: Lanes, text: &[u8]) -> (Lanes, u64) {
    let mut hashing = Hashing::new(hasher, lanes);
    let mut rest = text;
    while let (Some(x), Some((block, after))) = (rest.first_chunk(), rest.split_first_chunk::<{ 2 * WORD }>())
    {
        let (x, y) = (u64::from_le_bytes(*x), block.last_chunk().map_or(0, |y| u64::from_le_bytes(*y)));
        hashing.look(x);
        hashing.look(y);
        hashing.lanes = hasher.block(hashing.lanes, x, y);
        rest = after;
    }
    let last = text.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    match rest.first_chunk() {
        Some(first) => hashing.middle(u64::from_le_bytes(*first), last, rest.len()),
        // In two steps, because a shift by 64 is not allowed.
        None => hashing.short(last >> 8 >> (56 - 8 * rest.len()), rest.len()),
    }
    (hashing.lanes, hashing.slashes)
}

/// The pieces of the path with these elements.
#[cfg(feature = "atomr")]
#[inline]
fn each(path: &ActorPath, elements: &[PathElement], to: &mut impl Joins) {
    let address = &path.address;
    to.piece(&address.protocol);
    to.piece("://");
    to.piece(&address.system);
    if let (Some(host), Some(port)) = (&address.host, address.port) {
        host_and_port(host, port, to);
    }
    if elements.is_empty() {
        to.piece("/");
    }
    for element in elements {
        to.piece("/");
        to.piece(element.as_str());
    }
}

#[cfg(feature = "atomr")]
fn host_and_port(host: &str, port: u16, to: &mut impl Joins) {
    to.piece("@");
    to.piece(host);
    to.piece(":");
    let (mut digits, mut rest) = ([b'0'; 5], port);
    let mut at = digits.len();
    while at == digits.len() || rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    to.piece(core::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// The path of the parent.
#[cfg(feature = "atomr")]
struct Above<'a>(&'a ActorPath);

#[cfg(feature = "atomr")]
impl Pieces for Above<'_> {
    fn each(&self, to: &mut impl Joins) {
        each(self.0, self.0.elements.split_last().map_or(&[], |(_, above)| above), to);
    }
}

/// Whether `parent` is the path of `path` without its last element.
#[cfg(feature = "atomr")]
#[inline]
pub(crate) fn is_above(parent: &ActorPath, path: &ActorPath) -> bool {
    let (one, other) = (&parent.address, &path.address);
    path.elements.len() == parent.elements.len() + 1
        && parent.elements.iter().zip(&path.elements).all(|(one, other)| same(one.as_str(), other.as_str()))
        && same(&one.system, &other.system)
        && same(&one.protocol, &other.protocol)
        && (one.host.is_none() && other.host.is_none() || one.host == other.host)
        && one.port == other.port
}

/// Whether two texts are equal. Inline for short texts, which most are.
#[cfg(feature = "atomr")]
#[inline]
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one.len() == other.len()
        && match one.len() {
            // The first and last bytes overlap, which does no harm.
            4..=8 => ends::<4>(one) == ends::<4>(other),
            9..=16 => ends::<8>(one) == ends::<8>(other),
            _ => one == other,
        }
}

/// The first and the last bytes of a text.
#[cfg(feature = "atomr")]
#[inline]
fn ends<const BYTES: usize>(text: &[u8]) -> Option<([u8; BYTES], [u8; BYTES])> {
    Some((*text.first_chunk()?, *text.last_chunk()?))
}

/// Words of a path in a record.
const PATH_WORDS: usize = ACTOR_PATH_BYTES / WORD;
/// One more, so that a word may be stored at each byte of a path.
const WORDS: usize = PATH_WORDS + 1;

const _: () = {
    assert!(ACTOR_PATH_BYTES % WORD == 0);
    // The paths of dead letters are joined in the same way.
    assert!(DEAD_LETTER_PATH_BYTES == ACTOR_PATH_BYTES);
};

/// The text of a path for records: words of eight bytes, with zeros after the end. It is filled in place, since a move costs
/// as much as joining the path.
pub(crate) struct PathText {
    words: [u64; WORDS],
    /// Its length in bytes.
    pub(crate) bytes: usize,
    /// Whether the text was too long. It then ends with `…#` and the path's key.
    pub(crate) cut: bool,
}

impl PathText {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { words: [0; WORDS], bytes: 0, cut: false }
    }

    /// Its words, an even number of them: they are stored in pairs.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        self.words.get(..self.bytes.div_ceil(2 * WORD) * 2).unwrap_or_default()
    }

    fn text(&self) -> &[u8] {
        self.words.as_bytes().get(..self.bytes).unwrap_or_default()
    }

    /// Joins a path; false if it is too long.
    #[inline]
    fn join(&mut self, path: &(impl Pieces + ?Sized)) -> bool {
        self.bytes = path.join(self);
        self.bytes <= ACTOR_PATH_BYTES
    }

    /// Cuts a text that is too long.
    #[cold]
    fn cut_off(&mut self, key: Key) {
        let whole = self.words;
        self.words = [0; WORDS];
        let to = self.words.as_mut_bytes().get_mut(..ACTOR_PATH_BYTES).unwrap_or_default();
        self.bytes = cut_path(whole.as_bytes(), to, key);
        self.cut = true;
    }
}

/// Joins a text in zeroed words. Bytes that do not fit are counted but not written.
struct Joining<'a> {
    words: &'a mut [u64; WORDS],
    bytes: usize,
}

impl<'a> Joining<'a> {
    /// The path of a local actor, whose segments follow.
    #[cfg(feature = "atomr")]
    #[inline(always)]
    fn of_local(text: &'a mut PathText) -> Self {
        let mut joining = Self { words: &mut text.words, bytes: 0 };
        joining.store(0, u64::from_le_bytes(*b"akka:/\0\0"));
        joining.bytes = 6;
        joining
    }

    /// Stores a word at this byte; one beyond a path goes into the last word, without a branch.
    #[inline(always)]
    fn store(&mut self, at: usize, word: u64) {
        let at = at.min(ACTOR_PATH_BYTES);
        if let Some(to) = self.words.as_mut_bytes().get_mut(at..at + WORD) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Each segment with a slash before it. Zeros that are stored beyond its end are overwritten by what follows.
impl Segments for Joining<'_> {
    #[inline(always)]
    fn short(&mut self, word: u64, bytes: usize) {
        self.store(self.bytes, word << 8 | u64::from(b'/'));
        self.bytes += 1 + bytes;
    }

    #[inline(always)]
    fn middle(&mut self, first: u64, last: u64, bytes: usize) {
        self.store(self.bytes, u64::from(b'/'));
        self.store(self.bytes + 1, first);
        self.bytes += 1 + bytes;
        self.store(self.bytes - WORD, last);
    }

    #[inline(always)]
    fn long(&mut self, text: &[u8]) {
        self.bytes = join_long(self.words, self.bytes, text);
    }
}

impl Joins for Joining<'_> {
    fn piece(&mut self, piece: &str) {
        self.bytes = copy(self.words, self.bytes, piece.as_bytes());
    }
}

/// Copies a text to this byte, as far as it fits; returns where it would end.
fn copy(words: &mut [u64; WORDS], at: usize, text: &[u8]) -> usize {
    let to = words.as_mut_bytes().get_mut(at..).unwrap_or_default();
    to.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    at + text.len()
}

/// A slash and a segment of 16 bytes or more.
#[inline(never)]
fn join_long(words: &mut [u64; WORDS], at: usize, text: &[u8]) -> usize {
    let at = copy(words, at, b"/");
    copy(words, at, text)
}

/// Joins a text in pieces: a root's path, that of an actor of another node, or any text.
#[cold]
#[inline(never)]
fn join_pieces(path: &(impl Pieces + ?Sized), text: &mut PathText) -> usize {
    let mut joining = Joining { words: &mut text.words, bytes: 0 };
    path.each(&mut joining);
    joining.bytes
}

/// Hashes the pieces of a text, whose ends need not be those of segments.
struct Stream {
    hasher: PathHasher,
    lanes: Lanes,
    block: [u8; 2 * WORD],
    used: usize,
}

impl Stream {
    fn words(&self) -> [u64; 2] {
        let halves: [[u8; WORD]; 2] = zerocopy::transmute!(self.block);
        halves.map(u64::from_le_bytes)
    }

    fn end_segment(&mut self) {
        let ([x, y], hasher, used) = (self.words(), self.hasher, self.used);
        self.lanes = match used < WORD {
            true => hasher.short_end(self.lanes, x, used),
            false => hasher.block(self.lanes, x, y | u64::from(b'/') << (8 * (used - WORD))),
        };
        (self.block, self.used) = ([0; 2 * WORD], 0);
    }
}

impl Joins for Stream {
    fn piece(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if byte == b'/' {
                self.end_segment();
                continue;
            }
            self.block[self.used] = byte;
            self.used += 1;
            if self.used == self.block.len() {
                let [x, y] = self.words();
                self.lanes = self.hasher.block(self.lanes, x, y);
                (self.block, self.used) = ([0; 2 * WORD], 0);
            }
        }
    }
}

/// The key of a text in pieces: of a root's path, that of an actor of another node, or one with a slash in an element.
#[cold]
#[inline(never)]
fn key_of_pieces(path: &(impl Pieces + ?Sized), hasher: PathHasher) -> Key {
    let mut stream = Stream { hasher, lanes: hasher.start(), block: [0; 2 * WORD], used: 0 };
    path.each(&mut stream);
    stream.end_segment();
    hasher.finish(stream.lanes)
}

/// Writes the beginning of a path, `…#` and its key; returns the bytes used.
fn cut_path(path: &[u8], to: &mut [u8], key: Key) -> usize {
    let mut kept = to.len().saturating_sub(PATH_CUT_MARK.len() + 32);
    while kept > 0 && path.get(kept).is_some_and(|byte| byte & 0xc0 == 0x80) {
        kept -= 1;
    }
    let digits = key.words().into_iter().flat_map(|half| (0..16).rev().map(move |at| half >> (4 * at) & 0xf));
    let digits = digits.map(|digit| b"0123456789abcdef"[digit as usize]);
    let all = path.iter().copied().take(kept).chain(PATH_CUT_MARK.bytes()).chain(digits);
    to.iter_mut().zip(all).fold(0, |bytes, (to, from)| {
        *to = from;
        bytes + 1
    })
}

/// Counts the bytes of pieces.
#[cfg(feature = "atomr")]
struct Length(usize);

#[cfg(feature = "atomr")]
impl Joins for Length {
    fn piece(&mut self, piece: &str) {
        self.0 += piece.len();
    }
}

impl PathHasher {
    /// The key of a path.
    #[inline(always)]
    pub(crate) fn key(self, path: &(impl Pieces + ?Sized)) -> Key {
        path.key(self)
    }

    /// A hash for interning.
    pub(crate) fn hash(self, text: &str) -> u64 {
        self.key(text).0
    }

    /// Joins a path in an empty text.
    #[inline]
    pub(crate) fn text(self, path: &(impl Pieces + ?Sized), text: &mut PathText) {
        if !text.join(path) {
            text.cut_off(self.key(path));
        }
    }

    /// The key of a path, which is joined in an empty text.
    pub(crate) fn key_and_text(self, path: &(impl Pieces + ?Sized), text: &mut PathText) -> Key {
        let key = self.key(path);
        if !text.join(path) {
            text.cut_off(key);
        }
        key
    }

    /// The key of a path, the key of its parent, and the length of the parent's path, which is the path without its last
    /// element. The path is joined in an empty text.
    #[cfg(feature = "atomr")]
    pub(crate) fn path_and_parent(self, path: &ActorPath, text: &mut PathText) -> (Key, Key, usize) {
        let key = self.key_and_text(path, text);
        let parent = Above(path);
        let mut bytes = Length(0);
        parent.each(&mut bytes);
        (key, self.key(&parent), bytes.0)
    }

    /// As [`Self::path_and_parent`], of a usual path; `None` if it is too long, has an address of its own, or has a slash in
    /// an element. The text is spoilt then. No rare way gives its own keys to the caller: where two ways meet, the compiler
    /// keeps the keys in memory, and a load that follows two stores waits for both.
    #[cfg(feature = "atomr")]
    #[inline(always)]
    pub(crate) fn usual_path_and_parent(
        self,
        path: &ActorPath,
        text: &mut PathText,
    ) -> Option<(Key, Key, usize)> {
        let (last, above) = path.elements.split_last().filter(|_| is_local(path))?;
        let mut both = (Hashing::new(self, self.start_of_local()), Joining::of_local(text));
        segments(path, above, &mut both);
        let (of_parent, parent_bytes) = (both.0.lanes, both.1.bytes);
        segment(last.as_str(), &mut both);
        let (hashing, Joining { bytes, .. }) = both;
        text.bytes = bytes;
        if bytes > ACTOR_PATH_BYTES || hashing.may_have_met_slash() && has_slash(path) {
            return None;
        }
        // The root's path ends with an empty segment, after whose slash the path of its child continues.
        let (of_parent, parent_bytes) = match above {
            [] => (self.short_end(of_parent, 0, 0), parent_bytes + 1),
            _ => (of_parent, parent_bytes),
        };
        Some((self.finish(hashing.lanes), self.finish(of_parent), parent_bytes))
    }

    /// The key of a usual path, as of [`Self::usual_path_and_parent`] but for its length.
    #[cfg(feature = "atomr")]
    #[inline(always)]
    pub(crate) fn usual_key(self, path: &ActorPath) -> Option<Key> {
        if !is_local(path) {
            return None;
        }
        let mut hashing = Hashing::new(self, self.start_of_local());
        segments(path, &path.elements, &mut hashing);
        let has_slash = hashing.may_have_met_slash() && has_slash(path);
        (!has_slash).then(|| self.finish(hashing.lanes))
    }
}

/// Both receive the segments.
impl<A: Segments, B: Segments> Segments for (A, B) {
    #[inline(always)]
    fn short(&mut self, word: u64, bytes: usize) {
        self.0.short(word, bytes);
        self.1.short(word, bytes);
    }

    #[inline(always)]
    fn middle(&mut self, first: u64, last: u64, bytes: usize) {
        self.0.middle(first, last, bytes);
        self.1.middle(first, last, bytes);
    }

    #[inline(always)]
    fn long(&mut self, text: &[u8]) {
        self.0.long(text);
        self.1.long(text);
    }
}

/// Writes texts one after the other into a record's text, and remembers whether any was cut.
pub(crate) struct Texts<'a> {
    buffer: &'a mut [u8],
    used: usize,
    pub(crate) cut: bool,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0, cut: false }
    }

    /// Writes at most `max` bytes of a text; returns the bytes used.
    pub(crate) fn put(&mut self, text: &str, max: usize) -> u16 {
        let rest = self.buffer.get_mut(self.used..).unwrap_or_default();
        let (used, cut) = put_text(rest, max, text);
        self.end(used, cut)
    }

    /// Writes at most `max` bytes of a path; returns the bytes used.
    pub(crate) fn put_path(&mut self, path: &(impl Pieces + ?Sized), max: usize, hasher: PathHasher) -> u16 {
        let rest = self.buffer.get_mut(self.used..).unwrap_or_default();
        let max = max.min(rest.len());
        let rest = rest.get_mut(..max).unwrap_or_default();
        let mut text = PathText::new();
        hasher.text(path, &mut text);
        let (used, cut) = match rest.get_mut(..text.bytes) {
            Some(to) => {
                to.copy_from_slice(text.text());
                (text.bytes, text.cut)
            }
            None => (cut_path(text.text(), rest, hasher.key(path)), true),
        };
        self.end(used, cut)
    }

    /// Writes a path that is joined already; returns the bytes used.
    #[cfg(feature = "atomr")]
    pub(crate) fn put_joined(&mut self, path: &PathText) -> u16 {
        let to = self.buffer.get_mut(self.used..).and_then(|rest| rest.get_mut(..path.bytes));
        if let Some(to) = to {
            to.copy_from_slice(path.text());
            return self.end(path.bytes, path.cut);
        }
        self.end(0, true)
    }

    /// Accounts for text that was written otherwise.
    pub(crate) fn end(&mut self, used: usize, cut: bool) -> u16 {
        self.used += used;
        self.cut |= cut;
        used as u16
    }

    /// Bytes used by all texts.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(all(test, feature = "atomr"))]
mod tests {
    use atomr_core::actor::Address;

    use super::*;

    impl Joins for String {
        fn piece(&mut self, piece: &str) {
            self.push_str(piece);
        }
    }

    fn paths() -> Vec<ActorPath> {
        let local = ActorPath::root(Address::local("Sys"));
        let remote = ActorPath::root(Address::remote("akka.tcp", "Sys", "höst", 2552));
        let zero = ActorPath::root(Address::remote("akka.tcp", "Sys", "h", 0));
        let max = ActorPath::root(Address::remote("akka.tcp", "Sys", "h", u16::MAX));
        let mut all = vec![local.clone(), remote.clone(), zero, max, local.child("")];
        // Slashes in elements and addresses, empty elements, bytes that the hash gives a meaning.
        let odd =
            ["a/b", "/", "//", "a/", "/a", "x/0123456789abcdef", "0123456789abcdef/x", "\0", "/\0", "", "é/"];
        all.extend(odd.iter().map(|name| local.child("user").child(*name).child("c")));
        all.extend(odd.iter().map(|name| local.child(*name)));
        all.extend(odd.iter().map(|name| remote.child("user").child(*name)));
        all.extend(odd.iter().map(|name| ActorPath::root(Address::local(*name)).child("c")));
        all.push(ActorPath::root(Address { protocol: "akka/x".into(), ..Address::local("S") }).child("c"));
        all.push(local.child("user").child("ünï").child("c"));
        all.push(remote.child("user"));
        all.push(local.child("user").child("x".repeat(10_000)));
        // Pieces at every offset within words, and lengths around the limit.
        all.extend((0..20).flat_map(|one| (0..20).map(move |two| (one, two))).map(|(one, two)| {
            ActorPath::root(Address::local("S"))
                .child("abcdefghijklmnopqrst"[..one].to_owned())
                .child("é".repeat(two))
        }));
        all.extend((100..160).map(|long| local.child("user").child("y".repeat(long))));
        all
    }

    #[test]
    fn pieces_and_hash_are_those_of_display() {
        let hasher = PathHasher::new();
        for path in paths() {
            let mut text = String::new();
            path.each(&mut text);
            assert_eq!(text, path.to_string());
            assert_eq!(hasher.key(&path), hasher.key(text.as_str()));
        }
    }

    #[test]
    fn one_pass_gives_path_parent_and_text() {
        let hasher = PathHasher::new();
        for path in paths() {
            let mut text = PathText::new();
            let (key, parent_key, parent_bytes) = hasher.path_and_parent(&path, &mut text);
            assert_eq!(key, hasher.key(&path));
            let whole = path.to_string();
            let shown = core::str::from_utf8(text.text()).unwrap();
            if text.cut {
                assert!(whole.len() > 152 && shown.ends_with(&format!("…#{key}")), "{shown}");
            } else {
                assert_eq!(shown, whole);
            }
            if let Some(parent) = path.parent() {
                assert_eq!(parent_key, hasher.key(&parent));
                assert_eq!(&whole[..parent_bytes], parent.to_string());
            }
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        for shift in 0..4 {
            let name = format!("{}{}", "a".repeat(shift), "🦀".repeat(100));
            let mut buffer = [0; 152];
            let mut texts = Texts::new(&mut buffer);
            let used = texts.put_path(name.as_str(), 152, PathHasher::new()) as usize;
            assert!(texts.cut);
            assert!(core::str::from_utf8(&buffer[..used]).is_ok());
        }
    }

    #[test]
    fn a_text_has_one_key_however_it_comes() {
        let hasher = PathHasher::new();
        for path in paths() {
            let text = path.to_string();
            assert_eq!(hasher.key(&path), hasher.key(text.as_str()), "{text:?}");
            assert_eq!(key_of_pieces(&path, hasher), hasher.key(text.as_str()), "{text:?}");
        }
        // Cut in other pieces than its segments.
        let whole = "akka://Sys/user/0123456789abcdef/0123456/01234567/é";
        for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            struct Two<'a>(&'a str, &'a str);
            impl Pieces for Two<'_> {
                fn each(&self, to: &mut impl Joins) {
                    to.piece(self.0);
                    to.piece(self.1);
                }
            }
            assert_eq!(hasher.key(&Two(&whole[..at], &whole[at..])), hasher.key(whole), "cut at {at}");
        }
    }

    #[test]
    fn different_texts_have_different_keys_whatever_their_bytes() {
        // The hash pads with zeros, and marks the ends of segments with slashes and small numbers.
        let bytes =
            ["", "a", "\0", "\x03", "/", "//", "\0\0\0\0\0\0\0", "/////////", "01234567", "0123456789abcdef"];
        let mut texts = std::collections::HashSet::new();
        for one in bytes {
            for two in bytes {
                texts.extend(
                    bytes.iter().flat_map(|three| bytes.map(|four| [one, two, three, four].concat())),
                );
            }
        }
        let hasher = PathHasher::new();
        for half in 0..2 {
            let keys: std::collections::HashSet<u64> =
                texts.iter().map(|text| hasher.key(text.as_str()).words()[half]).collect();
            assert_eq!(keys.len(), texts.len());
        }
    }

    #[test]
    fn a_parent_is_the_same_path_without_the_last_element() {
        for path in paths() {
            if let Some(parent) = path.parent() {
                assert!(is_above(&parent, &path));
                assert!(!is_above(&path, &path));
                let elsewhere = Address::remote("akka", "Sys", "h", 1);
                assert!(!is_above(&ActorPath { address: elsewhere, ..parent.clone() }, &path));
                let mut other = parent.child("x");
                other.elements.swap_remove(0);
                assert_eq!(is_above(&other, &path), other.elements == parent.elements);
            }
        }
    }
}
