//! The screen, drawn to a buffer, for recorded regions and for regions that the tests build. Approved screens are in
//! `reader/tests/screens`; `ATOMSCOPE_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "../../../tests/fixture/region.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod region;

use std::fs;
use std::mem::offset_of;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atomscope::attach::{MAX_BYTES, Region, RegionSummary};
use atomscope::ending::LastWords;
use atomscope::liveness::{Evidence, Liveness, Notes, Verdict, Wedge};
use atomscope::process::Stat;
use atomscope::report::list::Value;
use atomscope::report::nodes::nodes;
use atomscope::report::subsystems::persistence::PERSISTENCE;
use atomscope::snapshot::Snapshot;
use atomscope::text::is_unsafe;
use atomscope::vitals::Vitals;
use atomscope_layout::Capacities;
use atomscope_layout::decode::Moment;
use atomscope_layout::dto::ActorStatus;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::failures::{Report, Severity};
use atomscope_layout::instances::{Domain, worker};
use atomscope_layout::limits::{MAX_FIELDS, MAX_KINDS};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::own_records::{
    Elements, FieldShape, FieldType, KIND_FIELDS, KindShape, OwnRecordWriter, describe,
};
use atomscope_layout::records::ActorRecord;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use self::region::instruments::Instruments;
use self::region::{Actor, EPOCH_NS, Node, small};
use crate::program::target::{SearchArgs, search};
use crate::program::top::app::{App, Effect, Prompt};
use crate::program::top::draw::{Theme, draw};
use crate::program::top::history::History;
use crate::program::top::keys::KEYS;
use crate::program::top::message::{Command, Message};
use crate::program::top::sheet::Mode;
use crate::program::top::tick::{EventRow, LISTED_ALWAYS, Wanted};
use crate::program::top::view::View;
use crate::program::top::watch::WatchedNode;

/// The time of the first tick: 100 s after the start of the node.
const FIRST_TICK_NS: u64 = EPOCH_NS + 100 * 1_000_000_000;

/// The time of a tick; ticks are a second apart.
fn tick_time(tick: u32) -> Moment {
    let unix_ns = i128::from(FIRST_TICK_NS) + i128::from(tick) * 1_000_000_000;
    Moment { unix_ns, mono_ns: None, boot_ns: None }
}

const HISTORY_BYTES: usize = 64 << 20;
/// The path of a region in approved screens, in place of the temporary file.
const SHOWN_PATH: &str = "/dev/shm/atomscope-0-4711-0123456789abcdef";

const LIVE: Liveness = Liveness {
    last_words: LastWords::NONE,
    verdict: Verdict::Live,
    notes: Notes::NONE,
    evidence: Evidence::Lock,
    process_beat_age: Some(Duration::from_millis(100)),
    runtime_beat_age: Some(Duration::from_millis(200)),
};

/// A verdict whose beats are 12 seconds old.
fn stale(verdict: Verdict) -> Liveness {
    let age = Some(Duration::from_secs(12));
    Liveness { verdict, process_beat_age: age, runtime_beat_age: age, ..LIVE }
}

/// A temporary directory for files of regions.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn save(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn open(&self, node: &Node) -> Region {
        // A new file each time, so that mapped files do not change.
        let number = fs::read_dir(self.0.path()).unwrap().count();
        let path = self.save(&format!("atomscope-0-4711-{number:016x}"), &node.bytes());
        Region::open(&path, None, MAX_BYTES).unwrap()
    }
}

/// A node that is read again and again, and the screen that shows it.
struct Screen {
    app: App,
    files: Files,
    watched: Option<WatchedNode>,
    start: Instant,
    ticks: u32,
    ascii: bool,
}

impl Screen {
    fn new() -> Self {
        let files = Files::new();
        let path = files.save("first", &Node::new("first").bytes());
        let summary = RegionSummary::read(&path, None, MAX_BYTES).unwrap();
        let app = App::new(View::Overview, Duration::from_secs(1), HISTORY_BYTES, Some(&summary));
        Self { app, files, watched: None, start: Instant::now(), ticks: 0, ascii: false }
    }

    /// Reads events between two ticks.
    fn read_ahead(&mut self, node: &Node) {
        let watched = self.watched.as_mut().unwrap();
        watched.continue_in(self.files.open(node));
        watched.read_ahead();
    }

    /// Reads a tick of the node in its current state, a second after the tick before.
    fn read(&mut self, node: &Node, liveness: Liveness) {
        let region = self.files.open(node);
        let path = region.path().to_string_lossy().into_owned();
        let snapshot = Snapshot::with_class_counts(&region).unwrap();
        let process = Vitals {
            cpu_user_s: 3.5 + f64::from(self.ticks) / 4.0,
            cpu_system_s: 0.5,
            memory_bytes: 40 << 20,
            memory_peak_bytes: 48 << 20,
            threads: 5,
            open_files: Some(17),
            open_files_limit: Some(1024),
        };
        let taken_at = tick_time(self.ticks);
        let dead_for = liveness.process_beat_age.filter(|_| !liveness.verdict.is_alive()).unwrap_or_default();
        let snapshot = Snapshot {
            taken_at,
            until: Some(Moment { unix_ns: taken_at.unix_ns - dead_for.as_nanos() as i128, ..taken_at }),
            pid: 4711,
            liveness,
            process: liveness.verdict.is_alive().then_some(process),
            ..snapshot
        };
        match &mut self.watched {
            Some(watched) => watched.continue_in(region),
            None => self.watched = Some(WatchedNode::new(region).unwrap()),
        }
        let at = self.start + Duration::from_secs(self.ticks.into());
        self.ticks += 1;
        let (mut tick, events) =
            self.watched.as_mut().unwrap().tick(snapshot, at, self.app.wanted()).unwrap();
        // These depend on the machine that runs the test.
        tick.path = SHOWN_PATH.into();
        tick.findings.retain(|finding| !finding.finding.contains("lies on a disk"));
        for finding in &mut tick.findings {
            finding.finding = finding.finding.replace(&path, SHOWN_PATH);
            finding.advice = finding.advice.take().map(|advice| advice.replace(&path, SHOWN_PATH));
        }
        (tick.own, tick.took) = (None, Duration::from_millis(2));
        // The shown age must not depend on the speed of the test.
        if liveness.verdict.is_alive() {
            tick.at = Instant::now();
        }
        self.app.receive(Message::Tick(0, Box::new(tick), events));
    }

    fn of_dump(path: &Path) -> Self {
        let mut screen = Self::new();
        let mut watched = WatchedNode::new(Region::open(path, None, MAX_BYTES).unwrap()).unwrap();
        let (mut tick, events) = watched.read(Wanted::default()).unwrap();
        tick.path = SHOWN_PATH.into();
        (tick.own, tick.took) = (None, Duration::from_millis(2));
        screen.app.receive(Message::Tick(0, Box::new(tick), events));
        screen
    }

