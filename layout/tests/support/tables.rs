//! The tables of LAYOUT.md, for the tests that compare the code and the C header with them.
#![allow(clippy::panic, reason = "only tests use this")]

pub const DOCUMENT: &str = include_str!("../../LAYOUT.md");

/// The text under a heading, up to the next heading.
pub fn chapter<'a>(document: &'a str, heading: &str) -> &'a str {
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`"));
    let body = &document[start + heading.len() + 2..];
    &body[..body.find("\n#").map_or(body.len(), |end| end + 1)]
}

/// The cells of the table under `heading` whose first columns have these names, without backquotes.
pub fn table(heading: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let head = format!("| {} |", columns.join(" | "));
    let mut lines =
        chapter(DOCUMENT, heading).lines().skip_while(|line| !line.starts_with(&head[..head.len() - 1]));
    assert!(lines.next().is_some(), "no table `{head}` under `{heading}`");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|').replace("\\|", "\u{0}");
        row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{0}', "|")).collect()
    };
    rows.map(cells).collect()
}

/// A field: its name, offset and bytes.
pub type Field = (String, usize, usize);

/// The fields of the record under `heading`, as the document has them.
pub fn documented(heading: &str) -> Vec<Field> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` under `{heading}`"));
    let rows = table(heading, &["field", "offset", "bytes", "meaning"]);
    rows.into_iter().map(|row| (row[0].clone(), number(&row[1]), number(&row[2]))).collect()
}

/// Names and numbers of a table of two such columns.
pub fn numbers(heading: &str, columns: &[&str]) -> Vec<(String, usize)> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` under `{heading}`"));
    table(heading, columns).into_iter().map(|row| (row[0].clone(), number(&row[1]))).collect()
}
