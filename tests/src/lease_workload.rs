//! Owners that compete for a lease.

use atomr_coordination::Lease;

/// The results of competing for a lease.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names explain the fields")]
pub struct Contended {
    pub acquired: u64,
    pub denied: u64,
}

impl Contended {
    /// Adds the results of another owner.
    pub fn add(&mut self, other: Self) {
        self.acquired += other.acquired;
        self.denied += other.denied;
    }
}

/// Tries to acquire a lease so many times, holds it for a moment when it is granted, and releases it.
///
/// # Panics
/// If a granted lease cannot be released.
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
