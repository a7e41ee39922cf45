//! Raw dumps: a copy of a region and the verdict on its node, in one file that every command reads on any machine.
//!
//! `layout/LAYOUT.md` defines the file under *Raw dumps*.

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

/// A copy of a region, to be written as a raw dump.
#[derive(Debug)]
pub struct RawDump {
    info: DumpInfo,
    words: WriterMemory,
}

impl RawDump {
    /// Copies a region into memory while its node may write to it. The copy of a raw dump keeps the time of that dump. It
    /// takes as much memory as the region has bytes.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let unix_ns = now_unix_ns();
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let words = copy(region.words(), reader.map());
        let at_rest = reader.actor_totals() == totals;
        region.check_intact()?;
        let info = DumpInfo { unix_ns, pid: region.pid(), liveness, at_rest, redacted: false };
        Ok(Self { info: region.dump_info().copied().unwrap_or(info), words })
    }

    /// The same copy with pseudonyms for names, and without any byte that is not part of a record.
    ///
    /// # Errors
    /// The copy is not a readable region.
    pub fn redacted(self, redactor: &Redactor) -> Result<Self, OpenError> {
        let reader = RegionReader::open(self.words.reader())?;
        let words = redactor.region(self.words.reader(), reader.map());
        Ok(Self { info: DumpInfo { redacted: true, ..self.info }, words })
    }

    /// Writes the raw dump: one page about the node, then the region.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        out.write_all(&self.info.page((self.words.words().len() * WORD) as u64))?;
        self.words
            .words()
            .iter()
            .try_for_each(|word| out.write_all(&word.load(Ordering::Relaxed).to_le_bytes()))
    }
}