    fn press(&mut self, keys: &str) -> Vec<Effect> {
        let code = |c| match c {
            '⏎' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '↑' => KeyCode::Up,
            '↓' => KeyCode::Down,
            '←' => KeyCode::Left,
            '→' => KeyCode::Right,
            '⇥' => KeyCode::Tab,
            '⌫' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        let mut all = Vec::new();
        for c in keys.chars() {
            all.extend(self.app.press(&KeyEvent::new(code(c), KeyModifiers::NONE)));
            self.app.refresh();
        }
        all
    }

    fn buffer(&mut self, width: u16, height: u16, colours: bool) -> Buffer {
        self.app.refresh();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        // Twice, because the first drawing sets the number of rows that fit.
        for _ in 0..2 {
            terminal.draw(|frame| draw(frame, &mut self.app, Theme { colours, ascii: self.ascii })).unwrap();
        }
        terminal.backend().buffer().clone()
    }

    fn text(&mut self, width: u16, height: u16) -> String {
        let buffer = self.buffer(width, height, true);
        let lines = buffer.content().chunks(width.into()).map(|row| {
            let line: String = row.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// All views, one below the other.
    fn views(&mut self, views: &[View], width: u16, height: u16) -> String {
        let mut all = String::new();
        for view in views {
            self.press(&view.key().to_string());
            all += &format!("=== {} at {width} × {height}\n{}", view.title(), self.text(width, height));
        }
        all
    }
}

fn large() -> Capacities {
    Capacities {
        actors: 64,
        instances: 16,
        document_bytes: 256,
        journal_writes: 4,
        dead_letters: 8,
        events: 64,
        failures: 8,
        panics: 8,
        ..small()
    }
}

/// A shop: a desk with orders, and some data for every view.
fn shop() -> Node {
    let node = Node::sized("shop", large(), |record| record.pid = 4711);
    node.header().set_system("Shop");
    // The uptime of a dead node ends at its last beat.
    node.header().process_beat(99 * 1_000_000_000);
    node.fill();
    let user = "akka://Shop/user";
    let desk = "akka://Shop/user/desk";
    node.actor(Actor { path: desk, parent: Some(user), actor_type: "shop::Desk", ..Actor::default() });
    for (number, depth) in [(1, 0), (2, 150), (3, 7)] {
        node.actor(Actor {
            path: &format!("{desk}/order-{number}"),
            parent: Some(desk),
            actor_type: "shop::orders::Order",
            depth: Some(depth),
            spawned_s: 10 * number,
            ..Actor::default()
        });
    }
    node.actor(Actor {
        path: "akka://Shop/user/audit",
        parent: Some(user),
        actor_type: "shop::Audit",
        host: Some("node-a"),
        spawned_s: 30,
        ..Actor::default()
    });
    node.letter("akka://Shop/user/gone", None, "shop::orders::Cancel", "Cancel { order: 1 }");
    node.event(0, 40, &spawned("akka://Shop/user/desk/order-3", "shop::orders::Order"));
    node.stop_event(1, 41, "akka://Shop/user/desk/order-0");
    node.count(Builtin::Stopped, 1);
    node.count(Builtin::Spawned, 1);
    node.panic(60, &LOST_ORDER);
    let slow = Report { message: Some("the till is slow"), target: "shop::till", ..Report::default() };
    node.failure(Severity::Warning, 70, &slow);
    node
}

const LOST_ORDER: Report<'_> = Report {
    message: Some("order 7 is lost"),
    location: "src/orders.rs:42:17",
    thread: "shop-worker",
    actor: "akka://Shop/user/desk/order-3",
    target: "",
    class: 0,
};

fn spawned(path: &str, actor_type: &str) -> TelemetryEvent {
    TelemetryEvent::ActorSpawned(ActorStatus {
        path: path.into(),
        parent: None,
        actor_type: actor_type.into(),
        mailbox_depth: 0,
        spawned_at: String::new(),
        host: None,
    })
}

/// The shop a second later, after some work.
fn busy_shop() -> Node {
    let node = shop();
    node.actor(Actor {
        path: "akka://Shop/user/desk/order-4",
        parent: Some("akka://Shop/user/desk"),
        actor_type: "shop::orders::Order",
        depth: Some(2),
        spawned_s: 99,
        ..Actor::default()
    });
    node.event(0, 101, &spawned("akka://Shop/user/desk/order-4", "shop::orders::Order"));
    node.letter("akka://Shop/user/gone", Some("akka://Shop/user/desk"), "shop::orders::Cancel", "");
    node.count(Builtin::PersistenceEvents, 40);
    node.panic(101, &LOST_ORDER);
    node
}

fn live_shop() -> Screen {
    let mut screen = Screen::new();
    screen.read(&shop(), LIVE);
    screen.read(&busy_shop(), LIVE);
    screen
}

const HOSTILE: &str = "\u{1b}]0;t\u{7}\u{9b}31m\u{202e}abc\u{200b}漢🦀\r\n\t\u{7f}";

fn hostile() -> Screen {
    let node = Node::sized(HOSTILE, large(), |record| record.pid = 4711);
    node.header().set_system(HOSTILE);
    for number in 0..3 {
        node.actor(Actor {
            path: &format!("{HOSTILE}/{number}"),
            parent: Some(HOSTILE),
            actor_type: HOSTILE,
            host: Some(HOSTILE),
            spawned_text: Some(HOSTILE),
            ..Actor::default()
        });
    }
    node.letter(HOSTILE, Some(HOSTILE), HOSTILE, HOSTILE);
    node.event(0, 40, &spawned(HOSTILE, HOSTILE));
    node.panic(
        40,
        &Report {
            message: Some(HOSTILE),
            location: HOSTILE,
            thread: HOSTILE,
            actor: HOSTILE,
            target: HOSTILE,
            class: 0,
        },
    );
    let mut screen = Screen::new();
    screen.read(&node, LIVE);
    screen
}

fn crowd(actors: usize) -> Node {
    let node = Node::sized("crowd", Capacities { actors, ..small() }, |record| record.pid = 4711);
    for team in 0..actors / 1000 {
        let parent = format!("akka://crowd/user/team-{team}");
        node.actor(Actor { path: &parent, actor_type: "crowd::Team", ..Actor::default() });
        for member in 1..1000 {
            node.actor(Actor {
                path: &format!("{parent}/member-{member}"),
                parent: Some(&parent),
                actor_type: "crowd::Member",
                depth: Some((team * 1000 + member) as u64),
                ..Actor::default()
            });
        }
    }
    node
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares with the approved screens, except for times that depend on the speed of the test.
fn approve(name: &str, screens: &str) {
    let times = regex::Regex::new(r"(seen |snapshots of |last beat \d)\d\.\d s").unwrap();
    let screens = &*times.replace_all(screens, "${1}x.x s");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("ATOMSCOPE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, screens).unwrap();
    }
    let approved = fs::read_to_string(&path).unwrap_or_default();
    for (now, before) in screens.lines().zip(approved.lines()) {
        assert_eq!(now, before, "{}: run with ATOMSCOPE_BLESS=1 to approve", path.display());
    }
    assert_eq!(screens.lines().count(), approved.lines().count(), "{}", path.display());
}

const WIDTHS: [u16; 3] = [60, 120, 200];
const FEW: [View; 5] = [View::Overview, View::Actors, View::DeadLetters, View::Events, View::Own];

/// All views of a node, that is all but the list of nodes.
fn all_views() -> Vec<View> {
    View::ALL.into_iter().filter(|view| *view != View::Nodes).collect()
}

mod screens {
    use super::*;

    #[test]
    fn of_a_node_that_lives_are_as_they_were_approved() {
        for width in WIDTHS {
            approve(&format!("live-{width}"), &live_shop().views(&all_views(), width, 18));
        }
    }

    #[test]
    fn of_a_recorded_node_are_as_they_were_approved() {
        for width in WIDTHS {
            let screens = Screen::of_dump(&golden("2.0/typical.raw")).views(&all_views(), width, 18);
            approve(&format!("recorded-{width}"), &screens);
        }
    }

    #[test]
    fn of_a_node_that_has_nothing_are_as_they_were_approved() {
        for width in WIDTHS {
            let mut screen = Screen::new();
            screen.read(&Node::with("empty", |record| record.pid = 4711), LIVE);
            approve(&format!("empty-{width}"), &screen.views(&all_views(), width, 10));
        }
    }

    #[test]
    fn of_a_node_that_hangs_or_has_died_say_so() {
        let cases = [
            ("wedged", Verdict::Wedged(Wedge::RuntimeBlocked), "its async runtime is blocked"),
            ("crashed", Verdict::Crashed, "no last words: killed by a signal"),
            ("closed", Verdict::Closed, "this is its last state"),
        ];
        for (name, verdict, says) in cases {
            for width in WIDTHS {
                let mut screen = Screen::new();
                screen.read(&shop(), LIVE);
                screen.read(&busy_shop(), stale(verdict));
                let screens = screen.views(&FEW, width, 18);
                assert!(screens.contains(&format!("● shop {name}, last beat 12.")), "{screens}");
                if width >= 120 {
                    assert!(screens.contains(says), "{screens}");
                }
                approve(&format!("{name}-{width}"), &screens);
            }
        }
    }

    #[test]
    fn of_a_hundred_thousand_actors_are_as_they_were_approved() {
        let node = crowd(100_000);
        for width in WIDTHS {
            let mut screen = Screen::new();
            // This many actors are listed only while a list of actors is shown.
            screen.press("2");
            screen.read(&node, LIVE);
            let mut screens = screen.views(&[View::Overview, View::Actors], width, 12);
            for keys in ["*", "t", ">>>", "t", "/member-99", "⏎"] {
                screen.press(keys);
                screens += &format!("=== {keys}\n{}", screen.text(width, 12));
            }
            approve(&format!("crowd-{width}"), &screens);
        }
    }

    #[test]
    fn of_hostile_names_hold_nothing_that_a_terminal_would_act_on() {
        for width in WIDTHS {
            let mut screen = hostile();
            approve(&format!("hostile-{width}"), &screen.views(&FEW, width, 18));
            for view in View::ALL {
                screen.press(&view.key().to_string());
                for keys in ["", "⏎", "⎋?", "⎋w", "⎋"] {
                    screen.press(keys);
                    let buffer = screen.buffer(width, 20, true);
                    for cell in buffer.content() {
                        assert!(!cell.symbol().contains(is_unsafe), "{view:?} {keys}: {:?}", cell.symbol());
                    }
                }
            }
            screen.press("2/");
            screen.app.press(&KeyEvent::new(KeyCode::Char('\u{202e}'), KeyModifiers::NONE));
            let buffer = screen.buffer(width, 20, true);
            assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(is_unsafe)));
        }
    }

    #[test]
    fn of_every_recorded_region_can_be_drawn_in_any_size() {
        for name in ["2.0/typical", "2.0/killed", "2.0/crowded"] {
            let mut screen = Screen::of_dump(&golden(&format!("{name}.raw")));
            for view in View::ALL {
                screen.press(&view.key().to_string());
                for (width, height) in [(1, 1), (10, 3), (3, 10), (20, 8), (59, 4), (80, 20)] {
                    screen.text(width, height);
                    screen.press("⏎");
                    screen.text(width, height);
                    screen.press("⎋");
                    screen.press("?");
                    screen.text(width, height);
                    screen.press("?/x");
                    screen.text(width, height);
                    screen.press("⎋");
                    screen.press(&view.key().to_string());
                }
            }
            screen.text(300, 90);
        }
    }

    #[test]
    fn of_damaged_regions_can_be_drawn() {
        const EDGES: [u64; 6] = [0, 1, u64::MAX, 1 << 63, 0xffff_ffff, 0x0001_0001_0001_0001];
        let bytes = busy_shop().bytes();
        let words = bytes.len() / 8;
        let mut seen = 0;
        // Every word at the start of the region, and one of 37 in the rest.
        for at in (0..512).chain((512..words).step_by(37)) {
            let mut bytes = bytes.clone();
            let edge = EDGES[at % EDGES.len()];
            bytes[at * 8..at * 8 + 8].copy_from_slice(&edge.to_le_bytes());
            let mut screen = Screen::new();
            let path = screen.files.save("damaged", &bytes);
            let watched = Region::open(&path, None, MAX_BYTES).and_then(WatchedNode::new);
            let Ok(mut watched) = watched else { continue };
            for _ in 0..2 {
                if let Ok((tick, events)) = watched.read(Wanted { actors: true, threads: true }) {
                    screen.app.receive(Message::Tick(0, Box::new(tick), events));
                    seen += 1;
                }
            }
            for keys in ["1", "2", "3", "4", "5", "S"] {
                screen.press(keys);
                let buffer = screen.buffer(100, 16, false);
                assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(is_unsafe)), "word {at}");
            }
        }
        assert!(seen > 500, "{seen}");
    }

