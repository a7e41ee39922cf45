//! How much attention a text needs. Each output has its own colours for that.

use crate::liveness::{Liveness, Verdict};

/// How much attention a text needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// An ordinary text.
    Plain,
    /// All is well.
    Good,
    /// Important.
    Strong,
    /// Unusual.
    Odd,
    /// Something is wrong.
    Bad,
}

impl Tone {
    /// The tone of a verdict.
    pub fn of(liveness: &Liveness) -> Self {
        match liveness.verdict {
            Verdict::Live if liveness.notes.is_empty() => Self::Good,
            Verdict::Crashed | Verdict::Failed | Verdict::Wedged(_) => Self::Bad,
            Verdict::Live
            | Verdict::NotReady { .. }
            | Verdict::Starting
            | Verdict::Stopping
            | Verdict::Closed => Self::Odd,
        }
    }
}
