//! What the loom models share. The models of each primitive are in the `models.rs` of its folder.
//!
//! ```text
//! RUSTFLAGS="--cfg atomscope_loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test -p atomscope-layout --release --lib models -- --test-threads=1
//! ```
//! Run one test at a time: loom maps a stack for each thread of each execution, and two processors do that no faster than
//! one.
//!
//! A model has a few *roles*. Each role runs on its own thread, and all share memory. A model is a function of the
//! operations that its roles use, and it is checked twice. With the operations that ship it must hold. With a mutant, which
//! lacks one memory order or one step, loom must find the failure that this order or step prevents. A model that cannot
//! distinguish the two proves nothing.
//!
//! Each role runs once on the main thread, because loom's search is not symmetric: it missed a fault with one assignment of
//! roles and found it with another.
//!
//! `ATOMSCOPE_DEEPER=1` allows one preemption more in each search; it takes many times as long.
//!
//! Each model is searched in two ways ([`crate::sync::crossing`] explains why one is not enough). Under loom a line of a
//! table's index has two entries, a chain of free slots has two slots, and a bounded reader tries twice.
#![allow(clippy::panic, clippy::unwrap_used, reason = "models are tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::model::Builder;

use crate::sync::AtomicU64;
use crate::sync::crossing::set_crossings;

/// Words that threads share, initially 0.
pub(crate) type Memory = Arc<[AtomicU64]>;

/// `count` of them.
pub(crate) fn memory(count: usize) -> Memory {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// The work of one thread of a model.
pub(crate) type Role<R> = Box<dyn FnOnce() -> R>;

/// A role that does `act`.
pub(crate) fn role<R>(act: impl FnOnce() -> R + 'static) -> Role<R> {
    Box::new(act)
}

/// Runs every role, number `main` on this thread and each other one on its own thread. Returns the results in order.
pub(crate) fn play<R: 'static>(main: usize, roles: Vec<Role<R>>) -> Vec<R> {
    let mut mine = None;
    let mut threads = Vec::new();
    for (number, role) in roles.into_iter().enumerate() {
        if number == main {
            mine = Some(role);
        } else {
            threads.push((number, loom::thread::spawn(role)));
        }
    }
    let mut ends: Vec<(usize, R)> = mine.map(|role| (main, role())).into_iter().collect();
    ends.extend(threads.into_iter().map(|(number, thread)| (number, thread.join().unwrap())));
    ends.sort_by_key(|(number, _)| *number);
    ends.into_iter().map(|(_, end)| end).collect()
}

/// A model: `run` gets the number of the role that runs on the main thread.
pub(crate) struct Model<F> {
    roles: usize,
    searches: Vec<Search>,
    run: F,
}

/// Preemptions that are allowed beyond those of the models.
fn deeper() -> usize {
    std::env::var("ATOMSCOPE_DEEPER").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// One way of searching the executions of a model.
#[derive(Clone, Copy)]
struct Search {
    /// Whether to try every order of any two operations, or only the orders that loom considers relevant.
    crossings: bool,
    /// Maximum number of preemptions.
    preemptions: Option<usize>,
}

impl<F: Fn(usize) + Clone + Send + Sync + 'static> Model<F> {
    /// Two searches: every order of operations with at most two preemptions, and loom's relevant orders without a bound.
    pub(crate) fn new(roles: usize, run: F) -> Self {
        let searches = vec![
            Search { crossings: true, preemptions: Some(2) },
            Search { crossings: false, preemptions: None },
        ];
        Self { roles, searches, run }
    }

    /// Sets the bounds of preemptions of both searches.
    pub(crate) fn preempted_at_most(mut self, crossed: usize, plain: usize) -> Self {
        for search in &mut self.searches {
            search.preemptions = Some(if search.crossings { crossed } else { plain });
        }
        self
    }

    fn check(&self, search: Search, main: usize) {
        let mut builder = Builder::new();
        builder.preemption_bound = search.preemptions.map(|bound| bound + deeper());
        builder.max_branches = 10_000;
        set_crossings(search.crossings);
        let run = self.run.clone();
        builder.check(move || run(main));
    }

    /// Each search, with each role on the main thread.
    fn checks(&self) -> impl Iterator<Item = (Search, usize)> {
        self.searches.iter().flat_map(|search| (0..self.roles).map(|main| (*search, main)))
    }

    /// Checks that the assertions of the model hold in every execution.
    pub(crate) fn holds(self) {
        for (search, main) in self.checks() {
            self.check(search, main);
        }
    }

    /// Checks that some execution breaks the assertion with the text `how`. Any other failure is an error in the model.
    pub(crate) fn breaks(self, how: &str) {
        self.breaks_in_a_way(&[how]);
    }

    /// As [`Self::breaks`], but with any of these texts: the order of the search decides what it finds first.
    pub(crate) fn breaks_in_a_way(self, hows: &[&str]) {
        for (search, main) in self.checks() {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.check(search, main))) else { continue };
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            assert!(
                hows.iter().any(|how| said.contains(how)),
                "the mutant fails in another way than expected: {said}"
            );
            return;
        }
        panic!("the mutant survives: the model does not detect the missing step");
    }
}
