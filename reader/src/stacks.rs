//! The stacks of a node's threads, read from outside and without the node's help.
//!
//! A thread that sleeps is not stopped: where it is stands in `/proc/PID/task/TID/syscall`, and its stack does not change. A
//! copy counts only if the thread did not run meanwhile. A thread that runs is looked at only if [`StackOptions::stop`] says
//! so: it is then stopped while its registers and its stack are copied, which takes some tens of microseconds. All stacks
//! are copied first; they are unwound and named afterwards.
//!
//! Names come from the files of the program and its libraries, and only from a file with the build id that is in the
//! process's memory. Without one a frame has its address and the build id alone.
//!
//! # What is read, and what it costs the node
//! At most [`MOST_STACK_BYTES`] of each stack and [`MOST_COPIED_BYTES`] of all, and some pages of the program's code and of
//! its libraries' heads, which may count as memory of the node from then on. The node's memory is never written.

mod class;
mod copy;
mod error;
mod maps;
mod modules;
mod symbols;
mod unwind;
mod wait;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

pub use self::class::Handler;
pub use self::copy::MOST_STACK_BYTES;
use self::copy::{Look, StackCopy};
pub use self::error::StacksError;
pub(crate) use self::maps::Mappings;
pub(crate) use self::modules::Modules;
use self::symbols::{Symbol, symbols};
use self::unwind::{Unwinder, Unwound};
pub(crate) use self::wait::LOCK;
use self::wait::{RUNS, waits_for};
use crate::threads::{NodeProcess, ThreadSample, state_word, tids};

/// Limit of the bytes that are copied of all stacks together.
pub const MOST_COPIED_BYTES: usize = 128 << 20;

/// The longest time that is spent to look at threads, and again to unwind their stacks.
const MOST_TIME: Duration = Duration::from_secs(20);

/// Stack of the thread that reads debug information, whose depth the other program determines.
const ANALYSIS_STACK_BYTES: usize = 16 << 20;

/// Which stacks are read.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// Stop threads that run, each for some tens of microseconds, and read their stacks too.
    pub stop: bool,
    /// Only this thread.
    pub thread: Option<u32>,
}

/// A thread and its stack. What is unknown is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadStack {
    /// Thread id.
    pub tid: u32,
    /// Its name; not safe to print.
    pub name: String,
    /// Its state in one word.
    pub state: &'static str,
    /// The function of the kernel that it sleeps in.
    pub wait_channel: Option<String>,
    /// What it waits for, in words, by the system call that it is in.
    pub waits_for: Option<&'static str>,
    /// The innermost method of an actor on the stack, with the actor's class.
    #[serde(flatten, serialize_with = "handler_or_null")]
    pub handler: Option<Handler>,
    /// Why there are no frames, or why some are missing.
    pub why: Option<String>,
    /// Whether the frames reach the function in which the thread began.
    pub is_whole: bool,
    /// How long the thread was stopped at most, in microseconds; `None` if it was not.
    pub stopped_us: Option<f64>,
    /// The frames, innermost first.
    pub frames: Vec<Frame>,
    /// How often it had given its processor away, and how often it had lost it. Two looks with the same numbers have seen
    /// one sleep.
    #[serde(skip)]
    pub(crate) switches: Option<[u64; 2]>,
}

/// Both keys are always there.
fn handler_or_null<S: Serializer>(handler: &Option<Handler>, serializer: S) -> Result<S::Ok, S::Error> {
    let pairs = [
        ("class", handler.as_ref().map(|handler| &handler.class)),
        ("method", handler.as_ref().map(|handler| &handler.method)),
    ];
    serializer.collect_map(pairs)
}

/// A frame of a stack. Names and paths are not safe to print.
#[derive(Debug, Clone, Serialize)]
pub struct Frame {
    /// The address in the process, in hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub address: u64,
    /// The path of the program or library.
    pub module: Option<String>,
    /// The address in its file, in hexadecimal.
    #[serde(serialize_with = "hexadecimal_or_null")]
    pub module_address: Option<u64>,
    /// Its build id.
    pub build_id: Option<String>,
    /// The function.
    pub function: Option<String>,
    /// The file of its source.
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<u32>,
    /// Whether the compiler has put the function into its caller, the next frame.
    pub is_inlined: bool,
    /// Whether the place of this frame, or of one before it, was guessed.
    pub is_guessed: bool,
    /// The method of an actor that it is.
    #[serde(skip)]
    pub(crate) handler: Option<Handler>,
}

fn hexadecimal<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#x}"))
}

fn hexadecimal_or_null<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(|number| format!("{number:#x}")).serialize(serializer)
}

/// The stacks of a process.
#[derive(Debug, Clone)]
pub struct Stacks {
    /// The threads, by their ids.
    pub threads: Vec<ThreadStack>,
    /// Sentences on what is missing, safe to print.
    pub notes: Vec<String>,
}

