//! One command a file.

mod doctor;
mod help;
mod prune;
mod raw;
mod show;
mod stat;
mod subsystems;
mod tail;
mod times;
