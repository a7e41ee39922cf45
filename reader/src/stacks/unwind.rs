//! From a copied stack to the addresses of its frames.
//!
//! Of a thread that sleeps the frame pointer is unknown. Code without frame pointers does not need it. Where a function does,
//! its place is guessed: each word of the stack that could be a return address is tried, and the deepest stack that ends
//! where a thread begins is taken. A call that leads to the function that needs it is better evidence than the depth, so
//! such a candidate comes first.

use std::cell::Cell;
use std::collections::HashMap;
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

/// How good the evidence for a candidate is, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    /// A call of another function, which may have jumped on to this one.
    Elsewhere,
    /// A call of something that is known only while the program runs.
    Unknown,
    /// A call of this function.
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
        Self { pid, maps, modules, unwinder, cache: CacheX86_64::new(), pages: HashMap::new() }
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
        let start = self.function_start(frame.address_for_lookup());
        let mut best: Option<((bool, Call, usize), Vec<FrameAddress>)> = None;
        let mut tried = 0;
        let mut place = registers.sp().next_multiple_of(8);
        while tried < MOST_CANDIDATES && place.saturating_add(16) <= copy.end() {
            let (frame_pointer, saved) = (place, copy.word(place + 8));
            place += 8;
            let Some(address) = saved.filter(|address| self.maps.is_code(*address)) else { continue };
            let Some(call) = self.call(address, start) else { continue };
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

    fn function_start(&self, address: u64) -> Option<u64> {
        let (_, module) = self.modules.at(address)?;
        let start = module.cfi.as_ref()?.function_start(address.wrapping_sub(module.bias))?;
        Some(start.wrapping_add(module.bias))
    }

    /// What the instruction before a return address calls; `None` if it is no call. `function` is the function that was
    /// called, if the return address is one of its callers.
    fn call(&mut self, address: u64, function: Option<u64>) -> Option<Call> {
        let Some(bytes) = self.code(address.checked_sub(7)?) else { return Some(Call::Unknown) };
        let target = match bytes {
            // call rel32
            [_, _, 0xe8, a, b, c, d] => {
                Some(address.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d]))))
            }
            // call [rip + disp32]: the address is in the table of imported functions.
            [_, 0xff, 0x15, a, b, c, d] => {
                let slot = address.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d])));
                let mut target = [0; 8];
                let read = read_memory(self.pid, slot, &mut target);
                read.is_ok_and(|read| read == 8).then(|| u64::from_le_bytes(target))
            }
            // Calls of a register or of memory, by the length of the instruction.
            [.., 0xff, 0xd0..=0xd7]
            | [.., 0xff, 0x10..=0x17]
            | [.., 0xff, 0x50..=0x57, _]
            | [.., 0xff, 0x14, _]
            | [.., 0xff, 0x54, _, _]
            | [_, 0xff, 0x90..=0x97, _, _, _, _]
            | [0xff, 0x94, _, _, _, _, _]
            | [0xff, 0x14, _, _, _, _, _] => None,
            _ => return None,
        };
        Some(match (target, function) {
            (Some(target), Some(function)) if target == function => Call::Here,
            // A stub of the linker, which jumps on, is no function of its own.
            (Some(target), Some(_)) if self.function_start(target) == Some(target) => Call::Elsewhere,
            _ => Call::Unknown,
        })
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
