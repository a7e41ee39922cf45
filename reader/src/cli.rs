//! The command line: what may be asked, and the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use atomscope::text::{clean, clean_os};
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::region::{VERSION_MAJOR, VERSION_MINOR};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::output::Failure;
use crate::subsystems::Part;
use crate::top::view::View;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let program = env!("CARGO_PKG_VERSION");
    format!("{program} (reads layout {VERSION_MAJOR}.x, knows it up to {VERSION_MAJOR}.{VERSION_MINOR})")
});

const WHO_HELP: &str = "\
WHO:
  4711            the node in process 4711
  4711/orders     its actor system `orders`, if it has several
  ./node.raw      a file: what contains a `/` or ends in .raw or .rec (--region PATH says the same)
  shop            the node of that name
  (left out)      the only one there is
  Live beats dead and newer beats older; if there was a choice, stderr says which was taken.";

/// What the help says of filters: examples, and what they mean.
pub const FILTER_HELP: &[(&str, &str)] = &[
    ("order", "a regular expression over texts; a capital letter means that case"),
    ("!order", "rows without it"),
    ("depth > 100 and class ~ Order", "conditions: > >= < <= = != ~ !~, and, or, not, parentheses"),
    ("age > 5m or inbound >= 1.5M", "units us ms s m h d, K M G T; without one, that of the column"),
    ("depth = -", "what is not known, which fulfils no other condition"),
];

/// The same below a command's help.
fn filter_help() -> String {
    let widest = FILTER_HELP.iter().map(|(filter, _)| filter.len()).max().unwrap_or(0);
    let lines = FILTER_HELP.iter().map(|(filter, means)| format!("  {filter:widest$}  {means}\n"));
    format!("Filters:\n{}", lines.collect::<String>())
}

const PLACE: &str = "Where to look";

const EXIT_HELP: &str = "\
Exit codes: 0 done, 1 failed (stderr says what, why, and what to try), 2 the command line is wrong.
Nothing here ever writes to a node's region, locks it or makes the node wait.";

static LONG_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  atomscope ps                          which nodes there are, and how they are
  atomscope actors                      the live actors of the only node
  atomscope actors shop --tree          the same as a tree, of node `shop`
  atomscope dump 4711 -o shop.json      everything that is told of the node in process 4711
  atomscope dump shop | jq .atomscope   how sure that is
  atomscope tail shop                   what happens in it, as it happens
  atomscope top shop                    a screen that shows it live
  atomscope stat shop 1s                its rates, a line a second
  atomscope doctor                      why something cannot be seen, and what to do

{WHO_HELP}

{JSON_HELP}

{EXIT_HELP}"
    )
});

/// The one form of JSON.
const JSON_HELP: &str = "\
--json writes UTF-8, in which no object has a key twice and `null` is what is not known:
  an array of objects  ps, actors, metrics, prune, doctor: rows that are all alike
  an object            show, and each subsystem: a summary, and its lists by their names
  objects, one a line  stat, tail

On a terminal that is too narrow for a table, columns are left out, from the last one on, but for the first and the \
one that is sorted by; of `ps`: SIZE, SYSTEM, AGE, FILE, BEAT, ACTORS, in that order. Elsewhere nothing is left out or \
cut.";

/// What the commands that list one subsystem's things say alike.
fn listing_help(what: &str, examples: &[&str]) -> String {
    listing_help_with("one object: the lists by their names", what, examples)
}

fn listing_help_with(json: &str, what: &str, examples: &[&str]) -> String {
    let examples = examples.iter().map(|example| format!("  {example}\n")).collect::<String>();
    format!(
        "\
{what}

`-` is what is not known; AGE(s) is the time since it was listed. --sort puts numbers from the greatest and texts from A \
to Z; what has no such column stays in its order. --json writes {json}, with the \
fields of `atomscope dump`, in bytes and nanoseconds. What found no room and what cannot be read is said below. A node \
that tells nothing of it says so.

Examples:
{examples}
{}
{WHO_HELP}",
        filter_help()
    )
}

