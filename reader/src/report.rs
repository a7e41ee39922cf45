//! Facts for people, computed from snapshots and regions: rows, rates, findings and sentences that the program, its screen
//! and other programs show.

pub mod actors;
pub mod events;
pub mod findings;
pub mod groups;
pub mod hot;
pub mod human;
pub mod instruments;
pub mod letters;
pub mod list;
pub mod nodes;
pub mod rates;
pub mod records;
pub mod series;
pub mod subsystems;
pub mod tone;
pub mod usage;
pub mod worst;
