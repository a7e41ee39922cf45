//! Messages to the screen and commands to the collector.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::report::nodes::NodeRow;
use crossterm::event::Event as Input;

use crate::program::top::tick::{EventRow, Tick};

/// What the screen asks the collector to do.
#[derive(Debug)]
pub enum Command {
    /// Look at this node from now on, or at none. The number is that of what is told of it.
    Watch(u64, Option<Box<RegionSummary>>),
    /// Look that often.
    Every(Duration),
    /// Look at once.
    Now,
    /// Whether to list the nodes of this machine with each look.
    Nodes(bool),
    /// Whether to list the actors with each look, however many there are.
    Actors(bool),
    /// Write what is there now, or what was at that tick, to a file.
    Save(PathBuf, Option<Arc<Tick>>),
}

/// What the collector and the key reader send to the screen.
#[derive(Debug)]
pub enum Message {
    /// Something of the terminal.
    Input(Input),
    /// Nothing more can come of the terminal.
    InputClosed,
    /// A look at the node of this number, and what has happened since the one before.
    Tick(u64, Box<Tick>, Vec<EventRow>),
    /// The node of this number cannot be looked at any more, or not at all.
    Lost(u64, String),
    /// The nodes of this machine, and what is said of those that are not listed; or why they are not known.
    Nodes(Result<(Vec<NodeRow>, Vec<String>), String>),
    /// A node of the same name that was made later than the one of this number, which has ended.
    Successor(u64, Box<RegionSummary>),
    /// What was written, or why not.
    Saved(Result<String, String>),
}
