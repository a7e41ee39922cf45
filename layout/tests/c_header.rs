//! The C header says what `LAYOUT.md` says: its structs and constants are made of the tables there, which `document.rs`
//! compares with the code. `ATOMSCOPE_BLESS=1` writes them again.

#![cfg(not(atomscope_loom))]
#![allow(clippy::panic, reason = "only tests use this")]

mod support;

use std::fmt::Write as _;

use support::tables::{DOCUMENT, chapter, documented, numbers, table};

const HEADER: &str = include_str!("../include/atomscope.h");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/atomscope.h");
const BEGIN: &str = "/* Made of the tables in LAYOUT.md by layout/tests/c_header.rs. Do not edit. */\n";
const END: &str = "/* End of what is made. */\n";

/// Fields of several bytes that are an array of words. All other such fields are bytes.
const WORDS: [&str; 4] = ["key", "numbers", "owner", "parent_key"];

/// `CellRecord` as `cell_record`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// A name as a part of a constant's name.
fn upper(name: &str) -> String {
    let is_upper = !name.contains(|c: char| c.is_lowercase());
    let snake = if is_upper { name.to_owned() } else { snake(name) };
    snake.replace([' ', '.', '-'], "_").to_uppercase()
}

fn constants<V: std::fmt::Display>(
    text: &mut String,
    prefix: &str,
    of: impl IntoIterator<Item = (String, V)>,
) {
    for (name, value) in of {
        let _ = writeln!(text, "#define ATOMSCOPE_{prefix}{} {value}", upper(&name));
    }
    text.push('\n');
}

/// Name and number of the first two columns, in either order.
fn pairs(heading: &str, columns: [&str; 2]) -> Vec<(String, String)> {
    let number = usize::from(columns[1] == "number" || columns[1] == "bit");
    table(heading, &columns).into_iter().map(|row| (row[1 - number].clone(), row[number].clone())).collect()
}

fn structure(text: &mut String, heading: &str) {
    let name = snake(heading.trim_start_matches("### "));
    let meanings = table(heading, &["field", "offset", "bytes", "meaning"]);
    let fields = documented(heading);
    let _ = writeln!(text, "struct atomscope_{name} {{");
    let mut asserts = String::new();
    for ((field, offset, bytes), row) in fields.iter().zip(&meanings) {
        // `class` is a word of C++.
        let c_name = if field == "class" { "class_" } else { field };
        let (array, first) = field.split_once('[').map_or((c_name, true), |(array, at)| (array, at == "0]"));
        let sign = if row[3].contains("; signed") { "" } else { "u" };
        let declared = match bytes {
            // All elements are declared with the first one.
            _ if !first => None,
            1 | 2 | 4 | 8 if field != c_name || !field.contains('[') => {
                Some(format!("{sign}int{}_t {c_name};", bytes * 8))
            }
            2 => {
                let count = fields.iter().filter(|(name, ..)| name.starts_with(&format!("{array}["))).count();
                Some(format!("uint16_t {array}[{count}];"))
            }
            _ if WORDS.contains(&array) => Some(format!("uint64_t {c_name}[{}];", bytes / 8)),
            _ => Some(format!("unsigned char {c_name}[{bytes}];")),
        };
        text.extend(declared.map(|line| format!("    {line}\n")));
        let _ = writeln!(
            asserts,
            "ATOMSCOPE_ASSERT(offsetof(struct atomscope_{name}, {c_name}) == {offset}, \"{name}.{field}\");"
        );
    }
    let bytes = fields.last().map_or(0, |(_, offset, bytes)| offset + bytes);
    let size = format!("ATOMSCOPE_ASSERT(sizeof(struct atomscope_{name}) == {bytes}, \"{name}\");");
    let _ = writeln!(text, "}};\n{asserts}{size}\n");
}

/// All headings of records with fields.
fn records() -> impl Iterator<Item = &'static str> {
    let headings = DOCUMENT.lines().filter(|line| line.starts_with("### "));
    headings.filter(|heading| chapter(DOCUMENT, heading).contains("| field | offset | bytes | meaning |"))
}