/// See inside running actor nodes from outside, without slowing them.
#[derive(Debug, Parser)]
#[command(name = "atomscope", version = VERSION.as_str(), after_help = LONG_HELP.as_str(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    /// Show ASCII alone, as where the locale (LC_ALL, LC_CTYPE, LANG) names another encoding than UTF-8.
    #[arg(long, global = true)]
    pub ascii: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Look at the region in this file.
    #[arg(long, global = true, value_name = "PATH", help_heading = PLACE)]
    pub region: Option<PathBuf>,
    /// Look for regions in this directory only, instead of /dev/shm and the running processes.
    #[arg(long, global = true, value_name = "DIR", env = "ATOMSCOPE_DIR", help_heading = PLACE)]
    pub dir: Option<PathBuf>,
    /// Refuse larger regions; K, M, G and T are powers of 1024.
    #[arg(long, global = true, value_name = "BYTES", default_value = "4G", value_parser = parse_size, help_heading = PLACE)]
    pub max_size: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the nodes of this machine, live and dead.
    #[command(after_help = "\
The states:
  starting   no actor system is installed yet
  live       all is well
  wedged     the process exists but does not get on: it is stopped, or the probe's thread or
             the async runtime has not beaten for 3 seconds
  stopping   the application said that it stops
  closed     it ended in good order
  crashed    it ended without saying so; what it left can still be looked at
  not ready, incompatible, corrupt, refused: it cannot be read, and NOTE says why

Dead nodes are listed by what they have left in /dev/shm. What one has left in a file that it
was told to use is found by the file's path alone: atomscope ps --region PATH. A path with
`(deleted)` is that of a living node's file that has no name any more: if that node crashes,
nothing is left.

Examples:
  atomscope ps
  atomscope ps --json | jq -r '.[] | select(.state == \"crashed\") | .path'")]
    Ps(Ps),
    /// List the live actors of a node.
    #[command(after_help = format!("\
Depth is the number of messages waiting, `-` where it is not known.

Examples:
  atomscope actors shop --sort age --limit 20
  atomscope actors shop --tree --filter checkout
  atomscope actors shop --filter 'age > 5m and not class ~ Order'
  atomscope actors --json | jq 'map(.actor_type) | group_by(.) | map({{(.[0]): length}})'

{}
{WHO_HELP}", filter_help()))]
    Actors(Actors),
    /// Write everything that is told of a node.
    #[command(after_help = format!("\
`json` is one object: the fields of atomr_telemetry's NodeSnapshot, and beside them `atomscope`, which says how \
the node is, how old and how complete the data are, and holds all counters. `ndjson` is the same, one object a line, \
each with its `kind`: node, actor, dead_letter, metric, cluster, sharding, instance, journal_write. `raw` is a copy of everything that the node keeps, which \
every command reads again by its name, elsewhere and later: it says how the node was and when.

Examples:
  atomscope dump shop -o shop.json
  atomscope dump shop --format raw -o shop.raw && atomscope show shop.raw
  atomscope dump shop --redact -o for-the-bug-report.json
  atomscope dump 4711 --format ndjson | grep '\"kind\":\"dead_letter\"'

{WHO_HELP}"))]
    Dump(Dump),
    /// Show a node at a glance: how it is, its actors, dead letters, subsystems and events, how full it is.
    #[command(after_help = format!("\
Of the types of actors those with the most messages waiting come first, then those of most actors. Of the \
subsystems (cluster, sharding and so on) those in use have a line each.

Examples:
  atomscope show shop
  atomscope show 4711 --json | jq .usage.drops
  atomscope show shop.raw

{WHO_HELP}"))]
    Show(Show),
    /// Show a node live, on a screen that keys steer: its vital signs, actors, events, subsystems, and its last minutes.
    #[command(after_help = format!("\
Where there are several nodes it begins with a list of them; Enter looks at one. `?` tells all keys. A node that hangs, or \
has died, and a dump are shown as they are, and the screen says so.

  1 Overview  2 Actors    3 Letters  4 Events   5 Cluster  6 Sharding  7 Persistence  8 Remote
  9 Streams   0 Data      L Leases   R Runtime  M Metrics  S Self      N Nodes

  /        filter: a regular expression, `!` before it inverts, or conditions on columns
  < >      sort by another column, r turns the order round
  [ ]      into the past and back; p freezes the screen
  w        write a snapshot to a file
  Esc      back; q quits

Examples:
  atomscope top
  atomscope top shop --view actors --filter 'depth > 100 and class ~ Order'
  atomscope top shop.raw
  atomscope top 4711 --interval 250ms

