//! Writes screens of `atomscope top` into the README, taken from a real node on a real terminal.
//!
//! `cargo run -p atomscope-tests --example screens`

use std::error::Error;
use std::path::Path;

use atomscope_tests::support::{Node, program};
use atomscope_tests::terminal::Terminal;

const SIZE: [u16; 2] = [110, 24];
const BEGIN: &str = "<!-- screens: written by the example `screens`, not by hand -->\n";
const END: &str = "<!-- screens: end -->";

fn main() -> Result<(), Box<dyn Error>> {
    let node = Node::demo(["--node", "shop-1"]);
    let terminal =
        Terminal::start(&program("atomscope"), ["top", "shop-1", "--interval", "250ms"], &[], SIZE);
    // Wait until the sparklines of the overview have some history.
    terminal.wait_for("up 15");
    let mut text = String::from(BEGIN);
    let mut capture = |what: &str, keys: &[&str], seen: &str| {
        keys.iter().for_each(|keys| terminal.press(keys));
        let screen = terminal.wait_for(seen);
        let lines: Vec<_> = screen.lines().map(str::trim_end).collect();
        text += &format!("\n{what}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    };
    capture("The overview:", &[], "runtime busy");
    capture(
        "Actors whose class has `Order` or `Shelf` in it, as a tree, with one of them looked at whole:",
        &["2", "/class ~ 'Order|Shelf'\r", "j\r"],
        "restarts",
    );
    capture("Journals, with their rates:", &["\x1b", "7"], "accounts");
    node.signal("STOP");
    capture("The same node when its process is stopped:", &["1"], "wedged");
    text += &format!("\n{END}");
    drop(terminal);

    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let before = std::fs::read_to_string(&readme)?;
    let (head, rest) = before.split_once(BEGIN).ok_or("the README has no place for screens")?;
    let (_, tail) = rest.split_once(END).ok_or("the README's place for screens has no end")?;
    std::fs::write(&readme, [head, &text, tail].concat())?;
    println!("written to {}", readme.display());
    Ok(())
}
