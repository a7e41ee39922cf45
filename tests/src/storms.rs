//! Storms: real atomr workloads that provoke every order in which atomr calls its spawn and stop hooks. Each has an
//! exact truth to compare an observer with.
//!
//! # The disorder
//!
//! atomr calls [`SpawnObserver::on_spawn`] *after* it has handed the actor's task to the runtime, and frees a name
//! *before* it calls `on_stop`. Hence, per path:
//!
//! ```text
//! stop before spawn                            respawn before stop
//!
//! parent's thread     child's thread           old actor's thread    anybody's thread
//! ───────────────     ──────────────           ──────────────────    ────────────────
//! tokio::spawn ─────▶ pre_start                name is free ───────▶ tokio::spawn(new)
//!        │            on_stop(child)                  │              on_spawn(new)
//! on_spawn(child)                              on_stop(old)
//! ```
//!
//! Only children meet the first disorder: a top-level `on_spawn` runs under the guardian's lock, which the actor needs
//! in order to stop. Both meet the second; a child does when its *parent* is replaced, because a parent does not wait
//! for its children to stop.
//!
//! # The storms
//!
//! | storm | what it does | must meet |
//! |---|---|---|
//! | `early_stops` | parents spawn, inside `block_in_place`, children that stop in `pre_start` | stop before spawn |
//! | `repeated_children` | two families: a parent gives way to another of its name, which raises the same children at once | respawn before stop |
//! | `replaced_names` | top-level names used again as soon as they are free, by spinning and by death-watch | respawn before stop |
//! | `plain` | spawn many, stop most: by reference, by name, by the parent, with it, by supervision | nothing |
//! | `mixed` | the four at once in one system | both |
//!
//! A storm that met none of its hazards proves nothing. It runs again, in waves with new names in the same system, and
//! fails after [`MAX_WAVES`]. The [`Tee`] delays some hooks, so that any machine meets the hazards.
//!
//! # The truth
//!
//! [`Truth`] comes from the workload's own calls of atomr, never from a hook.
//! [`run`] returns when every expected hook has *returned*, with the system alive and at rest, so
//! that an observer must now agree with it exactly: there is no tolerance.
//!
//! No storm panics outside `handle`. When `pre_start`, `post_stop`, `pre_restart` or the factory of
//! a `Props` panics, and when the system or the runtime is dropped, `on_stop` never comes, and no
//! observer can be exact from the hooks alone.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use atomr_core::actor::{
    Actor, ActorPath, ActorRef, ActorSystem, ActorSystemError, Context, Props, SpawnObserver,
};
use atomr_core::supervision::{Directive, OneForOneStrategy};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// A storm fails if it has not met its hazards after so many waves.
pub const MAX_WAVES: u32 = 32;

/// The longest time that a storm waits for atomr to come to rest. Only a lost hook takes so long.
const DEADLINE: Duration = Duration::from_secs(120);

/// The number of actors that a storm spawns: `ATOMSCOPE_STORM_ACTORS`, else 50,000.
pub fn actors_from_env() -> usize {
    match std::env::var("ATOMSCOPE_STORM_ACTORS") {
        Ok(text) => text.parse().expect("ATOMSCOPE_STORM_ACTORS is a number of actors"),
        Err(_) => 50_000,
    }
}

/// A disorder of the hooks of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hazard {
    /// An `on_spawn` began after the `on_stop` that answers it had returned.
    StopBeforeSpawn,
    /// An `on_stop` began after the `on_spawn` of the next actor of that path had returned.
    RespawnBeforeStop,
}

/// How often each disorder was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hazards {
    /// Times [`Hazard::StopBeforeSpawn`] was met.
    pub stop_before_spawn: u64,
    /// Times [`Hazard::RespawnBeforeStop`] was met.
    pub respawn_before_stop: u64,
    /// Times that a hook began while another of the same path ran: either may come first in the subject.
    pub overlaps: u64,
}

impl Hazards {
    /// How often `hazard` was met.
    pub fn count(&self, hazard: Hazard) -> u64 {
        match hazard {
            Hazard::StopBeforeSpawn => self.stop_before_spawn,
            Hazard::RespawnBeforeStop => self.respawn_before_stop,
        }
    }
}

/// Forwards every hook to the observer under test, and counts the hazards that it met.
///
/// Forwarding holds no lock, so that two hooks of one path race in the subject as they would without the tee. Every so
/// often the tee holds a hook up before it passes it on, as a preempted thread would: the resulting orders are atomr's
/// own, only more frequent.
pub struct Tee {
    subject: Arc<dyn SpawnObserver>,
    hasher: RandomState,
    /// By the hash of the path. Two paths with the same hash could at worst miscount a hazard.
    tallies: Vec<Mutex<HashMap<u64, Tally>>>,
    stop_before_spawn: AtomicU64,
    respawn_before_stop: AtomicU64,
    overlaps: AtomicU64,
    hooks: AtomicU64,
    spawns: AtomicU64,
    stops: AtomicU64,
    awaited_stops: AtomicU64,
    arrived: Notify,
}