{WHO_HELP}"))]
    Top(Top),
    /// Show the cluster as a node sees it: members, reachability, gossip, metrics of its nodes.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Cluster.sorts()))),
        after_help = listing_help(
            "IS says which member is the node itself (self) and which the leader.",
            &[
                "atomscope cluster shop",
                "atomscope cluster --json | jq -r '.members[] | select(.reachable | not).address'",
            ]
        )
    )]
    Cluster(Listing),
    /// List the shard regions of a node, its shards, allocations and hand-offs.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Sharding.sorts()))),
        after_help = listing_help(
            "A shard's OWNER is its region. ALLOCATED and HANDED_OFF are what the coordinator says of shards.",
            &[
                "atomscope sharding shop --sort messages --limit 20",
                "atomscope sharding shop --filter 'entities > 100 and owner ~ carts'",
            ]
        )
    )]
    Sharding(Listing),
    /// List the journals of a node, its persistence ids and newest writes.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Persistence.sorts()))),
        after_help = listing_help(
            "WRITE_P50(ms) and WRITE_P99(ms) are times that half and 99 % of a journal's writes did not exceed, at most a quarter too great. An id's OWNER is its journal. Without --limit the newest five writes are shown.",
            &[
                "atomscope persistence shop --sort event_count --limit 20",
                "atomscope persistence --json | jq '.journals[].write_p99_ns'",
            ]
        )
    )]
    Persistence(Listing),
    /// List the associations of a node with other nodes.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Remote.sorts()))),
        after_help = listing_help(
            "INBOUND and OUTBOUND are what passed so far; `atomscope stat --metric associations.inbound_bytes` tells how fast.",
            &[
                "atomscope remote shop",
                "atomscope remote shop --sort outbound_bytes --limit 5",
            ]
        )
    )]
    Remote(Listing),
    /// List the streams that run in a node.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Streams.sorts()))),
        after_help = listing_help(
            "ID is the number of a stream, in the order in which they started.",
            &[
                "atomscope streams shop --sort elements",
                "atomscope streams --json | jq '.graphs | length'",
            ]
        )
    )]
    Streams(Listing),
    /// List the keys of the distributed data of a node.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::DData.sorts()))),
        after_help = listing_help(
            "UPDATES are those that were seen at this node.",
            &[
                "atomscope ddata shop --sort updates --limit 10",
                "atomscope ddata shop --filter cart",
            ]
        )
    )]
    Ddata(Listing),
    /// List the leases of a node, and who holds them.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Leases.sorts()))),
        after_help = listing_help(
            "HOLDER is who holds it as far as this node knows; HELD says whether it is held here.",
            &[
                "atomscope leases shop",
                "atomscope leases --json | jq '.leases[] | select(.held)'",
            ]
        )
    )]
    Leases(Listing),
    /// List the worker threads of a node's async runtime, with its tasks and queue.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Runtime.sorts()))),
        after_help = listing_help(
            "BUSY(ms) is the time that a worker spent on tasks so far.",
            &[
                "atomscope runtime shop",
                "atomscope runtime shop --sort busy_ns",
            ]
        )
    )]
    Runtime(Listing),
    /// List all counters, gauges and histograms of a node, those of the application too.
    #[command(
        mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(Part::Metrics.sorts()))),
        after_help = listing_help_with(
            "an array of objects",
            "VALUE is in UNIT; that of a histogram is the number of its values, of which P50, P99 and GREATEST tell how great they are. `atomscope stat --metric NAME` tells how fast a counter grows.",
            &[
                "atomscope metrics shop --filter orders",
                "atomscope metrics --json | jq '.[] | select(.value > 0).name'",
            ]
        )
    )]
    Metrics(Listing),
    /// Show a node's rates, a line at an interval.
    #[command(after_help = format!("\
The first line holds averages since the node's start, or of a dead node over its life. It ends when the node does.

  ACTORS       live actors, by counting
  SPAWN(/s)    actors spawned a second
  STOP(/s)     actors stopped a second
  LETTERS(/s)  dead letters a second
  EVENTS(/s)   events published a second
  LOST         letters and events given up by their writers, in the interval
  UNREADABLE   records of actors that cannot be read now; - where there are too many to look at
  BEAT(s)      age of the node's newest beat
  CPU(%)       of one processor, in the interval; --process: then memory, threads, open files
  STATE        as `atomscope ps` explains it

