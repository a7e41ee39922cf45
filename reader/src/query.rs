//! Queries over rows: a regular expression over their texts, or conditions on their fields.
//!
//! ```text
//!   query      = "" | ["~"] regex | "!" query | condition
//!   condition  = conjunction { "or" conjunction }
//!   conjunction = term { "and" term }
//!   term       = ("not" | "!") term | "(" condition ")" | field operator value
//!   operator   = ">" | ">=" | "<" | "<=" | "=" | "==" | "!=" | "~" | "!~"
//!   value      = number [unit] | word | "'" text "'" | '"' text '"' | "-"
//! ```
//! A text that begins with a word and an operator is a condition; a `~` in front makes it a regular expression all the same.
//! Names of fields, `and`, `or` and `not` may be in capitals. Expressions without a capital letter match both cases. A number
//! without a unit has the unit in which the field is shown. Units are `us ms s m h d` for times, `B K M G T` for bytes (powers
//! of 1024), and `K M G T` for plain numbers (powers of 1000). `-` stands for an unknown value, which fulfils no condition
//! except `= -`.
//!
//! A person types the text, so its length is limited, and a match takes time linear in the texts of the row.

use std::borrow::Cow;
use std::fmt;

use regex::{Regex, RegexBuilder};

/// Limit of a query in bytes.
pub const MAX_BYTES: usize = 4096;
/// Limit of nested parentheses and negations.
const MAX_NESTED: usize = 64;
/// Limit of the memory of a compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldType {
    /// Numbers. In a query, a number without a unit is in the unit in which the field is shown.
    Number {
        /// The unit in which rows hold them.
        unit: Unit,
        /// The size of the unit in which the field is shown, in units of `unit`.
        shown: f64,
    },
    /// Texts.
    Text,
    /// Yes or no.
    Flag,
}

/// The units in which rows can hold numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Plain,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// A field that queries can use.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in queries.
    pub name: Cow<'static, str>,
    /// Its type.
    pub kind: FieldType,
}

impl Field {
    /// A field of this name and type.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: FieldType) -> Self {
        Self { name: name.into(), kind }
    }
}

/// The value of a field in one row.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// In the unit in which rows hold it.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Flag(bool),
    /// Unknown.
    Unknown,
}

/// A row that queries can match.
pub trait Row {
    /// The value of the field with this index in the list of fields.
    fn field_value(&self, field: usize) -> FieldValue<'_>;
    /// Whether `is_wanted` is true of any of its texts.
    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// A parsed query.
#[derive(Debug, Clone)]
pub struct Query(Node);

#[derive(Debug, Clone)]
enum Node {
    Anything,
    AnyText(Regex),
    Number { field: usize, operator: Operator, than: f64 },
    Text { field: usize, is: bool, text: String },
    Matches { field: usize, does: bool, regex: Regex },
    Flag { field: usize, is: bool },
    Unknown { field: usize, is: bool },
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Greater,
    AtLeast,
    Less,
    AtMost,
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

/// The operators; those that begin with another one come before that.
const OPERATORS: [(&str, Operator); 9] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("!=", Operator::NotEqual),
    ("!~", Operator::MatchesNot),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("~", Operator::Matches),
];

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryError {
    /// The byte offset in the text at which the error was found.
    pub at: usize,
    /// The error as a sentence.
    pub what: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for QueryError {}

impl Query {
    /// Parses a text that may use these fields.
    ///
    /// # Errors
    /// The text is too long, does not follow the grammar, or names an unknown field; the error says where and what to try.
    ///
    /// ```
    /// use atomscope::query::{Field, FieldType, Query, Unit};
    ///
    /// let depth = Field::new("depth", FieldType::Number { unit: Unit::Plain, shown: 1.0 });
    /// let fields = [depth, Field::new("class", FieldType::Text)];
    /// assert!(Query::parse("depth > 100 and class ~ Order", &fields).is_ok());
    /// assert!(Query::parse("!Order.*Worker", &fields).is_ok());
    /// let error = Query::parse("size > 100", &fields).unwrap_err();
    /// assert!(error.to_string().contains("no field size"), "{error}");
    /// ```
    pub fn parse(text: &str, fields: &[Field]) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            let what = format!("the query has {} bytes, more than {MAX_BYTES}", text.len());
            return Err(QueryError { at: MAX_BYTES, what });
        }
        let mut parser = Parser { text, at: 0, fields, nested: 0 };
        parser.spaces();
        if parser.is_condition() {
            let node = parser.condition()?;
            parser.spaces();
            if parser.at < text.len() {
                return Err(parser.error("`and`, `or` or the end is expected here"));
            }
            return Ok(Self(node));
        }
        parser.pattern().map(Self)
    }

