//! Leases: their holders, and how often this node acquired, released and lost each one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use atomr_coordination::{Lease, LeaseError};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, lease};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::sync::AtomicU64;

use crate::region::Region;
use crate::watched::{Boxed, Watched};
use crate::writer::RegionWriter;

/// The leases that this node tries to acquire.
#[derive(Debug)]
pub struct LeaseProbe {
    region: Region,
    /// By name. All wrappers of one lease share its holder.
    leases: Mutex<HashMap<String, Weak<LeaseState>>>,
}

impl LeaseProbe {
    pub(crate) fn of(region: Region) -> Self {
        Self { region, leases: Mutex::default() }
    }

    /// Wraps a lease: the wrapper counts its answers under this name. Takes a lock; not for hot paths. [`ProbedLease`] says
    /// what its calls cost. When another lease is wrapped, the probe forgets leases whose wrappers were all dropped.
    ///
    /// A lease is *lost* when an answer shows that its holder in this node does not hold it any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atomr_coordination::{InMemoryLease, Lease};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let leader = telemetry.leases.wrap("leader", InMemoryLease::new());
    /// assert!(leader.acquire("shop-1").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wrap<L: Lease + ?Sized>(&self, name: &str, lease: Arc<L>) -> Arc<ProbedLease<L>> {
        self.region.writer.attached(Attachment::Lease);
        let mut all = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let state = all.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let writer = &self.region.writer;
            all.retain(|other, state| {
                let stays = other == name || state.strong_count() > 0;
                if !stays {
                    let key = writer.instance_key(Domain::Lease, None, other);
                    writer.remove_instance(Domain::Lease, key, |_| {});
                }
                stays
            });
            let state = LeaseState { writer: writer.clone(), name: name.to_owned(), held: Mutex::default() };
            state.change(|numbers| numbers[lease::HELD].store(NO, Ordering::Relaxed));
            let state = Arc::new(state);
            all.insert(name.to_owned(), Arc::downgrade(&state));
            state
        });
        Arc::new(ProbedLease { state, inner: lease })
    }
}

const NO: u64 = 1;
const YES: u64 = 2;

/// The state of a lease, as far as this node knows it.
#[derive(Debug)]
struct LeaseState {
    writer: Arc<RegionWriter>,
    name: String,
    held: Mutex<Holding>,
}

/// The holder of a lease in this node.
///
/// Answers arrive later than they are given, and in another order. An answer is always right about its own caller. About
/// other holders it is right only if no acquisition or release of this node ran between the call and its answer.
#[derive(Debug, Default)]
struct Holding {
    /// The hash of the owner's name; 0 if this node does not hold the lease.
    by: u64,
    /// Acquisitions and releases that have no answer yet.
    pending: u64,
    /// All acquisitions and releases so far.
    begun: u64,
}

impl Holding {
    /// The beginning of a call that changes nothing.
    fn now(&self) -> CallStart {
        CallStart { alone: self.pending == 0, begun: self.begun }
    }

    fn begin(&mut self) -> CallStart {
        let alone = self.pending == 0;
        self.pending += 1;
        self.begun += 1;
        CallStart { alone, begun: self.begun }
    }

    fn is_undisturbed_since(&self, start: CallStart) -> bool {
        start.alone && self.begun == start.begun
    }
}

/// The state when a call began.
#[derive(Debug, Clone, Copy)]
struct CallStart {
    /// Whether no acquisition or release was under way.
    alone: bool,
    begun: u64,
}

impl LeaseState {
    fn change(&self, work: impl FnMut(&[AtomicU64])) {
        self.writer.with_instance(Domain::Lease, None, &self.name, work);
    }

    fn add(&self, number: usize) {
        self.change(|numbers| {
            numbers[number].fetch_add(1, Ordering::Relaxed);
        });
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Holding> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, owner: &str) -> u64 {
        self.writer.hasher.hash(owner) | 1
    }

