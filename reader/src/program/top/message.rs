//! Messages to the screen and commands to the collector.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::report::nodes::NodeRow;
use crossterm::event::Event as Input;

use crate::program::top::tick::{EventRow, Tick, Wanted};

/// The screen asks the collector for something.
///
/// Each opened node has a number, counted by the screen. Messages carry it, so that the screen can ignore those of a node
/// that it has left.
#[derive(Debug)]
pub enum Command {
    /// Read this node from now on, or none.
    Watch(u64, Option<Box<RegionSummary>>),
    /// Read the node at this interval.
    Every(Duration),
    /// Read the node at once.
    Now,
    /// List the nodes of this machine with each tick, or stop that.
    Nodes(bool),
    /// Read this with each tick from now on.
    Want(Wanted),
    /// Write the current state of the node, or that of a tick, to a file.
    Save(PathBuf, Option<Arc<Tick>>),
}

/// The collector or the key reader has something for the screen.
#[derive(Debug)]
pub enum Message {
    /// A key, or a resize of the terminal.
    Input(Input),
    /// The terminal is closed.
    InputClosed,
    /// A tick of the node with this number, and the events since the tick before.
    Tick(u64, Box<Tick>, Vec<EventRow>),
    /// The node with this number cannot be read any more, or at all.
    Lost(u64, String),
    /// The nodes of this machine and notes about those that cannot be listed; or why they cannot be searched.
    Nodes(Result<(Vec<NodeRow>, Vec<String>), String>),
    /// The node with this number has ended, and this newer node has the same name.
    Successor(u64, Box<RegionSummary>),
    /// The file that was written, or why it could not be written.
    Saved(Result<String, String>),
}
