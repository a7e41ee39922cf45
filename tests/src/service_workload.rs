//! Other components of a node: streams that end, fail and run, distributed data, and another node behind a TCP
//! connection.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, Address, Context, Props};
use atomr_core::prelude::Config;
use atomr_distributed_data::{GCounter, GSet, NoopDurableStore, ReplicatorActor, WriteConsistency};
use atomr_remote::{RemoteSettings, RemoteSystem};
use atomr_streams::{RunnableGraph, Sink, Source};
use atomscope_probe::TelemetryExtension;

/// Runs all of them until `stop`; a round takes `pause`.
///
/// # Errors
///
/// If no port of the loopback interface can be bound.
pub async fn run(
    telemetry: &Arc<TelemetryExtension>,
    pause: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tokio::select! {
        biased;
        () = stop => Ok(()),
        () = streams(telemetry, pause) => Ok(()),
        () = distributed_data(telemetry, pause) => Ok(()),
        ended = associations(telemetry, pause) => ended,
    }
}

/// Prices flow without end; invoices are finite, and some of them fail.
async fn streams(telemetry: &Arc<TelemetryExtension>, pause: Duration) {
    let streams = &telemetry.streams;
    let prices = streams.watch("prices", Source::tick(Duration::ZERO, pause / 10, 1u64));
    let prices = Sink::ignore(prices);
    let invoices = async {
        for round in 0u64.. {
            let lines = Source::from_iter(
                (0..20).map(move |line| if line == round % 30 { Err(line) } else { Ok(line) }),
            );
            Sink::collect(streams.watch_results("invoice", lines)).await;
            let report = RunnableGraph::to_seq(Source::from_iter(0..round % 7));
            streams.watch_graph("report", report).run().await;
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = prices => {}
        () = invoices => {}
    }
}

/// Counts visits, and adds and removes carts.
async fn distributed_data(telemetry: &Arc<TelemetryExtension>, pause: Duration) {
    let replicator = ReplicatorActor::spawn_with(telemetry.ddata.wrap_store(Arc::new(NoopDurableStore)));
    telemetry.ddata.attach(replicator.inner());
    let _watching = replicator.inner().subscribe("visits", |_| {});
    for round in 1u64.. {
        let mut visits = GCounter::new();
        visits.increment("here", round);
        replicator.update("visits", visits, WriteConsistency::Local).await;
        let mut cart = GSet::<String>::default();
        cart.add(format!("item-{round}"));
        replicator.update(format!("cart-{}", round % 5), cart, WriteConsistency::Local).await;
        if round % 3 == 0 {
            replicator.delete(format!("cart-{}", (round + 1) % 5)).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Receives the parcels at the other warehouse.
struct Dock;

#[async_trait]
impl Actor for Dock {
    type Msg = u64;
    async fn handle(&mut self, _: &mut Context<Self>, _: u64) {}
}

/// Parcels go to another node behind a TCP connection on the loopback interface, and come back. One more node is
/// quarantined, and one has closed.
async fn associations(
    telemetry: &Arc<TelemetryExtension>,
    pause: Duration,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let start = async |name: &str| -> Result<RemoteSystem, Box<dyn Error + Send + Sync>> {
        let system = ActorSystem::create(name, Config::reference()).await?;
        let remote = RemoteSystem::start(system, "127.0.0.1:0".parse()?, RemoteSettings::default()).await?;
        remote.register_bincode::<u64>();
        remote.expose_actor(remote.system.actor_of(Props::create(|| Dock), "dock")?);
        Ok(remote)
    };
    let (here, there) = (start("here").await?, start("there").await?);
    telemetry.remote.attach(here.endpoint_manager().clone());
    let gone = |name: &str| Address::remote("akka.tcp", name, "127.0.0.1", 1);
    here.endpoint_manager().quarantine(&gone("cheats")).await;
    let dock = |from: &RemoteSystem, at: &Address| from.actor_selection::<u64>(&format!("{at}/user/dock"));
    let docks = [
        dock(&here, &there.local_address),
        dock(&there, &here.local_address),
        dock(&here, &gone("closed-down")),
    ];
    loop {
        for dock in docks.iter().flatten() {
            (0..10).for_each(|parcel| dock.tell(parcel));
        }
        tokio::time::sleep(pause).await;
    }
}
