//! Files that are read again when they change: a certificate and its key, or a token.

use std::fmt::{self, Debug, Formatter};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use atomscope::text::clean_path;

use crate::program::output::{Failure, note};

/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// What was read from the files when they could be used last.
pub struct Latest<T>(RwLock<Arc<T>>);

impl<T> Latest<T> {
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

// A value may be a secret.
impl<T> Debug for Latest<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Latest")
    }
}

/// Files, and what is read from them.
pub struct Renewed<T> {
    /// What it is, for notes.
    what: &'static str,
    files: Vec<PathBuf>,
    read_files: Box<dyn Fn() -> Result<T, Failure>>,
    latest: Arc<Latest<T>>,
    /// The files as they were when they were read last, and at the last look.
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
    /// Why the files could not be used when they were read last.
    failure: Option<String>,
    next_look: Instant,
}

/// What changes with a file: its number, its length, and the times of the last changes of its contents and of all else, such
/// as its owner, in seconds and nanoseconds. `None` if it is not there.
type Stamp = Option<(u64, u64, [(i64, i64); 2])>;

impl<T> Renewed<T> {
    /// Reads the files: `read_files` does.
    pub fn new(
        what: &'static str,
        files: &[&Path],
        read_files: impl Fn() -> Result<T, Failure> + 'static,
    ) -> Result<Self, Failure> {
        let files: Vec<_> = files.iter().map(|file| file.to_path_buf()).collect();
        // The files may change while they are read, so their stamps are older.
        let read = stamps(&files);
        let latest = Arc::new(Latest::new(read_files()?));
        let (seen, next_look) = (read.clone(), Instant::now() + LOOK);
        Ok(Self {
            what,
            files,
            read_files: Box::new(read_files),
            latest,
            read,
            seen,
            failure: None,
            next_look,
        })
    }

    pub fn latest(&self) -> Arc<Latest<T>> {
        self.latest.clone()
    }

    /// Reads the files again if they have changed, and says so on stderr. If they cannot be used, what was read before stays.
    pub fn renew(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + LOOK;
        if let Some(news) = self.look() {
            note(&news);
        }
    }

    /// Looks at the files. Returns what is new about them.
    fn look(&mut self) -> Option<String> {
        let stamps = stamps(&self.files);
        // One file is replaced after the other, so the files are read after two looks have found them unchanged.
        let is_settled = self.seen == stamps;
        self.seen = stamps;
        // A failure may pass without a change of the files: for a moment, no descriptor was free.
        if !is_settled || self.seen == self.read && self.failure.is_none() {
            return None;
        }
        self.read.clone_from(&self.seen);
        match (self.read_files)() {
            Ok(new) => {
                self.failure = None;
                self.latest.set(new);
                let file = self.files.first().map(|file| clean_path(file)).unwrap_or_default();
                Some(format!("the new {} in {file} is in use", self.what))
            }
            Err(failure) => {
                let failure = failure.to_string();
                let is_new = self.failure.as_ref() != Some(&failure);
                self.failure = Some(failure.clone());
                is_new.then(|| format!("{failure}; the previous {} stays in use", self.what))
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let meta = file.metadata().ok()?;
        let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Some((meta.ino(), meta.len(), times))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read_word(file: &Path) -> Result<String, Failure> {
        let word = fs::read_to_string(file).map_err(|error| Failure::Failed(error.to_string()))?;
        if word.is_empty() { Err(Failure::Failed("it is empty".to_owned())) } else { Ok(word) }
    }

    /// A file that says *old*.
    fn old() -> (tempfile::TempDir, Renewed<String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("word");
        fs::write(&file, "old").unwrap();
        let from = file.clone();
        let word = Renewed::new("word", &[&file], move || read_word(&from))
            .unwrap_or_else(|failure| panic!("{failure}"));
        (dir, word)
    }

    #[test]
    fn a_change_is_taken_up_once_two_looks_have_seen_it() {
        let (_dir, mut word) = old();
        let latest = word.latest();
        assert_eq!(word.look(), None);
        fs::write(&word.files[0], "newer").unwrap();
        assert_eq!((word.look(), latest.get().as_str()), (None, "old"));
        assert!(word.look().unwrap().starts_with("the new word in "));
        assert_eq!((word.look(), latest.get().as_str()), (None, "newer"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_noted_once_and_changes_nothing() {
        let (_dir, mut word) = old();
        fs::write(&word.files[0], "").unwrap();
        assert_eq!(word.look(), None);
        assert_eq!(word.look().unwrap(), "it is empty; the previous word stays in use");
        for _ in 0..3 {
            assert_eq!(word.look(), None);
        }
        fs::remove_file(&word.files[0]).unwrap();
        assert_eq!(word.look(), None);
        assert!(word.look().unwrap().contains("No such file"));
        assert_eq!(word.latest().get().as_str(), "old");
    }

    #[test]
    fn files_that_could_not_be_read_are_read_again() {
        let (_dir, mut word) = old();
        // As if no descriptor had been free at the last look.
        word.failure = Some("Too many open files".to_owned());
        assert!(word.look().unwrap().ends_with("is in use"));
        assert_eq!(word.look(), None);
    }

    #[test]
    fn a_file_that_becomes_readable_is_read() {
        let (_dir, mut word) = old();
        for _ in 0..1000 {
            fs::set_permissions(&word.files[0], Permissions::from_mode(0o640)).unwrap();
            if stamps(&word.files) != word.read {
                break;
            }
            // Two changes within one tick of the kernel's clock have the same time.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(word.look(), None);
        assert!(word.look().unwrap().ends_with("is in use"));
    }
}
