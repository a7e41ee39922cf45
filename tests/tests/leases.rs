//! Leases, read from another process.

use std::sync::Arc;

use async_trait::async_trait;
use atomr_coordination::{InMemoryLease, Lease, LeaseError, LeaseRegistry};
use atomscope_probe::TelemetryExtension;
use atomscope_tests::lease_workload::{Contended, contend};
use atomscope_tests::support::dumps::{dump, metric};
use serde_json::{Value, json};

fn leases(telemetry: &TelemetryExtension) -> Value {
    let mut leases = dump(telemetry)["atomscope"]["instances"]["leases"].take();
    for lease in leases.as_array_mut().into_iter().flatten() {
        lease.as_object_mut().unwrap().remove("since");
    }
    leases
}

#[tokio::test]
async fn a_lease_is_followed_from_its_acquisition_to_its_loss() {
    let telemetry = TelemetryExtension::new("leases-1", 64);
    let lease = InMemoryLease::new();
    let probed = telemetry.leases.wrap("leader", lease.clone());
    let expected = |holder: &str, numbers: [u64; 5], held: bool| {
        let [acquired, denied, lost, released, renewed] = numbers;
        json!([{ "name": "leader", "holder": holder, "acquired": acquired, "denied": denied, "lost": lost,
            "released": released, "held": held, "renewed": renewed }])
    };
    assert_eq!(leases(&telemetry), expected("", [0, 0, 0, 0, 0], false));
    assert!(probed.acquire("a").await.unwrap());
    assert_eq!(leases(&telemetry), expected("a", [1, 0, 0, 0, 0], true));
    assert!(probed.acquire("a").await.unwrap());
    assert_eq!(leases(&telemetry), expected("a", [1, 0, 0, 0, 1], true));
    assert!(probed.acquire("b").await.is_err());
    assert!(probed.release("b").await.is_err());
    assert_eq!(leases(&telemetry), expected("a", [1, 1, 0, 0, 1], true));
    probed.release("a").await.unwrap();
    assert_eq!(leases(&telemetry), expected("", [1, 1, 0, 1, 1], false));

    // An owner in another process holds the lease.
    assert!(lease.acquire("far").await.unwrap());
    assert!(probed.acquire("a").await.is_err());
    assert_eq!(leases(&telemetry), expected("far", [1, 2, 0, 1, 1], false));
    lease.release("far").await.unwrap();
    assert!(probed.acquire("a").await.unwrap());
    // The owner loses the lease, and notices it by a check, by a release, by acquiring again, or because another owner
    // is denied.
    for (lost, way) in (1..).zip(["check", "release", "acquire", "denial"]) {
        lease.release("a").await.unwrap();
        assert!(lease.acquire("far").await.unwrap());
        match way {
            "check" => assert_eq!(probed.check_lease().await.as_deref(), Some("far")),
            "release" => assert!(probed.release("a").await.is_err()),
            "acquire" => assert!(probed.acquire("a").await.is_err()),
            _ => assert!(probed.acquire("b").await.is_err()),
        }
        let now = leases(&telemetry);
        assert_eq!((&now[0]["lost"], &now[0]["held"]), (&json!(lost), &json!(false)), "{way}");
        assert_eq!(now[0]["holder"], if way == "release" { "" } else { "far" }, "{way}");
        lease.release("far").await.unwrap();
        assert!(probed.acquire("a").await.unwrap());
    }
    assert_eq!(metric(&dump(&telemetry), "leases.lost"), 4);
    assert_eq!(metric(&dump(&telemetry), "leases.acquired"), 6);
}

/// A lease that answers late: other calls run between the operation and its answer.
struct Late(Arc<InMemoryLease>);

#[async_trait]
impl Lease for Late {
    async fn acquire(&self, owner: &str) -> Result<bool, LeaseError> {
        let answer = self.0.acquire(owner).await;
        tokio::task::yield_now().await;
        answer
    }

    async fn release(&self, owner: &str) -> Result<(), LeaseError> {
        let answer = self.0.release(owner).await;
        tokio::task::yield_now().await;
        answer
    }

    async fn check_lease(&self) -> Option<String> {
        let answer = self.0.check_lease().await;
        tokio::task::yield_now().await;
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_that_contend_for_a_lease_are_counted_exactly() {
    const ROUNDS: u64 = 1000;
    for holders in [&["north", "south"][..], &["north", "south", "east", "west"]] {
        let telemetry = TelemetryExtension::new("leases-2", 64);
        let registry = LeaseRegistry::new();
        // Each owner has its own wrapper; together they know the owner.
        let wrap = || telemetry.leases.wrap("shard-1", Arc::new(Late(registry.get_or_create("shard-1"))));
        let _kept = wrap();
        let contenders = holders.iter().map(|owner| {
            let lease = wrap();
            tokio::spawn(async move {
                let mut done = Contended::default();
                for _ in 0..ROUNDS {
                    done.add(contend(&*lease, owner, 1).await);
                    lease.check_lease().await;
                }
                done
            })
        });
        let mut done = Contended::default();
        for contender in contenders.collect::<Vec<_>>() {
            done.add(contender.await.unwrap());
        }
        let Contended { acquired, denied } = done;
        // Two owners may take turns so evenly that neither is ever denied.
        assert!(acquired > 0 && (denied > 0 || holders.len() == 2), "{done:?}");
        let expected = json!([{ "name": "shard-1", "holder": "", "acquired": acquired, "denied": denied,
            "lost": 0, "released": acquired, "held": false, "renewed": 0 }]);
        assert_eq!(leases(&telemetry), expected);
        assert_eq!(metric(&dump(&telemetry), "leases.acquired"), acquired);
        assert_eq!(metric(&dump(&telemetry), "leases.denied"), denied);
    }
}

#[tokio::test]
async fn a_lease_that_nobody_wraps_any_more_goes_when_another_is_wrapped() {
    let telemetry = TelemetryExtension::new("leases-3", 64);
    let names = || {
        let leases = leases(&telemetry);
        let names = leases.as_array().unwrap().iter().map(|lease| lease["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let first = telemetry.leases.wrap("first", InMemoryLease::new());
    let second = telemetry.leases.wrap("second", InMemoryLease::new());
    drop(first);
    assert_eq!(names(), ["first", "second"]);
    let _third = telemetry.leases.wrap("third", InMemoryLease::new());
    assert_eq!(names(), ["second", "third"]);
    assert!(second.acquire("a").await.unwrap());
}