    #[test]
    fn of_a_list_of_nodes_say_how_each_is_and_what_can_be_done() {
        let files = Files::new();
        files.save("atomscope-0-4711-0123456789abcdef", &shop().bytes());
        files.save("atomscope-0-4712-0123456789abcdef", b"not a region, by far");
        let search_args =
            SearchArgs { region: None, dir: Some(files.0.path().to_owned()), max_size: MAX_BYTES };
        let (mut rows, _) = nodes(&search(&search_args), search_args.region.as_deref()).unwrap();
        let dir = files.0.path().to_string_lossy().into_owned();
        for row in &mut rows {
            (row.age_s, row.beat_age_s) = (row.age_s.map(|_| 60.0), row.beat_age_s.map(|_| 0.1));
            row.shown_path = row.shown_path.replace(&dir, "/dev/shm");
            row.why = row.why.take().map(|why| why.replace(&dir, "/dev/shm"));
        }
        for width in WIDTHS {
            let mut app = App::new(View::Overview, Duration::from_secs(1), HISTORY_BYTES, None);
            app.receive(Message::Nodes(Ok((rows.clone(), vec![atomscope::find::other_users_note(3)]))));
            let mut screen = Screen { app, ..Screen::new() };
            let mut screens = screen.views(&[View::Nodes], width, 10);
            assert!(screen.press("2").is_empty());
            assert!(screen.text(width, 10).contains("no node is open yet"), "{}", screen.text(width, 10));
            assert!(screen.press("G⏎").is_empty(), "a file that is not a region cannot be opened");
            screens += &screen.text(width, 10);
            approve(&format!("nodes-{width}"), &screens);
            let effects = screen.press("g⏎");
            assert!(
                matches!(&effects[0], Effect::Command(Command::Watch(1, Some(summary))) if summary.identity.node == "shop")
            );
            assert_eq!(screen.app.view, View::Overview);
        }
        let mut app = App::new(View::Overview, Duration::from_secs(1), HISTORY_BYTES, None);
        app.receive(Message::Nodes(Ok((Vec::new(), Vec::new()))));
        let mut screen = Screen { app, ..Screen::new() };
        assert!(screen.text(100, 12).contains("No node on this machine"));
    }

    #[test]
    fn without_colours_have_none_and_with_them_only_the_terminals_own() {
        let mut screen = live_shop();
        for view in View::ALL {
            screen.press(&view.key().to_string());
            let plain = screen.buffer(120, 20, false);
            assert!(plain.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
            for cell in screen.buffer(120, 20, true).content() {
                let is_own =
                    matches!(cell.fg, Color::Reset | Color::Red | Color::Green | Color::Yellow | Color::Cyan);
                assert!(is_own && cell.bg == Color::Reset, "{view:?}: {cell:?}");
            }
        }
    }

    #[test]
    fn dim_the_views_of_what_a_node_does_not_use() {
        let mut screen = Screen::new();
        screen.read(&Node::with("empty", |record| record.pid = 4711), LIVE);
        let buffer = screen.buffer(200, 20, true);
        let modifier = |title: &str| {
            let line: Vec<_> = buffer.content()[400..600].iter().collect();
            let text: String = line.iter().map(|cell| cell.symbol()).collect();
            line[text.find(title).unwrap()].modifier
        };
        assert!(modifier("Sharding").contains(Modifier::DIM));
        assert!(modifier("Actors").contains(Modifier::DIM), "it has no actor system");
        assert!(!modifier("Events").contains(Modifier::DIM));
    }
}

mod keys {
    use super::*;

    fn first_column(screen: &mut Screen) -> Vec<String> {
        let source = screen.app.source();
        (0..screen.app.sheet.len())
            .map(|at| screen.app.sheet.row(at, source)[0].shown("").into_owned())
            .collect()
    }

    fn names(screen: &mut Screen) -> Vec<String> {
        let all = first_column(screen);
        all.into_iter().map(|path| path.rsplit(['/', ' ']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_help_tells_every_key_and_every_view() {
        let mut screen = live_shop();
        screen.press("?");
        let help = screen.text(140, 60);
        for binding in KEYS.iter().flat_map(|group| group.bindings) {
            for key in binding.keys {
                assert!(help.contains(&key.name()), "{}: {help}", key.name());
            }
            assert!(help.contains(binding.help), "{}: {help}", binding.help);
        }
        View::ALL.iter().for_each(|view| assert!(help.contains(view.help()), "{view:?}"));
        // A help that does not fit can be scrolled to its end.
        screen.press("G");
        let end = screen.text(60, 20);
        assert!(end.contains("unknown"), "{end}");
        screen.press("⎋");
        assert!(screen.app.overlay.is_none());
    }

    #[test]
    fn a_tree_folds_and_the_selection_stays_with_its_actor() {
        let mut screen = live_shop();
        screen.press("2");
        screen.text(120, 20);
        assert_eq!(names(&mut screen), ["audit", "desk", "order-1", "order-2", "order-3", "order-4"]);
        screen.press("↓ ");
        assert_eq!(names(&mut screen), ["audit", "desk"]);
        assert!(screen.text(120, 20).contains("▸ akka://Shop/user/desk"));
        screen.press("→↓↓");
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 3);
        // An actor that sorts before it disappears, and another one appears.
        screen.read(&shop(), LIVE);
        screen.app.refresh();
        let node = shop();
        node.actor(Actor { path: "akka://Shop/user/aaa", actor_type: "A", ..Actor::default() });
        screen.read(&node, LIVE);
        screen.app.refresh();
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 4, "order-2 is one further down");
        screen.press("←");
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 2, "from a leaf to who is above it");
        screen.press("*");
        assert_eq!(names(&mut screen), ["aaa", "audit", "desk"]);
        screen.press("*↓*");
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 2, "of order-1 the desk is left");
    }

    #[test]
    fn an_actor_stays_selected_from_one_form_of_the_list_to_the_next() {
        let mut screen = live_shop();
        screen.press("2↓↓↓");
        let selected = |screen: &mut Screen| {
            let at = screen.app.cursor_state().unwrap().cursor;
            names(screen)[at].clone()
        };
        assert_eq!(selected(&mut screen), "order-2");
        screen.press("t");
        assert_eq!((screen.app.mode, &*selected(&mut screen)), (Mode::Flat, "order-2"));
        screen.press("t↓t");
        assert_eq!((screen.app.mode, &*selected(&mut screen)), (Mode::Tree, "order-2"));
    }

    #[test]
    fn what_is_only_not_known_is_not_said_to_be_none() {
        let node = Node::new("mute");
        node.actor(Actor { path: "akka://Shop/user/a", actor_type: "A", depth: None, ..Actor::default() });
        let mut screen = Screen::new();
        screen.read(&node, LIVE);
        for mode in [Mode::Tree, Mode::Flat] {
            screen.press("2/depth > 100⏎");
            assert_eq!(screen.app.mode, mode);
            assert!(
                screen.text(120, 20).contains("depth is unknown for all 1 rows"),
                "{}",
                screen.text(120, 20)
            );
            screen.press("⎋t");
        }
        // An empty list does not count as unknown.
        let mut screen = live_shop();
        screen.press("5→→");
        assert_eq!(screen.app.sheet.name, "reachability_records");
        assert!(screen.text(120, 20).contains("reachability records: none."), "{}", screen.text(120, 20));
    }

    #[test]
    fn the_overview_says_what_of_the_subsystems_is_wrong() {
        let mut screen = live_shop();
        assert!(screen.text(120, 40).contains("! 1 cluster member is unreachable: b"));
        let node = busy_shop();
        node.count(Builtin::PersistenceFailures, 3);
        node.count(Builtin::RemoteErrors, 1);
        screen.read(&node, LIVE);
        let text = screen.text(120, 40);
        assert!(text.contains("! 3 journal writes failed since the previous snapshot"), "{text}");
        assert!(text.contains("! 1 error between nodes since the previous snapshot"), "{text}");
        screen.read(&node, LIVE);
        assert!(!screen.text(120, 40).contains("since the previous snapshot"));
    }

    #[test]
    fn a_filter_leaves_what_fulfils_it_and_who_is_above_that() {
        let mut screen = live_shop();
        screen.press("2/depth > 100 and class ~ Order⏎");
        assert_eq!(names(&mut screen), ["desk", "order-2"]);
        screen.press("t");
        assert_eq!(names(&mut screen), ["order-2"]);
        let text = screen.text(120, 20);
        assert!(text.contains("/depth > 100 and class ~ Order") && text.contains("1/1 of 6"), "{text}");
        screen.press("/ and");
        assert!(
            screen.text(120, 20).contains("a field is expected here"),
            "what is wrong is said while it is typed"
        );
        screen.press("⎋");
        assert_eq!(names(&mut screen), ["order-2"], "the filter of before is back");
        screen.press("⎋");
        assert_eq!(names(&mut screen).len(), 6);
        screen.press("/!order⏎");
        assert_eq!(names(&mut screen), ["audit", "desk"]);
        screen.press("⎋/xyz⏎");
        assert!(screen.text(120, 20).contains("None of 6 rows matches the filter"));
    }

