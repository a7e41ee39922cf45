#!/usr/bin/env python3
"""Reads an atomscope region of a live or dead node, or a raw dump, and prints its content as JSON.

    atomscope_decode.py dump FILE             prints the same as `atomscope dump --format json FILE`
    atomscope_decode.py tail [-n N] FILE      prints the same as `atomscope tail --json --no-follow -n N FILE`
    atomscope_decode.py tail --first FILE     the same for all events ever, as with `--since` of long ago
    atomscope_decode.py follow -n N FILE      prints the events of a live node in N rounds, and the counts of each lane

This decoder was written from layout/LAYOUT.md alone, with the standard library alone, to show that the page is
sufficient. Names in quotes below are headings and tables of that page.

The page requires fences between loads, and Python has none. On x86-64 the processor keeps loads in order. On another
processor, use this decoder only for dead regions and dumps.
"""

import argparse
import collections
import datetime
import fcntl
import json
import math
import mmap
import os
import struct
import sys
import time

HEADER_BYTES = 4096
TRIES = 16
MAX_TREE_LEVELS = 60
MAX_DEAD_LETTERS_SHOWN = 100
STALE_NS = 3_000_000_000
NEVER = 2**64 - 1
AFTER_ALL = 2**64
# Numbers of built-in metrics.
SPAWNED, STOPPED, REPLACED, FOREIGN, EARLY_STOPS, EARLY_STOPS_DONE, SPILLED, SPILLED_STOPPED = range(8)
UNTRACKED_SPAWNS, UNTRACKED_STOPS, UNTRACKED_MATCHED = 8, 9, 10
PERSISTENCE_EVENTS, STREAMS_STARTED, STREAMS_FINISHED, DDATA_UPDATES = 46, 56, 57, 60
POLL_INTERVAL, DOUBTFUL_STOPS = 69, 70
ACTORS_USED, INSTANCES_USED = 1920, 1928
READY = 1 << 63
CUT_MARK = "…#"
CUT_BYTES = 36

FREE, BUSY, LIVE, ORPHAN = 0, 1, 2, 3
STARTING, RUNNING, STOPPING, CLOSED = 1, 2, 3, 4
PARENT, PARENT_IS_PREFIX, PATH_CUT, SPAWNED_TEXT, HOST, DEPTH = 1, 2, 4, 16, 32, 64
OPTIONAL, TIME_TEXT, REACHABLE, LIST_SHIFT = 1, 16, 32, 8
MESSAGE = 1
SEVERITIES = {READY | 1: "panic", READY | 2: "error", READY | 3: "warning"}

VERDICTS = {
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
DEAD = (7, 8, 17)
EVIDENCE = {1: "lock", 2: "process", 3: "heartbeat"}
NOTES = [
    ("runtime_dropped", "its async runtime was dropped"),
    ("system_dropped", "its actor system was dropped"),
    (
        "spawn_hook_replaced",
        "another spawn observer replaced the probe's: spawns and stops are not recorded",
    ),
    (
        "dead_letter_hook_replaced",
        "another dead-letter observer replaced the probe's: dead letters are not recorded",
    ),
    ("lock_lost", "lock lost: code in the process closed the lock's file descriptor"),
    ("lock_free", "no process holds its lock: it has just ended, or it lost the lock"),
    ("no_actor_left", "no top-level actor is left"),
    ("process_runs", "its process still runs"),
]
RUNTIME_DROPPED, SYSTEM_DROPPED, LOCK_LOST, LOCK_FREE, NO_ACTOR_LEFT, PROCESS_RUNS = 1, 2, 16, 32, 64, 128
EXIT, SIGNAL, UNKNOWN = 1, 2, 3
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    11: "SIGSEGV",
    15: "SIGTERM",
}
CONDITIONS = 15
FIRST_PID_NAMESPACE = 0xEFFFFFFC

