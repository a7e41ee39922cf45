//! Panics, and errors and warnings that were logged.

use std::cmp::Reverse;
use std::time::Duration;

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::{ClassStats, Failure, Moment, Panic};
use atomscope_layout::metrics::Builtin;
use serde::Serialize;

use super::subsystem::{Fact, Subsystem, ViewText, counted, no_warnings, number};
use crate::report::human::{count, duration, seconds};
use crate::report::list::{self, Column, List, Value, text};
use crate::snapshot::Snapshot;
use crate::text::clean;

/// The failure log and the newest panics.
pub const FAILURES: Subsystem = Subsystem {
    name: "failures",
    title: "Failures",
    content: "failures",
    about: "List the different failures of a node: panics, logged errors and warnings",
    notes: "A failure is listed once, with its COUNT, however often it happens: digits in its message do not make it \
            another one. FIRST(s) and LAST(s) are the time since it happened first and last; its texts are those of the \
            first time. Panics are also listed one by one: without --limit the newest five. Panics that were caught count \
            too. FAILURES of a class are its handlers that panicked or unwound, by what its instrumented actors count. Errors and warnings are known of a program that has installed the probe's `FailureLayer`. ACTOR and CLASS \
            are known of actors that the probe has spawned. JSON, and the details in `top`, have the target of a log line.",
    examples: &[
        "atomscope failures shop --filter 'severity = panic and last < 10m'",
        "atomscope failures --json | jq '.failures[] | {count, message, location}'",
    ],
    view: ViewText {
        name: "failures",
        title: "Failures",
        key: 'F',
        help: "panics, and logged errors and warnings",
    },
    instances: &[],
    shown_with: &[Attachment::PanicHook, Attachment::FailureLayer],
    is_one_list: false,
    lists,
    summary,
    gaps,
    warnings: no_warnings,
    failures: &[
        (Builtin::Panics, "panic", "panics"),
        (Builtin::Errors, "error was logged", "errors were logged"),
    ],
};

/// Panics that people see without `--limit`.
const PANICS: usize = 5;
/// Classes that a sentence names.
const CLASSES: usize = 5;
/// Characters of a message in a sentence.
const MESSAGE_CHARS: usize = 200;

fn lists(_: &Subsystem, snapshot: Option<&Snapshot>) -> Vec<List> {
    let optional = |text: &Option<String>| Value::of(text.as_deref(), Value::text);
    let age =
        |at| Value::of(snapshot.and_then(|snapshot| age(snapshot, at)), |age| Value::Float(seconds(age)));
    let log = snapshot.iter().flat_map(|snapshot| &snapshot.failures.log).map(|failure| {
        let Failure { number, severity, count, first, last, message, location, .. } = failure;
        vec![
            Value::Number((*number).into()),
            Value::text(severity.name()),
            Value::Number(*count),
            age(failure.last_at),
            optional(message),
            optional(location),
            optional(&failure.actor),
            optional(&failure.class),
            optional(&failure.thread),
            age(failure.first_at),
            optional(&failure.target),
            Value::text(first),
            Value::text(last),
        ]
    });
    let columns = [
        list::number("number", ""),
        text("severity"),
        list::number("count", ""),
        list::number("last_s", "s"),
        text("message"),
        text("location"),
        text("actor"),
        text("class"),
        text("thread"),
        list::number("first_s", "s"),
        hidden("target"),
        hidden("first"),
        hidden("last"),
    ];
    let log = List::new("failures", "FAILURE", columns, log);
    let panics = snapshot.iter().flat_map(|snapshot| &snapshot.failures.panics).map(|panic| {
        let Panic { seq, timestamp, failure, tid, thread, message, location, actor, class, at } = panic;
        vec![
            Value::Number(*seq),
            age(*at),
            optional(message),
            optional(location),
            optional(thread),
            optional(actor),
            optional(class),
            Value::of(*failure, |number| Value::Number(number.into())),
            Value::of(*tid, |tid| Value::Number(tid.into())),
            Value::text(timestamp),
        ]
    });
    let columns = [
        list::number("seq", ""),
        list::number("age_s", "s"),
        text("message"),
        text("location"),
        text("thread"),
        text("actor"),
        text("class"),
        list::number("failure", ""),
        Column { is_shown: false, ..list::number("tid", "") },
        hidden("timestamp"),
    ];
    let panics = List::new("panics", "PANIC", columns, panics);
    let by_class = snapshot.map(by_class).unwrap_or_default().into_iter().map(|of| {
        vec![
            Value::Text(of.class),
            Value::Number(of.failures),
            Value::of(of.newest_s, Value::Float),
            Value::of(of.newest_message, Value::Text),
        ]
    });
    let columns =
        [text("class"), list::number("failures", ""), list::number("newest_s", "s"), text("newest_message")];
    let by_class = List::new("failures_by_class", "CLASS", columns, by_class);
    vec![log, List { few: PANICS, ..panics }, by_class]
}

