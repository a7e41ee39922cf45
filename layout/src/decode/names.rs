//! Texts of a region: interned names, and those that stand in a record.

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;

use super::reader::RegionReader;
use crate::names::read_name;

/// Names that were looked up before, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<Option<String>>);

/// What stands for a name that the region does not hold.
const NO_NAME: &str = "?";

impl Names {
    /// The name, looked up unless it was before.
    pub(super) fn look_up(&mut self, reader: &RegionReader<'_>, id: u32) -> &str {
        let (at, names) = (id as usize, reader.map.names);
        if at <= names.count && self.0.get(at).is_none_or(Option::is_none) {
            self.0.resize(self.0.len().max(at + 1), None);
            self.0[at] = read_name(reader.section(names), names.stride, id);
        }
        self.get(id)
    }

    /// A mark to which is added what names were found.
    pub(super) fn marked(&self, mut mark: DefaultHasher) -> u64 {
        self.0.hash(&mut mark);
        mark.finish()
    }

    /// The name, or `?` where the region held none of that number.
    pub(super) fn get(&self, id: u32) -> &str {
        self.0.get(id as usize).and_then(Option::as_deref).unwrap_or(NO_NAME)
    }
}

/// Takes one text after the other off the front of a record's text.
#[derive(Debug)]
pub struct Texts<'a>(pub &'a [u8]);

impl<'a> Texts<'a> {
    /// The next one, if there are as many bytes and they are one.
    pub fn take(&mut self, bytes: u16) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(bytes as usize)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}
