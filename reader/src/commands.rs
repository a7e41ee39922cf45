//! What each command does: finds its region, takes a snapshot, and writes it down.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use atomscope::attach::{AttachError, AttachErrorKind, RegionSummary};
use atomscope::find::{Chosen, Found, Search, Who, hidden_notes, newest_first, others_note};
use atomscope::liveness::{Liveness, Notes, Verdict};
use atomscope::raw::RawDump;
use atomscope::redact::Redactor;
use atomscope::snapshot::{About, Dump, HistogramDump, MetricDump, Snapshot};
use atomscope::text::write_json;
use atomscope_layout::decode::subsystems::InstanceEntry;
use atomscope_layout::decode::{Actor, rfc3339};
use atomscope_layout::dto::{ClusterStateInfo, DeadLetterRecord, JournalWriteInfo, ShardingSnapshot};
use serde::Serialize;

use crate::cli::{self, Cli, Command, Format, Place};
use crate::output::{Failure, Out, Readers, note, to_file, to_people, to_stdout};
use crate::subsystems::{self, Part};
use crate::table::{self, Cell, Screen, Side, Table};
use crate::{actors, doctor, manual, prune, show, stat, tail, top};

pub fn run(cli: Cli) -> Result<(), Failure> {
    let list = |part, args| subsystems::list(&cli.place, part, args);
    match cli.command {
        Command::Ps(args) => ps(&cli.place, &args),
        Command::Actors(args) => actors::actors(&cli.place, args),
        Command::Dump(args) => dump(&cli.place, args),
        Command::Show(args) => show::show(&cli.place, args),
        Command::Top(args) => top::top(&cli.place, args),
        Command::Cluster(args) => list(Part::Cluster, args),
        Command::Sharding(args) => list(Part::Sharding, args),
        Command::Persistence(args) => list(Part::Persistence, args),
        Command::Remote(args) => list(Part::Remote, args),
        Command::Streams(args) => list(Part::Streams, args),
        Command::Ddata(args) => list(Part::DData, args),
        Command::Leases(args) => list(Part::Leases, args),
        Command::Runtime(args) => list(Part::Runtime, args),
        Command::Metrics(args) => list(Part::Metrics, args),
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

/// The colour of how a node is.
pub fn style(liveness: &Liveness) -> anstyle::Style {
    match liveness.verdict {
        Verdict::Live if liveness.notes.is_empty() => table::GOOD,
        Verdict::Live => table::ODD,
        Verdict::Crashed | Verdict::Wedged(_) => table::BAD,
        Verdict::NotReady { .. } | Verdict::Starting | Verdict::Stopping | Verdict::Closed => table::ODD,
    }
}

pub fn seconds(age: Duration) -> f64 {
    age.as_millis() as f64 / 1000.0
}

/// A region in a listing.
#[derive(Debug, Clone, Serialize)]
pub struct PsRow {
    pub pid: Option<u64>,
    pub node: Option<String>,
    pub system: Option<String>,
    pub state: &'static str,
    pub why: Option<String>,
    /// What is to be known beside the state; `None` of what cannot be read.
    pub conditions: Option<Notes>,
    pub age_s: Option<f64>,
    pub beat_age_s: Option<f64>,
    pub actors: Option<u64>,
    pub bytes: Option<u64>,
    /// By which it can be attached to.
    pub path: String,
    /// The name that its file had, if it has none any more.
    unlinked_from: Option<String>,
    uid: Option<u64>,
    program: Option<String>,
    writer_version: Option<String>,
    created_at: Option<String>,
    /// The path for people.
    #[serde(skip)]
    pub shown_path: String,
    #[serde(skip)]
    style: anstyle::Style,
    #[serde(skip)]
    is_alive: bool,
    /// What can be attached to.
    #[serde(skip)]
    pub glance: Option<RegionSummary>,
}

impl PsRow {
    fn new(found: Found) -> Self {
        let Found { pid, region } = found;
        match region {
            Ok(glance) => Self::readable(glance),
            Err(error) => Self::unreadable(pid, &error),
        }
    }

    fn readable(glance: RegionSummary) -> Self {
        let (pid, is_alive, shown_path) = (glance.pid(), glance.is_alive(), glance.shown_path());
        let RegionSummary {
            path, bytes, user, identity, liveness, live_actors, dumped, unlinked_from, ..
        } = glance.clone();
        let created = i128::from(identity.header.created_unix_ns);
        let verdict = liveness.verdict;
        Self {
            pid: Some(pid),
            node: Some(identity.node),
            system: identity.system,
            state: verdict.word(),
            why: match dumped {
                Some(taken) => Some(format!("this is a dump, taken at {}", rfc3339(taken.unix_ns))),
                None => liveness.why(),
            },
            conditions: Some(liveness.notes),
            age_s: glance.age.map(seconds),
            beat_age_s: liveness.newest_beat_age().map(seconds),
            actors: live_actors,
            bytes: Some(bytes),
            path: path.to_string_lossy().into_owned(),
            unlinked_from: unlinked_from.map(|name| name.to_string_lossy().into_owned()),
            shown_path: shown_path.to_string_lossy().into_owned(),
            uid: Some(user),
            program: Some(identity.program),
            writer_version: Some(identity.writer),
            created_at: Some(rfc3339(created)),
            style: style(&liveness),
            is_alive,
            glance: Some(glance),
        }
    }

    fn unreadable(pid: Option<u64>, error: &AttachError) -> Self {
        Self {
            pid,
            node: None,
            system: None,
            state: error.why.word(),
            why: Some(error.why.to_string()),
            conditions: None,
            age_s: None,
            beat_age_s: None,
            actors: None,
            bytes: None,
            path: error.path.to_string_lossy().into_owned(),
            unlinked_from: None,
            shown_path: error.path.to_string_lossy().into_owned(),
            uid: None,
            program: None,
            writer_version: None,
            created_at: None,
            style: table::BAD,
            is_alive: false,
            glance: None,
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
            Cell::text(&self.shown_path),
            Cell::text(self.why.as_deref().unwrap_or_default()),
        ]
    }
}

/// All regions that can be found, the living first, and what there is to be said of those that cannot.
pub fn nodes(place: &Place) -> Result<(Vec<PsRow>, Vec<String>), Failure> {
    let (found, notes) = match &place.region {
        None => {
            let discovery = search(place).all()?;
            let others = (discovery.of_others > 0).then(|| others_note(discovery.of_others));
            let notes = others.into_iter().chain(hidden_notes(&discovery.hidden())).collect();
            (discovery.found, notes)
        }
        Some(path) => {
            let region = RegionSummary::take(path, None, place.max_size);
            (vec![Found { pid: region.as_ref().ok().map(RegionSummary::pid), region }], Vec::new())
        }
    };
    let mut rows: Vec<PsRow> = found.into_iter().map(PsRow::new).collect();
    rows.sort_by_key(|row| row.pid);
    let mut rows = newest_first(rows, |row| row.glance.as_ref());
    // By name; of one name the newest stays first.
    rows.sort_by(|a, b| {
        (b.is_alive, a.node.is_none(), &a.node).cmp(&(a.is_alive, b.node.is_none(), &b.node))
    });
    Ok((rows, notes))
}

fn ps(place: &Place, args: &cli::Ps) -> Result<(), Failure> {
    let (rows, notes) = nodes(place)?;
    // The one that was asked for, and a row alone would not say to a script that it could not be had.
    let is_refused = place.region.is_some() && rows.iter().all(|row| row.glance.is_none());
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
        ])
        .leaving(["SIZE(MiB)", "SYSTEM", "AGE(s)", "FILE", "BEAT(s)", "ACTORS"]);
        rows.iter().for_each(|row| table.row(row.cells()));
        to_people(|out| table.write(out, Screen::stdout()))?;
    }
    notes.iter().for_each(|text| note(text));
    match rows.into_iter().next().and_then(|row| row.why).filter(|_| is_refused) {
        Some(why) => Err(Failure::Failed(why)),
        None => Ok(()),
    }
}