/// A column of JSON and of details.
const fn hidden(name: &'static str) -> Column {
    Column { is_shown: false, ..text(name) }
}

/// How long before the time of the snapshot; of a dead node, before its end.
fn age(snapshot: &Snapshot, at: Option<Moment>) -> Option<Duration> {
    snapshot.until?.since(&at?)
}

/// How long ago a failure happened last; `None` if that is unknown.
pub fn last_age(snapshot: &Snapshot, failure: &Failure) -> Option<Duration> {
    age(snapshot, failure.last_at)
}

/// The newest occurrence of a panic, if it is still kept.
fn newest_panic<'a>(snapshot: &'a Snapshot, failure: &Failure) -> Option<&'a Panic> {
    snapshot.failures.panics.iter().find(|panic| panic.failure == Some(failure.number))
}

/// The message of the newest occurrence. Where only that of the first one is kept, it differs in its digits at most.
fn newest_message<'a>(snapshot: &'a Snapshot, failure: &'a Failure) -> Option<&'a str> {
    newest_panic(snapshot, failure).map_or(&failure.message, |panic| &panic.message).as_deref()
}

/// The newest occurrence of a failure in words: `panic 3.0 s ago at src/oven.rs:7:9 on thread shop-worker: it is cold`. Safe to print.
pub fn describe(snapshot: &Snapshot, failure: &Failure) -> String {
    let Failure { severity, location, .. } = failure;
    let message = newest_message(snapshot, failure);
    // Actor and thread of the first occurrence need not be those of the newest.
    let panic = newest_panic(snapshot, failure);
    let actor = panic.and_then(|panic| panic.actor.as_deref());
    let thread = panic.and_then(|panic| panic.thread.as_deref());
    let age = last_age(snapshot, failure).map(|age| format!(" {} {}", duration(age), since(snapshot)));
    let location = location.as_deref().map(|location| format!(" at {}", clean(location)));
    let actor = actor.map(|actor| format!(" in {}", clean(actor)));
    let thread = thread.map(|thread| format!(" on thread {}", clean(thread)));
    let message = message.map(end_of_sentence);
    let details = [age, location, actor, thread, message].into_iter().flatten();
    std::iter::once(severity.name().to_owned()).chain(details).collect()
}

/// What an age is counted to, as the end of a sentence.
fn since(snapshot: &Snapshot) -> &'static str {
    let is_dead = snapshot.dump_info.is_none() && !snapshot.liveness.verdict.is_alive();
    if is_dead { "before its end" } else { "ago" }
}

/// A message as the end of a sentence. Safe to print.
fn end_of_sentence(message: &str) -> String {
    let end = message.char_indices().nth(MESSAGE_CHARS).map_or(message.len(), |(end, _)| end);
    let mark = if end < message.len() { "…" } else { "" };
    format!(": {}{mark}", clean(message.get(..end).unwrap_or_default()))
}

/// The handlers of a class of instrumented actors that panicked, or unwound without a panic that the hook has seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassFailures {
    /// The class; not safe to print.
    pub class: String,
    /// How many there were, by what its actors counted.
    pub failures: u64,
    /// How long ago the newest panic was, in seconds; `None` if none is kept.
    pub newest_s: Option<f64>,
    /// Its message; not safe to print.
    pub newest_message: Option<String>,
    /// In words that are safe to print: `shop::Baker: 214 failures, newest panic 3.0 s ago: it is cold`.
    #[serde(skip)]
    pub text: String,
}

