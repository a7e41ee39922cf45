//! Holders that contend for a lease.

use atomr_coordination::Lease;

/// What came of contending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Contended {
    pub acquired: u64,
    pub denied: u64,
}

impl Contended {
    /// Takes over what came of it beside this.
    pub fn add(&mut self, other: Self) {
        self.acquired += other.acquired;
        self.denied += other.denied;
    }
}

/// Asks for a lease so many times, holds it for a moment whenever it is granted, and gives it back.
///
/// # Panics
/// If a lease that was granted cannot be given back.
pub async fn contend<L: Lease + ?Sized>(lease: &L, owner: &str, rounds: u64) -> Contended {
    let mut done = Contended::default();
    for _ in 0..rounds {
        match lease.acquire(owner).await {
            Ok(true) => {
                done.acquired += 1;
                tokio::task::yield_now().await;
                lease.release(owner).await.expect("it is held");
            }
            _ => done.denied += 1,
        }
    }
    done
}
