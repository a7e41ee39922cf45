//! Texts of a region: interned names, and the texts inside a record.

use core::hash::{BuildHasher as _, BuildHasherDefault};
use std::hash::DefaultHasher;

use super::reader::RegionReader;
use super::scan::Mark;
use crate::names::{NO_NAME, read_name};

/// A cache of interned names, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<Option<String>>);

impl Names {
    /// The name with this number, from the cache or else from the region.
    pub(super) fn look_up(&mut self, reader: &RegionReader<'_>, id: u32) -> &str {
        let (at, names) = (id as usize, reader.map.names);
        if at <= names.count && self.0.get(at).is_none_or(Option::is_none) {
            self.0.resize(self.0.len().max(at + 1), None);
            self.0[at] = read_name(reader.section(names), names.stride, id);
        }
        self.get(id)
    }

    /// Replaces each cached name by `name` of it.
    pub(super) fn rename(&mut self, name: impl Fn(&str) -> String) {
        self.0.iter_mut().flatten().for_each(|text| *text = name(text));
    }

    /// Adds the cached names to a mark.
    pub(super) fn marked(&self, mut mark: Mark) -> u64 {
        mark.add(BuildHasherDefault::<DefaultHasher>::default().hash_one(&self.0));
        mark.value()
    }

    /// The name with this number, or `?` if it is not in the cache.
    pub(super) fn get(&self, id: u32) -> &str {
        self.0.get(id as usize).and_then(Option::as_deref).unwrap_or(NO_NAME)
    }
}

impl RegionReader<'_> {
    /// Whether a name is this text. A text that found no room is no name. Reads all names.
    pub fn has_name(&self, text: &str) -> bool {
        let (section, names) = (self.section(self.map.names), self.map.names);
        let last = u32::try_from(names.count).unwrap_or(u32::MAX);
        (1..=last).any(|id| read_name(section, names.stride, id).is_some_and(|name| name == text))
    }
}

/// Splits the text of a record into its texts, one after the other.
#[derive(Debug)]
pub struct Texts<'a>(pub &'a [u8]);

impl<'a> Texts<'a> {
    /// The next text, of this many bytes; `None` if there are fewer bytes, or they are not UTF-8.
    pub fn take(&mut self, bytes: u16) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(bytes as usize)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}
