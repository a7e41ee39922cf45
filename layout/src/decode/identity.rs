//! Who made a region and when, and which of two regions is the newer one.

use super::clock::Moment;
use crate::error::OpenError;
use crate::names::read_cell;
use crate::records::TimeRecord;
use crate::region::{HeaderRecord, header};
use crate::words::{WORD, Words};

/// Who made a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// The actor system's name, once one is installed.
    pub system: Option<String>,
    /// Path of the program.
    pub program: String,
    /// Version of the probe that wrote it.
    pub writer: String,
    /// The fixed part.
    pub header: HeaderRecord,
    /// In which clocks the node's times are; zeros where it does not say.
    pub time: TimeRecord,
}

impl Identity {
    /// Reads who made a region from its header, of which no more than [`crate::region::HEADER_BYTES`] need be there.
    pub fn read(region: Words<'_>) -> Result<Self, OpenError> {
        HeaderRecord::read(region).map(|header| Self::of(region, header))
    }

    pub(super) fn of(region: Words<'_>, header: HeaderRecord) -> Self {
        let text = |range| region.slice(range).and_then(read_cell);
        Self {
            node: text(header::NODE).unwrap_or_default(),
            system: text(header::SYSTEM),
            program: text(header::PROGRAM).unwrap_or_default(),
            writer: text(header::WRITER).unwrap_or_default(),
            header,
            time: TimeRecord::of(region),
        }
    }

    /// When the region was made, by the node's clocks.
    pub fn created(&self) -> Moment {
        let known = |ns: u64| (ns != 0).then_some(i128::from(ns));
        Moment {
            unix_ns: i128::from(self.header.created_unix_ns),
            mono_ns: known(self.time.created_mono_ns),
            boot_ns: known(self.time.created_boot_ns),
        }
    }

    /// The same, to be compared with that of other regions.
    pub fn birth(&self) -> Birth {
        let boot_id = (self.header.boot_id != [0, 0]).then_some(self.header.boot_id);
        // Of the machine, whatever the node's time namespace shows.
        let offset = i128::from(self.time.mono_offset_ns as i64);
        let mono_ns = self.created().mono_ns.map(|ns| ns - offset).filter(|_| boot_id.is_some());
        Birth { boot_id, mono_ns, unix_ns: self.header.created_unix_ns }
    }
}

/// When a region was made, for comparing it with others: by the machine's monotonic clock where both were made since the
/// same boot, else by the wall clock, which may have been set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Which boot, where that is known.
    boot_id: Option<[u64; 2]>,
    /// Where the boot is known.
    mono_ns: Option<i128>,
    unix_ns: u64,
}

/// The place of a region among others: more of what was made later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    is_of_this_boot: bool,
    boot_unix_ns: u64,
    boot_id: Option<[u64; 2]>,
    ns: i128,
}

impl Birth {
    /// Whether it was later than `other`.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self.mono_ns, other.mono_ns) {
            (Some(ns), Some(earlier)) if self.boot_id == other.boot_id => ns > earlier,
            _ => self.unix_ns > other.unix_ns,
        }
    }

    /// The rank of each of these. Regions of one boot stand together, those of `this_boot` last; other boots come by their
    /// newest region.
    pub fn ranks(all: &[Self], this_boot: Option<[u64; 2]>) -> Vec<Rank> {
        let rank = |birth: &Self| {
            let with = |other: &&Self| birth.boot_id.is_some() && other.boot_id == birth.boot_id;
            let is_known = birth.mono_ns.is_some() && all.iter().filter(with).all(|of| of.mono_ns.is_some());
            Rank {
                is_of_this_boot: birth.boot_id.is_some() && birth.boot_id == this_boot,
                boot_unix_ns: all.iter().filter(with).map(|of| of.unix_ns).max().unwrap_or(birth.unix_ns),
                boot_id: birth.boot_id,
                ns: birth.mono_ns.filter(|_| is_known).unwrap_or(i128::from(birth.unix_ns)),
            }
        };
        all.iter().map(rank).collect()
    }
}

impl TimeRecord {
    /// Reads it from a region's header; zeros, which say nothing, in one that is older.
    pub fn of(region: Words<'_>) -> Self {
        let mut words = [0u64; size_of::<Self>() / WORD];
        if let Some(from) = region.slice(header::TIME) {
            from.copy_to(&mut words);
        }
        zerocopy::transmute!(words)
    }
}
