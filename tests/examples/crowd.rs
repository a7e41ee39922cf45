//! A node with very many idle actors: a large region to read.
//!
//! `cargo run --release -p atomscope-tests --example crowd -- ACTORS REGION` prints `ready` and waits to be killed.

use std::path::Path;

use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::crowd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let actors: usize = arguments.next().ok_or("how many actors?")?.parse()?;
    let path = arguments.next().ok_or("where is the region to be?")?;
    let region = Region::builder("crowd").actors(actors).file(Path::new(&path)).build()?;
    let telemetry = TelemetryExtension::with_region(region);
    crowd::populate(&telemetry, actors);
    println!("ready");
    loop {
        std::thread::park();
    }
}
