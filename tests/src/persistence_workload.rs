//! A small bank on atomr-persistence: event-sourced accounts, each an actor that recovers from its last snapshot and the
//! events after it, takes deposits, and stops.
//!
//! It works on any journal and snapshot store, wrapped or not, and returns what it did, so that a test knows the truth.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
use atomr_persistence::{Eventsourced, Journal, JournalError, PersistentRepr, SnapshotStore};
use tokio::sync::oneshot;

/// The pause between two visits in [`run`].
const VISIT_INTERVAL: Duration = Duration::from_millis(20);

/// The journal and snapshot store of all accounts.
#[derive(Debug)]
pub struct Bank<J, S> {
    /// The accounts' journal.
    pub journal: Arc<J>,
    /// Their snapshots.
    pub snapshots: Arc<S>,
    /// Events between two snapshots; 0 saves none.
    pub snapshot_every: u64,
}

impl<J, S> Clone for Bank<J, S> {
    fn clone(&self) -> Self {
        let Self { journal, snapshots, snapshot_every } = self;
        Self { journal: journal.clone(), snapshots: snapshots.clone(), snapshot_every: *snapshot_every }
    }
}

/// Counts of the operations on a journal and a snapshot store.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "the names explain the fields")]
pub struct Done {
    pub events: u64,
    pub writes: u64,
    pub failed_writes: u64,
    pub replays: u64,
    pub failed_replays: u64,
    pub replayed_events: u64,
    pub snapshots_saved: u64,
    pub snapshots_loaded: u64,
    /// The balance of the account, from the last visit that reached it.
    pub balance: u64,
}

impl Done {
    /// Adds the counts of another visit.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.writes += other.writes;
        self.failed_writes += other.failed_writes;
        self.replays += other.replays;
        self.failed_replays += other.failed_replays;
        self.replayed_events += other.replayed_events;
        self.snapshots_saved += other.snapshots_saved;
        self.snapshots_loaded += other.snapshots_loaded;
        self.balance = other.balance;
    }
}

/// Starts the actor of an account, which recovers, makes these deposits of so many coins each, and stops the actor.
/// Each coin is an event, and each deposit is a write.
///
/// # Panics
/// If the actor cannot be spawned, or ends too early.
pub async fn visit<J: Journal, S: SnapshotStore>(
    system: &ActorSystem,
    bank: &Bank<J, S>,
    persistence_id: &str,
    deposits: &[u64],
) -> Done {
    static VISITS: AtomicU64 = AtomicU64::new(0);
    let name = format!("account-{}", VISITS.fetch_add(1, Ordering::Relaxed));
    let (bank, id) = (bank.clone(), persistence_id.to_owned());
    let open = move || Account {
        bank: bank.clone(),
        coins: Coins(id.clone()),
        balance: 0,
        highest: 0,
        done: Done::default(),
    };
    let account: ActorRef<Message> =
        system.actor_of(Props::create(open), &name).expect("an account is opened");
    for coins in deposits {
        account.tell(Message::Deposit(*coins));
    }
    let (answer, done) = oneshot::channel();
    account.tell(Message::Close(answer));
    let done = done.await.expect("the account answers");
    account.stop();
    done
}

/// Visits one account after the other until `stop`.
pub async fn run<J: Journal, S: SnapshotStore>(
    system: &ActorSystem,
    bank: &Bank<J, S>,
    accounts: u64,
    stop: impl Future<Output = ()>,
) {
    let visits = async {
        for number in 0u64.. {
            visit(system, bank, &format!("account-{}", number % accounts.max(1)), &[1, 2]).await;
            tokio::time::sleep(VISIT_INTERVAL).await;
        }
    };
    tokio::select! {
        () = visits => {}
        () = stop => {}
    }
}

/// Deletes what no recovery needs: all events and snapshots of each account but those of the newest `keep` events.
/// `keep` must exceed the number of events between two snapshots.
pub async fn forget<J: Journal, S: SnapshotStore>(bank: &Bank<J, S>, accounts: u64, keep: u64) {
    for id in (0..accounts).map(|number| format!("account-{number}")) {
        let highest = bank.journal.highest_sequence_nr(&id, 0).await.unwrap_or(0);
        if let Some(old) = highest.checked_sub(keep).filter(|old| *old > 0) {
            drop(bank.journal.delete_messages_to(&id, old).await);
            bank.snapshots.delete(&id, old).await;
        }
    }
}

