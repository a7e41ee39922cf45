"""Reads the telemetry of an atomscope node from outside of its process, with the standard library alone.

    import atomscope

    with atomscope.open(4711) as node:          # a process id, or the path of a region or of a raw dump
        snapshot = node.snapshot()
        print(snapshot.state, len(snapshot.actors))
        for event in node.events():             # until the node ends
            print(event)

A region is shared memory that a probe inside the node writes. This module maps it read-only, as `layout/LAYOUT.md`
describes; the node neither knows nor waits. What is unknown is `None`, never 0. Fields have the names of the JSON of
`atomscope dump`; times are texts in RFC 3339 with nanoseconds, as there.

A process that truncates the file of a mapped region ends its readers by SIGBUS. No probe does that.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import fcntl
import json
import math
import mmap
import os
import pathlib
import re
import stat
import struct
import sys
import threading
import time
from typing import Any, Iterable, Iterator, NamedTuple, Optional, Union

__all__ = [
    "Actor",
    "Class",
    "DeadLetter",
    "End",
    "Event",
    "Failure",
    "Field",
    "Histogram",
    "InFlight",
    "JournalWrite",
    "Kind",
    "Lost",
    "MAX_BYTES",
    "Metric",
    "Node",
    "Panic",
    "Record",
    "Refused",
    "RingTotals",
    "RuntimeThread",
    "Snapshot",
    "Stats",
    "Totals",
    "Variant",
    "nodes",
    "open",
]
__version__ = "0.10.0"

_HEADER_BYTES = 4096
_READY = 1 << 63
_NEVER = 2**64 - 1
_TRIES = 16
# For how many records of one pass a writer is waited for in all tries.
_MOST_PAUSES = 100 * _TRIES

# A larger region or dump is refused, as by the program without `--max-size`.
MAX_BYTES = 4 << 30
_STALE_NS = 3_000_000_000
_DEFAULT_DIR = "/dev/shm"


class Refused(Exception):
    """A file cannot be read as a region; the text says why."""


class _Unreadable(Exception):
    """A record holds what no writer stores, or it was being written at each try."""


# What a snapshot consists of.


@dataclasses.dataclass(frozen=True)
class InFlight:
    """A handler that has begun and not ended. Mode: `runs`, `awaits`, or unknown."""

    since: Optional[str]
    mode: Optional[str]


@dataclasses.dataclass(frozen=True)
class Stats:
    """What an instrumented actor has done. Times are nanoseconds, and estimates."""

    handled: int
    busy_ns: int
    failures: int
    restarts: int
    in_flight: Optional[InFlight]
    variant: Optional[str]
    polls: Optional[int]
    task: Optional[int]


@dataclasses.dataclass(frozen=True)
class Actor:
    """A live actor. Only an instrumented one has `stats`."""

    path: str
    parent: Optional[str]
    actor_type: str
    mailbox_depth: Optional[int]
    depth_peak: Optional[int]
    spawned_at: Optional[str]
    host: Optional[str]
    stats: Optional[Stats]


@dataclasses.dataclass(frozen=True)
class Totals:
    """How many actors there were and are."""

    spawned: int
    stopped: int
    replaced: int
    live: int
    foreign: int
    untracked: int
    inexact: bool


@dataclasses.dataclass(frozen=True)
class Histogram:
    """`buckets`: the least value of each bucket that is not empty, and its count. Quantiles are upper bounds."""

    count: int
    sum: int
    greatest: int
    p50: int
    p90: int
    p99: int
    buckets: list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A counter, a gauge or a histogram; the value of a histogram is its number of values. Only a gauge may be negative or
    have a fraction."""

    name: str
    labels: dict[str, str]
    unit: str
    kind: str
    help: str
    value: Union[int, float, None]
    histogram: Optional[Histogram]
    builtin: bool
    """Whether it is the probe's own, and not the application's."""

    @property
    def series(self) -> str:
        """Name and labels in one, as `docs.seen{shard="0"}`: what tells it from all other metrics of the node."""
        labels = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.labels.items())
        return f"{self.name}{{{labels}}}" if labels else self.name


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A message that reached no actor."""

    seq: int
    recipient: str
    sender: Optional[str]
    message_type: str
    message_preview: str
    timestamp: Optional[str]


@dataclasses.dataclass(frozen=True)
class RingTotals:
    """A list that keeps the newest records: how many there ever were, and how many of these cannot be shown."""

    total: int
    lapped: int
    abandoned: int
    unreadable: int


@dataclasses.dataclass(frozen=True)
class JournalWrite:
    """Events that a journal wrote."""

    journal: str
    persistence_id: str
    sequence_nr: int
    timestamp: Optional[str]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A distinct failure: a panic, or an error or a warning that was logged, and how often it happened."""

    number: int
    severity: str
    count: int
    first: Optional[str]
    last: Optional[str]
    message: Optional[str]
    location: Optional[str]
    target: Optional[str]
    thread: Optional[str]
    actor: Optional[str]
    class_: Optional[str]


@dataclasses.dataclass(frozen=True)
class Panic:
    """One panic. `failure` is the number of its failure."""

    seq: int
    timestamp: Optional[str]
    failure: Optional[int]
    tid: Optional[int]
    thread: Optional[str]
    message: Optional[str]
    location: Optional[str]
    actor: Optional[str]
    class_: Optional[str]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of the messages of a class; no name: unknown."""

    variant: Optional[str]
    handled: int
    busy_ns: int


@dataclasses.dataclass(frozen=True)
class Class:
    """All instrumented actors of one Rust type; no name: those of all types that found no room."""

    class_: Optional[str]
    spawned: int
    stopped: int
    live: int
    handled: int
    busy_ns: int
    failures: int
    restarts: int
    untracked: int
    overwritten: int
    long_polls: Optional[int]
    polls: Optional[int]
    handle_time_ns: Optional[Histogram]
    depth: Optional[Histogram]
    variants: list[Variant]


@dataclasses.dataclass(frozen=True)
class RuntimeThread:
    """A thread of an async runtime that is watched from its builder. State: `parked`, `runs` or `ended`."""

    tid: int
    runtime: int
    name: Optional[str]
    parks: int
    state: str
    since: Optional[str]


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a kind of records. No type: its values are unknown."""

    name: str
    unit: str
    help: str
    type: Optional[str]
    offset: int
    element_bytes: int
    length: int
    values: list[str]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of the application's own records."""

    name: str
    help: str
    bytes: int
    fields: list[Field]


@dataclasses.dataclass(frozen=True)
class Record:
    """A record of the application's own: the newest state that was published."""

    kind: str
    name: str
    published: int
    lost: int
    at: Optional[str]
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class End:
    """What a node that ended has noted of its end. Kind: `exit`, `signal` or `unknown`."""

    kind: str
    code: Optional[int]
    signal: Optional[str]
    sender: Optional[int]
    address: Optional[str]
    closed_in_panic: bool
    tid: Optional[int]
    thread: Optional[str]
    at: Optional[str]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A decoded copy of a region at one time."""

    node: str
    generated_at: Optional[str]
    state: str
    """`starting`, `live`, `wedged`, `stopping`, `closed`, `failed` or `crashed`."""
    why: Optional[str]
    conditions: list[str]
    liveness: str
    """What the state rests on: `lock`, `process` or `heartbeat`."""
    end: Optional[End]
    pid: int
    uid: int
    system: Optional[str]
    program: str
    writer_version: str
    layout_version: str
    created_at: Optional[str]
    process_beat_age_ms: Optional[int]
    runtime_beat_age_ms: Optional[int]
    totals: Totals
    actors: list[Actor]
    actors_unreadable: int
    unlisted: int
    waiting_stops: int
    dead_letters: list[DeadLetter]
    """The newest first, all that are kept."""
    dead_letter_totals: RingTotals
    failures: list[Failure]
    failures_unreadable: int
    panics: list[Panic]
    panic_totals: RingTotals
    metrics: list[Metric]
    classes: list[Class]
    kinds: list[Kind]
    records: list[Record]
    records_unreadable: int
    runtime_threads: list[RuntimeThread]
    runtime_threads_unreadable: int
    instances: dict[str, list[dict[str, Any]]]
    """For each domain (`journals`, `shards`, …) its instances: `name`, `owner`, `since`, and numbers."""
    instances_unreadable: int
    cluster: dict[str, Any]
    """`self_address`, `leader`, `members`, `unreachable`, `reachability_records`, `gossip_version`."""
    sharding: dict[str, Any]
    """`regions` with their `shards`, and `allocations`."""
    hand_offs: list[list[str]]
    """Of each: shard, from, to, state."""
    rows_dropped: int
    """Rows of cluster and sharding that found no room."""
    documents_unreadable: int
    journal_writes: list[JournalWrite]
    """The oldest first, all that are kept."""

    def metric(self, name: str, **labels: str) -> Metric:
        """The metric of this name with exactly these labels. Raises `KeyError` if there is none."""
        for metric in self.metrics:
            if metric.name == name and metric.labels == labels:
                return metric
        raise KeyError(name)

    def records_of(self, kind: str) -> list[dict[str, Any]]:
        """A row for each record of a kind: its name, its fields, and when it was published."""
        rows = (record for record in self.records if record.kind == kind)
        return [{"record": row.name, **row.values, "published": row.published, "at": row.at} for row in rows]

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as dictionaries and lists; `class_` is then `class`, as in the JSON of `atomscope`."""
        plain: dict[str, Any] = _plain(self)
        return plain


