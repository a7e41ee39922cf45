//! The threads of an async runtime that is watched from its builder.
//!
//! tokio's builder has hooks for the start and the end of a thread, and for a worker that goes to sleep or wakes up. It keeps one
//! of each kind, so the application's own are called by those of the probe. With `--cfg tokio_unstable` it has hooks for the
//! polls of tasks, too: `long_polls`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use atomscope_layout::threads::{Thread, Threads};
#[cfg(tokio_unstable)]
use tokio::runtime::TaskMeta;
use tokio::runtime::{Builder, Handle};

use crate::environment::turned_off;
#[cfg(tokio_unstable)]
use crate::long_polls::LongPolls;
use crate::process;
use crate::region::Region;
use crate::runtime;
#[cfg(target_os = "linux")]
use crate::signals::this_thread;
use crate::writer::RegionWriter;

/// What [`crate::TelemetryExtension::watch_runtime`] takes: `&Handle` of a runtime, `&mut Builder` before it is built, or
/// [`ThreadHooks`].
pub trait RuntimeToWatch: private::Watch {}

impl RuntimeToWatch for &Handle {}
impl RuntimeToWatch for &mut Builder {}
impl RuntimeToWatch for ThreadHooks<'_> {}

pub(crate) mod private {
    use super::{AtomicBool, Region};

    /// Cannot be named outside of this crate.
    pub trait Watch {
        /// `has_handle`: whether a runtime is attached by its handle.
        fn watch(self, region: &Region, has_handle: &AtomicBool);
    }
}

impl private::Watch for &Handle {
    fn watch(self, region: &Region, has_handle: &AtomicBool) {
        if !has_handle.swap(true, Ordering::Relaxed) {
            runtime::watch(&region.writer, self.clone());
        }
    }
}

impl private::Watch for &mut Builder {
    fn watch(self, region: &Region, has_handle: &AtomicBool) {
        ThreadHooks::of(self).watch(region, has_handle);
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;
#[cfg(tokio_unstable)]
type TaskHook = Box<dyn Fn(&TaskMeta<'_>) + Send + Sync>;

/// The builder of a runtime with the application's own hooks. tokio keeps one hook of each kind, so hooks that are set on the
/// builder itself and those of the probe replace each other.
///
/// ```
/// use atomscope_probe::{TelemetryExtension, ThreadHooks};
///
/// let telemetry = TelemetryExtension::new("shop-1", 1024);
/// let mut builder = tokio::runtime::Builder::new_current_thread();
/// telemetry.watch_runtime(ThreadHooks::of(&mut builder).on_thread_start(|| println!("another thread")));
/// let runtime = builder.build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "hooks are set by `watch_runtime`"]
pub struct ThreadHooks<'a> {
    builder: &'a mut Builder,
    start: Option<Hook>,
    stop: Option<Hook>,
    park: Option<Hook>,
    unpark: Option<Hook>,
    #[cfg(tokio_unstable)]
    before_poll: Option<TaskHook>,
    #[cfg(tokio_unstable)]
    after_poll: Option<TaskHook>,
}

impl fmt::Debug for ThreadHooks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadHooks").field("builder", &self.builder).finish_non_exhaustive()
    }
}

macro_rules! hooks {
    ($($method:ident $field:ident $when:literal;)+) => {
        $(
            #[doc = concat!("Calls `hook` when ", $when, ", as the method of the builder does.")]
            pub fn $method(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
                self.$field = Some(Box::new(hook));
                self
            }
        )+
    };
}

impl<'a> ThreadHooks<'a> {
    /// No hooks yet.
    pub fn of(builder: &'a mut Builder) -> Self {
        Self {
            builder,
            start: None,
            stop: None,
            park: None,
            unpark: None,
            #[cfg(tokio_unstable)]
            before_poll: None,
            #[cfg(tokio_unstable)]
            after_poll: None,
        }
    }

    hooks! {
        on_thread_start start "a thread has started";
        on_thread_stop stop "a thread ends";
        on_thread_park park "a worker goes to sleep";
        on_thread_unpark unpark "a worker has woken up";
    }