/// A message to an account.
enum Message {
    Deposit(u64),
    Close(oneshot::Sender<Done>),
}

struct Account<J, S> {
    bank: Bank<J, S>,
    coins: Coins,
    balance: u64,
    highest: u64,
    done: Done,
}

/// One coin was paid in.
#[derive(Clone)]
struct Coin;

/// The event-sourced part.
struct Coins(String);

impl Eventsourced for Coins {
    type Command = u64;
    type Event = Coin;
    type State = u64;
    type Error = Infallible;

    fn persistence_id(&self) -> String {
        self.0.clone()
    }

    fn command_to_events(&self, _: &u64, coins: u64) -> Result<Vec<Coin>, Infallible> {
        Ok((0..coins).map(|_| Coin).collect())
    }

    fn apply_event(balance: &mut u64, _: &Coin) {
        *balance += 1;
    }

    fn encode_event(_: &Coin) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn decode_event(_: &[u8]) -> Result<Coin, String> {
        Ok(Coin)
    }
}

impl<J: Journal, S: SnapshotStore> Account<J, S> {
    /// The last snapshot, and the events after it.
    async fn recover(&mut self) -> Result<(), JournalError> {
        let id = &self.coins.0;
        if let Some((meta, payload)) = self.bank.snapshots.load(id).await {
            self.done.snapshots_loaded += 1;
            self.highest = meta.sequence_nr;
            self.balance = payload.try_into().map_or(0, u64::from_le_bytes);
        }
        let journal = &self.bank.journal;
        let highest = journal.highest_sequence_nr(id, 0).await?;
        let replayed = journal.replay_messages(id, self.highest + 1, highest, u64::MAX).await;
        self.done.replays += 1;
        self.done.failed_replays += u64::from(replayed.is_err());
        for event in replayed? {
            self.done.replayed_events += 1;
            self.highest = event.sequence_nr;
            let event = Coins::decode_event(&event.payload).map_err(JournalError::backend)?;
            Coins::apply_event(&mut self.balance, &event);
        }
        Ok(())
    }

    async fn deposit(&mut self, coins: u64) {
        let mut next = self.highest;
        let journal = self.bank.journal.clone();
        let written = self.coins.handle_command(journal, &mut self.balance, &mut next, "bank", coins).await;
        // A deposit without coins writes nothing.
        self.done.writes += u64::from(coins > 0);
        if written.is_err() {
            self.done.failed_writes += 1;
            return;
        }
        let before = std::mem::replace(&mut self.highest, next);
        self.done.events += next - before;
        let every = self.bank.snapshot_every;
        if every > 0 && before / every != next / every {
            let balance = self.balance.to_le_bytes().to_vec();
            self.coins.save_snapshot(self.bank.snapshots.clone(), self.highest, balance).await;
            self.done.snapshots_saved += 1;
        }
    }
}

#[async_trait]
impl<J: Journal, S: SnapshotStore> Actor for Account<J, S> {
    type Msg = Message;

    async fn pre_start(&mut self, _: &mut Context<Self>) {
        // An account whose recovery failed starts again at the next deposit.
        drop(self.recover().await);
    }

    async fn handle(&mut self, _: &mut Context<Self>, message: Message) {
        match message {
            Message::Deposit(coins) => {
                if self.done.failed_replays == self.done.replays && self.recover().await.is_err() {
                    return;
                }
                self.deposit(coins).await;
            }
            Message::Close(answer) => {
                self.done.balance = self.balance;
                drop(answer.send(self.done.clone()));
            }
        }
    }
}

/// A journal in memory that frees deleted events, so that a node may run for days. The one of atomr only marks them.
#[derive(Debug, Default)]
pub struct ShortJournal {
    streams: Mutex<HashMap<String, Stream>>,
}

/// The remaining events of one persistence id.
#[derive(Debug, Default)]
struct Stream {
    highest: u64,
    events: VecDeque<PersistentRepr>,
}