@dataclasses.dataclass(frozen=True)
class Event:
    """An event of the node. `values` are the fields of its kind."""

    kind: str
    topic: str
    at: Optional[str]
    stamp: int
    lane: int
    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As a line of `atomscope tail --json`."""
        return {"kind": self.kind, **self.values, "topic": self.topic, "at": self.at, "stamp": self.stamp, "lane": self.lane}


@dataclasses.dataclass(frozen=True)
class Lost:
    """Events of one lane that were not read, between those at `after` and `before`."""

    lane: int
    lapped: int
    abandoned: int
    unreadable: int
    after: Optional[str]
    before: Optional[str]

    @property
    def lost(self) -> int:
        """How many in all."""
        return self.lapped + self.abandoned + self.unreadable

    def to_dict(self) -> dict[str, Any]:
        """As a line of `atomscope tail --json`."""
        return {"kind": "lost", "lost": self.lost, **dataclasses.asdict(self)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name.rstrip("_"): _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


# Words, texts and times.

_gate = threading.Lock()
_gate.acquire()


def _fence() -> None:
    """No load after it is executed before a load that precedes it: a release, and then an acquire of the same word."""
    _gate.release()
    _gate.acquire()


class _Words:
    """64-bit words, each loaded whole. Offsets and lengths are in bytes."""

    def __init__(self, memory: Any, start: int, bytes_: int) -> None:
        self._view = memoryview(memory)[start : start + bytes_ // 8 * 8]
        self._words = self._view.cast("B").cast("Q")
        self.bytes = len(self._words) * 8
        self._pauses = _MOST_PAUSES

    def begin_pass(self) -> None:
        """Writers get their time anew."""
        self._pauses = _MOST_PAUSES

    def pause(self, attempt: int) -> None:
        """Gives a writer time to finish its record. A damaged region has many records that nobody finishes."""
        if self._pauses > 0:
            self._pauses -= 1
            time.sleep(0 if attempt < 4 else 0.0001 * attempt)

    def load(self, offset: int) -> int:
        return self._words[offset // 8]

    def list(self, offset: int, count: int) -> list[int]:
        first = offset // 8
        return self._words[first : first + count].tolist()

    def copy(self, offset: int, length: int) -> bytes:
        return struct.pack(f"<{length // 8}Q", *self.list(offset, length // 8))

    def text_cell(self, offset: int, length: int) -> Optional[str]:
        ready = self.load(offset)
        _fence()
        size = ready & ~_READY
        if not ready & _READY or size > length - 8:
            return None
        return _utf8(self.copy(offset + 8, (size + 7) // 8 * 8)[:size])

    def close(self) -> None:
        self._words.release()
        self._view.release()


def _utf8(text: bytes) -> Optional[str]:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _texts(field: bytes, lengths: Iterable[int]) -> list[str]:
    """Texts of these lengths that follow each other."""
    texts, at = [], 0
    for length in lengths:
        text = _utf8(field[at : at + length])
        if text is None or at + length > len(field):
            raise _Unreadable
        texts.append(text)
        at += length
    return texts


def _labels(text: str) -> dict[str, str]:
    """Keys and values, each with a zero byte after it, in the strict order of the keys."""
    parts = text.split("\0")
    keys = parts[:-1:2]
    if parts[-1] or len(parts) % 2 == 0 or any(one.encode() >= next_.encode() for one, next_ in zip(keys, keys[1:])):
        raise _Unreadable
    return dict(zip(keys, parts[1::2]))


def _rfc3339(unix_ns: int) -> Optional[str]:
    seconds, ns = divmod(unix_ns, 1_000_000_000)
    try:
        when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return None
    return f"{when.year:04}-{when:%m-%dT%H:%M:%S}.{ns:09}Z"


class _ClockSample(NamedTuple):
    ticks: int
    mono_ns: int
    boot_ns: int
    unix_ns: int
    rate: int


class _Clock:
    """Converts stamps to times. Stamps after `until` have no time yet."""

    def __init__(self, samples: list[_ClockSample], until: Optional[int]) -> None:
        self._samples, self._until = sorted(samples), until

    def unix_ns(self, stamp: int) -> Optional[int]:
        if not self._samples or self._until is not None and stamp > self._until:
            return None
        sample = self._samples[0]
        for later in self._samples:
            if later.ticks <= stamp:
                sample = later
        since = (stamp - sample.ticks) * sample.rate
        return abs(since) // 2**40 * (1 if since >= 0 else -1) + sample.unix_ns


@dataclasses.dataclass(frozen=True)
class _Section:
    offset: int
    count: int
    stride: int

    def records(self) -> range:
        return range(self.offset, self.offset + self.count * self.stride, self.stride)


# Tables of the layout.

# For each section: its id, its least count and its least stride.
_SECTIONS = {
    "counters": (1, 1, 768),
    "metrics": (2, 96, 384),
    "names": (3, 1, 256),
    "actors": (4, 1, 320),
    "dead letters": (5, 2, 384),
    "events": (6, 1, 512),
    "instances": (7, 1, 384),
    "documents": (8, 2, 640),
    "histograms": (9, 1, 1536),
    "journal writes": (10, 2, 256),
    "clock samples": (11, 2, 64),
    "failures": (12, 1, 768),
    "panics": (13, 2, 512),
    "cells": (14, 1, 64),
    "classes": (15, 1, 3136),
    "variants": (16, 1, 16),
    "handled": (17, 1, 128),
    "threads": (18, 1, 64),
    "kinds": (19, 1, 128),
    "fields": (20, 1, 128),
    "own records": (21, 1, 1152),
}
_EVENT_SLOT_BYTES = 256
_METRIC_KINDS = {1: "counter", 2: "gauge", 3: "histogram", 4: "gauge", 5: "gauge"}
_SIGNED, _FLOATING = 4, 5
_SEVERITIES = {_READY | 1: "panic", _READY | 2: "error", _READY | 3: "warning"}
_MODES = {1: "runs", 2: "awaits"}

# Types of fields: the name, the bytes that an element may have, and its format for numbers.
_FIELD_TYPES: dict[int, tuple[str, Iterable[int]]] = {
    1: ("u8", (1,)),
    2: ("u16", (2,)),
    3: ("u32", (4,)),
    4: ("u64", (8,)),
    5: ("i8", (1,)),
    6: ("i16", (2,)),
    7: ("i32", (4,)),
    8: ("i64", (8,)),
    9: ("f32", (4,)),
    10: ("f64", (8,)),
    11: ("bool", (1,)),
    12: ("text", range(1, 1025)),
    13: ("enum", (1, 2, 4)),
}

# Flags of actors, of events and of other records.
_PARENT, _PARENT_IS_PREFIX, _PATH_CUT, _SPAWNED_TEXT, _HOST, _DEPTH = 1, 2, 4, 16, 32, 64
_OPTIONAL, _TIME_TEXT, _REACHABLE, _LIST_SHIFT = 1, 16, 32, 8
_MESSAGE = 1
_CUT_MARK, _CUT_BYTES = "…#", 36
_FREE, _LIVE, _ORPHAN = 0, 2, 3

# Numbers of built-in metrics.
_SPAWNED, _STOPPED, _REPLACED, _FOREIGN, _EARLY_STOPS, _EARLY_STOPS_DONE, _SPILLED, _SPILLED_STOPPED = range(8)
_UNTRACKED_SPAWNS, _UNTRACKED_STOPS, _UNTRACKED_MATCHED, _DOUBTFUL_STOPS = 8, 9, 10, 70

# For each domain of instances: its name, and the names and kinds of its numbers.
_DOMAINS = {
    1: ("associations", "state:name inbound_bytes outbound_bytes inbound_messages outbound_messages errors available:flag quarantined:flag attempts"),
    2: ("graphs", "id elements"),
    3: ("journals", "events writes failures replays replayed_events replay_failures deletes unlisted_events rolled_up_ids latency_histogram cancelled"),
    4: ("persistence_ids", "highest_sequence_nr event_count"),
    5: ("shard_regions", "messages shards entities_started forwarded passivated received active_entities uncounted_messages"),
    6: ("shards", "messages entities hand_off:name received uncounted_messages remaining_entities"),
    7: ("keys", "updates subscribers"),
    8: ("leases", "holder:name acquired denied lost released held:flag renewed"),
    9: ("workers", "busy_ns parks parked:flag away_ns"),
    10: ("node_metrics", "value:float samples timestamp"),
}

# For each attachment, by bit: the built-in metrics that it counts, and the numbers of instances; `*` means that the bit
# is in `counted_by` of the instance.
_ATTACHMENTS = [
    ("cluster.changes", ""),
    ("cluster.gossip_sent", ""),
    ("cluster.gossip_received", ""),
    ("cluster.downing_calls cluster.downing_decisions", ""),
    ("cluster.quorum_lost cluster.quorum_regained", ""),
    ("cluster.metric_samples", "node_metrics.value node_metrics.samples node_metrics.timestamp"),
    ("", "*shard_regions.shards"),
    ("", "*shard_regions.received *shards.received"),
    ("sharding.messages", "*shard_regions.messages *shard_regions.entities_started *shard_regions.uncounted_messages *shards.messages *shards.entities *shards.uncounted_messages"),
    ("", "*shard_regions.forwarded"),
    ("sharding.allocations sharding.rebalances sharding.rebalanced_shards", ""),
    ("", ""),
    ("sharding.hand_offs_started sharding.hand_offs_done", "shards.hand_off shards.remaining_entities"),
    ("", "*shard_regions.active_entities"),
    ("", "shard_regions.passivated"),
    ("", ""),
    ("persistence.events persistence.failures", "*journals.events *journals.writes *journals.failures *journals.replays *journals.replayed_events *journals.replay_failures *journals.deletes *journals.unlisted_events *journals.rolled_up_ids *journals.latency_histogram *journals.cancelled persistence_ids.highest_sequence_nr persistence_ids.event_count"),
    ("persistence.events", "journals.events journals.unlisted_events journals.rolled_up_ids persistence_ids.highest_sequence_nr persistence_ids.event_count"),
    ("persistence.snapshots_saved persistence.snapshots_loaded persistence.snapshot_failures", ""),
    ("persistence.recovery_permits persistence.recoveries_running", ""),
    ("remote.errors remote.quarantines", "associations.state associations.inbound_bytes associations.outbound_bytes associations.inbound_messages associations.outbound_messages associations.errors associations.available associations.quarantined associations.attempts"),
    ("", "associations.state associations.inbound_bytes associations.outbound_bytes"),
    ("", "associations.state"),
    ("", "associations.inbound_bytes"),
    ("", "associations.outbound_bytes"),
    ("streams.started streams.finished streams.failed streams.elements", "graphs.id *graphs.elements"),
    ("streams.started streams.finished streams.failed", "graphs.id"),
    ("streams.started streams.finished", "graphs.id"),
    ("", "keys.subscribers"),
    ("ddata.updates ddata.deletes", "*keys.updates"),
    ("ddata.updates", "*keys.updates"),
    ("ddata.deletes", ""),
    ("leases.acquired leases.denied leases.lost", "leases.holder leases.acquired leases.denied leases.lost leases.released leases.held leases.renewed"),
    ("runtime.workers runtime.tasks runtime.queue", "workers.busy_ns workers.parks workers.parked workers.away_ns"),
    ("failures.panics", ""),
    ("failures.errors failures.warnings", ""),
    ("runtime.long_polls runtime.polls", ""),
]


def _counted_by(column: int) -> dict[str, int]:
    bits: dict[str, int] = collections.defaultdict(int)
    for bit, row in enumerate(_ATTACHMENTS):
        for name in row[column].split():
            bits[name] |= 1 << bit
    return bits


_METRICS_COUNTED_BY, _NUMBERS_COUNTED_BY = _counted_by(0), _counted_by(1)

# For each kind of events: its name and its topic.
_EVENT_KINDS = {
    1: ("actor_spawned", "actors"),
    2: ("actor_stopped", "actors"),
    3: ("mailbox_sampled", "actors"),
    4: ("dead_letter", "dead_letters"),
    5: ("cluster_changed", "cluster"),
    6: ("sharding_changed", "sharding"),
    7: ("journal_write", "persistence"),
    8: ("remote_association", "remote"),
    9: ("streams_graph_started", "streams"),
    10: ("streams_graph_finished", "streams"),
    11: ("d_data_updated", "ddata"),
    12: ("panicked", "failures"),
    13: ("own", "own"),
    14: ("long_poll", "runtime"),
}
_LEVELS = {1: "error", 2: "warn", 3: "info", 4: "debug", 5: "trace"}
_MOST_EVENT_BYTES, _MOST_EVENT_FIELDS = 152, 32
_CHANGES = ("added", "updated", "removed", "became_unreachable", "became_reachable")


class _Ring:
    """A list that keeps the newest records."""

    def __init__(self, words: _Words, offset: int, slots: int, stride: int) -> None:
        self._words, self._offset, self.slots, self._stride = words, offset, slots, stride

    def head(self) -> int:
        return self._words.load(self._offset)

    def read(self, ticket: int, length: int) -> tuple[str, bytes]:
        """`read` and the record; or `lapped`, `abandoned` or `pending`."""
        slot = self._offset + (1 + ticket % self.slots) * self._stride
        wanted = 2 * (ticket + 1)
        for attempt in range(_TRIES):
            sequence = self._words.load(slot)
            _fence()
            if sequence > wanted:
                return "lapped", b""
            if sequence == wanted:
                record = self._words.copy(slot + 16, length)
                _fence()
                return ("read", record) if self._words.load(slot) == sequence else ("lapped", b"")
            if sequence != wanted - 1 and self._words.load(slot + 8) > ticket:
                return "abandoned", b""
            self._words.pause(attempt)
        return "pending", b""


class _Cell(NamedTuple):
    generation: int
    class_number: int
    stats: Optional[Stats]


class _Region:
    """A region whose header and directory were checked."""

    def __init__(self, words: _Words) -> None:
        self.words = words
        if words.bytes < _HEADER_BYTES:
            raise Refused("it is too short for a region")
        magic = words.load(0)
        _fence()
        if magic == 0:
            raise Refused("the region is not ready yet")
        if struct.pack("<Q", magic) != b"ATOMSCPE":
            raise Refused("it is not a region")
        self.version = (words.load(8) >> 32, words.load(8) & 0xFFFFFFFF)
        if self.version[0] != 2:
            raise Refused(f"it has version {self.version[0]}.{self.version[1]} of the layout; this module reads version 2")
        (
            region_bytes,
            header_bytes,
            sections,
            self.pid,
            self.uid,
            self.start_ticks,
            self.boot_id,
            self.pid_namespace,
            self.created_unix_ns,
            _,
            _,
            self.builtins,
        ) = struct.unpack_from("<6Q16s5Q", words.copy(16, 112))
        self.time_record = struct.unpack("<Q2q2Q", words.copy(152, 40))
        if header_bytes != _HEADER_BYTES or region_bytes < _HEADER_BYTES or region_bytes % 8 or sections > 32:
            raise Refused("the header of the region is damaged")
        if region_bytes > words.bytes:
            raise Refused("the region is truncated")
        self.sections = self._directory(region_bytes, sections)
        self._names: dict[int, str] = {}
        self._kinds: dict[int, Optional[Kind]] = {}
        self.read_clock()

    def _directory(self, region_bytes: int, sections: int) -> dict[str, _Section]:
        found: dict[str, _Section] = {}
        ranges = []
        names = {number: name for name, (number, *_) in _SECTIONS.items()}
        for at in range(sections):
            number, offset, count, stride = struct.unpack("<4Q", self.words.copy(2048 + at * 64, 32))
            end = offset + count * stride
            is_sound = offset >= _HEADER_BYTES and offset % 128 == 0 and stride and stride % 8 == 0
            if not is_sound or end > region_bytes:
                raise Refused(f"section {number} of the region is damaged")
            ranges.append((offset, end))
            name = names.get(number)
            if name is None:
                continue
            _, least, least_stride = _SECTIONS[name]
            if name in found or count < least or stride < least_stride:
                raise Refused(f"the section of {name} is damaged")
            found[name] = _Section(offset, count, stride)
        ranges.sort()
        if any(end > start for (_, end), (start, _) in zip(ranges, ranges[1:])):
            raise Refused("sections of the region overlap")
        missing = _SECTIONS.keys() - found.keys()
        if missing:
            raise Refused(f"the region has no section of {', '.join(sorted(missing))}")
        has_room = found["counters"].stride >= found["metrics"].count * 8
        has_room = has_room and found["handled"].stride >= found["variants"].count * 16 + found["classes"].count * 8
        if found["events"].stride % _EVENT_SLOT_BYTES or not has_room:
            raise Refused("a section of the region is damaged")
        return found

    # Times and names.

    def read_clock(self) -> None:
        """Reads the log of clock samples. Read it after the records whose stamps are converted."""
        log = self.sections["clock samples"]
        complete = self.words.load(log.offset + 16)
        _fence()
        for attempt in range(_TRIES):
            self._clock_changes = self.words.load(log.offset)
            _fence()
            if self._clock_changes % 2 == 0:
                samples = self._clock_samples(log)
                _fence()
                if self.words.load(log.offset) == self._clock_changes:
                    self._clock = _Clock(samples, None)
                    return
            self.words.pause(attempt)
        self._clock = _Clock(self._clock_samples(log), complete)

    def _clock_samples(self, log: _Section) -> list[_ClockSample]:
        found = []
        for row in range(1, min(self.words.load(log.offset + 8), log.count - 1) + 1):
            offset = log.offset + row * log.stride
            sequence = self.words.load(offset)
            _fence()
            sample = _ClockSample(*struct.unpack("<3QqQ16x", self.words.copy(offset + 8, 56)))
            _fence()
            if sequence % 2 == 0 and self.words.load(offset) == sequence and sample.rate:
                found.append(sample)
        return found

    def time(self, stamp: int) -> Optional[str]:
        """The time of a stamp that was read before."""
        if self.words.load(self.sections["clock samples"].offset) != self._clock_changes:
            self.read_clock()
        unix_ns = self._clock.unix_ns(stamp)
        return None if unix_ns is None else _rfc3339(unix_ns)

    def name(self, number: int) -> str:
        known = self._names.get(number)
        if known is not None:
            return known
        section, text = self.sections["names"], None
        if 1 <= number <= section.count:
            text = self.words.text_cell(section.offset + (number - 1) * section.stride, section.stride)
        if text is not None:
            self._names[number] = text
        return "?" if text is None else text

    def beat(self, offset: int) -> tuple[int, int]:
        number = self.words.load(offset)
        _fence()
        return number, self.words.load(offset + 8)

    # Counters and metrics.

    def counter(self, number: int) -> int:
        lanes = self.sections["counters"].records()
        return sum(self.words.load(lane + number * 8) for lane in lanes) % 2**64

    def difference(self, number: int, ended: int) -> int:
        """A counter minus one that is read before it."""
        less = self.counter(ended)
        _fence()
        return max(self.counter(number) - less, 0)

    def totals(self) -> Totals:
        stopped, replaced = self.counter(_STOPPED), self.counter(_REPLACED)
        untracked_stops, matched = self.counter(_UNTRACKED_STOPS), self.counter(_UNTRACKED_MATCHED)
        _fence()
        foreign, untracked_spawns = self.counter(_FOREIGN), self.counter(_UNTRACKED_SPAWNS)
        spawned = self.counter(_SPAWNED)
        stopped = max(stopped - foreign, 0)
        return Totals(
            spawned=spawned,
            stopped=stopped,
            replaced=replaced,
            live=max(max(spawned - stopped, 0) - replaced, 0),
            foreign=foreign,
            untracked=max(max(untracked_spawns - untracked_stops, 0) - matched, 0),
            inexact=untracked_spawns > 0 or untracked_stops > 0 or self.counter(_DOUBTFUL_STOPS) > 0,
        )

    def attached(self) -> int:
        bits = self.words.load(144)
        _fence()
        return bits

    def metrics(self) -> list[Metric]:
        attached, found = self.attached(), []
        for number, offset in enumerate(self.sections["metrics"].records()):
            ready = self.words.load(offset)
            if not ready & _READY or ready & 0xFF not in _METRIC_KINDS:
                continue
            _fence()
            try:
                metric = self._metric(number, ready & 0xFF, self.words.copy(offset, 384), attached)
            except _Unreadable:
                continue
            _fence()
            # Another metric may have taken the slot meanwhile.
            if self.words.load(offset) == ready:
                found.append(metric)
        return found

    def _metric(self, number: int, kind: int, record: bytes, attached: int) -> Metric:
        name, labels, unit, help_ = _texts(record[16:], struct.unpack_from("<4H", record, 8))
        word = _METRIC_KINDS[kind]
        value: Union[int, float, None] = None
        histogram: Optional[Histogram] = None
        if word == "counter":
            value = self.counter(number)
        else:
            own = self.words.load(self.sections["counters"].offset + number * 8)
            value = own
            if kind == _SIGNED:
                value = own - 2**64 if own & 1 << 63 else own
            elif kind == _FLOATING:
                value = _float(struct.pack("<Q", own))
            elif word == "histogram":
                of = self.sections["histograms"]
                if not 1 <= own <= of.count:
                    raise _Unreadable
                words = self.words.list(of.offset + (own - 1) * of.stride, 192)
                value, histogram = words[0], _summary(words)
        builtin = number < self.builtins
        counted_by = _METRICS_COUNTED_BY.get(name) if builtin else None
        if value == 0 and counted_by and not attached & counted_by:
            value = None
        return Metric(name, _labels(labels), unit, word, help_, value, histogram, builtin)

    # Slots: actors and instances.

    def _slots(self, section: str, used: int, length: int) -> Iterator[Optional[bytes]]:
        """The records of the slots that are not free; `None` for one that cannot be read."""
        of = self.sections[section]
        for offset in of.records()[: self.words.load(used)]:
            for attempt in range(_TRIES):
                control = self.words.load(offset)
                _fence()
                if control & 3 in (_FREE, _ORPHAN):
                    break
                if control & 3 == _LIVE:
                    record = self.words.copy(offset, length)
                    _fence()
                    if self.words.load(offset) == control:
                        yield record
                        break
                self.words.pause(attempt)
            else:
                yield None

    def actors(self) -> tuple[list[Actor], int]:
        """The live actors by path, and how many slots cannot be read."""
        newest: dict[tuple[int, int], tuple[int, Actor, Optional[tuple[int, int]]]] = {}
        unreadable, rows = 0, self._rows()
        for record in self._slots("actors", 1920, 320):
            try:
                if record is None:
                    raise _Unreadable
                actor, stamp, cut_parent = self._actor(record, rows)
            except _Unreadable:
                unreadable += 1
                continue
            key = struct.unpack_from("<2Q", record, 8)
            if key not in newest or newest[key][0] < stamp:
                newest[key] = stamp, actor, cut_parent
        actors = []
        for _, actor, cut_parent in newest.values():
            if cut_parent in newest:
                actor = dataclasses.replace(actor, parent=newest[cut_parent][1].path)
            actors.append(actor)
        return sorted(actors, key=lambda actor: actor.path.encode()), unreadable

    def _actor(self, record: bytes, rows: list[tuple[Optional[int], int]]) -> tuple[Actor, int, Optional[tuple[int, int]]]:
        stamp, type_id, flags, *lengths, parent_bytes = struct.unpack_from("<Q2I4BH", record, 24)
        cell, depth, *key = struct.unpack_from("<4Q", record, 48)
        parent_key = (key[0], key[1])
        is_prefix = flags & _PARENT and flags & _PARENT_IS_PREFIX
        in_text = parent_bytes if flags & _PARENT and not is_prefix else 0
        path, type_name, spawned, host, parent = _texts(record[80:272], (*lengths, in_text))
        is_cut = False
        if is_prefix:
            parent, is_cut = _parent_of(path, flags, parent_bytes, parent_key)
        stats = None
        if cell & 0xFFFFFFFF:
            found = self._cell((cell & 0xFFFFFFFF) - 1, rows)
            stats = found.stats if found and found.generation == cell >> 32 else None
        actor = Actor(
            path=path,
            parent=parent if flags & _PARENT else None,
            actor_type=self.name(type_id) if type_id else type_name,
            mailbox_depth=depth & 0xFFFFFFFF if flags & _DEPTH else None,
            depth_peak=max(depth & 0xFFFFFFFF, depth >> 32) if flags & _DEPTH else None,
            spawned_at=spawned if flags & _SPAWNED_TEXT else self.time(stamp),
            host=host if flags & _HOST else None,
            stats=stats,
        )
        return actor, stamp, parent_key if is_cut else None

    def instances(self) -> tuple[dict[str, list[dict[str, Any]]], int]:
        attached, unreadable, entries = self.attached(), 0, []
        for record in self._slots("instances", 1928, 384):
            try:
                if record is None:
                    raise _Unreadable
                key, (since,) = struct.unpack_from("<2Q", record, 8), struct.unpack_from("<Q", record, 24)
                number, name_bytes = struct.unpack_from("<2H", record, 32)
                owner, (own,) = struct.unpack_from("<2Q", record, 40), struct.unpack_from("<Q", record, 56)
                if number not in _DOMAINS:
                    raise _Unreadable
                (name,) = _texts(record[192:384], (name_bytes,))
            except _Unreadable:
                unreadable += 1
                continue
            numbers = struct.unpack_from("<16Q", record, 64)
            entries.append((number, key, owner, name, self.time(since), numbers, own))
        names = {key: name for _, key, _, name, *_ in entries}
        found: dict[str, list[dict[str, Any]]] = {}
        entries.sort(key=lambda it: (it[0], it[2] in names, names.get(it[2], "").encode(), it[3].encode()))
        for number, _, owner, name, since, numbers, own in entries:
            domain, fields = _DOMAINS[number]
            entry: dict[str, Any] = {"name": name}
            if owner in names:
                entry["owner"] = names[owner]
            entry["since"] = since
            for field, value in zip(fields.split(), numbers):
                field, _, kind = field.partition(":")
                counted = attached & _NUMBERS_COUNTED_BY[f"{domain}.{field}"]
                counted |= own & _NUMBERS_COUNTED_BY[f"*{domain}.{field}"]
                entry[field] = self._number(kind, value) if value or counted else None
            found.setdefault(domain, []).append(entry)
        return found, unreadable

    def _number(self, kind: str, value: int) -> Any:
        if kind == "name":
            return self.name(value) if 0 < value < 2**32 else ""
        if kind == "flag":
            return {1: False, 2: True}.get(value)
        if kind == "float":
            number = struct.unpack("<d", struct.pack("<Q", value))[0]
            return number if math.isfinite(number) else None
        return value

    # Documents: cluster and sharding.

    def _document(self, number: int) -> tuple[int, list[tuple[int, int, list[str]]]]:
        """The number of dropped rows, and the kind, the number and the texts of each row."""
        section = self.sections["documents"]
        offset, copy_bytes = section.offset + number * section.stride, (section.stride - 128) // 16 * 8
        for attempt in range(_TRIES):
            flips = self.words.load(offset)
            _fence()
            if flips == 0:
                return 0, []
            start = offset + 128 + flips % 2 * copy_bytes
            used = self.words.load(start)
            copy = self.words.copy(start, min(used * 8, copy_bytes))
            _fence()
            if self.words.load(offset) == flips:
                return self._document_rows(copy, used)
            self.words.pause(attempt)
        raise _Unreadable

    @staticmethod
    def _document_rows(copy: bytes, used: int) -> tuple[int, list[tuple[int, int, list[str]]]]:
        if used < 4 or used * 8 != len(copy):
            raise _Unreadable
        rows, at = [], 32
        while at < len(copy):
            row = copy[at:]
            if len(row) < 16:
                raise _Unreadable
            kind, texts, words, number = struct.unpack_from("<2HIQ", row)
            text_start = 16 + (texts + 3) // 4 * 8
            if words < 2 or texts > 64 or words * 8 > len(row) or text_start > words * 8:
                raise _Unreadable
            lengths = struct.unpack_from(f"<{texts}H", row, 16)
            rows.append((kind, number, _texts(row[text_start : words * 8], lengths)))
            at += words * 8
        (dropped,) = struct.unpack_from("<Q", copy, 8)
        return dropped, rows

    def documents(self) -> tuple[dict[str, Any], dict[str, Any], list[list[str]], int, int]:
        """Cluster, sharding, hand-offs, how many rows were dropped, and how many documents cannot be read."""
        rows: list[list[tuple[int, int, list[str]]]] = []
        dropped, unreadable = 0, 0
        for number in (0, 1):
            try:
                fewer, found = self._document(number)
                dropped += fewer
                rows.append(found)
            except _Unreadable:
                unreadable += 1
                rows.append([])
        cluster: dict[str, Any] = {"self_address": None, "leader": None}
        cluster.update({name: [] for name in ("members", "unreachable", "reachability_records", "gossip_version")})
        for kind, number, texts in rows[0]:
            first, second, third, _ = _four(texts)
            if kind in (1, 2):
                cluster["self_address" if kind == 1 else "leader"] = first
            elif kind == 3:
                member = {"address": first, "status": second, "roles": texts[2:], "reachable": bool(number >> 32 & 1)}
                cluster["members"].append({**member, "up_number": _signed(number)})
            elif kind == 4:
                cluster["unreachable"].append(first)
            elif kind == 5:
                record = {"observer": first, "subject": second, "status": third}
                cluster["reachability_records"].append(record)
            elif kind == 6:
                cluster["gossip_version"].append([first, number])
        regions: list[dict[str, Any]] = []
        allocations: list[list[str]] = []
        hand_offs: list[list[str]] = []
        for kind, number, texts in rows[1]:
            four = _four(texts)
            if kind == 1:
                regions.append({"region_id": four[0], "shard_count": number, "shards": []})
            elif kind == 2 and regions:
                regions[-1]["shards"].append(four[0])
            elif kind == 3:
                allocations.append(four[:2])
            elif kind == 4:
                hand_offs.append(four)
        return cluster, {"regions": regions, "allocations": allocations}, hand_offs, dropped, unreadable

    # Instrumented actors.

    def _rows(self) -> list[tuple[Optional[int], int]]:
        """The class and the name number of each row; no class: the row is not in use."""
        rows = []
        for offset in self.sections["variants"].records():
            number = self.words.load(offset)
            _fence()
            rows.append((number - 1 if number else None, self.words.load(offset + 8)))
        return rows

    def _cell(self, number: int, rows: list[tuple[Optional[int], int]]) -> Optional[_Cell]:
        section = self.sections["cells"]
        if number >= section.count:
            return None
        offset = section.offset + number * section.stride
        for attempt in range(_TRIES):
            identity = self.words.load(offset)
            _fence()
            words = self.words.list(offset, 8)
            _fence()
            if self.words.load(offset) != identity:
                return None
            if (self.words.load(offset + 8), self.words.load(offset + 24)) == (words[1], words[3]):
                break
            self.words.pause(attempt)
        else:
            words[3] = 0
        _, handled, busy_ns, since, running, failures, polls, task = words
        generation, class_number = identity >> 32, identity >> 16 & 0xFFFF
        if identity & 0xFFFF != 1:
            return _Cell(generation, class_number, None)
        row = running & 0xFFFFFFFF
        has_variant = row < len(rows) and rows[row][0] == class_number and rows[row][1]
        stats = Stats(
            handled=handled,
            busy_ns=busy_ns,
            failures=failures & 0xFFFFFFFF,
            restarts=failures >> 32,
            in_flight=InFlight(self.time(since & ~0xFF), _MODES.get(running >> 32)) if since else None,
            variant=self.name(rows[row][1]) if has_variant else None,
            polls=polls or None,
            task=task or None,
        )
        return _Cell(generation, class_number, stats)

    def classes(self) -> list[Class]:
        lanes, variants = self.sections["handled"], collections.defaultdict(list)
        for row, (number, name) in enumerate(self._rows()):
            if number is not None:
                counted = [self.words.list(lane + 16 * row, 2) for lane in lanes.records()]
                handled, busy_ns = (sum(column) % 2**64 for column in zip(*counted))
                variants[number].append(Variant(self.name(name) if name else None, handled, busy_ns))
        section, found = self.sections["classes"], []
        for number in (*range(1, section.count), 0):
            offset = section.offset + number * section.stride
            name, _, stopped = self.words.list(offset, 3)
            _fence()
            words = self.words.list(offset, 392)
            spawned, failures, restarts, untracked, overwritten, long_polls = words[1], *words[3:8]
            own, polls_at = variants[number], 16 * self.sections["variants"].count + 8 * number
            polls = sum(self.words.load(lane + polls_at) for lane in lanes.records()) % 2**64
            handled, busy_ns = sum(row.handled for row in own) % 2**64, sum(row.busy_ns for row in own) % 2**64
            if not name and (number or not any((spawned, stopped, handled, polls, *words[3:8]))):
                continue
            times, depth = words[8:200], words[200:392]
            timed = sum(times[8:])
            found.append(
                Class(
                    class_=self.name(name) if name else None,
                    spawned=spawned,
                    stopped=stopped,
                    live=max(spawned - stopped, 0),
                    handled=handled,
                    busy_ns=busy_ns,
                    failures=failures,
                    restarts=restarts,
                    untracked=untracked,
                    overwritten=overwritten,
                    long_polls=long_polls if long_polls or polls else None,
                    polls=polls or None,
                    handle_time_ns=_summary([timed, busy_ns, *times[2:]]) if timed else None,
                    depth=_summary(depth) if depth[0] else None,
                    variants=[row for row in own if row.variant is not None or row.handled or row.busy_ns],
                )
            )
        return found

    def runtime_threads(self) -> tuple[list[RuntimeThread], int]:
        found, unreadable = [], 0
        for offset in self.sections["threads"].records():
            for attempt in range(_TRIES):
                identity = self.words.load(offset)
                _fence()
                parks = self.words.load(offset + 16)
                _fence()
                record = self.words.copy(offset, 64)
                _fence()
                if self.words.load(offset) == identity and identity >> 32 != 3:
                    break
                self.words.pause(attempt)
            else:
                unreadable += 1
                continue
            if identity >> 32 in (1, 2):
                runtime, since = struct.unpack_from("<Q8xQ", record, 8)
                name = record[32:48].split(b"\0")[0].decode(errors="replace")
                state = "ended" if identity >> 32 == 2 else "parked" if parks % 2 else "runs"
                tid, slept = identity & 0xFFFFFFFF, (parks + 1) // 2
                found.append(RuntimeThread(tid, runtime, name or None, slept, state, self.time(since)))
        return found, unreadable

    # The application's own records.

    def kinds(self) -> tuple[dict[int, Kind], int]:
        """The kinds by their numbers, and how many cannot be read."""
        kinds: dict[int, Kind] = {}
        unreadable, after = 0, 0
        for number, offset in enumerate(self.sections["kinds"].records()):
            slot = self._ready(offset)
            if slot is None:
                break
            kind, after = self._kind(slot, after)
            unreadable += kind is None
            if kind is not None:
                kinds[number] = kind
        return kinds, unreadable

    def own_records(self) -> tuple[list[Kind], list[Record], int]:
        """The kinds, the records, and how many of both cannot be read."""
        kinds, unreadable = self.kinds()
        records = []
        for offset in self.sections["own records"].records():
            for attempt in range(_TRIES):
                sequence = self.words.load(offset)
                _fence()
                record = self.words.copy(offset, 1152)
                _fence()
                if sequence % 2 == 0 and self.words.load(offset) == sequence:
                    break
                self.words.pause(attempt)
            else:
                unreadable += 1
                continue
            (stamp,) = struct.unpack_from("<Q", record, 8)
            number, first, name_bytes = struct.unpack_from("<3Q", record, 1040)
            if number == 0:
                continue
            kind = kinds.get(number - 1)
            name = _utf8(record[1064 : 1064 + name_bytes]) if name_bytes <= 64 else None
            if kind is None or name is None:
                unreadable += 1
                continue
            published = max(sequence // 2 - first, 0)
            values: dict[str, Any] = {}
            for field in kind.fields:
                values.setdefault(field.name, _field_value(field, record[16:1040]) if published else None)
            (lost,) = struct.unpack_from("<Q", record, 1128)
            records.append(Record(kind.name, name, published, lost, self.time(stamp) if published else None, values))
        return list(kinds.values()), records, unreadable

    def _ready(self, offset: int) -> Optional[bytes]:
        """A slot of 128 bytes behind a ready word, if it is ready."""
        ready = self.words.load(offset)
        _fence()
        return struct.pack("<Q", ready) + self.words.copy(offset + 8, 120) if ready & _READY else None

    def _kind(self, slot: bytes, after: int) -> tuple[Optional[Kind], int]:
        """The kind in a slot, if it can be read, and the number of the field after its fields."""
        size, fields, help_bytes, name_bytes, first = struct.unpack_from("<2I2HI", slot)
        fields &= 0x7FFFFFFF
        section = self.sections["fields"]
        if not 1 <= fields <= 128 or size > 1024 or first < after or first + fields > section.count:
            return None, after
        after = first + fields
        try:
            name, help_ = _texts(slot[16:], (name_bytes, help_bytes))
        except _Unreadable:
            return None, after
        found, end = [], 0
        for index in range(fields):
            field, end = self._field(section.offset + (first + index) * section.stride, index, end, size)
            found.append(field)
        return Kind(name, help_, size, found), after

    def _field(self, offset: int, index: int, end: int, size: int) -> tuple[Field, int]:
        """A field of a kind, and where the next one may begin."""
        slot = self._ready(offset)
        unknown = Field(f"field_{index}", "", "", None, 0, 0, 0, [])
        if slot is None:
            return unknown, end
        ready, unit_bytes, values_bytes, name_bytes, help_bytes, length = struct.unpack_from("<Q4BI", slot)
        try:
            name, unit, values, help_ = _texts(slot[16:], (name_bytes, unit_bytes, values_bytes, help_bytes))
        except _Unreadable:
            return unknown, end
        start, number, element = ready & 0xFFFFFFFF, ready >> 32 & 0xFF, ready >> 40 & 0xFFFF
        last = start + element * max(length, 1)
        word, sizes = _FIELD_TYPES.get(number, ("", ()))
        is_known = element in sizes and start >= end and last <= size
        names = values.split("\n") if is_known and word == "enum" and values else []
        field = Field(name, unit, help_, word if is_known else None, start, element, length, names)
        return field, last if is_known else end

    # Rings: dead letters, panics, events. Failures.

    def _newest(self, section: str, length: int) -> tuple[list[tuple[int, bytes]], RingTotals]:
        """The tickets and records that can be read, the newest first."""
        of = self.sections[section]
        ring = _Ring(self.words, of.offset, of.count - 1, of.stride)
        head = ring.head()
        _fence()
        kept = min(head, ring.slots)
        counts: dict[str, int] = collections.Counter({"lapped": head - kept})
        found = []
        for ticket in range(head - 1, head - kept - 1, -1):
            how, record = ring.read(ticket, length)
            counts[how] += 1
            if how == "read":
                found.append((ticket, record))
        return found, RingTotals(head, counts["lapped"], counts["abandoned"], counts["pending"])

    def dead_letters(self) -> tuple[list[DeadLetter], RingTotals]:
        newest, totals = self._newest("dead letters", 368)
        found = []
        for ticket, record in newest:
            stamp, type_id, flags, *lengths = struct.unpack_from("<Q2I4H", record)
            try:
                recipient, sender, type_name, preview = _texts(record[24:], lengths)
            except _Unreadable:
                totals = dataclasses.replace(totals, unreadable=totals.unreadable + 1)
                continue
            found.append(
                DeadLetter(
                    seq=ticket + 1,
                    recipient=recipient,
                    sender=sender if flags & 1 else None,
                    message_type=self.name(type_id) if type_id else type_name,
                    message_preview=preview,
                    timestamp=self.time(stamp),
                )
            )
        return found, totals

    def journal_writes(self) -> list[JournalWrite]:
        found = []
        for _, record in reversed(self._newest("journal writes", 240)[0]):
            stamp, sequence_nr, *lengths = struct.unpack_from("<2Q2H", record)
            try:
                journal, persistence_id = _texts(record[24:], lengths)
            except _Unreadable:
                continue
            found.append(JournalWrite(journal, persistence_id, sequence_nr, self.time(stamp)))
        return found

    def panics(self) -> tuple[list[Panic], RingTotals]:
        newest, totals = self._newest("panics", 496)
        found = []
        for ticket, record in newest:
            stamp, failure, tid, class_, flags, *lengths = struct.unpack_from("<Q4I4H", record)
            try:
                location, thread, actor, message = _texts(record[32:], lengths)
            except _Unreadable:
                totals = dataclasses.replace(totals, unreadable=totals.unreadable + 1)
                continue
            found.append(
                Panic(
                    seq=ticket + 1,
                    timestamp=self.time(stamp),
                    failure=failure or None,
                    tid=tid or None,
                    thread=thread or None,
                    message=message if flags & _MESSAGE else None,
                    location=location or None,
                    actor=actor or None,
                    class_=self.name(class_) if class_ else None,
                )
            )
        return found, totals

    def failures(self) -> tuple[list[Failure], int]:
        """The failures, that with the newest occurrence first, and how many slots cannot be read."""
        found, unreadable = [], 0
        for slot, offset in enumerate(self.sections["failures"].records()):
            for attempt in range(_TRIES):
                ready = self.words.load(offset)
                _fence()
                record = self.words.copy(offset, 768)
                key, count, last, first, class_, flags, *lengths = struct.unpack_from("<4Q2I5H", record, 8)
                if ready in _SEVERITIES or ready == 0 and key == 0:
                    break
                self.words.pause(attempt)
            if ready == 0 and key == 0:
                continue
            try:
                if ready not in _SEVERITIES:
                    raise _Unreadable
                location, thread, actor, target, message = _texts(record[64:704], lengths)
            except _Unreadable:
                unreadable += 1
                continue
            failure = Failure(
                number=slot + 1,
                severity=_SEVERITIES[ready],
                count=count,
                first=self.time(first),
                last=self.time(last),
                message=message if flags & _MESSAGE else None,
                location=location or None,
                target=target or None,
                thread=thread or None,
                actor=actor or None,
                class_=self.name(class_) if class_ else None,
            )
            found.append((-last, slot, failure))
        return [failure for *_, failure in sorted(found, key=lambda entry: entry[:2])], unreadable

    def event(self, record: bytes) -> _Part:
        stamp, type_id, flags, *lengths = struct.unpack_from("<Q2I5H", record)
        number, part, parts, first, second = struct.unpack_from("<3H2Q", record, 26)
        if number not in _EVENT_KINDS or part >= parts:
            raise _Unreadable
        kind, topic = _EVENT_KINDS[number]
        parent_bytes = lengths[1]
        is_prefix = flags & _PARENT and flags & _PARENT_IS_PREFIX
        if kind == "actor_spawned" and is_prefix:
            lengths[1] = 0
        values: dict[str, Any]
        if kind == "own":
            values = self._own_event(record[48:240], type_id, lengths, first, second)
            return _Part(stamp, part, parts, kind, values["topic"], values)
        texts = _texts(record[48:240], lengths)
        type_name = self.name(type_id) if type_id else texts[2]
        if kind == "actor_spawned":
            parent = texts[1]
            if is_prefix:
                parent, _ = _parent_of(texts[0], flags, parent_bytes, (first, second))
            values = {
                "path": texts[0],
                "parent": parent if flags & _PARENT else None,
                "actor_type": type_name,
                "mailbox_depth": 0 if flags & _PATH_CUT else first,
                "spawned_at": texts[3] if flags & _SPAWNED_TEXT else self.time(stamp),
            }
            if flags & _HOST:
                values["host"] = texts[4]
        elif kind == "actor_stopped":
            values = {"path": texts[0]}
        elif kind == "mailbox_sampled":
            values = {"path": texts[0], "depth": first}
        elif kind == "dead_letter":
            values = {
                "seq": first,
                "recipient": texts[0],
                "sender": texts[1] if flags & _OPTIONAL else None,
                "message_type": type_name,
                "message_preview": texts[4],
                "timestamp": texts[3] if flags & _TIME_TEXT else self.time(stamp),
            }
        elif kind == "cluster_changed":
            values = _membership(flags, texts, first, second)
        elif kind == "sharding_changed":
            values = dict(zip(("region_id", "shard_id", "event"), texts))
        elif kind == "journal_write":
            values = {
                "journal": texts[0],
                "persistence_id": texts[1],
                "sequence_nr": first,
                "timestamp": texts[2] if flags & _TIME_TEXT else self.time(stamp),
            }
        elif kind == "remote_association":
            values = {"remote_address": texts[0], "state": texts[1], "inbound_bytes": first, "outbound_bytes": second}
        elif kind == "streams_graph_started":
            values = {"id": first, "name": texts[0]}
        elif kind == "streams_graph_finished":
            values = {"id": first}
        elif kind == "panicked":
            values = {
                "seq": first,
                "tid": second & 0xFFFFFFFF or None,
                "thread": texts[1] or None,
                "location": texts[0],
                "actor": texts[2] or None,
                "message": texts[3] if flags & _OPTIONAL else None,
            }
        elif kind == "long_poll":
            values = {
                "duration_ns": first,
                "actor": texts[0] or None,
                "class": type_name or None,
                "task": texts[3] or None,
                "tid": second & 0xFFFFFFFF or None,
                "thread": texts[1] or None,
            }
        else:
            values = {"key": texts[0]}
        return _Part(stamp, part, parts, kind, topic, values)


    def _own_event(self, text: bytes, type_id: int, lengths: list[int], level: int, number: int) -> dict[str, Any]:
        """An event of the application's own; with the values of a record of kind `number` - 1, unless that is 0."""
        if level not in _LEVELS:
            raise _Unreadable
        start, end = lengths[0] + lengths[1], sum(lengths[:3])
        payload = text[start:end] if number else b""
        if end > len(text):
            raise _Unreadable
        topic, message = _texts(text, lengths[:2])
        _texts(text[end if number else start :], lengths[3 if number else 2 :])
        values: dict[str, Any] = {"topic": self.name(type_id) if type_id else topic, "level": _LEVELS[level]}
        values["text"] = message
        if number:
            if number - 1 not in self._kinds:
                # A kind is there before its first event, and never changes.
                self._kinds.update(self.kinds()[0])
            kind = self._kinds.setdefault(number - 1, None)
            values["record"] = kind.name if kind else "?"
            fields: dict[str, Any] = {}
            if kind and kind.bytes <= _MOST_EVENT_BYTES and len(kind.fields) <= _MOST_EVENT_FIELDS:
                for field in kind.fields:
                    fields.setdefault(field.name, _field_value(field, payload))
            if fields:
                values["values"] = fields
        return values


