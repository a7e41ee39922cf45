//! Paths and other texts on their way into records: copied piece by piece and hashed, never formatted.

use std::hash::Hasher as _;

use atomscope_layout::limits::PATH_CUT_MARK;
use atomscope_layout::names::put_text;
use atomscope_layout::table::Key;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Hashes paths with a key of its own, so that nobody outside can choose names that collide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathHasher([u64; 2]);

/// A text that comes in pieces, which together are what `Display` would write.
pub(crate) trait Pieces {
    fn each(&self, piece: &mut impl FnMut(&str));
}

impl Pieces for str {
    fn each(&self, piece: &mut impl FnMut(&str)) {
        piece(self);
    }
}

#[cfg(feature = "atomr")]
impl Pieces for atomr_core::actor::ActorPath {
    fn each(&self, piece: &mut impl FnMut(&str)) {
        address(&self.address, piece);
        if self.elements.is_empty() {
            piece("/");
        }
        elements(&self.elements, piece);
    }
}

#[cfg(feature = "atomr")]
fn elements(elements: &[atomr_core::actor::PathElement], piece: &mut impl FnMut(&str)) {
    for element in elements {
        piece("/");
        piece(element.as_str());
    }
}

#[cfg(feature = "atomr")]
fn address(address: &atomr_core::actor::Address, piece: &mut impl FnMut(&str)) {
    piece(&address.protocol);
    piece("://");
    piece(&address.system);
    if let (Some(host), Some(port)) = (&address.host, address.port) {
        piece("@");
        piece(host);
        piece(":");
        let (mut digits, mut rest) = ([b'0'; 5], port);
        let mut at = digits.len();
        while at == digits.len() || rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        piece(core::str::from_utf8(&digits[at..]).unwrap_or_default());
    }
}

impl PathHasher {
    /// A hasher that nobody else has.
    pub(crate) fn new() -> Self {
        // The standard library's own source of per-map keys.
        let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self([random(), random()])
    }

    fn start(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }

    /// The key of a path.
    pub(crate) fn key(self, path: &(impl Pieces + ?Sized)) -> Key {
        let mut buffer = [0; 256];
        self.key_and_text(path, &mut PathText::new(&mut buffer))
    }

    /// The key of a path, whose text goes to `text`.
    pub(crate) fn key_and_text(self, path: &(impl Pieces + ?Sized), text: &mut PathText<'_>) -> Key {
        path.each(&mut |piece| text.push(piece));
        let mut hasher = self.start();
        // Bytes that lie together are hashed several times as fast as pieces of a few bytes each.
        match text.all() {
            Some(bytes) => hasher.write(bytes),
            None => path.each(&mut |piece| hasher.write(piece.as_bytes())),
        }
        finish(&hasher)
    }

    /// A hash for interning.
    pub(crate) fn hash(self, text: &str) -> u64 {
        let mut hasher = self.start();
        hasher.write(text.as_bytes());
        finish(&hasher).0[0]
    }

    /// The key of `path`, that of its parent and the length of the parent's path; its text goes to `text`. The parent's
    /// path is the path without its last element.
    #[cfg(feature = "atomr")]
    pub(crate) fn path_and_parent(
        self,
        path: &atomr_core::actor::ActorPath,
        text: &mut PathText<'_>,
    ) -> (Key, Key, usize) {
        path.each(&mut |piece| text.push(piece));
        let last = path.elements.last().map_or(0, |last| last.as_str().len());
        // The root's own path ends in the slash that the path of an actor just below it goes on from.
        let slash = usize::from(path.elements.len() > 1);
        let parent_bytes = text.whole - last - slash;
        let mut hasher = self.start();
        let Some((above, below)) = text.all().and_then(|bytes| bytes.split_at_checked(parent_bytes)) else {
            return (self.key(path), self.key(&Above(path)), parent_bytes);
        };
        hasher.write(above);
        let parent_key = finish(&hasher);
        hasher.write(below);
        (finish(&hasher), parent_key, parent_bytes)
    }
}

/// The path of the parent of a path.
#[cfg(feature = "atomr")]
struct Above<'a>(&'a atomr_core::actor::ActorPath);

#[cfg(feature = "atomr")]
impl Pieces for Above<'_> {
    fn each(&self, piece: &mut impl FnMut(&str)) {
        address(&self.0.address, piece);
        match self.0.elements.split_last() {
            Some((_, above)) if !above.is_empty() => elements(above, piece),
            _ => piece("/"),
        }
    }
}

fn finish(hasher: &SipHasher13) -> Key {
    let hash = hasher.finish128();
    Key([hash.h1, hash.h2])
}

/// The text of a path while it is put together: as much of it as is kept, and how long it is as a whole.
pub(crate) struct PathText<'a> {
    buffer: &'a mut [u8],
    used: usize,
    whole: usize,
}

