//! Support for tests of several processes: the workspace's programs, nodes that end with the test, and the test program
//! itself as another process.

pub mod dumps;
pub mod exporter;
pub mod stubs;

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest time that a test waits for something.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Copies a program that is then run. Another process writes the copy: a child that this one starts meanwhile in another
/// thread would inherit the open file, and the kernel runs no program that is open for writing.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {from:?} to {to:?}");
}

/// The path of the workspace's program of this name. The first call builds all programs, because `cargo test` does not
/// build those of other packages.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of the running program");
        let mut folder = own.parent().expect("a folder").to_path_buf();
        if folder.ends_with("deps") || folder.ends_with("examples") {
            folder.pop();
        }
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(feature = "quorum") {
            build.arg("--workspace");
        } else {
            // On atomr 0.9 the benchmarks do not compile.
            build.args(["-p", "atomscope", "-p", "atomscope-tests", "--no-default-features"]);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(folder.parent().expect("the target folder"));
        // What cargo says of the running package. With it, build scripts that ask for their own would run again, here and in
        // the next call of cargo, and programs would be replaced while they run.
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in
            names.filter(|name| of_package.iter().any(|start| name.to_string_lossy().starts_with(start)))
        {
            build.env_remove(name);
        }
        let built = build.output().expect("cargo can be run");
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "cargo could not build the workspace's programs: {errors}");
        folder
    });
    folder.join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Runs `atomscope` with these arguments to its end.
pub fn atomscope<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(program("atomscope"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("atomscope can be run")
}

/// Runs `atomscope` with arguments for which it must succeed and print JSON.
pub fn atomscope_json<A: AsRef<OsStr> + Debug>(arguments: impl IntoIterator<Item = A>) -> Value {
    let arguments: Vec<A> = arguments.into_iter().collect();
    let output = atomscope(&arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "atomscope {arguments:?} failed: {error}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("atomscope {arguments:?} did not print JSON: {error}"))
}

/// The rows of `atomscope ps --json` for this pid.
pub fn listed(pid: u32) -> Vec<Value> {
    let all = atomscope_json(["ps", "--json"]);
    let all = all.as_array().expect("an array").clone();
    all.into_iter().filter(|node| node["pid"] == pid).collect()
}

/// Waits until `condition` holds, and fails with `what` if it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut deadline = None;
    while !condition() {
        // The first look may have built the programs.
        let deadline = deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        assert!(Instant::now() < *deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that drop kills.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node in another process. Drop kills the process and removes its named region.
#[derive(Debug)]
pub struct Node {
    child: Child,
    output: BufReader<ChildStdout>,
    region: Option<PathBuf>,
}

impl Node {
    /// Starts `demo-node` with these arguments and waits until it is ready.
    pub fn demo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start(Command::new(program("demo-node")).args(arguments))
    }

    /// Starts a program, and waits until it writes `ready … region=PATH` to its standard output.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// As [`Self::start`], with this standard input.
    pub fn start_with(command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut node = Self { child, output, region: None };
        let ready = node.line_with("ready ");
        let place = ready.rsplit_once("region=").map(|(_, path)| path.trim());
        node.region = place.filter(|path| *path != "none").map(PathBuf::from);
        node
    }

    /// Waits for a line of its output that contains `mark`, and returns the text after the mark.
    pub fn line_with(&mut self, mark: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.output.read_line(&mut line).expect("its output can be read");
            assert_ne!(read, 0, "the node ended without saying `{mark}`: {:?}", self.child.try_wait());
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim_end().to_owned();
            }
        }
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pid as an argument.
    pub fn who(&self) -> String {
        self.pid().to_string()
    }

    /// The path of its region.
    pub fn region(&self) -> &Path {
        self.region.as_deref().expect("the node has a shared region")
    }

    /// Sends a signal to the node, by its name in the shell, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.who()]).status().expect("kill can be run");
        assert!(sent.success(), "could not send SIG{name} to {}", self.pid());
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it can be waited for")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(region) = &self.region {
            let _ = std::fs::remove_file(region);
        }
    }
}

/// Processor time of all threads of a process. A process that has ended still has it until its parent waits for it.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
        sum += Duration::from_nanos(ns.ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(sum)
}

/// Private memory of a process in bytes, without files and shared memory.
pub fn own_memory(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(kib * 1024)
}

/// A memory control group for this test, with enough memory for the host but not for a region. It is next to or below
/// the present one. `None` if this user may not make one.
pub fn small_control_group() -> Option<PathBuf> {
    const LIMIT_BYTES: &str = "67108864";
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let below = |root: &str, prefix: &str| {
        let line = own.lines().find(|line| line.contains(prefix))?;
        let path = line.rsplit(':').next()?.trim_start_matches('/');
        let folders = [Path::new(root).join(path), Path::new(root).to_path_buf()];
        folders.into_iter().find(|folder| folder.is_dir())
    };
    let name = format!("atomscope-test-{}", std::process::id());
    for (root, prefix, limit) in [
        ("/sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "0::", "memory.max"),
    ] {
        let Some(group) = below(root, prefix).map(|folder| folder.join(&name)) else { continue };
        if std::fs::create_dir(&group).is_ok() {
            if std::fs::write(group.join(limit), LIMIT_BYTES).is_ok() {
                return Some(group);
            }
            let _ = std::fs::remove_dir(&group);
        }
    }
    None
}

/// A region's memory, mapped as a reader maps it.
#[allow(unsafe_code, reason = "the test maps a region, as a reader does")]
pub fn mapped(map: memmap2::MmapRaw) -> atomscope_layout::view::ReaderMemory {
    let start = std::ptr::NonNull::new(map.as_mut_ptr()).expect("a mapping");
    let bytes = map.len();
    // SAFETY: the mapping starts on a page, and is valid for reads of its length as long as `map` lives, which the
    // memory keeps; a move of `map` does not move the mapping. The writer is another process, or this one through
    // atomics.
    unsafe { atomscope_layout::view::ReaderMemory::mapped(start, bytes, map) }
}

/// A command that runs the test `name` of this test program in another process, with `ATOMSCOPE_TEST_CHILD` = `role`.
pub fn again(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of the running program"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("ATOMSCOPE_TEST_CHILD", role);
    command
}

/// The role that [`again`] gave this process; `None` if it was started otherwise.
pub fn role() -> Option<String> {
    std::env::var("ATOMSCOPE_TEST_CHILD").ok()
}
