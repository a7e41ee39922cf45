//! The lease probe: which leases there are, who holds them, and how often they were had and lost.

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

/// Leases that this node asks for.
#[derive(Debug)]
pub struct LeaseProbe {
    region: Region,
    /// By name: all wrappers of one lease know together who of this node holds it.
    known: Mutex<HashMap<String, Weak<Known>>>,
}

impl LeaseProbe {
    pub(crate) fn of(region: Region) -> Self {
        Self { region, known: Mutex::default() }
    }

    /// Puts itself around a lease: what it answers from now on through the wrapper is seen under this name. What is
    /// known of a lease goes when another is wrapped and there is no wrapper of that name any more. Takes a lock; not for
    /// hot paths.
    ///
    /// A lease is *lost* when who held it here learns from an answer of the lease that somebody else does, or nobody.
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
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let writer = &self.region.writer;
            all.retain(|other, known| {
                let stays = other == name || known.strong_count() > 0;
                if !stays {
                    let key = writer.instance_key(Domain::Lease, None, other);
                    writer.remove_instance(Domain::Lease, key, |_| {});
                }
                stays
            });
            let known = Known { writer: writer.clone(), name: name.to_owned(), held: Mutex::default() };
            known.change(|numbers| numbers[lease::HELD].store(NO, Ordering::Relaxed));
            let known = Arc::new(known);
            all.insert(name.to_owned(), Arc::downgrade(&known));
            known
        });
        Arc::new(ProbedLease { known, inner: lease })
    }
}

const NO: u64 = 1;
const YES: u64 = 2;

/// What is known of a lease.
#[derive(Debug)]
struct Known {
    writer: Arc<RegionWriter>,
    name: String,
    held: Mutex<Held>,
}

/// Who holds a lease here.
///
/// Answers are seen later than they are given, and in another order. What one says of its own asker is true; what it says
/// of others is so only if nobody asked for the lease, or gave it back, from before the call until its answer is seen.
#[derive(Debug, Default)]
struct Held {
    /// The hash of the owner's name; 0 if nobody of this node holds it.
    by: u64,
    /// Acquisitions and releases whose answer is not seen yet.
    under_way: u64,
    /// How many of them there ever were.
    begun: u64,
}

impl Held {
    /// What there is to compare with at the end of a call that begins now.
    fn now(&self) -> Asked {
        Asked { alone: self.under_way == 0, begun: self.begun }
    }

    fn begin(&mut self) -> Asked {
        let alone = self.under_way == 0;
        self.under_way += 1;
        self.begun += 1;
        Asked { alone, begun: self.begun }
    }

    fn is_undisturbed_since(&self, asked: Asked) -> bool {
        asked.alone && self.begun == asked.begun
    }
}

/// How things were when a call began.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Whether no acquisition or release was under way.
    alone: bool,
    begun: u64,
}

impl Known {
    fn change(&self, work: impl FnMut(&[AtomicU64])) {
        self.writer.with_instance(Domain::Lease, None, &self.name, work);
    }

    fn add(&self, number: usize) {
        self.change(|numbers| {
            numbers[number].fetch_add(1, Ordering::Relaxed);
        });
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, owner: &str) -> u64 {
        self.writer.hasher.hash(owner) | 1
    }

    fn acquired(&self, asked: Asked, owner: &str, outcome: Option<&Result<bool, LeaseError>>) {
        let mut held = self.held();
        held.under_way -= 1;
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
                    self.holder_is(&mut held, asked, Some(holder));
                }
            }
        }
    }

    fn released(&self, owner: &str, outcome: Option<&Result<(), LeaseError>>) {
        let mut held = self.held();
        held.under_way -= 1;
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

    /// The lease says who holds it.
    fn holder_is(&self, held: &mut Held, asked: Asked, holder: Option<&str>) {
        if !held.is_undisturbed_since(asked) {
            return;
        }
        if held.by != 0 && holder.map(|holder| self.hash(holder)) != Some(held.by) {
            self.lost(held);
        }
        let holder = holder.map_or(0, |holder| u64::from(self.writer.intern(holder)));
        self.change(|numbers| numbers[lease::HOLDER].store(holder, Ordering::Relaxed));
    }

    fn lost(&self, held: &mut Held) {
        held.by = 0;
        self.writer.count(Builtin::LeasesLost, 1);
        self.change(|numbers| {
            numbers[lease::LOST].fetch_add(1, Ordering::Relaxed);
            numbers[lease::HOLDER].store(0, Ordering::Relaxed);
            numbers[lease::HELD].store(NO, Ordering::Relaxed);
        });
    }
}

/// A lease whose answers are seen; made by [`LeaseProbe::wrap`].
///
/// Each call costs one small allocation, for the future that sees its end, and takes a lock of the wrapper's own for some
/// hundred nanoseconds.
pub struct ProbedLease<L: ?Sized> {
    known: Arc<Known>,
    inner: Arc<L>,
}

impl<L: ?Sized> fmt::Debug for ProbedLease<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedLease").field("name", &self.known.name).finish_non_exhaustive()
    }
}

impl<L: ?Sized> ProbedLease<L> {
    /// The lease itself.
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
        let asked = self.known.held().begin();
        Watched::boxed(acquired, move |outcome| self.known.acquired(asked, owner, outcome))
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
        self.known.held().begin();
        Watched::boxed(released, move |outcome| self.known.released(owner, outcome))
    }

    fn check_lease<'life0, 'async_trait>(&'life0 self) -> Boxed<'async_trait, Option<String>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let asked = self.known.held().now();
        Watched::boxed(self.inner.check_lease(), move |outcome| {
            if let Some(holder) = outcome {
                self.known.holder_is(&mut self.known.held(), asked, holder.as_deref());
            }
        })
    }
}