/// One line of `dump --format ndjson`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Node {
        node: &'a str,
        generated_at: &'a str,
        actors: u64,
        atomscope: &'a About,
    },
    Actor(Actor<'a>),
    DeadLetter(&'a DeadLetterRecord),
    Metric {
        name: &'a str,
        unit: &'a str,
        metric_kind: &'a str,
        help: &'a str,
        value: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        histogram: Option<&'a HistogramDump>,
    },
    Cluster(&'a ClusterStateInfo),
    Sharding {
        #[serde(flatten)]
        sharding: &'a ShardingSnapshot,
        hand_offs: &'a [[String; 4]],
    },
    Instance {
        domain: &'a str,
        #[serde(flatten)]
        instance: &'a InstanceEntry,
    },
    JournalWrite(&'a JournalWriteInfo),
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
                .map_err(|error| AttachError { path, why: AttachErrorKind::Layout(error) })?;
        }
        return to_file(&args.output, Some(&chosen.region), Readers::Owner, |out| dump.write(out));
    }
    let mut snapshot = Snapshot::take(&chosen.region)?;
    if let Some(redactor) = redactor {
        redactor.redact(&mut snapshot);
    }
    let dump = snapshot.into_dump(args.redact);
    to_file(&args.output, Some(&chosen.region), Readers::Owner, |out| write_dump(dump, args.format, out))
}

/// A raw dump is none of a snapshot: of that nothing is written.
pub fn write_dump(mut dump: Dump, format: Format, out: &mut Out<'_>) -> io::Result<()> {
    match format {
        Format::Json => write_json(out, &dump),
        Format::Ndjson => {
            let metrics = std::mem::take(&mut dump.atomscope.metrics);
            let instances = std::mem::take(&mut dump.atomscope.instances);
            let hand_offs = std::mem::take(&mut dump.atomscope.hand_offs);
            let Dump { node, generated_at, actors, dead_letters, atomscope, .. } = &dump;
            let Dump { cluster, sharding, persistence, .. } = &dump;
            write_json(out, &Line::Node { node, generated_at, actors: actors.total(), atomscope })?;
            actors.actors().iter().try_for_each(|actor| write_json(out, &Line::Actor(actor)))?;
            dead_letters.iter().try_for_each(|letter| write_json(out, &Line::DeadLetter(letter)))?;
            for MetricDump { name, unit, kind: metric_kind, help, value, histogram } in &metrics {
                let (value, histogram) = (*value, histogram.as_ref());
                write_json(out, &Line::Metric { name, unit, metric_kind, help, value, histogram })?;
            }
            if *cluster != ClusterStateInfo::default() {
                write_json(out, &Line::Cluster(cluster))?;
            }
            if *sharding != ShardingSnapshot::default() || !hand_offs.is_empty() {
                write_json(out, &Line::Sharding { sharding, hand_offs: &hand_offs })?;
            }
            for (domain, entries) in &instances {
                for instance in entries {
                    write_json(out, &Line::Instance { domain, instance })?;
                }
            }
            persistence.recent_writes.iter().try_for_each(|write| write_json(out, &Line::JournalWrite(write)))
        }
        Format::Raw => Ok(()),
    }
}
