//! An actor whose handler never ends, for the demo node and for tests, and a node for such actors.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, ActorSystemError, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::TelemetryExtension;
use atomscope_probe::observe::{Variants, observed};
use tokio::runtime::Builder;

use crate::spawns::Spawns;

/// How a handler hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Hang {
    /// It sleeps, and its worker with it.
    Sleep,
    /// It computes without an end.
    Spin,
    /// It waits for a lock that another thread keeps, and its worker with it.
    Lock,
    /// It awaits what never comes. Its worker goes on.
    Await,
}

#[derive(Debug)]
struct Hanging(Hang);

#[derive(Debug, Variants)]
enum HangingMsg {
    Hang,
}

#[observed]
#[async_trait]
impl Actor for Hanging {
    type Msg = HangingMsg;

    async fn handle(&mut self, _: &mut Context<Self>, HangingMsg::Hang: HangingMsg) {
        match self.0 {
            Hang::Sleep => drop(sleeps()),
            Hang::Spin => loop {
                std::hint::spin_loop();
            },
            Hang::Lock => waits_for_a_lock(),
            Hang::Await => std::future::pending().await,
        }
    }
}

fn sleeps() -> Infallible {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn waits_for_a_lock() {
    static LOCK: Mutex<()> = Mutex::new(());
    let keep = || {
        let _kept = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        sleeps();
    };
    thread::spawn(keep);
    while LOCK.try_lock().is_ok() {
        thread::yield_now();
    }
    drop(LOCK.lock());
}

/// Starts an actor of this name and lets it hang.
///
/// # Errors
/// The system does not start the actor.
pub fn hang(system: &ActorSystem, spawns: &Spawns, name: &str, how: Hang) -> Result<(), ActorSystemError> {
    spawns.top_level(system, Props::create(move || Hanging(how)), name)?.tell(HangingMsg::Hang);
    Ok(())
}

/// Runs a node of this name with so many workers, none for the current-thread runtime, until it is killed. `start` runs in
/// the future that the runtime is given, which is no task.
///
/// # Panics
/// The node cannot be started.
pub fn run(node: &str, workers: usize, start: impl FnOnce(&ActorSystem)) -> ! {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers.max(1)).enable_all().build().unwrap();
    runtime.block_on(async {
        let system = ActorSystem::create(node, Config::empty()).await.unwrap();
        let telemetry = TelemetryExtension::new(node, 64).install(&system);
        println!("ready region={}", telemetry.region().path().unwrap().display());
        start(&system);
        std::future::pending::<()>().await;
    });
    unreachable!("it waits for ever");
}