    #[test]
    fn a_list_is_sorted_by_each_column_and_turned_round() {
        let mut screen = live_shop();
        screen.press("2t");
        screen.press(">>>");
        assert_eq!(screen.app.sheet.sort.unwrap().column, "depth");
        assert_eq!(names(&mut screen)[..3], ["order-2", "order-3", "order-4"]);
        assert!(screen.text(120, 20).contains("DEPTH(msgs)▼"));
        screen.press("r");
        assert_eq!(names(&mut screen), ["order-1", "order-4", "order-3", "order-2", "audit", "desk"]);
        screen.press(">>");
        assert_eq!(screen.app.sheet.sort.unwrap().column, "age_s");
        assert_eq!(names(&mut screen), ["desk", "order-1", "order-2", "audit", "order-3", "order-4"]);
        screen.press("<<<");
        assert_eq!(screen.app.sheet.sort.unwrap().column, "class");
        assert_eq!(names(&mut screen)[..2], ["audit", "desk"]);
        screen.press("<r");
        assert_eq!(names(&mut screen)[0], "order-4");
        // In a tree, siblings are sorted.
        screen.press("tt>>");
        assert_eq!(screen.app.mode, Mode::Tree);
        assert_eq!(names(&mut screen), ["audit", "desk", "order-2", "order-3", "order-4", "order-1"]);
    }

    #[test]
    fn rates_are_what_came_since_the_look_before_and_totals_can_begin_anew() {
        let mut screen = live_shop();
        let value = |screen: &mut Screen, name: &str| {
            let source = screen.app.source();
            let rows = (0..screen.app.sheet.len()).map(|at| screen.app.sheet.row(at, source));
            let row = rows.into_iter().find(|row| row[0].shown("") == name).unwrap();
            row[2].shown("").into_owned()
        };
        screen.press("M");
        assert_eq!(value(&mut screen, "persistence.events"), "40.0/s");
        screen.press("v");
        assert_eq!(value(&mut screen, "persistence.events"), "40");
        screen.press("z");
        assert_eq!(value(&mut screen, "persistence.events"), "0");
        let node = busy_shop();
        node.count(Builtin::PersistenceEvents, 2);
        screen.read(&node, LIVE);
        screen.app.refresh();
        assert_eq!(value(&mut screen, "persistence.events"), "2");
        assert!(screen.text(120, 30).contains("totals since 12:"), "{}", screen.text(120, 30));
        screen.press("z");
        assert_eq!(value(&mut screen, "persistence.events"), "42");
        // A node that has ended has no rates.
        screen.press("v");
        screen.read(&node, stale(Verdict::Crashed));
        screen.app.refresh();
        assert_eq!(value(&mut screen, "persistence.events"), "42");
    }

    #[test]
    fn rows_of_zeros_can_be_hidden() {
        let mut screen = live_shop();
        screen.press("Mi");
        let all = first_column(&mut screen);
        assert!(
            all.contains(&"persistence.events".to_owned()) && !all.contains(&"actors.foreign".to_owned())
        );
        screen.press("2");
        // An unknown depth is not zero.
        assert_eq!(names(&mut screen), ["audit", "desk", "order-2", "order-3", "order-4"]);
    }

    #[test]
    fn every_list_can_be_sorted_by_every_column_both_ways() {
        for keys in ["", "v"] {
            let mut screen = live_shop();
            screen.press(keys);
            for view in all_views() {
                screen.press(&view.key().to_string());
                for _ in 0..screen.app.sheet.lists.len().max(1) {
                    for _ in 0..screen.app.sheet.columns.len() + 1 {
                        screen.press(">");
                        screen.press("rr");
                        let sheet = &screen.app.sheet;
                        let Some(sort) = sheet.sort.filter(|_| view != View::Actors) else { continue };
                        let at = sheet.columns.iter().position(|column| column.name == sort.column).unwrap();
                        let source = screen.app.source();
                        let rows: Vec<_> = (0..sheet.len()).map(|row| sheet.row(row, source)).collect();
                        let numbers = rows.iter().filter_map(|row| row[at].number());
                        assert!(numbers.is_sorted_by(|a, b| a >= b), "{view:?} by {}: {rows:?}", sort.column);
                    }
                    screen.press("→");
                }
            }
        }
    }

    #[test]
    fn the_order_that_a_list_has_by_itself_can_be_turned_round() {
        let mut screen = live_shop();
        screen.press("3");
        assert_eq!(first_column(&mut screen), ["2", "1"]);
        screen.press("r");
        assert_eq!(first_column(&mut screen), ["1", "2"]);
        assert!(screen.text(120, 20).contains("reversed"));
        screen.press("r");
        assert_eq!(first_column(&mut screen), ["2", "1"]);
        screen.press("/number > 1⏎");
        assert_eq!(first_column(&mut screen), ["2"]);
        screen.press("2tr");
        assert_eq!(names(&mut screen)[0], "order-4");
    }

    #[test]
    fn a_rate_of_a_histograms_values_has_no_unit() {
        let mut screen = live_shop();
        screen.press("M/kind = histogram⏎");
        let source = screen.app.source();
        assert!(matches!(screen.app.sheet.row(0, source)[2], Value::CountRate(_)));
        assert!(screen.text(120, 20).contains("0.0/s"));
    }

    #[test]
    fn the_past_can_be_gone_through_and_says_that_it_is_past() {
        let mut screen = Screen::new();
        let mut node = shop();
        for number in 0..5 {
            node = shop();
            (0..number).for_each(|n| {
                let path = format!("akka://Shop/user/new-{n}");
                node.actor(Actor { path: &path, actor_type: "N", ..Actor::default() });
            });
            screen.read(&node, LIVE);
        }
        screen.press("2[[");
        let text = screen.text(120, 20);
        assert!(
            text.contains("PAST 12:28:22Z") && text.contains("new-1") && !text.contains("new-2"),
            "{text}"
        );
        // New ticks do not replace the shown one.
        screen.read(&node, stale(Verdict::Crashed));
        let text = screen.text(200, 20);
        assert!(
            text.contains("PAST") && text.contains("now it has crashed") && !text.contains("new-2"),
            "{text}"
        );
        screen.press("]");
        assert!(screen.text(120, 20).contains("new-2"));
        screen.press("[[[[[[[[[[");
        assert!(screen.text(120, 20).contains("no older snapshot is kept"));
        screen.press("}");
        let text = screen.text(120, 20);
        assert!(!text.contains("PAST") && text.contains("new-3") && text.contains("crashed"), "{text}");
    }

    #[test]
    fn events_of_after_the_past_that_is_shown_are_not_there() {
        let mut screen = live_shop();
        screen.press("4");
        assert!(screen.text(120, 20).contains("order-4"));
        screen.press("[");
        assert!(!screen.text(120, 20).contains("order-4"), "it was spawned in the second of the last tick");
    }

    #[test]
    fn a_frozen_screen_stays_and_escape_lets_it_go_on() {
        let mut screen = live_shop();
        screen.press("2p");
        screen.read(&shop(), LIVE);
        let text = screen.text(120, 20);
        assert!(text.contains("FROZEN") && text.contains("order-4"), "{text}");
        screen.press("⎋");
        let text = screen.text(120, 20);
        assert!(!text.contains("FROZEN") && !text.contains("order-4"), "{text}");
    }

