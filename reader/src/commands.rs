//! What each command does: finds its region, takes a snapshot, and writes it down.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use atomscope::attach::{AttachError, Glance, Refusal};
use atomscope::find::{Chosen, Found, Search, Who, others_note};
use atomscope::liveness::Verdict;
use atomscope::raw::RawDump;
use atomscope::redact::Redactor;
use atomscope::snapshot::{self, About, MetricDump, Snapshot};
use atomscope::text::write_json;
use atomscope_layout::decode::{ActorEntry, rfc3339};
use atomscope_layout::dto::{self, ActorStatus, ActorTreeNode, DeadLetterRecord};
use serde::Serialize;

use crate::cli::{self, Cli, Command, Format, Place, Sort};
use crate::output::{Failure, note, to_file, to_stdout};
use crate::table::{self, Cell, Screen, Side, Table};
use crate::{doctor, manual, prune, show, stat, tail};

pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Ps(args) => ps(&cli.place, &args),
        Command::Actors(args) => actors(&cli.place, args),
        Command::Dump(args) => dump(&cli.place, args),
        Command::Show(args) => show::show(&cli.place, args),
        Command::Stat(args) => stat::stat(&cli.place, args),
        Command::Tail(args) => tail::tail(&cli.place, args),
        Command::Prune(args) => prune::prune(&cli.place, &args),
        Command::Doctor(args) => doctor::doctor(&cli.place, args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

/// Attaches to the region that is meant and says which one, if there was a choice.
pub fn attach(place: &Place, who: Option<OsString>) -> Result<Chosen, Failure> {
    let chosen = search(place).one(&meant(place, who)?)?;
    if let Some(text) = &chosen.note {
        note(text);
    }
    Ok(chosen)
}

/// Which region is meant.
pub fn meant(place: &Place, who: Option<OsString>) -> Result<Who, Failure> {
    Ok(match (&place.region, who) {
        (Some(path), None) => Who::File(path.clone()),
        (None, Some(who)) => Who::parse(&who),
        (None, None) => Who::Only,
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("WHO and --region both say which region is meant: give one".into()));
        }
    })
}

pub fn search(place: &Place) -> Search {
    Search { dir: place.dir.clone(), max_bytes: place.max_size }
}

/// The colour of a verdict.
pub fn style(verdict: Verdict) -> anstyle::Style {
    match verdict {
        Verdict::Live => table::GOOD,
        Verdict::Crashed | Verdict::Wedged(_) => table::BAD,
        Verdict::NotReady { .. } | Verdict::Starting | Verdict::Stopping | Verdict::Closed => table::ODD,
    }
}

pub fn seconds(age: Duration) -> f64 {
    age.as_millis() as f64 / 1000.0
}

/// A region in a listing.
#[derive(Debug, Serialize)]
struct PsRow {
    pid: Option<u64>,
    node: Option<String>,
    system: Option<String>,
    state: &'static str,
    why: Option<String>,
    age_s: Option<f64>,
    beat_age_s: Option<f64>,
    actors: Option<u64>,
    bytes: Option<u64>,
    path: String,
    uid: Option<u64>,
    program: Option<String>,
    writer_version: Option<String>,
    created_at: Option<String>,
    #[serde(skip)]
    style: anstyle::Style,
    #[serde(skip)]
    is_alive: bool,
}

impl PsRow {
    fn new(found: Found, now_unix_ns: i128) -> Self {
        let Found { pid, region } = found;
        match region {
            Ok(glance) => Self::readable(glance, now_unix_ns),
            Err(error) => Self::unreadable(pid, &error),
        }
    }

    fn readable(glance: Glance, now_unix_ns: i128) -> Self {
        let (pid, is_alive) = (glance.pid(), glance.is_alive());
        let Glance { path, bytes, user, identity, liveness, live_actors, dumped, .. } = glance;
        let created = i128::from(identity.header.created_unix_ns);
        let verdict = liveness.verdict;
        let now_unix_ns = dumped.map_or(now_unix_ns, |taken| taken.unix_ns);
        Self {
            pid: Some(pid),
            node: Some(identity.node),
            system: identity.system,
            state: verdict.word(),
            why: match dumped {
                Some(taken) => Some(format!("this is a dump, taken at {}", rfc3339(taken.unix_ns))),
                None => verdict.why().map(str::to_owned),
            },
            age_s: Some(seconds(snapshot::age(now_unix_ns, created))),
            beat_age_s: liveness.newest_beat_age().map(seconds),
            actors: live_actors,
            bytes: Some(bytes),
            path: path.to_string_lossy().into_owned(),
            uid: Some(user),
            program: Some(identity.program),
            writer_version: Some(identity.writer),
            created_at: Some(rfc3339(created)),
            style: style(verdict),
            is_alive,
        }
    }

