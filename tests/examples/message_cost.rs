//! What it costs to count a message. Usage: `cargo run --release -p atomscope-tests --example message_cost`.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Metadata, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use tokio::sync::oneshot;

struct Plain;

enum Message {
    Nothing,
    Await,
    Done(oneshot::Sender<()>),
}

#[async_trait]
impl Actor for Plain {
    type Msg = Message;

    async fn handle(&mut self, _: &mut Context<Self>, message: Message) {
        match message {
            Message::Nothing => {}
            Message::Await => tokio::task::yield_now().await,
            Message::Done(done) => drop(done.send(())),
        }
    }
}

async fn round(actors: &[ActorRef<Message>], each: usize, awaits: bool) -> f64 {
    let start = Instant::now();
    for actor in actors {
        for _ in 0..each {
            actor.tell(if awaits { Message::Await } else { Message::Nothing });
        }
    }
    for actor in actors {
        let (done, is_done) = oneshot::channel();
        actor.tell(Message::Done(done));
        let _ = is_done.await;
    }
    start.elapsed().as_nanos() as f64 / (each * actors.len()) as f64
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for every in [16, 1, 65_536] {
        let system = ActorSystem::create(format!("cost-{every}"), Config::empty()).await.unwrap();
        let region = Region::builder(format!("cost-{every}")).time_every(every).private().build().unwrap();
        let telemetry = TelemetryExtension::with_region(region).install(&system);
        let probe = telemetry.actors.clone();
        // The calls alone.
        let props = probe.instrument(Props::create(|| Plain));
        let calls = tokio::spawn(async move {
            // The factory gives the task its cell.
            let _ = props.new_actor();
            let (interceptor, metadata) = (props.interceptor.clone().unwrap(), Metadata::new());
            let mut least = f64::MAX;
            for _ in 0..2_000 {
                let start = Instant::now();
                for _ in 0..1_000 {
                    drop(std::hint::black_box(interceptor.before_handle(std::hint::black_box(&metadata))));
                }
                least = least.min(start.elapsed().as_nanos() as f64 / 1_000.0);
            }
            least
        });
        let spawned = |kind: &str| {
            let mut least = f64::MAX;
            for round in 0..200 {
                let start = Instant::now();
                for number in 0..50 {
                    let name = format!("{kind}-{round}-{number}");
                    let actor = match kind {
                        "plain" => system.actor_of(Props::create(|| Plain), &name),
                        _ => telemetry.actors.spawn(&system, Props::create(|| Plain), &name),
                    };
                    actor.unwrap().stop();
                }
                least = least.min(start.elapsed().as_nanos() as f64 / 50.0);
            }
            least
        };
        println!("a spawn: plain {:.0} ns, counted {:.0} ns", spawned("plain"), spawned("counted"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        println!("timed 1 in {every}: calls alone (of several) {:.2} ns", calls.await.unwrap());
        for (actors, each) in [(1, 2_000), (64, 64), (2_000, 4)] {
            let plain: Vec<_> = (0..actors)
                .map(|n| system.actor_of(Props::create(|| Plain), &format!("p{actors}-{n}")).unwrap())
                .collect();
            let counted: Vec<_> = (0..actors)
                .map(|n| probe.spawn(&system, Props::create(|| Plain), &format!("c{actors}-{n}")).unwrap())
                .collect();
            for awaits in [false, true] {
                let (mut of_plain, mut of_counted) = (f64::MAX, f64::MAX);
                let until = Instant::now() + Duration::from_secs(3);
                while Instant::now() < until {
                    of_plain = of_plain.min(round(&plain, each, awaits).await);
                    of_counted = of_counted.min(round(&counted, each, awaits).await);
                }
                println!(
                    "{actors} actors, awaits {awaits}: {of_plain:.1} ns, counted {of_counted:.1} ns: + {:.1} ns",
                    of_counted - of_plain
                );
            }
        }
    }
}
