//! What several help texts say alike.

pub const WHO_HELP: &str = "\
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
pub fn filter_help() -> String {
    let widest = FILTER_HELP.iter().map(|(filter, _)| filter.len()).max().unwrap_or(0);
    let lines = FILTER_HELP.iter().map(|(filter, means)| format!("  {filter:widest$}  {means}\n"));
    format!("Filters:\n{}", lines.collect::<String>())
}
