//! The views of `top`: one table.

use atomscope::report::actors::has_instruments;
use atomscope::report::subsystems::{self, Subsystem, ViewText};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::program::top::tick::Tick;

/// Makes the enum and the list of the views from the table: those before the subsystems' views, and those after.
macro_rules! views {
    (before { $($view:ident $name:literal $title:literal $key:literal $help:literal;)+ }
     after { $($later:ident $later_name:literal $later_title:literal $later_key:literal $later_help:literal;)+ }) => {
        /// What the screen shows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum View {
            $(#[doc = $help] $view,)+
            /// The lists of a subsystem, which declares its view itself.
            Subsystem(&'static Subsystem),
            $(#[doc = $later_help] $later,)+
        }

        const FIRST: &[View] = &[$(View::$view,)+];
        const LAST: &[View] = &[$(View::$later,)+];

        impl View {
            const fn text(self) -> ViewText {
                match self {
                    $(Self::$view => ViewText { name: $name, title: $title, key: $key, help: $help },)+
                    Self::Subsystem(subsystem) => subsystem.view,
                    $(Self::$later => ViewText {
                        name: $later_name, title: $later_title, key: $later_key, help: $later_help,
                    },)+
                }
            }
        }
    };
}

views! {
    // View         --view         title      key  help
    before {
        Overview    "overview"     "Overview" '1'  "the node at a glance";
        Actors      "actors"       "Actors"   '2'  "live actors, as a tree, a list, or by class";
        DeadLetters "dead-letters" "Letters"  '3'  "the newest dead letters";
        Events      "events"       "Events"   '4'  "events as they happen";
    }
    after {
        Hot         "hot"          "Hot"      'H'  "the busiest of the instrumented actors";
        Records     "records"      "Records"  'B'  "the application's own records, by kind";
        Threads     "threads"      "Threads"  'T'  "threads of the process, as the kernel shows them";
        Own         "self"         "Self"     'S'  "capacity, drops, unreadable records, cost of watching";
        Nodes       "nodes"        "Nodes"    'N'  "the nodes of this machine";
    }
}

const COUNT: usize = FIRST.len() + subsystems::ALL.len() + LAST.len();

/// Views in a line of the help.
const PER_LINE: usize = 8;

impl View {
    /// All views, in the order of the screen.
    pub const ALL: [Self; COUNT] = {
        let mut all = [Self::Overview; COUNT];
        let mut at = 0;
        while at < COUNT {
            let subsystem = at.saturating_sub(FIRST.len());
            all[at] = if at < FIRST.len() {
                FIRST[at]
            } else if subsystem < subsystems::ALL.len() {
                Self::Subsystem(subsystems::ALL[subsystem])
            } else {
                LAST[subsystem - subsystems::ALL.len()]
            };
            at += 1;
        }
        all
    };

    pub fn title(self) -> &'static str {
        self.text().title
    }

    /// The key that opens it.
    pub const fn key(self) -> char {
        self.text().key
    }

    /// What it shows, for the help.
    pub fn help(self) -> &'static str {
        self.text().help
    }

    /// The subsystem whose lists it shows.
    pub fn subsystem(self) -> Option<&'static Subsystem> {
        match self {
            Self::Subsystem(subsystem) => Some(subsystem),
            _ => None,
        }
    }

    /// Whether it has something to show of the node.
    pub fn is_in_use(self, tick: &Tick) -> bool {
        match self {
            Self::Actors => tick.snapshot.has_actors(),
            Self::DeadLetters => tick.snapshot.dead_letters.total > 0,
            Self::Hot => has_instruments(&tick.snapshot),
            Self::Records => !tick.snapshot.own_records.list.is_empty(),
            Self::Threads => !tick.is_last(),
            Self::Subsystem(own) => {
                own.is_one_list || tick.summaries.iter().any(|summary| summary.subsystem == own)
            }
            _ => true,
        }
    }
}

/// Two views with one key do not compile.
const _: () = {
    let (mut one, mut other) = (0, 1);
    while one < COUNT {
        while other < COUNT {
            assert!(View::ALL[one].key() as u32 != View::ALL[other].key() as u32, "two views have one key");
            other += 1;
        }
        one += 1;
        other = one + 1;
    }
};

impl ValueEnum for View {
    fn value_variants<'a>() -> &'a [Self] {
        const { &Self::ALL }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.text().name))
    }
}

/// All keys and titles, for the help of the command.
pub fn views_help() -> String {
    let cell = |view: &View| format!("{} {}", view.key(), view.title());
    let width = |column: usize| {
        let cells = View::ALL.iter().skip(column).step_by(PER_LINE);
        cells.map(|view| cell(view).len()).max().unwrap_or(0)
    };
    let line = |views: &[View]| {
        let cells = views.iter().zip(0..).map(|(view, at)| format!("  {:1$}", cell(view), width(at)));
        cells.collect::<String>().trim_end().to_owned()
    };
    View::ALL.chunks(PER_LINE).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn views_differ_in_their_names_and_titles() {
        for of in [|view: View| view.text().name, View::title, View::help] {
            assert_eq!(View::ALL.map(of).into_iter().collect::<HashSet<_>>().len(), COUNT);
        }
    }
}
