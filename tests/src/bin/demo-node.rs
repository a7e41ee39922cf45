//! A real atomr node that the probe makes visible: the workload of [`atomscope_tests::workload`] until it is killed.
//!
//! Prints one line when it is up: `ready node=NAME pid=PID region=PATH`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::workload;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Runs an atomr node with the atomscope probe, so that there is something to look at.
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
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let system = ActorSystem::create("shop", Config::empty()).await?;
    let telemetry = match (arguments.no_probe, &arguments.region) {
        (true, _) => None,
        (false, None) => Some(TelemetryExtension::new(&arguments.node, 1024)),
        (false, Some(path)) => {
            let region = Region::builder(&arguments.node).file(path).build()?;
            Some(TelemetryExtension::with_region(region))
        }
    };
    let telemetry = telemetry.map(|telemetry| telemetry.install(&system));
    let place = telemetry.as_ref().and_then(|telemetry| telemetry.region().path());
    println!(
        "ready node={} pid={} region={}",
        arguments.node,
        std::process::id(),
        place.map_or("none".into(), |path| path.display().to_string())
    );
    workload::run(&system, arguments.rate, until_told(arguments.seconds)).await?;
    if let Some(telemetry) = &telemetry {
        telemetry.region().stopping();
    }
    system.terminate().await;
    Ok(())
}

/// Ends after so many seconds, or with the first interrupt or request to terminate.
async fn until_told(seconds: Option<u64>) {
    let elapsed = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let told = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = elapsed => {}
        _ = told => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