Of a node that uses them: JOURNAL(/s), events of journals; SHARDS(/s), messages to shards; IN(KiB/s) and OUT(KiB/s), \
what comes from and goes to other nodes. JSON and comma-separated values always have all of these. On a terminal that is \
too narrow columns are left out: UNREADABLE, LETTERS, LOST, BEAT, STOP, EVENTS, OUT, IN, SHARDS, CPU, JOURNAL, in that order.

--metric adds a column: of what only grows, such as persistence.events, how much comes a second, of the rest its \
value; bytes are shown in KiB, nanoseconds in ms. `atomscope metrics` lists the names. DOMAIN.FIELD is the sum over \
the things of a domain in `atomscope dump`, such as associations.inbound_bytes.

INTERVAL is a number of seconds, or a number and ms, s or m. A single number is WHO, a pid; before COUNT alone, an \
interval has its unit: `stat 1s 5`. COUNT lines are written, without it lines until interrupted.

Examples:
  atomscope stat shop
  atomscope stat shop 1
  atomscope stat 4711 500ms 20
  atomscope stat shop 1m --csv >> shop.csv
  atomscope stat shop --metric persistence.events --metric sharding.messages --metric runtime.queue

{WHO_HELP}"))]
    Stat(Stat),
    /// Tell what happens in nodes, as it happens: actors spawned and stopped, dead letters and more.
    #[command(after_help = format!("\
All lanes of a node are merged into one order, in which nothing comes before its cause. What was overwritten \
before it was read is told, with how many, in which lane, and between which times. Events of several nodes come by \
their clocks, held back for a twentieth of a second so that those of one machine are in order. A node that is named \
more than once is told once.

--json writes one object a line: `kind` and its fields as in atomr_telemetry's TelemetryEvent, and topic, at, \
stamp, lane, node, pid. Two kinds are no events: `lost` (lost = lapped + abandoned + unreadable, after, before) and \
`ended` (state, why; the state is corrupt where the file was cut or overwritten, which is a failure without --retry).

Examples:
  atomscope tail shop
  atomscope tail shop depot --topic dead_letters
  atomscope tail shop --since 5m --no-follow --json | jq -r 'select(.kind == \"lost\").lost'
  atomscope tail shop --retry

{WHO_HELP}"))]
    Tail(Tail),
    /// Remove what dead nodes have left in shared memory. This deletes the evidence of crashes.
    #[command(
        visible_alias = "gc",
        after_help = "\
Only named segments of dead nodes are removed, your own, or as root everybody's; they are looked at again right \
before. So is what a node left that died before it was ready, a minute later. What a living node uses, a file that \
somebody named, a dump, or what cannot be judged is never touched.

Examples:
  atomscope prune --dry-run
  atomscope prune --node shop
  atomscope dump shop --format raw -o shop.raw && atomscope prune --node shop"
    )]
    Prune(Prune),
    /// Say why a node cannot be seen or is seen badly, and what to do.
    #[command(after_help = format!("\
Looks at every region that can be found, or at that of WHO: who owns it and may read it, versions, locks, beats, \
how full it is and what was left out of it, what the probe's threads cost, whether what is polled answers. Without WHO \
dead nodes are told of by their headers. Findings are no failure.

Examples:
  atomscope doctor
  atomscope doctor shop
  atomscope doctor --json | jq -r '.[] | select(.level == \"problem\").finding'

{WHO_HELP}"))]
    Doctor(Doctor),
    /// Print a script that completes this program's commands and options in a shell.
    #[command(after_help = "\
Examples:
  atomscope completions bash > ~/.local/share/bash-completion/completions/atomscope
  atomscope completions fish > ~/.config/fish/completions/atomscope.fish")]
    Completions(Completions),
    /// Print a manual page, or write those of all commands.
    #[command(after_help = "\
