//! Findings about a file that cannot be attached to. The error itself names the next step; the advice explains the cause
//! and what else helps.

use atomscope_layout::OpenError;

use super::finding::{Findings, Severity};
use crate::attach::{AttachError, AttachErrorKind};
use crate::liveness::{Lock, Verdict};

pub(super) fn findings(pid: Option<u64>, error: &AttachError) -> Findings {
    let mut findings = Findings::about_file(error.path.to_string_lossy().into_owned(), pid);
    findings.add(Severity::Problem, error.to_string(), advice(&error.kind));
    findings
}

fn advice(kind: &AttachErrorKind) -> Option<&'static str> {
    const ONLY_OWNER: &str =
        "only the owner of a region and root may read it: previews of messages may be in it";
    Some(match kind {
        AttachErrorKind::OwnerMismatch { .. } => {
            "a dead node of a user namespace leaves such a region, which only its own user may read: become that user with \
             `setpriv --reuid`, `sudo -u` or `su`. If there was no such node, somebody planted the file: `rm` removes it"
        }
        AttachErrorKind::OthersProcess { .. } => {
            "a region belongs to its process only if that runs as the owner of the file. Somebody planted the file, or the \
             node changed its user after its start: then let it make its region after that change"
        }
        AttachErrorKind::OtherProcess { .. } => {
            "the node is dead, and a process that it started still holds its lock; or somebody planted the file. Once \
             the lock is free, the region can be read as that of a dead node; `fuser FILE` lists who has it open"
        }
        AttachErrorKind::HardLinks { .. } => {
            "its owner may read it all the same. `find -samefile` finds the other names; nodes give a region only one"
        }
        AttachErrorKind::OtherUser { .. } => ONLY_OWNER,
        AttachErrorKind::System(error) if error.kind() == std::io::ErrorKind::PermissionDenied => ONLY_OWNER,
        AttachErrorKind::Writable { .. } => {
            "nodes make their regions with mode 600; any process that may write a region could fake what it shows, or kill \
             its node by cutting the file short"
        }
        AttachErrorKind::Link => {
            "in a directory that others may write to, a link may lead to a file that was not meant for you"
        }
        AttachErrorKind::NotAFile(_) => "a region is a regular file; nothing else was opened",
        AttachErrorKind::TooLarge { .. } => {
            "`--max-size 64G` allows it; reading the region of a dead node of that size takes as much memory"
        }
        AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock: Lock::Held } } => {
            "a node needs less than a second to be ready, unless its machine is overloaded or it is stopped"
        }
        AttachErrorKind::NotReady { .. } => {
            "if its node died, `atomscope prune` removes it a minute later, and so does the next node that starts"
        }
        AttachErrorKind::Layout(OpenError::Incompatible { .. }) => {
            "`atomscope --version` lists the layouts that it reads; the version of the node's atomscope-probe says which one \
             it writes"
        }
        AttachErrorKind::Layout(_) | AttachErrorKind::Shrunk | AttachErrorKind::Overwritten => {
            "nodes never cut or reuse a region: something else wrote to the file, or it is an incomplete copy"
        }
        AttachErrorKind::TooMany => "name fewer nodes at a time",
        AttachErrorKind::Missing | AttachErrorKind::System(_) => return None,
    })
}
