//! The actor class whose code a function is.

use serde::Serialize;

/// The crate and the name of the trait that every actor implements.
const CRATE: &str = "atomr_core::";
const TRAIT: &str = "Actor";

/// A method of an actor that is on a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handler {
    /// The Rust type of the actor.
    pub class: String,
    /// The method, such as `handle` or `pre_start`.
    pub method: String,
}

impl Handler {
    /// Reads the demangled name `<CLASS as atomr_core::…::Actor>::METHOD`, or that of a closure in such a method.
    pub(crate) fn of(function: &str) -> Option<Self> {
        let inner = function.strip_prefix('<')?;
        let (mut depth, mut class_end, mut end) = (1u32, None, None);
        let bytes = inner.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'<' | b'(' | b'[' => depth += 1,
                // Not the arrow of a function type.
                b'>' if at > 0 && bytes.get(at - 1) == Some(&b'-') => {}
                b'>' | b')' | b']' => depth = depth.checked_sub(1)?,
                b' ' if depth == 1 && inner.get(at..).is_some_and(|rest| rest.starts_with(" as ")) => {
                    class_end = Some(at);
                }
                _ => {}
            }
            if depth == 0 {
                end = Some(at);
                break;
            }
        }
        let (class_end, end) = (class_end?, end?);
        let of_trait = inner.get(class_end + " as ".len()..end)?;
        if !of_trait.starts_with(CRATE) || of_trait.rsplit("::").next()? != TRAIT {
            return None;
        }
        let method = inner.get(end + 1..)?.strip_prefix("::")?.split("::").next()?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let is_method = !method.is_empty() && method.chars().all(is_name);
        is_method.then(|| Self { class: inner[..class_end].to_owned(), method: method.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(function: &str, class: &str, method: &str) {
        let expected = Handler { class: class.to_owned(), method: method.to_owned() };
        assert_eq!(Handler::of(function), Some(expected), "{function}");
    }

    #[test]
    fn a_handler_and_its_closures_name_their_class() {
        is(
            "<shop::Worker as atomr_core::actor::traits::Actor>::handle::{closure#0}",
            "shop::Worker",
            "handle",
        );
        is(
            "<shop::Worker as atomr_core::actor::traits::Actor>::pre_start::{{closure}}",
            "shop::Worker",
            "pre_start",
        );
        is("<shop::Worker as atomr_core::actor::Actor>::post_stop", "shop::Worker", "post_stop");
        is(
            "<shop::Cart<<a::B as c::D>::E, fn(u8) -> [u8; 2]> as atomr_core::actor::traits::Actor>::handle::{closure#0}::inner",
            "shop::Cart<<a::B as c::D>::E, fn(u8) -> [u8; 2]>",
            "handle",
        );
    }

    #[test]
    fn other_functions_are_no_handlers() {
        for function in [
            "main",
            "<shop::Worker>::handle",
            "<shop::Worker as shop::Actor>::handle",
            "<shop::Worker as atomr_core::actor::traits::Actors>::handle",
            "<shop::Worker as atomr_core::actor::traits::Actor>",
            "<shop::Worker as atomr_core::actor::traits::Actor>::{shim}",
            "core::ptr::drop_in_place::<<shop::Worker as atomr_core::actor::traits::Actor>::handle::{closure#0}>",
            "<<shop::Worker as atomr_core::actor::traits::Actor>::handle::{closure#0} as core::future::Future>::poll",
            "<a as",
            "<é as ",
            "<",
            ">>>",
            "",
        ] {
            assert_eq!(Handler::of(function), None, "{function}");
        }
    }
}