impl ShortJournal {
    /// An empty journal.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The number of events of all persistence ids.
    pub fn held(&self) -> usize {
        self.with(|streams| streams.values().map(|stream| stream.events.len()).sum())
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Stream>) -> T) -> T {
        work(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Journal for ShortJournal {
    async fn write_messages(&self, messages: Vec<PersistentRepr>) -> Result<(), JournalError> {
        self.with(|streams| {
            for message in messages {
                let stream = streams.entry(message.persistence_id.clone()).or_default();
                let (expected, got) = (stream.highest + 1, message.sequence_nr);
                if got != expected {
                    return Err(JournalError::SequenceOutOfOrder { expected, got });
                }
                stream.highest = got;
                stream.events.push_back(message);
            }
            Ok(())
        })
    }

    async fn delete_messages_to(&self, id: &str, to_sequence_nr: u64) -> Result<(), JournalError> {
        self.with(|streams| {
            if let Some(stream) = streams.get_mut(id) {
                stream.events.retain(|event| event.sequence_nr > to_sequence_nr);
                stream.events.shrink_to(2 * stream.events.len());
            }
        });
        Ok(())
    }

    async fn replay_messages(
        &self,
        id: &str,
        from_sequence_nr: u64,
        to_sequence_nr: u64,
        max: u64,
    ) -> Result<Vec<PersistentRepr>, JournalError> {
        let wanted = from_sequence_nr..=to_sequence_nr;
        Ok(self.with(|streams| {
            let events = streams.get(id).into_iter().flat_map(|stream| &stream.events);
            let events = events.filter(|event| wanted.contains(&event.sequence_nr));
            events.take(usize::try_from(max).unwrap_or(usize::MAX)).cloned().collect()
        }))
    }

    async fn highest_sequence_nr(&self, id: &str, _: u64) -> Result<u64, JournalError> {
        Ok(self.with(|streams| streams.get(id).map_or(0, |stream| stream.highest)))
    }
}

/// A journal in which every n-th write and every n-th replay fails before it reaches the inner journal.
#[derive(Debug)]
pub struct Flaky<J> {
    inner: Arc<J>,
    every: u64,
    writes: AtomicU64,
    replays: AtomicU64,
}

impl<J> Flaky<J> {
    /// Wraps `journal`.
    pub fn new(journal: Arc<J>, every: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: journal,
            every: every.max(1),
            writes: AtomicU64::new(0),
            replays: AtomicU64::new(0),
        })
    }

    fn fails(&self, calls: &AtomicU64) -> Result<(), JournalError> {
        match (calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.every) {
            true => Err(JournalError::backend("the disk is full")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl<J: Journal> Journal for Flaky<J> {
    async fn write_messages(&self, messages: Vec<PersistentRepr>) -> Result<(), JournalError> {
        self.fails(&self.writes)?;
        self.inner.write_messages(messages).await
    }

    async fn delete_messages_to(&self, id: &str, to_sequence_nr: u64) -> Result<(), JournalError> {
        self.inner.delete_messages_to(id, to_sequence_nr).await
    }

    async fn replay_messages(
        &self,
        id: &str,
        from_sequence_nr: u64,
        to_sequence_nr: u64,
        max: u64,
    ) -> Result<Vec<PersistentRepr>, JournalError> {
        self.fails(&self.replays)?;
        self.inner.replay_messages(id, from_sequence_nr, to_sequence_nr, max).await
    }

    async fn highest_sequence_nr(&self, id: &str, from_sequence_nr: u64) -> Result<u64, JournalError> {
        self.inner.highest_sequence_nr(id, from_sequence_nr).await
    }
}

#[cfg(test)]
mod tests {
    use atomr_core::prelude::Config;
    use atomr_persistence::InMemorySnapshotStore;

    use super::*;

    #[tokio::test]
    async fn a_bank_that_forgets_holds_the_newest_events_alone_and_no_coin_is_lost() {
        const KEEP: u64 = 30;
        let system = ActorSystem::create("bank", Config::empty()).await.expect("a system is made");
        let bank = Bank {
            journal: ShortJournal::new(),
            snapshots: InMemorySnapshotStore::new(),
            snapshot_every: 10,
        };
        for visits in 1..=100 {
            let done = visit(&system, &bank, "account-0", &[1, 2]).await;
            forget(&bank, 1, KEEP).await;
            assert_eq!((done.balance, done.failed_replays), (3 * visits, 0));
            assert_eq!(bank.journal.held() as u64, KEEP.min(3 * visits));
        }
    }
}
