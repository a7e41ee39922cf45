//! A real atomr node with the probe, which runs until it is killed: the shop of [`atomscope_tests::workload`], and real
//! components of all other kinds.
//!
//! It prints one line when it is up: `ready node=NAME pid=PID region=PATH`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atomr_coordination::{InMemoryLease, Lease as _};
use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomr_persistence::{InMemorySnapshotStore, RecoveryPermitter};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::end::{End, end};
use atomscope_tests::hang::{Hang, hang};
use atomscope_tests::persistence_workload::{self, Bank, Flaky, ShortJournal};
use atomscope_tests::spawns::Spawns;
use atomscope_tests::{cluster_workload, lease_workload, service_workload, sharding_workload, workload};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Run an atomr node with the atomscope probe, to try out the program
#[derive(Parser)]
struct Arguments {
    /// Name of the node
    #[arg(long, default_value = "demo")]
    node: String,
    /// End after this many seconds; without it run until killed
    #[arg(long)]
    seconds: Option<u64>,
    /// Actors to spawn and stop per second; 0 is as fast as possible
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Put the region into this file instead of a named segment
    #[arg(long, value_name = "PATH")]
    region: Option<PathBuf>,
    /// Run without the probe
    #[arg(long)]
    no_probe: bool,
    /// Run only the shop: no cluster, shards, journals, streams, distributed data, other nodes and leases
    #[arg(long)]
    shop_alone: bool,
    /// Let the handler of one more actor hang
    #[arg(long, value_name = "HOW")]
    hang: Option<Hang>,
    /// End in this way, after the seconds or when told
    #[arg(long, value_name = "HOW")]
    end: Option<End>,
    /// Let the probe note a signal that ends the process
    #[arg(long)]
    note_signals: bool,
}

/// Number of accounts of the bank, and events that it keeps of each.
const ACCOUNTS: u64 = 5;
const KEPT_EVENTS: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let telemetry = match (arguments.no_probe, &arguments.region) {
        (true, _) => None,
        (false, place) => {
            let region = Region::builder(&arguments.node).note_signals(arguments.note_signals).depth(true);
            Some(TelemetryExtension::with_region(match place {
                Some(path) => region.file(path).build()?,
                None => region.build_or_private(),
            }))
        }
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(telemetry) = &telemetry {
        telemetry.watch_runtime(&mut runtime);
    }
    runtime.enable_all().build()?.block_on(run(arguments, telemetry))
}

async fn run(arguments: Arguments, telemetry: Option<Arc<TelemetryExtension>>) -> Result<(), Box<dyn Error>> {
    let system = ActorSystem::create("shop", Config::empty()).await?;
    let telemetry = telemetry.map(|telemetry| telemetry.install(&system));
    let place = telemetry.as_ref().and_then(|telemetry| telemetry.region().path());
    println!(
        "ready node={} pid={} region={}",
        arguments.node,
        std::process::id(),
        place.map_or("none".into(), |path| path.display().to_string())
    );
    let components = telemetry.clone().filter(|_| !arguments.shop_alone).map(|telemetry| {
        let system = system.clone();
        tokio::spawn(
            async move { beside_the_shop(&system, &telemetry).await.map_err(|error| error.to_string()) },
        )
    });
    let spawns = Spawns::instrumented(telemetry.as_ref());
    if let Some(how) = arguments.hang {
        hang(&system, &spawns, "hanging", how)?;
    }
    // Whoever is to end by a signal must not handle it.
    let handles_signals = arguments.end != Some(End::Term);
    workload::run(&system, &spawns, arguments.rate, until_told(arguments.seconds, handles_signals)).await?;
    if let Some(how) = arguments.end {
        end(&system, &spawns, how).await?;
    }
    if let Some(components) = components {
        components.abort();
        if let Ok(ended) = components.await {
            ended?;
        }
    }
    if let Some(telemetry) = &telemetry {
        telemetry.region().stopping();
    }
    system.terminate().await;
    Ok(())
}

/// Everything but the shop, in steps of a tenth of a second: clusters that lose a member, shards that move, accounts in
/// a journal that sometimes fails, contended leases, streams, distributed data, and another node behind TCP.
async fn beside_the_shop(
    system: &ActorSystem,
    telemetry: &Arc<TelemetryExtension>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    const PAUSE: Duration = Duration::from_millis(100);
    let never = std::future::pending::<()>;
    let TelemetryExtension { persistence, leases, .. } = &**telemetry;
    let journal = Flaky::new(ShortJournal::new(), 20);
    let bank = Bank {
        journal: persistence.wrap_journal("accounts", journal),
        snapshots: persistence.wrap_snapshot_store(InMemorySnapshotStore::new()),
        snapshot_every: 10,
    };
    let permitter = RecoveryPermitter::new(4);
    persistence.watch_recovery(&permitter);
    let recoveries = async {
        loop {
            let _recovering = permitter.acquire().await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let old_events = async {
        loop {
            tokio::time::sleep(10 * PAUSE).await;
            persistence_workload::forget(&bank, ACCOUNTS, KEPT_EVENTS).await;
        }
    };
    let leader = InMemoryLease::new();
    let (ours, theirs) = (leases.wrap("leader", leader.clone()), leader);
    let contenders = async {
        loop {
            lease_workload::contend(&*ours, "demo", 1).await;
            if theirs.acquire("another").await.is_ok() {
                lease_workload::contend(&*ours, "demo", 1).await;
                drop(theirs.release("another").await);
            }
            // Hold the lease, and lose it.
            if ours.acquire("demo").await.is_ok() {
                tokio::time::sleep(PAUSE).await;
                drop(ours.acquire("demo").await);
                drop(theirs.release("demo").await);
                drop(ours.release("demo").await);
            }
        }
    };
    tokio::select! {
        () = cluster_workload::run(telemetry, PAUSE, never()) => {}
        () = sharding_workload::run(telemetry, PAUSE, never()) => {}
        () = persistence_workload::run(system, &bank, ACCOUNTS, never()) => {}
        () = recoveries => {}
        () = old_events => {}
        () = contenders => {}
        ended = service_workload::run(telemetry, PAUSE, never()) => ended?,
    }
    Ok(())
}

/// Returns after so many seconds, or at the first SIGINT or SIGTERM if they are handled.
async fn until_told(seconds: Option<u64>, handles_signals: bool) {
    let elapsed = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let stop = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    if !handles_signals {
        return elapsed.await;
    }
    tokio::select! {
        () = elapsed => {}
        _ = stop => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
