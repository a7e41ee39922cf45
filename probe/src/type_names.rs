//! Names of classes without the wrappers of the probe.
//!
//! An actor that is generic over its journal has another type once the journal is wrapped. It keeps its name without the
//! wrapper, so that rules and dashboards stay valid when the probe is added.

/// Bytes of a name that are examined. Records keep fewer, so that they cut the rest in any case.
const BYTES: usize = 512;
/// The beginning of a wrapper's path, and the beginning of its own name.
const CRATE: &str = concat!(env!("CARGO_CRATE_NAME"), "::");
const WRAPPER: &str = "Probed";

/// The name of a class for readers. It lives on the stack, since each spawn makes one when the names are full.
#[derive(Debug)]
pub(crate) struct TypeName<'a> {
    whole: &'a str,
    /// The name without wrappers and its length in bytes; none if it contains no wrapper.
    shown: Option<([u8; BYTES], usize)>,
}

impl<'a> TypeName<'a> {
    /// The name without wrappers: `Cart<ProbedJournal<InMemoryJournal>>` is `Cart<InMemoryJournal>`.
    pub(crate) fn of(whole: &'a str) -> Self {
        let shown = whole.contains(CRATE).then(|| unwrapped(whole)).flatten();
        Self { whole, shown }
    }

    pub(crate) fn as_str(&self) -> &str {
        let Some((bytes, used)) = &self.shown else { return self.whole };
        bytes.get(..*used).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or(self.whole)
    }
}

/// A name without wrappers, cut to [`BYTES`]; `None` if it contains no wrapper.
fn unwrapped(whole: &str) -> Option<([u8; BYTES], usize)> {
    let (mut bytes, mut used) = ([0; BYTES], 0);
    // Bit n: the bracket at depth n belongs to a wrapper. Deeper wrappers stay in the name.
    let (mut ours, mut depth) = (0u64, 0u32);
    let mut found = false;
    let (mut rest, mut before) = (whole, ' ');
    while let Some(next) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        if let Some(length) = (depth < u64::BITS && !is_name(before)).then(|| wrapper(rest)).flatten() {
            found = true;
            ours |= 1 << depth;
            depth += 1;
            (rest, before) = (rest.get(length..)?, '<');
            continue;
        }
        rest = rest.get(next.len_utf8()..)?;
        match next {
            '<' => depth += 1,
            // Not the arrow of a function type.
            '>' if before != '-' => {
                depth = depth.saturating_sub(1);
                let bit = 1u64.checked_shl(depth).unwrap_or(0);
                if ours & bit != 0 {
                    ours &= !bit;
                    before = next;
                    continue;
                }
            }
            _ => {}
        }
        before = next;
        let Some(to) = bytes.get_mut(used..used + next.len_utf8()) else { break };
        next.encode_utf8(to);
        used += next.len_utf8();
    }
    found.then_some((bytes, used))
}

/// The length of a wrapper's path and bracket, if `text` begins with one.
fn wrapper(text: &str) -> Option<usize> {
    let path = text.strip_prefix(CRATE)?;
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))?;
    let is_one =
        path.get(end..)?.starts_with('<') && path.get(..end)?.rsplit("::").next()?.starts_with(WRAPPER);
    is_one.then_some(CRATE.len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str) -> String {
        TypeName::of(name).as_str().to_owned()
    }

    #[test]
    fn a_wrapper_is_taken_off_wherever_it_stands() {
        const JOURNAL: &str = "atomscope_probe::persistence::wrappers::ProbedJournal";
        for (name, expected) in [
            ("shop::Cart", "shop::Cart"),
            ("shop::Cart<J<K>>", "shop::Cart<J<K>>"),
            ("shop::Cart<{}<atomr::J>>", "shop::Cart<atomr::J>"),
            ("{}<J>", "J"),
            ("{}<{}<J<{}<K>>>>", "J<K>"),
            ("shop::Cart<A, {}<J<B>>, C>", "shop::Cart<A, J<B>, C>"),
            ("Arc<{}<dyn Fn(A<B>) -> C<{}<D>> + Send>>", "Arc<dyn Fn(A<B>) -> C<D> + Send>"),
            ("({}<J>, &{}<K>, [{}<L>; 3])", "(J, &K, [L; 3])"),
            ("Würfel<{}<Größe>>", "Würfel<Größe>"),
            ("{}", JOURNAL),
            ("not_{}<J>", "not_atomscope_probe::persistence::wrappers::ProbedJournal<J>"),
            ("atomscope_probe::region::Region<J>", "atomscope_probe::region::Region<J>"),
            ("other::Probed<J>", "other::Probed<J>"),
            ("{}<J", "J"),
            (">>{}<J>>>", ">>J>>"),
        ] {
            assert_eq!(shown(&name.replace("{}", JOURNAL)), expected, "{name}");
        }
    }

    #[test]
    fn brackets_deeper_than_are_followed_and_names_longer_than_are_kept_do_no_harm() {
        const WRAPPER: &str = "atomscope_probe::P::Probed";
        let nested = |depth: usize| format!("{}X{}", "V<".repeat(depth), ">".repeat(depth));
        for depth in [1, 63, 64, 65, 200] {
            let name = format!("{WRAPPER}<{}>", nested(depth));
            let expected = nested(depth);
            let kept = expected.len().min(BYTES);
            assert_eq!(shown(&name), expected[..kept], "{depth}");
        }
        let deep = format!("{}{WRAPPER}<X>{}", "V<".repeat(70), ">".repeat(70));
        assert_eq!(shown(&deep), deep);
        let long = format!("{WRAPPER}<{}>", "ü".repeat(1000));
        assert_eq!(shown(&long), "ü".repeat(BYTES / 2));
    }

    #[cfg(all(
        feature = "cluster",
        feature = "cluster-metrics",
        feature = "leases",
        feature = "persistence",
        feature = "sharding"
    ))]
    #[test]
    fn every_wrapper_that_the_probe_makes_is_one() {
        use core::any::type_name;
        for name in [
            type_name::<crate::persistence::ProbedJournal<u64>>(),
            type_name::<crate::persistence::ProbedSnapshotStore<u64>>(),
            type_name::<crate::leases::ProbedLease<u64>>(),
            type_name::<crate::cluster::ProbedDowning<u64>>(),
            type_name::<crate::cluster_metrics::ProbedMetricsTransport<u64>>(),
            type_name::<crate::sharding::ProbedExtractor<u64>>(),
            type_name::<crate::sharding::ProbedStrategy<u64>>(),
        ] {
            assert_eq!(shown(name), "u64", "{name}");
        }
        assert_eq!(
            shown(type_name::<Option<crate::leases::ProbedLease<Vec<u64>>>>()),
            shown(type_name::<Option<Vec<u64>>>())
        );
    }
}
