//! One file for each command or idea.

mod actors;
mod ascii;
mod doctor;
mod dump;
mod export;
mod failures;
mod groups;
mod help;
mod hostile;
mod hot;
mod instruments;
mod letters;
mod prune;
mod ps;
mod raw;
mod show;
mod stat;
mod subsystems;
mod tail;
mod threads;
mod times;
mod who;
