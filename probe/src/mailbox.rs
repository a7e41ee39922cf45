//! The number of messages in an actor's mailbox, read where the mailbox itself counts them.
//!
//! atomr has no call for this number, and tokio tells it to the receiver alone. But each `ActorRef` leads to it:
//!
//! ```text
//!   ActorRef ──► shared part of the refs ── at `in_ref` ──► channel ── at `in_channel` ──► messages × 2 + is closed
//! ```
//! Both places are private to atomr and tokio. So they are searched: the probe makes actors of its own, with messages of several
//! types, and looks for the one pair of places at which the expected numbers stand. If there is no such pair, or more than one,
//! depths are unknown.
//!
//! Memory is read by `process_vm_readv`, for which a wrong address is an error and not a fault. The kernel does
//! not promise that a word comes whole, so a depth that is greater than any before it is read again at once, and the
//! lesser of both counts.
//! A list of mailboxes keeps a clone of each actor's ref, so that the channel's memory is not used for something else. The clone
//! holds neither the actor nor its system.
#![allow(unsafe_code, reason = "reading the process's own memory by address has no safe interface")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use atomr_core::actor::{ActorPath, ActorRef};
use atomscope_layout::table::Key;
use atomscope_layout::words::WORD;

use crate::per_process::PerProcess;

/// The most words that one system call reads.
const BATCH: usize = 1024;
/// The time after which a look at all mailboxes ends. The next look goes on from there.
const LONGEST_LOOK: Duration = Duration::from_millis(5);
/// More messages than memory can hold: what was read is no number of messages.
const IMPOSSIBLE: u64 = 1 << 40;

/// A mailbox whose depth is read.
pub(crate) struct Mailbox {
    actor: Box<dyn AnyRef>,
    /// The key of the actor's path.
    pub(crate) key: Key,
    /// The word of the actor's record that names its cell.
    pub(crate) cell: u64,
    /// The index of the actor's class.
    pub(crate) class: u16,
    /// The depth that the actor's record has.
    pub(crate) noted: Option<u64>,
    /// The newest depth; 0 before the first look.
    pub(crate) depth: u64,
    /// The greatest depth so far.
    greatest: u64,
    /// The depth that the newest event told; 0 before the first one.
    pub(crate) published: u64,
    /// The address of the count; 0 before the first look.
    count_at: usize,
    is_gone: bool,
}

impl Mailbox {
    pub(crate) fn new<M: Send + 'static>(actor: &ActorRef<M>, key: Key, cell: u64, class: u16) -> Self {
        Self {
            actor: Box::new(actor.clone()),
            key,
            cell,
            class,
            noted: None,
            depth: 0,
            greatest: 0,
            published: 0,
            count_at: 0,
            is_gone: false,
        }
    }

    /// The path of its actor.
    pub(crate) fn path(&self) -> &ActorPath {
        self.actor.path()
    }
}

/// An [`ActorRef`] without the type of its messages.
trait AnyRef: Send {
    /// The address of the ref, whose only word points to what all refs of the actor share.
    fn address(&self) -> usize;
    fn path(&self) -> &ActorPath;
    fn is_terminated(&self) -> bool;
}

impl<M: Send + 'static> AnyRef for ActorRef<M> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn path(&self) -> &ActorPath {
        self.path()
    }

    fn is_terminated(&self) -> bool {
        self.is_terminated()
    }
}

/// The mailboxes of a region whose depths are read. Threads that spawn add to it without a lock.
pub(crate) struct Mailboxes {
    new: Sender<Mailbox>,
    /// The time between two rounds of events.
    publish_every: Option<Duration>,
    list: Mutex<List>,
}

struct List {
    new: Receiver<Mailbox>,
    mailboxes: Vec<Mailbox>,
    /// Where the next look begins.
    next: usize,
    /// Where the next search for news begins.
    next_news: usize,
    published_at: Option<Instant>,
}

impl std::fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailboxes")
    }
}

impl Mailboxes {
    /// None yet. Their depths are published so often, or not at all.
    pub(crate) fn new(publish_every: Option<Duration>) -> Self {
        let (sender, new) = channel();
        let list = List { new, mailboxes: Vec::new(), next: 0, next_news: 0, published_at: None };
        Self { new: sender, publish_every, list: Mutex::new(list) }
    }

    pub(crate) fn add(&self, mailbox: Mailbox) {
        // The receiver lives as long as the sender.
        let _ = self.new.send(mailbox);
    }

    /// Reads the depths; `see` gets each mailbox with its depth, or with `None` if it is unknown from now on. Mailboxes that are
    /// closed or unknown are no longer kept. For one thread at a time: another one returns at once.
    pub(crate) fn look(&self, see: impl FnMut(&mut Mailbox, Option<u64>)) {
        let gone = self.with_list(|list| list.look(see));
        drop_refs(gone.unwrap_or_default());
    }