/// The part of the header between the marks.
fn made() -> String {
    let mut text = String::new();
    let (_, version) = DOCUMENT.split_once("\nVersion ").unwrap_or_else(|| panic!("no version"));
    let (major, minor) = version.split_once('.').unwrap_or_else(|| panic!("no version"));
    let minor = minor.split('.').next().unwrap_or_default();
    constants(&mut text, "VERSION_", [("major".to_owned(), major), ("minor".to_owned(), minor)]);
    let limits = numbers("## Conventions", &["limit", "value"]);
    constants(&mut text, "", limits.into_iter().filter(|(name, _)| name.starts_with("MAX_")));
    text.push_str("/* Where a field of the header begins. */\n");
    constants(
        &mut text,
        "HEADER_",
        documented("## The header").into_iter().map(|(name, offset, _)| (name, offset)),
    );
    text.push_str("/* Sections, and of each its number, its least count and its least stride. */\n");
    let sections = table("## The sections", &["id", "section", "least count", "least stride", "stride"]);
    constants(&mut text, "SECTION_", sections.iter().map(|row| (row[1].clone(), row[0].clone())));
    text.push_str("#define ATOMSCOPE_SECTIONS(X)");
    for row in &sections {
        let _ = write!(text, " \\\n    X({}, {}, {})", row[0], row[2], row[3]);
    }
    let last = sections.iter().filter_map(|row| row[0].parse::<usize>().ok()).max();
    let _ = writeln!(text, "\n#define ATOMSCOPE_LAST_SECTION {}\n", last.unwrap_or_default());
    constants(&mut text, "STATE_", pairs("## State and verdict", ["state", "number"]));
    constants(&mut text, "CONDITION_", pairs("## State and verdict", ["condition", "bit"]));
    constants(&mut text, "SLOT_", pairs("### Control word", ["state", "number"]));
    constants(&mut text, "END_", pairs("### EndRecord", ["kind", "number"]));
    constants(&mut text, "SEVERITY_", pairs("### FailureRecord", ["severity", "number"]));
    constants(&mut text, "EVENT_", pairs("### EventRecord", ["kind", "number"]));
    constants(&mut text, "DOMAIN_", pairs("### InstanceRecord", ["domain", "number"]));
    constants(&mut text, "MODE_", pairs("### CellRecord", ["mode", "number"]));
    constants(&mut text, "TYPE_", pairs("### FieldRecord", ["type", "number"]));
    constants(&mut text, "ATTACHMENT_", attachments());
    text.push_str("/* Flags, as the numbers of their bits. */\n");
    for (heading, prefix) in [
        ("### ActorRecord", "ACTOR_FLAG_"),
        ("### LetterRecord", "LETTER_FLAG_"),
        ("### EventRecord", "EVENT_FLAG_"),
        ("### FailureRecord", "FAILURE_FLAG_"),
        ("### EndRecord", "END_FLAG_"),
    ] {
        let bits = numbers(heading, &["flag", "bit"]);
        for (name, bit) in bits {
            let _ = writeln!(text, "#define ATOMSCOPE_{prefix}{name} {bit}");
        }
        text.push('\n');
    }
    text.push_str("/* The numbers of the built-in metrics. */\n");
    constants(&mut text, "METRIC_", pairs("### MetricRecord", ["number", "name"]));
    records().for_each(|heading| structure(&mut text, heading));
    text
}

/// The bits of attachments, by what they count first: their names are calls.
fn attachments() -> Vec<(String, String)> {
    let rows =
        table("## Attachments and known numbers", &["bit", "attachment", "metrics", "numbers of instances"]);
    let name = |text: &str| {
        let call = text.split(',').next().unwrap_or_default();
        call.replace("::", "_").replace('.', "_")
    };
    rows.into_iter().map(|row| (snake_call(&name(&row[1])), row[0].clone())).collect()
}

/// A call is in snake case already, or a type.
fn snake_call(call: &str) -> String {
    if call.contains('_') { call.to_lowercase() } else { snake(call) }
}

#[test]
fn the_c_header_has_what_the_tables_say() {
    let (before, rest) = HEADER.split_once(BEGIN).unwrap_or_else(|| panic!("no mark where it begins"));
    let (old, after) = rest.split_once(END).unwrap_or_else(|| panic!("no mark where it ends"));
    let new = format!("\n{}", made());
    if std::env::var_os("ATOMSCOPE_BLESS").is_some() {
        let written = std::fs::write(PATH, format!("{before}{BEGIN}{new}{END}{after}"));
        written.unwrap_or_else(|why| panic!("{PATH}: {why}"));
    } else {
        assert!(old == new, "the header is out of date: run with ATOMSCOPE_BLESS=1");
    }
}
