//! A layer of `tracing` that notes errors and warnings in the failure log.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use atomscope_layout::attached::Attachment;
use atomscope_layout::failures::{Report, Severity};
use atomscope_layout::limits::FAILURE_ACTOR_BYTES;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::failures::{Text, each_region_of, location, thread_name};
use crate::process;
use crate::writer::RegionWriter;

/// Whether a subscriber has a layer.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// A layer of `tracing` that notes each error and each warning in the failure log of the process's regions, whatever its
/// target: those of atomr too, such as `handle panic` with the path of the actor.
///
/// A field `path`, `actor` or `actor_path` is taken as the path of an actor: the event then goes to the region of that
/// actor's system, and to all regions of the process if there is no such region. Messages that differ in digits or in fields
/// only are one failure. Of an event of another level it costs a comparison; of an error or warning the formatting of its
/// fields, and no allocation. A region without previews keeps no messages and no fields.
///
/// ```
/// use atomscope_probe::{FailureLayer, Region};
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
///
/// let region = Region::builder("shop-1").actors(100).private().build()?;
/// // With the filter, levels that no layer wants cost nothing.
/// let subscriber = tracing_subscriber::registry().with(FailureLayer::new().with_filter(LevelFilter::WARN));
/// tracing::subscriber::with_default(subscriber, || tracing::warn!(actor = "akka://shop/user/cart", "no answer"));
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FailureLayer;

impl FailureLayer {
    /// A layer for all regions of the process, those that are made later included. No cost.
    pub fn new() -> Self {
        Self
    }
}

/// Notes in a new region that errors and warnings are counted, if they are.
pub(crate) fn attach(writer: &RegionWriter) {
    if IS_USED.load(Ordering::Relaxed) {
        writer.attached(Attachment::FailureLayer);
    }
}

impl<S: Subscriber> Layer<S> for FailureLayer {
    fn on_register_dispatch(&self, _: &Dispatch) {
        IS_USED.store(true, Ordering::Relaxed);
        let _ = process::each_open(attach);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let severity = match *metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => return,
        };
        // The probe's own warnings are about the probe.
        if metadata.target().starts_with("atomscope_probe") {
            return;
        }
        let mut fields = Fields::new();
        event.record(&mut fields);
        let target = match fields.target.as_str() {
            "" => metadata.target(),
            target => target,
        };
        let at = match (fields.file.as_str(), fields.line) {
            ("", _) => metadata.file().zip(metadata.line()).map(|(file, line)| location(file, line, None)),
            (file, line) => Some(location(file, line, None)),
        };
        let mut message = Text::<{ MESSAGE_BYTES + FIELDS_BYTES }>::new();
        message.push(fields.message.as_str());
        message.push(fields.others.as_str());
        let thread = thread_name();
        let report = Report {
            message: Some(message.as_str().trim_start()),
            location: at.as_ref().map_or("", |at| at.as_str()),
            thread: thread.as_str(),
            actor: fields.actor.as_str(),
            target,
            class: 0,
        };
        each_region_of(report.actor, |writer| {
            writer.note_failure(severity, fields.message.as_str(), &report);
        });
    }
}

const MESSAGE_BYTES: usize = 512;
const FIELDS_BYTES: usize = 256;

/// The fields of an event.
struct Fields {
    message: Text<MESSAGE_BYTES>,
    /// Name and value of each field that is nothing else.
    others: Text<FIELDS_BYTES>,
    actor: Text<{ FAILURE_ACTOR_BYTES + 1 }>,
    /// Of an event that came from the crate `log`.
    target: Text<128>,
    file: Text<256>,
    line: u32,
}

impl Fields {
    fn new() -> Self {
        Self {
            message: Text::new(),
            others: Text::new(),
            actor: Text::new(),
            target: Text::new(),
            file: Text::new(),
            line: 0,
        }
    }

    fn take(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // A value that cannot be formatted is left out.
        let _ = match name {
            "message" => self.message.write_fmt(value),
            "path" | "actor" | "actor_path" => self.actor.write_fmt(value),
            "log.target" => self.target.write_fmt(value),
            "log.file" => self.file.write_fmt(value),
            "log.module_path" => Ok(()),
            _ => write!(self.others, " {name}={value}"),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "log.line" => self.line = u32::try_from(value).unwrap_or(0),
            name => self.take(name, format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format_args!("{value:?}"));
    }
}