    /// The query that every row matches.
    pub fn anything() -> Self {
        Self(Node::Anything)
    }

    /// Whether every row matches.
    pub fn is_anything(&self) -> bool {
        matches!(self.0, Node::Anything)
    }

    /// The indices of the fields that it compares.
    pub fn compared(&self) -> Vec<usize> {
        let mut used = Vec::new();
        self.0.add_fields(&mut used);
        used
    }

    /// The names of the fields in it that are unknown in all of these rows; none if there are no rows.
    pub fn unknown_in_all<R: Row>(&self, fields: &[Field], rows: impl IntoIterator<Item = R>) -> Vec<String> {
        let mut used = self.compared();
        let mut has_rows = false;
        for row in rows {
            has_rows = true;
            used.retain(|field| row.field_value(*field) == FieldValue::Unknown);
            if used.is_empty() {
                break;
            }
        }
        let names = used.iter().filter_map(|field| fields.get(*field)).map(|field| field.name.to_string());
        if has_rows { names.collect() } else { Vec::new() }
    }

    /// Whether `row` matches. It takes time linear in the texts of the row, and allocates only for fields whose text the row
    /// makes.
    pub fn matches(&self, row: &impl Row) -> bool {
        self.0.matches(row)
    }
}

impl Node {
    /// Adds the fields of comparisons, each once.
    fn add_fields(&self, used: &mut Vec<usize>) {
        match self {
            Self::Anything | Self::AnyText(_) | Self::Unknown { .. } => {}
            Self::Number { field, .. }
            | Self::Text { field, .. }
            | Self::Matches { field, .. }
            | Self::Flag { field, .. } => {
                if !used.contains(field) {
                    used.push(*field);
                }
            }
            Self::Not(node) => node.add_fields(used),
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.add_fields(used)),
        }
    }

    fn matches(&self, row: &impl Row) -> bool {
        match self {
            Self::Anything => true,
            Self::AnyText(regex) => row.any_text(&mut |text| regex.is_match(text)),
            Self::Number { field, operator, than } => match row.field_value(*field) {
                FieldValue::Number(number) => match operator {
                    Operator::Greater => number > *than,
                    Operator::AtLeast => number >= *than,
                    Operator::Less => number < *than,
                    Operator::AtMost => number <= *than,
                    Operator::Equal => number == *than,
                    Operator::NotEqual => number != *than,
                    Operator::Matches | Operator::MatchesNot => false,
                },
                _ => false,
            },
            Self::Text { field, is, text } => match row.field_value(*field) {
                FieldValue::Text(own) => (own == text.as_str()) == *is,
                _ => false,
            },
            Self::Matches { field, does, regex } => match row.field_value(*field) {
                FieldValue::Text(own) => regex.is_match(&own) == *does,
                _ => false,
            },
            Self::Flag { field, is } => row.field_value(*field) == FieldValue::Flag(*is),
            Self::Unknown { field, is } => (row.field_value(*field) == FieldValue::Unknown) == *is,
            Self::Not(node) => !node.matches(row),
            Self::All(nodes) => nodes.iter().all(|node| node.matches(row)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(row)),
        }
    }
}

