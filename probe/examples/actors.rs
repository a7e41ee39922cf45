//! A node on atomr: a till that counts what it sells, and its customers.
//!
//! ```text
//! cargo run -p atomscope-probe --example actors
//! atomscope top shop-1          # in another shell
//! atomscope actors shop-1 --tree
//! atomscope hot shop-1
//! ```
//! It runs until it is killed.

use std::time::Duration;

use async_trait::async_trait;
use atomr_core::prelude::*;
use atomscope_probe::{Counter, TelemetryExtension};

/// Sells.
struct Till {
    sold: Counter,
}

#[async_trait]
impl Actor for Till {
    type Msg = u64;

    async fn handle(&mut self, _: &mut Context<Self>, pieces: u64) {
        self.sold.add(pieces);
    }
}

/// Buys whenever it is told to.
struct Customer {
    till: ActorRef<u64>,
}

#[async_trait]
impl Actor for Customer {
    type Msg = u64;

    async fn handle(&mut self, _: &mut Context<Self>, pieces: u64) {
        self.till.tell(pieces);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = ActorSystem::create("shop", Config::empty()).await?;
    let telemetry = TelemetryExtension::new("shop-1", 1024).install(&system);
    let sold = telemetry.region().counter("pieces.sold", "pieces", "Pieces that were sold");

    // Instead of `system.actor_of`, so that the messages of these actors are counted.
    let till = Props::create(move || Till { sold: sold.clone() });
    let till = telemetry.actors.spawn(&system, till, "till")?;
    let customers = (0..3).map(|number| {
        let till = till.clone();
        let customer = Props::create(move || Customer { till: till.clone() });
        telemetry.actors.spawn(&system, customer, &format!("customer-{number}"))
    });
    let customers = customers.collect::<Result<Vec<_>, _>>()?;
    loop {
        customers.iter().zip(1..).for_each(|(customer, pieces)| customer.tell(pieces));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
