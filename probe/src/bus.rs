//! The bus that probes publish on, and its subscribers in the same process.
//!
//! Publishing writes a record into the calling thread's lane of the region and wakes nobody. A subscriber reads the lanes
//! as another process would; a thread of the probe looks every two milliseconds whether there is anything new for those
//! that wait. An exporter runs on a thread of its own, where it may take its time.

use std::sync::Arc;
#[cfg(feature = "atomr")]
use std::{collections::VecDeque, sync::Weak, sync::atomic::AtomicUsize};

pub use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::event::{EventKind, EventRecord};
use atomscope_layout::limits::MAX_EVENTS;
use atomscope_layout::{Capacities, event};
#[cfg(feature = "atomr")]
use atomscope_layout::{follow::Batch, follow::Follower};
#[cfg(feature = "atomr")]
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
#[cfg(feature = "atomr")]
use tokio::sync::mpsc;

#[cfg(feature = "atomr")]
use crate::exporters::Exporter;
use crate::region::{Core, Region};
#[cfg(feature = "atomr")]
use crate::wake::Waiter;

/// Events that a bare bus keeps per lane at most: memory is reserved, though not touched, for all of them.
const MOST_BARE_EVENTS: usize = MAX_EVENTS >> 4;

/// A cloneable handle of a node's event bus.
#[derive(Debug, Clone)]
pub struct TelemetryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    region: Region,
    #[cfg(feature = "atomr")]
    receivers: Arc<AtomicUsize>,
}

impl TelemetryBus {
    /// A bus of its own, in private memory, that keeps the newest `capacity` events of each thread that publishes
    /// often, and as many of all others together (at least 16, and no more than is possible); the one of a node is [`crate::TelemetryExtension::bus`].
    pub fn new(capacity: usize) -> Self {
        let events = capacity.clamp(16, MOST_BARE_EVENTS);
        Self::of(Region::bare(Capacities { lanes: 16, events, names: 256, ..Capacities::LEAST }))
    }

    pub(crate) fn of(region: Region) -> Self {
        Self {
            shared: Arc::new(Shared {
                region,
                #[cfg(feature = "atomr")]
                receivers: Arc::default(),
            }),
        }
    }

    /// The same bus to publish on, which holds no region open; see [`Region::not_held`].
    #[cfg(feature = "atomr")]
    #[allow(dead_code, reason = "what is attached depends on the features")]
    pub(crate) fn not_held(&self) -> Self {
        Self::of(self.shared.region.not_held())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.shared.region.core
    }

    /// Publishes an event. No lock, no allocation of its own, no system call; nobody is waited for or woken. Texts longer
    /// than a record holds (192 bytes together) are cut visibly and counted.
    ///
    /// ```
    /// use atomscope_probe::bus::{TelemetryBus, TelemetryEvent};
    ///
    /// let bus = TelemetryBus::new(64);
    /// bus.publish(TelemetryEvent::DDataUpdated { key: "cart".into() });
    /// ```
    pub fn publish(&self, mut event: TelemetryEvent) {
        let core = self.core();
        if let (TelemetryEvent::DeadLetter(letter), false) = (&mut event, core.previews) {
            letter.message_preview.clear();
        }
        let stamp = core.stamp(0);
        if let Some(plain) = event::Plain::of(&event) {
            return core.publish_with(|room| plain.store(stamp, room));
        }
        let lane = core.own_event_lane();
        let publish = |record: &EventRecord| {
            core.publish_in(lane, |room| atomscope_layout::words::store(room, record.words()))
        };
        let cut = event::encode(&event, stamp, |name| core.intern(name), publish);
        if cut {
            core.count_cut_text();
        }
    }
}

#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "what observes atomr tells of it"))]
impl TelemetryBus {
    /// Publishes an event of these numbers and texts, without making it up first.
    pub(crate) fn tell(&self, kind: EventKind, numbers: [u64; 2], texts: &[&str]) {
        self.core().tell(kind, numbers, texts);
    }
}

#[cfg(feature = "atomr")]
impl TelemetryBus {
    /// A receiver of everything that is published from now on.
    pub fn subscribe(&self) -> Receiver {
        self.receiver(Some(Counted::new(&self.shared.receivers)))
    }

    fn receiver(&self, counted: Option<Counted>) -> Receiver {
        Receiver::from_now(self.core().clone(), Arc::downgrade(&self.shared), counted)
    }

    /// A receiver of what is published of one topic from now on; see [`TelemetryEvent::ALL_TOPICS`]. What it misses is
    /// left out silently. To be called within a tokio runtime, on which a task does the filtering until the receiver is
    /// dropped.
    pub fn subscribe_topic(&self, wanted: &'static str) -> mpsc::UnboundedReceiver<TelemetryEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut events = self.subscribe();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = sender.closed() => return,
                };
                match event {
                    Ok(event) if event.topic() == wanted => drop(sender.send(event)),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        receiver
    }

