//! The depths of mailboxes: which are read, and where a depth is stored.

use std::sync::atomic::{AtomicU64, Ordering};

use atomr_core::actor::ActorRef;
use atomscope_layout::classes::{CLASS_WORDS, Class};
use atomscope_layout::event::EventKind;
use atomscope_layout::records::ACTOR_CELL_WORD;
use atomscope_layout::table::Updated;

use crate::lane;
use crate::mailbox::Mailbox;
use crate::pairs::{Pairs, set_depth};
use crate::text::PathText;
use crate::writer::RegionWriter;

/// The most events of depths in one round, so that they leave room for others.
const MOST_EVENTS: usize = 256;

impl RegionWriter {
    /// From now on the sampler reads the depth of this actor's mailbox, if the region was built with `depth(true)`. `cell` is the
    /// word of the actor's record that names its cell, `class` the index of its class.
    pub(crate) fn watch_mailbox<M: Send + 'static>(&self, actor: &ActorRef<M>, cell: u64, class: u16) {
        let Some(mailboxes) = &self.mailboxes else { return };
        if !actor.is_remote() && !self.is_closing() {
            mailboxes.add(Mailbox::new(actor, self.hasher.key(actor.path()), cell, class));
        }
    }

    /// Reads the depths of all mailboxes and stores them. Only for a thread without an async runtime.
    pub(crate) fn sample_depths(&self) {
        let Some(mailboxes) = &self.mailboxes else { return };
        mailboxes.look(|mailbox, depth| {
            if let Some(depth) = depth {
                let class = usize::from(mailbox.class) * CLASS_WORDS;
                let words = self.section(self.map().classes).get(class..class + CLASS_WORDS);
                Class::new(words.unwrap_or_default()).depth(depth);
            }
            // Most mailboxes are empty, and stay so.
            if mailbox.noted != depth && self.note_depth(mailbox, depth) {
                mailbox.noted = depth;
            }
        });
        mailboxes.news(MOST_EVENTS, |mailbox| {
            let mut text = PathText::new();
            self.hasher.key_and_text(mailbox.path(), &mut text);
            self.publish_path(EventKind::MailboxSampled, &text, mailbox.depth, self.stamp(0));
        });
        // The thread that closed the region found the list in use.
        if self.is_closing() {
            self.forget_mailboxes();
        }
    }

    /// Forgets all mailboxes, when the region is closed.
    pub(crate) fn forget_mailboxes(&self) {
        if let Some(mailboxes) = &self.mailboxes {
            mailboxes.let_go();
        }
    }

    /// Stores the depth into the actor's record; false if another thread is changing that.
    fn note_depth(&self, mailbox: &Mailbox, depth: Option<u64>) -> bool {
        let change = |slot: &[AtomicU64]| {
            // Another actor may have the path by now.
            if slot.get(ACTOR_CELL_WORD).is_some_and(|cell| cell.load(Ordering::Relaxed) == mailbox.cell) {
                set_depth(slot, depth);
            }
        };
        let pairs = Pairs { writer: self, bus: self };
        self.table().update(lane::held_or_beyond(), mailbox.key, change, &pairs) != Updated::InHand
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use atomr_core::actor::{Actor, ActorSystem, Context, Props};
    use atomr_core::prelude::Config;
    use atomscope_layout::classes::DEPTHS;
    use atomscope_layout::histogram;
    use atomscope_layout::words::Words;
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::bus::TelemetryEvent;
    use crate::{Region, RegionBuilder, TelemetryExtension};

    /// An actor that handles a message for each permit.
    struct Waits(Arc<Semaphore>);

    #[async_trait::async_trait]
    impl Actor for Waits {
        type Msg = [u64; 3];

        async fn handle(&mut self, _: &mut Context<Self>, _: Self::Msg) {
            if let Ok(permit) = self.0.acquire().await {
                permit.forget();
            }
        }
    }

    struct Node {
        runtime: Runtime,
        system: ActorSystem,
        telemetry: Arc<TelemetryExtension>,
        permits: Arc<Semaphore>,
    }

    impl Node {
        fn new() -> Self {
            Self::with(|builder| builder)
        }

        fn with(change: impl FnOnce(RegionBuilder) -> RegionBuilder) -> Self {
            let runtime = Builder::new_current_thread().build().unwrap();
            let system = runtime.block_on(ActorSystem::create("depths", Config::empty())).unwrap();
            let builder = Region::builder("depths").actors(5_000).private().depth(true);
            let region = change(builder).build().unwrap();
            let telemetry = TelemetryExtension::with_region(region);
            let telemetry = runtime.block_on(async { telemetry.install(&system) });
            Self { runtime, system, telemetry, permits: Arc::new(Semaphore::new(0)) }
        }

        fn writer(&self) -> &RegionWriter {
            &self.telemetry.region().writer
        }

        fn spawn(&self, name: &str) -> ActorRef<[u64; 3]> {
            let permits = self.permits.clone();
            let props = Props::create(move || Waits(permits.clone()));
            self.runtime.block_on(async { self.telemetry.actors.spawn(&self.system, props, name).unwrap() })
        }

        /// Lets the actors work until they have nothing to do.
        fn run(&self) {
            self.runtime.block_on(async {
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
            });
        }

        /// Waits until the list has actors with these depths, in the order of their paths. The sampler may be at it at the moment.
        #[track_caller]
        fn expect(&self, expected: &[Option<u64>]) {
            let until = Instant::now() + Duration::from_secs(20);
            loop {
                self.writer().sample_depths();
                let list = self.writer().reader().unwrap().actor_list();
                let mut actors: Vec<_> =
                    list.iter().map(|actor| (actor.path(), actor.mailbox_depth())).collect();
                actors.sort();
                let depths: Vec<_> = actors.into_iter().map(|(_, depth)| depth).collect();
                if depths == expected {
                    return;
                }
                assert!(Instant::now() < until, "{depths:?} instead of {expected:?}");
                std::thread::yield_now();
            }
        }

        /// How many mailboxes the region keeps.
        fn kept(&self) -> usize {
            self.writer().mailboxes.as_ref().map_or(0, |mailboxes| mailboxes.count())
        }
    }

    #[test]
    fn the_depth_of_a_mailbox_is_exact_until_the_actor_stops() {
        let node = Node::new();
        let actor = node.spawn("waits");
        node.expect(&[Some(0)]);
        let mut sent = 0;
        for count in [5, 995, 70_000] {
            (0..count).for_each(|_| actor.tell([0; 3]));
            sent += count;
            node.expect(&[Some(sent)]);
        }
        node.run();
        // It has one in hand.
        node.expect(&[Some(sent - 1)]);
        let list = node.writer().reader().unwrap().actor_list();
        assert_eq!(list.iter().next().and_then(|actor| actor.depth_peak()), Some(sent));
        node.permits.add_permits(10);
        node.run();
        node.expect(&[Some(sent - 11)]);
        actor.stop();
        node.permits.add_permits(1);
        node.run();
        node.expect(&[]);
        assert_eq!(node.kept(), 0, "the mailbox is closed");
        // Class 0 is that of all others.
        let words = node.writer().section(node.writer().map().classes).get(CLASS_WORDS..).unwrap();
        let depths = histogram::read(Words::new(&words[DEPTHS]));
        assert_eq!(depths.greatest, sent);
    }

    #[test]
    fn an_actor_that_was_given_the_name_of_another_has_its_own_depth() {
        let node = Node::new();
        let first = node.spawn("waits");
        (0..7).for_each(|_| first.tell([0; 3]));
        node.expect(&[Some(7)]);
        first.stop();
        node.run();
        let second = node.spawn("waits");
        second.tell([0; 3]);
        node.expect(&[Some(1)]);
        assert_eq!(node.kept(), 1);
    }

    #[test]
    fn many_mailboxes_are_read_and_those_that_are_closed_are_left() {
        const ACTORS: u64 = 3_000;
        let node = Node::new();
        let actors: Vec<_> = (0..ACTORS).map(|number| node.spawn(&format!("{number:05}"))).collect();
        for (actor, depth) in actors.iter().zip(0..) {
            (0..depth % 10).for_each(|_| actor.tell([0; 3]));
        }
        let depths: Vec<_> = (0..ACTORS).map(|number| Some(number % 10)).collect();
        node.expect(&depths);
        // Each third one stops, without having handled anything.
        actors.iter().step_by(3).for_each(ActorRef::stop);
        let live = |list: &[ActorRef<_>]| list.iter().filter(|actor| !actor.is_terminated()).count();
        while live(&actors) > 2_000 {
            node.run();
        }
        // The first message of each is in hand.
        let left = (0..ACTORS).filter(|number| number % 3 != 0).map(|number| (number % 10).saturating_sub(1));
        node.expect(&left.map(Some).collect::<Vec<_>>());
        assert_eq!(node.kept(), 2_000);
        node.telemetry.region().close();
        node.writer().sample_depths();
        assert_eq!(node.kept(), 0, "the region is closed");
    }

    #[test]
    fn depths_that_have_changed_are_published() {
        let node = Node::with(|builder| builder.depth_events(Duration::ZERO));
        let mut events = node.telemetry.bus.subscribe();
        let actors = [node.spawn("a"), node.spawn("b")];
        actors[1].tell([0; 3]);
        node.expect(&[Some(0), Some(1)]);
        actors[0].tell([0; 3]);
        node.expect(&[Some(1), Some(1)]);
        let mut published = Vec::new();
        while published.len() < 2 {
            if let TelemetryEvent::MailboxSampled { path, depth } = events.blocking_recv().unwrap() {
                published.push((path, depth));
            }
        }
        assert_eq!(published, ["b", "a"].map(|name| (format!("akka://depths/user/{name}"), 1)));
        assert!(
            !matches!(events.try_recv(), Ok(TelemetryEvent::MailboxSampled { .. })),
            "nothing has changed"
        );
    }
}