/// The hooks of one path: how many began, how many returned.
#[derive(Default)]
struct Tally {
    spawns_begun: u32,
    spawns_returned: u32,
    stops_begun: u32,
    stops_returned: u32,
}

impl Tally {
    fn overlaps(&self) -> bool {
        self.spawns_begun != self.spawns_returned || self.stops_begun != self.stops_returned
    }

    fn is_over(&self) -> bool {
        !self.overlaps() && self.spawns_begun == self.stops_begun
    }
}

impl Tee {
    /// One hook in so many is delayed.
    const HOLD_UP_EVERY: u64 = 32;

    /// A tee in front of `subject`.
    pub fn new(subject: Arc<dyn SpawnObserver>) -> Self {
        Self {
            subject,
            hasher: RandomState::new(),
            tallies: (0..256).map(|_| Mutex::default()).collect(),
            stop_before_spawn: AtomicU64::new(0),
            respawn_before_stop: AtomicU64::new(0),
            overlaps: AtomicU64::new(0),
            hooks: AtomicU64::new(0),
            spawns: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            awaited_stops: AtomicU64::new(u64::MAX),
            arrived: Notify::new(),
        }
    }

    /// The hazards met so far.
    pub fn hazards(&self) -> Hazards {
        Hazards {
            stop_before_spawn: self.stop_before_spawn.load(Ordering::Relaxed),
            respawn_before_stop: self.respawn_before_stop.load(Ordering::Relaxed),
            overlaps: self.overlaps.load(Ordering::Relaxed),
        }
    }

    /// The `on_spawn` calls from which the subject has returned.
    pub fn spawns(&self) -> u64 {
        self.spawns.load(Ordering::SeqCst)
    }

    /// The `on_stop` calls from which the subject has returned.
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::SeqCst)
    }

    /// Waits until the subject has returned from `expected` `on_stop` calls. One waiter at a time.
    pub async fn stopped(&self, expected: u64) {
        // Both sides write first and read second, in one total order, so the hook that completes the count sees this
        // target, or we see its count. `notify_one` keeps its permit, so a notice between check and wait is not lost.
        self.awaited_stops.store(expected, Ordering::SeqCst);
        while self.stops() < expected {
            self.arrived.notified().await;
        }
        self.awaited_stops.store(u64::MAX, Ordering::SeqCst);
    }

    fn hold_up_now_and_then(&self) {
        if self.hooks.fetch_add(1, Ordering::Relaxed).is_multiple_of(Self::HOLD_UP_EVERY) {
            (0..16).for_each(|_| std::thread::yield_now());
        }
    }

    fn tally<R>(&self, hash: u64, change: impl FnOnce(&mut Tally) -> R) -> R {
        let shard = &self.tallies[hash as usize % self.tallies.len()];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = shard.entry(hash).or_default();
        let result = change(tally);
        if tally.is_over() {
            shard.remove(&hash);
        }
        result
    }
}

impl SpawnObserver for Tee {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        let hash = self.hasher.hash_one(path);
        self.hold_up_now_and_then();
        self.tally(hash, |tally| {
            count(&self.overlaps, tally.overlaps());
            count(&self.stop_before_spawn, tally.stops_returned > tally.spawns_begun);
            tally.spawns_begun += 1;
        });
        self.subject.on_spawn(path, parent, actor_type);
        self.tally(hash, |tally| tally.spawns_returned += 1);
        self.spawns.fetch_add(1, Ordering::SeqCst);
    }

    fn on_stop(&self, path: &ActorPath) {
        let hash = self.hasher.hash_one(path);
        self.hold_up_now_and_then();
        self.tally(hash, |tally| {
            count(&self.overlaps, tally.overlaps());
            count(&self.respawn_before_stop, tally.spawns_returned > tally.stops_begun + 1);
            tally.stops_begun += 1;
        });
        self.subject.on_stop(path);
        self.tally(hash, |tally| tally.stops_returned += 1);
        let stops = self.stops.fetch_add(1, Ordering::SeqCst) + 1;
        if stops >= self.awaited_stops.load(Ordering::SeqCst) {
            self.arrived.notify_one();
        }
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.subject.on_mailbox_depth(path, depth);
    }
}

fn count(counter: &AtomicU64, met: bool) {
    if met {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee")
            .field("hazards", &self.hazards())
            .field("spawns", &self.spawns())
            .field("stops", &self.stops())
            .finish_non_exhaustive()
    }
}

/// An observer that is correct by construction: one lock, and a sum per path.
#[derive(Debug, Default)]
pub struct Oracle {
    balances: Mutex<HashMap<String, i64>>,
}