    fn acquired(&self, start: CallStart, owner: &str, outcome: Option<&Result<bool, LeaseError>>) {
        let mut held = self.held();
        held.pending -= 1;
        let Some(outcome) = outcome else { return };
        let by = self.hash(owner);
        match outcome {
            Ok(true) if held.by == by => {
                self.add(lease::RENEWED);
            }
            Ok(true) => {
                held.by = by;
                self.writer.count(Builtin::LeasesAcquired, 1);
                let holder = u64::from(self.writer.intern(owner));
                self.change(|numbers| {
                    numbers[lease::ACQUIRED].fetch_add(1, Ordering::Relaxed);
                    numbers[lease::HOLDER].store(holder, Ordering::Relaxed);
                    numbers[lease::HELD].store(YES, Ordering::Relaxed);
                });
            }
            Ok(false) | Err(_) => {
                self.writer.count(Builtin::LeasesDenied, 1);
                self.add(lease::DENIED);
                if held.by == by {
                    self.lost(&mut held);
                }
                if let Err(LeaseError::AlreadyHeld(holder)) = outcome {
                    self.record_holder(&mut held, start, Some(holder));
                }
            }
        }
    }

    fn released(&self, owner: &str, outcome: Option<&Result<(), LeaseError>>) {
        let mut held = self.held();
        held.pending -= 1;
        let Some(outcome) = outcome else { return };
        let was_held = held.by == self.hash(owner);
        if outcome.is_ok() {
            self.change(|numbers| {
                numbers[lease::RELEASED].fetch_add(1, Ordering::Relaxed);
                if was_held {
                    numbers[lease::HOLDER].store(0, Ordering::Relaxed);
                    numbers[lease::HELD].store(NO, Ordering::Relaxed);
                }
            });
            if was_held {
                held.by = 0;
            }
        } else if was_held {
            self.lost(&mut held);
        }
    }

    /// Records the holder according to the lease.
    fn record_holder(&self, held: &mut Holding, start: CallStart, holder: Option<&str>) {
        if !held.is_undisturbed_since(start) {
            return;
        }
        if held.by != 0 && holder.map(|holder| self.hash(holder)) != Some(held.by) {
            self.lost(held);
        }
        let holder = holder.map_or(0, |holder| u64::from(self.writer.intern(holder)));
        self.change(|numbers| numbers[lease::HOLDER].store(holder, Ordering::Relaxed));
    }

    fn lost(&self, held: &mut Holding) {
        held.by = 0;
        self.writer.count(Builtin::LeasesLost, 1);
        self.change(|numbers| {
            numbers[lease::LOST].fetch_add(1, Ordering::Relaxed);
            numbers[lease::HOLDER].store(0, Ordering::Relaxed);
            numbers[lease::HELD].store(NO, Ordering::Relaxed);
        });
    }
}

/// A lease whose answers are counted; made by [`LeaseProbe::wrap`].
///
/// Each call costs one small allocation for the future that observes its end, and takes the wrapper's own lock for some
/// hundred nanoseconds. No system call.
pub struct ProbedLease<L: ?Sized> {
    state: Arc<LeaseState>,
    inner: Arc<L>,
}

impl<L: ?Sized> fmt::Debug for ProbedLease<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedLease").field("name", &self.state.name).finish_non_exhaustive()
    }
}

impl<L: ?Sized> ProbedLease<L> {
    /// The wrapped lease.
    pub fn inner(&self) -> &Arc<L> {
        &self.inner
    }
}

impl<L: Lease + ?Sized> Lease for ProbedLease<L> {
    fn acquire<'life0, 'life1, 'async_trait>(
        &'life0 self,
        owner: &'life1 str,
    ) -> Boxed<'async_trait, Result<bool, LeaseError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let acquired = self.inner.acquire(owner);
        let start = self.state.held().begin();
        Watched::boxed(acquired, move |outcome| self.state.acquired(start, owner, outcome))
    }

    fn release<'life0, 'life1, 'async_trait>(
        &'life0 self,
        owner: &'life1 str,
    ) -> Boxed<'async_trait, Result<(), LeaseError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let released = self.inner.release(owner);
        self.state.held().begin();
        Watched::boxed(released, move |outcome| self.state.released(owner, outcome))
    }

    fn check_lease<'life0, 'async_trait>(&'life0 self) -> Boxed<'async_trait, Option<String>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let start = self.state.held().now();
        Watched::boxed(self.inner.check_lease(), move |outcome| {
            if let Some(holder) = outcome {
                self.state.record_holder(&mut self.state.held(), start, holder.as_deref());
            }
        })
    }
}