    #[test]
    fn events_follow_until_one_goes_up_and_are_told_by_topic() {
        let mut screen = live_shop();
        screen.press("4");
        assert_eq!(screen.app.sheet.len(), 3);
        assert!(screen.text(120, 20).contains("following"));
        screen.press("↑");
        assert!(screen.text(120, 20).contains("not following"));
        screen.press("f");
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 2);
        screen.press("o");
        assert_eq!((screen.app.topic.as_deref(), screen.app.sheet.len()), (Some("actors"), 3));
        screen.press("o");
        assert!(screen.text(120, 20).contains("None of 3 events has the topic dead_letters"));
        screen.press(&"o".repeat(TelemetryEvent::ALL_TOPICS.len() - 1));
        assert_eq!((screen.app.topic.as_deref(), screen.app.sheet.len()), (None, 3));
        for topic in ["payments", "orders", "payments"] {
            let topic: Box<str> = topic.into();
            let event = EventRow { at: None, word: topic.clone(), topic, text: "info 7".into(), lost: 0 };
            screen.app.events.push(event);
        }
        screen.press(&"o".repeat(TelemetryEvent::ALL_TOPICS.len() + 1));
        assert_eq!((screen.app.topic.as_deref(), screen.app.sheet.len()), (Some("orders"), 1));
        screen.press("o");
        assert_eq!((screen.app.topic.as_deref(), screen.app.sheet.len()), (Some("payments"), 2));
        screen.press("o");
        assert_eq!(screen.app.topic, None);
        screen.press("/event = stopped⏎");
        assert_eq!(screen.app.sheet.len(), 1);
    }

    #[test]
    fn events_of_a_frozen_screen_do_not_go_away() {
        let mut screen = live_shop();
        screen.press("4p");
        let before = screen.text(120, 20);
        let at = Some(tick_time(0));
        for _ in 0..21_000 {
            let (text, lost) = ("akka://Shop/user/x".to_owned(), 0);
            screen.app.events.push(EventRow {
                at,
                topic: "actors".into(),
                word: "stopped".into(),
                text,
                lost,
            });
        }
        screen.read(&busy_shop(), LIVE);
        let shown = |text: &str| text.lines().skip(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(shown(&screen.text(120, 20)), shown(&before));
        screen.press("o");
        assert_eq!(screen.app.sheet.len(), 3);
        screen.press("oooooooo}");
        let text = screen.text(160, 20);
        assert!(text.contains("are not kept"), "what was let go is said: {text}");
    }

    #[test]
    fn an_event_that_is_looked_at_whole_stays() {
        let mut screen = live_shop();
        screen.press("4⏎");
        let node = busy_shop();
        node.stop_event(0, 102, "akka://Shop/user/new");
        screen.read(&node, LIVE);
        let text = screen.text(160, 30);
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 2, "{text}");
        screen.press("⎋");
        assert_eq!(screen.app.cursor_state().unwrap().cursor, 3);
    }

    #[test]
    fn totals_of_before_a_reset_are_not_counted_from_it() {
        let mut screen = live_shop();
        screen.press("Mvz[/persistence.events⏎");
        let text = screen.text(120, 20);
        assert!(text.contains("totals ") && !text.contains("totals since"), "{text}");
        screen.press("}");
        assert!(screen.text(120, 20).contains("totals since"));
    }

    #[test]
    fn the_node_that_is_looked_at_is_not_begun_anew() {
        let mut screen = live_shop();
        let path = screen.files.0.path().join("first");
        let search_args = SearchArgs { region: Some(path), dir: None, max_size: MAX_BYTES };
        screen.press("N");
        screen.app.receive(Message::Nodes(Ok(
            nodes(&search(&search_args), search_args.region.as_deref()).unwrap()
        )));
        screen.app.refresh();
        let effects = screen.press("⏎");
        assert!(matches!(effects[..], [Effect::Command(Command::Nodes(false))]), "{effects:?}");
        assert_eq!((screen.app.view, screen.app.history.extent().0), (View::Overview, 2));
    }

    #[test]
    fn words_of_a_filter_are_gone_over_with_alt() {
        let mut screen = live_shop();
        screen.press("2/two words");
        screen.app.press(&KeyEvent::new(KeyCode::Char('b'), KeyModifiers::ALT));
        screen.press("x");
        assert_eq!(screen.app.cursor_state().unwrap().filter, "two xwords");
    }

    #[test]
    fn lost_events_are_on_the_screen() {
        let mut screen = live_shop();
        let node = busy_shop();
        for second in 0..200 {
            node.stop_event(0, 102 + second, "akka://Shop/user/x");
        }
        screen.read(&node, LIVE);
        let lost = screen.app.events.lost;
        assert!(lost > 100, "{lost}");
        screen.press("4/lost⏎");
        let text = screen.text(160, 20);
        assert!(text.contains(&format!("events lost {lost} ")) && text.contains("overwritten"), "{text}");
    }

    #[test]
    fn events_that_come_faster_than_looks_are_read_ahead() {
        let mut screen = live_shop();
        let node = busy_shop();
        for round in 0..20 {
            (0..8).for_each(|at| node.stop_event(0, 102 + 8 * round + at, "akka://Shop/user/x"));
            screen.read_ahead(&node);
        }
        screen.read(&node, LIVE);
        assert_eq!(screen.app.events.lost, 0);
        let stops = screen.app.events.iter().filter(|(_, event)| *event.word == *"stopped").count();
        assert!(stops >= 160, "{stops}");
    }

    #[test]
    fn a_row_can_be_looked_at_whole_and_is_never_changed_for_another() {
        for (width, height) in [(160, 40), (80, 40), (80, 10)] {
            let mut screen = live_shop();
            screen.press("2G⏎");
            let text = screen.text(width, height);
            assert!(text.contains("akka://Shop/user/desk/order-4"), "{text}");
            if height > 20 {
                assert!(text.contains("newest events") && text.contains("12:28:21.000 spawned"), "{text}");
            }
            screen.read(&shop(), LIVE);
            let text = screen.text(width, height);
            assert!(text.contains("the selected row is gone") && screen.app.overlay.is_none(), "{text}");
        }
    }

    #[test]
    fn other_lists_of_a_view_are_beside_it() {
        let mut screen = live_shop();
        screen.press("7");
        assert_eq!(screen.app.sheet.name, "journals");
        screen.press("→");
        assert_eq!(screen.app.sheet.name, "persistence_ids");
        screen.press("←←");
        assert_eq!(screen.app.sheet.name, "metrics");
        screen.press("⏎");
        assert!(screen.text(160, 40).contains("metric"));
    }

    #[test]
    fn dead_letters_of_one_kind_are_in_one_row_beside_the_letters() {
        let mut screen = live_shop();
        screen.press(&View::DeadLetters.key().to_string());
        screen.press("→");
        assert_eq!((screen.app.sheet.name, screen.app.sheet.len()), ("storms", 1));
        let text = screen.text(160, 40);
        assert!(text.contains("shop::orders::Cancel") && text.contains("RECIPIENTS"), "{text}");
    }

    #[test]
    fn the_interval_goes_up_and_down_within_bounds() {
        let mut screen = live_shop();
        let effects = screen.press("+");
        assert!(
            matches!(effects[..], [Effect::Command(Command::Every(two))] if two == Duration::from_secs(2))
        );
        let effects = screen.press("-----------");
        assert_eq!(screen.app.interval, Duration::from_millis(100));
        assert_eq!(effects.len(), 4);
    }

    #[test]
    fn a_snapshot_is_saved_of_what_is_shown() {
        let mut screen = live_shop();
        screen.press("w");
        let Some(Prompt::Save(input)) = &screen.app.prompt else { panic!("no prompt") };
        assert_eq!(input.value(), "shop-20200913T122821Z.raw");
        let effects = screen.press("⏎");
        assert!(
            matches!(&effects[..], [Effect::Command(Command::Save(path, None))] if path.ends_with("shop-20200913T122821Z.raw"))
        );
        screen.press("[w");
        assert!(screen.text(120, 20).contains("shop-20200913T122820Z.json"));
        let effects = screen.press("⏎");
        assert!(matches!(&effects[..], [Effect::Command(Command::Save(_, Some(_)))]));
        screen.app.receive(Message::Saved(Err("disk full".into())));
        assert!(screen.text(120, 20).contains("disk full"));
        screen.press("w⎋");
        assert!(screen.app.prompt.is_none());
    }

    #[test]
    fn a_file_that_cannot_be_written_can_be_named_again() {
        let mut screen = live_shop();
        screen.press("wx⏎");
        screen.app.receive(Message::Saved(Err("disk full".into())));
        let Some(Prompt::Save(input)) = &screen.app.prompt else { panic!("no prompt") };
        assert_eq!(input.value(), "shop-20200913T122821Z.rawx");
        assert!(screen.text(120, 20).contains("disk full"));
        screen.press("⌫⏎");
        screen.app.receive(Message::Saved(Ok("shop.raw".into())));
        assert!(screen.app.prompt.is_none() && screen.text(120, 20).contains("written to shop.raw"));
    }

    #[test]
    fn a_node_is_never_taken_for_another_that_comes_to_its_place() {
        let files = Files::new();
        let save = |name: &str, file: &str| files.save(file, &Node::new(name).bytes());
        let path = save("shop", "atomscope-0-4711-0123456789abcdef");
        save("zoo", "atomscope-0-4712-0123456789abcdef");
        let search_args =
            SearchArgs { region: None, dir: Some(files.0.path().to_owned()), max_size: MAX_BYTES };
        let summary = RegionSummary::read(&path, None, MAX_BYTES).unwrap();
        let app = App::new(View::Overview, Duration::from_secs(1), HISTORY_BYTES, Some(&summary));
        let mut screen = Screen { app, ..Screen::new() };
        screen.read(&shop(), LIVE);
        screen.press("7N");
        let selected = |screen: &mut Screen| {
            screen.app.receive(Message::Nodes(Ok(nodes(
                &search(&search_args),
                search_args.region.as_deref(),
            )
            .unwrap())));
            screen.app.refresh();
            screen.text(160, 20).lines().find(|line| line.contains("on this screen")).map(str::to_owned)
        };
        assert!(selected(&mut screen).is_some_and(|line| line.contains("shop")));
        let cursor = screen.app.cursor_state().unwrap().cursor;
        save("aaa", "atomscope-0-4713-0123456789abcdef");
        selected(&mut screen);
        assert_eq!(screen.app.cursor_state().unwrap().cursor, cursor + 1);
        // Keys for the views of a node have no effect in the list of nodes.
        assert!(screen.press("w[pz").is_empty() && screen.app.prompt.is_none() && !screen.app.is_held());
        screen.press("⎋");
        assert_eq!(screen.app.view, View::Subsystem(&PERSISTENCE), "back to where one was");
    }

    #[test]
    fn the_past_of_a_node_is_kept_while_another_is_looked_at() {
        let mut screen = live_shop();
        screen.read(&busy_shop(), stale(Verdict::Crashed));
        let (ticks, ..) = screen.app.history.extent();
        let events = screen.app.events.iter().count();
        let files = Files::new();
        let path = files.save("atomscope-0-4712-0123456789abcdef", &Node::new("next").bytes());
        screen
            .app
            .receive(Message::Successor(0, Box::new(RegionSummary::read(&path, None, MAX_BYTES).unwrap())));
        assert!(matches!(screen.press("s")[..], [Effect::Command(Command::Watch(1, Some(_)))]));
        assert!(screen.app.tick().is_none() && screen.app.history.extent().0 == 0);
        // A node that has ended is not read again.
        assert!(matches!(screen.press("s")[..], [Effect::Command(Command::Watch(2, None))]));
        assert_eq!((screen.app.history.extent().0, screen.app.events.iter().count()), (ticks, events));
        assert!(screen.text(120, 20).contains("● shop crashed"), "{}", screen.text(120, 20));
        screen.press("[");
        assert!(screen.text(120, 20).contains("PAST"));
        screen.press("}w");
        assert!(screen.text(120, 20).contains(".json"), "what is kept is no region");
    }

    #[test]
    fn a_node_that_ended_while_another_was_looked_at_still_has_its_past() {
        let mut screen = live_shop();
        let files = Files::new();
        let summary = |name: &str, file: &str| {
            let path = files.save(file, &Node::new(name).bytes());
            Box::new(RegionSummary::read(&path, None, MAX_BYTES).unwrap())
        };
        screen.press("2G⏎");
        screen.app.receive(Message::Successor(0, summary("next", "atomscope-0-4712-0123456789abcdef")));
        screen.press("s");
        assert!(screen.app.overlay.is_none(), "what was seen whole is of the node before");
        // The node is gone when its view is opened again.
        assert!(matches!(screen.press("s")[..], [Effect::Command(Command::Watch(2, Some(_)))]));
        screen.app.receive(Message::Lost(2, "cannot attach to /x: it is gone".into()));
        let text = screen.text(120, 20);
        assert!(text.contains("shop was live; cannot attach") && text.contains("order-4"), "{text}");
        screen.press("[");
        assert!(screen.text(120, 20).contains("PAST"));
        screen.press("4");
        assert!(!screen.text(120, 20).contains("Nothing has happened yet"), "{}", screen.text(120, 20));
        // Its successor is kept too, and the past survives going there and back.
        screen.press("}");
        assert!(screen.text(200, 20).contains("s goes to its successor"));
        assert!(matches!(
            screen.press("ss")[..],
            [Effect::Command(Command::Watch(3, Some(_))), Effect::Command(Command::Watch(4, Some(_)))]
        ));
        assert_eq!(screen.app.history.extent().0, 2);
    }

    #[test]
    fn what_is_seen_whole_goes_with_the_order_and_to_the_next_row() {
        let mut screen = live_shop();
        screen.press("2t↓↓⏎");
        let pane = |screen: &mut Screen, name: &str| {
            let text = screen.text(160, 40);
            assert!(text.contains(&format!("akka://Shop/user/desk/{name}\n")), "{name}: {text}");
        };
        pane(&mut screen, "order-1");
        screen.press(">>>r");
        pane(&mut screen, "order-1");
        screen.press("↓");
        pane(&mut screen, "order-4");
        screen.press("t");
        assert!(screen.app.overlay.is_none() && !screen.text(160, 40).contains("is gone"));
        screen.press("?q");
        assert!(screen.app.overlay.is_none(), "q leaves the help, not the screen");
    }

    #[test]
    fn the_help_is_seen_whole_at_any_width() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for width in [40, 60, 80, 119] {
            let mut screen = live_shop();
            screen.press("?");
            let seen = words(&screen.text(width, 300));
            for binding in KEYS.iter().flat_map(|group| group.bindings) {
                assert!(seen.contains(binding.help), "{width}: {}: {seen}", binding.help);
            }
            for view in View::ALL {
                assert!(seen.contains(view.help()), "{width}: {}: {seen}", view.help());
            }
        }
        // On a wide screen in two columns, each wrapped on its own.
        let mut screen = live_shop();
        screen.press("?");
        let text = screen.text(120, 100);
        let left: String = text.lines().map(|line| line.chars().take(60).collect::<String>() + " ").collect();
        for binding in KEYS.iter().take(3).flat_map(|group| group.bindings) {
            assert!(words(&left).contains(binding.help), "{}: {left}", binding.help);
        }
    }

    #[test]
    fn of_the_footer_there_is_what_there_is_room_for_and_none_of_it_is_cut() {
        let mut screen = live_shop();
        for view in View::ALL {
            screen.press(&view.key().to_string());
            let whole = screen.text(300, 20).lines().last().unwrap().trim_end().to_owned();
            let whole: Vec<_> = whole.split("   ").collect();
            for width in 20..120 {
                let text = screen.text(width, 20);
                let line = text.lines().last().unwrap().trim_end();
                let seen: Vec<_> = line.split("   ").collect();
                assert_eq!(seen, whole[..seen.len()], "{view:?} at {width}");
            }
        }
    }

    #[test]
    fn sentences_above_a_list_are_not_cut_and_a_line_that_is_says_so() {
        let mut screen = live_shop();
        screen.press("3");
        let text = screen.text(60, 40).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("kept ones are listed, 0 are unreadable"), "{text}");
        let banner = screen.text(40, 20).lines().next().unwrap().to_owned();
        assert!(banner.ends_with('…'), "{banner}");
    }

    #[test]
    fn numbers_are_never_cut_however_narrow_the_screen() {
        let mut screen = live_shop();
        for view in View::ALL {
            screen.press(&view.key().to_string());
            for width in 30..100 {
                let text = screen.text(width, 20);
                let is_cut = |line: &str| ["…s)", "…B)", "…)"].iter().any(|end| line.contains(end));
                assert!(!text.lines().any(is_cut), "{view:?} at {width}:\n{text}");
            }
        }
    }

    #[test]
    fn without_utf_8_every_view_is_ascii_alone() {
        for ascii in [false, true] {
            let mut screen = Screen { ascii, ..live_shop() };
            for view in View::ALL {
                screen.press(&view.key().to_string());
                screen.press("?");
                let help = screen.text(100, 40);
                screen.press("?");
                let text = screen.text(100, 40) + &help;
                assert_eq!(text.is_ascii(), ascii, "{view:?}: {text}");
            }
        }
    }

    #[test]
    fn a_message_that_is_longer_than_a_line_is_seen_whole() {
        let mut screen = live_shop();
        let words: Vec<_> = (0..20).map(|number| format!("word-{number}")).collect();
        screen.app.say(words.join(" "), true);
        let text = screen.text(60, 20);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!screen.text(60, 3).contains("word-19"));
        screen.press("x2/nothing_has_this > 5");
        let error = screen.app.sheet.error.clone().unwrap();
        assert!(error.len() > 60, "{error}");
        let text = screen.text(60, 24);
        let seen = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(seen.contains("Filter: nothing_has_this > 5") && seen.contains(&error), "{error}: {text}");
    }

    #[test]
    fn escape_goes_back_one_thing_at_a_time_and_at_last_to_the_nodes() {
        let mut screen = live_shop();
        screen.press("2/order⏎G⏎");
        assert!(screen.app.overlay.is_some());
        screen.press("⎋");
        assert!(screen.app.overlay.is_none() && screen.app.cursor_state().unwrap().filter == "order");
        screen.press("⎋");
        assert!(screen.app.cursor_state().unwrap().filter.is_empty());
        let effects = screen.press("⎋");
        assert!(
            screen.app.view == View::Nodes && matches!(effects[..], [Effect::Command(Command::Nodes(true))])
        );
        let effects = screen.press("⎋");
        assert!(
            screen.app.view == View::Actors
                && matches!(effects[..], [Effect::Command(Command::Nodes(false))])
        );
    }

    #[test]
    fn a_key_right_after_escape_counts_as_both() {
        let mut screen = live_shop();
        screen.press("2/order");
        screen.app.press(&KeyEvent::new(KeyCode::Char('t'), KeyModifiers::ALT));
        screen.app.refresh();
        assert!(screen.app.prompt.is_none() && screen.app.cursor_state().unwrap().filter.is_empty());
        assert_eq!(screen.app.mode, Mode::Flat);
    }

    #[test]
    fn tab_goes_through_all_views() {
        let mut screen = live_shop();
        for view in View::ALL.into_iter().skip(1).chain([View::Overview]) {
            screen.press("⇥");
            assert_eq!(screen.app.view, view);
        }
    }

    #[test]
    fn a_successor_is_offered_and_gone_to() {
        let mut screen = live_shop();
        screen.read(&busy_shop(), stale(Verdict::Crashed));
        assert!(screen.press("s").is_empty());
        let files = Files::new();
        let path = files.save("atomscope-0-4712-0123456789abcdef", &shop().bytes());
        screen
            .app
            .receive(Message::Successor(0, Box::new(RegionSummary::read(&path, None, MAX_BYTES).unwrap())));
        let text = screen.text(200, 20);
        assert!(text.contains("s goes to its successor, pid 4711"), "{text}");
        let effects = screen.press("s");
        assert!(matches!(effects[..], [Effect::Command(Command::Watch(1, _))]));
        assert!(screen.text(120, 20).contains("waiting for the node"), "nothing of the old one is shown");
        // A tick of the old node that arrives late is ignored.
        screen.read(&busy_shop(), LIVE);
        assert!(screen.text(120, 20).contains("waiting for the node"));
    }

    #[test]
    fn a_region_that_breaks_is_shown_as_it_was_with_the_reason() {
        let mut screen = live_shop();
        screen.app.receive(Message::Lost(0, "cannot attach to /x: the file was cut short".into()));
        screen.press("2");
        let text = screen.text(160, 20);
        assert!(text.contains("the file was cut short") && text.contains("order-4"), "{text}");
        assert!(text.contains("shop was live; cannot attach"), "how it is nobody knows: {text}");
    }
}

