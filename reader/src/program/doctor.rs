//! `doctor`: checks nodes and their regions, and says what to do.

use std::ffi::OsString;
use std::io::Write as _;

use anstyle::Style;
use atomscope::report::findings::{Finding, Severity, of_machine, of_node};
use atomscope::text::{clean, write_json};
use clap::Args;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, to_people, to_stdout};
use crate::program::table::{BAD, GOOD, ODD, STRONG, Screen};
use crate::program::target::{SearchArgs, search, target};

/// Check nodes and their regions: what is wrong, why one cannot be seen, and what to do.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Checks every region, or that of WHO: its owner and permissions, versions, locks, heartbeats, how full it is, what was \
dropped, the cost of the probe's threads, and whether polls finish. Without WHO only the headers of dead nodes are read. \
Each finding is good, a note, a warning or a problem; the line below it is the advice.

--json writes an array of findings: node, pid, path, severity, finding, advice.

Exit code: 0 whatever is found; 1 if WHO cannot be found or the regions cannot be searched.

Examples:
  atomscope doctor
  atomscope doctor shop
  atomscope doctor --json | jq -r '.[] | select(.severity == \"problem\").finding'

{WHO_HELP}"))]
pub struct DoctorArgs {
    /// The node: a pid, a file or a name; all nodes if left out.
    pub who: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn doctor(search_args: &SearchArgs, args: DoctorArgs) -> Result<(), Failure> {
    let search = search(search_args);
    let reports = if args.who.is_some() || search_args.region.is_some() {
        vec![of_node(&search, &target(search_args, args.who)?)?]
    } else {
        of_machine(&search)?
    };
    if args.json {
        let findings: Vec<_> = reports.into_iter().flat_map(|report| report.list).collect();
        return to_stdout(|out| write_json(out, &findings));
    }
    let colours = Screen::stdout().colours;
    let style = |style: Style| if colours { style } else { Style::new() };
    to_people(|out| {
        for report in &reports {
            let strong = style(STRONG);
            writeln!(out, "{strong}{}{strong:#}", report.title())?;
            for Finding { severity, finding, advice, .. } in &report.list {
                let (word, colour) = match severity {
                    Severity::Good => ("good", GOOD),
                    Severity::Note => ("note", Style::new()),
                    Severity::Warning => ("warning", ODD),
                    Severity::Problem => ("problem", BAD),
                };
                let colour = style(colour);
                // Findings escape text of the region already; this is the second line of defence.
                writeln!(out, "  {colour}{word:>7}{colour:#}  {}", clean(finding))?;
                if let Some(advice) = advice {
                    writeln!(out, "           {}", clean(advice))?;
                }
            }
        }
        Ok(())
    })
}
