//! `cargo demo`: starts a node, shows it from outside, dumps it to a file, finds a handler of another one that
//! hangs, ends the first one by a signal, and shows it once more.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use atomscope_tests::support::{self, Node};

fn main() -> Result<(), Box<dyn Error>> {
    say("Building the programs (once), and starting an atomr node as a process of its own");
    let mut node = Node::demo(["--node", "demo", "--rate", "400", "--note-signals"]);
    let pid = node.who();
    println!("  node `demo`, pid {pid}, writes its telemetry to {}", node.region().display());
    // Wait until the shop is busy and there are some dead letters.
    std::thread::sleep(Duration::from_secs(2));

    say("Which nodes are there?");
    run(&["ps"])?;
    say("What lives in ours? (the first few actors of the tree)");
    run(&["actors", &pid, "--tree", "--limit", "12"])?;

    say("What happened last? (`atomscope tail` alone follows it as it happens)");
    run(&["tail", &pid, "-n", "5", "--no-follow"])?;
    say("How fast? (three looks)");
    run(&["stat", &pid, "300ms", "3"])?;
    say("Which actors work most? (one look, half a second)");
    run(&["hot", &pid, "500ms", "1", "-n", "5"])?;
    say("And which classes, with the time of their handlers?");
    run(&["actors", &pid, "--by", "class"])?;

    let file = support::program("demo").with_file_name("demo-snapshot.json");
    let file = file.to_str().ok_or("the target folder's path is not UTF-8")?;
    say("Its dump, written into a file");
    run(&["dump", &pid, "-o", file])?;
    summary(&std::fs::read(file)?)?;

    say("An actor of another node hangs: which, where, and for what? (exit code 3: something is stuck)");
    let hanging = Node::demo(["--node", "hanging", "--shop-alone", "--hang", "lock"]);
    // Wait until the handler has begun.
    std::thread::sleep(Duration::from_secs(1));
    run_to(3, &["stuck", &hanging.who()])?;
    drop(hanging);

    say("Now the first node gets SIGHUP, in the middle of its work");
    node.signal("HUP");
    node.wait();
    println!("  pid {pid} is gone");

    say("It can still be read, and says how it ended");
    run(&["show", &pid])?;
    let dump = support::atomscope(["dump", &pid]);
    if !dump.status.success() {
        return Err(String::from_utf8_lossy(&dump.stderr).into_owned().into());
    }
    summary(&dump.stdout)?;

    println!();
    println!("The snapshot of the living node is in {file}; the dead node's region is removed now.");
    println!(
        "Try it on your own: `cargo run --release --bin demo-node` in one shell, `cargo run -p atomscope -- ps`"
    );
    println!("in another.");
    Ok(())
}

fn say(what: &str) {
    println!("\n── {what}");
}

/// Runs `atomscope`, with its output on the terminal.
fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    run_to(0, arguments)
}

/// As [`run`], to an end with this exit code.
fn run_to(code: i32, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    println!("$ atomscope {}", arguments.join(" "));
    let ended = Command::new(support::program("atomscope")).args(arguments).status()?;
    if ended.code() == Some(code) {
        Ok(())
    } else {
        Err(format!("atomscope {} failed", arguments.join(" ")).into())
    }
}

fn summary(dump: &[u8]) -> Result<(), Box<dyn Error>> {
    let dump: serde_json::Value = serde_json::from_slice(dump)?;
    let about = &dump["atomscope"];
    println!(
        "  {}: {} actors live, {} spawned and {} stopped so far, {} dead letters, {} records unreadable",
        about["state"].as_str().unwrap_or("?"),
        dump["actors"]["total"],
        about["totals"]["spawned"],
        about["totals"]["stopped"],
        about["dead_letters"]["total"],
        about["unreadable"],
    );
    Ok(())
}
