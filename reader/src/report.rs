//! Facts worked out for people: what the program, its screen and other programs show of nodes.

pub mod actors;
pub mod events;
pub mod findings;
pub mod human;
pub mod list;
pub mod nodes;
pub mod rates;
pub mod subsystems;
pub mod usage;
