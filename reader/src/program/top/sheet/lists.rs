//! Sheets that are made of lists: their order, filter and rates.

use std::borrow::Cow;
use std::collections::HashMap;

use atomscope::query::{Field, Query};
use atomscope::report::list::{Column, List, Value, unknown_fields};

use crate::program::top::sheet::request::{SheetRequest, Sort};
use crate::program::top::sheet::rows::{Rows, Sheet, list_key};
use crate::program::top::view::View;

/// Turns totals into their growth since `then`, or into their growth per second.
pub fn since(list: &mut List, then: Option<&List>, seconds: Option<f64>, is_rate: bool) {
    let before: HashMap<Vec<String>, &Vec<Value>> =
        then.iter().flat_map(|then| &then.rows).map(|row| (list_key(&list.columns, row), row)).collect();
    if then.is_none() && !is_rate {
        return;
    }
    for row in &mut list.rows {
        let before = before.get(&list_key(&list.columns, row));
        for (at, value) in row.iter_mut().enumerate() {
            let (Value::Total(now) | Value::Count(now)) = *value else { continue };
            let earlier = match before.and_then(|row| row.get(at)) {
                Some(Value::Total(then) | Value::Count(then)) => *then,
                Some(Value::Unknown) => {
                    *value = Value::Unknown;
                    continue;
                }
                _ => 0,
            };
            let growth = now.saturating_sub(earlier);
            *value = match (is_rate, seconds) {
                (true, Some(seconds)) => {
                    let rate = growth as f64 / seconds.max(1e-9);
                    if matches!(value, Value::Count(_)) { Value::CountRate(rate) } else { Value::Rate(rate) }
                }
                // There is no previous snapshot.
                (true, None) => Value::Unknown,
                (false, _) if matches!(value, Value::Count(_)) => Value::Count(growth),
                (false, _) => Value::Total(growth),
            };
        }
    }
}

/// The sheet of one of these lists, in the requested order and selection.
pub fn of_lists(request: &SheetRequest<'_>, lists: Vec<List>, lines: Vec<String>, nothing: &str) -> Sheet {
    let names = lists.iter().map(|list| (Cow::from(list.name.replace('_', " ")), list.rows.len())).collect();
    let at = request.list.min(lists.len().saturating_sub(1));
    let Some(mut list) = lists.into_iter().nth(at) else { return Sheet::default() };
    let found = list.rows.len();
    let (unknown, error) = match list.filter(request.filter) {
        Ok(unknown) => (unknown, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    if request.hides_zeros && request.view != View::Nodes {
        let List { columns, rows, .. } = &mut list;
        rows.retain(|row| !is_idle(columns, row));
    }
    let own_order = list.sorted_by.and_then(|at| list.columns.get(at)).map(|column| column.name);
    let sort = request.sorts.get(list.name).copied();
    if let Some((sort, at)) = sort.and_then(|sort| Some((sort, list.column(sort.column)?))) {
        list.rows.sort_by(|a, b| a[at].compare(&b[at], sort.reverse));
    } else if sort.is_some_and(|sort| sort.reverse) {
        list.rows.reverse();
    }
    let nothing = match found {
        0 => nothing.to_owned(),
        _ => hidden(found, request, &unknown),
    };
    let nothing = if nothing.is_empty() { "Nothing here.".to_owned() } else { nothing };
    let sort = sort.or(own_order.map(|column| Sort { column, reverse: false }));
    Sheet {
        lines,
        own_order,
        lists: names,
        list: at,
        name: list.name,
        heading: list.title,
        sort,
        columns: list.columns,
        rows: Rows::List(list.rows),
        found,
        error,
        nothing,
    }
}

/// Why all rows are hidden. An unknown field is named, so that nobody takes unknown values for zero.
pub fn hidden(found: usize, request: &SheetRequest<'_>, unknown: &[String]) -> String {
    if !unknown.is_empty() {
        return format!("{} for all {found} rows: none is shown.", unknown_fields(unknown));
    }
    match (request.filter, request.hides_zeros) {
        ("", _) => format!("All {found} rows are zero and hidden: i shows them."),
        (_, false) => format!("None of {found} rows matches the filter. Esc clears it."),
        (_, true) => {
            format!(
                "None of {found} rows matches the filter (Esc clears it) and has a number that is not zero (i shows zeros)."
            )
        }
    }
}

/// Whether it has numbers and all are zero.
fn is_idle(columns: &[Column], row: &[Value]) -> bool {
    let mut numbers = columns.iter().zip(row).filter_map(|(column, value)| match value {
        Value::Number(number) | Value::Total(number) | Value::Count(number) => Some(*number as f64),
        Value::Rate(rate) | Value::CountRate(rate) => Some(*rate),
        // Others are times.
        Value::Float(rate) if ["%", "/s"].contains(&column.unit) => Some(*rate),
        _ => None,
    });
    numbers.next().is_some_and(|first| first == 0.0) && numbers.all(|number| number == 0.0)
}

/// The query of a filter, or the one that every row matches and why the filter is no query.
pub fn parse(filter: &str, fields: &[Field]) -> (Query, Option<String>) {
    match Query::parse(filter, fields) {
        Ok(query) => (query, None),
        Err(error) => (Query::anything(), Some(error.to_string())),
    }
}
