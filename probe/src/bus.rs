//! The bus on which probes publish events, and its subscribers in the same process.
//!
//! Publishing writes a record into the calling thread's lane of the region and wakes no thread. A subscriber reads the
//! lanes as another process would. While subscribers wait, a thread of the probe checks the lanes every two milliseconds.
//! Each exporter runs on a thread of its own, where it may block.

use std::sync::Arc;
#[cfg(feature = "atomr")]
use std::{collections::VecDeque, sync::Weak, sync::atomic::AtomicUsize};

use atomscope_layout::event::{EventKind, EventRecord};
pub use atomscope_layout::event::{OwnEvent, TelemetryEvent, Values};
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
use crate::region::Region;
#[cfg(feature = "atomr")]
use crate::wake::Waiter;
use crate::writer::RegionWriter;

/// The most events that a stand-alone bus keeps per lane. Address space is reserved for all of them, memory only when they
/// are used.
const MOST_BARE_EVENTS: usize = MAX_EVENTS >> 4;

/// A handle of a node's event bus. Cloning costs one reference count.
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
    /// A stand-alone bus in private memory; the one of a node is [`crate::TelemetryExtension::bus`]. It keeps the newest
    /// `capacity` events of each thread that publishes often, and as many of all other threads together; at least 16, and
    /// 65,536 at most. Allocates.
    pub fn new(capacity: usize) -> Self {
        let events = capacity.clamp(16, MOST_BARE_EVENTS);
        Self::of(Region::bare(Capacities { lanes: 16, events, names: 256, ..Capacities::LEAST }))
    }

    /// A bus of a region's events; that of an atomr node is [`crate::TelemetryExtension::bus`]. It keeps the region open. Two
    /// buses of a region publish into the same lanes, and each counts its own receivers. Allocates.
    ///
    /// ```
    /// use atomscope_probe::bus::TelemetryBus;
    /// use atomscope_probe::{Level, Region};
    ///
    /// let region = Region::builder("docs").actors(100).private().build()?;
    /// let bus = TelemetryBus::of(region.clone());
    /// # #[cfg(feature = "atomr")] {
    /// let mut events = bus.subscribe();
    /// region.events("orders")?.publish(Level::Info, "order 7 was placed");
    /// assert_eq!(events.try_recv()?.topic(), "orders");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(region: Region) -> Self {
        Self {
            shared: Arc::new(Shared {
                region,
                #[cfg(feature = "atomr")]
                receivers: Arc::default(),
            }),
        }
    }

    /// A handle that does not keep the region open; see [`Region::not_held`].
    #[cfg(feature = "atomr")]
    #[allow(dead_code, reason = "used by components, which depend on the features")]
    pub(crate) fn not_held(&self) -> Self {
        Self::of(self.shared.region.not_held())
    }

    pub(crate) fn writer(&self) -> &Arc<RegionWriter> {
        &self.shared.region.writer
    }

    /// Publishes an event. No lock, no allocation of its own, no system call; it waits for no thread and wakes none. Texts
    /// longer than a record holds (192 bytes together) are cut visibly and counted.
    ///
    /// ```
    /// use atomscope_probe::bus::{TelemetryBus, TelemetryEvent};
    ///
    /// let bus = TelemetryBus::new(64);
    /// bus.publish(TelemetryEvent::DDataUpdated { key: "cart".into() });
    /// ```
    pub fn publish(&self, mut event: TelemetryEvent) {
        let writer = self.writer();
        match &mut event {
            TelemetryEvent::DeadLetter(letter) if !writer.previews => letter.message_preview.clear(),
            TelemetryEvent::Panicked(panic) if !writer.previews => panic.message = None,
            _ => {}
        }
        let stamp = writer.stamp(0);
        if let Some(plain) = event::Plain::of(&event) {
            return writer.publish_with(|slot| plain.store(stamp, slot));
        }
        let lane = writer.own_event_lane();
        let publish = |record: &EventRecord| {
            writer.publish_in(lane, |slot| atomscope_layout::words::store(slot, record.words()))
        };
        let cut = event::encode(&event, stamp, |name| writer.intern(name), publish);
        if cut {
            writer.count_cut_text();
        }
    }
}

