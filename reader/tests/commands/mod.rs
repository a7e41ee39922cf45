//! One command a file.

mod ascii;
mod doctor;
mod help;
mod prune;
mod raw;
mod show;
mod stat;
mod subsystems;
mod tail;
mod times;