impl Oracle {
    /// The paths with more spawns than stops.
    pub fn live(&self) -> BTreeSet<String> {
        let balances = self.balances.lock().unwrap_or_else(PoisonError::into_inner);
        balances.iter().filter(|(_, balance)| **balance > 0).map(|(path, _)| path.clone()).collect()
    }

    fn shift_balance(&self, path: &ActorPath, change: i64) {
        let mut balances = self.balances.lock().unwrap_or_else(PoisonError::into_inner);
        let path = path.to_string();
        let balance = balances.get(&path).unwrap_or(&0) + change;
        if balance == 0 {
            balances.remove(&path);
        } else {
            balances.insert(path, balance);
        }
    }
}

impl SpawnObserver for Oracle {
    fn on_spawn(&self, path: &ActorPath, _: Option<&ActorPath>, _: &'static str) {
        self.shift_balance(path, 1);
    }

    fn on_stop(&self, path: &ActorPath) {
        self.shift_balance(path, -1);
    }
}

/// The truth, counted by the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// The full paths, as `Display` writes them, of the actors that are alive.
    pub live: BTreeSet<String>,
    /// Actors spawned.
    pub spawned: u64,
    /// Actors stopped.
    pub stopped: u64,
}

impl Truth {
    fn spawned(&mut self, path: impl ToString) {
        self.spawned += 1;
        assert!(self.live.insert(path.to_string()), "{} was spawned twice", path.to_string());
    }

    fn stopped(&mut self, path: impl ToString) {
        self.stopped += 1;
        assert!(self.live.remove(&path.to_string()), "{} was not alive", path.to_string());
    }

    fn raised(&mut self, brood: &Brood) {
        self.spawned += brood.mayflies;
        self.stopped += brood.mayflies;
        brood.residents.iter().for_each(|child| self.spawned(child.path()));
    }

    fn absorb(&mut self, other: Truth) {
        self.spawned += other.spawned;
        self.stopped += other.stopped;
        self.live.extend(other.live);
    }
}

type Blowing = Pin<Box<dyn Future<Output = Truth> + Send>>;

/// A workload that provokes known hazards. See the module's table.
#[derive(Clone, Copy)]
pub struct Storm {
    /// Its name, as in the module's table.
    pub name: &'static str,
    /// The hazards that it must meet to prove something.
    pub must_meet: &'static [Hazard],
    blow: fn(Sky) -> Blowing,
}

impl fmt::Debug for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storm").field("name", &self.name).field("must_meet", &self.must_meet).finish()
    }
}

/// Every storm there is.
pub fn all() -> [Storm; 5] {
    use Hazard::{RespawnBeforeStop, StopBeforeSpawn};
    [
        Storm { name: "early_stops", must_meet: &[StopBeforeSpawn], blow: |sky| Box::pin(early_stops(sky)) },
        Storm {
            name: "repeated_children",
            must_meet: &[RespawnBeforeStop],
            blow: |sky| Box::pin(repeated_children(sky)),
        },
        Storm {
            name: "replaced_names",
            must_meet: &[RespawnBeforeStop],
            blow: |sky| Box::pin(replaced_names(sky)),
        },
        Storm { name: "plain", must_meet: &[], blow: |sky| Box::pin(plain(sky)) },
        Storm {
            name: "mixed",
            must_meet: &[StopBeforeSpawn, RespawnBeforeStop],
            blow: |sky| Box::pin(mixed(sky)),
        },
    ]
}

/// A system at rest after a storm, still alive.
pub struct Outcome {
    /// The truth that an observer must agree with.
    pub truth: Truth,
    /// The hazards met, in all waves together.
    pub hazards: Hazards,
    /// The number of waves until all hazards were met.
    pub waves: u32,
    /// The system. If it were dropped, atomr would no longer report stops.
    pub system: ActorSystem,
    /// The tee that counted the hooks.
    pub tee: Arc<Tee>,
    /// The runtime that keeps the actors alive. The last field, so that it is dropped last.
    pub runtime: Runtime,
}

impl Outcome {
    /// Stops every actor, waits until all stops have reached the observer, and returns with an empty truth.
    pub fn stop_everything(&mut self) {
        self.runtime.block_on(stop_everything(&self.system, &self.tee, &mut self.truth));
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("system", &self.system.name())
            .field("live", &self.truth.live.len())
            .field("spawned", &self.truth.spawned)
            .field("stopped", &self.truth.stopped)
            .field("hazards", &self.hazards)
            .field("waves", &self.waves)
            .finish_non_exhaustive()
    }
}

/// Forwards the hooks once it has an observer to forward them to.
#[derive(Default)]
struct Late(OnceLock<Arc<dyn SpawnObserver>>);