    /// Calls `hook` before each poll of a task, as the method of the builder does. Only with `--cfg tokio_unstable`.
    #[cfg(tokio_unstable)]
    pub fn on_before_task_poll(mut self, hook: impl Fn(&TaskMeta<'_>) + Send + Sync + 'static) -> Self {
        self.before_poll = Some(Box::new(hook));
        self
    }

    /// Calls `hook` after each poll of a task, as the method of the builder does. Only with `--cfg tokio_unstable`.
    #[cfg(tokio_unstable)]
    pub fn on_after_task_poll(mut self, hook: impl Fn(&TaskMeta<'_>) + Send + Sync + 'static) -> Self {
        self.after_poll = Some(Box::new(hook));
        self
    }
}

impl private::Watch for ThreadHooks<'_> {
    fn watch(self, region: &Region, _: &AtomicBool) {
        #[cfg(tokio_unstable)]
        let Self { builder, start, stop, park, unpark, before_poll, after_poll } = self;
        #[cfg(not(tokio_unstable))]
        let Self { builder, start, stop, park, unpark } = self;
        if turned_off() {
            start.map(|hook| builder.on_thread_start(hook));
            stop.map(|hook| builder.on_thread_stop(hook));
            park.map(|hook| builder.on_thread_park(hook));
            unpark.map(|hook| builder.on_thread_unpark(hook));
            #[cfg(tokio_unstable)]
            {
                before_poll.map(|hook| builder.on_before_task_poll(hook));
                after_poll.map(|hook| builder.on_after_task_poll(hook));
            }
            return;
        }
        #[cfg(tokio_unstable)]
        {
            // The application's hooks are no part of the poll.
            let polls = LongPolls::of(&region.writer);
            let begins = polls.clone();
            builder.on_before_task_poll(move |task| {
                before_poll.iter().for_each(|hook| hook(task));
                begins.begins(task);
            });
            builder.on_after_task_poll(move |task| {
                polls.ends(task);
                after_poll.iter().for_each(|hook| hook(task));
            });
        }
        let (writer, runtime) = (Arc::downgrade(&region.writer), region.writer.next_runtime());
        let watched = Arc::new(Watched { writer, runtime });
        // The probe's hook comes first where a thread begins something, and last where it ends something.
        let of = watched.clone();
        builder.on_thread_start(move || {
            of.starts();
            start.iter().for_each(|hook| hook());
        });
        let of = watched.clone();
        builder.on_thread_unpark(move || {
            of.with(|thread, stamp| thread.unparks(stamp));
            unpark.iter().for_each(|hook| hook());
        });
        let of = watched.clone();
        builder.on_thread_park(move || {
            park.iter().for_each(|hook| hook());
            of.with(|thread, stamp| thread.parks(stamp));
        });
        builder.on_thread_stop(move || {
            stop.iter().for_each(|hook| hook());
            watched.stops();
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn this_thread() -> (u64, [u8; 16]) {
    (0, [0; 16])
}

/// A runtime that is watched from its builder.
struct Watched {
    /// The runtime may outlive the region, which then gives its memory back.
    writer: Weak<RegionWriter>,
    /// Its number in the region.
    runtime: u64,
}

/// The slot of a thread.
struct Slot {
    /// The address of the [`Watched`] runtime; 0: none.
    of: Cell<usize>,
    /// None if there was no free one.
    number: Cell<Option<usize>>,
    watched: RefCell<Option<Arc<Watched>>>,
}

thread_local! {
    static SLOT: Slot = const { Slot { of: Cell::new(0), number: Cell::new(None), watched: RefCell::new(None) } };
}

impl Slot {
    fn end(&self) {
        self.of.set(0);
        let (number, watched) =
            (self.number.take(), self.watched.try_borrow_mut().ok().and_then(|mut of| of.take()));
        if let (Some(number), Some(watched)) = (number, watched) {
            watched.change(number, |thread, stamp| thread.ends(stamp));
        }
    }
}

impl Drop for Slot {
    /// The thread that drives a runtime of one thread is not the runtime's own, so no hook tells its end.
    fn drop(&mut self) {
        self.end();
    }
}

impl Watched {
    /// What `use_it` makes of the region, unless it is closed.
    #[inline]
    fn with_writer<T>(&self, use_it: impl FnOnce(&RegionWriter) -> T) -> Option<T> {
        let writer = self.writer.upgrade()?;
        let made = (!writer.is_closing()).then(|| use_it(&writer));
        process::drop_elsewhere(writer);
        made
    }

    /// Calls `change` with the slot of this number and a stamp.
    #[inline]
    fn change(&self, number: usize, change: impl FnOnce(&Thread<'_>, u64)) {
        self.with_writer(|writer| {
            let threads = Threads::new(writer.section(writer.map().threads));
            if let Some(thread) = threads.thread(number) {
                change(&thread, writer.ticks());
            }
        });
    }

    /// Calls `change` with the slot of this thread and a stamp. No lock, no allocation and no system call, once the thread has a
    /// slot.
    #[inline]
    fn with(self: &Arc<Self>, change: impl FnOnce(&Thread<'_>, u64)) {
        let number = SLOT.try_with(|slot| {
            if slot.of.get() != Arc::as_ptr(self).addr() {
                self.claim(slot);
            }
            slot.number.get()
        });
        if let Ok(Some(number)) = number {
            self.change(number, change);
        }
    }

    fn starts(self: &Arc<Self>) {
        self.with(|_, _| ());
    }

    #[cold]
    fn claim(self: &Arc<Self>, slot: &Slot) {
        slot.end();
        let claimed = self.with_writer(|writer| {
            let (tid, name) = this_thread();
            let words = writer.section(writer.map().threads);
            let tid = u32::try_from(tid).unwrap_or(0);
            Threads::new(words).claim(tid, self.runtime, name, writer.ticks())
        });
        let Some(number) = claimed else { return };
        slot.number.set(number);
        if let Ok(mut watched) = slot.watched.try_borrow_mut() {
            *watched = Some(self.clone());
            slot.of.set(Arc::as_ptr(self).addr());
        }
    }

    fn stops(&self) {
        let _ = SLOT.try_with(|slot| {
            if slot.of.get() == std::ptr::from_ref(self).addr() {
                slot.end();
            }
        });
    }
}