    /// Calls `publish` with mailboxes whose depth has changed since it was published, `most` at most, if it is time.
    pub(crate) fn news(&self, most: usize, publish: impl FnMut(&Mailbox)) {
        let Some(every) = self.publish_every else { return };
        self.with_list(|list| {
            if list.published_at.is_none_or(|at| at.elapsed() >= every) {
                list.published_at = Some(Instant::now());
                list.news(most, publish);
            }
        });
    }

    /// Keeps no mailbox any more.
    pub(crate) fn let_go(&self) {
        let gone =
            self.with_list(|list| list.new.try_iter().chain(std::mem::take(&mut list.mailboxes)).collect());
        drop_refs(gone.unwrap_or_default());
    }

    /// How many mailboxes are kept.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let mut list = self.list.lock().unwrap();
        let List { new, mailboxes, .. } = &mut *list;
        mailboxes.extend(new.try_iter());
        mailboxes.len()
    }

    fn with_list<T>(&self, work: impl FnOnce(&mut List) -> T) -> Option<T> {
        match self.list.try_lock() {
            Ok(mut list) => Some(work(&mut list)),
            Err(TryLockError::Poisoned(poisoned)) => Some(work(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The last ref of an actor may drop a message that was sent while the mailbox was closing, and so run the application's code.
fn drop_refs(gone: Vec<Mailbox>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(gone)));
}

impl List {
    fn look(&mut self, mut see: impl FnMut(&mut Mailbox, Option<u64>)) -> Vec<Mailbox> {
        self.mailboxes.extend(self.new.try_iter());
        if self.mailboxes.is_empty() {
            return Vec::new();
        }
        let Some(place) = Place::here() else {
            self.mailboxes.iter_mut().for_each(|mailbox| see(mailbox, None));
            return std::mem::take(&mut self.mailboxes);
        };
        let (end, count) = (Instant::now() + LONGEST_LOOK, self.mailboxes.len());
        let mut seen = 0;
        while seen < count && (seen == 0 || Instant::now() < end) {
            let first = if self.next < count { self.next } else { 0 };
            let last = count.min(first + BATCH.min(count - seen));
            let batch = self.mailboxes.get_mut(first..last).unwrap_or_default();
            seen += batch.len();
            self.next = last;
            read(batch, place, &mut see);
        }
        self.take_gone()
    }

    fn take_gone(&mut self) -> Vec<Mailbox> {
        if !self.mailboxes.iter().any(|mailbox| mailbox.is_gone) {
            return Vec::new();
        }
        for next in [&mut self.next, &mut self.next_news] {
            let before = self.mailboxes.get(..*next).unwrap_or(&self.mailboxes);
            *next = before.iter().filter(|mailbox| !mailbox.is_gone).count();
        }
        let (gone, kept) =
            std::mem::take(&mut self.mailboxes).into_iter().partition(|mailbox| mailbox.is_gone);
        self.mailboxes = kept;
        gone
    }

    fn news(&mut self, most: usize, mut publish: impl FnMut(&Mailbox)) {
        let count = self.mailboxes.len();
        let first = if self.next_news < count { self.next_news } else { 0 };
        let mut left = most;
        for at in (first..count).chain(0..first) {
            let Some(mailbox) =
                self.mailboxes.get_mut(at).filter(|mailbox| mailbox.depth != mailbox.published)
            else {
                continue;
            };
            if left == 0 {
                self.next_news = at;
                return;
            }
            left -= 1;
            mailbox.published = mailbox.depth;
            publish(mailbox);
        }
    }
}

/// Reads the depths of these mailboxes.
fn read(mailboxes: &mut [Mailbox], place: Place, see: &mut impl FnMut(&mut Mailbox, Option<u64>)) {
    let mut new: Vec<&mut Mailbox> = mailboxes.iter_mut().filter(|mailbox| mailbox.count_at == 0).collect();
    let refs: Vec<usize> = new.iter().map(|mailbox| mailbox.actor.address()).collect();
    for (mailbox, count_at) in new.iter_mut().zip(place.counts_of(&refs)) {
        mailbox.count_at = count_at;
    }
    let addresses: Vec<usize> = mailboxes.iter().map(|mailbox| mailbox.count_at).collect();
    let mut counts = words_at(&addresses);
    // A word that came in two parts may seem greater than it ever was.
    let risen: Vec<(usize, usize)> = (0..)
        .zip(mailboxes.iter().zip(&counts))
        .filter(|(_, (mailbox, count))| count.is_some_and(|count| count / 2 > mailbox.greatest))
        .map(|(number, (mailbox, _))| (number, mailbox.count_at))
        .collect();
    let again: Vec<usize> = risen.iter().map(|(_, count_at)| *count_at).collect();
    for ((number, _), again) in risen.iter().zip(words_at(&again)) {
        if let (Some(Some(count)), Some(again)) = (counts.get_mut(*number), again) {
            *count = again.min(*count);
        }
    }
    for (mailbox, count) in mailboxes.iter_mut().zip(counts) {
        let depth = count.map(|count| (count / 2, count % 2 == 1));
        match depth {
            Some((_, true)) if mailbox.actor.is_terminated() => mailbox.is_gone = true,
            Some((depth, false)) if depth < IMPOSSIBLE => {
                mailbox.depth = depth;
                mailbox.greatest = mailbox.greatest.max(depth);
                see(mailbox, Some(depth));
            }
            // What was found in actors of the probe does not hold for this one, so it may not hold for others.
            _ => {
                Place::is_wrong();
                mailbox.is_gone = true;
                see(mailbox, None);
            }
        }
    }
}

/// Where the count of a mailbox is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The pointer to the channel, in what all refs of an actor share.
    in_ref: usize,
    /// The count, in the channel.
    in_channel: usize,
}

static IS_WRONG: AtomicBool = AtomicBool::new(false);

impl Place {
    /// The place in this process; `None` if it is not known, or if this thread must not look.
    fn here() -> Option<Self> {
        static FOUND: PerProcess<Option<Place>> = PerProcess::new();
        if IS_WRONG.load(Ordering::Relaxed) || is_filtered() {
            return None;
        }
        *FOUND.get_or_init(|| catch_unwind(search::place).ok().flatten())
    }

    fn is_wrong() {
        IS_WRONG.store(true, Ordering::Relaxed);
    }

    /// The addresses of the counts, from the addresses of refs; 0 for what cannot be read.
    fn counts_of(self, refs: &[usize]) -> Vec<usize> {
        let follow = |pointers: &[usize], offset: usize| -> Vec<usize> {
            let targets = words_at(pointers).into_iter();
            targets.map(|target| target.map_or(0, |target| (target as usize).wrapping_add(offset))).collect()
        };
        follow(&follow(refs, self.in_ref), self.in_channel)
    }
}

/// Whether a filter of system calls is on, which may kill the process for an unusual one. Also if that cannot be known.
fn is_filtered() -> bool {
    // The filter of this thread; another thread may have set it.
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let filter = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    filter.is_none_or(|filter| filter.trim() != "0")
}

/// The words at these addresses in this process; `None` for one that cannot be read.
fn words_at(addresses: &[usize]) -> Vec<Option<u64>> {
    let mut words = Vec::with_capacity(addresses.len());
    while let Some(rest) = addresses.get(words.len()..).filter(|rest| !rest.is_empty()) {
        let batch = rest.get(..BATCH).unwrap_or(rest);
        let mut read = [0; BATCH];
        let count = copy_words(batch, &mut read);
        words.extend(read.iter().take(count).copied().map(Some));
        if count < batch.len() {
            words.push(None);
        }
    }
    words
}

/// Copies words of this process, up to the first address that cannot be read. Returns how many.
#[cfg(target_os = "linux")]
fn copy_words(addresses: &[usize], to: &mut [u64; BATCH]) -> usize {
    let from = addresses
        .iter()
        .take(to.len())
        .map(|address| libc::iovec { iov_base: std::ptr::without_provenance_mut(*address), iov_len: WORD });
    let from: Vec<libc::iovec> = from.collect();
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: from.len() * WORD };
    let Ok(pid) = libc::pid_t::try_from(std::process::id()) else { return 0 };
    // SAFETY: `local` is one iovec, of memory that is valid for writes of so many bytes and borrowed for the length of the call;
    // any bytes are valid words. `from` has as many iovecs as are told. The kernel copies what they name as if they were of
    // another process: an address that this process cannot read is an error. Nothing of it is used as Rust's memory.
    let bytes = unsafe {
        libc::process_vm_readv(pid, &raw const local, 1, from.as_ptr(), from.len() as libc::c_ulong, 0)
    };
    usize::try_from(bytes).unwrap_or(0) / WORD
}