    fn unreadable(pid: Option<u64>, error: &AttachError) -> Self {
        Self {
            pid,
            node: None,
            system: None,
            state: error.why.word(),
            why: Some(error.why.to_string()),
            age_s: None,
            beat_age_s: None,
            actors: None,
            bytes: None,
            path: error.path.to_string_lossy().into_owned(),
            uid: None,
            program: None,
            writer_version: None,
            created_at: None,
            style: table::BAD,
            is_alive: false,
        }
    }

    fn cells(&self) -> [Cell; 10] {
        let tenths = |seconds: Option<f64>| Cell::known(seconds.map(|seconds| format!("{seconds:.1}")));
        [
            Cell::known(self.pid),
            Cell::known(self.node.as_deref()),
            Cell::known(self.system.as_deref()),
            Cell::text(self.state).style(self.style),
            tenths(self.age_s),
            tenths(self.beat_age_s),
            Cell::known(self.actors),
            tenths(self.bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))),
            Cell::text(&self.path),
            Cell::text(self.why.as_deref().unwrap_or_default()),
        ]
    }
}

fn ps(place: &Place, args: &cli::Ps) -> Result<(), Failure> {
    let (found, of_others) = match &place.region {
        None => {
            let discovery = search(place).all()?;
            (discovery.found, discovery.of_others)
        }
        Some(path) => {
            let region = Glance::take(path, None, place.max_size);
            (vec![Found { pid: region.as_ref().ok().map(Glance::pid), region }], 0)
        }
    };
    let now = snapshot::now_unix_ns();
    // The one that was asked for, and a row alone would not say to a script that it could not be had.
    let is_refused = place.region.is_some() && found.iter().all(|found| found.region.is_err());
    let mut rows: Vec<PsRow> = found.into_iter().map(|found| PsRow::new(found, now)).collect();
    // The living first, by name; of one name the newest first.
    rows.sort_by(|a, b| {
        (b.is_alive, a.node.is_none(), &a.node, &b.created_at, a.pid).cmp(&(
            a.is_alive,
            b.node.is_none(),
            &b.node,
            &a.created_at,
            b.pid,
        ))
    });
    if args.json {
        to_stdout(|out| write_json(out, &rows))?;
    } else {
        let (left, right) = (Side::Left, Side::Right);
        let mut table = Table::new([
            ("PID", right),
            ("NODE", left),
            ("SYSTEM", left),
            ("STATE", left),
            ("AGE(s)", right),
            ("BEAT(s)", right),
            ("ACTORS", right),
            ("SIZE(MiB)", right),
            ("FILE", left),
            ("NOTE", left),
        ]);
        rows.iter().for_each(|row| table.row(row.cells()));
        to_stdout(|out| table.write(out, Screen::stdout()))?;
    }
    if of_others > 0 {
        note(&others_note(of_others));
    }
    match rows.into_iter().next().and_then(|row| row.why).filter(|_| is_refused) {
        Some(why) => Err(Failure::Failed(why)),
        None => Ok(()),
    }
}

/// An actor in a listing.
#[derive(Debug, Serialize)]
struct ActorRow<'a> {
    path: &'a str,
    parent: Option<&'a str>,
    actor_type: &'a str,
    /// `None` where it is not known.
    mailbox_depth: Option<u64>,
    spawned_at: &'a str,
    age_s: Option<f64>,
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<ActorRow<'a>>>,
}

impl<'a> ActorRow<'a> {
    fn new(entry: &'a ActorEntry, snapshot: &Snapshot) -> Self {
        let ActorStatus { path, parent, actor_type, mailbox_depth, spawned_at, host } = &entry.status;
        Self {
            path,
            parent: parent.as_deref(),
            actor_type,
            mailbox_depth: entry.depth_known.then_some(*mailbox_depth),
            spawned_at,
            age_s: entry.spawned_unix_ns.map(|spawned| seconds(snapshot.age(spawned))),
            host: host.as_deref(),
            children: None,
        }
    }