    /// How many receivers of this process there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Runs an exporter on a thread of its own, fed with everything that is published from now on, until the bus is gone.
    /// One that panics is told the next event; one that blocks misses what no longer fits the ring.
    pub(crate) fn attach_exporter(&self, exporter: Arc<dyn Exporter>) {
        let mut events = self.receiver(None);
        let run = move || loop {
            match events.blocking_recv() {
                Ok(event) => {
                    let told = std::panic::AssertUnwindSafe(|| exporter.on_event(&event));
                    // The panic hook has said what there is to say.
                    let _ = std::panic::catch_unwind(told);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        };
        if let Err(error) = std::thread::Builder::new().name("atomscope-export".into()).spawn(run) {
            crate::region::warn(&format!("an exporter has no thread and will be told nothing: {error}"));
        }
    }
}

/// Receives what is published on a bus.
///
/// It reads the region's lanes, so that a publisher never knows of it. What one thread publishes comes in its own order,
/// an actor's stop after its spawn, and the rest as far as the clock tells it apart.
#[cfg(feature = "atomr")]
#[derive(Debug)]
pub struct Receiver {
    core: Arc<Core>,
    bus: Weak<Shared>,
    follower: Follower,
    ready: VecDeque<TelemetryEvent>,
    waiter: Option<Waiter>,
    /// The heads before the latest look.
    seen: u64,
    counted: Option<Counted>,
}

/// A receiver that counts. Without an upgrade of the bus, which would hold its region open for a moment.
#[cfg(feature = "atomr")]
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

#[cfg(feature = "atomr")]
impl Counted {
    fn new(receivers: &Arc<AtomicUsize>) -> Self {
        receivers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self(receivers.clone())
    }
}

#[cfg(feature = "atomr")]
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(feature = "atomr")]
impl Receiver {
    /// The next event. Waits for it.
    ///
    /// # Errors
    /// `Lagged` with the number of events that were overwritten before they were read; what is left follows. `Closed`
    /// when all handles of the bus are gone and everything was read.
    pub async fn recv(&mut self) -> Result<TelemetryEvent, RecvError> {
        loop {
            match self.next() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(missed)) => return Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => {}
            }
            let watch = self.watch();
            // Nothing more may have come since the look, or it is seen at once.
            self.waiter.get_or_insert_with(Waiter::new).wait(self.seen, watch).await;
        }
    }

    /// The same, for threads.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn blocking_recv(&mut self) -> Result<TelemetryEvent, RecvError> {
        loop {
            match self.next() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(missed)) => return Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => std::thread::sleep(crate::wake::LOOK),
            }
        }
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// `Empty` if there is none, else as [`Self::recv`].
    pub fn try_recv(&mut self) -> Result<TelemetryEvent, TryRecvError> {
        self.next()
    }

    /// Another receiver of the same bus, from now on.
    pub fn resubscribe(&self) -> Self {
        let counted = self.counted.as_ref().map(|counted| Counted::new(&counted.0));
        Self::from_now(self.core.clone(), self.bus.clone(), counted)
    }

    fn from_now(core: Arc<Core>, bus: Weak<Shared>, counted: Option<Counted>) -> Self {
        let follower = core.reader().map(|reader| Follower::from_now(&reader)).unwrap_or_default();
        Self { core, bus, follower, ready: VecDeque::new(), waiter: None, seen: 0, counted }
    }

    fn next(&mut self) -> Result<TelemetryEvent, TryRecvError> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(event);
        }
        // Asked before looking: what the last handle published before it went is seen.
        let closed = self.bus.strong_count() == 0;
        let heads = heads(&self.core);
        if heads == self.seen && !closed && !self.follower.holds_back() && !self.follower.has_pending() {
            return Err(TryRecvError::Empty);
        }
        self.seen = heads;
        let Some(reader) = self.core.reader() else { return Err(TryRecvError::Closed) };
        let Batch { events, losses } = if closed {
            self.follower.last_batch(&reader)
        } else {
            // What a first look holds back for want of its cause, a second one has.
            let mut look = self.follower.next_batch(&reader);
            if self.follower.holds_back() {
                let Batch { events, losses } = self.follower.next_batch(&reader);
                look.events.extend(events);
                look.losses.extend(losses);
            }
            look
        };
        if self.follower.has_pending() {
            // The end of a record that is being written moves no head.
            self.seen = heads.wrapping_sub(1);
        }
        self.ready.extend(events.into_iter().map(|event| event.event));
        let missed = losses.iter().flat_map(|loss| [loss.lapped, loss.abandoned, loss.unreadable]);
        match missed.fold(0, u64::saturating_add) {
            0 => {
                self.ready.pop_front().ok_or(if closed { TryRecvError::Closed } else { TryRecvError::Empty })
            }
            missed => Err(TryRecvError::Lagged(missed)),
        }
    }

    /// What the waking thread asks: the heads, or nothing if the bus is gone.
    fn watch(&self) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let (core, bus) = (self.core.clone(), self.bus.clone());
        move || (bus.strong_count() > 0).then(|| heads(&core))
    }
}

/// Something that changes whenever anything is published.
#[cfg(feature = "atomr")]
fn heads(core: &Core) -> u64 {
    core.reader().map_or(0, |reader| {
        (0..reader.event_lanes()).fold(0, |sum: u64, lane| sum.wrapping_add(reader.event_lane(lane).head()))
    })
}

#[cfg(all(test, feature = "atomr"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_that_is_finished_late_wakes_its_receiver() {
        let bus = TelemetryBus::new(64);
        let mut receiver = bus.subscribe();
        // Another thread has drawn its ticket in the shared lane, and lost its processor.
        let ring = bus.core().event_lane(0);
        let ticket = ring.ticket();
        let waiting = tokio::spawn(async move { receiver.recv().await });
        tokio::task::yield_now().await;
        std::thread::sleep(std::time::Duration::from_millis(10));
        let record = EventRecord { stamp: 1, ..EventRecord::new(EventKind::StreamsGraphFinished) };
        let _ = bus.core().event_lane(0).write(ticket, record.words());
        assert_eq!(waiting.await.unwrap(), Ok(TelemetryEvent::StreamsGraphFinished { id: 0 }));
    }
}
