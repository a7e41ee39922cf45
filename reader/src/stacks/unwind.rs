//! From a copied stack to the addresses of its frames.
//!
//! Of a thread that sleeps the frame pointer is unknown. Code without frame pointers does not need it. Where a function does,
//! its place is guessed: each word of the stack that follows a call could be its return address, and the deepest stack that
//! ends where a thread begins is taken. A call that is known to lead to another function is no candidate, and one that is
//! known to lead to this function comes before the depth.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{Error, ExplicitModuleSectionInfo, FrameAddress, Unwinder as _};

use super::copy::StackCopy;
use super::maps::Mappings;
use super::modules::Modules;
use crate::system::read_memory;

/// Limit of the frames of a stack.
const MOST_FRAMES: usize = 512;
/// Limit of the words that are tried as a return address.
const MOST_CANDIDATES: usize = 1024;
/// Limit of the pages of code that are kept.
const MOST_PAGES: usize = 4096;
const PAGE_BYTES: u64 = 4096;
/// Limit of the functions that are searched for a jump to another one.
const MOST_JUMPS: usize = 16;
/// Limit of the code of such a function.
const MOST_BODY_BYTES: u64 = 64 << 10;

/// Stands for a frame pointer that is unknown: no process has memory there.
const UNKNOWN: u64 = 1 << 62;
/// How far from it an address still shows that the frame pointer was needed.
const NEAR: u64 = 1 << 32;

/// A frame: where a thread is, or where it goes on after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnwoundFrame {
    /// The address in the process.
    pub address: u64,
    /// An address inside of the call, by which its line is found.
    pub lookup: u64,
}

/// An unwound stack, innermost frame first.
#[derive(Debug, Default)]
pub(crate) struct Unwound {
    pub frames: Vec<UnwoundFrame>,
    /// The first frame whose place was guessed.
    pub guessed_from: Option<usize>,
    /// Whether it reaches the function in which the thread began.
    pub is_whole: bool,
}

/// How a walk ended.
enum End {
    Whole,
    Broken,
    /// The caller of the last frame cannot be found without the frame pointer.
    Unknown(UnwindRegsX86_64),
}

/// Where a call leads, the best evidence last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    /// To another function, which does not jump on to this one.
    Elsewhere,
    /// That is known only while the program runs.
    Unknown,
    /// To this function, or to one that jumps on to it.
    Here,
}

pub(crate) struct Unwinder<'a> {
    pid: u32,
    maps: &'a Mappings,
    modules: &'a Modules,
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
    /// Pages of code, or `None` where there is none.
    pages: HashMap<u64, Option<Vec<u8>>>,
    /// Whether the first function jumps on to the second one.
    jumps: HashMap<(u64, u64), Call>,
}

impl<'a> Unwinder<'a> {
    pub fn new(pid: u32, maps: &'a Mappings, modules: &'a Modules) -> Self {
        let mut unwinder = UnwinderX86_64::new();
        for module in &modules.0 {
            let Some(cfi) = &module.cfi else { continue };
            let range = |(at, bytes): &(u64, Arc<[u8]>)| *at..at.saturating_add(bytes.len() as u64);
            let sections = ExplicitModuleSectionInfo {
                eh_frame_svma: Some(range(&cfi.frames)),
                eh_frame: Some(cfi.frames.1.clone()),
                eh_frame_hdr_svma: cfi.index.as_ref().map(range),
                eh_frame_hdr: cfi.index.as_ref().map(|(_, bytes)| bytes.clone()),
                ..ExplicitModuleSectionInfo::default()
            };
            let (name, range) = (module.name.clone(), module.range.clone());
            unwinder.add_module(framehop::Module::new(name, range, module.bias, sections));
        }
        Self {
            pid,
            maps,
            modules,
            unwinder,
            cache: CacheX86_64::new(),
            pages: HashMap::new(),
            jumps: HashMap::new(),
        }
    }

    pub fn unwind(&mut self, copy: &StackCopy) -> Unwound {
        let first = FrameAddress::from_instruction_pointer(copy.program_counter);
        let frame_pointer = copy.frame_pointer.unwrap_or(UNKNOWN);
        let registers = UnwindRegsX86_64::new(copy.program_counter, copy.stack_pointer, frame_pointer);
        let mut frames = vec![first];
        let end = self.walk(copy, &mut frames, registers);
        let mut unwound = Unwound { is_whole: matches!(end, End::Whole), ..Unwound::default() };
        if let End::Unknown(registers) = end {
            let known = frames.len();
            if let Some((rest, is_whole)) = frames.last().and_then(|last| self.guess(copy, *last, registers))
            {
                frames.extend(rest);
                unwound.guessed_from = Some(known);
                unwound.is_whole = is_whole;
            }
        }
        let frame = |frame: FrameAddress| UnwoundFrame {
            address: frame.address(),
            lookup: frame.address_for_lookup(),
        };
        unwound.frames = frames.into_iter().map(frame).collect();
        unwound
    }