impl<'a> PathText<'a> {
    /// Keeps at most as many bytes as `buffer` has.
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0, whole: 0 }
    }

    /// The whole path, if it fits.
    fn all(&self) -> Option<&[u8]> {
        if self.whole == self.used { self.buffer.get(..self.used) } else { None }
    }

    #[inline]
    fn push(&mut self, piece: &str) {
        let room = self.buffer.get_mut(self.used..).unwrap_or_default();
        let fits = piece.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..fits), piece.as_bytes().get(..fits)) {
            to.copy_from_slice(from);
        }
        self.used += fits;
        self.whole += piece.len();
    }

    /// Ends the text: a path that was too long ends in `…#` and its key. Gives the bytes used and whether it was cut.
    pub(crate) fn finish(self, key: impl FnOnce() -> Key) -> (usize, bool) {
        if self.whole <= self.buffer.len() {
            return (self.used, false);
        }
        let mut kept = self.buffer.len().saturating_sub(PATH_CUT_MARK.len() + 32);
        while kept > 0 && self.buffer.get(kept).is_some_and(|byte| byte & 0xc0 == 0x80) {
            kept -= 1;
        }
        let Key(halves) = key();
        let digits = halves.into_iter().flat_map(|half| (0..16).rev().map(move |at| half >> (4 * at) & 0xf));
        let digits = digits.map(|digit| b"0123456789abcdef"[digit as usize]);
        let mut used = kept;
        let tail = self.buffer.get_mut(kept..).unwrap_or_default();
        for (to, from) in tail.iter_mut().zip(PATH_CUT_MARK.bytes().chain(digits)) {
            *to = from;
            used += 1;
        }
        // What the kept bytes left of a split character must not stay behind the end.
        if let Some(rest) = self.buffer.get_mut(used..) {
            rest.fill(0);
        }
        (used, true)
    }
}

/// Puts texts one after the other into a record's text, and remembers whether any was cut.
pub(crate) struct Texts<'a> {
    buffer: &'a mut [u8],
    used: usize,
    pub(crate) cut: bool,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0, cut: false }
    }

    /// Puts a text, at most `max` bytes of it; gives the bytes used.
    pub(crate) fn put(&mut self, text: &str, max: usize) -> u16 {
        let room = self.buffer.get_mut(self.used..).unwrap_or_default();
        let (used, cut) = put_text(room, max, text);
        self.end(used, cut)
    }

    /// Puts a path, at most `max` bytes of it; gives the bytes used.
    pub(crate) fn put_path(&mut self, path: &(impl Pieces + ?Sized), max: usize, hasher: PathHasher) -> u16 {
        let room = self.buffer.get_mut(self.used..).unwrap_or_default();
        let max = max.min(room.len());
        let mut text = PathText::new(room.get_mut(..max).unwrap_or_default());
        path.each(&mut |piece| text.push(piece));
        let (used, cut) = text.finish(|| hasher.key(path));
        self.end(used, cut)
    }

    /// Takes note of text that was put at the start by other means.
    pub(crate) fn end(&mut self, used: usize, cut: bool) -> u16 {
        self.used += used;
        self.cut |= cut;
        used as u16
    }

    /// Bytes used by all of them.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(all(test, feature = "atomr"))]
mod tests {
    use atomr_core::actor::{ActorPath, Address};

    use super::*;

    fn paths() -> Vec<ActorPath> {
        let local = ActorPath::root(Address::local("Sys"));
        let remote = ActorPath::root(Address::remote("akka.tcp", "Sys", "höst", 2552));
        let zero = ActorPath::root(Address::remote("akka.tcp", "Sys", "h", 0));
        let max = ActorPath::root(Address::remote("akka.tcp", "Sys", "h", u16::MAX));
        let mut all = vec![local.clone(), remote.clone(), zero, max, local.child(""), local.child("a/b")];
        all.push(local.child("user").child("ünï").child("c"));
        all.push(remote.child("user"));
        all.push(local.child("user").child("x".repeat(10_000)));
        all
    }

    #[test]
    fn pieces_and_hash_are_those_of_display() {
        let hasher = PathHasher::new();
        for path in paths() {
            let mut text = String::new();
            path.each(&mut |piece| text.push_str(piece));
            assert_eq!(text, path.to_string());
            assert_eq!(hasher.key(&path), hasher.key(text.as_str()));
        }
    }

    #[test]
    fn one_pass_gives_path_parent_and_text() {
        let hasher = PathHasher::new();
        for path in paths() {
            let mut buffer = [0; 152];
            let mut text = PathText::new(&mut buffer);
            let (key, parent_key, parent_bytes) = hasher.path_and_parent(&path, &mut text);
            let (used, cut) = text.finish(|| key);
            assert_eq!(key, hasher.key(&path));
            let whole = path.to_string();
            let shown = core::str::from_utf8(&buffer[..used]).unwrap();
            if cut {
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
}
