//! Help texts that several commands share.

/// How WHO selects a node.
pub const WHO_HELP: &str = "\
WHO:
  4711            the node in process 4711
  4711/orders     its actor system `orders`, if it has several
  ./node.raw      a file: a path with a `/`, or a name that ends in .raw or .rec; as --region PATH
  shop            the node with this name
  (left out)      the only node
  A live node is preferred, then a newer one; if there was a choice, stderr names the node.";

/// Examples of filters, and their meanings.
pub const FILTER_HELP: &[(&str, &str)] = &[
    ("order", "a regular expression over texts; capitals make it case-sensitive"),
    ("!order", "rows that do not match"),
    ("depth > 100 and class ~ Order", "conditions: > >= < <= = != ~ !~, and, or, not, parentheses"),
    ("age > 5m or inbound >= 1.5M", "units us ms s m h d, K M G T; default: the unit of the column"),
    ("depth = -", "rows whose value is unknown; no other condition matches them"),
];

/// [`FILTER_HELP`] as a section of a command's help.
pub fn filter_help() -> String {
    let widest = FILTER_HELP.iter().map(|(filter, _)| filter.len()).max().unwrap_or(0);
    let lines = FILTER_HELP.iter().map(|(filter, meaning)| format!("  {filter:widest$}  {meaning}\n"));
    format!("Filters:\n{}", lines.collect::<String>())
}
