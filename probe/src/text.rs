//! Texts of records: paths are joined in words of eight bytes and hashed, without formatting.

use atomscope_layout::limits::{ACTOR_PATH_BYTES, DEAD_LETTER_PATH_BYTES, PATH_CUT_MARK};
use atomscope_layout::names::put_text;
use atomscope_layout::table::Key;
#[cfg(feature = "atomr")]
use atomscope_layout::words::short;
use atomscope_layout::words::{Join, WORD};
use zerocopy::IntoBytes;

use crate::hash::{Lanes, PathHasher};

/// A text in pieces. Joined, they are the output of `Display`.
pub(crate) trait Pieces {
    fn each(&self, to: &mut impl Joins);

    /// Joins the pieces in zeroed words; returns the length in bytes, which may be more than the words hold.
    fn join(&self, words: &mut [u64; WORDS]) -> usize {
        let mut joining = Joining(Join::new(words));
        self.each(&mut joining);
        joining.0.end()
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
}

#[cfg(feature = "atomr")]
impl Pieces for atomr_core::actor::ActorPath {
    #[inline]
    fn each(&self, to: &mut impl Joins) {
        each(self, &self.elements, to);
    }

    /// The fast way for the path of a local actor: it keeps its state in registers. With a plain `inline` the units of code
    /// that a build happens to cut decide whether the hooks call it.
    #[inline(always)]
    fn join(&self, words: &mut [u64; WORDS]) -> usize {
        let address = &self.address;
        if address.protocol.as_bytes() != b"akka" || address.host.is_some() || self.elements.is_empty() {
            return unusual(self, words);
        }
        let mut join = Join::new(words);
        join.put(u64::from_le_bytes(*b"akka://\0"), 7);
        join.rest(address.system.as_bytes(), 0);
        for element in &self.elements {
            let bytes = element.as_str().as_bytes();
            if let Some(chunk) = bytes.first_chunk::<WORD>() {
                join.put(u64::from_le_bytes(*chunk) << 8 | u64::from(b'/'), WORD);
                join.rest(bytes, WORD - 1);
            } else {
                join.put(short(bytes) << 8 | u64::from(b'/'), bytes.len() + 1);
            }
        }
        join.end()
    }
}

/// The path of a root, or of an actor of another node.
#[cfg(feature = "atomr")]
#[cold]
fn unusual(path: &atomr_core::actor::ActorPath, words: &mut [u64; WORDS]) -> usize {
    let mut joining = Joining(Join::new(words));
    path.each(&mut joining);
    joining.0.end()
}

/// The pieces of the path with these elements.
#[cfg(feature = "atomr")]
#[inline]
fn each(
    path: &atomr_core::actor::ActorPath,
    elements: &[atomr_core::actor::PathElement],
    to: &mut impl Joins,
) {
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
struct Above<'a>(&'a atomr_core::actor::ActorPath);

#[cfg(feature = "atomr")]
impl Pieces for Above<'_> {
    fn each(&self, to: &mut impl Joins) {
        each(self.0, self.0.elements.split_last().map_or(&[], |(_, above)| above), to);
    }
}

/// Whether `parent` is the path of `path` without its last element.
#[cfg(feature = "atomr")]
#[inline]
pub(crate) fn is_above(parent: &atomr_core::actor::ActorPath, path: &atomr_core::actor::ActorPath) -> bool {
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
/// An even number, since the hash takes two words at a time.
const WORDS: usize = PATH_WORDS.next_multiple_of(2);

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

    /// Its words in pairs.
    #[inline]
    fn pairs(&self) -> &[[u64; 2]] {
        let pairs: &[[u64; 2]; WORDS / 2] = zerocopy::transmute_ref!(&self.words);
        pairs.get(..self.bytes.div_ceil(2 * WORD)).unwrap_or_default()
    }

    /// Its words, an even number.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        self.pairs().as_flattened()
    }

    fn text(&self) -> &[u8] {
        self.words.as_bytes().get(..self.bytes).unwrap_or_default()
    }

    /// Joins a path; false if it is too long.
    #[inline]
    fn join(&mut self, path: &(impl Pieces + ?Sized)) -> bool {
        self.bytes = path.join(&mut self.words);
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

/// Joins pieces in place.
struct Joining<'a>(Join<'a, WORDS>);

impl Joins for Joining<'_> {
    #[inline]
    fn piece(&mut self, piece: &str) {
        self.0.rest(piece.as_bytes(), 0);
    }
}

/// Hashes a text of any length.
struct Stream {
    hasher: PathHasher,
    lanes: Lanes,
    block: [u8; 2 * WORD],
    bytes: usize,
}

impl Stream {
    fn add_block(&mut self) {
        let (x, y) = (self.block.first_chunk(), self.block.last_chunk());
        let word = |bytes: Option<&[u8; WORD]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.lanes = self.hasher.block(self.lanes, word(x), word(y));
        self.block = [0; 2 * WORD];
    }
}

