//! What tests read in the JSON of `dump` and `tail`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope_probe::{Region, TelemetryExtension};
use serde_json::Value;

use super::{PATIENCE, atomscope, atomscope_json};

/// A probe with a region of its own that polls attached components every 10 ms.
pub fn polled_often(node: &str) -> Arc<TelemetryExtension> {
    let region = Region::builder(node).poll_interval(Duration::from_millis(10)).build();
    TelemetryExtension::with_region(region.expect("the region can be shared"))
}

/// The dump of this process's region, made by another process.
pub fn dump(telemetry: &TelemetryExtension) -> Value {
    dump_of(telemetry.region().path().expect("the region is shared"))
}

/// The dump of the region or raw dump in this file.
pub fn dump_of(file: impl AsRef<OsStr>) -> Value {
    atomscope_json(["dump".as_ref(), "--region".as_ref(), file.as_ref()])
}

/// The object `atomscope` of the dump of this file.
pub fn about(file: impl AsRef<OsStr>) -> Value {
    dump_of(file)["atomscope"].take()
}

/// Waits for a dump of which `condition` holds, and fails with `what` if there never is one.
pub async fn wait_for_dump(
    what: &str,
    telemetry: &TelemetryExtension,
    mut condition: impl FnMut(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dump = dump(telemetry);
        if condition(&dump) {
            return dump;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}; the last dump is {dump}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything that a dump says of a metric.
#[track_caller]
pub fn metric_entry<'a>(dump: &'a Value, name: &str) -> &'a Value {
    let metrics = dump["atomscope"]["metrics"].as_array().expect("a list of metrics");
    metrics
        .iter()
        .find(|metric| name_of(metric) == name)
        .unwrap_or_else(|| panic!("there is no metric {name}"))
}

/// `name`, or `name{key=value}`.
fn name_of(metric: &Value) -> String {
    let labels = metric["labels"].as_object().expect("labels");
    let labels: Vec<_> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().expect("a text"))).collect();
    let name = metric["name"].as_str().expect("a name");
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// The value of a metric; `None` if it is unknown because no attached component counts it.
#[track_caller]
pub fn known_metric(dump: &Value, name: &str) -> Option<u64> {
    metric_entry(dump, name)["value"].as_u64()
}

/// The value of a metric that must be known.
#[track_caller]
pub fn metric(dump: &Value, name: &str) -> u64 {
    known_metric(dump, name).unwrap_or_else(|| panic!("the value of {name} is unknown"))
}

/// The instances of a domain.
pub fn instances<'a>(dump: &'a Value, domain: &str) -> &'a [Value] {
    dump["atomscope"]["instances"][domain].as_array().map_or(&[], Vec::as_slice)
}

/// The instance of this name.
#[track_caller]
pub fn instance<'a>(dump: &'a Value, domain: &str, name: &str) -> &'a Value {
    let found = instances(dump, domain).iter().find(|instance| instance["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name} among the {domain}"))
}

/// A field that must be a number.
#[track_caller]
pub fn number(entry: &Value, field: &str) -> u64 {
    entry[field].as_u64().unwrap_or_else(|| panic!("no {field} in {entry}"))
}

/// Every event that `tail` finds in a region or raw dump, from the first that is kept.
pub fn all_events(file: &Path) -> Vec<Value> {
    let file = file.to_str().expect("a path in UTF-8");
    let output = atomscope(["tail", file, "--json", "--no-follow", "--since", "1970-01-01T00:00:00Z"]);
    assert!(output.status.success(), "{output:?}");
    json_lines(&output.stdout)
}

/// One JSON value for each line.
pub fn json_lines(text: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(text).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The JSON lines that the decoder of the tests prints.
pub fn decoded<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<Value> {
    let decoder = concat!(env!("CARGO_MANIFEST_DIR"), "/decoder/atomscope_decode.py");
    let output = Command::new("python3").arg(decoder).args(arguments).output().expect("python3 can be run");
    assert!(output.status.success(), "the decoder failed: {}", String::from_utf8_lossy(&output.stderr));
    json_lines(&output.stdout)
}

/// Fails with the first field that differs; `path` is what both are.
#[track_caller]
pub fn same(path: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            let (mut left, mut right) = (names(a), names(b));
            left.sort();
            right.sort();
            assert_eq!(left, right, "the fields of {path}");
            a.iter().for_each(|(name, value)| same(&format!("{path}.{name}"), value, &b[name]));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "the length of {path}");
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| same(&format!("{path}[{at}]"), a, b));
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

/// The folder with a folder for each version of the layout.
pub const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

/// The raw dumps in it.
pub fn golden_regions() -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let folders = entries(Path::new(GOLDEN)).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| entries(&folder));
    files.filter(|file| file.extension() == Some("raw".as_ref())).collect()
}

/// Damages regions, each time in the same ways.
#[derive(Debug)]
pub struct Damage(u64);

impl Default for Damage {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Damage {
    /// A number of a fixed sequence, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.random() % end
    }

    /// A copy of a sound region in which 2 to the power of `round` words have other values.
    pub fn of(&mut self, sound: &[u8], round: u32) -> Vec<u8> {
        let mut damaged = sound.to_vec();
        let words = damaged.len() as u64 / 8;
        // Half of the regions keep their directory, so that what is behind it is read.
        let first = if round.is_multiple_of(2) { 512 } else { 1024 };
        for _ in 0..1 << round {
            let at = (first + self.below(words - first)) as usize * 8;
            let value = match self.below(5) {
                0 => u64::MAX,
                1 => (1 << 63) | self.below(4),
                2 => self.below(64),
                3 => self.random() & 0xff00_ffff,
                _ => self.random(),
            };
            damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        damaged
    }

    fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
