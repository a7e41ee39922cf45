//! The live actors counted by their types, without a list of them.
//!
//! Nearly every live actor has one entry in the table and is counted as that is met. Only where a key may have several
//! (its stop waits, it was spawned beside another of its own, something of it is spilled) its entries are kept and added
//! up, as a list adds up all of them.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{ActorList, Found, SPILLED_SLOT, Tally, pass, spilled};
use crate::decode::{Names, RegionReader};
use crate::records::{ACTOR_WORDS, ActorRecord, actor_flags, live};
use crate::table::{Key, Sign};

/// Numbers of names beyond this are told apart by the name: a hostile region may hold any.
const MOST_IDS: usize = 1 << 16;

/// The live actors of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The name of the type.
    pub actor_type: String,
    /// How many there are.
    pub actors: u64,
    /// Messages in their mailboxes; `None` where no depth is known.
    pub waiting: Option<u64>,
    /// Those in the fullest of them.
    pub deepest: Option<u64>,
    /// When the oldest of them was spawned, in UTC nanoseconds since 1970.
    pub oldest_unix_ns: Option<i128>,
}

/// The live actors, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// How many there are, and how sure that is.
    pub tally: Tally,
    /// The types: those with most messages waiting first, then those of most actors.
    pub classes: Vec<Class>,
    /// That of [`ActorList::mark`].
    pub mark: u64,
}