/// Compiles an expression, which matches both cases unless it has a capital letter.
fn regex(pattern: &str, at: usize) -> Result<Regex, QueryError> {
    let is_lower = !pattern.chars().any(char::is_uppercase);
    let built = RegexBuilder::new(pattern).case_insensitive(is_lower).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| {
        // The last of several lines names the error.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        QueryError { at, what: format!("`{pattern}` is not a regular expression: {last}") }
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    fields: &'a [Field],
    nested: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn error(&self, what: impl Into<String>) -> QueryError {
        QueryError { at: self.at, what: what.into() }
    }

    /// The word at this position, of the characters that names of fields may have.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_.".contains(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let is_here = self.rest().starts_with(symbol);
        if is_here {
            self.at += symbol.len();
        }
        is_here
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let is_here = self.word().eq_ignore_ascii_case(word);
        if is_here {
            self.at += word.len();
        }
        is_here
    }

    fn operator(&mut self) -> Option<Operator> {
        OPERATORS.iter().find(|(symbol, _)| self.skip(symbol)).map(|(_, operator)| *operator)
    }

    /// Whether a word and an operator follow, after parentheses and negations.
    fn is_condition(&self) -> bool {
        let mut ahead = Self { ..*self };
        while ahead.skip("(") || ahead.skip("!") || ahead.skip_word("not") {
            ahead.spaces();
        }
        let word = ahead.word();
        ahead.at += word.len();
        ahead.spaces();
        !word.is_empty() && ahead.operator().is_some()
    }

    /// Parses a regular expression up to the end of the text.
    fn pattern(&mut self) -> Result<Node, QueryError> {
        if self.skip("!") {
            self.spaces();
            return Ok(Node::Not(Box::new(self.pattern()?)));
        }
        if self.skip("~") {
            self.spaces();
        }
        match self.rest().trim_end() {
            "" => Ok(Node::Anything),
            pattern => regex(pattern, self.at).map(Node::AnyText),
        }
    }

    fn condition(&mut self) -> Result<Node, QueryError> {
        self.several("or", Node::Any, Self::conjunction)
    }

    fn conjunction(&mut self) -> Result<Node, QueryError> {
        self.several("and", Node::All, Self::term)
    }

    fn several(
        &mut self,
        word: &str,
        join: impl FnOnce(Vec<Node>) -> Node,
        part: impl Fn(&mut Self) -> Result<Node, QueryError>,
    ) -> Result<Node, QueryError> {
        let first = part(self)?;
        let mut nodes = vec![first];
        loop {
            self.spaces();
            if !self.skip_word(word) {
                return Ok(if nodes.len() == 1 { nodes.remove(0) } else { join(nodes) });
            }
            nodes.push(part(self)?);
        }
    }

    fn term(&mut self) -> Result<Node, QueryError> {
        self.spaces();
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return Err(self.error("too many nested parentheses and negations"));
        }
        let node = if self.skip("!") || self.skip_word("not") {
            Node::Not(Box::new(self.term()?))
        } else if self.skip("(") {
            let inner = self.condition()?;
            self.spaces();
            if !self.skip(")") {
                return Err(self.error("`)` is expected here"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.nested -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, QueryError> {
        let (name, start) = (self.word(), self.at);
        if name.is_empty() {
            return Err(self.error(format!("a field is expected here: {}", self.names())));
        }
        let Some(field) = self.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name)) else {
            let what = format!(
                "there is no field {name}; the fields are {}; `~ {}` searches for it as text",
                self.names(),
                self.text.trim()
            );
            return Err(self.error(what));
        };
        self.at += name.len();
        self.spaces();
        let Some(operator) = self.operator() else {
            return Err(self.error(format!("one of > >= < <= = != ~ !~ is expected after {name}")));
        };
        self.spaces();
        let value_at = self.at;
        let (value, is_quoted) = self.value()?;
        let fail = |what: String| Err(QueryError { at: value_at, what });
        let is = operator == Operator::Equal;
        let equates = is || operator == Operator::NotEqual;
        if value == "-" && !is_quoted && equates {
            return Ok(Node::Unknown { field, is });
        }
        match self.fields[field].kind {
            FieldType::Number { .. } if matches!(operator, Operator::Matches | Operator::MatchesNot) => {
                Err(QueryError {
                    at: start,
                    what: format!("{name} is a number: compare it with > >= < <= = or !="),
                })
            }
            FieldType::Number { unit, shown } => match number(&value, unit, shown) {
                Some(than) => Ok(Node::Number { field, operator, than }),
                None => fail(format!("{name} is a number, and `{value}` is not{}", hint(unit))),
            },
            FieldType::Text => match operator {
                Operator::Matches | Operator::MatchesNot => {
                    let does = operator == Operator::Matches;
                    regex(&value, value_at).map(|regex| Node::Matches { field, does, regex })
                }
                _ if equates => Ok(Node::Text { field, is, text: value }),
                _ => Err(QueryError {
                    at: start,
                    what: format!("{name} is a text: compare it with =, !=, ~ or !~"),
                }),
            },
            FieldType::Flag => match value.as_str() {
                "yes" | "true" if equates => Ok(Node::Flag { field, is }),
                "no" | "false" if equates => Ok(Node::Flag { field, is: !is }),
                _ => fail(format!("{name} is yes or no: write `{name} = yes`")),
            },
        }
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.fields.iter().map(|field| field.name.as_ref()).collect();
        names.join(", ")
    }

    /// Parses a value, and says whether it was quoted. An unquoted value ends at a space, or at a parenthesis that it did not
    /// open.
    fn value(&mut self) -> Result<(String, bool), QueryError> {
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|c| ['"', '\''].contains(c)) {
            let Some(end) = rest[1..].find(quote) else {
                return Err(self.error(format!("the text that begins here has no closing {quote}")));
            };
            self.at += end + 2;
            return Ok((rest[1..=end].to_owned(), true));
        }
        let mut open = 0usize;
        let ends = |c: char| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return true,
                ')' => open -= 1,
                _ => {}
            }
            c.is_whitespace()
        };
        let end = rest.find(ends).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error("a value is expected here"));
        }
        self.at += end;
        Ok((rest[..end].to_owned(), false))
    }
}

