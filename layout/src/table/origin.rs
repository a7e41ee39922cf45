//! Which actor a waiting stop may belong to.

/// The origin of a stop that found no spawn: which actor it may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOrigin {
    /// An actor whose spawn was reported, or will be in a moment.
    Awaited,
    /// Unknown: an actor as for [`Self::Awaited`], or one that is older than the hooks.
    Unknown,
    /// An actor older than the hooks: its spawn would have been reported by now.
    Outlived,
    /// An actor older than the hooks, unless its spawn was reported while the hooks were being installed.
    Older,
}

impl StopOrigin {
    pub(super) const ALL: [Self; 4] = [Self::Awaited, Self::Unknown, Self::Outlived, Self::Older];

    /// Whether the stop may belong to a spawn in the table.
    pub fn may_match_spawn(self) -> bool {
        matches!(self, Self::Awaited | Self::Unknown)
    }
}