impl Joins for Stream {
    fn piece(&mut self, piece: &str) {
        for byte in piece.bytes() {
            let at = self.bytes % self.block.len();
            self.block[at] = byte;
            self.bytes += 1;
            if at + 1 == self.block.len() {
                self.add_block();
            }
        }
    }
}

/// The key of a text that is too long to be joined.
#[cold]
fn key_of_long(hasher: PathHasher, path: &(impl Pieces + ?Sized)) -> Key {
    let mut stream = Stream { hasher, lanes: hasher.start(), block: [0; 2 * WORD], bytes: 0 };
    path.each(&mut stream);
    if stream.bytes % stream.block.len() > 0 {
        stream.add_block();
    }
    hasher.end(stream.lanes, stream.bytes)
}

/// Writes the beginning of a path, `…#` and its key; returns the bytes used.
fn cut_path(path: &[u8], to: &mut [u8], key: Key) -> usize {
    let mut kept = to.len().saturating_sub(PATH_CUT_MARK.len() + 32);
    while kept > 0 && path.get(kept).is_some_and(|byte| byte & 0xc0 == 0x80) {
        kept -= 1;
    }
    let digits = key.0.into_iter().flat_map(|half| (0..16).rev().map(move |at| half >> (4 * at) & 0xf));
    let digits = digits.map(|digit| b"0123456789abcdef"[digit as usize]);
    let all = path.iter().copied().take(kept).chain(PATH_CUT_MARK.bytes()).chain(digits);
    to.iter_mut().zip(all).fold(0, |bytes, (to, from)| {
        *to = from;
        bytes + 1
    })
}

impl PathHasher {
    /// The key of a path.
    pub(crate) fn key(self, path: &(impl Pieces + ?Sized)) -> Key {
        self.key_and_text(path, &mut PathText::new())
    }

    /// A hash for interning.
    pub(crate) fn hash(self, text: &str) -> u64 {
        self.key(text).0[0]
    }

    /// Joins a path in an empty text.
    #[inline]
    pub(crate) fn text(self, path: &(impl Pieces + ?Sized), text: &mut PathText) {
        if !text.join(path) {
            text.cut_off(key_of_long(self, path));
        }
    }

    /// The key of a path, which is joined in an empty text.
    #[inline(always)]
    pub(crate) fn key_and_text(self, path: &(impl Pieces + ?Sized), text: &mut PathText) -> Key {
        if !text.join(path) {
            let key = key_of_long(self, path);
            text.cut_off(key);
            return key;
        }
        self.end(self.blocks(self.start(), text.pairs()), text.bytes)
    }

    /// Adds pairs of words.
    #[inline]
    fn blocks(self, lanes: Lanes, pairs: &[[u64; 2]]) -> Lanes {
        pairs.iter().fold(lanes, |lanes, [x, y]| self.block(lanes, *x, *y))
    }

    /// The key of a path, the key of its parent, and the length of the parent's path, which is the path without its last
    /// element. The path is joined in an empty text.
    #[cfg(feature = "atomr")]
    // There is one hot caller and one cold one.
    #[inline(always)]
    pub(crate) fn path_and_parent(
        self,
        path: &atomr_core::actor::ActorPath,
        text: &mut PathText,
    ) -> (Key, Key, usize) {
        let fits = text.join(path);
        let last = path.elements.last().map_or(0, |last| last.as_str().len());
        // The root's path ends with the slash after which the path of its child continues.
        let slash = usize::from(path.elements.len() > 1);
        let parent_bytes = text.bytes - last - slash;
        if !fits {
            let key = key_of_long(self, path);
            text.cut_off(key);
            return (key, self.key(&Above(path)), parent_bytes);
        }
        // The parent's path is a prefix of this one, so both hashes are equal up to the block in which the prefix ends.
        let (full, rest) = (parent_bytes / (2 * WORD), parent_bytes % (2 * WORD));
        let (shared, own) = text.pairs().split_at_checked(full).unwrap_or_default();
        let shared = self.blocks(self.start(), shared);
        let mut above = shared;
        if let (Some([x, y]), true) = (own.first(), rest > 0) {
            let mask = (1 << (8 * (rest % WORD))) - 1;
            let (x, y) = if rest < WORD { (x & mask, 0) } else { (*x, y & mask) };
            above = self.block(above, x, y);
        }
        let key = self.end(self.blocks(shared, own), text.bytes);
        (key, self.end(above, parent_bytes), parent_bytes)
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
    use atomr_core::actor::{ActorPath, Address};

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
        let mut all = vec![local.clone(), remote.clone(), zero, max, local.child(""), local.child("a/b")];
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
            assert_eq!(key_of_long(hasher, &path), hasher.key(path.to_string().as_str()));
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