fn hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Plain => "; write 100, 2.5 or 10k",
        Unit::Bytes => "; write 100, 64K or 1.5M",
        Unit::Seconds | Unit::Nanoseconds => "; write 100, 250ms or 1.5h",
    }
}

/// Parses a number and converts it into the unit in which rows hold the field.
fn number(text: &str, unit: Unit, shown: f64) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits);
    let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite())?;
    if suffix.is_empty() {
        return Some(number * shown).filter(|number| number.is_finite());
    }
    let seconds = match suffix {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => f64::NAN,
    };
    let power = |letters: [&str; 4]| letters.iter().position(|letter| *letter == suffix);
    let factor = match unit {
        Unit::Seconds => seconds,
        Unit::Nanoseconds => seconds * 1e9,
        Unit::Bytes if suffix == "B" => 1.0,
        Unit::Bytes => {
            let power = power(["K", "M", "G", "T"]).or_else(|| power(["KiB", "MiB", "GiB", "TiB"]));
            1024f64.powi(power.or_else(|| power_of_small(suffix))? as i32 + 1)
        }
        Unit::Plain => {
            1000f64.powi(power(["K", "M", "G", "T"]).or_else(|| power_of_small(suffix))? as i32 + 1)
        }
    };
    // Not finite: the suffix is not a unit of this field, or the number overflowed.
    Some(number * factor).filter(|number| number.is_finite())
}