class _Part(NamedTuple):
    """An event, or one part of an event that contains a list."""

    stamp: int
    part: int
    parts: int
    kind: str
    topic: str
    values: dict[str, Any]


def _parent_of(path: str, flags: int, parent_bytes: int, parent_key: tuple[int, int]) -> tuple[str, bool]:
    """The path of a parent that is the first bytes of its child's path, and whether the record holds too little of it."""
    kept = path.encode()
    if flags & _PATH_CUT:
        if len(kept) < _CUT_BYTES:
            raise _Unreadable
        kept = kept[:-_CUT_BYTES]
    is_cut = parent_bytes > len(kept)
    parent = _utf8(kept[:parent_bytes])
    if parent is None:
        raise _Unreadable
    return (f"{parent}{_CUT_MARK}{parent_key[0]:016x}{parent_key[1]:016x}" if is_cut else parent), is_cut


def _four(texts: list[str]) -> list[str]:
    """The first four texts; those that are missing are empty."""
    return [*texts, "", "", "", ""][:4]


def _signed(number: int) -> int:
    """The low 32 bits with their sign."""
    low = number & 0xFFFFFFFF
    return low - 2**32 if low & 1 << 31 else low


def _membership(flags: int, texts: list[str], number: int, roles: int) -> dict[str, Any]:
    change: dict[str, Any] = {name: [] for name in _CHANGES}
    which = flags >> _LIST_SHIFT
    if which > len(_CHANGES):
        raise _Unreadable
    if which in (1, 2):
        member = {
            "address": texts[0],
            "status": texts[1],
            "roles": texts[2].split("\n")[: min(roles, 200)] if roles else [],
            "reachable": bool(flags & _REACHABLE),
            "up_number": _signed(number),
        }
        change[_CHANGES[which - 1]].append(member)
    elif which:
        change[_CHANGES[which - 1]].append(texts[0])
    return change


