//! `show`: one page about a node.

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use atomscope::attach::Region;
use atomscope::ending::{Before, End};
use atomscope::liveness::{Evidence, Notes};
use atomscope::report::human::{bytes, count, duration, seconds};
use atomscope::report::instruments::telling_p99_ns;
use atomscope::report::subsystems::failures::{ClassFailures, FAILURES, by_class};
use atomscope::report::usage::Usage;
use atomscope::report::worst::Worst;
use atomscope::report::{records, subsystems};
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::caveats::{Caveat, CaveatKind};
use atomscope::text::{clean, clean_path, write_json};
use atomscope::vitals::Vitals;
use atomscope::workers::AwayWorker;
use atomscope_layout::decode::{ActorTotals, Beat, Class, Instruments, RegionReader, rfc3339};
use atomscope_layout::dto::DeadLetterRecord;
use clap::Args;
use serde::{Serialize, Serializer};

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, to_people, to_stdout};
use crate::program::table::{BAD, ODD, STRONG, Screen, verdict_style};
use crate::program::target::{SearchArgs, attach, who};

/// Show one page about a node: its verdict, actors, dead letters, subsystems, events, and how full its region is.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The lines of the page:
  Beats         time since the last heartbeat of the probe and of the async runtime
  Resources     CPU time, memory, threads and open files of the process
  Actors        live actors, and the classes with the most waiting messages, then the most actors
  Worst         the instrumented actor, or the class, that is worst by each measure
  Dead letters  their number so far, and the newest five
  Cluster ...   a line for each subsystem in use; `atomscope cluster` and so on show more
  Records       the application's own records, by kind
  Events        events published so far
  Capacity      used and available space in the tables of the region
  Dropped       data that was not recorded, mostly for lack of space
  Notes         reasons why the data may be incomplete

A class has a 99 % time once it has handled 1,600 messages, of which one in sixteen is timed.

Exit code: 0, also for a dead node; 1 if the node cannot be found or read.

Examples:
  atomscope show shop
  atomscope show 4711 --json | jq .usage.drops
  atomscope show shop.raw

{WHO_HELP}"))]
pub struct ShowArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Write a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The number of classes on the page; JSON has all.
const MAX_CLASSES: usize = 5;
/// The number of dead letters, on the page and in JSON.
const MAX_LETTERS: usize = 5;

pub fn show(search_args: &SearchArgs, args: ShowArgs) -> Result<(), Failure> {
    let attached = attach(search_args, args.who)?;
    let snapshot = Snapshot::with_class_counts(&attached.region)?;
    let colour = verdict_style(&snapshot.liveness);
    let summary = Summary::new(&attached.region, snapshot)?;
    if args.json {
        return to_stdout(|out| write_json(out, &summary));
    }
    let screen = Screen::stdout();
    to_people(|out| Page { out, screen, title: "" }.write(&summary, &attached.region, colour))
}

/// What `show` reports; `--json` writes this object.
#[derive(Debug, Serialize)]
struct Summary {
    node: String,
    state: &'static str,
    why: Option<String>,
    conditions: Notes,
    liveness: Evidence,
    end: Option<End>,
    crashes_before: Before,
    dumped_at: Option<String>,
    pid: u64,
    uid: u64,
    system: Option<String>,
    program: String,
    writer_version: String,
    layout_version: String,
    path: String,
    bytes: u64,
    created_at: String,
    /// Until now, or until the last heartbeat of a dead node. `None` if that is unknown.
    uptime_s: Option<f64>,
    /// Age of the newer of the two heartbeats.
    beat_age_s: Option<f64>,
    process_beat_age_s: Option<f64>,
    runtime_beat_age_s: Option<f64>,
    process: Option<Vitals>,
    /// Those that have not come back for a second or longer; `None` if no runtime is attached.
    away_workers: Option<Vec<AwayWorker>>,
    actors: ActorTotals,
    classes: Vec<ClassCount>,
    /// The worst of the instrumented actors.
    worst: Worst,
    dead_letters: u64,
    newest_dead_letters: Vec<DeadLetterRecord>,
    /// The subsystems in use, by the names of their commands.
    #[serde(serialize_with = "by_name")]
    subsystems: Vec<subsystems::Summary>,
    /// The application's own records, as a sentence; `None` if there are none.
    records: Option<String>,
    /// The classes of instrumented actors whose handlers have failed.
    failures_by_class: Vec<ClassFailures>,
    usage: Usage,
    #[serde(serialize_with = "as_texts")]
    notes: Vec<Caveat>,
    /// Whether `atomscope failures` has any to list.
    #[serde(skip)]
    has_failures: bool,
    /// See [`Snapshot::has_actors`].
    #[serde(skip)]
    has_actors: bool,
    /// See [`Snapshot::stuck_hint`].
    #[serde(skip)]
    stuck_hint: Option<String>,
}

/// The live actors of one class.
#[derive(Debug, Serialize)]
struct ClassCount {
    class: String,
    actors: u64,
    /// Messages in their mailboxes; `None` if no depth is known.
    waiting: Option<u64>,
    /// 99 % of its handlers took at most so long; `None` if too few were timed.
    p99_ns: Option<u64>,
}

