//! Handlers in flight: which instrumented actors are in a handler that has not ended, by what the node itself notes.
//!
//! The node stamps the begin of a handler with a coarse clock, which its sampler moves. While that thread gets no processor, a
//! stamp is too early. So of a live node one look shows no handler that lasts: two looks do, if both see the same message of
//! the same actor. Of a dead node one look shows what was being handled at its end.

use std::collections::HashMap;
use std::time::Duration;

use atomscope_layout::decode::{ActorStats, Mode, Moment, rfc3339};
use serde::Serialize;

use crate::attach::{AttachError, Region};
use crate::report::human::{duration, seconds};
use crate::report::instruments::in_flight;
use crate::text::clean;

/// A handler that has begun and not ended. What is unknown is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Handler {
    /// The path of its actor; not safe to print.
    pub path: Option<String>,
    /// The class of its actor; not safe to print.
    pub class: Option<String>,
    /// The variant of its message; not safe to print.
    pub variant: Option<String>,
    /// When it began: RFC 3339.
    pub since: Option<String>,
    /// How long it lasts, in seconds; of a dead node, until its end.
    pub for_s: Option<f64>,
    /// `runs` if it is inside a poll, so that it runs or blocks its worker; or `awaits`.
    pub mode: Option<&'static str>,
    /// Whether it is proved to block its worker.
    pub blocks_worker: bool,
    #[serde(skip)]
    duration: Option<Duration>,
    #[serde(skip)]
    message: Message,
}

/// A message of an actor: the number of its cell, of the message, and the stamp of its begin.
type Message = (u64, u64, u64);

/// The handlers in flight at one time.
#[derive(Debug, Clone, Default)]
pub struct HandlersInFlight {
    /// Those that last longest first, and those whose duration is unknown last.
    pub handlers: Vec<Handler>,
    /// Whether the node has instrumented actors: of others nothing is known.
    pub has_instruments: bool,
}

impl HandlersInFlight {
    /// One look. Costs a scan of the actors if any is instrumented.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn look(region: &Region) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let instruments = reader.instruments();
        let has_instruments = !instruments.classes.is_empty();
        if instruments.cells.used == 0 {
            return Ok(Self { handlers: Vec::new(), has_instruments });
        }
        let list = reader.actor_list();
        // The handlers are read before the clock.
        let until = region.until(&liveness, &region.now());
        let named = list
            .iter()
            .filter_map(|actor| Handler::of(Some(actor.path()), Some(actor.class()), &actor.stats()?, until));
        let unnamed = list.unnamed().filter_map(|(class, stats)| Handler::of(None, class, &stats, until));
        let mut handlers: Vec<Handler> = named.chain(unnamed).collect();
        region.check_intact()?;
        handlers.sort_by(|a, b| b.duration.cmp(&a.duration).then_with(|| a.path.cmp(&b.path)));
        Ok(Self { handlers, has_instruments })
    }

    /// The handlers that `before`, a look a time ago, has seen too, and that last longer than `over`.
    pub fn lasting_since(&self, before: &Self, over: Duration) -> Vec<Handler> {
        let seen: HashMap<u64, Message> =
            before.handlers.iter().map(|handler| (handler.message.0, handler.message)).collect();
        let lasts = |handler: &&Handler| {
            seen.get(&handler.message.0) == Some(&handler.message)
                && handler.duration.is_some_and(|duration| duration >= over)
        };
        self.handlers.iter().filter(lasts).cloned().collect()
    }
}

impl Handler {
    fn of(
        path: Option<&str>,
        class: Option<&str>,
        stats: &ActorStats<'_>,
        until: Option<Moment>,
    ) -> Option<Self> {
        let flight = stats.in_flight?;
        let duration = in_flight(stats, until);
        Some(Self {
            path: path.map(str::to_owned),
            class: class.map(str::to_owned),
            variant: stats.variant.map(str::to_owned),
            since: flight.since.map(|since| rfc3339(since.unix_ns)),
            for_s: duration.map(seconds),
            mode: flight.mode.map(Mode::word),
            blocks_worker: false,
            duration,
            message: (stats.cell, stats.handled, flight.stamp),
        })
    }

    /// Whether it is known to await.
    pub fn awaits(&self) -> bool {
        self.mode == Some(Mode::Awaits.word())
    }

    /// Its actor: path and class. Safe to print.
    pub fn actor(&self) -> String {
        let class = self.class.as_deref().unwrap_or("another class");
        match &self.path {
            Some(path) => format!("{} ({})", clean(path), clean(class)),
            None => format!("an actor of {}", clean(class)),
        }
    }

    /// Its actor by its path, or else by its class, and for how long it has lasted. Safe to print.
    pub fn brief(&self) -> String {
        let actor = self.path.as_deref().map_or_else(|| self.actor(), |path| clean(path).into_owned());
        let time = self.duration.map(|time| format!(", for {}", duration(time)));
        format!("{actor}{}", time.unwrap_or_default())
    }

