//! Lanes with the memory that they stand in, for handles that are kept. Loom models have no such memory.
//!
//! ```
//! use atomscope_layout::lane_memory::LaneMemory;
//! use atomscope_layout::lanes::OVERFLOW;
//! use atomscope_layout::view::WriterMemory;
//! let memory = WriterMemory::private(256).unwrap();
//! let orders = LaneMemory::new(&memory, 0, 2, 16).only(5);
//! orders.lanes().add(OVERFLOW, 0, 3);
//! assert_eq!(memory.reader().load(5), 3);
//! ```

use crate::lanes::Lanes;
use crate::view::WriterMemory;

/// The lanes, or one metric of them, with the memory that they stand in. A handle keeps them, so that each addition need
/// not work out where they start.
#[derive(Debug, Clone)]
pub struct LaneMemory {
    memory: WriterMemory,
    stride: usize,
}

impl LaneMemory {
    /// The lanes that stand in the words `start` to `start + count * stride` of `memory`. If the memory ends before, there
    /// are no lanes, and what is counted is dropped.
    pub fn new(memory: &WriterMemory, start: usize, count: usize, stride: usize) -> Self {
        let memory = memory.part(start..start + count * stride).unwrap_or_else(WriterMemory::none);
        Self { memory, stride }
    }

    /// One metric of the lanes, as metric 0 of the result.
    pub fn only(&self, metric: usize) -> Self {
        // In the last lane it ends with this metric, so that a lane which the region does not have is beyond its end.
        let words = self.memory.words().len();
        let end = words.saturating_sub(self.stride) + metric + 1;
        let memory = if metric < self.stride { self.memory.part(metric..end) } else { None };
        Self { memory: memory.unwrap_or_else(WriterMemory::none), stride: self.stride }
    }

    /// Nothing: what is counted is dropped.
    pub fn none() -> Self {
        Self { memory: WriterMemory::none(), stride: 1 }
    }

    /// The lanes.
    #[inline]
    pub fn lanes(&self) -> Lanes<'_> {
        Lanes::new(self.memory.words(), self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{OVERFLOW, sum};
    use crate::sync::Ordering;
    use crate::words::WORD;

    #[test]
    fn one_metric_of_the_lanes_counts_where_the_whole_section_does() {
        let memory = WriterMemory::private(72 * WORD).unwrap();
        let whole = LaneMemory::new(&memory, 8, 3, 16);
        for metric in [0, 5, 15] {
            let only = whole.only(metric);
            for (lane, n) in [(OVERFLOW, 1), (1, 10), (2, 100)] {
                only.lanes().add(lane, 0, n);
                let word = whole.lanes().word(lane as usize, metric).unwrap();
                assert_eq!(
                    (word.load(Ordering::Relaxed), only.lanes().word(lane as usize, 0).is_some()),
                    (n, true)
                );
            }
            // A lane that the region does not have is none of the next section's words.
            assert!(only.lanes().word(3, 0).is_none() && whole.lanes().word(3, metric).is_none());
            only.lanes().add(3, 0, 1000);
            let section = whole.memory.reader();
            assert_eq!(sum(section, 16, metric), 1111);
        }
        assert!((56..72).all(|word| memory.reader().load(word) == 0));
    }

    #[test]
    fn lanes_that_are_beyond_the_memory_drop_what_is_counted() {
        let memory = WriterMemory::private(31 * WORD).unwrap();
        let none = LaneMemory::new(&memory, 0, 2, 16);
        for lanes in [&none, &none.only(3), &LaneMemory::new(&memory, 0, 1, 16).only(16), &LaneMemory::none()]
        {
            assert!(lanes.lanes().word(0, 0).is_none());
            lanes.lanes().add(1, 0, 1);
            lanes.lanes().set(0, 1);
        }
        assert!((0..31).all(|word| memory.reader().load(word) == 0));
    }
}
