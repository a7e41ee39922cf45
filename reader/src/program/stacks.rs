//! `stacks`: what the threads of a node do at this moment.

use std::ffi::OsString;
use std::io::{self, Write};

use atomscope::stacks::{Frame, StackOptions, Stacks, StacksError, ThreadStack};
use atomscope::system::{stop_on_signals, stopped};
use atomscope::text::{clean, write_json};
use atomscope::threads::NodeProcess;
use clap::Args;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{ODD, STRONG, Screen};
use crate::program::target::{SearchArgs, search, target};
use crate::program::threads::no_process;

/// Show the stacks of a node's threads, and the actor class whose handler each is in.
#[derive(Debug, Args)]
#[command(after_help = format!("\
For a node that hangs or is slow: which handlers block their threads, and where. The head line of a thread has its id, its \
name, its state, and the class and method of the innermost actor on its stack. An actor that waits in an `.await` is on no \
stack.

Threads that sleep are not stopped, and the node notices nothing. With --stop each thread that runs is stopped while its \
registers and at most 256 KiB of its stack are copied, which takes some tens of microseconds. It also goes on if this \
program is killed. If all processors are busy, run it as root: only root may ask to be preferred, and without that the \
thread may stay stopped until this program gets a processor again.

(guessed) marks the first frame that was found by a search of the stack: the function before it needs a register that is \
not known of a thread that sleeps. This frame and its callers are likely, but not certain. (inlined) marks a function that \
the compiler has put into its caller, the next frame.

Names and lines are those of the files that are mapped, by their build id. A stripped program has names without lines, or \
addresses; with the build id, a tool such as addr2line finds the names in the program before it was stripped.

It needs the same user as the node, or ptrace rights; with kernel.yama.ptrace_scope=1, as on many desktops, it needs sudo.

Exit code: 0; 1 if the node or the thread cannot be found, or may not be looked into.

Examples:
  atomscope stacks shop
  atomscope stacks 4711 --stop
  atomscope stacks shop --thread 4713 --json | jq '.[].frames[].function'

{WHO_HELP}"))]
pub struct StacksArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Stop threads that run, each for some tens of microseconds, and show their stacks too.
    #[arg(long)]
    pub stop: bool,
    /// Only this thread, by the id that `atomscope threads` shows.
    #[arg(long, value_name = "TID")]
    pub thread: Option<u32>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn stacks(search_args: &SearchArgs, args: StacksArgs) -> Result<(), Failure> {
    stop_on_signals();
    let selected = search(search_args).select(&target(search_args, args.who)?)?;
    if let Some(text) = &selected.note {
        note(text);
    }
    let process = NodeProcess::of_summary(&selected.summary).ok_or_else(|| no_process(&selected.summary))?;
    let options = StackOptions { stop: args.stop, thread: args.thread };
    let Stacks { threads, notes } = match Stacks::take(&process, &options, &|| !stopped()) {
        Ok(stacks) => stacks,
        Err(StacksError::Stopped) => return Ok(()),
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
    if args.json {
        to_stdout(|out| write_json(out, &threads))?;
    } else {
        let screen = Screen::stdout();
        to_people(|out| {
            threads.iter().enumerate().try_for_each(|(nth, thread)| {
                if nth > 0 {
                    writeln!(out)?;
                }
                write_thread(out, thread, screen)
            })
        })?;
    }
    notes.iter().for_each(|text| note(text));
    Ok(())
}

fn write_thread(out: &mut (impl Write + ?Sized), thread: &ThreadStack, screen: Screen) -> io::Result<()> {
    head(out, thread, screen)?;
    write_frames(out, &thread.frames)?;
    match &thread.why {
        Some(why) => writeln!(out, "     ({why})"),
        None => Ok(()),
    }
}

/// The head line of a thread.
fn head(out: &mut (impl Write + ?Sized), thread: &ThreadStack, screen: Screen) -> io::Result<()> {
    let style = |style| if screen.colours { style } else { anstyle::Style::new() };
    let (strong, odd) = (style(STRONG), style(ODD));
    let name = clean(&thread.name);
    write!(out, "{strong}{} {name}{strong:#}: {}", thread.tid, thread.state)?;
    if let Some(channel) = &thread.wait_channel {
        write!(out, " in {}", clean(channel))?;
    }
    if let Some(handler) = &thread.handler {
        write!(out, ", {odd}{}::{}{odd:#}", clean(&handler.class), clean(&handler.method))?;
    }
    if let Some(us) = thread.stopped_us {
        write!(out, ", stopped for {us} us")?;
    }
    writeln!(out)
}

/// Frames, innermost first.
pub fn write_frames(out: &mut (impl Write + ?Sized), frames: &[Frame]) -> io::Result<()> {
    let mut was_guessed = false;
    for (nth, frame) in frames.iter().enumerate() {
        let is_first_guess = frame.is_guessed && !was_guessed;
        was_guessed = frame.is_guessed;
        write_frame(out, nth, frame, is_first_guess)?;
    }
    Ok(())
}

fn write_frame(
    out: &mut (impl Write + ?Sized),
    nth: usize,
    frame: &Frame,
    is_first_guess: bool,
) -> io::Result<()> {
    write!(out, "{nth:>4} ")?;
    match (&frame.function, &frame.module, frame.module_address) {
        (Some(function), ..) => write!(out, "{}", clean(function))?,
        (None, Some(module), Some(at)) => {
            write!(out, "{:#x} at {}+{at:#x}", frame.address, clean(module))?;
            if let Some(id) = &frame.build_id {
                write!(out, " [build id {id}]")?;
            }
        }
        _ => write!(out, "{:#x}", frame.address)?,
    }
    match (frame.is_inlined, is_first_guess) {
        (true, true) => write!(out, " (inlined, guessed)")?,
        (true, false) => write!(out, " (inlined)")?,
        (false, true) => write!(out, " (guessed)")?,
        (false, false) => {}
    }
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => writeln!(out, " at {}:{line}", clean(file)),
        (Some(file), None) => writeln!(out, " at {}", clean(file)),
        // The file of the program says more than nothing.
        (None, _) if frame.function.is_some() => match &frame.module {
            Some(module) => writeln!(out, " in {}", clean(module)),
            None => writeln!(out),
        },
        (None, _) => writeln!(out),
    }
}