impl ClassCount {
    fn of(class: Class, instruments: &Instruments) -> Self {
        let Class { name, actors, waiting, .. } = class;
        let p99_ns = instruments.class(&name).and_then(telling_p99_ns);
        Self { class: name, actors, waiting, p99_ns }
    }
}

impl Summary {
    fn new(region: &Region, snapshot: Snapshot) -> Result<Self, Failure> {
        let usage = Usage::take(region, &snapshot)?;
        let worst = Worst::of(region, &snapshot.instruments)?;
        let notes = snapshot.caveats();
        let subsystems = subsystems::summaries(&snapshot);
        let records = records::line(&snapshot.own_records, snapshot.until);
        let failures_by_class = by_class(&snapshot);
        let away_workers = snapshot.away_workers().map(|away| away.list);
        let has_failures = !snapshot.failures.log.is_empty() || !failures_by_class.is_empty();
        let stuck_hint = snapshot.stuck_hint();
        let has_actors = snapshot.has_actors();
        let created = i128::from(snapshot.identity.header.created_unix_ns);
        let Snapshot {
            taken_at,
            dump_info,
            identity,
            pid,
            layout_version,
            liveness,
            totals,
            dead_letters,
            process,
            classes,
            instruments,
            ..
        } = snapshot;
        let classes = classes.into_iter().map(|class| ClassCount::of(class, &instruments)).collect();
        let uptime = region.uptime(&liveness, &taken_at);
        let mut newest_dead_letters = dead_letters.recent;
        newest_dead_letters.truncate(MAX_LETTERS);
        Ok(Self {
            node: identity.node,
            state: liveness.verdict.word(),
            why: liveness.why_with_age(),
            conditions: liveness.notes,
            liveness: liveness.evidence,
            end: liveness.last_words.end,
            crashes_before: liveness.last_words.before,
            dumped_at: dump_info.map(|_| rfc3339(taken_at.unix_ns)),
            pid,
            uid: identity.header.uid,
            system: identity.system,
            program: identity.program,
            writer_version: identity.writer,
            layout_version: format!("{}.{}", layout_version.0, layout_version.1),
            path: region.path().to_string_lossy().into_owned(),
            bytes: region.bytes(),
            created_at: rfc3339(created),
            uptime_s: uptime.map(seconds),
            beat_age_s: liveness.newest_beat_age().map(seconds),
            process_beat_age_s: liveness.process_beat_age.map(seconds),
            runtime_beat_age_s: liveness.runtime_beat_age.map(seconds),
            process,
            away_workers,
            actors: totals,
            classes,
            worst,
            dead_letters: dead_letters.total,
            newest_dead_letters,
            subsystems,
            records,
            failures_by_class,
            usage,
            notes,
            has_failures,
            has_actors,
            stuck_hint,
        })
    }
}

fn by_name<S: Serializer>(all: &[subsystems::Summary], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|summary| (summary.subsystem.name, summary)))
}

fn as_texts<S: Serializer>(notes: &[Caveat], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(notes.iter().map(|note| &note.text))
}

/// Writes lines with a title on the left.
struct Page<'a> {
    out: &'a mut dyn Write,
    screen: Screen,
    title: &'static str,
}