impl Stacks {
    /// Reads the stacks of a process. `may_go_on` is asked between two threads.
    ///
    /// It reads a few small files and copies one stack for each thread, and once reads symbols and debug information of the
    /// program, which takes a second for a large one. The calling thread traces nothing.
    ///
    /// # Errors
    /// The process has ended or may not be looked into, it has no such thread, or `may_go_on` returned false.
    pub fn take(
        process: &NodeProcess,
        options: &StackOptions,
        may_go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, StacksError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(StacksError::Unsupported);
        }
        let pid = process.pid();
        let failed = |error| StacksError::of(process, error);
        let mut all = tids(process).map_err(failed)?;
        if let Some(tid) = options.thread {
            all.retain(|known| *known == tid);
            if all.is_empty() {
                return Err(StacksError::NoThread { pid, tid });
            }
        }
        let maps = Mappings::of(pid).map_err(failed)?;
        let looks = look(process, &maps, &all, options.stop, may_go_on)?;
        let stacks = analysed(process, || {
            let modules = Modules::of(pid, &maps);
            let mut analysis = Analysis::new(pid, &maps, &modules);
            let threads = analysis.threads(looks, may_go_on)?;
            Ok(Self { threads, notes: analysis.notes })
        })?;
        // Another process may have had the number meanwhile.
        if !process.is_alive() {
            return Err(StacksError::Ended { pid });
        }
        Ok(stacks)
    }
}

/// Copies the stacks of these threads, without those that have ended.
pub(crate) fn look(
    process: &NodeProcess,
    maps: &Mappings,
    tids: &[u32],
    stop: bool,
    may_go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Seen>, StacksError> {
    let pid = process.pid();
    let begun = Instant::now();
    let (mut looks, mut copied_bytes) = (Vec::new(), 0);
    for tid in tids.iter().copied() {
        if !may_go_on() {
            return Err(StacksError::Stopped);
        }
        let Some(sample) = ThreadSample::take(pid, tid) else { continue };
        let mut look = copy::sleeping(pid, tid, maps);
        if look.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            look.as_ref().map_err(|error| StacksError::of(process, error.kind().into()))?;
        }
        let may_stop = stop && begun.elapsed() < MOST_TIME;
        if may_stop && matches!(look, Ok(Look::Running | Look::Restless)) {
            look = copy::running(pid, tid, maps);
        }
        let seen = match look {
            Ok(Look::Ended) => continue,
            Ok(Look::Copied(copy)) if copied_bytes + copy.bytes.len() > MOST_COPIED_BYTES => {
                Err("the stacks of other threads have taken all the memory; name it with --thread".to_owned())
            }
            Ok(Look::Copied(copy)) => Ok(copy),
            Ok(Look::Running) if stop => Err("it runs, and there was no time left to stop it".to_owned()),
            Ok(Look::Running) => Err("it runs; --stop looks at it too".to_owned()),
            Ok(Look::Restless) => Err("it wakes up each time that it is looked at".to_owned()),
            Err(error) => Err(unseen(&error)),
        };
        copied_bytes += seen.as_ref().map_or(0, |copy| copy.bytes.len());
        looks.push((sample, seen));
    }
    Ok(looks)
}

/// Does work that follows data of the other process on a thread of its own. What such a thread cannot bear ends that thread,
/// and not the program.
pub(crate) fn analysed<T: Send>(
    process: &NodeProcess,
    work: impl FnOnce() -> Result<T, StacksError> + Send,
) -> Result<T, StacksError> {
    let done = std::thread::scope(|scope| {
        let analysis = std::thread::Builder::new().stack_size(ANALYSIS_STACK_BYTES).spawn_scoped(scope, work);
        analysis.map(|thread| thread.join().unwrap_or(Err(StacksError::Invalid { pid: process.pid() })))
    });
    done.map_err(|error| StacksError::of(process, error))?
}

/// What was seen of a thread: a copy of its stack, or why there is none.
pub(crate) type Seen = (ThreadSample, Result<StackCopy, String>);

/// Why a thread could not be looked at, although others of its process can.
fn unseen(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "another program traces it, such as a debugger".to_owned(),
        io::ErrorKind::TimedOut => "the kernel did not stop it in time".to_owned(),
        io::ErrorKind::Unsupported => "this kernel does not tell where it is".to_owned(),
        _ => format!("it cannot be looked at: {error}"),
    }
}

/// Unwinds copies of stacks and names their frames. What it learns of one look serves the next one.
pub(crate) struct Analysis<'a> {
    modules: &'a Modules,
    unwinder: Unwinder<'a>,
    /// The functions at the addresses of frames, by the number of the module and the address in its file.
    symbols: HashMap<(usize, u64), Vec<Symbol>>,
    /// Sentences on what is missing, safe to print.
    pub notes: Vec<String>,
}