#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "only probes of atomr publish so"))]
impl TelemetryBus {
    /// Publishes an event that consists of numbers and texts.
    pub(crate) fn publish_texts(&self, kind: EventKind, numbers: [u64; 2], texts: &[&str]) {
        self.writer().publish_texts(kind, numbers, texts);
    }
}

#[cfg(feature = "atomr")]
impl TelemetryBus {
    /// A receiver of all events that are published from now on. Allocates.
    ///
    /// ```
    /// use atomscope_probe::bus::{TelemetryBus, TelemetryEvent};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = TelemetryBus::new(64);
    /// let mut events = bus.subscribe();
    /// bus.publish(TelemetryEvent::DDataUpdated { key: "cart".into() });
    /// assert_eq!(events.recv().await?, TelemetryEvent::DDataUpdated { key: "cart".into() });
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self) -> Receiver {
        self.receiver(Some(ReceiverCount::new(&self.shared.receivers)))
    }

    fn receiver(&self, count: Option<ReceiverCount>) -> Receiver {
        Receiver::from_now(self.writer().clone(), Arc::downgrade(&self.shared), count)
    }

    /// A receiver of the events of one topic from now on: one of [`TelemetryEvent::ALL_TOPICS`], or one that the application
    /// named. It does not report lapped events. To be called within a tokio runtime, since a task filters the events until the
    /// receiver is dropped. Allocates.
    pub fn subscribe_topic(&self, wanted: impl Into<Box<str>>) -> mpsc::UnboundedReceiver<TelemetryEvent> {
        let wanted = wanted.into();
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut events = self.subscribe();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = sender.closed() => return,
                };
                match event {
                    Ok(event) if event.topic() == &*wanted => drop(sender.send(event)),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        receiver
    }

    /// The number of receivers in this process. One load.
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Runs an exporter on a thread of its own, with all events from now on, until all handles of the bus are dropped. After a
    /// panic the exporter gets the next event. An exporter that blocks misses events that are overwritten meanwhile.
    pub(crate) fn attach_exporter(&self, exporter: Arc<dyn Exporter>) {
        let mut events = self.receiver(None);
        let run = move || loop {
            match events.blocking_recv() {
                Ok(event) => {
                    let call = std::panic::AssertUnwindSafe(|| exporter.on_event(&event));
                    // The panic hook has reported a panic already.
                    let _ = std::panic::catch_unwind(call);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        };
        if let Err(error) = std::thread::Builder::new().name("atomscope-export".into()).spawn(run) {
            crate::environment::warn(&format!(
                "an exporter gets no events, since the system gives no thread for it: {error}; raise the limit of threads"
            ));
        }
    }
}

/// Receives the events of a bus.
///
/// It reads the region's lanes, so that it costs a publisher nothing. The events of one thread come in their order, an
/// actor's stop comes after its spawn, and other events come in the order of the clock.
#[cfg(feature = "atomr")]
#[derive(Debug)]
pub struct Receiver {
    writer: Arc<RegionWriter>,
    bus: Weak<Shared>,
    follower: Follower,
    ready: VecDeque<TelemetryEvent>,
    waiter: Option<Waiter>,
    /// The sum of the heads before the latest scan.
    seen: u64,
    count: Option<ReceiverCount>,
}

/// Counts a receiver while it lives, without a handle of the bus, which would keep the region open for a moment.
#[cfg(feature = "atomr")]
#[derive(Debug)]
struct ReceiverCount(Arc<AtomicUsize>);

#[cfg(feature = "atomr")]
impl ReceiverCount {
    fn new(receivers: &Arc<AtomicUsize>) -> Self {
        receivers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self(receivers.clone())
    }
}

#[cfg(feature = "atomr")]
impl Drop for ReceiverCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(feature = "atomr")]
impl Receiver {
    /// Waits for the next event, and returns it. Allocates.
    ///
    /// # Errors
    /// `Lagged` with the number of events that were lapped, abandoned or unreadable; the events after them follow. `Closed`
    /// when all handles of the bus were dropped and all events were read.
    pub async fn recv(&mut self) -> Result<TelemetryEvent, RecvError> {
        loop {
            match self.next() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(missed)) => return Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => {}
            }
            let watch = self.watch();
            // An event that was published since the scan has changed the heads, and ends the wait at once.
            self.waiter.get_or_insert_with(Waiter::new).wait(self.seen, watch).await;
        }
    }

    /// The same for threads: it blocks, and checks for events every two milliseconds.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn blocking_recv(&mut self) -> Result<TelemetryEvent, RecvError> {
        loop {
            match self.next() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(missed)) => return Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => std::thread::sleep(crate::wake::INTERVAL),
            }
        }
    }

    /// Returns the next event, if there is one now. Allocates if there is one.
    ///
    /// # Errors
    /// `Empty` if there is none; otherwise as [`Self::recv`].
    pub fn try_recv(&mut self) -> Result<TelemetryEvent, TryRecvError> {
        self.next()
    }

    /// Another receiver of the same bus, for events from now on. Allocates.
    pub fn resubscribe(&self) -> Self {
        let count = self.count.as_ref().map(|count| ReceiverCount::new(&count.0));
        Self::from_now(self.writer.clone(), self.bus.clone(), count)
    }

    fn from_now(writer: Arc<RegionWriter>, bus: Weak<Shared>, count: Option<ReceiverCount>) -> Self {
        let follower = writer.reader().map(|reader| Follower::from_now(&reader)).unwrap_or_default();
        Self { writer, bus, follower, ready: VecDeque::new(), waiter: None, seen: 0, count }
    }

    fn next(&mut self) -> Result<TelemetryEvent, TryRecvError> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(event);
        }
        // Read before the scan, so that the scan sees what the last handle published before its drop.
        let closed = self.bus.strong_count() == 0;
        let heads = heads(&self.writer);
        if heads == self.seen && !closed && !self.follower.holds_back() && !self.follower.has_pending() {
            return Err(TryRecvError::Empty);
        }
        self.seen = heads;
        let Some(reader) = self.writer.reader() else { return Err(TryRecvError::Closed) };
        let Batch { events, losses } = if closed {
            self.follower.last_batch(&reader)
        } else {
            // The first scan may hold back an event whose cause it has not seen. The second scan sees the cause.
            let mut batch = self.follower.next_batch(&reader);
            if self.follower.holds_back() {
                let Batch { events, losses } = self.follower.next_batch(&reader);
                batch.events.extend(events);
                batch.losses.extend(losses);
            }
            batch
        };
        if self.follower.has_pending() {
            // The end of a pending record does not move a head, so the next call must scan again.
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

    /// For the waking thread: returns the sum of the heads, or `None` once the bus is gone.
    fn watch(&self) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let (writer, bus) = (self.writer.clone(), self.bus.clone());
        move || (bus.strong_count() > 0).then(|| heads(&writer))
    }
}

/// The sum of the heads of all lanes, which changes with each event.
#[cfg(feature = "atomr")]
fn heads(writer: &RegionWriter) -> u64 {
    writer.reader().map_or(0, |reader| {
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
        // As if another thread had lost its processor after it took its ticket in the shared lane.
        let ring = bus.writer().event_lane(0);
        let ticket = ring.ticket();
        let waiting = tokio::spawn(async move { receiver.recv().await });
        tokio::task::yield_now().await;
        std::thread::sleep(std::time::Duration::from_millis(10));
        let record = EventRecord { stamp: 1, ..EventRecord::new(EventKind::StreamsGraphFinished) };
        let _ = bus.writer().event_lane(0).write(ticket, record.words());
        assert_eq!(waiting.await.unwrap(), Ok(TelemetryEvent::StreamsGraphFinished { id: 0 }));
    }
}
