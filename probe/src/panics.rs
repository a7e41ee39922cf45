//! The panic hook of the process: it notes each panic in the open regions, then calls the hook before it.
//!
//! atomr catches the panics of handlers, so the hook is the only place that sees all panics.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use atomscope_layout::failures::Report;
#[cfg(feature = "atomr")]
use atomscope_layout::limits::ACTOR_PATH_BYTES;

#[cfg(feature = "atomr")]
use crate::failures::Text;
use crate::failures::{location, thread_name};
#[cfg(feature = "atomr")]
use crate::instruments::current::current;
use crate::process;

/// Shown for a panic whose value is no text.
const NO_TEXT: &str = "a value that is no text";

/// Sets the hook, once per process. False if that is not possible now: on a thread that panics it would be a panic itself.
pub(crate) fn hook() -> bool {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    if IS_SET.load(Ordering::Relaxed) {
        return true;
    }
    if std::thread::panicking() {
        return false;
    }
    if !IS_SET.swap(true, Ordering::Relaxed) {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            note(panic);
            previous(panic);
        }));
    }
    true
}

fn note(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let at = panic.location().map(|at| location(at.file(), at.line(), Some(at.column())));
    let thread = thread_name();
    let report = Report {
        message: Some(message.unwrap_or(NO_TEXT)),
        location: at.as_ref().map_or("", |at| at.as_str()),
        thread: thread.as_str(),
        ..Report::default()
    };
    let tid = thread_id();
    #[cfg(feature = "atomr")]
    match note_of_actor(&report, tid) {
        Some(true) => return,
        // Another try would only wait for as long again.
        Some(false) => return process::count_missed(),
        None => {}
    }
    let is_noted = process::each_open(|writer| {
        if writer.panics {
            writer.note_panic(&report, tid);
        }
    });
    if !is_noted {
        process::count_missed();
    }
}

/// Notes the panic in the region whose instrumented actor runs on this thread; false if it could not be searched. `None` if no
/// such actor runs, or if its region is not open.
#[cfg(feature = "atomr")]
fn note_of_actor(report: &Report<'_>, tid: u32) -> Option<bool> {
    let at = current()?;
    let mut is_known = false;
    let is_complete = process::each_open(|writer| {
        if !writer.has_instruments(at.instruments) {
            return;
        }
        is_known = true;
        if writer.panics {
            let mut path = Text::<ACTOR_PATH_BYTES>::new();
            writer.path_of(at, &mut path);
            let (actor, class) = (path.as_str(), at.class_name());
            writer.note_panic(&Report { actor, class, ..*report }, tid);
        }
    });
    (is_known || !is_complete).then_some(is_known)
}

/// The id of the calling thread, as other processes see it; 0 if it is unknown.
pub(crate) fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return crate::region_file::thread_id();
    #[cfg(not(target_os = "linux"))]
    0
}