Examples:
  atomscope man | man -l -
  atomscope man dump | man -l -
  atomscope man --out ~/.local/share/man/man1")]
    Man(Man),
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Actors {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Show children below their parents.
    #[arg(long)]
    pub tree: bool,
    /// Order: by path or type from A to Z, by mailbox depth from the deepest, by age from the oldest.
    #[arg(long, value_enum, default_value_t = Sort::Path)]
    pub sort: Sort,
    /// Turn the order round.
    #[arg(long)]
    pub reverse: bool,
    /// Only actors that fulfil this, in a tree with those above them: a regular expression over their texts, `!` before it
    /// inverts, or conditions on path, name, parent, class, depth, age and host; see below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Listing {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Order by this column.
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Turn the order round.
    #[arg(long)]
    pub reverse: bool,
    /// Only what fulfils this: a regular expression over its texts, `!` before it inverts, or conditions on its columns; see
    /// below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many of each kind.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write JSON; see below.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Path,
    Type,
    Depth,
    Age,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Write to this file, all of it or nothing, readable by you alone; `-` is stdout.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Replace every name that may come from the application by a pseudonym and drop message previews. The same name
    /// gets the same pseudonym, within this dump.
    #[arg(long)]
    pub redact: bool,
    /// Make pseudonyms from this secret, so that those of several dumps agree.
    #[arg(long, value_name = "KEY", requires = "redact")]
    pub redact_key: Option<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Ndjson,
    Raw,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Write a JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Top {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Between two looks, such as 5 (seconds), 500ms, 1s or 5m.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Begin with this view.
    #[arg(long, value_enum, default_value_t = View::Overview)]
    pub view: View,
    /// Begin with this filter in that view; of the actors if no view is named.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Memory for the past at most; K, M and G are powers of 1024. What does not fit gets coarse from its old end.
    #[arg(long, value_name = "BYTES", default_value = "128M", value_parser = parse_size)]
    pub history: u64,
}

#[derive(Debug, Args)]
pub struct Stat {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Between two lines, such as 5 (seconds), 500ms, 1s or 5m; 1s if left out.
    pub interval: Option<OsString>,
    /// This many lines.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Write JSON, one object a line.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Write comma-separated values.
    #[arg(long)]
    pub csv: bool,
    /// Show what the process takes of its machine too, as JSON and comma-separated values always do.
    #[arg(long)]
    pub process: bool,
    /// Tell this metric too; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
}

impl Stat {
    /// With what stands in its place: `stat 1s 5` names no node. What is a number alone is a pid if it comes first, and an
    /// interval behind what is none.
    pub fn shifted(self) -> Result<Self, Failure> {
        let has_unit = |text: &OsString| {
            text.to_str().is_some_and(|text| !is_number(text) && parse_interval(text).is_ok())
        };
        let Some(first) = self.who.clone() else { return Ok(self) };
        if !has_unit(&first) || self.interval.as_ref().is_some_and(has_unit) {
            return Ok(self);
        }
        let Self { interval, count, .. } = self;
        if count.is_some() {
            let interval = interval.unwrap_or_default();
            return Err(Failure::Usage(format!("{} is no interval: try 1s", clean_os(&interval))));
        }
        let number = |text: OsString| {
            text.to_str().and_then(|text| text.parse().ok()).filter(|count| *count > 0).ok_or_else(|| {
                Failure::Usage(format!("{} is no number of lines, at least 1", clean_os(&text)))
            })
        };
        let count = interval.map(number).transpose()?;
        Ok(Self { who: None, interval: Some(first), count, ..self })
    }
}

#[derive(Debug, Args)]
pub struct Tail {
    /// Which nodes: pids, files, or names.
    pub who: Vec<OsString>,
    /// Only events of this topic; may be given several times.
    #[arg(long, value_name = "TOPIC", value_parser = PossibleValuesParser::new(TelemetryEvent::ALL_TOPICS))]
    pub topic: Vec<String>,
    /// First the newest N of the events that are kept; 10 if left out, or with --since all.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Nothing of before TIME: RFC 3339 as 2030-01-31T12:00:00Z, or an age as 30s, 5m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// End after what is there.
    #[arg(long)]
    pub no_follow: bool,
    /// Where a node is not there or has ended, wait for the next one of its name, or in its file if one was named.
    #[arg(long, conflicts_with = "no_follow")]
    pub retry: bool,
    /// Write JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// A time that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nanoseconds since 1970, UTC.
    At(i128),
    /// Before now, or before the dump was taken.
    Ago(Duration),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Only say what would be removed.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Only what nodes of this name have left.
    #[arg(long, value_name = "NAME")]
    pub node: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Which node: a pid, a file, or a name; all if left out.
    pub who: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// The page of this command; of the whole program if left out.
    pub command: Option<String>,
    /// Write the pages of the program and of all commands into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// A day at most: nobody waits longer for a line.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An interval: digits, then ms, s or m; without those they are seconds, as in vmstat.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let wanted = || {
        format!(
            "{} is no interval: a number of seconds is wanted, or a number and ms, s or m, such as 500ms or 1s",
            clean(text)
        )
    };
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("", 1000)];
    let time = parse_time(text, &units).ok_or_else(wanted)?;
    if time.is_zero() || time > MAX_INTERVAL {
        return Err(format!("{text} cannot be an interval: it must be longer than 0 and at most a day"));
    }
    Ok(time)
}

