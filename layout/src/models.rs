//! What the loom models share. Each primitive's models stand beside it, in its own `models.rs`.
//!
//! ```text
//! RUSTFLAGS="--cfg atomscope_loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test -p atomscope-layout --release --lib models -- --test-threads=1
//! ```
//! (One at a time, since loom maps a stack for each thread of each execution, and two processors do that no faster than
//! one.)
//!
//! A model is a few *roles*, each on a thread of its own, over memory that they share. It is a function of the
//! operations that its roles use, and is checked twice over: with the operations that ship it must hold, and with a
//! mutant, one order or step weaker, loom must find the failure that this order or step is there against. A model that
//! cannot tell the two apart proves nothing.
//!
//! Each of the roles is the main thread's once, since loom's search is not symmetric: it has missed a fault with the
//! roles one way round and found it the other way.
//!
//! Each is searched in two ways ([`crate::sync::crossing`] says why one is not enough). Under loom a bucket of the table
//! has two slots, and a bounded reader tries twice.
#![allow(clippy::panic, clippy::unwrap_used, reason = "models are tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::model::Builder;

use crate::sync::AtomicU64;
use crate::sync::crossing::set_crossings;

/// Words that threads share, zero at first.
pub(crate) type Memory = Arc<[AtomicU64]>;

/// `count` of them.
pub(crate) fn memory(count: usize) -> Memory {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// What one thread of a model does.
pub(crate) type Role<R> = Box<dyn FnOnce() -> R>;

/// A role that does `act`.
pub(crate) fn role<R>(act: impl FnOnce() -> R + 'static) -> Role<R> {
    Box::new(act)
}

/// Plays every role, that of number `main` on this thread and each other one on its own, and gives what they came to,
/// in their order.
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

/// A model: `run` is given the number of the role that is the main thread's.
pub(crate) struct Model<F> {
    roles: usize,
    searches: Vec<Search>,
    run: F,
}

/// One way of going through a model's executions.
#[derive(Clone, Copy)]
struct Search {
    /// Whether any two operations are tried in either order, or only those of which loom sees that it matters.
    crossings: bool,
    /// How often threads are preempted at most.
    preemptions: Option<usize>,
}

impl<F: Fn(usize) + Clone + Send + Sync + 'static> Model<F> {
    /// With two preemptions every order of operations is tried, and without a bound all that loom sees a need for.
    pub(crate) fn new(roles: usize, run: F) -> Self {
        let searches = vec![
            Search { crossings: true, preemptions: Some(2) },
            Search { crossings: false, preemptions: None },
        ];
        Self { roles, searches, run }
    }

    /// Bounds the preemptions of the search for every order, and of the one for what loom sees a need for.
    pub(crate) fn preempted_at_most(mut self, crossed: usize, plain: usize) -> Self {
        for search in &mut self.searches {
            search.preemptions = Some(if search.crossings { crossed } else { plain });
        }
        self
    }

    fn check(&self, search: Search, main: usize) {
        let mut builder = Builder::new();
        builder.preemption_bound = search.preemptions;
        builder.max_branches = 10_000;
        set_crossings(search.crossings);
        let run = self.run.clone();
        builder.check(move || run(main));
    }

    /// Each search, with each role on the main thread.
    fn checks(&self) -> impl Iterator<Item = (Search, usize)> {
        self.searches.iter().flat_map(|search| (0..self.roles).map(|main| (*search, main)))
    }

    /// Every execution keeps what the model asserts.
    pub(crate) fn holds(self) {
        for (search, main) in self.checks() {
            self.check(search, main);
        }
    }

    /// Some execution breaks the assertion that says `how`; any other failure is the model's own fault.
    pub(crate) fn breaks(self, how: &str) {
        for (search, main) in self.checks() {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.check(search, main))) else { continue };
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            assert!(said.contains(how), "the mutant fails otherwise than it should: {said}");
            return;
        }
        panic!("the mutant survives: the model does not see what was taken away");
    }
}