mod records {
    use zerocopy::IntoBytes as _;

    use super::*;

    const fn field(
        name: &'static str,
        unit: &'static str,
        offset: usize,
        of: FieldType,
        bytes: usize,
    ) -> FieldShape<'static> {
        let holds = Elements { of, bytes, length: 0, values: &[] };
        FieldShape { name, unit, help: "", offset, holds }
    }

    /// Two of its fields have names of columns by which this program finds rows again in other lists.
    const IMPORT: KindShape<'static> = KindShape {
        name: "Import",
        help: "How far an import is.",
        bytes: 48,
        fields: &[
            field("file", "", 0, FieldType::Text, 8),
            field("read_bytes", "bytes", 8, FieldType::U64, 8),
            field("waiting", "rows", 16, FieldType::U64, 8),
            field("unit", "", 24, FieldType::Text, 8),
            field("share", "%", 32, FieldType::F64, 8),
            field("busy", "", 40, FieldType::Bool, 1),
        ],
    };

    const ZONE: KindShape<'static> = KindShape {
        name: "Zone",
        help: "",
        bytes: 8,
        fields: &[field("celsius", "°C", 0, FieldType::F64, 8)],
    };

    struct Writer<'a> {
        node: &'a Node,
        kinds: usize,
        fields: usize,
    }

    impl Writer<'_> {
        fn kind(&mut self, kind: &KindShape<'_>) {
            let (kinds, fields) = (self.node.map.kinds, self.node.map.fields);
            let slot = &self.node.section(kinds)[self.kinds * kinds.stride..];
            let slots = &self.node.section(fields)[self.fields * fields.stride..];
            assert!(describe(slot, slots, fields.stride, self.fields, kind));
            (self.kinds, self.fields) = (self.kinds + 1, self.fields + kind.fields.len());
        }

        /// A record that was published so often, the last time this many seconds after the start of the node.
        fn record(&self, slot: usize, kind: u32, name: &str, published: usize, at_s: u64, payload: &[u64]) {
            let records = self.node.map.records;
            let slot = &self.node.section(records)[slot * records.stride..][..records.stride];
            let writer = OwnRecordWriter::new(slot);
            writer.claim(kind, name);
            let stamp = at_s * 1_000_000_000;
            (0..published).for_each(|_| writer.publish(stamp, |to| to.put(0, payload.as_bytes())));
        }
    }

    fn text(text: &str) -> u64 {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        u64::from_le_bytes(bytes)
    }

    /// Two imports in this second, one of which reads 2 KiB in each, and a kind without records.
    fn importer(second: u64) -> Node {
        let room = Capacities { kinds: 4, fields: 16, records: 8, ..large() };
        let node = Node::sized("importer", room, |record| record.pid = 4711);
        node.header().process_beat(99 * 1_000_000_000);
        let mut all = Writer { node: &node, kinds: 0, fields: 0 };
        all.kind(&IMPORT);
        all.kind(&ZONE);
        let state = |read: u64, waiting: u64, unit: &str| {
            let file = text(&format!("{second}.csv"));
            [file, 2048 * read, waiting, text(unit), 12.5f64.to_bits(), 1]
        };
        let waiting = if second.is_multiple_of(2) { 7 } else { 9 };
        all.record(0, 0, "slow", 3, 90, &state(1, 4, "bytes"));
        all.record(1, 0, "fast", 10 + 5 * second as usize, 80 + second, &state(second, waiting, "ns"));
        all.record(2, 0, "never", 0, 0, &[]);
        node
    }

    fn read(screen: &mut Screen, seconds: std::ops::Range<u64>) {
        seconds.for_each(|second| screen.read(&importer(second), LIVE));
    }

    fn cell(screen: &mut Screen, row: &str, column: &str) -> Option<String> {
        screen.app.refresh();
        let (sheet, source) = (&screen.app.sheet, screen.app.source());
        let at = sheet.columns.iter().position(|of| of.title() == column)?;
        let rows = (0..sheet.len()).map(|at| sheet.row(at, source));
        let row = rows.into_iter().find(|values| values[0].shown("") == row)?;
        Some(sheet.columns[at].shown(&row[at], "").into_owned())
    }

    #[test]
    fn have_a_list_of_kinds_and_one_for_each_kind_as_they_were_approved() {
        for width in WIDTHS {
            let mut screen = Screen::new();
            read(&mut screen, 0..5);
            let mut screens = screen.views(&[View::Records], width, 12);
            for keys in ["⏎", "⏎", "⎋v", "→"] {
                screen.press(keys);
                screens += &format!("=== {keys}\n{}", screen.text(width, 16));
            }
            screen.press("←v");
            screen.read(&importer(5), stale(Verdict::Crashed));
            screens += &format!("=== after its death\n{}", screen.text(width, 16));
            approve(&format!("records-{width}"), &screens);
        }
    }

    #[test]
    fn have_rates_of_what_only_grows_since_the_tick_before() {
        let mut screen = Screen::new();
        read(&mut screen, 0..3);
        screen.press("B⏎");
        assert_eq!(cell(&mut screen, "fast", "READ(KiB/s)"), None, "two intervals are not enough");
        read(&mut screen, 3..4);
        assert_eq!(cell(&mut screen, "fast", "READ(KiB/s)").as_deref(), Some("2.0"));
        assert_eq!(cell(&mut screen, "fast", "READ(KiB)").as_deref(), Some("6.0"));
        assert_eq!(cell(&mut screen, "slow", "READ(KiB/s)").as_deref(), Some("0.0"));
        assert_eq!(cell(&mut screen, "never", "READ(KiB/s)").as_deref(), Some("-"));
        assert_eq!(cell(&mut screen, "fast", "WAITING(rows/s)"), None, "it falls too");
        assert_eq!(cell(&mut screen, "fast", "SHARE(%/s)"), None);
        // The name of a field says nothing to the program: rows are found again although `file` and `unit` change.
        assert_eq!(cell(&mut screen, "fast", "PUBLISHED").as_deref(), Some("5.0/s"));
        assert_eq!(cell(&mut screen, "slow", "UNIT").as_deref(), Some("bytes"));
        // Sorted and filtered as every list.
        screen.press("/read_bytes_per_s > 1⏎");
        assert_eq!(screen.app.sheet.len(), 1);
        screen.press("⎋v");
        assert_eq!(cell(&mut screen, "fast", "READ(KiB/s)"), None, "only totals are shown");
        assert_eq!(cell(&mut screen, "fast", "PUBLISHED").as_deref(), Some("25"));
        screen.press("v");
        screen.read(&importer(9), stale(Verdict::Crashed));
        assert_eq!(cell(&mut screen, "fast", "READ(KiB/s)"), None, "a dead node has no rates");
        assert_eq!(cell(&mut screen, "fast", "FILE").as_deref(), Some("9.csv"), "but its last state");
        assert_eq!(cell(&mut screen, "slow", "AGE(s)").as_deref(), Some("2.0"), "until its last beat");
    }

    #[test]
    fn are_opened_by_kind_and_closed_again_with_the_selection_kept() {
        let mut screen = Screen::new();
        read(&mut screen, 0..2);
        let place = |screen: &Screen| {
            let state = screen.app.cursor_state().unwrap();
            (screen.app.sheet.list, screen.app.sheet.name, state.cursor, state.filter.clone())
        };
        screen.press("B/Zone⏎");
        assert_eq!(place(&screen), (0, "kinds", 0, "Zone".to_owned()));
        screen.press("⏎");
        assert_eq!(place(&screen), (2, "Zone", 0, String::new()), "the filter was for the kind");
        assert!(screen.text(120, 12).contains("There is no record of this kind now."));
        screen.press("⎋");
        assert_eq!(place(&screen), (0, "kinds", 1, String::new()));
        screen.press("↑⏎↓⏎");
        assert!(screen.app.overlay.is_some() && screen.text(120, 30).contains("read(kib)"));
        read(&mut screen, 2..3);
        screen.press("⎋");
        assert_eq!(place(&screen), (1, "Import", 1, String::new()));
        // Kinds of another node have other numbers.
        let path = screen.files.save("atomscope-0-4712-0123456789abcdef", &Node::new("next").bytes());
        screen
            .app
            .receive(Message::Successor(0, Box::new(RegionSummary::read(&path, None, MAX_BYTES).unwrap())));
        screen.press("s");
        assert_eq!(screen.app.cursor_state().unwrap().list, 0);
    }

    #[test]
    fn of_as_many_kinds_and_fields_as_there_can_be_are_shown_and_kept_within_bounds() {
        const KINDS: usize = MAX_KINDS;
        let room = Capacities { kinds: KINDS, fields: MAX_FIELDS, records: 3, ..large() };
        let node = Node::sized("crowd", room, |record| record.pid = 4711);
        let mut all = Writer { node: &node, kinds: 0, fields: 0 };
        let fields: Vec<_> =
            (0..KIND_FIELDS).map(|at| field(HOSTILE, HOSTILE, 8 * at, FieldType::U64, 8)).collect();
        all.kind(&KindShape { name: HOSTILE, help: HOSTILE, bytes: 8 * KIND_FIELDS, fields: &fields });
        let rest = (MAX_FIELDS - KIND_FIELDS) / (KINDS - 1);
        for number in 1..KINDS {
            let name = format!("Kind{number}");
            all.kind(&KindShape { name: &name, help: "", bytes: 8 * rest, fields: &fields[..rest] });
        }
        all.record(0, 0, HOSTILE, 1, 98, &[7; KIND_FIELDS]);
        all.record(1, KINDS as u32 - 1, "last", 1, 98, &[7; KIND_FIELDS]);
        let mut screen = Screen::new();
        screen.app.history = History::new(64 << 20);
        for _ in 0..3 {
            screen.read(&node, LIVE);
        }
        let (_, _, bytes) = screen.app.history.extent();
        assert!(bytes > MAX_FIELDS * HOSTILE.len() && bytes < 64 << 20, "{bytes}");
        for keys in ["B", "⏎", "⏎", "⎋←", "←", "⏎"] {
            screen.press(keys);
            for width in WIDTHS {
                let buffer = screen.buffer(width, 30, true);
                assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(is_unsafe)), "{keys}");
            }
        }
        assert_eq!((screen.app.sheet.list, screen.app.sheet.name), (KINDS, "Kind4095"));
        assert!(screen.text(120, 30).contains("last"), "{}", screen.text(120, 30));
    }
}