    /// Adds the callers of the last frame.
    fn walk(
        &mut self,
        copy: &StackCopy,
        frames: &mut Vec<FrameAddress>,
        mut registers: UnwindRegsX86_64,
    ) -> End {
        let Some(mut frame) = frames.last().copied() else { return End::Broken };
        let needs_unknown = Cell::new(false);
        let mut read = |address: u64| {
            needs_unknown.set(needs_unknown.get() || address.abs_diff(UNKNOWN) < NEAR);
            copy.word(address).ok_or(())
        };
        while frames.len() < MOST_FRAMES {
            let before = registers;
            match self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, &mut read) {
                Ok(None) | Err(Error::ReturnAddressIsNull) => return End::Whole,
                Ok(Some(0)) => return End::Whole,
                Ok(Some(address)) => {
                    let has_moved = registers.sp() > before.sp();
                    let Some(next) = FrameAddress::from_return_address(address) else { return End::Whole };
                    if !has_moved || !self.maps.is_code(address) {
                        return End::Broken;
                    }
                    frames.push(next);
                    frame = next;
                }
                Err(_) if needs_unknown.get() => return End::Unknown(before),
                Err(_) => return End::Broken,
            }
        }
        End::Broken
    }

    /// The callers of `frame`, whose frame pointer is unknown, and whether they reach the end.
    fn guess(
        &mut self,
        copy: &StackCopy,
        frame: FrameAddress,
        registers: UnwindRegsX86_64,
    ) -> Option<(Vec<FrameAddress>, bool)> {
        let start = self.function(frame.address_for_lookup()).map(|function| function.start);
        let mut best: Option<((bool, Call, usize), Vec<FrameAddress>)> = None;
        let mut tried = 0;
        let mut place = registers.sp().next_multiple_of(8);
        while tried < MOST_CANDIDATES && place.saturating_add(16) <= copy.end() {
            let (frame_pointer, saved) = (place, copy.word(place + 8));
            place += 8;
            let Some(address) = saved.filter(|address| self.maps.is_code(*address)) else { continue };
            let call = self.call(address, start);
            let Some(call) = call.filter(|call| *call != Call::Elsewhere) else { continue };
            tried += 1;
            let registers = UnwindRegsX86_64::new(registers.ip(), registers.sp(), frame_pointer);
            let mut frames = vec![frame];
            let is_whole = matches!(self.walk(copy, &mut frames, registers), End::Whole);
            // The word must be where the function has its return address.
            if frames.get(1).is_none_or(|caller| caller.address() != address) {
                continue;
            }
            // Without an end only a call of this function is evidence.
            if !is_whole && call != Call::Here {
                continue;
            }
            let rank = (is_whole, call, frames.len());
            if best.as_ref().is_none_or(|(known, _)| *known < rank) {
                best = Some((rank, frames));
            }
        }
        let ((is_whole, _, _), mut frames) = best?;
        frames.remove(0);
        Some((frames, is_whole))
    }

    /// The function at an address.
    fn function(&self, address: u64) -> Option<Range<u64>> {
        let (_, module) = self.modules.at(address)?;
        let function = module.cfi.as_ref()?.function(address.wrapping_sub(module.bias))?;
        Some(function.start.wrapping_add(module.bias)..function.end.wrapping_add(module.bias))
    }

    /// What the instruction before a return address calls; `None` if it is no call. `function` is the start of the function
    /// that was called, if the return address is its caller's.
    fn call(&mut self, address: u64, function: Option<u64>) -> Option<Call> {
        let Some(bytes) = self.code(address.checked_sub(7)?) else { return Some(Call::Unknown) };
        let distance = |bytes| i64::from(i32::from_le_bytes(bytes));
        let target = match bytes {
            // call rel32
            [_, _, 0xe8, a, b, c, d] => Some(address.wrapping_add_signed(distance([a, b, c, d]))),
            // call [rip + disp32]: the address is in the table of imported functions.
            [_, 0xff, 0x15, a, b, c, d] => self.pointer(address.wrapping_add_signed(distance([a, b, c, d]))),
            // Calls of a register or of memory, by the length of the instruction.
            [.., 0xff, 0xd0..=0xd7]
            | [.., 0xff, 0x10..=0x13 | 0x16 | 0x17]
            | [.., 0xff, 0x50..=0x53 | 0x55..=0x57, _]
            | [.., 0xff, 0x14, _]
            | [.., 0xff, 0x54, _, _]
            | [_, 0xff, 0x90..=0x93 | 0x95..=0x97, _, _, _, _]
            | [0xff, 0x14 | 0x94, _, _, _, _, _] => None,
            _ => return None,
        };
        let (Some(target), Some(function)) = (target, function) else { return Some(Call::Unknown) };
        Some(match target == function {
            true => Call::Here,
            false => self.jump(target, function),
        })
    }

    /// Whether the function at `from` jumps on to the one at `to`, directly or through others, instead of returning.
    fn jump(&mut self, from: u64, to: u64) -> Call {
        if let Some(known) = self.jumps.get(&(from, to)) {
            return *known;
        }
        let (mut seen, mut next) = (HashSet::new(), vec![from]);
        let mut found = Call::Elsewhere;
        while let Some(from) = next.pop() {
            if seen.len() >= MOST_JUMPS {
                found = found.max(Call::Unknown);
                break;
            }
            if !seen.insert(from) {
                continue;
            }
            // A stub of the linker is in no function, and may jump anywhere.
            let function = self.function(from).filter(|function| function.start == from);
            let code = function.clone().and_then(|function| Some((self.body(&function)?, function)));
            let Some((code, function)) = code else {
                found = found.max(Call::Unknown);
                continue;
            };
            for (at, bytes) in code.windows(6).enumerate() {
                let after = |length: u64| function.start.wrapping_add(at as u64).wrapping_add(length);
                let target =
                    |length, bytes| after(length).wrapping_add_signed(i64::from(i32::from_le_bytes(bytes)));
                let target = match *bytes {
                    [0xe9, a, b, c, d, _] => Some(target(5, [a, b, c, d])),
                    [0x0f, 0x80..=0x8f, a, b, c, d] => Some(target(6, [a, b, c, d])),
                    [0xff, 0x25, a, b, c, d] => self.pointer(target(6, [a, b, c, d])),
                    // A jump to a register's address, unless it is one of a `match`.
                    [0xff, 0xe0..=0xe7, ..] => {
                        found = found.max(Call::Unknown);
                        None
                    }
                    _ => None,
                };
                let Some(target) = target.filter(|target| !function.contains(target)) else { continue };
                // The cold part of a function may be jumped into at any place.
                match self.function(target) {
                    Some(other) if other.start == to => found = Call::Here,
                    Some(other) if other.start == target => next.push(target),
                    _ => {}
                }
            }
            if found == Call::Here {
                break;
            }
        }
        if self.jumps.len() >= MOST_PAGES {
            self.jumps.clear();
        }
        self.jumps.insert((from, to), found);
        found
    }

    /// The code of a function; `None` if it cannot be read, or is too long.
    fn body(&self, function: &Range<u64>) -> Option<Vec<u8>> {
        let length = function.end.checked_sub(function.start).filter(|length| *length <= MOST_BODY_BYTES)?;
        // Six bytes more, so that each instruction has a whole window.
        let mut code = vec![0; usize::try_from(length).ok()? + 6];
        let read = read_memory(self.pid, function.start, &mut code).ok()?;
        (read as u64 >= length).then_some(code)
    }

    fn pointer(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        let read = read_memory(self.pid, address, &mut bytes).ok()?;
        (read == bytes.len()).then(|| u64::from_le_bytes(bytes))
    }

    /// Seven bytes of code; `None` if they cannot be read.
    fn code(&mut self, address: u64) -> Option<[u8; 7]> {
        let mut bytes = [0; 7];
        for (nth, byte) in bytes.iter_mut().enumerate() {
            let at = address.checked_add(nth as u64)?;
            let page = at / PAGE_BYTES * PAGE_BYTES;
            if !self.pages.contains_key(&page) {
                if self.pages.len() >= MOST_PAGES {
                    self.pages.clear();
                }
                let mut code = vec![0; PAGE_BYTES as usize];
                let read = read_memory(self.pid, page, &mut code);
                let is_whole = read.is_ok_and(|read| read as u64 == PAGE_BYTES);
                self.pages.insert(page, is_whole.then_some(code));
            }
            *byte = *self.pages.get(&page)?.as_ref()?.get((at - page) as usize)?;
        }
        Some(bytes)
    }
}
