//! The mappings of a process, in the order of their addresses.

use std::fs;
use std::io;
use std::ops::Range;

/// Limit of the mappings that are kept.
const MOST_MAPPINGS: usize = 1 << 16;

/// How far the main thread's stack may have grown since its mapping was read.
const MOST_GROWTH: u64 = 8 << 20;

/// A mapping of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub range: Range<u64>,
    pub is_readable: bool,
    pub is_executable: bool,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file's device as the line has it, and its inode.
    pub file: (Vec<u8>, u64),
    /// The path as the kernel shows it, a name in brackets, or nothing.
    pub path: Vec<u8>,
}

impl Mapping {
    /// Parses a line of the form `address perms offset device inode path`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let length = rest[start..].iter().position(|byte| *byte == b' ').unwrap_or(rest.len() - start);
            let (text, after) = (&rest[start..start + length], &rest[start + length..]);
            rest = after;
            Some(text)
        };
        let (addresses, permissions, offset, device, inode) =
            (field()?, field()?, field()?, field()?, field()?);
        let (start, end) = std::str::from_utf8(addresses).ok()?.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let range = hex(start)?..hex(end)?;
        (range.start < range.end).then_some(())?;
        Some(Self {
            range,
            is_readable: permissions.first() == Some(&b'r'),
            is_executable: permissions.get(2) == Some(&b'x'),
            offset: hex(std::str::from_utf8(offset).ok()?)?,
            file: (device.to_vec(), std::str::from_utf8(inode).ok()?.parse().ok()?),
            path: rest.trim_ascii_start().to_vec(),
        })
    }
}

/// The mappings of a process.
#[derive(Debug, Default)]
pub(crate) struct Mappings(pub Vec<Mapping>);

impl Mappings {
    /// # Errors
    /// The process has ended, or this program may not read its mappings.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read(format!("/proc/{pid}/maps"))?))
    }

    fn parse(maps: &[u8]) -> Self {
        let lines = maps.split(|byte| *byte == b'\n').filter_map(Mapping::parse);
        Self(lines.take(MOST_MAPPINGS).collect())
    }

    fn at(&self, address: u64) -> Option<&Mapping> {
        let after = self.0.partition_point(|mapping| mapping.range.start <= address);
        let mapping = self.0.get(after.checked_sub(1)?)?;
        mapping.range.contains(&address).then_some(mapping)
    }

    /// Whether there is code at an address.
    pub fn is_code(&self, address: u64) -> bool {
        self.at(address).is_some_and(|mapping| mapping.is_executable)
    }

    /// The end of the stack with this stack pointer.
    pub fn stack_end(&self, stack_pointer: u64) -> Option<u64> {
        let grown = || {
            let at = self.0.partition_point(|mapping| mapping.range.start <= stack_pointer);
            self.0
                .get(at)
                .filter(|next| next.path == b"[stack]" && next.range.start - stack_pointer <= MOST_GROWTH)
        };
        self.at(stack_pointer).or_else(grown).map(|mapping| mapping.range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"1000-2000 r--p 00000000 fe:00 7                          /a b (deleted)\n\
        2000-3000 r-xp 00001000 fe:00 7                          /a b (deleted)\n\
        5000-6000 rw-p 00000000 00:00 0 \n\
        3000-2000 rw-p 00000000 00:00 0\n\
        nonsense\n\
        9000000-9001000 rw-p 00000000 00:00 0                    [stack]\n";

    #[test]
    fn mappings_are_found_by_address() {
        let maps = Mappings::parse(MAPS);
        assert_eq!(maps.0.len(), 4);
        assert_eq!((maps.0[1].offset, maps.0[1].path.as_slice()), (0x1000, &b"/a b (deleted)"[..]));
        assert_eq!(maps.0[0].file, (b"fe:00".to_vec(), 7));
        let code: Vec<_> = [0xfff, 0x1000, 0x2000, 0x2fff, 0x3000].map(|at| maps.is_code(at)).into();
        assert_eq!(code, [false, false, true, true, false]);
    }

    #[test]
    fn a_stack_ends_with_its_mapping_also_if_it_has_grown() {
        let maps = Mappings::parse(MAPS);
        assert_eq!(maps.stack_end(0x5800), Some(0x6000));
        assert_eq!(maps.stack_end(0x8ff_f000), Some(0x900_1000));
        assert_eq!(maps.stack_end(0x6000), None, "too far from the stack");
        assert_eq!(maps.stack_end(0xa00_0000), None);
    }
}