# For each section: id, least count, least stride.
SECTIONS = {
    "counters": (1, 1, 256),
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
# For each type of a field: its name, and how many bytes an element may have.
FIELD_TYPES = {
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
# For each domain of instances: its name, and the names and kinds of its numbers.
DOMAINS = {
    1: ("associations", "state (name), inbound_bytes (counter), outbound_bytes (counter), inbound_messages (counter), outbound_messages (counter), errors (counter), available (flag), quarantined (flag), attempts (gauge)"),
    2: ("graphs", "id (gauge), elements (counter)"),
    3: ("journals", "events (counter), writes (counter), failures (counter), replays (counter), replayed_events (counter), replay_failures (counter), deletes (counter), unlisted_events (counter), rolled_up_ids (counter), latency_histogram (gauge), cancelled (counter)"),
    4: ("persistence_ids", "highest_sequence_nr (gauge), event_count (counter)"),
    5: ("shard_regions", "messages (counter), shards (gauge), entities_started (counter), forwarded (counter), passivated (counter), received (counter), active_entities (gauge), uncounted_messages (counter)"),
    6: ("shards", "messages (counter), entities (gauge), hand_off (name), received (counter), uncounted_messages (counter), remaining_entities (gauge)"),
    7: ("keys", "updates (counter), subscribers (gauge)"),
    8: ("leases", "holder (name), acquired (counter), denied (counter), lost (counter), released (counter), held (flag), renewed (counter)"),
    9: ("workers", "busy_ns (counter), parks (counter), parked (flag), away_ns (gauge)"),
    10: ("node_metrics", "value (float), samples (counter), timestamp (gauge)"),
}
EVENT_SLOT_BYTES = 256
# For each attachment, by bit: the metrics and the numbers of instances that it counts ("Attachments and known numbers").
ATTACHMENTS = [
    ("cluster.changes", ""),
    ("cluster.gossip_sent", ""),
    ("cluster.gossip_received", ""),
    ("cluster.downing_calls, cluster.downing_decisions", ""),
    ("cluster.quorum_lost, cluster.quorum_regained", ""),
    ("cluster.metric_samples", "node_metrics: value, samples, timestamp"),
    ("", "each of shard_regions: shards"),
    ("", "each of shard_regions: received; each of shards: received"),
    ("sharding.messages", "each of shard_regions: messages, entities_started, uncounted_messages; each of shards: messages, entities, uncounted_messages"),
    ("", "each of shard_regions: forwarded"),
    ("sharding.allocations, sharding.rebalances, sharding.rebalanced_shards", ""),
    ("", ""),
    ("sharding.hand_offs_started, sharding.hand_offs_done", "shards: hand_off, remaining_entities"),
    ("", "each of shard_regions: active_entities"),
    ("", "shard_regions: passivated"),
    ("", ""),
    ("persistence.events, persistence.failures", "each of journals: events, writes, failures, replays, replayed_events, replay_failures, deletes, unlisted_events, rolled_up_ids, latency_histogram, cancelled; persistence_ids: highest_sequence_nr, event_count"),
    ("persistence.events", "journals: events, unlisted_events, rolled_up_ids; persistence_ids: highest_sequence_nr, event_count"),
    ("persistence.snapshots_saved, persistence.snapshots_loaded, persistence.snapshot_failures", ""),
    ("persistence.recovery_permits, persistence.recoveries_running", ""),
    ("remote.errors, remote.quarantines", "associations: state, inbound_bytes, outbound_bytes, inbound_messages, outbound_messages, errors, available, quarantined, attempts"),
    ("", "associations: state, inbound_bytes, outbound_bytes"),
    ("", "associations: state"),
    ("", "associations: inbound_bytes"),
    ("", "associations: outbound_bytes"),
    ("streams.started, streams.finished, streams.failed, streams.elements", "graphs: id; each of graphs: elements"),
    ("streams.started, streams.finished, streams.failed", "graphs: id"),
    ("streams.started, streams.finished", "graphs: id"),
    ("", "keys: subscribers"),
    ("ddata.updates, ddata.deletes", "each of keys: updates"),
    ("ddata.updates", "each of keys: updates"),
    ("ddata.deletes", ""),
    ("leases.acquired, leases.denied, leases.lost", "leases: holder, acquired, denied, lost, released, held, renewed"),
    ("runtime.workers, runtime.tasks, runtime.queue", "workers: busy_ns, parks, parked, away_ns"),
    ("failures.panics", ""),
    ("failures.errors, failures.warnings", ""),
    ("runtime.long_polls, runtime.polls", ""),
]


class Refused(Exception):
    """Why a file cannot be read as a region."""


class Unreadable(Exception):
    """A record holds what no writer stores, or it was being written at each try."""


def attachments():
    """The attachments that count each built-in metric, and those that count each number of instances: for all instances,
    and for the instance alone."""
    metrics, numbers = collections.defaultdict(int), collections.defaultdict(lambda: [0, 0])
    for bit, (of_metrics, of_instances) in enumerate(ATTACHMENTS):
        for metric in filter(None, of_metrics.split(", ")):
            metrics[metric] |= 1 << bit
        for part in filter(None, of_instances.split("; ")):
            domain, fields = part.split(": ")
            for field in fields.split(", "):
                numbers[domain.removeprefix("each of "), field][domain.startswith("each of ")] |= 1 << bit
    return dict(metrics), numbers


class Words:
    """The words of a region. Each is loaded whole. Offsets are in bytes."""

    def __init__(self, buffer, start, length):
        self.words = memoryview(buffer)[start : start + length // 8 * 8].cast("B").cast("Q")
        self.bytes = len(self.words) * 8

    def load(self, offset):
        return self.words[offset // 8]

    def copy(self, offset, length):
        first = offset // 8
        return struct.pack(f"<{length // 8}Q", *(self.words[at] for at in range(first, first + length // 8)))

    def text_cell(self, offset, length):
        """A text cell; None if it has no text."""
        ready = self.load(offset)
        size = ready & ~READY
        if not ready & READY or size > length - 8:
            return None
        try:
            return self.copy(offset + 8, (size + 7) // 8 * 8)[:size].decode()
        except UnicodeDecodeError:
            return None


def pause(attempt):
    time.sleep(0 if attempt < 4 else 0.0001 * attempt)


def take_texts(text, lengths):
    """Splits a text field into texts that follow each other."""
    texts, at = [], 0
    for length in lengths:
        if at + length > len(text):
            raise Unreadable
        try:
            texts.append(text[at : at + length].decode())
        except UnicodeDecodeError:
            raise Unreadable from None
        at += length
    return texts


def label_pairs(text):
    """The labels of a metric, in the strict order of their keys."""
    if not text:
        return {}
    parts = text.split("\0")
    keys = parts[:-1:2]
    if parts[-1] or len(parts) % 2 == 0:
        raise Unreadable
    encoded = [key.encode() for key in keys]
    if any(one >= next_one for one, next_one in zip(encoded, encoded[1:])):
        raise Unreadable
    return dict(zip(keys, parts[1::2]))


def key_text(key):
    return f"{key[0]:016x}{key[1]:016x}"


def rfc3339(unix_ns):
    seconds, ns = divmod(unix_ns, 1_000_000_000)
    try:
        when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns:09}Z"


class Clock:
    """Converts stamps to times by a log of clock samples ("Clock samples"). Stamps after `until` have no time yet."""

    def __init__(self, samples, until):
        self.samples, self.until = sorted(samples, key=lambda sample: sample[0]), until

    def unix_ns(self, stamp):
        if not self.samples or self.until is not None and stamp > self.until:
            return None
        before = [sample for sample in self.samples if sample[0] <= stamp]
        ticks, _, _, unix_ns, rate = before[-1] if before else self.samples[0]
        since = stamp - ticks
        return abs(since * rate) // 2**40 * (1 if since >= 0 else -1) + unix_ns


Section = collections.namedtuple("Section", "offset count stride")


def utf8(text):
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def texts_of(text, lengths):
    """Texts of these lengths, one after the other; None if one is no UTF-8 or ends beyond the field."""
    found, start = [], 0
    for length in lengths:
        one = utf8(text[start : start + length])
        if one is None or start + length > len(text):
            return None
        found.append(one)
        start += length
    return found


def field_value(field, payload):
    word, size = field["type"], field["element_bytes"]
    if word is None:
        return None

    def one(at):
        element = payload[field["offset"] + at * size :][:size]
        if len(element) < size:
            return None
        if word == "text":
            return element.split(b"\0")[0].decode(errors="replace")
        if word in ("f32", "f64"):
            return number_of(element, "<f" if word == "f32" else "<d")
        number = int.from_bytes(element, "little", signed=word.startswith("i"))
        if word == "bool":
            return [False, True][number] if number < 2 else None
        if word == "enum" and number < len(field["values"]):
            return field["values"][number]
        return number

    return [one(at) for at in range(field["length"])] if field["length"] else one(0)


def number_of(element, layout):
    """A floating-point number; one of single precision with the fewest digits that tell it from others."""
    number = struct.unpack(layout, element)[0]
    if number != number or number in (float("inf"), float("-inf")):
        return None
    if layout == "<d":
        return number
    shortened = (float(f"{number:.{digits}g}") for digits in range(1, 10))
    return next(short for short in shortened if fits_single(short) and struct.pack("<f", short) == element)


def fits_single(number):
    return abs(number) <= 3.4028235677973366e38


class Region:
    """A region, checked as "The header" and "SectionRecord" require."""

    def __init__(self, words):
        self.words = words
        if words.bytes < HEADER_BYTES:
            raise Refused("truncated")
        magic = words.load(0)
        if magic == 0:
            raise Refused("not ready yet")
        if struct.pack("<Q", magic) != b"ATOMSCPE":
            raise Refused("no region")
        self.version = (words.load(8) >> 32, words.load(8) & 0xFFFFFFFF)
        if self.version[0] != 2:
            raise Refused(f"incompatible: version {self.version[0]}.{self.version[1]}")
        (
            self.region_bytes,
            header_bytes,
            self.section_count,
            self.pid,
            self.uid,
            self.start_ticks,
            self.boot_id,
            self.pid_namespace,
            self.created_unix_ns,
            self.actor_capacity,
            self.flags,
            self.builtins,
        ) = struct.unpack_from("<6Q16s5Q", words.copy(16, 112))
        if header_bytes != HEADER_BYTES or self.region_bytes < HEADER_BYTES or self.region_bytes % 8:
            raise Refused("corrupt header")
        if self.section_count > 32:
            raise Refused("corrupt section count")
        if self.region_bytes > words.bytes:
            raise Refused("truncated")
        self.sections = self.directory()
        self.known_names = {}
        self.clock, self.clock_changes = self.read_clock(), None
        self.time_record = struct.unpack("<Q2q2Q", words.copy(152, 40))
        self.counting_metrics, self.counting_numbers = attachments()

    def directory(self):
        found, ranges = {}, []
        for at in range(self.section_count):
            number, offset, count, stride = struct.unpack("<4Q", self.words.copy(2048 + at * 64, 32))
            end = offset + count * stride
            if offset < HEADER_BYTES or offset % 128 or stride == 0 or stride % 8 or end > self.region_bytes:
                raise Refused(f"corrupt section {number}")
            ranges.append((offset, end))
            for name, (known, least, least_stride) in SECTIONS.items():
                if number != known:
                    continue
                if name in found or count < least or stride < least_stride:
                    raise Refused(f"corrupt section {name}")
                found[name] = Section(offset, count, stride)
        ranges.sort()
        if any(end > start for (_, end), (start, _) in zip(ranges, ranges[1:])):
            raise Refused("sections overlap")
        if missing := SECTIONS.keys() - found.keys():
            raise Refused(f"missing sections {missing}")
        if found["events"].stride % EVENT_SLOT_BYTES:
            raise Refused("corrupt stride of events")
        if found["counters"].stride < found["metrics"].count * 8:
            raise Refused("corrupt stride of counters")
        if found["handled"].stride < found["variants"].count * 16 + found["classes"].count * 8:
            raise Refused("corrupt stride of handled")
        return found

    # Header.

    def read_clock(self):
        log = self.sections["clock samples"]
        complete = self.words.load(log.offset + 16)
        for attempt in range(TRIES):
            before = self.words.load(log.offset)
            if before & 1 == 0:
                samples = self.samples(log)
                if self.words.load(log.offset) == before:
                    return Clock(samples, None)
            pause(attempt)
        return Clock(self.samples(log), complete)

    def samples(self, log):
        """The clock samples that can be read in a single try."""
        found = []
        for row in range(1, min(self.words.load(log.offset + 8), log.count - 1) + 1):
            offset = log.offset + row * log.stride
            before = self.words.load(offset)
            record = struct.unpack("<3QqQ16x", self.words.copy(offset + 8, 56))
            if before & 1 == 0 and self.words.load(offset) == before and record[4]:
                found.append(record)
        return found

    def unix_ns(self, stamp):
        """The time of a stamp of a record that was read before. So the clock is read again if the log has changed."""
        offset = self.sections["clock samples"].offset
        if self.words.load(offset) != self.clock_changes:
            self.clock_changes = self.words.load(offset)
            self.clock = self.read_clock()
        return self.clock.unix_ns(stamp)

    def time(self, stamp):
        unix_ns = self.unix_ns(stamp)
        return None if unix_ns is None else rfc3339(unix_ns)

    def time_text(self, stamp):
        """The time of a stamp as text, empty if it is unknown."""
        return self.time(stamp) or ""

    def beat(self, offset):
        return self.words.load(offset), self.words.load(offset + 8)

    def attached(self):
        return self.words.load(144)

    # Counters, metrics, names.

    def counter(self, number):
        section = self.sections["counters"]
        lanes = range(section.count)
        return sum(self.words.load(section.offset + lane * section.stride + number * 8) for lane in lanes) % 2**64

    def gauge(self, number):
        return self.words.load(self.sections["counters"].offset + number * 8)

    def metrics(self):
        section, all_metrics, attached = self.sections["metrics"], [], self.attached()
        for number in range(section.count):
            offset = section.offset + number * section.stride
            ready = self.words.load(offset)
            kind = {1: "counter", 2: "gauge", 3: "histogram", 4: "gauge", 5: "gauge"}.get(ready & 0xFF)
            if kind is None or not ready & READY:
                continue
            record = self.words.copy(offset, 384)
            try:
                name, labels, unit, text = take_texts(record[16:384], struct.unpack_from("<4H", record, 8))
                labels = label_pairs(labels)
            except Unreadable:
                continue
            value = self.counter(number) if kind == "counter" else self.gauge(number)
            if ready & 0xFF == 4:
                value = struct.unpack("<q", struct.pack("<Q", value))[0]
            elif ready & 0xFF == 5:
                value = struct.unpack("<d", struct.pack("<Q", value))[0]
                value = value if math.isfinite(value) else None
            metric = {"name": name, "labels": labels, "unit": unit, "kind": kind, "help": text, "value": value}
            if kind == "histogram":
                if not 1 <= value <= self.sections["histograms"].count:
                    continue
                metric["value"], metric["histogram"] = self.histogram(value - 1)
            counted_by = self.counting_metrics.get(name) if number < self.builtins else None
            if metric["value"] == 0 and counted_by and not attached & counted_by:
                metric["value"] = None
            if self.words.load(offset) != ready:
                continue
            all_metrics.append(metric)
        return all_metrics

    def histogram(self, number):
        section = self.sections["histograms"]
        words = struct.unpack("<192Q", self.words.copy(section.offset + number * section.stride, 1536))
        return words[0], self.summary(words)

    def summary(self, words):
        """Sum, greatest value, quantiles and buckets of a histogram."""
        held = [(at, count) for at, count in enumerate(words[8:]) if count]
        total = sum(count for _, count in held)

        def quantile(share):
            wanted, seen = max(math.ceil(share * total), 1), 0
            for at, count in held:
                seen += count
                if seen >= wanted:
                    return min(least(at + 1) - 1, words[2])
            return 0

        summary = {"sum": words[1], "greatest": words[2], "p50": quantile(0.5), "p90": quantile(0.9)}
        return summary | {"p99": quantile(0.99), "buckets": [[least(at), count] for at, count in held]}

    # "Instrumented actors".

    def rows(self):
        """The class and the name number of each row; no class if it is not in use."""
        section = self.sections["variants"]
        words = [struct.unpack("<2Q", self.words.copy(section.offset + row * section.stride, 16)) for row in range(section.count)]
        return [(number - 1 if number else None, name) for number, name in words]

    def class_name(self, number):
        section = self.sections["classes"]
        if number >= section.count:
            return None
        name = self.words.load(section.offset + number * section.stride)
        return self.name(name) if name else None

    def instruments(self, actors):
        classes, unreadable = [], 0
        section, lanes = self.sections["classes"], self.sections["handled"]
        rows = self.rows()
        counted = {}
        for row, (number, name) in enumerate(rows):
            if number is None:
                continue
            at = [lanes.offset + lane * lanes.stride + 16 * row for lane in range(lanes.count)]
            numbers = [sum(self.words.load(offset + more) for offset in at) % 2**64 for more in (0, 8)]
            counted.setdefault(number, []).append((name, *numbers))
        for number in [*range(1, section.count), 0]:
            words = struct.unpack("<392Q", self.words.copy(section.offset + number * section.stride, 3136))
            name, spawned, stopped, failures, restarts, untracked, overwritten, long_polls = words[:8]
            if name == 0 and number > 0:
                continue
            own = counted.pop(number, [])
            at = lanes.offset + 16 * self.sections["variants"].count + 8 * number
            polls = sum(self.words.load(at + lane * lanes.stride) for lane in range(lanes.count)) % 2**64
            handled, busy_ns = (sum(row[at] for row in own) % 2**64 for at in (1, 2))
            counts = {"failures": failures, "restarts": restarts, "untracked": untracked, "overwritten": overwritten}
            counts |= {"long_polls": long_polls if long_polls or polls else None, "polls": polls or None}
            if number == 0 and not any((spawned, handled, polls, *words[2:8])):
                continue
            times = sum(words[16:200])
            times = {"count": times} | self.summary((times, busy_ns, *words[10:200])) if times else None
            depth = {"count": words[200]} | self.summary(words[200:392]) if words[200] else None
            about = {"class": self.name(name) if name else None, "spawned": spawned, "stopped": stopped}
            about |= {"live": max(spawned - stopped, 0), "handled": handled, "busy_ns": busy_ns, **counts}
            variants = [
                {"variant": self.name(name) if name else None, "handled": handled, "busy_ns": busy_ns}
                for name, handled, busy_ns in own
                if name or handled or busy_ns
            ]
            classes.append(about | {"handle_time_ns": times, "depth": depth, "variants": variants})
        unreadable = sum(len(rows) for rows in counted.values())
        unnamed, used = [], 0
        for number in range(self.sections["cells"].count):
            generation, number_of_class, stats = self.cell(number, rows)
            used += stats is not None
            if stats is not None and (number, generation) not in actors["cells"]:
                unnamed.append({"class": self.class_name(number_of_class)} | stats)
        cells = {"capacity": self.sections["cells"].count, "used": used}
        stats = [{"path": path} | stats for path, stats in actors["stats"]]
        return {"classes": classes, "cells": cells, "unreadable": unreadable, "actors": stats, "unnamed": unnamed}

    def cell(self, number, rows):
        """Generation, class and values of a cell; no values if it is free."""
        section = self.sections["cells"]
        if number >= section.count:
            return None, None, None
        offset = section.offset + number * section.stride
        identity = self.words.load(offset)
        for attempt in range(TRIES):
            words = struct.unpack("<8Q", self.words.copy(offset, 64))
            # A handler may begin or end meanwhile.
            if (self.words.load(offset + 24), self.words.load(offset + 8)) == (words[3], words[1]):
                break
            pause(attempt)
        else:
            words = (*words[:3], 0, *words[4:])
        _, handled, busy_ns, since, running, failures, polls, task = words
        generation, number_of_class = identity >> 32, identity >> 16 & 0xFFFF
        if identity & 0xFFFF != 1 or self.words.load(offset) != identity:
            return generation, number_of_class, None
        row, variant, flight = running & 0xFFFFFFFF, None, None
        if row < len(rows) and rows[row][0] == number_of_class and rows[row][1]:
            variant = self.name(rows[row][1])
        if since:
            flight = {"since": self.time(since & ~0xFF), "mode": {1: "runs", 2: "awaits"}.get(running >> 32)}
        stats = {
            "handled": handled,
            "busy_ns": busy_ns,
            "failures": failures & 0xFFFFFFFF,
            "restarts": failures >> 32,
            "in_flight": flight,
            "variant": variant,
            "polls": polls or None,
            "task": task or None,
        }
        return generation, number_of_class, stats

    # "Threads of runtimes".

    def runtime_threads(self):
        """The threads, and the number of unreadable slots."""
        section, threads, unreadable = self.sections["threads"], [], 0
        for number in range(section.count):
            offset = section.offset + number * section.stride
            for attempt in range(TRIES):
                identity, parks = self.words.load(offset), self.words.load(offset + 16)
                record = self.words.copy(offset, 64)
                if self.words.load(offset) == identity and identity >> 32 != 3:
                    break
                pause(attempt)
            else:
                unreadable += 1
                continue
            state = identity >> 32
            if state not in (1, 2):
                continue
            runtime, since = struct.unpack_from("<Q8xQ", record, 8)
            name = record[32:48].split(b"\0")[0].decode(errors="replace")
            word = "ended" if state == 2 else "parked" if parks % 2 else "runs"
            about = {"tid": identity & 0xFFFFFFFF, "runtime": runtime, "name": name or None}
            threads.append(about | {"parks": (parks + 1) // 2, "state": word, "since": self.time(since)})
        return threads, unreadable

    # "Own records".

    def kinds(self):
        """The kinds by their numbers, and how many are unreadable."""
        numbers, unreadable = {}, 0
        section, after = self.sections["kinds"], 0
        for number in range(section.count):
            record = self.ready(section.offset + number * section.stride)
            if record is None:
                break
            kind, after = self.kind(record, after)
            if kind is None:
                unreadable += 1
            else:
                numbers[number] = kind
        return numbers, unreadable

    def own_records(self):
        """The kinds, the records, and how many of both are unreadable."""
        numbers, unreadable = self.kinds()
        section, found = self.sections["own records"], []
        for number in range(section.count):
            offset = section.offset + number * section.stride
            for attempt in range(TRIES):
                sequence = self.words.load(offset)
                record = self.words.copy(offset, 1152)
                if sequence % 2 == 0 and self.words.load(offset) == sequence:
                    break
                pause(attempt)
            else:
                unreadable += 1
                continue
            stamp, kind, first, name_bytes = (struct.unpack_from("<Q", record, at)[0] for at in (8, 1040, 1048, 1056))
            if kind == 0:
                continue
            name = utf8(record[1064 : 1064 + name_bytes]) if name_bytes <= 64 else None
            kind = numbers.get(kind - 1)
            if kind is None or name is None:
                unreadable += 1
                continue
            published, values = max(sequence // 2 - first, 0), {}
            for field in kind["fields"]:
                value = field_value(field, record[16:1040]) if published else None
                values.setdefault(field["name"], value)
            about = {"kind": kind["name"], "name": name, "published": published}
            about |= {"lost": struct.unpack_from("<Q", record, 1128)[0]}
            found.append(about | {"at": self.time(stamp) if published else None, "values": values})
        return {"kinds": list(numbers.values()), "list": found, "unreadable": unreadable}

    def ready(self, offset):
        """A slot of 128 bytes whose first word is a ready word, if it is ready."""
        ready = self.words.load(offset)
        return struct.pack("<Q", ready) + self.words.copy(offset + 8, 120) if ready & READY else None

    def kind(self, record, after):
        """A kind, if it can be read, and the number of the field after its fields."""
        size, fields, help_bytes, name_bytes, first = struct.unpack_from("<2I2HI", record)
        fields &= 0x7FFFFFFF
        section = self.sections["fields"]
        if not 1 <= fields <= 128 or size > 1024 or first < after or first + fields > section.count:
            return None, after
        after = first + fields
        texts = texts_of(record[16:], [name_bytes, help_bytes])
        if texts is None:
            return None, after
        end, list_of_fields = 0, []
        for index in range(fields):
            field, end = self.field(section.offset + (first + index) * section.stride, index, end, size)
            list_of_fields.append(field)
        return {"name": texts[0], "help": texts[1], "bytes": size, "fields": list_of_fields}, after

    def field(self, offset, index, end, size):
        """A field of a kind, and where the next one may begin."""
        names = ("name", "unit", "help", "type", "offset", "element_bytes", "length", "values")
        unknown = dict(zip(names, (f"field_{index}", "", "", None, 0, 0, 0, [])))
        record = self.ready(offset)
        if record is None:
            return unknown, end
        ready, unit_bytes, values_bytes, name_bytes, help_bytes, length = struct.unpack_from("<Q4BI", record)
        texts = texts_of(record[16:], [name_bytes, unit_bytes, values_bytes, help_bytes])
        if texts is None:
            return unknown, end
        name, unit, values, help = texts
        start, number, element = ready & 0xFFFFFFFF, ready >> 32 & 0xFF, ready >> 40 & 0xFFFF
        last = start + element * max(length, 1)
        known = FIELD_TYPES.get(number)
        is_known = known is not None and element in known[1] and start >= end and last <= size
        word = known[0] if is_known else None
        values = values.split("\n") if word == "enum" and values else []
        field = dict(zip(names, (name, unit, help, word, start, element, length, values)))
        return field, last if is_known else end

    # "Instances" and "Documents".

    def instances(self):
        entries, unreadable, attached = [], 0, self.attached()
        for record in self.slots("instances", INSTANCES_USED, 384):
            try:
                if record is None:
                    raise Unreadable
                key, since = struct.unpack_from("<2Q", record, 8), struct.unpack_from("<Q", record, 24)[0]
                domain, name_bytes = struct.unpack_from("<2H", record, 32)
                owner = struct.unpack_from("<2Q", record, 40)
                if domain not in DOMAINS:
                    raise Unreadable
                (name,) = take_texts(record[192:384], (name_bytes,))
                numbers, (own,) = struct.unpack_from("<16Q", record, 64), struct.unpack_from("<Q", record, 56)
                entries.append((domain, key, owner, name, self.time_text(since), numbers, own))
            except Unreadable:
                unreadable += 1
        names = {key: name for _, key, _, name, *_ in entries}
        listed = []
        keys = {}
        for domain, key, owner, name, since, numbers, own in entries:
            entry = {"name": name}
            if owner in names:
                entry["owner"] = names[owner]
            entry["since"] = since
            for field, number in zip(DOMAINS[domain][1].split(", "), numbers):
                field, kind = field.rstrip(")").split(" (")
                of_all, of_each = self.counting_numbers[DOMAINS[domain][0], field]
                is_known = number or attached & of_all or own & of_each
                if not is_known:
                    number = None
                elif kind == "name":
                    number = self.name(number) if 0 < number < 2**32 else ""
                elif kind == "float":
                    (number,) = struct.unpack("<d", struct.pack("<Q", number))
                elif kind == "flag":
                    number = {1: False, 2: True}.get(number)
                entry[field] = number
            listed.append((domain, entry))
            keys[id(entry)] = key, owner
        # Texts are sorted by their bytes, and no owner comes before an owner with an empty name.
        listed.sort(key=lambda it: (it[0], "owner" in it[1], it[1].get("owner", "").encode(), it[1]["name"].encode()))
        by_domain = {name: [entry for domain, entry in listed if domain == number] for number, (name, _) in DOMAINS.items()}
        return by_domain, keys, unreadable

    def document(self, number):
        """The number of dropped rows, and the rows: kind, number, texts."""
        section = self.sections["documents"]
        if section.count == 0:
            return 0, []
        offset, copy_words = section.offset + number * section.stride, (section.stride - 128) // 16
        for attempt in range(TRIES):
            flips = self.words.load(offset)
            if flips == 0:
                return 0, []
            copy = offset + 128 + flips % 2 * copy_words * 8
            used = min(self.words.load(copy), copy_words)
            words = self.words.copy(copy, used * 8)
            if self.words.load(offset) == flips:
                return rows_of(words)
            pause(attempt)
        raise Unreadable

    def subsystems(self):
        instances, keys, unreadable = self.instances()
        dropped, lost, rows = 0, 0, []
        for number in (0, 1):
            try:
                fewer, found = self.document(number)
                dropped += fewer
                rows.append(found)
            except Unreadable:
                lost += 1
                rows.append([])
        started, finished = self.counter(STREAMS_STARTED), self.counter(STREAMS_FINISHED)
        associations = ("name", "state", "inbound_bytes", "outbound_bytes")
        # The fields of `atomr-telemetry` cannot be unknown.
        plain = lambda value, name: ("" if name == "state" else 0) if value is None else value
        graphs = [{"id": g["id"] or 0, "name": g["name"], "started_at": g["since"]} for g in instances["graphs"]]
        ids = instances["persistence_ids"]
        journals = [
            {
                "name": journal["name"],
                "persistence_ids": [
                    {
                        "persistence_id": entry["name"],
                        "highest_sequence_nr": entry["highest_sequence_nr"] or 0,
                        "event_count": entry["event_count"] or 0,
                    }
                    for entry in ids
                    if keys[id(entry)][1] == keys[id(journal)][0]
                ],
            }
            for journal in instances["journals"]
        ]
        sharding, hand_offs = sharding_of(rows[1])
        snapshot = {
            "cluster": cluster_of(rows[0]),
            "sharding": sharding,
            "persistence": {
                "journals": journals,
                "total_events": self.counter(PERSISTENCE_EVENTS),
                "recent_writes": self.journal_writes(),
            },
            "remote": {
                "associations": [
                    {"remote_address" if name == "name" else name: plain(entry[name], name) for name in associations}
                    for entry in instances["associations"]
                ]
            },
            "streams": {
                "running_graphs": max(started - finished, 0),
                "total_started": started,
                "total_finished": finished,
                "active": sorted(graphs, key=lambda graph: graph["id"]),
            },
            "ddata": {
                "keys": sorted((entry["name"] for entry in instances["keys"]), key=str.encode),
                "total_updates": self.counter(DDATA_UPDATES),
            },
        }
        about = {
            "instances": {name: entries for name, entries in instances.items() if entries},
            "hand_offs": hand_offs,
            "instances_unreadable": unreadable,
            "rows_dropped": dropped,
            "documents_unreadable": lost,
        }
        return snapshot, about

    def journal_writes(self):
        section = self.sections["journal writes"]
        if section.count == 0:
            return []
        ring, writes = Ring(self.words, section.offset, section.count - 1, section.stride), []
        head = ring.head()
        for ticket in range(max(head - ring.slots, 0), head):
            found, record = ring.read(ticket, 240)
            if found != "read":
                continue
            stamp, sequence_nr, *lengths = struct.unpack_from("<2Q2H", record)
            try:
                journal, persistence_id = take_texts(record[24:240], lengths)
            except Unreadable:
                continue
            write = {"journal": journal, "persistence_id": persistence_id, "sequence_nr": sequence_nr}
            writes.append(write | {"timestamp": self.time_text(stamp)})
        return writes

    def name(self, number):
        if number not in self.known_names:
            section, text = self.sections["names"], None
            if 1 <= number <= section.count:
                text = self.words.text_cell(section.offset + (number - 1) * section.stride, section.stride)
            self.known_names[number] = "?" if text is None else text
        return self.known_names[number]

    def totals(self):
        stopped, replaced = self.counter(STOPPED), self.counter(REPLACED)
        untracked_stops, matched = self.counter(UNTRACKED_STOPS), self.counter(UNTRACKED_MATCHED)
        foreign, untracked_spawns = self.counter(FOREIGN), self.counter(UNTRACKED_SPAWNS)
        spawned = self.counter(SPAWNED)
        stopped = max(stopped - foreign, 0)
        return {
            "spawned": spawned,
            "stopped": stopped,
            "replaced": replaced,
            "live": max(max(spawned - stopped, 0) - replaced, 0),
            "foreign": foreign,
            "untracked": max(max(untracked_spawns - untracked_stops, 0) - matched, 0),
            "inexact": untracked_spawns > 0 or untracked_stops > 0 or self.counter(DOUBTFUL_STOPS) > 0,
        }

    def difference(self, number, ended):
        """A counter minus one that is read before it."""
        less = self.counter(ended)
        return max(self.counter(number) - less, 0)

    # "Slots".

    def slots(self, section, used, length):
        """The records of the slots that are not free; None for an unreadable one."""
        offset, count, stride = self.sections[section]
        for index in range(min(self.words.load(used), count)):
            state, record = self.slot(offset + index * stride, length)
            if state not in (FREE, ORPHAN):
                yield record

    def slot(self, offset, length):
        for attempt in range(TRIES):
            before = self.words.load(offset)
            state = before & 3
            if state in (FREE, ORPHAN):
                return state, None
            if state == LIVE:
                record = self.words.copy(offset, length)
                if self.words.load(offset) == before:
                    return state, record
            pause(attempt)
        return BUSY, None

    def actors(self):
        newest, unreadable, cells, rows = {}, 0, set(), self.rows()
        for record in self.slots("actors", ACTORS_USED, 320):
            try:
                if record is None:
                    raise Unreadable
                entry = self.actor(record)
            except Unreadable:
                unreadable += 1
                continue
            key, (cell,) = struct.unpack_from("<2Q", record, 8), struct.unpack_from("<Q", record, 48)
            number, generation = (cell & 0xFFFFFFFF) - 1, cell >> 32
            entry["stats"] = None
            if number >= 0:
                found, _, stats = self.cell(number, rows)
                if found == generation and stats is not None:
                    entry["stats"] = stats | {"depth_peak": entry["depth_peak"]}
                    cells.add((number, generation))
            if key not in newest or newest[key]["stamp"] < entry["stamp"]:
                newest[key] = entry
        for entry in newest.values():
            if entry["cut_parent"] in newest:
                entry["status"]["parent"] = newest[entry["cut_parent"]]["status"]["path"]
        by_path = sorted(newest.values(), key=lambda entry: entry["status"]["path"].encode())
        flat = [entry["status"] for entry in by_path]
        stats = [(entry["status"]["path"], entry["stats"]) for entry in by_path if entry["stats"] is not None]
        unlisted = self.difference(SPILLED, SPILLED_STOPPED)
        waiting = self.difference(EARLY_STOPS, EARLY_STOPS_DONE)
        counted = {"unlisted": unlisted, "unreadable": unreadable, "waiting_stops": waiting}
        return {"flat": flat, "counted": counted, "stats": stats, "cells": cells}

    def actor(self, record):
        stamp, type_id, flags, *lengths = struct.unpack_from("<Q2I4BH", record, 24)
        *lengths, parent_bytes = lengths
        depth, *parent_key = struct.unpack_from("<3Q", record, 56)
        is_prefix = flags & PARENT and flags & PARENT_IS_PREFIX
        in_text = parent_bytes if flags & PARENT and not is_prefix else 0
        path, type_name, spawned, host, parent = take_texts(record[80:272], (*lengths, in_text))
        parent_key, is_parent_cut = tuple(parent_key), False
        if is_prefix:
            parent, is_parent_cut = parent_of(path, flags, parent_bytes, parent_key)
        status = {
            "path": path,
            "parent": parent if flags & PARENT else None,
            "actor_type": self.name(type_id) if type_id else type_name,
            "mailbox_depth": depth & 0xFFFFFFFF if flags & DEPTH else 0,
            "spawned_at": spawned if flags & SPAWNED_TEXT else self.time_text(stamp),
        }
        if flags & HOST:
            status["host"] = host
        peak = max(depth & 0xFFFFFFFF, depth >> 32) if flags & DEPTH else None
        cut_parent = parent_key if is_parent_cut else None
        return {"status": status, "stamp": stamp, "cut_parent": cut_parent, "depth_peak": peak}

    # "Rings".

    def dead_letters(self):
        section = self.sections["dead letters"]
        ring = Ring(self.words, section.offset, section.count - 1, section.stride)
        head = ring.head()
        kept = min(head, ring.slots)
        totals = {"total": head, "lapped": head - kept, "abandoned": 0, "unreadable": 0}
        recent = []
        for ticket in range(head - 1, head - kept - 1, -1):
            found, record = ring.read(ticket, 368)
            if found == "read":
                if len(recent) < MAX_DEAD_LETTERS_SHOWN:
                    try:
                        recent.append(self.dead_letter(ticket, record))
                    except Unreadable:
                        totals["unreadable"] += 1
            elif found == "pending":
                totals["unreadable"] += 1
            else:
                totals[found] += 1
        return recent, totals

    def dead_letter(self, ticket, record):
        stamp, type_id, flags, *lengths = struct.unpack_from("<Q2I4H", record)
        recipient, sender, type_name, preview = take_texts(record[24:368], lengths)
        return {
            "seq": ticket + 1,
            "recipient": recipient,
            "sender": sender if flags & 1 else None,
            "message_type": self.name(type_id) if type_id else type_name,
            "message_preview": preview,
            "timestamp": self.time_text(stamp),
        }

    # "The failure log" and its panics.

    def failures(self):
        section, entries, unreadable = self.sections["failures"], [], 0
        for slot in range(section.count):
            ready, record = self.failure_slot(section.offset + slot * section.stride)
            if record is None:
                continue
            try:
                if ready not in SEVERITIES:
                    raise Unreadable
                entries.append(self.failure(slot + 1, SEVERITIES[ready], record))
            except Unreadable:
                unreadable += 1
        entries.sort(key=lambda entry: (-entry[0], entry[1]["number"]))
        return [failure for _, failure in entries], unreadable

    def failure_slot(self, offset):
        """The ready word and the record; no record if the slot is free."""
        for attempt in range(TRIES):
            ready = self.words.load(offset)
            record = self.words.copy(offset, 768)
            if ready in SEVERITIES:
                break
            if ready == 0 and struct.unpack_from("<Q", record, 8)[0] == 0:
                return ready, None
            pause(attempt)
        return ready, record

    def failure(self, number, severity, record):
        count, last, first, name, flags, *lengths = struct.unpack_from("<3Q2I5H", record, 16)
        location, thread, actor, target, message = take_texts(record[64:704], lengths)
        return last, {
            "number": number,
            "severity": severity,
            "count": count,
            "first": self.time_text(first),
            "last": self.time_text(last),
            "message": message if flags & MESSAGE else None,
            "location": location or None,
            "target": target or None,
            "thread": thread or None,
            "actor": actor or None,
            "class": self.name(name) if name else None,
        }

    def panics(self):
        section = self.sections["panics"]
        ring = Ring(self.words, section.offset, section.count - 1, section.stride)
        head = ring.head()
        kept = min(head, ring.slots)
        totals = {"total": head, "lapped": head - kept, "abandoned": 0, "unreadable": 0}
        recent = []
        for ticket in range(head - 1, head - kept - 1, -1):
            found, record = ring.read(ticket, 496)
            if found == "read":
                try:
                    recent.append(self.panic(ticket, record))
                except Unreadable:
                    totals["unreadable"] += 1
            elif found == "pending":
                totals["unreadable"] += 1
            else:
                totals[found] += 1
        return recent, totals

    def panic(self, ticket, record):
        stamp, failure, tid, name, flags, *lengths = struct.unpack_from("<Q4I4H", record)
        location, thread, actor, message = take_texts(record[32:496], lengths)
        return {
            "seq": ticket + 1,
            "timestamp": self.time_text(stamp),
            "failure": failure or None,
            "tid": tid or None,
            "thread": thread or None,
            "message": message if flags & MESSAGE else None,
            "location": location or None,
            "actor": actor or None,
            "class": self.name(name) if name else None,
        }

    def event(self, record):
        """Decodes the record of an event to: stamp, part, parts, kind, topic, payload."""
        stamp, type_id, flags = struct.unpack_from("<Q2I", record)
        lengths = list(struct.unpack_from("<5H", record, 16))
        kind, part, parts, first, second = struct.unpack_from("<3H2Q", record, 26)
        if kind not in EVENT_KINDS or part >= parts:
            raise Unreadable
        name, topic = EVENT_KINDS[kind]
        parent_bytes = lengths[1]
        is_prefix = flags & PARENT and flags & PARENT_IS_PREFIX
        if name == "actor_spawned" and is_prefix:
            lengths[1] = 0
        if name == "own" and second:
            return self.event_of_record(record, stamp, type_id, lengths, part, parts, first, second - 1)
        texts = take_texts(record[48:240], lengths)
        type_name = self.name(type_id) if type_id else texts[2]
        if name == "actor_spawned":
            parent = texts[1]
            if is_prefix:
                parent, _ = parent_of(texts[0], flags, parent_bytes, (first, second))
            payload = {
                "path": texts[0],
                "parent": parent if flags & PARENT else None,
                "actor_type": type_name,
                "mailbox_depth": 0 if flags & PATH_CUT else first,
                "spawned_at": texts[3] if flags & SPAWNED_TEXT else self.time_text(stamp),
            }
            if flags & HOST:
                payload["host"] = texts[4]
        elif name == "actor_stopped":
            payload = {"path": texts[0]}
        elif name == "mailbox_sampled":
            payload = {"path": texts[0], "depth": first}
        elif name == "dead_letter":
            payload = {
                "seq": first,
                "recipient": texts[0],
                "sender": texts[1] if flags & OPTIONAL else None,
                "message_type": type_name,
                "message_preview": texts[4],
                "timestamp": texts[3] if flags & TIME_TEXT else self.time_text(stamp),
            }
        elif name == "cluster_changed":
            payload = membership(flags, texts, first, second)
        elif name == "sharding_changed":
            payload = dict(zip(("region_id", "shard_id", "event"), texts))
        elif name == "journal_write":
            payload = {
                "journal": texts[0],
                "persistence_id": texts[1],
                "sequence_nr": first,
                "timestamp": texts[2] if flags & TIME_TEXT else self.time_text(stamp),
            }
        elif name == "remote_association":
            payload = {
                "remote_address": texts[0],
                "state": texts[1],
                "inbound_bytes": first,
                "outbound_bytes": second,
            }
        elif name == "streams_graph_started":
            payload = {"id": first, "name": texts[0]}
        elif name == "streams_graph_finished":
            payload = {"id": first}
        elif name == "panicked":
            payload = {
                "seq": first,
                "tid": (second & 0xFFFFFFFF) or None,
                "thread": texts[1] or None,
                "location": texts[0],
                "actor": texts[2] or None,
                "message": texts[3] if flags & OPTIONAL else None,
            }
        elif name == "own":
            payload = self.own_event(type_id, texts, first)
            topic = payload["topic"]
        elif name == "long_poll":
            payload = {
                "duration_ns": first,
                "actor": texts[0] or None,
                "class": type_name or None,
                "task": texts[3] or None,
                "tid": (second & 0xFFFFFFFF) or None,
                "thread": texts[1] or None,
            }
        else:
            payload = {"key": texts[0]}
        return stamp, part, parts, name, topic, payload

    def own_event(self, type_id, texts, level):
        """An own event, without the values of a record."""
        if level not in LEVELS:
            raise Unreadable
        return {"topic": self.name(type_id) if type_id else texts[0], "level": LEVELS[level], "text": texts[1]}

    def event_of_record(self, record, stamp, type_id, lengths, part, parts, level, number):
        """Decodes an own event with the values of a record."""
        start = 48 + lengths[0] + lengths[1]
        payload = record[start : start + lengths[2]]
        after = start + lengths[2]
        if after > 240 or len(payload) != lengths[2]:
            raise Unreadable
        texts = take_texts(record[48:240], lengths[:2])
        take_texts(record[after:240], lengths[3:])
        about = self.own_event(type_id, texts, level)
        kind = self.kinds()[0].get(number)
        about["record"] = kind["name"] if kind else "?"
        values = {}
        if kind and kind["bytes"] <= 152 and len(kind["fields"]) <= 32:
            for field in kind["fields"]:
                values.setdefault(field["name"], field_value(field, payload))
        if values:
            about["values"] = values
        return stamp, part, parts, "own", about["topic"], about


def least(bucket):
    """The least value that counts in a bucket."""
    return bucket if bucket < 4 else (4 + bucket % 4) << (bucket // 4 - 1)


def rows_of(copy):
    """The rows of a copy of a document."""
    if len(copy) < 32:
        raise Unreadable
    used, dropped = struct.unpack_from("<2Q", copy)
    if used * 8 != len(copy):
        raise Unreadable
    at, rows = 32, []
    while at < len(copy):
        if len(copy) - at < 16:
            raise Unreadable
        kind, count, length, number = struct.unpack_from("<HHIQ", copy, at)
        lengths_end = 16 + (count + 3) // 4 * 8
        if length < 2 or count > 64 or at + length * 8 > len(copy) or lengths_end > length * 8:
            raise Unreadable
        lengths = struct.unpack_from(f"<{count}H", copy, at + 16)
        rows.append((kind, number, take_texts(copy[at + lengths_end : at + length * 8], lengths)))
        at += length * 8
    return dropped, rows


def padded(texts, count):
    return [*texts, *[""] * count][:count]


def cluster_of(rows):
    state = {"self_address": None, "leader": None, "members": [], "unreachable": []}
    state |= {"reachability_records": [], "gossip_version": []}
    for kind, number, texts in rows:
        first, second, third = padded(texts, 3)
        if kind in (1, 2):
            state["self_address" if kind == 1 else "leader"] = first
        elif kind == 3:
            member = {"address": first, "status": second, "roles": texts[2:], "reachable": bool(number >> 32 & 1)}
            state["members"].append(member | {"up_number": signed(number)})
        elif kind == 4:
            state["unreachable"].append(first)
        elif kind == 5:
            state["reachability_records"].append({"observer": first, "subject": second, "status": third})
        elif kind == 6:
            state["gossip_version"].append([first, number])
    return state


def sharding_of(rows):
    state, hand_offs = {"regions": [], "allocations": []}, []
    for kind, number, texts in rows:
        four = padded(texts, 4)
        if kind == 1:
            state["regions"].append({"region_id": four[0], "shard_count": number, "shards": []})
        elif kind == 2 and state["regions"]:
            state["regions"][-1]["shards"].append(four[0])
        elif kind == 3:
            state["allocations"].append(four[:2])
        elif kind == 4:
            hand_offs.append(four)
    return state, hand_offs


def signed(number):
    """The low 32 bits, signed."""
    return struct.unpack("<i", struct.pack("<I", number & 0xFFFFFFFF))[0]


MEMBERSHIP = ("added", "updated", "removed", "became_unreachable", "became_reachable")
LEVELS = {1: "error", 2: "warn", 3: "info", 4: "debug", 5: "trace"}

EVENT_KINDS = {
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


def membership(flags, texts, up_number, role_count):
    change = {name: [] for name in MEMBERSHIP}
    which = flags >> LIST_SHIFT
    if which > len(MEMBERSHIP):
        raise Unreadable
    if which in (1, 2):
        member = {
            "address": texts[0],
            "status": texts[1],
            "roles": texts[2].split("\n")[: min(role_count, 200)] if role_count else [],
            "reachable": bool(flags & REACHABLE),
            "up_number": signed(up_number),
        }
        change[MEMBERSHIP[which - 1]].append(member)
    elif which:
        change[MEMBERSHIP[which - 1]].append(texts[0])
    return change


def parent_of(path, flags, parent_bytes, parent_key):
    """The path of a parent that is a prefix of its child's path, and whether the record holds too little of it."""
    kept = path.encode()
    if flags & PATH_CUT:
        if len(kept) < CUT_BYTES:
            raise Unreadable
        kept = kept[:-CUT_BYTES]
    try:
        if parent_bytes <= len(kept):
            return kept[:parent_bytes].decode(), False
        return kept.decode() + CUT_MARK + key_text(parent_key), True
    except UnicodeDecodeError:
        raise Unreadable from None


class Ring:
    """A ring: its head and its slots."""

    def __init__(self, words, offset, slots, stride):
        self.words, self.offset, self.slots, self.stride = words, offset, slots, stride

    def head(self):
        return self.words.load(self.offset)

    def read(self, ticket, length):
        slot = self.offset + (1 + ticket % self.slots) * self.stride
        wanted = 2 * (ticket + 1)
        for attempt in range(TRIES):
            sequence = self.words.load(slot)
            if sequence > wanted:
                return "lapped", None
            if sequence == wanted:
                record = self.words.copy(slot + 16, length)
                return ("read", record) if self.words.load(slot) == sequence else ("lapped", None)
            if sequence != wanted - 1 and self.words.load(slot + 8) > ticket:
                return "abandoned", None
            pause(attempt)
        return "pending", None


class Lane:
    """The state of a follower for one lane of events."""

    def __init__(self, ring, start):
        self.ring, self.next = ring, start
        self.pending, self.partial = [], []
        self.last, self.loss = None, collections.Counter()
        self.account = collections.Counter()


class Follower:
    """ "Following the events"."""

    def __init__(self, region, from_first):
        self.region, self.lanes, self.held = region, [], []
        section = region.sections["events"]
        for lane in range(section.count):
            offset = section.offset + lane * section.stride
            ring = Ring(region.words, offset, section.stride // EVENT_SLOT_BYTES - 1, EVENT_SLOT_BYTES)
            self.lanes.append(Lane(ring, 0 if from_first else max(ring.head() - ring.slots, 0)))

    def next_batch(self, is_last):
        """The new events in order. The last batch holds no event back."""
        self.region.clock = self.region.read_clock()
        first = [lane.ring.head() for lane in self.lanes]
        second = [lane.ring.head() for lane in self.lanes]
        batch, horizon = [], max((line[0] for line in self.held), default=0)
        beyond = []
        for at, lane in enumerate(self.lanes):
            oldest = max(second[at] - lane.ring.slots, 0)
            pending = [ticket for ticket in lane.pending if ticket >= oldest]
            self.lose(lane, "lapped", len(lane.pending) - len(pending) + max(oldest - lane.next, 0))
            new = range(max(lane.next, oldest), second[at])
            lane.next, lane.pending, stops = max(lane.next, second[at]), [], False
            for ticket in (*pending, *new):
                found, record = lane.ring.read(ticket, 240)
                if found == "pending":
                    lane.pending.append(ticket)
                    continue
                try:
                    event = self.region.event(record) if found == "read" else None
                except Unreadable:
                    found, event = "unreadable", None
                if event is None:
                    self.lose(lane, found, 1)
                    continue
                lane.account["read"] += 1
                stamp, kind, is_sure = event[0], event[3], ticket < first[at]
                if +lane.loss:
                    batch.append((stamp, 0, self.lost(at, stamp)))
                lane.last = stamp
                if is_sure:
                    horizon = max(horizon, stamp)
                stops |= not is_sure and kind == "actor_stopped"
                if line := self.join(lane, event):
                    times = {"at": self.region.time(stamp), "stamp": stamp, "lane": at}
                    beyond.append((NEVER if stops else stamp, (stamp, 1, line | times)))
            if is_last:
                self.lose(lane, "abandoned", len(lane.pending))
                lane.pending = []
                if +lane.loss:
                    batch.append((AFTER_ALL, 0, self.lost(at, None)))
        batch += self.held + [line for until, line in beyond if is_last or until <= horizon]
        self.held = [line for until, line in beyond if not is_last and until > horizon]
        # Sorting is stable: events with equal stamps stay in the order of lanes and tickets.
        return [line for *_, line in sorted(batch, key=lambda line: line[:2])]

    def lose(self, lane, cause, count):
        lane.loss[cause] += count
        lane.account[cause] += count

    def lost(self, at, before):
        lane = self.lanes[at]
        counts = {cause: lane.loss[cause] for cause in ("lapped", "abandoned", "unreadable")}
        times = {"after": lane.last, "before": before}
        times = {name: None if stamp is None else self.region.time(stamp) for name, stamp in times.items()}
        lane.loss = collections.Counter()
        return {"kind": "lost", "lane": at, "lost": sum(counts.values()), **counts, **times}

    def join(self, lane, event):
        """The whole event, if this was its last part."""
        stamp, part, parts, kind, topic, payload = event
        line = {"kind": kind, **payload, "topic": topic}
        if part > 0:
            begun = [known for known in lane.partial if known[0] == (stamp, part - 1, parts)]
            if not begun:
                return None
            lane.partial.remove(begun[0])
            line = begun[0][1]
            for field in MEMBERSHIP if kind == "cluster_changed" else ():
                line[field].extend(payload[field])
        if part + 1 == parts:
            return line
        lane.partial.append(((stamp, part, parts), line))
        return None

    def accounts(self):
        """The counts of each lane."""
        for at, lane in enumerate(self.lanes):
            counts = {cause: lane.account[cause] for cause in ("read", "lapped", "abandoned", "unreadable")}
            yield {"kind": "account", "lane": at, **counts, "waiting": len(lane.pending), "next": lane.next}


def trees(flat):
    """Builds the trees of actors by their paths."""
    index = {status["path"]: at for at, status in enumerate(flat)}
    above = [index.get(status["parent"]) for status in flat]
    levels = [None] * len(flat)
    for start in range(len(flat)):
        way, at = [], start
        while at is not None and levels[at] is None:
            levels[at] = -1
            way.append(at)
            if above[at] is not None and levels[above[at]] == -1:
                above[at] = None
            at = above[at]
        for at in reversed(way):
            level = 0 if above[at] is None else levels[above[at]] + 1
            if level == MAX_TREE_LEVELS:
                above[at], level = None, 0
            levels[at] = level
    nodes = []
    for status in flat:
        node = {"path": status["path"], "name": status["path"].rsplit("/", 1)[-1]}
        node |= {name: status[name] for name in ("actor_type", "mailbox_depth", "host") if name in status}
        nodes.append(node | {"children": []})
    roots = []
    for node, up in zip(nodes, above):
        (roots if up is None else nodes[up]["children"]).append(node)
    return roots


# "State and verdict".


def lock_is_held(descriptor):
    """Whether a process holds the lock; None if the system has no such locks."""
    ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, ask)
    except OSError:
        return None
    return struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK


def process_of(region):
    """State letter of the node's process: None if there is no such process, `unseen` if that is unknown."""
    if region.pid_namespace != os.stat("/proc/self/ns/pid").st_ino:
        return "unseen"
    try:
        with open(f"/proc/{region.pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return None
    ahead = recorded_ahead(region)
    ticks, slack = region.start_ticks, 0
    if ahead is not None:
        ticks, slack = ticks - ahead[1] // 10_000_000, 1 if ahead[1] % 10_000_000 else 0
    return fields[0].decode() if abs(int(fields[19]) - ticks) <= slack else None


def recorded_ahead(region):
    """How far the node's clocks are ahead of this program's, if the region has the node's time namespace."""
    namespace, mono_offset, boot_offset = region.time_record[:3]
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as file:
            own = {name: int(s) * 10**9 + int(ns) for name, s, ns in map(str.split, file)}
    except OSError:
        return None
    return (mono_offset - own["monotonic"], boot_offset - own["boottime"]) if namespace else None


def monotonic_ahead(region):
    """How far the node's monotonic clock is ahead, also by the node's process; None if unknown."""
    ahead = recorded_ahead(region)
    if ahead is not None:
        return ahead[0]
    try:
        own = os.stat("/proc/self/ns/time").st_ino
    except FileNotFoundError:
        return 0
    try:
        is_seen = region.pid_namespace == os.stat("/proc/self/ns/pid").st_ino
        return 0 if is_seen and os.stat(f"/proc/{region.pid}/ns/time").st_ino == own else None
    except OSError:
        return None


def has_mapped(region, descriptor):
    """Whether the node's process has the file mapped, or may have it mapped."""
    file = os.fstat(descriptor)
    try:
        with open(f"/proc/{region.pid}/maps", encoding="utf-8", errors="replace") as maps:
            mapped = [line.split() for line in maps]
    except PermissionError:
        return True
    except OSError:
        return False
    return any(fields[1][1] == "w" and fields[1][3] == "s" and int(fields[4]) == file.st_ino for fields in mapped)


class End:
    """EndRecord and HistoryRecord of a dead node."""

    def __init__(self, region, state):
        words = region.words
        self.is_noted = False
        for _ in range(TRIES):
            before = words.load(512)
            record = struct.pack("<10Q", *(words.load(520 + 8 * word) for word in range(10)))
            if words.load(512) == before:
                self.is_noted = before % 2 == 0
                break
        fields = struct.unpack("<5Q16s3Q", record)
        self.kind, self.code, self.unix_ns, self.mono_ns, self.tid = fields[:5]
        self.thread = fields[5].split(b"\0")[0].decode(errors="replace")
        self.sender, self.address, flags = fields[6:]
        self.panicked, self.has_address = bool(flags & 1), bool(flags & 2)
        beats, beaten = region.beat(256)
        survived = self.kind == SIGNAL and beats and beaten > self.mono_ns + 1_000_000_000
        self.is_noted = self.is_noted and self.kind in (EXIT, SIGNAL, UNKNOWN) and not survived
        is_failure = self.panicked or self.kind == SIGNAL or self.kind == EXIT and self.code != 0
        self.is_failure = self.is_noted and is_failure
        self.crashes, self.first_ns, self.newest_ns = (words.load(at) for at in (192, 200, 208))
        self.crashed_ns = None
        if self.is_failure:
            self.crashed_ns = self.unix_ns
        elif state != CLOSED:
            lived = max(beaten - region.time_record[3], 0) if beats else 0
            self.crashed_ns = region.created_unix_ns + lived

    def signal(self):
        return SIGNALS.get(self.code, f"signal {self.code}")

    def words(self):
        """How the node ended; None if that is not known, or nothing to tell."""
        name = self.thread or (str(self.tid) if self.tid else "")
        thread = f" in thread {name}" if name else ""
        panic = f" after a panic{thread}" if self.panicked else ""
        if not self.is_noted or self.kind == EXIT and self.code == 0 and not self.panicked:
            return None
        if self.kind == EXIT:
            return f"ended with exit code {self.code}{panic}"
        if self.kind == UNKNOWN:
            return f"ended{panic} with an unknown exit code"
        if self.sender:
            return f"ended by {self.signal()} from process {self.sender}"
        address = f" at address {self.address:#x}" if self.has_address else ""
        return f"ended by {self.signal()}{address}{thread}"

    def which_crash(self):
        if self.crashed_ns is None or not self.crashes:
            return []
        number = self.crashes + 1
        suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
        within = self.crashed_ns - self.first_ns
        return [f"{number}{suffix} crash" + (f" in {duration(within)}" if within >= 0 else "")]

    def json(self):
        if not self.is_noted:
            return None
        is_signal = self.kind == SIGNAL
        return {
            "kind": {EXIT: "exit", SIGNAL: "signal", UNKNOWN: "unknown"}[self.kind],
            "code": self.code if self.kind == EXIT else None,
            "signal": self.signal() if is_signal else None,
            "sender": self.sender if is_signal and self.sender else None,
            "address": f"{self.address:#x}" if is_signal and self.has_address else None,
            "closed_in_panic": self.panicked,
            "tid": self.tid or None,
            "thread": self.thread or None,
            "at": rfc3339(self.unix_ns),
        }

    def json_before(self):
        if not self.crashes:
            return None
        first, newest = rfc3339(self.first_ns), rfc3339(self.newest_ns)
        return {"crashes": self.crashes, "first_at": first, "newest_at": newest}


def duration(ns):
    ms, s = ns // 1_000_000, ns // 1_000_000_000
    if s < 60:
        return f"{ms / 1000:.1f} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    if s < 86_400:
        return f"{s // 3600} h {s // 60 % 60} min"
    return f"{s // 86_400} d {s // 3600 % 24} h"


def judge(region, lock, process, same_boot, state, is_mapped):
    ahead = monotonic_ahead(region)
    now = None if ahead is None else time.clock_gettime_ns(time.CLOCK_MONOTONIC) + ahead

    def age(offset):
        count, mono_ns = region.beat(offset)
        known = now is not None and count > 0 and (lock is True or is_mapped or same_boot is not False)
        return max(now - mono_ns, 0) if known else None

    process_age, runtime_age = age(256), age(384)
    beats, beaten = region.beat(256)
    conditions = region.words.load(136) & CONDITIONS
    notes = conditions
    if lock is False and is_mapped:
        lives, evidence = True, 2
        notes |= LOCK_LOST
    elif lock is False and process == "unseen" and same_boot and beats and 0 <= now - beaten <= STALE_NS:
        lives, evidence = True, 3
        notes |= LOCK_FREE
    elif lock is not None:
        lives, evidence = lock, 1
    elif process != "unseen":
        lives, evidence = process is not None and process not in "ZX", 2
    else:
        is_fresh = now is None or process_age is not None and process_age <= STALE_NS
        lives = same_boot is not False and is_fresh
        evidence = 3
    if state == CLOSED:
        verdict = 17 if End(region, state).is_failure else 7
    elif not lives:
        verdict = 8
    elif process in ("T", "t"):
        verdict = 3
    elif process_age is not None and process_age > STALE_NS:
        verdict = 4
    elif state == STARTING:
        verdict = 1
    elif state == STOPPING or conditions & RUNTIME_DROPPED:
        verdict = 6
    elif runtime_age is not None and runtime_age > STALE_NS:
        verdict = 5
    else:
        verdict = 2
    if verdict in (7, 17):
        notes &= ~(RUNTIME_DROPPED | SYSTEM_DROPPED | LOCK_LOST | LOCK_FREE)
        if lock is False and is_mapped:
            notes |= PROCESS_RUNS
    totals = region.totals()
    is_certain = totals["foreign"] == 0 and not totals["inexact"]
    is_certain = is_certain and region.counter(EARLY_STOPS) == region.counter(EARLY_STOPS_DONE)
    is_bare = totals["spawned"] > 0 and totals["live"] == 0 and is_certain
    if verdict == 2 and state == RUNNING and is_bare and not conditions & SYSTEM_DROPPED:
        notes |= NO_ACTOR_LEFT
    return verdict, notes, evidence, process_age, runtime_age


def liveness(region, descriptor):
    lock = lock_is_held(descriptor)
    state = region.words.load(128)
    same_boot = None
    if region.boot_id != bytes(16):
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                same_boot = bytes.fromhex(file.read().strip().replace("-", "")) == region.boot_id
        except OSError:
            pass
    process = process_of(region)
    is_there = process not in (None, "unseen", "Z", "X")
    is_mapped = lock is False and is_there and has_mapped(region, descriptor)
    if process == "unseen" and os.stat("/proc/self/ns/pid").st_ino == FIRST_PID_NAMESPACE and lock is False:
        process = None
    return judge(region, lock, process, same_boot, state, is_mapped)


class Source:
    """A file: a region or a raw dump."""

    def __init__(self, path):
        self.file = open(path, "rb")
        size = os.fstat(self.file.fileno()).st_size
        start = self.file.read(96)
        self.raw = start[:8] == b"ATOMSRAW"
        if self.raw:
            (
                version,
                header_bytes,
                region_bytes,
                self.taken_unix_ns,
                self.pid,
                verdict,
                evidence,
                *ages,
                self.flags,
                notes,
            ) = struct.unpack("<11Q", start[8:])
            if version >> 32 != 1 or header_bytes != HEADER_BYTES or region_bytes + HEADER_BYTES > size:
                raise Refused("corrupt or incompatible dump")
            if verdict not in VERDICTS or evidence not in EVIDENCE:
                raise Refused("corrupt dump")
            self.liveness = (verdict, notes, evidence, *(None if age == NEVER else age for age in ages))
            self.file.seek(HEADER_BYTES)
            self.region = Region(Words(self.file.read(region_bytes), 0, region_bytes))
        else:
            self.flags = 1
            mapped = mmap.mmap(self.file.fileno(), size, prot=mmap.PROT_READ) if size else b""
            self.region = Region(Words(mapped, 0, size))
            self.pid = self.region.pid
            self.liveness = liveness(self.region, self.file.fileno())

    def dump(self):
        region = self.region
        totals = region.totals()
        actors = region.actors()
        at_rest = bool(self.flags & 1) and region.totals() == totals
        recent, letters = region.dead_letters()
        failures, failures_unreadable = region.failures()
        panics, panic_totals = region.panics()
        subsystems, more = region.subsystems()
        generated_at = rfc3339(self.taken_unix_ns if self.raw else time.time_ns())
        verdict, notes, evidence, process_age, runtime_age = self.liveness
        state = VERDICTS[verdict][0]
        notes = [note for bit, note in enumerate(NOTES) if notes >> bit & 1]
        end, why = self.end_and_why()
        (polls, polled), (_, beaten) = region.beat(1792), region.beat(256)
        poll_age, is_stuck = None, False
        if polls and process_age is not None:
            behind = max(beaten - polled, 0)
            poll_age = min(process_age + behind, 2**64 - 1)
            is_beating = state in ("starting", "live", "wedged", "stopping") and process_age <= STALE_NS
            is_stuck = is_beating and behind > region.counter(POLL_INTERVAL) + STALE_NS
        flat, counted = actors["flat"], actors["counted"]
        threads, threads_unreadable = region.runtime_threads()
        known = max(len(flat) + counted["unlisted"] + totals["untracked"] - counted["waiting_stops"], 0)
        about = {
            "state": state,
            "why": why,
            "conditions": [name for name, _ in notes],
            "liveness": EVIDENCE[evidence],
            "end": end.json() if verdict in DEAD else None,
            "crashes_before": end.json_before(),
            "pid": self.pid,
            "uid": region.uid,
            "system": region.words.text_cell(896, 256),
            "program": region.words.text_cell(1152, 512) or "",
            "writer_version": region.words.text_cell(1664, 128) or "",
            "layout_version": f"{region.version[0]}.{region.version[1]}",
            "created_at": rfc3339(region.created_unix_ns),
            "process_beat_age_ms": None if process_age is None else process_age // 1_000_000,
            "runtime_beat_age_ms": None if runtime_age is None else runtime_age // 1_000_000,
            "poll_beat_age_ms": None if poll_age is None else poll_age // 1_000_000,
            "poll_stuck": is_stuck,
            # This comes from the kernel, not from the region.
            "process": None,
            "totals": totals,
            "drift": min(max(totals["live"] - known, -(2**63)), 2**63 - 1),
            "at_rest": at_rest,
            **counted,
            "dead_letters": letters,
            "failures": failures,
            "failures_unreadable": failures_unreadable,
            "panics": panics,
            "panic_totals": panic_totals,
            "metrics": region.metrics(),
            "instruments": region.instruments(actors),
            "runtime_threads": threads,
            "runtime_threads_unreadable": threads_unreadable,
            "records": region.own_records(),
            **more,
            "redacted": bool(self.flags & 2),
        }
        if self.raw:
            about["dumped_at"] = generated_at
        return {
            "node": region.words.text_cell(640, 256) or "",
            "generated_at": generated_at,
            "actors": {"total": len(flat) + counted["unlisted"], "roots": trees(flat), "flat": flat},
            "dead_letters": recent,
            **subsystems,
            "atomscope": about,
        }

    def end_and_why(self):
        end = End(self.region, self.region.words.load(128))
        verdict, notes = self.liveness[:2]
        reason, which = VERDICTS[verdict][1], []
        if verdict in DEAD:
            reason, which = end.words() or reason, end.which_crash()
        texts = [text for bit, (_, text) in enumerate(NOTES) if notes >> bit & 1]
        return end, "; ".join([reason] * (reason is not None) + which + texts) or None

    def follow(self, rounds):
        follower = Follower(self.region, from_first=True)
        for _ in range(rounds or 1):
            yield from follower.next_batch(is_last=False)
            time.sleep(0.01)
        yield from follower.accounts()

    def tail(self, most, from_first):
        about = {"node": self.region.words.text_cell(640, 256) or "", "pid": self.pid}
        lines = [line | about for line in Follower(self.region, from_first).next_batch(is_last=True)]
        if most is not None:
            events = [at for at, line in enumerate(lines) if line["kind"] != "lost"]
            first = len(lines) if most == 0 else events[-most] if len(events) >= most else 0
            lines = lines[first:]
        state = VERDICTS[self.liveness[0]][0]
        if self.liveness[0] in DEAD and not self.raw:
            _, why = self.end_and_why()
            lines.append({"kind": "ended", **about, "state": state, "why": why})
        return lines


def main():
    parser = argparse.ArgumentParser(description="Reads an atomscope region or raw dump.")
    parser.add_argument("what", choices=("dump", "tail", "follow"))
    parser.add_argument("file")
    parser.add_argument("-n", type=int, metavar="N", help="maximum number of events that tail prints, or number of rounds of follow")
    parser.add_argument("--first", action="store_true", help="also count the events that the rings no longer hold as lost")
    arguments = parser.parse_args()
    try:
        source = Source(arguments.file)
        if arguments.what == "dump":
            lines = [source.dump()]
        elif arguments.what == "tail":
            lines = source.tail(arguments.n, arguments.first)
        else:
            lines = source.follow(arguments.n)
    except (OSError, Refused) as why:
        sys.exit(f"{arguments.file}: {why}")
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