impl SpawnObserver for Late {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        if let Some(subject) = self.0.get() {
            subject.on_spawn(path, parent, actor_type);
        }
    }

    fn on_stop(&self, path: &ActorPath) {
        if let Some(subject) = self.0.get() {
            subject.on_stop(path);
        }
    }
}

/// When an observer is installed in a system of older actors.
pub enum Arrival<'a> {
    /// While no actor stops. Then older actors stop, one at a time, until the closure accepts what the observer
    /// recorded, and only then all others. The observer is behind the [`Tee`].
    Calm(&'a dyn Fn() -> bool),
    /// While the actors are being replaced. The [`Tee`] comes after the observer, and cannot delay its hooks.
    Stormy,
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calm(_) => "Calm",
            Self::Stormy => "Stormy",
        })
    }
}

/// A system whose actors are older than the observer, and are replaced again and again, each as soon as its name is
/// free: top-level actors, and children whose parents are replaced. At the end no older actor lives.
///
/// `attach` gets the system and the tee, and installs the observer, behind the tee where that is wanted. It returns the
/// observer. The truth counts all hooks, also those before the observer.
///
/// # Panics
///
/// As [`run`].
pub fn run_late(
    workers: usize,
    actors: usize,
    arrival: Arrival<'_>,
    attach: impl FnOnce(&ActorSystem, Arc<Tee>) -> Arc<dyn SpawnObserver>,
) -> Outcome {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a tokio runtime with a few threads");
    let (truth, system, tee) = runtime.block_on(async {
        let system = ActorSystem::create("late", Default::default()).await.expect("an actor system");
        let late = Arc::new(Late::default());
        let tee = Arc::new(Tee::new(late.clone()));
        system.set_spawn_observer(tee.clone());
        let sky = Sky { system: system.clone(), names: "old".into(), actors };
        let mut truth = Truth::default();
        match arrival {
            Arrival::Calm(is_content) => {
                let canaries: Vec<_> =
                    (0..400).map(|number| sky.name(format_args!("canary-{number}"))).collect();
                for name in &canaries {
                    truth.spawned(sky.actor_of(&Resident::props(), name).path());
                }
                let elders = Elders::grow(&sky, &mut truth).await;
                let subject = attach(&system, tee.clone());
                late.0.set(subject).unwrap_or_else(|_| panic!("attached once"));
                system.set_spawn_observer(tee.clone());
                let mut canaries = canaries.iter();
                loop {
                    let name = canaries.next().expect("an observer that is content after a while");
                    system.stop(name);
                    truth.stopped(format_args!("{}/user/{name}", system.address()));
                    tee.stopped(truth.stopped).await;
                    if is_content() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                for name in canaries {
                    system.stop(name);
                    truth.stopped(format_args!("{}/user/{name}", system.address()));
                }
                truth.absorb(elders.replaced(&sky).await);
            }
            Arrival::Stormy => {
                let elders = Elders::grow(&sky, &mut truth).await;
                let replacing = tokio::spawn({
                    let sky = sky.clone();
                    async move { elders.replaced(&sky).await }
                });
                // Attach now, during the replacements.
                while tee.stops() < actors as u64 / 8 {
                    tokio::task::yield_now().await;
                }
                attach(&system, tee.clone());
                truth.absorb(replacing.await.expect("no panic while replacing"));
            }
        }
        come_to_rest(&tee, &truth, "late").await;
        (truth, system, tee)
    });
    Outcome { truth, hazards: tee.hazards(), waves: 1, system, tee, runtime }
}

/// Actors that are older than an observer.
struct Elders {
    names: Vec<(String, ActorRef<()>)>,
    families: Vec<(String, ActorRef<ParentMsg>, Brood)>,
}

impl Elders {
    const CHILDREN: usize = 32;
    const REPLACEMENTS: usize = 4;

    async fn grow(sky: &Sky, truth: &mut Truth) -> Self {
        let share = sky.actors / 2 / (Self::REPLACEMENTS + 1);
        let mut elders = Self { names: Vec::new(), families: Vec::new() };
        for number in 0..share {
            let name = sky.name(format_args!("phoenix-{number}"));
            let phoenix = sky.actor_of(&Resident::props(), &name);
            truth.spawned(phoenix.path());
            elders.names.push((name, phoenix));
        }
        for number in 0..share / Self::CHILDREN {
            let name = sky.name(format_args!("family-{number}"));
            let parent = sky.actor_of(&Parent::props(), &name);
            truth.spawned(parent.path());
            let brood = raise(&parent, 0..Self::CHILDREN, 1, false).await;
            truth.raised(&brood);
            elders.families.push((name, parent, brood));
        }
        elders
    }

    /// Replaces all actors, the last time by actors that stay. The truth counts from here on, and includes the actors
    /// that live now.
    async fn replaced(self, sky: &Sky) -> Truth {
        let Self { names, families } = self;
        let spinning = {
            let sky = sky.clone();
            tokio::task::spawn_blocking(move || {
                let mut truth = Truth::default();
                for (name, mut phoenix) in names {
                    truth.live.insert(phoenix.path().to_string());
                    for _ in 0..Self::REPLACEMENTS {
                        phoenix = replaced_at_once(&sky, &name, phoenix, &mut truth);
                    }
                }
                truth
            })
        };
        let mut truth = Truth::default();
        for (name, mut parent, mut brood) in families {
            truth.live.insert(parent.path().to_string());
            truth.live.extend(brood.residents.iter().map(|child| child.path().to_string()));
            for _ in 0..Self::REPLACEMENTS {
                parent.stop();
                truth.stopped(parent.path());
                brood.residents.iter().for_each(|child| truth.stopped(child.path()));
                parent = sky.actor_of_when_free(&Parent::props(), &name).await;
                truth.spawned(parent.path());
                brood = raise(&parent, 0..Self::CHILDREN, 1, true).await;
                truth.raised(&brood);
            }
        }
        let spun = spinning.await.expect("no panic while spinning");
        truth.absorb(spun);
        truth
    }
}

/// Stops an actor, and spawns another under its name as soon as that is free.
fn replaced_at_once(sky: &Sky, name: &str, phoenix: ActorRef<()>, truth: &mut Truth) -> ActorRef<()> {
    let (props, deadline) = (Resident::props(), Instant::now() + DEADLINE);
    phoenix.stop();
    truth.stopped(phoenix.path());
    let phoenix = loop {
        match sky.system.actor_of(props.clone(), name) {
            Ok(actor) => break actor,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    truth.spawned(phoenix.path());
    phoenix
}

/// Blows `storm` over a new system on a runtime of its own, with about `actors` actors per wave. Never
/// more, but for a few parents, are alive at once.
///
/// `attach` gets the system, within the runtime, before anything was spawned, and returns the
/// observer to test; what it installs itself as spawn observer is replaced by the [`Tee`].
///
/// # Panics
///
/// When atomr has not come to rest in two minutes, and when the storm met none of a hazard that it
/// must meet.
pub fn run(
    storm: Storm,
    workers: usize,
    actors: usize,
    system_name: &str,
    attach: impl FnOnce(&ActorSystem) -> Arc<dyn SpawnObserver>,
) -> Outcome {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a tokio runtime with a few threads");

    let (truth, waves, system, tee) = runtime.block_on(async {
        let system = ActorSystem::create(system_name, Default::default()).await.expect("an actor system");
        let tee = Arc::new(Tee::new(attach(&system)));
        system.set_spawn_observer(tee.clone());

        let mut truth = Truth::default();
        for wave in 1..=MAX_WAVES {
            // Actors of several waves must not add up. An error that an earlier wave caused in the observer stays
            // visible.
            stop_everything(&system, &tee, &mut truth).await;
            let sky = Sky { system: system.clone(), names: format!("w{wave}"), actors };
            let blown = tokio::time::timeout(DEADLINE, tokio::spawn((storm.blow)(sky))).await;
            let blown = blown.unwrap_or_else(|_| panic!("{storm:?} did not end: {tee:?}"));
            truth.absorb(blown.expect("no panic in the storm itself"));
            come_to_rest(&tee, &truth, storm.name).await;
            if storm.must_meet.iter().all(|hazard| tee.hazards().count(*hazard) > 0) {
                return (truth, wave, system, tee);
            }
        }
        panic!("{storm:?} met too little to prove anything, in {MAX_WAVES} waves: {tee:?}");
    });
    Outcome { truth, hazards: tee.hazards(), waves, system, tee, runtime }
}

async fn stop_everything(system: &ActorSystem, tee: &Tee, truth: &mut Truth) {
    let user = format!("{}/user/", system.address());
    // Their children stop with them.
    let top_level =
        truth.live.iter().filter_map(|path| path.strip_prefix(&user)).filter(|name| !name.contains('/'));
    top_level.for_each(|name| system.stop(name));
    truth.live.clear();
    truth.stopped = truth.spawned;
    come_to_rest(tee, truth, "stopping everything").await;
}

/// Waits for the last expected hook, and checks that no further hook came.
async fn come_to_rest(tee: &Tee, truth: &Truth, what: &str) {
    let rest = tokio::time::timeout(DEADLINE, tee.stopped(truth.stopped)).await;
    assert!(rest.is_ok(), "{what}: of {} stops, some never came: {tee:?}", truth.stopped);
    assert_eq!((tee.spawns(), tee.stops()), (truth.spawned, truth.stopped), "{what}: spawns and stops");
}

/// The surroundings of a storm.
#[derive(Clone)]
struct Sky {
    system: ActorSystem,
    /// The unique prefix of all top-level names of this storm and wave.
    names: String,
    actors: usize,
}

impl Sky {
    fn name(&self, name: impl fmt::Display) -> String {
        format!("{}-{name}", self.names)
    }

    fn part(&self, name: &str, share: usize) -> Self {
        Self { system: self.system.clone(), names: self.name(name), actors: self.actors / share }
    }

    /// Spawns an actor under a name as soon as the name is free.
    async fn actor_of_when_free<A: Actor>(&self, props: &Props<A>, name: &str) -> ActorRef<A::Msg> {
        loop {
            match self.system.actor_of(props.clone(), name) {
                Ok(actor) => return actor,
                Err(ActorSystemError::NameTaken(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }

    fn actor_of<A: Actor>(&self, props: &Props<A>, name: &str) -> ActorRef<A::Msg> {
        self.system.actor_of(props.clone(), name).expect("a free name")
    }
}

/// Lives until it is stopped; a message makes it fail.
struct Resident;

impl Resident {
    fn props() -> Props<Self> {
        let stop = OneForOneStrategy::new().with_decider(|_| Directive::Stop);
        Props::create(|| Self).with_supervisor_strategy(stop.into())
    }
}

#[async_trait]
impl Actor for Resident {
    type Msg = ();
    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {
        // Unwinds like a panic, but without the panic hook, which would print a message.
        std::panic::resume_unwind(Box::new("on request"));
    }
}

/// Stops before it handles a message.
struct Mayfly;

#[async_trait]
impl Actor for Mayfly {
    type Msg = ();
    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}
    async fn pre_start(&mut self, ctx: &mut Context<Self>) {
        ctx.stop_self();
    }
}

/// A message to a parent.
enum ParentMsg {
    /// Spawn the children of these numbers.
    Raise {
        numbers: std::ops::Range<usize>,
        resident_every: usize,
        blocking: bool,
        done: oneshot::Sender<Brood>,
    },
    /// Stop the children of these names, each living.
    Cull { names: Vec<String> },
}

/// The children of a parent.
#[derive(Default)]
struct Brood {
    residents: Vec<ActorRef<()>>,
    mayflies: u64,
}

/// Spawns children on request.
struct Parent;

impl Parent {
    fn props() -> Props<Self> {
        Props::create(|| Self)
    }

    fn raise(ctx: &mut Context<Self>, numbers: std::ops::Range<usize>, resident_every: usize) -> Brood {
        let resident = Resident::props();
        let mayfly = Props::create(|| Mayfly);
        let mut brood = Brood::default();
        for number in numbers {
            let name = format!("c{number}");
            if number % resident_every == 0 {
                let child = ctx.spawn(resident.clone(), &name).expect("a free child name");
                brood.residents.push(child);
            } else {
                ctx.spawn(mayfly.clone(), &name).expect("a free child name");
                brood.mayflies += 1;
            }
        }
        brood
    }
}

#[async_trait]
impl Actor for Parent {
    type Msg = ParentMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, msg: ParentMsg) {
        match msg {
            ParentMsg::Raise { numbers, resident_every, blocking, done } => {
                // With `block_in_place` this thread hands its worker's queue to another thread, so that children start
                // while it still spawns.
                let raise = || Self::raise(ctx, numbers, resident_every);
                let brood = if blocking { tokio::task::block_in_place(raise) } else { raise() };
                let _ = done.send(brood);
            }
            ParentMsg::Cull { names } => names.iter().for_each(|name| ctx.stop_child(name)),
        }
    }
}

async fn raise(
    parent: &ActorRef<ParentMsg>,
    numbers: std::ops::Range<usize>,
    resident_every: usize,
    blocking: bool,
) -> Brood {
    let (done, brood) = oneshot::channel();
    parent.tell(ParentMsg::Raise { numbers, resident_every, blocking, done });
    brood.await.expect("a parent that answers")
}

/// Runs the parts of a storm at the same time, as tasks of their own.
async fn together<P>(parts: impl IntoIterator<Item = P>) -> Truth
where
    P: Future<Output = Truth> + Send + 'static,
{
    let mut tasks: JoinSet<Truth> = parts.into_iter().collect();
    let mut truth = Truth::default();
    while let Some(part) = tasks.join_next().await {
        truth.absorb(part.expect("no panic in a part of a storm"));
    }
    truth
}

async fn early_stops(sky: Sky) -> Truth {
    const PARENTS: usize = 2;
    const BURST: usize = 256;
    together((0..PARENTS).map(|lane| {
        let sky = sky.clone();
        async move {
            let mut truth = Truth::default();
            let parent = sky.actor_of(&Parent::props(), &sky.name(format_args!("nursery-{lane}")));
            truth.spawned(parent.path());
            let children = sky.actors / PARENTS;
            for first in (0..children).step_by(BURST) {
                let numbers = first..children.min(first + BURST);
                truth.raised(&raise(&parent, numbers, 64, true).await);
            }
            truth
        }
    }))
    .await
}

async fn repeated_children(sky: Sky) -> Truth {
    const LANES: usize = 2;
    const CHILDREN: usize = 64;
    const GENERATIONS: usize = 8;
    let families = (sky.actors / (LANES * CHILDREN * GENERATIONS)).max(1);
    together((0..LANES).map(|lane| {
        let sky = sky.clone();
        async move {
            let mut truth = Truth::default();
            for family in 0..families {
                let name = sky.name(format_args!("family-{lane}-{family}"));
                for generation in 1..=GENERATIONS {
                    let parent = sky.actor_of_when_free(&Parent::props(), &name).await;
                    truth.spawned(parent.path());
                    let brood = raise(&parent, 0..CHILDREN, 2, true).await;
                    truth.raised(&brood);
                    if generation < GENERATIONS {
                        parent.stop();
                        truth.stopped(parent.path());
                        brood.residents.iter().for_each(|child| truth.stopped(child.path()));
                    }
                }
            }
            truth
        }
    }))
    .await
}

/// Stops an actor on request, and answers when death-watch says that it is gone.
struct Undertaker {
    burials: HashMap<ActorPath, oneshot::Sender<()>>,
}

/// Stop this actor, and answer when it is gone.
struct Bury(ActorRef<()>, oneshot::Sender<()>);

#[async_trait]
impl Actor for Undertaker {
    type Msg = Bury;

    async fn handle(&mut self, ctx: &mut Context<Self>, Bury(actor, gone): Bury) {
        // On the actor's system channel the watch goes ahead of the stop; after it, atomr would
        // forget the watch silently.
        ctx.watch(&actor);
        actor.stop();
        self.burials.insert(actor.path().clone(), gone);
    }

    async fn on_terminated(&mut self, _: &mut Context<Self>, path: &ActorPath) {
        if let Some(gone) = self.burials.remove(path) {
            let _ = gone.send(());
        }
    }
}

async fn replaced_names(sky: Sky) -> Truth {
    const LANES: usize = 4;
    const REPLACEMENTS: usize = 15;
    let names = (sky.actors / (LANES * (REPLACEMENTS + 1))).max(1);
    together((0..LANES).map(|lane| {
        let sky = sky.part(&format!("lane-{lane}"), LANES);
        async move {
            if lane % 2 == 0 {
                tokio::task::spawn_blocking(move || replaced_by_spinning(&sky, names, REPLACEMENTS))
                    .await
                    .expect("no panic while spinning")
            } else {
                replaced_on_terminated(&sky, names, REPLACEMENTS).await
            }
        }
    }))
    .await
}

/// Runs on its own thread, so that it is inside of `actor_of` when the name becomes free.
fn replaced_by_spinning(sky: &Sky, names: usize, replacements: usize) -> Truth {
    let mut truth = Truth::default();
    for number in 0..names {
        let name = sky.name(format_args!("phoenix-{number}"));
        let mut phoenix = sky.actor_of(&Resident::props(), &name);
        truth.spawned(phoenix.path());
        for _ in 0..replacements {
            phoenix = replaced_at_once(sky, &name, phoenix, &mut truth);
        }
    }
    truth
}

/// As atomr's documentation advises.
async fn replaced_on_terminated(sky: &Sky, names: usize, replacements: usize) -> Truth {
    let props = Resident::props();
    let mut truth = Truth::default();
    let undertaker =
        sky.actor_of(&Props::create(|| Undertaker { burials: HashMap::new() }), &sky.name("undertaker"));
    truth.spawned(undertaker.path());
    for number in 0..names {
        let name = sky.name(format_args!("heir-{number}"));
        let mut heir = sky.actor_of(&props, &name);
        truth.spawned(heir.path());
        for _ in 0..replacements {
            let (gone, is_gone) = oneshot::channel();
            undertaker.tell(Bury(heir.clone(), gone));
            is_gone.await.expect("an undertaker that answers");
            truth.stopped(heir.path());
            heir = sky.actor_of(&props, &name);
            truth.spawned(heir.path());
        }
    }
    truth
}

async fn plain(sky: Sky) -> Truth {
    const CHILDREN: usize = 63;
    let parents = (sky.actors / (CHILDREN + 1)).max(1);
    let mut truth = Truth::default();
    let mut families = Vec::new();
    for number in 0..parents {
        let name = sky.name(format_args!("parent-{number}"));
        let parent = sky.actor_of(&Parent::props(), &name);
        truth.spawned(parent.path());
        let brood = raise(&parent, 0..CHILDREN, 1, false).await;
        truth.raised(&brood);
        families.push((name, parent, brood.residents));
    }
    for (number, (name, parent, children)) in families.iter().enumerate() {
        let every_other = children.iter().step_by(2);
        match number % 8 {
            0 => {}
            1 => {
                let names = every_other.clone().map(|child| child.path().name().to_owned()).collect();
                parent.tell(ParentMsg::Cull { names });
                every_other.for_each(|child| truth.stopped(child.path()));
            }
            2 => every_other.for_each(|child| {
                child.tell(());
                truth.stopped(child.path());
            }),
            way => {
                if way % 2 == 0 {
                    parent.stop();
                } else {
                    sky.system.stop(name);
                }
                // A parent's children stop with it.
                truth.stopped(parent.path());
                children.iter().for_each(|child| truth.stopped(child.path()));
            }
        }
    }
    truth
}

async fn mixed(sky: Sky) -> Truth {
    let parts: [Blowing; 4] = [
        Box::pin(early_stops(sky.part("early", 4))),
        Box::pin(repeated_children(sky.part("repeated", 4))),
        Box::pin(replaced_names(sky.part("replaced", 4))),
        Box::pin(plain(sky.part("plain", 4))),
    ];
    together(parts).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough actors to meet each hazard quickly.
    const ACTORS: usize = 4_000;

    fn storm(name: &str) -> Storm {
        *all().iter().find(|storm| storm.name == name).unwrap()
    }

    fn agrees_with_the_oracle(name: &str, workers: usize) {
        let oracle = Arc::new(Oracle::default());
        let mut outcome = run(storm(name), workers, ACTORS, "Storm", |_| oracle.clone());
        assert!(!outcome.truth.live.is_empty());
        assert_eq!(oracle.live(), outcome.truth.live);
        outcome.stop_everything();
        assert_eq!(oracle.live(), BTreeSet::new());
    }

    #[test]
    fn early_stops_leave_exactly_the_actors_that_the_truth_says() {
        agrees_with_the_oracle("early_stops", 2);
        agrees_with_the_oracle("early_stops", 4);
    }

    #[test]
    fn repeated_children_leave_exactly_the_actors_that_the_truth_says() {
        agrees_with_the_oracle("repeated_children", 2);
        agrees_with_the_oracle("repeated_children", 4);
    }

    #[test]
    fn replaced_names_leave_exactly_the_actors_that_the_truth_says() {
        agrees_with_the_oracle("replaced_names", 2);
        agrees_with_the_oracle("replaced_names", 4);
    }

    #[test]
    fn plain_spawns_and_stops_leave_exactly_the_actors_that_the_truth_says() {
        agrees_with_the_oracle("plain", 2);
        agrees_with_the_oracle("plain", 4);
    }

    #[test]
    fn a_mixed_storm_leaves_exactly_the_actors_that_the_truth_says() {
        agrees_with_the_oracle("mixed", 2);
        agrees_with_the_oracle("mixed", 4);
    }

    /// A set that inserts and removes, like an observer that expects the hooks in order.
    #[derive(Default)]
    struct InOrder(Mutex<BTreeSet<String>>);

    impl SpawnObserver for InOrder {
        fn on_spawn(&self, path: &ActorPath, _: Option<&ActorPath>, _: &'static str) {
            self.0.lock().unwrap().insert(path.to_string());
        }

        fn on_stop(&self, path: &ActorPath) {
            self.0.lock().unwrap().remove(&path.to_string());
        }
    }

    /// No path comes twice in this storm, so each early stop that it must meet leaves a ghost.
    #[test]
    fn an_observer_that_takes_the_hooks_to_be_in_order_is_found_out() {
        let in_order = Arc::new(InOrder::default());
        let outcome = run(storm("early_stops"), 4, ACTORS, "Storm", |_| in_order.clone());
        let seen = in_order.0.lock().unwrap();
        let ghosts = seen.difference(&outcome.truth.live).count() as u64;
        assert!(ghosts >= outcome.hazards.stop_before_spawn, "{ghosts} {:?}", outcome.hazards);
        assert!(seen.is_superset(&outcome.truth.live));
    }

    #[test]
    #[should_panic(expected = "met too little to prove anything")]
    fn a_storm_that_meets_none_of_its_hazards_fails() {
        let calm = Storm { must_meet: &[Hazard::StopBeforeSpawn], ..storm("plain") };
        run(calm, 2, 64, "Storm", |_| Arc::new(Oracle::default()));
    }

    #[test]
    fn a_tee_counts_each_disorder_of_one_path() {
        let tee = Tee::new(Arc::new(Oracle::default()));
        let path = ActorPath::root(atomr_core::actor::Address::local("S")).child("user").child("a");
        tee.on_stop(&path);
        tee.on_spawn(&path, None, "A");
        assert_eq!(tee.hazards(), Hazards { stop_before_spawn: 1, ..Hazards::default() });
        tee.on_spawn(&path, None, "A");
        tee.on_spawn(&path, None, "A");
        tee.on_stop(&path);
        tee.on_stop(&path);
        assert_eq!(tee.hazards(), Hazards { stop_before_spawn: 1, respawn_before_stop: 1, overlaps: 0 });
    }
}
