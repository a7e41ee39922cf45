//! Raw dumps: a region as it was, with what was known of its node, in one file that is read on any machine on any day.
//!
//! What the file holds stands in `layout/LAYOUT.md`, under *Raw dumps*.

pub(crate) mod copy;
pub mod header;

use std::io::{self, Write};

use atomscope_layout::OpenError;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::sync::Ordering;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::WORD;

use self::copy::copy;
pub use self::header::DumpInfo;
use crate::attach::{AttachError, Region};
use crate::redact::Redactor;
use crate::time::now_unix_ns;

/// A copy of a region.
#[derive(Debug)]
pub struct RawDump {
    taken: DumpInfo,
    words: WriterMemory,
}

impl RawDump {
    /// Copies a region. A dump's copy stays the dump that it is, of the same time.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let unix_ns = now_unix_ns();
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let words = copy(region.words(), reader.map());
        let at_rest = reader.actor_totals() == totals;
        region.still_whole()?;
        let taken = DumpInfo { unix_ns, pid: region.pid(), liveness, at_rest, redacted: false };
        Ok(Self { taken: region.dumped().copied().unwrap_or(taken), words })
    }

    /// The same with names replaced and whatever is no record left out.
    pub fn redacted(self, redactor: &Redactor) -> Result<Self, OpenError> {
        let reader = RegionReader::open(self.words.reader())?;
        let words = redactor.region(self.words.reader(), reader.map());
        Ok(Self { taken: DumpInfo { redacted: true, ..self.taken }, words })
    }

    /// Writes the file.
    pub fn write(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        out.write_all(&self.taken.page((self.words.words().len() * WORD) as u64))?;
        self.words
            .words()
            .iter()
            .try_for_each(|word| out.write_all(&word.load(Ordering::Relaxed).to_le_bytes()))
    }
}
