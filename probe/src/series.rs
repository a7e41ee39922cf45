//! What a region knows of the application's metrics: which there are, what tells them apart, and which slots are free.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use atomscope_layout::limits::{METRIC_NAME_BYTES, METRIC_TEXT_BYTES};
use atomscope_layout::metrics::{BUILTIN, Description, Kind};

/// Labels of a metric at most.
pub(crate) const MAX_LABELS: usize = 16;
/// Refused metrics that are remembered, so that each is warned of once. Further ones are counted only.
const REMEMBERED: usize = 32;

/// A metric that is in use, shared by its handles.
#[derive(Debug)]
pub(crate) struct Series {
    /// The number of its word in each lane.
    pub(crate) number: usize,
    /// 1 + the number of its slot in the section of histograms; 0: it is none.
    pub(crate) histogram: u64,
    /// Which of all metrics that the region ever had.
    id: u64,
    is_removed_on_drop: AtomicBool,
}

impl Series {
    /// From now on the metric is removed when its last handle is dropped.
    pub(crate) fn remove_on_drop(&self) {
        self.is_removed_on_drop.store(true, Ordering::Relaxed);
    }

    /// Whether the metric goes with its last handle.
    pub(crate) fn is_removed_on_drop(&self) -> bool {
        self.is_removed_on_drop.load(Ordering::Relaxed)
    }
}

/// The labels of a metric in the order of their keys.
pub(crate) struct Labels<'a>([(&'a str, &'a str); MAX_LABELS], usize);

impl<'a> Labels<'a> {
    /// # Errors
    /// There are too many, or two have the same key.
    pub(crate) fn new(labels: &[(&'a str, &'a str)]) -> Result<Self, String> {
        let mut sorted = [("", ""); MAX_LABELS];
        let Some(to) = sorted.get_mut(..labels.len()) else {
            return Err(format!("it has {} labels; {MAX_LABELS} are the most", labels.len()));
        };
        to.copy_from_slice(labels);
        to.sort_unstable();
        match to.windows(2).find(|two| matches!(two, [(one, _), (other, _)] if one == other)) {
            Some(two) => Err(format!("it has two labels {:?}", two.first().map_or("", |(key, _)| key))),
            None => Ok(Self(sorted, labels.len())),
        }
    }

    pub(crate) fn get(&self) -> &[(&'a str, &'a str)] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

/// The metrics of a region, but for the built-in ones.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The slot of each metric, by name and labels.
    by_identity: HashMap<Box<[u8]>, usize>,
    families: HashMap<Box<str>, Family>,
    /// The slots that were ever in use.
    slots: Vec<Slot>,
    free_slots: Vec<usize>,
    histograms_used: usize,
    free_histograms: Vec<usize>,
    ids: u64,
    /// Metrics that the probe writes to by the numbers of their slots. They are never removed.
    #[cfg(feature = "persistence")]
    kept: Vec<Arc<Series>>,
    refused: HashSet<Box<str>>,
}

/// The metrics of one name.
#[derive(Debug)]
struct Family {
    kind: Kind,
    unit: Box<str>,
    series: usize,
}

#[derive(Debug, Default)]
struct Slot {
    /// Metrics that had it, the current one included.
    uses: u32,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    id: u64,
    histogram: u64,
    name: Box<str>,
    identity: Box<[u8]>,
    series: Weak<Series>,
}

/// Room for a metric that is not registered yet.
pub(crate) struct Room {
    at: usize,
    /// The number of its word in each lane.
    pub(crate) number: usize,
    /// Metrics that had the slot before.
    pub(crate) uses: u32,
    /// 1 + the number of the slot in the section of histograms; 0: it is none.
    pub(crate) histogram: u64,
}

/// Name and labels of a metric as one key.
struct Identity([u8; METRIC_TEXT_BYTES], usize);

impl Identity {
    /// The metric was [checked](check): its name and labels fit here, and have no zero bytes, which separate them.
    fn of(described: &Description<'_>) -> Self {
        let mut identity = Self([0; METRIC_TEXT_BYTES], 0);
        identity.push(described.name);
        for (key, value) in described.labels {
            identity.push("\0");
            identity.push(key);
            identity.push("\0");
            identity.push(value);
        }
        identity
    }