#[cfg(not(target_os = "linux"))]
fn copy_words(_: &[usize], _: &mut [u64; BATCH]) -> usize {
    0
}

/// The search for the place, on actors of a system that lives no longer than that.
mod search {
    use std::marker::PhantomData;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
    use atomr_core::prelude::Config;

    use super::{Place, WORD, words_at};

    /// Words of a channel in which the count is searched.
    const CHANNEL_WORDS: usize = 128;
    /// Words of what refs share, beside the path: reference counts, three pointers, and what tells their kind.
    const SHARED_WORDS: usize = 7;
    /// How often the runtime may take turns until an actor has done what it is told.
    const MOST_TURNS: usize = 10_000;

    /// An actor that counts its messages.
    struct Counts<M>(Arc<AtomicU64>, PhantomData<fn(M)>);

    #[async_trait::async_trait]
    impl<M: Send + 'static> Actor for Counts<M> {
        type Msg = M;

        async fn handle(&mut self, _: &mut Context<Self>, _: M) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message that has an alignment of its own.
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Aligned;

    /// The place, if it is the same one for all of these types and the only one.
    pub(super) fn place() -> Option<Place> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
        runtime.block_on(async {
            let system = ActorSystem::create("atomscope", Config::empty()).await.ok()?;
            let mut places = None;
            narrow(&system, &mut places, || ()).await?;
            narrow(&system, &mut places, || 7u8).await?;
            narrow(&system, &mut places, || [7u64; 40]).await?;
            narrow(&system, &mut places, || Aligned).await?;
            narrow(&system, &mut places, || String::from("7")).await?;
            match places?.as_slice() {
                [place] => Some(*place),
                _ => None,
            }
        })
    }

    /// Keeps the places at which the counts of an actor with these messages stand, at each step of its life.
    async fn narrow<M: Send + 'static>(
        system: &ActorSystem,
        places: &mut Option<Vec<Place>>,
        message: impl Fn() -> M,
    ) -> Option<()> {
        if size_of::<ActorRef<M>>() != WORD {
            return None;
        }
        let handled = Arc::<AtomicU64>::default();
        let counter = handled.clone();
        let props = Props::create(move || Counts(counter.clone(), PhantomData));
        let actor = system.actor_of(props, std::any::type_name::<M>()).ok()?;
        // The runtime has one thread, so the actor runs only while this task awaits something.
        let tell = |count| (0..count).for_each(|_| actor.tell(message()));
        tell(1_000);
        places.get_or_insert_with(|| search(&actor, 2 * 1_000));
        keep(places, &actor, 2 * 1_000);
        tell(1);
        keep(places, &actor, 2 * 1_001);
        wait(|| handled.load(Ordering::Relaxed) == 1_001).await;
        keep(places, &actor, 0);
        tell(5);
        keep(places, &actor, 2 * 5);
        actor.stop();
        wait(|| actor.is_terminated()).await;
        keep(places, &actor, 1);
        Some(())
    }

    /// Lets the actor run until something is so. If it never is, no place is found.
    async fn wait(is_so: impl Fn() -> bool) {
        for _ in 0..MOST_TURNS {
            if is_so() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn address<M: Send + 'static>(actor: &ActorRef<M>) -> usize {
        std::ptr::from_ref(actor).addr()
    }

    fn search<M: Send + 'static>(actor: &ActorRef<M>, count: u64) -> Vec<Place> {
        let row = |start: u64, words: usize| -> Vec<usize> {
            (0..words).map(|at| (start as usize).wrapping_add(at * WORD)).collect()
        };
        let Some(Some(shared)) = words_at(&[address(actor)]).pop() else { return Vec::new() };
        let in_shared = SHARED_WORDS + size_of_val(actor.path()).div_ceil(WORD);
        let pointers = words_at(&row(shared, in_shared));
        let mut places = Vec::new();
        for (in_ref, channel) in pointers.into_iter().enumerate().filter_map(|(at, word)| Some((at, word?))) {
            // No pointer: what is below the first page belongs to nobody.
            if channel < 4096 || channel as usize % WORD != 0 {
                continue;
            }
            let words = words_at(&row(channel, CHANNEL_WORDS)).into_iter().enumerate();
            let counts = words.filter(|(_, word)| *word == Some(count));
            places.extend(counts.map(|(at, _)| Place { in_ref: in_ref * WORD, in_channel: at * WORD }));
        }
        places
    }

    fn keep<M: Send + 'static>(places: &mut Option<Vec<Place>>, actor: &ActorRef<M>, count: u64) {
        if let Some(places) = places {
            places.retain(|place| words_at(&place.counts_of(&[address(actor)])) == [Some(count)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_what_cannot_be_read_is_unknown() {
        let here = [1u64, 2, 3];
        let at = here.each_ref().map(|word| std::ptr::from_ref(word).addr());
        let wrong = usize::MAX - 7;
        assert_eq!(
            words_at(&[at[0], 0, wrong, at[2], 8, at[1]]),
            [Some(1), None, None, Some(3), None, Some(2)]
        );
        let many = [at[2]; 3 * BATCH + 1];
        assert_eq!(words_at(&many), [Some(3); 3 * BATCH + 1]);
        assert_eq!(words_at(&[]), []);
    }

    #[test]
    fn the_place_of_the_count_is_found_and_stays() {
        let place = search::place().expect("one place");
        for _ in 0..20 {
            assert_eq!(search::place(), Some(place));
        }
    }
}
