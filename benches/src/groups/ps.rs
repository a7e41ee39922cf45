use std::process::{Command, Stdio};

use atomscope_probe::Region;
use atomscope_tests::support;

use super::Context;
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let program = support::program("atomscope");
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in("/dev/shm")?;
    let mut regions = Vec::new();
    let run = |what: &'static str| {
        let (program, folder) = (&program, folder.path());
        Side::new(move |_, operations| {
            for _ in 0..operations {
                let mut run = Command::new(program);
                run.arg("--dir").arg(folder).arg(what);
                // A program that fails ends soon, which is visible in the numbers.
                drop(run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
            }
        })
    };
    for count in [1, 10, 100] {
        while regions.len() < count {
            let number = regions.len();
            let file = folder.path().join(format!("atomscope-{number}"));
            regions.push(
                Region::builder(format!("bench-{number}"))
                    .actors(100)
                    .events(16)
                    .lanes(2)
                    .file(file)
                    .build()?,
            );
        }
        let measured = compare(context.effort, 1, Time::Wall, &[run("ps"), run("--version")])?;
        section.rows.push(Row::of(format!("ps, regions there: {count}"), &measured).limit(
            "the program's start",
            1,
            &measured,
        ));
    }
    Ok(())
}