#[test]
fn the_runtimes_share_of_time_is_over_the_time_between_two_rounds_of_the_sampler() {
    let sampled = |at_s: u64, busy_ms: u64| {
        let node = shop();
        node.header().process_beat(at_s * 1_000_000_000);
        node.instance(Domain::Worker, "another", &[(worker::BUSY_NS, busy_ms * 1_000_000)]);
        node
    };
    let mut screen = Screen::new();
    let mut busy = |node: &Node, liveness| {
        screen.read(node, liveness);
        screen.app.tick().unwrap().point.busy_percent
    };
    assert!(busy(&sampled(96, 0), LIVE).is_some(), "an average over its life");
    // 500 ms of the two seconds of two workers, whatever the interval between the ticks.
    assert_eq!(busy(&sampled(97, 500), LIVE), Some(25.0));
    assert_eq!(busy(&sampled(97, 500), LIVE), Some(25.0), "not asked anew");
    assert_eq!(busy(&sampled(99, 1500), LIVE), Some(25.0));
    assert_eq!(busy(&sampled(99, 1500), stale(Verdict::Wedged(Wedge::Stopped))), None);
}

#[test]
fn a_panic_is_told_in_the_health_of_the_overview_and_its_count_is_no_rate() {
    let mut screen = live_shop();
    let text = screen.text(200, 40);
    assert!(text.contains("2 panics; the newest: panic 0.0 s ago at src/orders.rs:42:17"), "{text}");
    assert!(text.contains("1 panic since the previous snapshot"), "{text}");
    screen.press("F");
    let text = screen.text(160, 20);
    let row = text.lines().find(|line| line.contains("  panic  ")).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[1..4], ["panic", "2", "0.0"], "{text}");
    screen.press("⏎");
    let text = screen.text(160, 24);
    assert!(text.contains("shop-worker"), "all of a failure is among its details: {text}");
    screen.press("⎋→/lost⏎");
    assert_eq!(screen.app.sheet.name, "panics");
    assert_eq!(screen.app.sheet.len(), 2, "here each is a row");
}