def _least(bucket: int) -> int:
    """The least value that counts in a bucket."""
    return bucket if bucket < 4 else (4 + bucket % 4) << (bucket // 4 - 1)


def _summary(words: list[int]) -> Histogram:
    held = [(bucket, count) for bucket, count in enumerate(words[8:192]) if count]
    total = sum(count for _, count in held)

    def quantile(percent: int) -> int:
        wanted, seen = max(-(-total * percent // 100), 1), 0
        for bucket, count in held:
            seen += count
            if seen >= wanted:
                return min(_least(bucket + 1) - 1, words[2])
        return 0

    buckets = [(_least(bucket), count) for bucket, count in held]
    return Histogram(words[0], words[1], words[2], quantile(50), quantile(90), quantile(99), buckets)


def _field_value(field: Field, payload: bytes) -> Any:
    def one(at: int) -> Any:
        element = payload[field.offset + at * field.element_bytes :][: field.element_bytes]
        if len(element) < field.element_bytes:
            return None
        if field.type == "text":
            return element.split(b"\0")[0].decode(errors="replace")
        if field.type in ("f32", "f64"):
            return _float(element)
        number = int.from_bytes(element, "little", signed=(field.type or "").startswith("i"))
        if field.type == "bool":
            return bool(number) if number < 2 else None
        if field.type == "enum" and number < len(field.values):
            return field.values[number]
        return number

    if field.type is None:
        return None
    return [one(at) for at in range(field.length)] if field.length else one(0)


def _float(element: bytes) -> Optional[float]:
    """A floating-point number; of single precision with the fewest digits that tell it from others."""
    layout = "<f" if len(element) == 4 else "<d"
    (number,) = struct.unpack(layout, element)
    if not math.isfinite(number):
        return None
    for digits in range(1, 9) if layout == "<f" else ():
        short = float(f"{number:.{digits}g}")
        try:
            if struct.pack("<f", short) == element:
                return short
        except OverflowError:
            continue
    return float(f"{number:.9g}") if layout == "<f" else number


class _Lane:
    """How far the events of one lane were read."""

    def __init__(self, ring: _Ring, next_: int) -> None:
        self.ring, self.next = ring, next_
        self.pending: list[int] = []
        self.partial: list[tuple[tuple[int, int, int], dict[str, Any]]] = []
        self.last: Optional[int] = None
        self.loss: collections.Counter[str] = collections.Counter()


class _Follower:
    """Events of all lanes in one order, and an event never before its cause."""

    def __init__(self, region: _Region, from_first: bool) -> None:
        self._region = region
        self._held: list[tuple[tuple[int, int], Union[Event, Lost]]] = []
        self._lanes = []
        section = region.sections["events"]
        for offset in section.records():
            ring = _Ring(region.words, offset, section.stride // _EVENT_SLOT_BYTES - 1, _EVENT_SLOT_BYTES)
            self._lanes.append(_Lane(ring, 0 if from_first else max(ring.head() - ring.slots, 0)))

    def batch(self, is_last: bool) -> list[Union[Event, Lost]]:
        """The new events. The last batch holds no event back."""
        self._region.words.begin_pass()
        first = [lane.ring.head() for lane in self._lanes]
        _fence()
        second = [lane.ring.head() for lane in self._lanes]
        _fence()
        found: list[tuple[tuple[int, int], Union[Event, Lost]]] = []
        later: list[tuple[int, tuple[int, int], Event]] = []
        horizon = max((order[0] for order, _ in self._held), default=0)
        for at, lane in enumerate(self._lanes):
            oldest = max(second[at] - lane.ring.slots, 0)
            pending = [ticket for ticket in lane.pending if ticket >= oldest]
            lane.loss["lapped"] += len(lane.pending) - len(pending) + max(oldest - lane.next, 0)
            tickets = (*pending, *range(max(lane.next, oldest), second[at]))
            lane.next, lane.pending, has_stop = max(lane.next, second[at]), [], False
            for ticket in tickets:
                how, record = lane.ring.read(ticket, 240)
                if how == "pending":
                    lane.pending.append(ticket)
                    continue
                part = None
                try:
                    part = self._region.event(record) if how == "read" else None
                except _Unreadable:
                    how = "unreadable"
                if part is None:
                    lane.loss[how] += 1
                    continue
                if +lane.loss:
                    found.append(((part.stamp, 0), self._lost(at, part.stamp)))
                lane.last = part.stamp
                is_sure = ticket < first[at]
                if is_sure:
                    horizon = max(horizon, part.stamp)
                has_stop |= not is_sure and part.kind == "actor_stopped"
                values = self._join(lane, part)
                if values is not None:
                    event = Event(part.kind, part.topic, self._region.time(part.stamp), part.stamp, at, values)
                    later.append((_NEVER if has_stop else part.stamp, (part.stamp, 1), event))
            if is_last:
                lane.loss["abandoned"] += len(lane.pending)
                lane.pending = []
                if +lane.loss:
                    found.append(((_NEVER + 1, 0), self._lost(at, None)))
        found += self._held
        found += [(order, event) for until, order, event in later if is_last or until <= horizon]
        self._held = [(order, event) for until, order, event in later if not is_last and until > horizon]
        # Sorting is stable: events with equal stamps stay in the order of lanes and tickets.
        return [event for _, event in sorted(found, key=lambda entry: entry[0])]

    def _lost(self, at: int, before: Optional[int]) -> Lost:
        lane = self._lanes[at]
        times = (None if stamp is None else self._region.time(stamp) for stamp in (lane.last, before))
        lost = Lost(at, lane.loss["lapped"], lane.loss["abandoned"], lane.loss["unreadable"], *times)
        lane.loss = collections.Counter()
        return lost

    @staticmethod
    def _join(lane: _Lane, part: _Part) -> Optional[dict[str, Any]]:
        """The values of the whole event, if this was its last part."""
        values = part.values
        if part.part > 0:
            before = (part.stamp, part.part - 1, part.parts)
            begun = next((entry for entry in lane.partial if entry[0] == before), None)
            if begun is None:
                return None
            lane.partial.remove(begun)
            values = begun[1]
            for name in _CHANGES if part.kind == "cluster_changed" else ():
                values[name].extend(part.values[name])
        if part.part + 1 == part.parts:
            return values
        # Of an event without its last parts nothing is shown.
        lane.partial = lane.partial[-31:] + [((part.stamp, part.part, part.parts), values)]
        return None


# State and verdict.

_STARTING, _RUNNING, _STOPPING, _CLOSED = 1, 2, 3, 4
_EXIT, _SIGNAL, _UNKNOWN = 1, 2, 3
_DEAD = (7, 8, 17)
_VERDICTS = {
    1: ("starting", None),
    2: ("live", None),
    3: ("wedged", "its process is stopped (SIGSTOP or a debugger)"),
    4: ("wedged", "no heartbeat from the probe's sampler thread"),
    5: ("wedged", "its async runtime is blocked"),
    16: ("wedged", "its control group (cgroup) is frozen"),
    6: ("stopping", None),
    7: ("closed", None),
    8: ("crashed", "no last words: killed by a signal, out of memory, or `_exit`"),
    17: ("failed", None),
}
_EVIDENCE = {1: "lock", 2: "process", 3: "heartbeat"}
_NOTES = (
    ("runtime_dropped", "its async runtime was dropped"),
    ("system_dropped", "its actor system was dropped"),
    ("spawn_hook_replaced", "another spawn observer replaced the probe's: spawns and stops are not recorded"),
    ("dead_letter_hook_replaced", "another dead-letter observer replaced the probe's: dead letters are not recorded"),
    ("lock_lost", "lock lost: code in the process closed the lock's file descriptor"),
    ("lock_free", "no process holds its lock: it has just ended, or it lost the lock"),
    ("no_actor_left", "no top-level actor is left"),
    ("process_runs", "its process still runs"),
)
_RUNTIME_DROPPED, _SYSTEM_DROPPED, _LOCK_LOST, _LOCK_FREE, _NO_ACTOR_LEFT, _PROCESS_RUNS = 1, 2, 16, 32, 64, 128
_CONDITIONS = 15
_SIGNALS = {1: "HUP", 2: "INT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 11: "SEGV", 15: "TERM"}
_FIRST_PID_NAMESPACE = 0xEFFFFFFC


class _Liveness(NamedTuple):
    verdict: int
    notes: int
    evidence: int
    process_beat_age_ns: Optional[int]
    runtime_beat_age_ns: Optional[int]


class _Note(NamedTuple):
    """EndRecord: what the node has noted of its end, if that counts."""

    kind: int
    code: int
    unix_ns: int
    mono_ns: int
    tid: int
    thread: str
    sender: int
    address: Optional[int]
    panicked: bool

    def is_failure(self) -> bool:
        return self.panicked or self.kind == _SIGNAL or self.kind == _EXIT and self.code != 0

    def signal(self) -> str:
        return f"SIG{_SIGNALS[self.code]}" if self.code in _SIGNALS else f"signal {self.code}"

    def words(self) -> Optional[str]:
        """How the node ended; nothing of an exit in good order."""
        name = self.thread or (str(self.tid) if self.tid else "")
        thread = f" in thread {name}" if name else ""
        panic = f" after a panic{thread}" if self.panicked else ""
        if self.kind == _EXIT:
            return f"ended with exit code {self.code}{panic}" if self.is_failure() else None
        if self.kind == _UNKNOWN:
            return f"ended{panic} with an unknown exit code"
        if self.sender:
            return f"ended by {self.signal()} from process {self.sender}"
        address = "" if self.address is None else f" at address {self.address:#x}"
        return f"ended by {self.signal()}{address}{thread}"

    def public(self) -> End:
        is_signal = self.kind == _SIGNAL
        return End(
            kind={_EXIT: "exit", _SIGNAL: "signal"}.get(self.kind, "unknown"),
            code=self.code if self.kind == _EXIT else None,
            signal=self.signal() if is_signal else None,
            sender=(self.sender or None) if is_signal else None,
            address=f"{self.address:#x}" if is_signal and self.address is not None else None,
            closed_in_panic=self.panicked,
            tid=self.tid or None,
            thread=self.thread or None,
            at=_rfc3339(self.unix_ns),
        )


def _end_of(region: _Region) -> Optional[_Note]:
    words = region.words
    for _ in range(_TRIES):
        sequence = words.load(512)
        _fence()
        record = words.copy(520, 80)
        _fence()
        if words.load(512) == sequence and sequence % 2 == 0:
            break
    else:
        return None
    kind, code, unix_ns, mono_ns, tid, thread, sender, address, flags = struct.unpack("<5Q16s3Q", record)
    beats, beaten = region.beat(256)
    survived = kind == _SIGNAL and beats and beaten > mono_ns + 1_000_000_000
    if kind not in (_EXIT, _SIGNAL, _UNKNOWN) or survived:
        return None
    name = thread.split(b"\0")[0].decode(errors="replace")
    return _Note(kind, code, unix_ns, mono_ns, tid, name, sender, address if flags & 2 else None, bool(flags & 1))


def _which_crash(region: _Region, end: Optional[_Note]) -> Optional[str]:
    """`Nth crash in TIME` of a node that crashed, if nodes of its name have crashed before."""
    crashes, first_ns = region.words.load(192), region.words.load(200)
    if not crashes:
        return None
    if end is not None and end.is_failure():
        crashed_ns = end.unix_ns
    elif region.words.load(128) != _CLOSED:
        beats, beaten = region.beat(256)
        crashed_ns = region.created_unix_ns + (max(beaten - region.time_record[3], 0) if beats else 0)
    else:
        return None
    number, within = crashes + 1, crashed_ns - first_ns
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{suffix} crash" + (f" in {_duration(within)}" if within >= 0 else "")


def _duration(ns: int) -> str:
    seconds = ns // 1_000_000_000
    if seconds < 60:
        return f"{ns // 1_000_000 / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds // 60 % 60} min"
    return f"{seconds // 86_400} d {seconds // 3600 % 24} h"


def _lock_is_held(descriptor: int) -> Optional[bool]:
    """Whether a process holds the node's lock; `None` if the system has no such locks."""
    ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, getattr(fcntl, "F_OFD_GETLK", 36), ask)
    except OSError:
        return None
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _clocks_ahead(region: _Region) -> Optional[tuple[int, int]]:
    """How far the node's clocks are ahead of this process's, if the region has the node's time namespace."""
    namespace, mono_offset, boot_offset = region.time_record[:3]
    try:
        offsets = pathlib.Path("/proc/self/timens_offsets").read_text(encoding="ascii")
        own = {name: int(s) * 10**9 + int(ns) for name, s, ns in map(str.split, offsets.splitlines())}
        return (mono_offset - own["monotonic"], boot_offset - own["boottime"]) if namespace else None
    except (OSError, ValueError, KeyError):
        return None


def _monotonic_ahead(region: _Region) -> Optional[int]:
    ahead = _clocks_ahead(region)
    if ahead is not None:
        return ahead[0]
    try:
        own = os.stat("/proc/self/ns/time").st_ino
    except OSError:
        return 0
    try:
        is_seen = region.pid_namespace == os.stat("/proc/self/ns/pid").st_ino
        return 0 if is_seen and os.stat(f"/proc/{region.pid}/ns/time").st_ino == own else None
    except OSError:
        return None


def _state_letter(region: _Region) -> Optional[str]:
    """The state letter of the node's process, if there is such a process."""
    try:
        fields = pathlib.Path(f"/proc/{region.pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
        letter, started = fields[0].decode(errors="replace"), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
    ticks, slack, ahead = region.start_ticks, 0, _clocks_ahead(region)
    if ahead is not None:
        ticks, slack = ticks - ahead[1] // 10_000_000, 1 if ahead[1] % 10_000_000 else 0
    return letter if abs(started - ticks) <= slack else None


def _has_mapped(region: _Region, descriptor: int) -> bool:
    """Whether the node's process has the file mapped shared and writable, or may have."""
    inode = os.fstat(descriptor).st_ino
    try:
        with pathlib.Path(f"/proc/{region.pid}/maps").open(encoding="utf-8", errors="replace") as maps:
            fields = [line.split() for line in maps]
    except PermissionError:
        return True
    except OSError:
        return False
    return any(len(one) > 4 and one[1][1:4:2] == "ws" and one[4] == str(inode) for one in fields)


def _is_frozen(pid: int) -> bool:
    """Whether the control group of a process is frozen."""
    try:
        groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for group in groups:
        _, controllers, path = (group.split(":", 2) + ["", ""])[:3]
        root, file, word = "/sys/fs/cgroup", "cgroup.events", "frozen 1"
        if controllers:
            root, file, word = "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"
        if controllers and "freezer" not in controllers.split(","):
            continue
        try:
            if word in pathlib.Path(f"{root}{path}/{file}").read_text(encoding="ascii").splitlines():
                return True
        except (OSError, ValueError):
            continue
    return False


def _same_boot(region: _Region) -> Optional[bool]:
    if region.boot_id == bytes(16):
        return None
    try:
        text = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return bytes.fromhex(text.strip().replace("-", "")) == bytes(region.boot_id)
    except (OSError, ValueError):
        return None


def _liveness_of(region: _Region, descriptor: int) -> _Liveness:
    """The verdict of *State and verdict* in LAYOUT.md."""
    lock = _lock_is_held(descriptor)
    state, same_boot = region.words.load(128), _same_boot(region)
    own_namespace = os.stat("/proc/self/ns/pid").st_ino
    can_search = region.pid_namespace == own_namespace
    letter = _state_letter(region) if can_search else None
    is_there = letter not in (None, "Z", "X")
    can_search = can_search or own_namespace == _FIRST_PID_NAMESPACE and lock is False
    is_mapped = lock is False and is_there and _has_mapped(region, descriptor)

    ahead = _monotonic_ahead(region)
    now = None if ahead is None else time.clock_gettime_ns(time.CLOCK_MONOTONIC) + ahead
    is_known = lock is True or is_mapped or same_boot is not False

    def age(beat: tuple[int, int]) -> Optional[int]:
        return max(now - beat[1], 0) if now is not None and beat[0] and is_known else None

    beat = region.beat(256)
    process_age, runtime_age = age(beat), age(region.beat(384))
    conditions = region.words.load(136) & _CONDITIONS
    notes = conditions
    if is_mapped:
        lives, evidence = True, 2
        notes |= _LOCK_LOST
    elif lock is False and not can_search and same_boot and now is not None and beat[0] and 0 <= now - beat[1] <= _STALE_NS:
        lives, evidence = True, 3
        notes |= _LOCK_FREE
    elif lock is not None:
        lives, evidence = lock, 1
    elif can_search:
        lives, evidence = is_there, 2
    else:
        is_fresh = now is None or process_age is not None and process_age <= _STALE_NS
        lives, evidence = same_boot is not False and is_fresh, 3

    end = _end_of(region)
    if state == _CLOSED:
        verdict = 17 if end is not None and end.is_failure() else 7
    elif not lives:
        verdict = 8
    elif letter in ("T", "t"):
        verdict = 3
    elif process_age is not None and process_age > 1_000_000_000 and is_there and _is_frozen(region.pid):
        verdict = 16
    elif process_age is not None and process_age > _STALE_NS:
        verdict = 4
    elif state == _STARTING:
        verdict = 1
    elif state == _STOPPING or conditions & _RUNTIME_DROPPED:
        verdict = 6
    elif runtime_age is not None and runtime_age > _STALE_NS:
        verdict = 5
    else:
        verdict = 2
    if verdict in (7, 17):
        notes &= ~(_RUNTIME_DROPPED | _SYSTEM_DROPPED | _LOCK_LOST | _LOCK_FREE)
        notes |= _PROCESS_RUNS if is_mapped else 0
    if verdict == 2 and state == _RUNNING and not conditions & _SYSTEM_DROPPED and _is_bare(region):
        notes |= _NO_ACTOR_LEFT
    return _Liveness(verdict, notes, evidence, process_age, runtime_age)


def _is_bare(region: _Region) -> bool:
    """Whether there were actors, and surely none is left."""
    done = region.counter(_EARLY_STOPS_DONE)
    _fence()
    totals = region.totals()
    _fence()
    is_certain = totals.foreign == 0 and not totals.inexact and region.counter(_EARLY_STOPS) == done
    return totals.spawned > 0 and totals.live == 0 and is_certain


class Node:
    """A region or a raw dump that is open for reading. Use it in a `with` statement, or call `close`."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        """Opens a file. Raises `OSError`, or `Refused` if it is neither a region nor a raw dump."""
        self.path = os.fspath(path)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        self._memory: Optional[mmap.mmap] = None
        self._words: Optional[_Words] = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        about = os.fstat(self._descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Refused("it is not a file")
        if about.st_size > MAX_BYTES:
            raise Refused(f"it has {about.st_size} bytes; `atomscope.MAX_BYTES` allows {MAX_BYTES}")
        if about.st_size < _HEADER_BYTES:
            raise Refused("it is too short for a region")
        head = os.pread(self._descriptor, 96, 0)
        self._dump: Optional[_Liveness] = None
        self._taken_unix_ns = 0
        start, length, pid = 0, about.st_size, None
        if head[:8] == b"ATOMSRAW" and len(head) == 96:
            start = _HEADER_BYTES
            version, header, length, taken, pid, verdict, evidence, *ages, _, notes = struct.unpack("<11Q", head[8:])
            is_sound = version >> 32 == 1 and header == start and length + header <= about.st_size
            if not is_sound or verdict not in _VERDICTS or evidence not in _EVIDENCE:
                raise Refused("the dump is damaged, or of a later version")
            known = [None if age == _NEVER else age for age in ages]
            self._taken_unix_ns, self._dump = taken, _Liveness(verdict, notes, evidence, known[0], known[1])
        self._memory = mmap.mmap(self._descriptor, about.st_size, prot=mmap.PROT_READ)
        self._words = _Words(self._memory, start, length)
        self._region = _Region(self._words)
        self.pid = self._region.pid if pid is None else pid

    def close(self) -> None:
        """Unmaps the region. The node is of no use after that."""
        if self._words is not None:
            self._words.close()
        if self._memory is not None:
            self._memory.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._words, self._memory, self._descriptor = None, None, -1

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<atomscope.Node {self.path}>"

    @property
    def name(self) -> str:
        """The node's name."""
        return self._region.words.text_cell(640, 256) or ""

    @property
    def created_unix_ns(self) -> int:
        """When the region was made, by the wall clock at that time: nanoseconds since 1970."""
        return int(self._region.created_unix_ns)

    def _liveness(self) -> _Liveness:
        return self._dump or _liveness_of(self._region, self._descriptor)

    @property
    def state(self) -> str:
        """The node's state now; of a dump, when it was made."""
        return _VERDICTS[self._liveness().verdict][0]

    @property
    def is_dead(self) -> bool:
        """Whether the node has ended: its state is `closed`, `failed` or `crashed`."""
        return self._liveness().verdict in _DEAD

    def totals(self) -> Totals:
        """Only the totals of actors."""
        return self._region.totals()

    def metrics(self) -> list[Metric]:
        """Only the metrics."""
        return self._region.metrics()

    def records(self) -> list[Record]:
        """Only the application's own records."""
        self._region.words.begin_pass()
        return self._region.own_records()[1]

    def snapshot(self) -> Snapshot:
        """A decoded copy of everything except the events."""
        region, words = self._region, self._region.words
        words.begin_pass()
        verdict, notes, evidence, process_age, runtime_age = self._liveness()
        end = _end_of(region) if verdict in _DEAD else None
        why = [_VERDICTS[verdict][1]]
        if verdict in _DEAD:
            why = [(end.words() if end else None) or why[0], _which_crash(region, end)]
        held = [note for bit, note in enumerate(_NOTES) if notes >> bit & 1]
        reasons = [reason for reason in (*why, *(reason for _, reason in held)) if reason is not None]
        totals = region.totals()
        actors, actors_unreadable = region.actors()
        dead_letters, dead_letter_totals = region.dead_letters()
        failures, failures_unreadable = region.failures()
        panics, panic_totals = region.panics()
        kinds, records, records_unreadable = region.own_records()
        threads, threads_unreadable = region.runtime_threads()
        instances, instances_unreadable = region.instances()
        cluster, sharding, hand_offs, rows_dropped, documents_unreadable = region.documents()
        return Snapshot(
            node=self.name,
            generated_at=_rfc3339(self._taken_unix_ns if self._dump else time.time_ns()),
            state=_VERDICTS[verdict][0],
            why="; ".join(reasons) or None,
            conditions=[name for name, _ in held],
            liveness=_EVIDENCE[evidence],
            end=end.public() if end else None,
            pid=self.pid,
            uid=region.uid,
            system=words.text_cell(896, 256),
            program=words.text_cell(1152, 512) or "",
            writer_version=words.text_cell(1664, 128) or "",
            layout_version=f"{region.version[0]}.{region.version[1]}",
            created_at=_rfc3339(region.created_unix_ns),
            process_beat_age_ms=None if process_age is None else process_age // 1_000_000,
            runtime_beat_age_ms=None if runtime_age is None else runtime_age // 1_000_000,
            totals=totals,
            actors=actors,
            actors_unreadable=actors_unreadable,
            unlisted=region.difference(_SPILLED, _SPILLED_STOPPED),
            waiting_stops=region.difference(_EARLY_STOPS, _EARLY_STOPS_DONE),
            dead_letters=dead_letters,
            dead_letter_totals=dead_letter_totals,
            failures=failures,
            failures_unreadable=failures_unreadable,
            panics=panics,
            panic_totals=panic_totals,
            metrics=region.metrics(),
            classes=region.classes(),
            kinds=kinds,
            records=records,
            records_unreadable=records_unreadable,
            runtime_threads=threads,
            runtime_threads_unreadable=threads_unreadable,
            instances=instances,
            instances_unreadable=instances_unreadable,
            cluster=cluster,
            sharding=sharding,
            hand_offs=hand_offs,
            rows_dropped=rows_dropped,
            documents_unreadable=documents_unreadable,
            journal_writes=region.journal_writes(),
        )

    def events(self, follow: bool = True, from_first: bool = False, interval: float = 0.1) -> Iterator[Union[Event, Lost]]:
        """The events that are kept, and then new ones as they come, until the node ends.

        All lanes are in one order. Events that cannot be read any more are told as `Lost`, exactly. With `from_first`, so
        are those that were overwritten before the call. A region at rest, or `follow=False`, gives what is there.
        """
        follower = _Follower(self._region, from_first)
        while follow and self._dump is None and not self.is_dead:
            yield from follower.batch(is_last=False)
            time.sleep(interval)
        yield from follower.batch(is_last=True)


_REGION_NAME = re.compile(r"atomscope-(\d+)-(\d+)-[0-9A-Fa-f]{16}")


def _files(directory: Optional[str]) -> Iterator[tuple[int, str]]:
    """The pid in the name, and the path, of each file in the directory that is named as a region."""
    directory = directory or os.environ.get("ATOMSCOPE_DIR") or _DEFAULT_DIR
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    for name in names:
        parts = _REGION_NAME.fullmatch(name)
        if parts:
            yield int(parts[2]), os.path.join(directory, name)


def _try_open(path: str) -> Optional[Node]:
    try:
        return Node(path)
    except (OSError, Refused, ValueError):
        return None


def nodes(directory: Optional[str] = None) -> list[Node]:
    """All regions in a directory that can be read, of living and dead nodes; close each of them.

    The directory is by default `ATOMSCOPE_DIR`, else `/dev/shm`.
    """
    found = (_try_open(path) for _, path in _files(directory))
    return [node for node in found if node is not None]


def _of_pid(pid: int) -> Node:
    found = [_try_open(path) for named, path in _files(None) if named == pid]
    if not any(found):
        # A region without such a name is open in its process, which holds the lock of the file.
        folder = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            descriptors = []
        for descriptor in descriptors:
            path = f"{folder}/{descriptor}"
            try:
                if stat.S_ISREG(os.stat(path).st_mode):
                    found.append(_try_open(path))
            except OSError:
                continue
    nodes_ = [node for node in found if node is not None]
    if not nodes_:
        raise Refused(f"process {pid} has no region that this user can read")
    best = max(nodes_, key=lambda node: (not node.is_dead, node.created_unix_ns))
    for node in nodes_:
        if node is not best:
            node.close()
    return best


def open(who: Union[int, str, os.PathLike[str]]) -> Node:
    """Opens the newest region of a process by its id, or a region or raw dump by its path.

    Raises `OSError`, or `Refused` if there is nothing to read.
    """
    return _of_pid(who) if isinstance(who, int) else Node(who)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="atomscope.py", description="Prints what an atomscope region holds, as JSON.")
    parser.add_argument("what", choices=("nodes", "snapshot", "events"))
    parser.add_argument("who", nargs="?", help="a process id, or the path of a region or raw dump")
    parser.add_argument("--follow", action="store_true", help="go on until the node ends")
    parser.add_argument("--first", action="store_true", help="also count the events that are no longer kept as lost")
    arguments = parser.parse_intermixed_args()
    if arguments.what == "nodes":
        for node in nodes():
            with node:
                print(json.dumps({"pid": node.pid, "node": node.name, "state": node.state, "region": node.path}))
        return
    if arguments.who is None:
        parser.error("which node? Give a process id or a path")
    try:
        with open(int(arguments.who) if arguments.who.isdigit() else arguments.who) as node:
            if arguments.what == "snapshot":
                print(json.dumps(node.snapshot().to_dict()))
            else:
                for event in node.events(follow=arguments.follow, from_first=arguments.first):
                    print(json.dumps(event.to_dict()), flush=arguments.follow)
    except BrokenPipeError:
        # Who reads the output has seen enough. Nothing is left to be written at the end of the program, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, Refused) as why:
        sys.exit(f"{arguments.who}: {why}")


if __name__ == "__main__":
    _main()