    fn cells(&self, name: &str) -> [Cell; 5] {
        [
            Cell::text(name),
            Cell::text(self.actor_type),
            Cell::known(self.mailbox_depth),
            Cell::known(self.age_s.map(|age| format!("{age:.1}"))),
            Cell::known(self.host),
        ]
    }
}

/// What of the actors is shown.
struct Listing<'a> {
    rows: Vec<ActorRow<'a>>,
    left_out: usize,
}

fn actors(place: &Place, args: cli::Actors) -> Result<(), Failure> {
    let chosen = attach(place, args.who)?;
    let mut snapshot = Snapshot::take(&chosen.region)?;
    sort(&mut snapshot.actors.entries, args.sort, args.reverse);
    let filter = args.filter.as_deref().unwrap_or_default();
    let rows = if args.tree { tree(&snapshot, filter) } else { list(&snapshot, filter) };
    let listing = limit(rows, args.limit.unwrap_or(usize::MAX));
    if args.json {
        to_stdout(|out| write_json(out, &listing.rows))?;
    } else {
        let (left, right) = (Side::Left, Side::Right);
        let mut table = Table::new([
            ("PATH", left),
            ("TYPE", left),
            ("DEPTH(msgs)", right),
            ("AGE(s)", right),
            ("HOST", left),
        ]);
        for row in &listing.rows {
            table.row(row.cells(row.path));
            draw_children(row, "", &mut table);
        }
        to_stdout(|out| table.write(out, Screen::stdout()))?;
    }
    if listing.left_out > 0 {
        note(&format!("{} more actors; a larger --limit shows them", listing.left_out));
    }
    snapshot.caveats().iter().for_each(|caveat| note(caveat));
    Ok(())
}

/// What is unknown comes last, whatever is asked for.
fn sort(entries: &mut [ActorEntry], by: Sort, reverse: bool) {
    let turn = |order: Ordering| if reverse { order.reverse() } else { order };
    // Entries come by path, and the sort is stable.
    match by {
        Sort::Path => entries.sort_by(|a, b| turn(a.status.path.cmp(&b.status.path))),
        Sort::Type => entries.sort_by(|a, b| turn(a.status.actor_type.cmp(&b.status.actor_type))),
        Sort::Depth => entries.sort_by(|a, b| {
            let deepest = b.status.mailbox_depth.cmp(&a.status.mailbox_depth);
            b.depth_known.cmp(&a.depth_known).then(turn(deepest))
        }),
        Sort::Age => entries.sort_by(|a, b| {
            let oldest = a.spawned_unix_ns.cmp(&b.spawned_unix_ns);
            a.spawned_unix_ns.is_none().cmp(&b.spawned_unix_ns.is_none()).then(turn(oldest))
        }),
    }
}

fn matches(entry: &ActorEntry, filter: &str) -> bool {
    entry.status.path.contains(filter) || entry.status.actor_type.contains(filter)
}

fn list<'a>(snapshot: &'a Snapshot, filter: &str) -> Vec<ActorRow<'a>> {
    let entries = snapshot.actors.entries.iter().filter(|entry| matches(entry, filter));
    entries.map(|entry| ActorRow::new(entry, snapshot)).collect()
}

fn tree<'a>(snapshot: &'a Snapshot, filter: &str) -> Vec<ActorRow<'a>> {
    let entries = &snapshot.actors.entries;
    let flat: Vec<ActorStatus> = entries.iter().map(|entry| entry.status.clone()).collect();
    let by_path: HashMap<&str, &ActorEntry> =
        entries.iter().map(|entry| (entry.status.path.as_str(), entry)).collect();
    /// A node of the tree, if it or anything below it matches.
    fn branch<'a>(
        node: &ActorTreeNode,
        by_path: &HashMap<&str, &'a ActorEntry>,
        snapshot: &Snapshot,
        filter: &str,
    ) -> Option<ActorRow<'a>> {
        let entry = by_path.get(node.path.as_str())?;
        let below: Vec<_> =
            node.children.iter().filter_map(|child| branch(child, by_path, snapshot, filter)).collect();
        (!below.is_empty() || matches(entry, filter))
            .then(|| ActorRow { children: Some(below), ..ActorRow::new(entry, snapshot) })
    }
    dto::tree(&flat).iter().filter_map(|node| branch(node, &by_path, snapshot, filter)).collect()
}

