//! `atomscope export prometheus` as another process, and what it serves.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use super::{PATIENCE, Running, program};

/// `atomscope export prometheus`, with its address. Drop kills it.
#[derive(Debug)]
pub struct Exporter {
    /// Its process.
    pub running: Running,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Exporter {
    /// Starts it with these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(Command::new(program("atomscope")), arguments)
    }

    /// Starts it by a command that runs `atomscope`.
    pub fn start_with(mut atomscope: Command, arguments: &[&str]) -> Self {
        atomscope.args(["export", "prometheus", "--listen", "127.0.0.1:0"]).args(arguments);
        let started = atomscope.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut running = Running(started.expect("atomscope can be run"));
        let mut line = String::new();
        let mut stderr = BufReader::new(running.0.stderr.take().expect("it is piped"));
        stderr.read_line(&mut line).expect("a text");
        let address = line.rsplit_once("://").and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {line}"));
        // Its further notes are not read, and must not block it.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { running, address }
    }

    /// The text of a scrape.
    pub fn metrics(&self) -> String {
        get(self.address, "/metrics").unwrap_or_else(|why| panic!("no metrics: {why}"))
    }

    /// The samples of a scrape.
    pub fn samples(&self) -> Samples {
        samples(&self.metrics())
    }
}

/// The body of an answer with the status 200.
///
/// # Errors
/// What failed, or the head of another answer.
pub fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP 1.0 has no chunks and no connection that stays.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
}

/// A name, and labels by their names.
pub type Series = (String, BTreeMap<String, String>);

/// The values of series.
pub type Samples = BTreeMap<Series, f64>;

/// The samples of an exposition, without comments; fails if a series is there twice. Values of labels must not contain commas
/// or quotes.
pub fn samples(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split_terminator("\",").map(|label| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        let value = value.parse().expect("a number");
        let other = samples.insert((name.to_owned(), labels.collect()), value);
        assert!(other.is_none(), "twice: {line}");
    }
    samples
}

/// Checks an exposition with `promtool check metrics`.
#[track_caller]
pub fn check_metrics(text: &str) {
    let mut promtool = Command::new("promtool");
    let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.expect("promtool can be run");
    // Drop closes its input.
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads all");
    let checked = promtool.wait_with_output().expect("it ends");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
