//! `doctor`: why an attachment fails or is poor, and what to do.

use std::ffi::OsString;
use std::io::Write as _;

use anstyle::Style;
use atomscope::report::findings::{Finding, Level, of_machine, of_node};
use atomscope::text::{clean, write_json};
use clap::Args;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, to_people, to_stdout};
use crate::program::table::{BAD, GOOD, ODD, STRONG, Screen};
use crate::program::target::{SearchArgs, meant, search};

/// Say why a node cannot be seen or is seen badly, and what to do.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Looks at every region that can be found, or at that of WHO: who owns it and may read it, versions, locks, beats, \
how full it is and what was left out of it, what the probe's threads cost, whether what is polled answers. Without WHO \
dead nodes are told of by their headers. Findings are no failure.

Examples:
  atomscope doctor
  atomscope doctor shop
  atomscope doctor --json | jq -r '.[] | select(.level == \"problem\").finding'

{WHO_HELP}"))]
pub struct DoctorArgs {
    /// Which node: a pid, a file, or a name; all if left out.
    pub who: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn doctor(place: &SearchArgs, args: DoctorArgs) -> Result<(), Failure> {
    let search = search(place);
    let charts = if args.who.is_some() || place.region.is_some() {
        vec![of_node(&search, &meant(place, args.who)?)?]
    } else {
        of_machine(&search)?
    };
    if args.json {
        let findings: Vec<_> = charts.into_iter().flat_map(|chart| chart.findings).collect();
        return to_stdout(|out| write_json(out, &findings));
    }
    let colours = Screen::stdout().colours;
    let style = |style: Style| if colours { style } else { Style::new() };
    to_people(|out| {
        for chart in &charts {
            let strong = style(STRONG);
            writeln!(out, "{strong}{}{strong:#}", chart.title())?;
            for Finding { level, finding, advice, .. } in &chart.findings {
                let (word, colour) = match level {
                    Level::Good => ("good", GOOD),
                    Level::Note => ("note", Style::new()),
                    Level::Warning => ("warning", ODD),
                    Level::Problem => ("problem", BAD),
                };
                let colour = style(colour);
                // What of a region stands in a finding was made safe there; this is for what was forgotten.
                writeln!(out, "  {colour}{word:>7}{colour:#}  {}", clean(finding))?;
                if let Some(advice) = advice {
                    writeln!(out, "           {}", clean(advice))?;
                }
            }
        }
        Ok(())
    })
}
