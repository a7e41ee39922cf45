//! Actors as rows that can be listed and asked.

use atomscope_layout::decode::{Actor, Moment};
use atomscope_layout::forest::Forest;

use super::human::seconds;
use crate::query::{Field, FieldType, FieldValue, Row, Unit};

/// An actor that is listed, and can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    pub actor: Actor<'a>,
    /// Until when it has lived, or is known to have; see [`atomscope::attach::Region::until`].
    pub until: Option<Moment>,
    /// How many actors are below it, where they were counted.
    pub below: Option<u32>,
}

impl Listed<'_> {
    /// What can be asked; `below` if that is counted.
    pub fn fields(below: bool) -> Vec<Field> {
        let plain = FieldType::Number { unit: Unit::Plain, shown: 1.0 };
        let age = FieldType::Number { unit: Unit::Seconds, shown: 1.0 };
        let all = [
            ("path", FieldType::Text),
            ("class", FieldType::Text),
            ("depth", plain),
            ("age", age),
            ("host", FieldType::Text),
            ("parent", FieldType::Text),
            ("name", FieldType::Text),
            ("type", FieldType::Text),
            ("below", plain),
        ];
        let known = if below { &all[..] } else { &all[..8] };
        known.iter().map(|(name, kind)| Field::new(*name, *kind)).collect()
    }

    pub fn age_s(&self) -> Option<f64> {
        self.until?.since(&self.actor.spawned()?).map(seconds)
    }
}

impl Row for Listed<'_> {
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        let number = |number: Option<f64>| number.map_or(FieldValue::Unknown, FieldValue::Number);
        fn text(text: Option<&str>) -> FieldValue<'_> {
            text.map_or(FieldValue::Unknown, |text| FieldValue::Text(text.into()))
        }
        match field {
            0 => text(Some(self.actor.path())),
            1 | 7 => text(Some(self.actor.class())),
            2 => number(self.actor.mailbox_depth().map(|depth| depth as f64)),
            3 => number(self.age_s()),
            4 => text(self.actor.host()),
            5 => text(self.actor.parent()),
            6 => text(Some(self.actor.name())),
            _ => number(self.below.map(f64::from)),
        }
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        is_wanted(self.actor.path())
            || is_wanted(self.actor.class())
            || self.actor.host().is_some_and(is_wanted)
    }
}

/// Shows whoever is above one that is shown.
pub fn show_above(forest: &Forest, is_shown: &mut [bool]) {
    for number in 0..is_shown.len() as u32 {
        let mut above = forest.above(number).filter(|_| is_shown[number as usize]);
        while let Some(at) = above.filter(|at| !is_shown[*at as usize]) {
            is_shown[at as usize] = true;
            above = forest.above(at);
        }
    }
}
