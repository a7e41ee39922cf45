//! A service on tokio, without an actor system: it answers each line that it is sent, and two clients keep it busy.
//!
//! ```text
//! cargo run -p atomscope-probe --no-default-features --example service
//! atomscope top echo            # in another shell
//! atomscope metrics echo
//! atomscope records echo
//! ```
//! It runs until it is killed.

use std::error::Error;
use std::time::{Duration, Instant};

use atomscope_probe::{Counter, Events, Histogram, Level, Region};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

atomscope_probe::record! {
    /// An open connection. Its record goes when it is closed.
    struct Connection { peer: Text<48>, requests: u64 "requests", slowest: u64 "us" }
}

const REQUESTS_PER_CONNECTION: u32 = 200;

#[derive(Clone)]
struct Service {
    region: Region,
    requests: Counter,
    latency: Histogram,
    connections: Events,
}

impl Service {
    fn new(region: Region) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            requests: region.counter("requests", "requests", "Requests that were answered"),
            latency: region.histogram("request.time", "us", "Time from a request to its answer"),
            connections: region.events("connections")?,
            region,
        })
    }

    async fn serve(&self, stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
        let peer = stream.peer_addr()?.to_string();
        // A connection is served even if telemetry has no room for its record.
        let mut record = self.region.record::<Connection>(&peer).ok();
        let mut connection = Connection { peer: peer.as_str().into(), requests: 0, slowest: 0 };
        record.iter_mut().for_each(|record| record.publish(&connection));
        let (from, mut to) = stream.into_split();
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await? {
            let begun = Instant::now();
            to.write_all(format!("{line}\n").as_bytes()).await?;
            let took = begun.elapsed().as_micros() as u64;
            self.requests.add(1);
            self.latency.record(took);
            connection.requests += 1;
            connection.slowest = connection.slowest.max(took);
            record.iter_mut().for_each(|record| record.publish(&connection));
        }
        self.connections
            .publish(Level::Info, &format!("{peer} closed after {} requests", connection.requests));
        Ok(())
    }
}

/// Keeps the service busy.
async fn client(address: std::net::SocketAddr) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let (from, mut to) = TcpStream::connect(address).await?.into_split();
        let mut lines = BufReader::new(from).lines();
        for number in 0..REQUESTS_PER_CONNECTION {
            to.write_all(format!("{number}\n").as_bytes()).await?;
            lines.next_line().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = Service::new(Region::builder("echo").build()?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    (0..2).for_each(|_| drop(tokio::spawn(client(address))));
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            if let Err(error) = service.serve(stream).await {
                service.connections.publish(Level::Warn, &format!("{peer}: {error}"));
            }
        });
    }
}