fn parse_time(text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, ms) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*ms).map(Duration::from_millis)
}

fn parse_since(text: &str) -> Result<Since, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    if let Some(age) = parse_time(text, &units) {
        return Ok(Since::Ago(age));
    }
    let wanted = "a time in RFC 3339 is wanted, such as 2030-01-31T12:00:00Z, or an age such as 30s or 5m";
    text.parse::<Timestamp>().map(|time| Since::At(time.as_nanosecond())).map_err(|_| wanted.to_owned())
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "a number of bytes is wanted, such as 4294967296 or 4G".to_owned())
}

#[cfg(test)]
mod tests {
    use atomscope::attach::MAX_BYTES;
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_numbers_with_a_binary_unit_and_the_default_is_the_librarys() {
        assert_eq!(parse_size("4G"), Ok(MAX_BYTES));
        assert_eq!(parse_size("10k"), Ok(10 << 10));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "G", "-1", "1.5G", "99999999T", "4é"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervals_are_whole_numbers_with_a_unit_or_seconds() {
        assert_eq!(parse_interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_interval("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_interval("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "s",
            "0s",
            "0",
            "1.5s",
            "1.5",
            "5h",
            "-1s",
            " 1s",
            "99999999999m",
            "99999999999999999999s",
            "99999999999999999999",
            "86401",
        ] {
            assert!(parse_interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_to_begin_with_is_a_date_or_an_age() {
        assert_eq!(parse_since("2h"), Ok(Since::Ago(Duration::from_secs(7200))));
        assert_eq!(parse_since("1970-01-01T00:00:01+00:00"), Ok(Since::At(1_000_000_000)));
        for bad in ["", "yesterday", "2030-01-31", "5", "99999999999999999999d"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_stat_is_given_first_may_be_its_interval() {
        let parse = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["atomscope", "stat"], args].concat()).unwrap();
            let Command::Stat(stat) = cli.command else { panic!("not stat") };
            stat.shifted().map(|stat| {
                let text = |text: Option<OsString>| text.map(|text| text.into_string().unwrap());
                (text(stat.who), text(stat.interval), stat.count)
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse(&[]).unwrap(), (None, None, None));
        assert_eq!(parse(&["1s"]).unwrap(), (None, some("1s"), None));
        assert_eq!(parse(&["1s", "5"]).unwrap(), (None, some("1s"), Some(5)));
        assert_eq!(parse(&["4711", "1s", "5"]).unwrap(), (some("4711"), some("1s"), Some(5)));
        assert_eq!(parse(&["1s", "2s"]).unwrap(), (some("1s"), some("2s"), None));
        assert_eq!(parse(&["500"]).unwrap(), (some("500"), None, None));
        assert_eq!(parse(&["500", "1"]).unwrap(), (some("500"), some("1"), None));
        assert_eq!(parse(&["shop", "1"]).unwrap(), (some("shop"), some("1"), None));
        assert_eq!(parse(&["shop", "1", "5"]).unwrap(), (some("shop"), some("1"), Some(5)));
        assert_eq!(parse(&["1", "1s"]).unwrap(), (some("1"), some("1s"), None));
        assert!(parse(&["1s", "0"]).is_err() && parse(&["1s", "x"]).is_err());
    }

    #[test]
    fn every_help_text_has_an_example() {
        let mut cli = Cli::command();
        assert!(cli.render_long_help().to_string().contains("atomscope actors shop --tree"));
        for command in cli.get_subcommands_mut() {
            if command.get_name() != "help" {
                assert!(
                    command.render_long_help().to_string().contains("Examples:"),
                    "{}",
                    command.get_name()
                );
            }
        }
    }
}