    fn push(&mut self, text: &str) {
        let end = self.1 + text.len();
        if let Some(to) = self.0.get_mut(self.1..end) {
            to.copy_from_slice(text.as_bytes());
            self.1 = end;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

/// Why a metric of this name and these labels is refused.
fn check(described: &Description<'_>) -> Result<(), String> {
    let Description { name, labels, unit, .. } = described;
    let is_plain =
        |text: &str, others: &[char]| !text.contains(|c: char| c.is_control() || others.contains(&c));
    if name.is_empty() || name.trim() != *name {
        return Err("its name is empty, or begins or ends with a space".into());
    }
    if BUILTIN.iter().any(|(builtin, ..)| builtin == name) {
        return Err("the probe itself has a metric of this name".into());
    }
    // With these characters a name would look like another name with labels.
    if !is_plain(name, &['{', '}', '"']) || !is_plain(unit, &[]) {
        return Err("its name or unit has a control character, or its name one of {, } and \"".into());
    }
    let is_key =
        |key: &str| !key.is_empty() && key.trim() == key && is_plain(key, &['{', '}', '"', '=', ',']);
    if let Some((key, _)) = labels.iter().find(|(key, value)| !is_key(key) || !is_plain(value, &[])) {
        return Err(format!("its label {key:?} has no name, or a character that labels may not have"));
    }
    if !described.fits() {
        return Err(format!(
            "its name has more than {METRIC_NAME_BYTES} bytes, or name, labels and unit together more than {METRIC_TEXT_BYTES}"
        ));
    }
    Ok(())
}

impl Registry {
    /// The metric of this name and these labels, if there is one.
    ///
    /// # Errors
    /// The metric is refused, because of its name, its labels, or another kind or unit that its name has already.
    pub(crate) fn find(&mut self, described: &Description<'_>) -> Result<Option<Arc<Series>>, String> {
        check(described)?;
        let identity = Identity::of(described);
        let at = self.by_identity.get(identity.bytes()).copied();
        if let Some(family) = self.families.get(described.name) {
            if family.kind != described.kind {
                return Err(format!("the name is that of a {} already", word(family.kind)));
            }
            if *family.unit != *described.unit {
                return Err(format!("the name has the unit {:?} already", family.unit));
            }
        }
        let Some((at, current)) = at.and_then(|at| Some((at, self.slots.get_mut(at)?.current.as_mut()?)))
        else {
            return Ok(None);
        };
        if let Some(series) = current.series.upgrade() {
            return Ok(Some(series));
        }
        self.ids += 1;
        current.id = self.ids;
        let series = Arc::new(Series {
            number: BUILTIN.len() + at,
            histogram: current.histogram,
            id: current.id,
            is_removed_on_drop: AtomicBool::new(false),
        });
        current.series = Arc::downgrade(&series);
        Ok(Some(series))
    }

    /// Room for one more metric of this kind.
    ///
    /// # Errors
    /// All slots for metrics, or for histograms, are in use.
    pub(crate) fn room(&self, kind: Kind, metrics: usize, histograms: usize) -> Result<Room, String> {
        let at = self.free_slots.last().copied().unwrap_or(self.slots.len());
        let number = BUILTIN.len() + at;
        if number >= metrics {
            return Err(format!("the region is full with {metrics} metrics; raise `metrics` in the builder"));
        }
        let histogram = match kind {
            Kind::Histogram => {
                let slot = self.free_histograms.last().copied().unwrap_or(self.histograms_used);
                if slot >= histograms {
                    return Err(format!(
                        "the region is full with {histograms} histograms; raise `histograms` in the builder"
                    ));
                }
                slot as u64 + 1
            }
            _ => 0,
        };
        Ok(Room { at, number, uses: self.slots.get(at).map_or(0, |slot| slot.uses), histogram })
    }

    /// Registers a metric in its room, whose descriptor is written.
    pub(crate) fn add(&mut self, described: &Description<'_>, room: &Room) -> Arc<Series> {
        if self.free_slots.pop().is_none() {
            self.slots.push(Slot::default());
        }
        if room.histogram != 0 && self.free_histograms.pop().is_none() {
            self.histograms_used += 1;
        }
        let Description { name, kind, unit, .. } = *described;
        let family = self.families.entry(name.into());
        family.or_insert_with(|| Family { kind, unit: unit.into(), series: 0 }).series += 1;
        let identity: Box<[u8]> = Identity::of(described).bytes().into();
        self.by_identity.insert(identity.clone(), room.at);
        self.ids += 1;
        let series = Arc::new(Series {
            number: room.number,
            histogram: room.histogram,
            id: self.ids,
            is_removed_on_drop: AtomicBool::new(false),
        });
        if let Some(slot) = self.slots.get_mut(room.at) {
            slot.uses = slot.uses.wrapping_add(1);
            slot.current = Some(Current {
                id: series.id,
                histogram: room.histogram,
                name: name.into(),
                identity,
                series: Arc::downgrade(&series),
            });
        }
        series
    }

    /// Forgets a metric whose last handle is gone. False if it has got new handles meanwhile. The caller clears its words
    /// before it calls [`Self::give_back`].
    pub(crate) fn forget(&mut self, series: &Series) -> bool {
        let at = series.number.wrapping_sub(BUILTIN.len());
        let Some(slot) = self.slots.get_mut(at) else { return false };
        let Some(current) = slot.current.take_if(|current| current.id == series.id) else { return false };
        self.by_identity.remove(&current.identity);
        if let Some(family) = self.families.get_mut(&current.name) {
            family.series -= 1;
            if family.series == 0 {
                self.families.remove(&current.name);
            }
        }
        true
    }

    /// The slots of a forgotten metric are free.
    pub(crate) fn give_back(&mut self, series: &Series) {
        self.free_slots.push(series.number.wrapping_sub(BUILTIN.len()));
        if let Some(slot) = series.histogram.checked_sub(1) {
            self.free_histograms.push(slot as usize);
        }
    }

    /// From now on the metric is never removed.
    #[cfg(feature = "persistence")]
    pub(crate) fn keep(&mut self, series: &Arc<Series>) {
        if !self.kept.iter().any(|kept| Arc::ptr_eq(kept, series)) {
            self.kept.push(series.clone());
        }
    }

    /// Whether a refusal of this name is to be warned of.
    pub(crate) fn is_news(&mut self, refused: &str) -> bool {
        self.refused.len() < REMEMBERED && self.refused.insert(refused.into())
    }
}

/// The kind as the application calls it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::FloatGauge => "floating gauge",
        _ => kind.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described<'a>(name: &'a str, labels: &'a [(&'a str, &'a str)]) -> Description<'a> {
        Description { name, labels, unit: "", kind: Kind::Counter, help: "" }
    }

    #[test]
    fn a_name_or_label_that_could_look_like_another_is_refused() {
        let mut registry = Registry::default();
        // Metrics that the refused ones would be taken for, if nothing but the bytes that fit were compared.
        for labels in [&[("k", "")][..], &[("k", "1"), ("l", "two")]] {
            let known = described("a", labels);
            let room = registry.room(known.kind, usize::MAX, 0).unwrap();
            registry.add(&known, &room);
        }
        let long = "n".repeat(METRIC_NAME_BYTES + 1);
        for name in ["", " a", "a\n", "a{b=\"c\"}", "actors.spawned", "a\0k\0", &long] {
            assert!(registry.find(&described(name, &[])).is_err(), "{name:?}");
        }
        let wide = "v".repeat(METRIC_TEXT_BYTES);
        let values = ["x\u{7}", "1\0l\0two", &wide];
        let keys = [("", "x"), ("a=b", ""), ("a,b", ""), ("a ", "")];
        for label in keys.into_iter().chain(values.map(|value| ("k", value))) {
            assert!(registry.find(&described("a", &[label])).is_err(), "{label:?}");
        }
        assert!(Labels::new(&[("a", "1"), ("a", "2")]).is_err());
        assert!(Labels::new(&[("a", ""); MAX_LABELS + 1]).is_err());
        assert!(registry.find(&described("a", &[("a", "any, \"text\" = {here}")])).is_ok());
    }

    #[test]
    fn a_metric_is_its_name_and_labels_and_a_removed_one_gives_its_room_to_the_next() {
        let mut registry = Registry::default();
        let add = |registry: &mut Registry, labels: &[(&str, &str)], metrics| {
            let described = described("docs", labels);
            match registry.find(&described).unwrap() {
                Some(found) => Ok(found),
                None => registry.room(described.kind, metrics, 0).map(|room| registry.add(&described, &room)),
            }
        };
        let most = BUILTIN.len() + 2;
        let (a, b) =
            (add(&mut registry, &[("k", "a")], most).unwrap(), add(&mut registry, &[], most).unwrap());
        assert!(add(&mut registry, &[("k", "c")], most).is_err());
        assert!(Arc::ptr_eq(&a, &add(&mut registry, &[("k", "a")], most).unwrap()));
        // A metric that got new handles after its last one was dropped stays.
        let gone = Arc::into_inner(b).unwrap();
        let again = add(&mut registry, &[], most).unwrap();
        assert!(again.number == gone.number && !registry.forget(&gone));
        let gone = Arc::into_inner(again).unwrap();
        assert!(registry.forget(&gone));
        registry.give_back(&gone);
        let next = add(&mut registry, &[("k", "c")], most).unwrap();
        assert!(next.number == gone.number && !registry.forget(&gone));
        assert_eq!(registry.slots[next.number - BUILTIN.len()].uses, 2);
    }
}
