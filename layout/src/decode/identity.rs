//! The identity of the node that made a region, when the region was made, and which of two regions is newer.

use super::clock::Moment;
use crate::error::OpenError;
use crate::names::read_cell;
use crate::records::TimeRecord;
use crate::region::{HeaderRecord, header};
use crate::words::{WORD, Words};

/// The node that made a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// The actor system's name, once one is installed.
    pub system: Option<String>,
    /// Path of the program.
    pub program: String,
    /// Name and version of the probe that wrote the region.
    pub writer: String,
    /// The numbers of the header.
    pub header: HeaderRecord,
    /// The clocks of the node; zeros if unknown.
    pub time: TimeRecord,
}

impl Identity {
    /// Reads the identity from the header of a region. `region` needs only the first [`crate::region::HEADER_BYTES`].
    ///
    /// # Errors
    /// As [`HeaderRecord::read`].
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

    /// When the region was made, by the clocks of the node.
    pub fn created(&self) -> Moment {
        let known = |ns: u64| (ns != 0).then_some(i128::from(ns));
        Moment {
            unix_ns: i128::from(self.header.created_unix_ns),
            mono_ns: known(self.time.created_mono_ns),
            boot_ns: known(self.time.created_boot_ns),
        }
    }

    /// When the region was made, to be compared with other regions.
    pub fn birth(&self) -> Birth {
        let boot_id = (self.header.boot_id != [0, 0]).then_some(self.header.boot_id);
        // By the machine's clock, whatever the time namespace of the node is.
        let offset = i128::from(self.time.mono_offset_ns as i64);
        let mono_ns = self.created().mono_ns.map(|ns| ns - offset).filter(|_| boot_id.is_some());
        Birth { boot_id, mono_ns, unix_ns: self.header.created_unix_ns }
    }
}

/// When a region was made, for comparisons: by the machine's monotonic clock if both regions are of the same boot, else by
/// the wall clock, which may have been set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// The boot, if known.
    boot_id: Option<[u64; 2]>,
    /// Only if the boot is known.
    mono_ns: Option<i128>,
    unix_ns: u64,
}

/// The rank of a region among others: a newer region has a higher rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    is_of_this_boot: bool,
    boot_unix_ns: u64,
    boot_id: Option<[u64; 2]>,
    ns: i128,
}

impl Birth {
    /// Whether this region was made later than `other`.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self.mono_ns, other.mono_ns) {
            (Some(ns), Some(earlier)) if self.boot_id == other.boot_id => ns > earlier,
            _ => self.unix_ns > other.unix_ns,
        }
    }

    /// The rank of each region. Regions of one boot are adjacent. `this_boot` has the highest ranks; other boots are ordered
    /// by their newest region.
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
    /// Reads the record from the header of a region. All fields are 0 (unknown) in a version before 1.2.
    pub fn of(region: Words<'_>) -> Self {
        let mut words = [0u64; size_of::<Self>() / WORD];
        if let Some(from) = region.slice(header::TIME) {
            from.copy_to(&mut words);
        }
        zerocopy::transmute!(words)
    }
}
