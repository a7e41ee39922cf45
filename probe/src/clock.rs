//! The clock of the hot paths: a tick count that costs a few nanoseconds and no system call.
//!
//! Where the kernel keeps time by the processor's counter (x86-64 with clock source `tsc`; aarch64 always), a tick is one of
//! that counter: the kernel has found it steady and equal on all processors. Elsewhere a tick is a nanosecond of the coarse
//! monotonic clock, which is read from memory. Samples of all clocks at once turn ticks into times
//! ([`crate::clock_samples`]).
#![allow(unsafe_code, reason = "the processor's counter and the kernel's clocks have no safe interface")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomscope_layout::records::{ClockSampleRecord, TimeRecord};

use crate::per_process::PerProcess;

/// The source of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The processor's counter.
    Counter,
    /// The coarse monotonic clock in nanoseconds.
    Coarse,
}

/// The values of all clocks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) ticks: u64,
    pub(crate) mono_ns: u64,
    /// Since the machine booted, including suspended time.
    pub(crate) boot_ns: u64,
    /// UTC nanoseconds since 1970.
    pub(crate) unix_ns: u64,
    /// The longest possible time between the reads of two clocks.
    pub(crate) uncertain_ns: u64,
}

/// The least time over which the rate is measured. It gives a few parts in a hundred thousand; later samples improve it.
const LEAST_MEASURED: Duration = Duration::from_millis(1);

impl Clock {
    /// The process's clock, its values now, and the length of a tick in nanoseconds times 2⁴⁰. The clock is read for the
    /// first time once per process, so that later calls measure the length over a longer time.
    pub(crate) fn of_process() -> (Self, Reading, u64) {
        static CLOCK: PerProcess<(Clock, Reading)> = PerProcess::new();
        let (clock, first) = *CLOCK.get_or_init(|| {
            let clock = Self::choose();
            let first = clock.read();
            if clock == Self::Counter {
                std::thread::sleep(LEAST_MEASURED);
            }
            (clock, first)
        });
        let now = clock.read();
        (clock, now, tick_length(&first, &now))
    }

    /// The best clock of this machine.
    fn choose() -> Self {
        if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
            return Self::Counter;
        }
        let source =
            std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) && source.is_ok_and(|s| s.trim() == "tsc") {
            return Self::Counter;
        }
        Self::Coarse
    }

    /// Ticks now. No system call, no allocation.
    #[inline]
    pub(crate) fn ticks(self) -> u64 {
        match self {
            Self::Counter => counter(),
            Self::Coarse => coarse_ns(),
        }
    }

    /// The values of all clocks now.
    pub(crate) fn read(self) -> Reading {
        // The most certain of four readings, since the thread may lose its processor between two reads.
        let [mut narrowest, others @ ..] = [(); 4].map(|()| self.read_once());
        for reading in others {
            if reading.uncertain_ns < narrowest.uncertain_ns {
                narrowest = reading;
            }
        }
        narrowest
    }

    fn read_once(self) -> Reading {
        // This read keeps the processor from reading the counter earlier.
        let before = mono_ns();
        let ticks = self.ticks();
        let (unix_ns, boot_ns) = (unix_ns(), boot_ns());
        let uncertain_ns = mono_ns().saturating_sub(before);
        let mono_ns = before.wrapping_add(uncertain_ns / 2);
        // A sample's ticks must not be less than any earlier coarse tick.
        let ticks = if self == Self::Coarse { mono_ns } else { ticks };
        Reading { ticks, mono_ns, boot_ns, unix_ns, uncertain_ns }
    }
}

/// The length of a tick in nanoseconds times 2⁴⁰. One nanosecond if the readings do not differ.
fn tick_length(first: &Reading, now: &Reading) -> u64 {
    let ns = now.mono_ns.saturating_sub(first.mono_ns);
    match (ns, now.ticks.saturating_sub(first.ticks)) {
        (0, _) | (_, 0) => ClockSampleRecord::RATE_ONE,
        (ns, ticks) => (u128::from(ns) * u128::from(ClockSampleRecord::RATE_ONE) / u128::from(ticks)) as u64,
    }
}