impl<'a> Analysis<'a> {
    pub fn new(pid: u32, maps: &'a Mappings, modules: &'a Modules) -> Self {
        let unwinder = Unwinder::new(pid, maps, modules);
        Self { modules, unwinder, symbols: HashMap::new(), notes: Vec::new() }
    }

    /// The stacks of a look.
    pub fn threads(
        &mut self,
        looks: Vec<Seen>,
        may_go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<ThreadStack>, StacksError> {
        let begun = Instant::now();
        let mut unwound = Vec::new();
        for (sample, seen) in looks {
            if !may_go_on() {
                return Err(StacksError::Stopped);
            }
            let call = seen.as_ref().ok().and_then(|copy| copy.system_call);
            let is_late = begun.elapsed() > MOST_TIME;
            let (frames, why, pause) = match seen {
                Err(why) => (Unwound::default(), Some(why), None),
                Ok(copy) if is_late => {
                    let why = "there was no time left to unwind it".to_owned();
                    (Unwound::default(), Some(why), copy.pause)
                }
                Ok(copy) => {
                    let unwound = self.unwinder.unwind(&copy);
                    let why = match unwound.is_whole {
                        true => None,
                        false if copy.is_cut => Some("the stack is larger than what is copied of it"),
                        false => Some("the callers of the last frame cannot be found"),
                    };
                    (unwound, why.map(str::to_owned), copy.pause)
                }
            };
            unwound.push((sample, call, frames, why, pause));
        }
        self.name(unwound.iter().flat_map(|(_, _, unwound, ..)| &unwound.frames), may_go_on)?;
        let threads = unwound.into_iter().map(|(sample, call, unwound, why, pause)| {
            let frames = self.frames(&unwound);
            ThreadStack {
                tid: sample.tid,
                state: state_word(sample.state),
                waits_for: if pause.is_some() { Some(RUNS) } else { waits_for(sample.state, call) },
                switches: sample.switches(),
                wait_channel: sample.wait_channel,
                name: sample.name,
                handler: frames.iter().find_map(|frame| frame.handler.clone()),
                why,
                is_whole: unwound.is_whole,
                stopped_us: pause.map(|pause| (pause.as_nanos() as f64 / 100.0).round() / 10.0),
                frames,
            }
        });
        Ok(threads.collect())
    }

    /// Finds the functions of frames that are not known yet.
    fn name<'f>(
        &mut self,
        frames: impl Iterator<Item = &'f unwind::UnwoundFrame>,
        may_go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), StacksError> {
        let found = frames.filter_map(|frame| {
            let (number, module) = self.modules.at(frame.lookup)?;
            Some((number, frame.lookup.wrapping_sub(module.bias)))
        });
        let addresses: BTreeSet<(usize, u64)> =
            found.filter(|address| !self.symbols.contains_key(address)).collect();
        for (number, module) in self.modules.0.iter().enumerate() {
            let of_module = addresses.range((number, 0)..=(number, u64::MAX));
            let of_module: Vec<u64> = of_module.map(|(_, address)| *address).collect();
            if of_module.is_empty() {
                continue;
            }
            if !may_go_on() {
                return Err(StacksError::Stopped);
            }
            match &module.image {
                Ok(image) => {
                    let mut named = symbols(image, &of_module, may_go_on);
                    // An address without a name is not searched again.
                    let all = of_module.iter().map(|address| {
                        ((number, *address), named.remove(address).unwrap_or_else(|| vec![Symbol::default()]))
                    });
                    self.symbols.extend(all);
                }
                Err(why) => {
                    let note = format!("functions of {} have no names: {why}", module.name);
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
        Ok(())
    }

    /// The frames with their names.
    fn frames(&self, unwound: &Unwound) -> Vec<Frame> {
        let nothing = [Symbol::default()];
        let mut frames = Vec::new();
        for (nth, frame) in unwound.frames.iter().enumerate() {
            let found = self.modules.at(frame.lookup);
            let key = found.map(|(number, module)| (number, frame.lookup.wrapping_sub(module.bias)));
            let symbols = key.and_then(|key| self.symbols.get(&key)).map_or(&nothing[..], Vec::as_slice);
            let module = found.map(|(_, module)| module);
            frames.extend(symbols.iter().map(|symbol| Frame {
                address: frame.address,
                module: module.map(|module| module.name.clone()),
                module_address: module.map(|module| frame.address.wrapping_sub(module.bias)),
                build_id: module.and_then(|module| module.build_id.as_deref()).map(digits),
                function: symbol.function.clone(),
                file: symbol.file.clone(),
                line: symbol.line,
                is_inlined: symbol.is_inlined,
                is_guessed: unwound.guessed_from.is_some_and(|from| nth >= from),
                handler: symbol.handler.clone(),
            }));
        }
        frames
    }
}

/// Bytes in hexadecimal.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