/// The classes of instrumented actors whose handlers have failed, those with most failures first.
pub fn by_class(snapshot: &Snapshot) -> Vec<ClassFailures> {
    let of_class = |stats: &ClassStats| {
        let class = stats.class.clone().filter(|_| stats.failures > 0)?;
        let newest = snapshot.failures.panics.iter().find(|panic| panic.class.as_ref() == Some(&class));
        let newest_age = newest.and_then(|panic| age(snapshot, panic.at));
        let message = newest.and_then(|panic| panic.message.clone());
        let said = newest_age.map(|age| format!(", newest panic {} {}", duration(age), since(snapshot)));
        let said = said.map(|said| said + &message.as_deref().map(end_of_sentence).unwrap_or_default());
        let text = format!(
            "{}: {}{}",
            clean(&class),
            count(stats.failures, "failure", "failures"),
            said.unwrap_or_default()
        );
        Some(ClassFailures {
            class,
            failures: stats.failures,
            newest_s: newest_age.map(seconds),
            newest_message: message,
            text,
        })
    };
    let mut all: Vec<_> = snapshot.instruments.classes.iter().filter_map(of_class).collect();
    all.sort_by_key(|class| Reverse(class.failures));
    all
}

/// How many handlers of instrumented actors have failed, and that in words that are safe to print: `handlers failed 145 times:
/// shop::Charge 89, shop::Stock 56`.
pub fn failed_handlers(snapshot: &Snapshot) -> (u64, String) {
    let classes = by_class(snapshot);
    let all = snapshot.instruments.classes.iter().map(|stats| stats.failures).fold(0, u64::saturating_add);
    let named = classes.iter().take(CLASSES).map(|of| format!("{} {}", clean(&of.class), of.failures));
    let mut named: Vec<String> = named.collect();
    let more = classes.len().saturating_sub(CLASSES) as u64;
    named.extend((more > 0).then(|| count(more, "more class", "more classes")));
    let named = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
    (all, format!("handlers failed {}{named}", count(all, "time", "times")))
}

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let known = |metric| snapshot.builtin_if_known(metric);
    let panics = known(Builtin::Panics);
    let (errors, warnings) = (known(Builtin::Errors), known(Builtin::Warnings));
    let log = &snapshot.failures.log;
    let newest = log.first();
    let newest_text = newest.map(|newest| format!("; newest: {}", describe(snapshot, newest)));
    let (failed, failed_text) = failed_handlers(snapshot);
    // A handler that unwinds without the panic hook is counted by its class alone.
    let noted = if panics.is_some_and(|panics| failed > panics) { " noted" } else { "" };
    let failed_text = if failed > 0 { format!("; {failed_text}") } else { String::new() };
    let line = format!(
        "{}{noted}, {}, {}{failed_text}{}",
        counted(panics, "panic", "panics"),
        counted(errors, "error", "errors"),
        counted(warnings, "warning", "warnings"),
        newest_text.unwrap_or_default()
    );
    let facts = vec![
        number("panics", panics),
        number("errors", errors),
        number("warnings", warnings),
        number("failed_handlers", (!snapshot.instruments.classes.is_empty()).then_some(failed)),
        number("different", Some(log.len() as u64)),
        (
            "newest_s",
            Value::of(newest.and_then(|newest| last_age(snapshot, newest)), |age| Value::Float(seconds(age))),
        ),
        ("newest_severity", Value::of(newest, |newest| Value::text(newest.severity.name()))),
        (
            "newest_message",
            Value::of(newest.and_then(|newest| newest_message(snapshot, newest)), Value::text),
        ),
    ];
    (line, facts)
}

fn gaps(snapshot: &Snapshot) -> Vec<(u64, &'static str)> {
    let failures = &snapshot.failures;
    vec![
        (
            snapshot.builtin(Builtin::FailuresUnlisted),
            "times no slot was free for another failure: a region with more `failures` lists them",
        ),
        (failures.unreadable, "records of the failure log are unreadable"),
        (
            failures.panics_unreadable.saturating_add(failures.panics_abandoned),
            "of the newest panics are unreadable",
        ),
    ]
}