/// So many nanoseconds are in these ticks of that length.
#[cfg(feature = "atomr")]
pub(crate) fn ns_of(ticks: u64, tick_length: u64) -> u64 {
    (u128::from(ticks) * u128::from(tick_length) / u128::from(ClockSampleRecord::RATE_ONE)) as u64
}

/// So many ticks of that length are in this time.
#[cfg(feature = "atomr")]
pub(crate) fn ticks_of(time: Duration, tick_length: u64) -> u64 {
    let ticks = time.as_nanos().saturating_mul(u128::from(ClockSampleRecord::RATE_ONE));
    u64::try_from(ticks / u128::from(tick_length.max(1))).unwrap_or(u64::MAX)
}

/// The time namespace of this process with its offsets, and the creation time of a region that is made now.
pub(crate) fn time_record(now: &Reading) -> TimeRecord {
    let created =
        TimeRecord { created_mono_ns: now.mono_ns, created_boot_ns: now.boot_ns, ..TimeRecord::default() };
    let Some((time_namespace, [mono, boot])) = time_namespace() else { return created };
    TimeRecord { time_namespace, mono_offset_ns: mono as u64, boot_offset_ns: boot as u64, ..created }
}

/// How far the monotonic clock of this process is ahead of the machine's; 0 if unknown.
#[cfg(target_os = "linux")]
pub(crate) fn own_mono_offset_ns() -> i64 {
    time_namespace().map_or(0, |(_, [mono, _])| mono)
}

/// Inode and offsets of the time namespace of this process. The kernel shows the offsets for its children, whose namespace
/// may be another one.
fn time_namespace() -> Option<(u64, [i64; 2])> {
    let inode = |name: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        link.to_str()?.strip_prefix("time:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    let own = inode("time").filter(|own| inode("time_for_children") == Some(*own))?;
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").ok()?;
    Some((own, TimeRecord::offsets(&offsets)?))
}

/// UTC nanoseconds since 1970.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[inline]
fn counter() -> u64 {
    // SAFETY: it touches no memory; every x86-64 processor has the instruction; a process that forbids it to itself
    // (PR_SET_TSC) could not have read the kernel's clocks either, which use it from user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
#[inline]
fn counter() -> u64 {
    let ticks;
    // SAFETY: the kernel lets user space read the virtual counter; the instruction touches neither memory nor the stack nor
    // flags, and writes all of the one register that is its output.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags))
    };
    ticks
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn counter() -> u64 {
    coarse_ns()
}

#[cfg(unix)]
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid, initialised memory for one timespec for the length of the call, and the kernel keeps no
    // pointer to it; an unknown clock is an error that leaves it unchanged.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Monotonic nanoseconds: the clock of the heartbeats.
#[cfg(unix)]
pub(crate) fn mono_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

#[cfg(target_os = "linux")]
pub(crate) fn boot_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn boot_ns() -> u64 {
    mono_ns()
}

#[cfg(target_os = "linux")]
fn coarse_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC_COARSE)
}

#[cfg(not(target_os = "linux"))]
fn coarse_ns() -> u64 {
    mono_ns()
}

/// Monotonic nanoseconds since the first call.
#[cfg(not(unix))]
pub(crate) fn mono_ns() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_turn_into_the_time_that_the_system_tells() {
        for clock in [Clock::choose(), Clock::Coarse] {
            let first = clock.read();
            std::thread::sleep(Duration::from_millis(20));
            let now = clock.read();
            // A coarse tick may be a little earlier than the reading.
            let ticks = i128::from(clock.ticks()) - i128::from(now.ticks);
            let elapsed = ticks * i128::from(tick_length(&first, &now));
            let computed = i128::from(now.unix_ns) + elapsed / i128::from(ClockSampleRecord::RATE_ONE);
            let off_ns = (computed - i128::from(unix_ns())).abs();
            assert!(off_ns < 1_000_000_000, "{clock:?} is {off_ns} ns off");
        }
    }

    #[test]
    fn ticks_never_go_back_on_one_thread() {
        for clock in [Clock::choose(), Clock::Coarse] {
            let mut last = 0;
            for _ in 0..10_000 {
                let now = clock.ticks();
                assert!(now >= last);
                last = now;
            }
        }
    }
}
