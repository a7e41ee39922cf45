//! The ways in which a process ends, for the demo node and for tests.
#![allow(unsafe_code, reason = "a fault, and signals to this process")]

use std::thread;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, Context, Props};

use crate::spawns::Spawns;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum End {
    /// `main` returns.
    Return,
    /// `main` returns an error.
    Error,
    /// It exits with code 0 without returning from `main`.
    Exit0,
    /// It exits with code 3 without returning from `main`.
    Exit3,
    /// A panic leaves `main`.
    PanicMain,
    /// A handler panics, which atomr survives; then `main` returns.
    PanicHandler,
    /// The thread `shop-worker` aborts.
    Abort,
    /// The thread `shop-worker` gets SIGTERM, which nobody handles.
    Term,
    /// The thread `shop-worker` writes where there is no memory.
    Segv,
    /// It is killed.
    Kill,
}

struct Panicking;

#[async_trait]
impl Actor for Panicking {
    type Msg = tokio::sync::oneshot::Sender<()>;

    async fn handle(&mut self, _: &mut Context<Self>, done: Self::Msg) {
        // It is dropped by the panic, which tells the sender.
        let _done = done;
        panic!("out of flour");
    }
}

/// Ends the process in this way; returns where the return from `main` is the end.
///
/// # Errors
/// With [`End::Error`], and if the actor cannot be spawned.
///
/// # Panics
/// With [`End::PanicMain`].
pub async fn end(system: &ActorSystem, spawns: &Spawns, how: End) -> Result<(), Box<dyn std::error::Error>> {
    let in_thread = |end: fn()| {
        let ending = thread::Builder::new().name("shop-worker".into()).spawn(end);
        ending.map(|thread| drop(thread.join()))
    };
    match how {
        End::Return => {}
        End::Error => return Err("no more orders".into()),
        End::Exit0 => std::process::exit(0),
        End::Exit3 => std::process::exit(3),
        End::PanicMain => panic!("out of dough"),
        End::PanicHandler => {
            let actor = spawns.top_level(system, Props::create(|| Panicking), "baker")?;
            let (done, panicked) = tokio::sync::oneshot::channel();
            actor.tell(done);
            let _ = panicked.await;
        }
        End::Abort => in_thread(|| std::process::abort())?,
        End::Term => in_thread(|| raise(libc::SIGTERM))?,
        End::Segv => in_thread(|| {
            let nowhere = std::ptr::without_provenance_mut::<u8>(16);
            // SAFETY: this is not sound: the fault is what the caller asks for. No memory is ever mapped there.
            unsafe { nowhere.write_volatile(1) };
        })?,
        End::Kill => raise(libc::SIGKILL),
    }
    Ok(())
}

fn raise(signal: libc::c_int) {
    // SAFETY: the call takes a number and touches no memory of this program.
    unsafe { libc::raise(signal) };
}