/// The first `most` rows, parents before their children.
fn limit(rows: Vec<ActorRow<'_>>, most: usize) -> Listing<'_> {
    fn cut(rows: &mut Vec<ActorRow<'_>>, room: &mut usize, left_out: &mut usize) {
        rows.retain_mut(|row| {
            let kept = *room > 0;
            if kept {
                *room -= 1
            } else {
                *left_out += 1
            }
            if let Some(children) = &mut row.children {
                cut(children, room, left_out);
            }
            kept
        });
    }
    let (mut rows, mut room, mut left_out) = (rows, most, 0);
    cut(&mut rows, &mut room, &mut left_out);
    Listing { rows, left_out }
}

/// Adds everything below `row`, each by the last element of its path, behind the lines that join it to its parent.
fn draw_children(row: &ActorRow<'_>, lines: &str, table: &mut Table<5>) {
    let children = row.children.as_deref().unwrap_or_default();
    for (at, child) in children.iter().enumerate() {
        let (joint, beyond) =
            if at + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let name = child.path.rsplit('/').next().unwrap_or(child.path);
        table.row(child.cells(&format!("{lines}{joint}{name}")));
        draw_children(child, &format!("{lines}{beyond}"), table);
    }
}

/// One line of `dump --format ndjson`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Node { node: &'a str, generated_at: &'a str, actors: u64, atomscope: &'a About },
    Actor(&'a ActorStatus),
    DeadLetter(&'a DeadLetterRecord),
    Metric { name: &'a str, unit: &'a str, metric_kind: &'a str, help: &'a str, value: u64 },
}

fn dump(place: &Place, args: cli::Dump) -> Result<(), Failure> {
    if args.format == Format::Raw && args.output == Path::new("-") && io::stdout().is_terminal() {
        return Err(Failure::Usage("a raw dump is no text for a terminal: name a file with -o".into()));
    }
    let chosen = attach(place, args.who)?;
    let redactor = match (args.redact, &args.redact_key) {
        (false, _) => None,
        (true, Some(key)) => Some(Redactor::with_key(key.as_bytes())),
        (true, None) => Some(Redactor::fresh().map_err(|error| {
            Failure::Failed(format!("the system gives no random key: {error}; --redact-key KEY does without"))
        })?),
    };
    if args.format == Format::Raw {
        let mut dump = RawDump::take(&chosen.region)?;
        if let Some(redactor) = redactor {
            let path = chosen.region.path().to_owned();
            dump = dump
                .redacted(&redactor)
                .map_err(|error| AttachError { path, why: Refusal::Layout(error) })?;
        }
        return to_file(&args.output, &chosen.region, |out| dump.write(out));
    }
    let mut snapshot = Snapshot::take(&chosen.region)?;
    if let Some(redactor) = redactor {
        redactor.redact(&mut snapshot);
    }
    let mut dump = snapshot.into_dump(args.redact);
    to_file(&args.output, &chosen.region, |out| match args.format {
        Format::Json => write_json(out, &dump),
        Format::Ndjson => {
            let metrics = std::mem::take(&mut dump.atomscope.metrics);
            let (node, atomscope) = (&dump.node, &dump.atomscope);
            let (name, generated_at, actors) = (&node.node, &node.generated_at, node.actors.total);
            write_json(out, &Line::Node { node: name, generated_at, actors, atomscope })?;
            node.actors.flat.iter().try_for_each(|actor| write_json(out, &Line::Actor(actor)))?;
            node.dead_letters.iter().try_for_each(|letter| write_json(out, &Line::DeadLetter(letter)))?;
            metrics.iter().try_for_each(
                |MetricDump { name, unit, kind: metric_kind, help, value, .. }| {
                    write_json(out, &Line::Metric { name, unit, metric_kind, help, value: *value })
                },
            )
        }
        Format::Raw => Ok(()),
    })
}
