//! A node of very many actors that do nothing: something large to look at.
//!
//! `cargo run --release -p atomscope-tests --example crowd -- ACTORS REGION` prints `ready` and waits to be killed.

use std::path::Path;

use atomr_core::actor::{ActorPath, Address, SpawnObserver};
use atomscope_probe::{Region, TelemetryExtension};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let actors: usize = arguments.next().ok_or("how many actors?")?.parse()?;
    let path = arguments.next().ok_or("where is the region to be?")?;
    let region = Region::builder("crowd").actors(actors).file(Path::new(&path)).build()?;
    let telemetry = TelemetryExtension::with_region(region);
    let user = ActorPath::root(Address::local("crowd")).child("user");
    let types = ["shop::orders::Order", "shop::orders::Payment", "shop::stock::Shelf"];
    let spawned = |path: &ActorPath, number: usize| {
        telemetry.actors.on_spawn(path, path.parent().as_ref(), types[number % types.len()]);
    };
    for team in 0..actors.div_ceil(1000) {
        let parent = user.child(format!("team-{team}"));
        spawned(&parent, team);
        for member in 1..1000.min(actors - team * 1000) {
            spawned(&parent.child(format!("member-{member}")), member);
        }
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