/// The power for `k`, which means the same as `K`.
fn power_of_small(suffix: &str) -> Option<usize> {
    (suffix == "k").then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, class, depth, age in seconds, bytes, whether it is reachable.
    #[derive(Clone, Copy)]
    struct Actor<'a>(&'a str, &'a str, Option<u64>, f64, u64, Option<bool>);

    impl Row for Actor<'_> {
        fn field_value(&self, field: usize) -> FieldValue<'_> {
            match field {
                0 => FieldValue::Text(self.0.into()),
                1 => FieldValue::Text(self.1.into()),
                2 => self.2.map_or(FieldValue::Unknown, |depth| FieldValue::Number(depth as f64)),
                3 => FieldValue::Number(self.3),
                4 => FieldValue::Number(self.4 as f64),
                _ => self.5.map_or(FieldValue::Unknown, FieldValue::Flag),
            }
        }

        fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
            is_wanted(self.0) || is_wanted(self.1)
        }
    }

    fn fields() -> Vec<Field> {
        let number = |unit, shown| FieldType::Number { unit, shown };
        vec![
            Field::new("path", FieldType::Text),
            Field::new("class", FieldType::Text),
            Field::new("depth", number(Unit::Plain, 1.0)),
            Field::new("age", number(Unit::Seconds, 1.0)),
            Field::new("inbound", number(Unit::Bytes, 1024.0)),
            Field::new("reachable", FieldType::Flag),
        ]
    }

    const CHECKOUT: Actor<'_> =
        Actor("akka://Shop/user/checkout", "shop::Checkout", Some(150), 90.0, 3 << 20, Some(true));
    const AUDIT: Actor<'_> = Actor("akka://Shop/user/audit", "shop::Audit(1)", None, 7200.0, 0, None);

    fn found(text: &str) -> (bool, bool) {
        let query = Query::parse(text, &fields()).unwrap_or_else(|error| panic!("{text}: {error}"));
        (query.matches(&CHECKOUT), query.matches(&AUDIT))
    }

    #[test]
    fn a_plain_word_is_looked_for_in_all_texts_and_an_exclamation_mark_inverts() {
        assert_eq!(found(""), (true, true));
        assert_eq!(found("check"), (true, false));
        assert_eq!(found("!check"), (false, true));
        assert_eq!(found("! check"), (false, true));
        assert_eq!(found("shop::(audit|x)"), (false, true));
        assert_eq!(found("AUDIT"), (false, false), "a capital letter means that case");
        assert_eq!(found("~ depth > 3"), (false, false), "this is text");
        assert_eq!(found("user/.*t$"), (true, true));
    }

    #[test]
    fn conditions_compare_numbers_in_the_units_that_are_shown_or_given() {
        assert_eq!(found("depth > 100 and class ~ Check"), (true, false));
        assert_eq!(found("depth>=150"), (true, false));
        assert_eq!(found("Depth == 150 AND NOT CLASS ~ audit"), (true, false));
        assert_eq!(found("depth < 0.15K"), (false, false));
        assert_eq!(found("depth < 0.15k"), (false, false));
        assert_eq!(found("age > 90"), (false, true));
        assert_eq!(found("age >= 1.5m and age < 2h"), (true, false));
        assert_eq!(found("age = 7200 or age=90"), (true, true));
        assert_eq!(found("inbound = 3072"), (true, false), "KiB are what is shown");
        assert_eq!(found("inbound >= 3M"), (true, false));
        assert_eq!(found("inbound > 3145727B"), (true, false));
    }

    #[test]
    fn texts_flags_and_what_is_unknown_are_asked_for_by_what_they_are() {
        assert_eq!(found("class = shop::Audit(1)"), (false, true));
        assert_eq!(found("(class = shop::Checkout)"), (true, false));
        assert_eq!(found("class !~ audit"), (true, false));
        assert_eq!(found("path ~ 'user/(check|audit)'"), (true, true));
        assert_eq!(found("reachable = yes"), (true, false));
        assert_eq!(found("reachable != no"), (true, false), "what is unknown fulfils no condition");
        assert_eq!(found("depth = -"), (false, true));
        assert_eq!(found("depth != -"), (true, false));
        assert_eq!(found("not (depth > 100 or age > 1h) or class ~ audit and not path ~ x"), (false, true));
        assert_eq!(found("!depth > 100"), (false, true));
        assert_eq!(found("not(depth > 100)"), (false, true));
        assert_eq!(found("not audit"), (false, false), "that is text");
    }

    #[test]
    fn what_is_asked_for_and_nobody_knows_is_named() {
        let unknown = |text: &str, actors: &[Actor<'_>]| {
            let query = Query::parse(text, &fields()).unwrap();
            query.unknown_in_all(&fields(), actors.iter().copied())
        };
        assert_eq!(unknown("depth > 100 or reachable = no", &[AUDIT]), ["depth", "reachable"]);
        assert_eq!(unknown("depth > 100 or reachable = no", &[AUDIT, CHECKOUT]), [""; 0]);
        assert_eq!(unknown("not (depth > 1) and class ~ x", &[AUDIT]), ["depth"]);
        assert_eq!(unknown("depth = -", &[AUDIT]), [""; 0]);
        assert_eq!(unknown("depth > 1", &[]), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_to_try() {
        for (text, at, says) in [
            ("size > 3", 0, "no field size"),
            ("depth > many", 8, "`many` is not; write 100, 2.5 or 10k"),
            ("depth >", 7, "a value is expected"),
            ("depth > 3 or", 12, "a field is expected"),
            ("depth > 3 class ~ x", 10, "`and`, `or` or the end"),
            ("(depth > 3", 10, "`)` is expected"),
            ("depth ~ 3", 0, "is a number"),
            ("class > x", 0, "is a text"),
            ("class ~ [", 8, "not a regular expression"),
            ("reachable = 3", 12, "yes or no"),
            ("class = 'x", 8, "has no closing '"),
            ("depth > 3x", 8, "is not"),
            ("[", 0, "not a regular expression"),
        ] {
            let error = Query::parse(text, &fields()).map(|_| ()).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.what.contains(says), "{text}: {error}");
        }
        let deep = "(".repeat(1000) + "depth > 1";
        assert!(Query::parse(&deep, &fields()).unwrap_err().what.contains("too many"));
        assert!(Query::parse(&"x".repeat(5000), &fields()).is_err());
        assert!(Query::parse("a{1000}{1000}{1000}", &fields()).is_err());
    }

    #[test]
    fn whatever_is_typed_is_an_answer_and_never_a_crash() {
        let parts =
            ["depth", " ", ">", "(", ")", "!", "not ", "and", "'", "\"", "~", "=", "é", "-", "3", "\\"];
        let mut number = 12_345u64;
        for _ in 0..500 {
            let mut text = String::new();
            for _ in 0..8 {
                number =
                    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text += parts[(number >> 33) as usize % parts.len()];
                if let Ok(query) = Query::parse(&text, &fields()) {
                    let _ = (query.matches(&CHECKOUT), query.matches(&AUDIT));
                }
            }
        }
    }
}
