//! The handle of a region, and its closing.

use std::path::Path;
use std::sync::Arc;

use atomscope_layout::attached::Attachment;
use atomscope_layout::region::State;

use crate::ending::Cause;
use crate::environment::turned_off;
use crate::writer::RegionWriter;
use crate::{panics, process, sampler};

/// A handle of a region of this process. Metrics are registered and the region is closed through it.
///
/// Cloning costs two reference counts. The drop of the last clone closes the region.
///
/// Do not record in a signal handler. A program that closes all its descriptors must do so before it makes a region; the
/// documentation of the crate says why.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("importer").actors(100).private().build()?;
/// region.counter("rows.read", "rows", "Rows that the importer has read").add(1);
/// region.stopping();
/// region.close();
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Region {
    pub(crate) writer: Arc<RegionWriter>,
    /// None in the handles of the probe's own threads and wrappers, which do not keep the region open.
    #[expect(dead_code, reason = "kept for its drop")]
    closer: Option<Arc<Closer>>,
}

/// Closes the region when the last handle is dropped.
#[derive(Debug)]
struct Closer(Arc<RegionWriter>);

impl Drop for Closer {
    fn drop(&mut self) {
        process::close(&self.0, Cause::Drop { panics: std::thread::panicking() });
    }
}

impl Region {
    pub(super) fn of(writer: Arc<RegionWriter>) -> Self {
        Self { closer: Some(Arc::new(Closer(writer.clone()))), writer }
    }

    /// Publishes a region, which has a heartbeat from now on.
    pub(super) fn start(writer: RegionWriter) -> Self {
        let region = Self::of(Arc::new(writer));
        let writer = &region.writer;
        if !turned_off() {
            #[cfg(feature = "tracing-layer")]
            crate::failure_layer::attach(writer);
            if writer.panics && panics::hook() {
                writer.attached(Attachment::PanicHook);
            }
            sampler::open(writer);
        }
        // An extension goes back to *starting* until it is installed. A program without one has nothing to wait for.
        writer.header().set_state(State::Running);
        writer.header().publish();
        if !turned_off() {
            writer.sample();
        }
        region
    }

    /// A handle that does not keep the region open: for the probe's threads, and for wrappers that a component keeps.
    #[allow(dead_code, reason = "used by components, which depend on the features")]
    pub(crate) fn not_held(&self) -> Self {
        Self { writer: self.writer.clone(), closer: None }
    }

    /// The file of the region, or `None` if it is private. No cost.
    pub fn path(&self) -> Option<&Path> {
        self.writer.file()
    }

    /// The size of the region in bytes. No cost.
    pub fn bytes(&self) -> usize {
        self.writer.map().region_bytes
    }

    /// Goes back from *running* to *starting*, until an actor system is installed.
    #[cfg(feature = "atomr")]
    pub(crate) fn awaits_system(&self) {
        if self.writer.system.get().is_none() {
            self.writer.header().await_system();
            // Another thread may have installed one meanwhile, and nobody would set the state again.
            if self.writer.system.get().is_some() {
                self.writer.header().set_state(State::Running);
            }
        }
    }

    /// Sets the name of the actor system and the state *running*. Returns false, and changes nothing, if it was called
    /// before. [`crate::TelemetryExtension`] calls it during its installation. A program without an actor system needs no such
    /// call: a region is running from the start. A few stores.
    pub fn running(&self, system: &str) -> bool {
        let first = self.writer.system.set(system.into()).is_ok();
        if first {
            self.writer.header().set_system(system);
            self.writer.header().set_state(State::Running);
        }
        first
    }

    /// Sets the state *stopping*: readers then know that an end is intended. One store.
    pub fn stopping(&self) {
        self.writer.header().set_state(State::Stopping);
    }

    /// Closes the region: its state becomes *closed*, a segment's name is removed, and the lock is released, so that
    /// another region may use the same file. Call it where telemetry is no longer wanted, whatever the process does later.
    ///
    /// All this is done when the call returns, even if another thread began it; the call waits one second for that thread
    /// at most. Otherwise it takes some microseconds. Later records are lost. The drop of the last handle and the
    /// process's exit close the region too, but then the segment stays until the process ends, and after that if it ends
    /// with another exit code than 0. A drop by a thread that panics keeps the segment in any case.
    pub fn close(&self) {
        process::close(&self.writer, Cause::Request);
    }
}
