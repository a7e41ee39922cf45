//! Components that keep nothing, for tests of the wrappers around them.

use std::time::Duration;

use async_trait::async_trait;
use atomr_coordination::{Lease, LeaseError};
use atomr_persistence::{Journal, JournalError, PersistentRepr, SnapshotMetadata, SnapshotStore};

/// A journal, snapshot store and lease that keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stub {
    /// Every call ends at once and allocates nothing.
    Idle,
    /// A write takes as many milliseconds as the sequence number of its first event.
    Slow,
    /// No call ends.
    Endless,
    /// Every call panics.
    Panicking,
}

impl Stub {
    async fn end<T>(self, result: T) -> T {
        match self {
            Self::Idle | Self::Slow => result,
            Self::Endless => std::future::pending().await,
            Self::Panicking => panic!("the test asked for it"),
        }
    }
}

#[async_trait]
impl Journal for Stub {
    async fn write_messages(&self, messages: Vec<PersistentRepr>) -> Result<(), JournalError> {
        if let (Self::Slow, Some(first)) = (self, messages.first()) {
            tokio::time::sleep(Duration::from_millis(first.sequence_nr)).await;
        }
        self.end(Ok(())).await
    }

    async fn delete_messages_to(&self, _: &str, _: u64) -> Result<(), JournalError> {
        self.end(Ok(())).await
    }

    async fn replay_messages(
        &self,
        _: &str,
        _: u64,
        _: u64,
        _: u64,
    ) -> Result<Vec<PersistentRepr>, JournalError> {
        self.end(Ok(Vec::new())).await
    }

    async fn highest_sequence_nr(&self, _: &str, _: u64) -> Result<u64, JournalError> {
        self.end(Ok(0)).await
    }
}

#[async_trait]
impl SnapshotStore for Stub {
    async fn save(&self, _: SnapshotMetadata, _: Vec<u8>) {
        self.end(()).await;
    }

    async fn load(&self, _: &str) -> Option<(SnapshotMetadata, Vec<u8>)> {
        self.end(None).await
    }

    async fn delete(&self, _: &str, _: u64) {
        self.end(()).await;
    }
}

#[async_trait]
impl Lease for Stub {
    async fn acquire(&self, _: &str) -> Result<bool, LeaseError> {
        self.end(Ok(true)).await
    }

    async fn release(&self, _: &str) -> Result<(), LeaseError> {
        self.end(Ok(())).await
    }

    async fn check_lease(&self) -> Option<String> {
        self.end(None).await
    }
}
