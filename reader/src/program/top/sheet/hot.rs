//! The sheet of the instrumented actors that did most.

use atomscope::report::actors::has_instruments;
use atomscope::report::hot::{HOW_TO_INSTRUMENT, empty, hot as list};

use crate::program::top::sheet::lists::of_lists;
use crate::program::top::sheet::request::SheetRequest;
use crate::program::top::sheet::rows::Sheet;
use crate::program::top::tick::Tick;

/// The actors with what they did since the tick before; of a node that has ended, each in its life.
pub fn hot(request: &SheetRequest<'_>, tick: &Tick) -> Sheet {
    let rates = (!tick.is_last()).then_some(&tick.rates);
    let listed = tick.listed.as_ref().map(|listed| list(listed.tree.actors(), tick.snapshot.until, rates));
    let nothing = match listed {
        _ if !has_instruments(&tick.snapshot) => {
            format!("No actor of this node is instrumented: {HOW_TO_INSTRUMENT}.")
        }
        None => "In this snapshot actors were only counted. The next snapshot lists them.".to_owned(),
        Some(_) => {
            "No instrumented actor lives: the view Actors by class has what their classes did.".to_owned()
        }
    };
    of_lists(request, vec![listed.unwrap_or_else(empty)], Vec::new(), &nothing)
}
