//! The keys: one table, by which keys are read and from which the help is made.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::program::top::view::View;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Quit,
    Help,
    Go(View),
    NextView,
    PreviousView,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Open,
    Back,
    Filter,
    SortNext,
    SortPrevious,
    Reverse,
    Mode,
    Fold,
    FoldAll,
    Topic,
    Follow,
    Freeze,
    Rates,
    Reset,
    Slower,
    Faster,
    Zeros,
    Save,
    Past,
    Future,
    FarPast,
    FarFuture,
    Successor,
    Redraw,
    Suspend,
}

/// A key, as it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Control(char),
    Code(KeyCode),
}

impl Key {
    fn is(self, event: &KeyEvent) -> bool {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match self {
            Self::Char(c) => event.code == KeyCode::Char(c) && !control,
            Self::Control(c) => event.code == KeyCode::Char(c) && control,
            Self::Code(code) => event.code == code,
        }
    }

    /// Its name in the help.
    pub fn name(self) -> String {
        match self {
            Self::Char(' ') => "Space".to_owned(),
            Self::Char(c) => c.to_string(),
            Self::Control(c) => format!("^{}", c.to_ascii_uppercase()),
            Self::Code(code) => match code {
                KeyCode::Up => "↑".to_owned(),
                KeyCode::Down => "↓".to_owned(),
                KeyCode::Left => "←".to_owned(),
                KeyCode::Right => "→".to_owned(),
                KeyCode::PageUp => "PgUp".to_owned(),
                KeyCode::PageDown => "PgDn".to_owned(),
                KeyCode::BackTab => "Shift-Tab".to_owned(),
                KeyCode::F(number) => format!("F{number}"),
                code => format!("{code:?}"),
            },
        }
    }
}

/// Keys with the same action.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub keys: &'static [Key],
    pub action: Action,
    pub help: &'static str,
}

/// Bindings under one heading of the help.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub title: &'static str,
    pub bindings: &'static [Binding],
}

const fn bind(keys: &'static [Key], action: Action, help: &'static str) -> Binding {
    Binding { keys, action, help }
}

use Action as A;
use Key::{Char, Code, Control};
use KeyCode as C;

/// All keys, except the keys of the views: see [`View::key`].
pub const KEYS: &[Group] = &[
    Group {
        title: "Move",
        bindings: &[
            bind(&[Code(C::Up), Char('k')], A::Up, "one row up"),
            bind(&[Code(C::Down), Char('j')], A::Down, "one row down"),
            bind(&[Code(C::PageUp), Control('b')], A::PageUp, "one page up"),
            bind(&[Code(C::PageDown), Control('f')], A::PageDown, "one page down"),
            bind(&[Code(C::Home), Char('g')], A::First, "to the first row"),
            bind(&[Code(C::End), Char('G')], A::Last, "to the last row"),
            bind(&[Code(C::Left), Char('h')], A::Left, "the previous list; in a tree: fold, or go up"),
            bind(&[Code(C::Right), Char('l')], A::Right, "the next list; in a tree: unfold"),
            bind(
                &[Code(C::Enter), Char('d')],
                A::Open,
                "show all of the selected row; open a node or a kind",
            ),
            bind(&[Code(C::Esc), Code(C::Backspace)], A::Back, "back, one step at a time"),
        ],
    },
    Group {
        title: "Choose",
        bindings: &[
            bind(&[Char('/'), Code(C::F(3)), Code(C::F(4))], A::Filter, "filter the rows (see below)"),
            bind(&[Char('>'), Char('.'), Code(C::F(6))], A::SortNext, "sort by the next column"),
            bind(&[Char('<'), Char(',')], A::SortPrevious, "sort by the previous column"),
            bind(&[Char('r'), Char('I')], A::Reverse, "reverse the order"),
            bind(&[Char('t'), Code(C::F(5))], A::Mode, "actors as a tree, a list, or by class"),
            bind(&[Char(' ')], A::Fold, "fold or unfold in a tree; freeze events"),
            bind(&[Char('*')], A::FoldAll, "fold or unfold the whole tree"),
            bind(&[Char('o')], A::Topic, "only events of the next topic"),
            bind(&[Char('f')], A::Follow, "follow the newest event, or not"),
            bind(&[Char('v')], A::Rates, "rates or totals"),
            bind(&[Char('z')], A::Reset, "count totals from now; again: from the start"),
            bind(&[Char('i')], A::Zeros, "hide or show rows of zeros"),
        ],
    },
    Group {
        title: "Time",
        bindings: &[
            bind(&[Char('p')], A::Freeze, "freeze the screen; again: resume"),
            bind(&[Char('[')], A::Past, "a step into the past"),
            bind(&[Char(']')], A::Future, "a step towards now"),
            bind(&[Char('{')], A::FarPast, "ten steps into the past"),
            bind(&[Char('}')], A::FarFuture, "to now"),
            bind(&[Char('+'), Char('=')], A::Slower, "longer interval between snapshots"),
            bind(&[Char('-'), Char('_')], A::Faster, "shorter interval between snapshots"),
        ],
    },
    Group {
        title: "Do",
        bindings: &[
            bind(&[Char('w')], A::Save, "write a snapshot to a file"),
            bind(&[Char('s')], A::Successor, "to the node's successor, or back from it"),
            bind(&[Code(C::Tab)], A::NextView, "the next view"),
            bind(&[Code(C::BackTab)], A::PreviousView, "the previous view"),
            bind(&[Char('?'), Code(C::F(1))], A::Help, "this help"),
            bind(&[Control('l')], A::Redraw, "redraw everything"),
            bind(&[Control('z')], A::Suspend, "suspend; `fg` resumes"),
            bind(&[Char('q'), Control('c'), Code(C::F(10))], A::Quit, "quit"),
        ],
    },
];

/// What a key does.
pub fn action(event: &KeyEvent) -> Option<Action> {
    let bound = KEYS
        .iter()
        .flat_map(|group| group.bindings)
        .find(|binding| binding.keys.iter().any(|key| key.is(event)));
    let view = || View::ALL.into_iter().find(|view| Key::Char(view.key()).is(event)).map(Action::Go);
    bound.map(|binding| binding.action).or_else(view)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let bound = KEYS.iter().flat_map(|group| group.bindings).flat_map(|binding| binding.keys);
        let views = View::ALL.map(|view| Key::Char(view.key()));
        let names: Vec<_> = bound.chain(&views).map(|key| key.name()).collect();
        let different: HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_control_key_is_not_its_letter() {
        let press = |code, modifiers| action(&KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Action::Last));
        assert_eq!(press(KeyCode::Char('2'), KeyModifiers::NONE), Some(Action::Go(View::Actors)));
        assert_eq!(press(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Action::PreviousView));
    }
}