    /// What it does, as `awaits for 12.0 s with message Bread`. Safe to print.
    pub fn text(&self) -> String {
        let what = match (self.blocks_worker, self.mode) {
            (true, _) => "blocks its worker",
            (false, Some(mode)) => mode,
            (false, None) => "is in a handler",
        };
        self.with_time(what)
    }

    /// What it did at the end of its node. Safe to print.
    pub fn text_of_past(&self) -> String {
        self.with_time(match self.mode {
            Some(_) if self.awaits() => "awaited",
            Some(_) => "ran, or blocked its worker,",
            None => "was in a handler",
        })
    }

    fn with_time(&self, what: &str) -> String {
        let time = self.duration.map(|time| format!(" for {}", duration(time))).unwrap_or_default();
        let variant = self.variant.as_deref().map(|variant| format!(" with message {}", clean(variant)));
        format!("{what}{time}{}", variant.unwrap_or_default())
    }
}

/// Marks the handlers that block a worker. `stuck` are the classes of the actors on the threads that are proved to be in a
/// handler that does not come back. If more handlers of a class last than threads are stuck in it, none is marked: which of
/// them it is, is not known.
pub fn mark_blocking(handlers: &mut [Handler], stuck: &[&str]) {
    let may_block =
        |handler: &Handler, class: &str| !handler.awaits() && handler.class.as_deref() == Some(class);
    for class in stuck {
        let threads = stuck.iter().filter(|other| *other == class).count();
        let lasting = handlers.iter().filter(|handler| may_block(handler, class)).count();
        if lasting <= threads {
            let blocking = handlers.iter_mut().filter(|handler| may_block(handler, class));
            blocking.for_each(|handler| handler.blocks_worker = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(cell: u64, message: u64, lasts_s: u64, mode: Option<Mode>) -> Handler {
        let duration = Some(Duration::from_secs(lasts_s));
        Handler {
            path: Some(format!("akka://shop/user/{cell}")),
            class: Some("shop::Baker".to_owned()),
            variant: None,
            since: None,
            for_s: duration.map(seconds),
            mode: mode.map(Mode::word),
            blocks_worker: false,
            duration,
            message: (cell, message, 7),
        }
    }

    fn looked(handlers: &[Handler]) -> HandlersInFlight {
        HandlersInFlight { handlers: handlers.to_vec(), has_instruments: true }
    }

    #[test]
    fn only_a_message_that_both_looks_have_seen_lasts() {
        let before = looked(&[handler(1, 5, 9, None), handler(2, 5, 9, None), handler(3, 5, 1, None)]);
        // The second actor handles its next message, with the same stamp of a clock that stands; the fourth is new.
        let now = looked(&[
            handler(1, 5, 10, None),
            handler(2, 6, 10, None),
            handler(3, 5, 2, None),
            handler(4, 5, 10, None),
        ]);
        let lasting = now.lasting_since(&before, Duration::from_secs(3));
        assert_eq!(lasting.iter().map(|handler| handler.message.0).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_handler_on_a_stuck_thread_is_named_only_if_it_can_be_no_other() {
        let blocking = |handlers: &[Handler], stuck: &[&str]| {
            let mut handlers = handlers.to_vec();
            mark_blocking(&mut handlers, stuck);
            handlers.iter().map(|handler| handler.blocks_worker).collect::<Vec<_>>()
        };
        let (runs, unknown) = (handler(1, 5, 9, Some(Mode::Runs)), handler(2, 5, 9, None));
        let awaits = handler(3, 5, 9, Some(Mode::Awaits));
        let both = [runs.clone(), awaits.clone()];
        assert_eq!(blocking(&both, &["shop::Baker"]), [true, false]);
        assert_eq!(blocking(&both, &["shop::Waiter"]), [false, false]);
        assert_eq!(blocking(&both, &[]), [false, false]);
        let two = [runs, unknown];
        assert_eq!(blocking(&two, &["shop::Baker"]), [false, false]);
        assert_eq!(blocking(&two, &["shop::Baker", "shop::Baker"]), [true, true]);
    }

    #[test]
    fn what_a_handler_does_is_said_as_far_as_it_is_known() {
        let awaits = Handler { variant: Some("Bread".into()), ..handler(1, 5, 12, Some(Mode::Awaits)) };
        assert_eq!(awaits.text(), "awaits for 12.0 s with message Bread");
        assert_eq!(awaits.text_of_past(), "awaited for 12.0 s with message Bread");
        assert_eq!(awaits.actor(), "akka://shop/user/1 (shop::Baker)");
        let runs = handler(1, 5, 3, Some(Mode::Runs));
        assert_eq!(Handler { blocks_worker: true, ..runs.clone() }.text(), "blocks its worker for 3.0 s");
        assert_eq!(
            (runs.text(), handler(1, 5, 3, None).text()),
            ("runs for 3.0 s".into(), "is in a handler for 3.0 s".into())
        );
        let nameless = Handler { path: None, class: None, ..runs };
        assert_eq!(nameless.actor(), "an actor of another class");
    }
}