impl Page<'_> {
    fn line(&mut self, style: Style, text: &str) -> io::Result<()> {
        let title = std::mem::take(&mut self.title);
        let colon = if title.is_empty() { ' ' } else { ':' };
        let style = if self.screen.colours { style } else { Style::new() };
        writeln!(self.out, "{title:>13}{colon} {style}{text}{style:#}")
    }

    fn plain(&mut self, text: &str) -> io::Result<()> {
        self.line(Style::new(), text)
    }

    fn write(mut self, summary: &Summary, region: &Region, colour: Style) -> io::Result<()> {
        let Summary { usage, .. } = summary;
        let who = who(summary.dumped_at.is_some(), &region.shown_path(), summary.pid);
        let (strong, colour) =
            if self.screen.colours { (STRONG, colour) } else { (Style::new(), Style::new()) };
        let why = summary.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let state = match &summary.dumped_at {
            Some(at) => format!("dump of a {} node taken at {at}{why}", summary.state),
            None => format!("{}{why}", summary.state),
        };
        let node = clean(&summary.node);
        writeln!(self.out, "{colour}●{colour:#} {strong}{node}{strong:#} - {colour}{state}{colour:#}")?;

        self.title = "Process";
        let system = match &summary.system {
            Some(system) => format!("actor system {}, ", clean(system)),
            None if summary.has_actors => "no actor system yet, ".to_owned(),
            None => String::new(),
        };
        self.plain(&format!("{} ({}), {system}user {}", summary.pid, clean(&summary.program), summary.uid))?;
        self.title = "Region";
        self.plain(&format!(
            "{} ({}, layout {}, written by {})",
            clean_path(&region.shown_path()),
            bytes(summary.bytes),
            summary.layout_version,
            clean(&summary.writer_version)
        ))?;
        self.title = "Uptime";
        let uptime = summary.uptime_s.map_or("unknown".to_owned(), |s| duration(Duration::from_secs_f64(s)));
        self.plain(&format!("{uptime}, since {}", summary.created_at))?;
        self.title = "Beats";
        let is_never =
            |of: fn(&RegionReader<'_>) -> Beat| region.reader().is_ok_and(|reader| of(&reader).count == 0);
        let beat = |age: Option<f64>, of: fn(&RegionReader<'_>) -> Beat| match age {
            Some(age) => format!("{} ago", duration(Duration::from_secs_f64(age))),
            None if is_never(of) => "never".to_owned(),
            // The heartbeat was written by a clock of another boot, or one that this program cannot read.
            None => "unknown".to_owned(),
        };
        let runtime = match summary.has_actors || !is_never(|reader| reader.runtime_beat()) {
            true => {
                format!(
                    ", async runtime {}",
                    beat(summary.runtime_beat_age_s, |reader| reader.runtime_beat())
                )
            }
            false => String::new(),
        };
        self.plain(&format!(
            "probe {}{runtime}",
            beat(summary.process_beat_age_s, |reader| reader.process_beat())
        ))?;

        if let Some(crashes) = summary.crashes_before.text() {
            self.title = "Crashes";
            self.plain(&crashes)?;
        }

        if let Some(process) = &summary.process {
            self.title = "Resources";
            self.plain(&process.text())?;
        }

        if summary.has_actors {
            self.actors(summary, &who)?;
        }

        for subsystem in &summary.subsystems {
            self.title = subsystem.subsystem.title;
            let is_failures = *subsystem.subsystem == FAILURES;
            let more = if is_failures && summary.has_failures {
                format!("; `atomscope failures {who}`")
            } else {
                String::new()
            };
            self.plain(&format!("{}{more}", subsystem.line))?;
            if is_failures {
                summary
                    .failures_by_class
                    .iter()
                    // The line above has the numbers.
                    .filter(|class| class.newest_message.is_some())
                    .take(MAX_CLASSES)
                    .try_for_each(|class| self.plain(&class.text))?;
            }
        }

        if let Some(records) = &summary.records {
            self.title = "Records";
            self.plain(records)?;
        }

        self.title = "Events";
        let (all, shared) = (usage.events, usage.events_shared_lane);
        self.plain(&format!(
            "{all}, {shared} of them through the shared lane; the newest {} of each lane are kept",
            usage.events_kept_per_lane
        ))?;

        self.title = "Capacity";
        self.plain(&format!(
            "{}{} of {} lanes, {} of {} names, {} of {} metrics",
            match summary.has_actors {
                true => format!("{} of {} actors, ", usage.actors.used, usage.actors.capacity),
                false => String::new(),
            },
            usage.lanes.used,
            usage.lanes.capacity,
            usage.names.used,
            usage.names.capacity,
            usage.metrics.used,
            usage.metrics.capacity
        ))?;
        self.title = "Dropped";
        let dropped: Vec<_> = usage.drops.list().into_iter().filter(|(n, _)| *n > 0).collect();
        if dropped.is_empty() {
            self.plain("nothing")?;
        }
        for (number, what) in dropped {
            self.line(ODD, &format!("{number} {what}"))?;
        }
        self.title = "Notes";
        // The first line says already that this is a dump.
        for note in summary.notes.iter().filter(|note| note.kind != CaveatKind::Dump) {
            self.line(BAD, &note.text)?;
        }
        summary.stuck_hint.as_deref().map_or(Ok(()), |hint| self.plain(hint))
    }

    fn actors(&mut self, summary: &Summary, who: &str) -> io::Result<()> {
        let actors = &summary.actors;
        self.title = "Actors";
        self.plain(&format!(
            "{} live ({} spawned, {} stopped)",
            actors.live, actors.spawned, actors.stopped
        ))?;
        for row in summary.classes.iter().take(MAX_CLASSES) {
            let waiting = row.waiting.map(|n| format!(", {} waiting", count(n, "message", "messages")));
            let p99 = row.p99_ns.map(|ns| format!(", 99 % of handlers within {:.3} ms", ns as f64 / 1e6));
            let more = [waiting, p99].into_iter().flatten().collect::<String>();
            self.plain(&format!("{:>6} {}{more}", row.actors, clean(&row.class)))?;
        }
        if let Some(more) = summary.classes.len().checked_sub(MAX_CLASSES).filter(|more| *more > 0) {
            self.plain(&format!("       and {}", count(more as u64, "more class", "more classes")))?;
        }

        if let Some(worst) = summary.worst.text() {
            self.title = "Worst";
            self.plain(&format!("{worst}; `atomscope hot {who}`"))?;
        }

        self.title = "Dead letters";
        let letters = summary.dead_letters;
        self.plain(&format!("{letters}{}", if letters > 0 { ", the newest:" } else { "" }))?;
        for letter in &summary.newest_dead_letters {
            self.plain(&format!(
                "{} {} to {}",
                clean(&letter.timestamp),
                clean(&letter.message_type),
                clean(&letter.recipient)
            ))?;
        }
        Ok(())
    }
}