#[test]
fn a_worker_that_is_away_is_told_above_every_view_and_in_the_health_of_the_overview() {
    let mut screen = Screen::new();
    let mut text = |away_s: u64| {
        let node = shop();
        node.instance(Domain::Worker, "7", &[(worker::PARKED, 1), (worker::AWAY_NS, away_s * 1_000_000_000)]);
        screen.read(&node, LIVE);
        screen.text(160, 40)
    };
    assert!(!text(3).contains("worker 7"));
    let note = text(12);
    assert_eq!(note.matches("worker 7 of 2 has not paused for 12.0 s").count(), 2, "{note}");
    assert!(!note.contains("no problems found"), "{note}");
    let hint = "`atomscope stuck 4711`";
    assert_eq!(note.matches(hint).count(), 2, "{note}");
    let warning = text(500);
    assert_eq!(warning.matches("worker 7 of 2 has not come back for 8 min 20 s").count(), 2, "{warning}");
    assert_eq!(warning.matches(hint).count(), 2, "once above the views, once in the advice: {warning}");
}

#[test]
fn of_very_many_actors_the_overview_counts_them_and_a_list_is_made_where_it_is_shown() {
    let actors = LISTED_ALWAYS as usize / 1000 * 1000 + 1000;
    let node = crowd(actors);
    let mut screen = Screen::new();
    screen.read(&node, LIVE);
    let tick = screen.app.tick().unwrap();
    assert!(tick.listed.is_none() && tick.actors_bytes() == 0);
    assert_eq!(tick.tally.listed, actors as u64);
    let members = (actors - actors / 1000) as u64;
    let class = tick.classes.iter().find(|class| class.name == "crowd::Member").unwrap();
    assert_eq!((class.actors, class.deepest), (members, Some(actors as u64 - 1)));
    screen.press("2");
    assert!(screen.text(120, 20).contains("actors were only counted"), "{}", screen.text(120, 20));
    screen.read(&node, LIVE);
    assert!(screen.text(120, 20).contains("member-1 "), "{}", screen.text(120, 20));
    // The classes need no list of actors.
    screen.press("tt");
    screen.read(&node, LIVE);
    assert!(screen.app.tick().unwrap().listed.is_none());
    screen.press("t[[");
    assert!(screen.text(120, 20).contains("actors were only counted"), "{}", screen.text(120, 20));
}

#[test]
fn hot_actors_come_with_what_they_did_since_the_tick_before_and_without_any_the_call_is_named() {
    let capacities = Capacities { instruments: 4, classes: 4, variants: 4, names: 16, ..large() };
    let node = Node::sized("bakery", capacities, |record| record.pid = 4711);
    let all = Instruments::of(&node);
    all.register(1, "shop::Baker");
    let cells = ["anna", "bert"].map(|name| {
        let path = format!("akka://Shop/user/{name}");
        let slot = node.actor(Actor { path: &path, actor_type: "shop::Baker", ..Actor::default() });
        let cell = all.claim(1);
        node.set(node.actor_word(slot, offset_of!(ActorRecord, cell) / 8), cell.word());
        all.cells().cell(cell.index()).unwrap()
    });
    let mut screen = Screen::new();
    screen.read(&node, LIVE);
    screen.press("H");
    let text = screen.text(120, 16);
    assert!(
        text.contains("BUSY(%)") && text.contains("akka://Shop/user/bert  shop::Baker         -"),
        "{text}"
    );
    cells[1].add_busy(500_000_000);
    (0..20).for_each(|_| _ = cells[1].end());
    screen.read(&node, LIVE);
    let text = screen.text(120, 16);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("akka://")).collect();
    assert!(rows[0].contains("/bert  shop::Baker      50.0") && rows[0].contains(" 20.0 "), "{text}");
    assert_eq!(rows.len(), 2);
    // The list is by BUSY from the start, so the next order is that of the next column.
    assert!(text.contains("BUSY(%)▼"), "{text}");
    screen.press(">");
    assert!(screen.text(120, 16).contains("HANDLED(/s)▼"), "{}", screen.text(120, 16));
    screen.press("<");
    // What has done nothing is hidden like all rows of zeros.
    screen.press("i");
    assert!(!screen.text(120, 16).contains("anna"), "{}", screen.text(120, 16));
    // Of a node that has ended there is only its life.
    screen.read(&node, stale(Verdict::Crashed));
    assert!(screen.text(120, 16).contains("/bert"), "{}", screen.text(120, 16));

    let mut screen = Screen::new();
    screen.read(&shop(), LIVE);
    screen.press("H");
    assert!(screen.text(160, 16).contains("telemetry.actors.spawn("), "{}", screen.text(160, 16));
}

#[test]
fn threads_are_read_while_they_are_shown_and_a_name_does_nothing_to_the_terminal() {
    let own = std::process::id();
    let node = Node::sized("own", large(), |record| {
        record.pid = own.into();
        record.process_start_ticks = Stat::of(own).unwrap().start_ticks;
    });
    let (unpark, parked) = std::sync::mpsc::channel::<()>();
    let named = std::thread::Builder::new().name("a\u{1b}[1mworker".into());
    let named = named.spawn(move || _ = parked.recv()).unwrap();
    let mut screen = Screen::new();
    screen.read(&node, LIVE);
    assert!(screen.app.tick().unwrap().threads.is_none());
    screen.press("T");
    assert!(screen.text(160, 20).contains("threads were not read"), "{}", screen.text(160, 20));
    screen.press("/name ~ worker⏎");
    screen.read(&node, LIVE);
    let text = screen.text(160, 20);
    let line =
        |text: &str| text.lines().find(|line| line.starts_with(r"a\u{1b}[1mworker")).map(str::to_owned);
    let first = line(&text).unwrap_or_else(|| panic!("{text}"));
    let unknown = |line: &str| line.split_whitespace().filter(|word| *word == "-").count();
    assert!(text.contains("VOLUNTARY(/s)") && text.contains("FORCED(/s)"), "as in `threads`: {text}");
    assert!(first.contains("sleeping") && unknown(&first) == 4 + 3, "one look gives no rate: {text}");
    screen.read(&node, LIVE);
    let text = screen.text(160, 20);
    // Its role is what the node would tell.
    assert!(line(&text).is_some_and(|line| unknown(&line) == 3), "{text}");
    assert!(!text.contains('\u{1b}'));
    screen.press("1");
    screen.read(&node, LIVE);
    assert!(screen.app.tick().unwrap().threads.is_none());
    screen.press("T[");
    assert!(line(&screen.text(160, 20)).is_some(), "the past has them");
    drop(unpark);
    named.join().unwrap();
}

#[test]
fn a_node_without_a_process_says_why_it_has_no_threads() {
    let mut screen = Screen::new();
    screen.press("T");
    let mut text = |liveness| {
        screen.read(&shop(), liveness);
        screen.text(160, 20)
    };
    // Its process has the right number and another start.
    let gone = text(LIVE);
    assert!(gone.contains("not visible here") || gone.contains("has ended meanwhile"), "{gone}");
    let dead = text(stale(Verdict::Crashed));
    assert!(dead.contains("shop has crashed") && dead.contains("no threads any more"), "{dead}");
}

#[test]
fn the_past_is_bounded_and_what_has_not_changed_is_held_once() {
    let node = crowd(2000);
    let mut screen = Screen::new();
    screen.app.history = History::new(4 << 20);
    (0..40).for_each(|_| screen.read(&node, LIVE));
    let (ticks, _, bytes) = screen.app.history.extent();
    assert!(ticks == 40 && bytes < 4 << 20, "{ticks} ticks in {bytes} bytes");
    for number in 0..40 {
        node.actor(Actor {
            path: &format!("akka://crowd/user/{number}"),
            actor_type: "N",
            ..Actor::default()
        });
        screen.read(&node, LIVE);
        let (_, _, bytes) = screen.app.history.extent();
        assert!(bytes < 4 << 20, "{bytes} bytes");
    }
    let (ticks, ..) = screen.app.history.extent();
    assert!(ticks > 2, "{ticks}");
}
