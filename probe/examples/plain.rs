//! A program of threads, without an actor system: an importer whose workers show what they do.
//!
//! ```text
//! cargo run -p atomscope-probe --no-default-features --example plain
//! atomscope show importer       # in another shell
//! atomscope records importer
//! atomscope tail importer --topic batches
//! ```
//! It runs until it is killed.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use atomscope_probe::{Counter, Histogram, Level, RecordEvents, RecordHandle, Region};

atomscope_probe::record! {
    /// What a worker does.
    struct Worker { file: Text<24>, rows: u64 "rows", busy: bool }

    /// A batch was written.
    struct Batch { worker: u32, rows: u32 "rows", took: f64 "ms" }
}

const WORKERS: u32 = 4;
const ROWS_PER_BATCH: u32 = 250;

struct Importer {
    number: u32,
    state: RecordHandle<Worker>,
    rows: Counter,
    took: Histogram,
    batches: RecordEvents<Batch>,
}

impl Importer {
    fn new(region: &Region, number: u32) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            number,
            state: region.record(&format!("worker-{number}"))?,
            rows: region.counter("rows.read", "rows", "Rows that were read"),
            took: region.histogram("batch.time", "us", "Time to write a batch"),
            batches: region.events_of("batches")?,
        })
    }

    fn work(mut self) {
        for batch in 0.. {
            let (file, rows) = (format!("part-{batch}.csv"), batch * u64::from(ROWS_PER_BATCH));
            self.state.publish(&Worker { file: file.as_str().into(), rows, busy: true });
            let took = write_batch(self.number);
            self.rows.add(ROWS_PER_BATCH.into());
            self.took.record(took.as_micros() as u64);
            let event =
                Batch { worker: self.number, rows: ROWS_PER_BATCH, took: took.as_secs_f64() * 1000.0 };
            self.batches.publish(Level::Info, &event);
            self.state.publish(&Worker { file: file.as_str().into(), rows, busy: false });
        }
    }
}

/// Stands for the work.
fn write_batch(worker: u32) -> Duration {
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(10 + u64::from(worker)));
    begun.elapsed()
}

fn main() -> Result<(), Box<dyn Error>> {
    let region = Region::builder("importer").build()?;
    let importers = (0..WORKERS).map(|number| Importer::new(&region, number));
    let importers = importers.collect::<Result<Vec<_>, _>>()?;
    region.events("batches")?.publish(Level::Info, "the import begins");
    thread::scope(|scope| {
        for importer in importers {
            scope.spawn(|| importer.work());
        }
    });
    Ok(())
}
