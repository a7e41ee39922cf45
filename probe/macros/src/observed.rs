//! `#[observed]`.
//!
//! It changes the function that `#[async_trait]` makes of `async fn handle`:
//!
//! ```text
//!   Box::pin(async move { … })   ->   Box::pin(Observed::new(async move { Message(&msg).enter(); … }))
//! ```
//! The future that the box keeps anyway is wrapped inside of it, so that there is no second box. Above `#[async_trait]` the
//! macro moves itself below it. All other tokens stay as they are, with their places, so that errors in the handler are
//! reported as before.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Block, Error, Expr, ExprAsync, FnArg, ImplItem, ImplItemFn, ItemImpl, Pat, Result, Stmt,
    parse_quote,
};

/// The place of the message among the arguments of `handle`, after `self` and the context.
const MESSAGE: usize = 2;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    changed(arguments, item.clone()).unwrap_or_else(|error| {
        // With the item the compiler reports no errors but this one.
        let mut tokens = error.into_compile_error();
        tokens.extend(item);
        tokens
    })
}

fn changed(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[observed]` takes no arguments"));
    }
    let here = Span::call_site();
    let not_an_actor = |_| Error::new(here, "`#[observed]` belongs on `impl Actor for …`");
    let mut item: ItemImpl = syn::parse2(item).map_err(not_an_actor)?;
    // More than one if they depend on `cfg`, which is still there.
    let handles = item.items.iter_mut().filter_map(|member| match member {
        ImplItem::Fn(function) if function.sig.ident == "handle" => Some(function),
        _ => None,
    });
    let handles: Vec<&mut ImplItemFn> = handles.collect();
    if handles.is_empty() || item.trait_.is_none() {
        return Err(Error::new(
            here,
            "`#[observed]` belongs on `impl Actor for …`, with its function `handle`",
        ));
    }
    if handles.iter().all(|handle| handle.sig.asyncness.is_none()) {
        handles.into_iter().try_for_each(observe)?;
    } else {
        let below = item.attrs.iter().rposition(is_async_trait).ok_or_else(|| {
            Error::new(here, "`#[observed]` sees no `#[async_trait]` below it; put `#[observed]` below that")
        })?;
        item.attrs.insert(below + 1, parse_quote!(#[::atomscope_probe::observe::observed]));
    }
    Ok(item.into_token_stream())
}

/// Whatever path it has.
fn is_async_trait(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "async_trait")
}

/// Wraps the future of a function that ends with `Box::pin(async move { … })`.
fn observe(handle: &mut ImplItemFn) -> Result<()> {
    let message = message(handle)?.clone();
    let place = handle.sig.ident.clone();
    let future = future(&mut handle.block).ok_or_else(|| {
        Error::new_spanned(
            place,
            "`#[observed]` needs a `handle` that `#[async_trait]` has made, or that ends as such",
        )
    })?;
    if let Expr::Async(ExprAsync { block, .. }) = future {
        // Inside of the future, so that a panic is the handler's.
        block.stmts.insert(
            0,
            parse_quote! {
                {
                    #[allow(unused_imports)]
                    use ::atomscope_probe::observe::Unnamed as _;
                    ::atomscope_probe::observe::Message(&#message).enter();
                }
            },
        );
    }
    let observed = quote!(::atomscope_probe::observe::Observed::new(#future));
    *future = Expr::Verbatim(observed);
    Ok(())
}

/// The message's name among the arguments; `#[async_trait]` gives one to a pattern.
fn message(handle: &ImplItemFn) -> Result<&Ident> {
    match handle.sig.inputs.get(MESSAGE) {
        Some(FnArg::Typed(argument)) => match &*argument.pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() => Ok(&pattern.ident),
            pattern => Err(Error::new_spanned(pattern, "`#[observed]` needs a name here")),
        },
        _ => Err(Error::new_spanned(
            &handle.sig,
            "`#[observed]` needs a `handle` with `self`, a context and a message",
        )),
    }
}

/// The future in `Box::pin(async move { … })` at the end of a block.
fn future(block: &mut Block) -> Option<&mut Expr> {
    let Some(Stmt::Expr(Expr::Call(call), None)) = block.stmts.last_mut() else { return None };
    let Expr::Path(function) = &*call.func else { return None };
    let mut names = function.path.segments.iter().rev().map(|segment| &segment.ident);
    if !(names.next()? == "pin" && names.next()? == "Box") || call.args.len() != 1 {
        return None;
    }
    call.args.first_mut().filter(|future| matches!(future, Expr::Async(future) if future.capture.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(item: &str) -> String {
        refused_with("", item)
    }

    fn refused_with(arguments: &str, item: &str) -> String {
        let changed = changed(arguments.parse().unwrap(), item.parse().unwrap());
        changed.expect_err("an error").to_string()
    }

    #[test]
    fn what_is_no_actor_is_refused_in_words() {
        let no_actor = "`#[observed]` belongs on `impl Actor for …`";
        assert_eq!(refused("struct Baker;"), no_actor);
        for other in ["impl Baker { fn handle() {} }", "impl Clone for Baker {}"] {
            assert_eq!(refused(other), format!("{no_actor}, with its function `handle`"));
        }
        assert_eq!(refused_with("all", "impl Actor for Baker {}"), "`#[observed]` takes no arguments");
    }

    #[test]
    fn a_handler_that_async_trait_does_not_make_is_refused_in_words() {
        assert_eq!(
            refused("impl Actor for Baker { async fn handle(&mut self, c: &mut C, m: M) {} }"),
            "`#[observed]` sees no `#[async_trait]` below it; put `#[observed]` below that"
        );
        for body in
            ["self.future(m)", "Box::pin(self.future(m))", "Box::pin(async {})", "Box::pin(async move {});"]
        {
            assert_eq!(
                refused(&format!(
                    "impl Actor for Baker {{ fn handle(&mut self, c: &mut C, m: M) {{ {body} }} }}"
                )),
                "`#[observed]` needs a `handle` that `#[async_trait]` has made, or that ends as such"
            );
        }
        assert_eq!(
            refused("impl Actor for Baker { fn handle(&mut self) {} }"),
            "`#[observed]` needs a `handle` with `self`, a context and a message"
        );
    }

    #[test]
    fn what_is_refused_stays_for_the_compiler() {
        let item = "impl Clone for Baker { }";
        let made = expand(TokenStream::new(), item.parse().unwrap()).to_string();
        assert!(made.contains("compile_error") && made.ends_with(item), "{made}");
    }

    #[test]
    fn each_handler_of_several_that_depend_on_cfg_is_observed() {
        let handle = "fn handle(&mut self, c: &mut C, m: M) { Box::pin(async move { }) }";
        let item = format!("impl Actor for Baker {{ #[cfg(x)] {handle} #[cfg(not(x))] {handle} }}");
        let made = changed(TokenStream::new(), item.parse().unwrap()).unwrap().to_string();
        assert_eq!(made.matches("Observed :: new").count(), 2, "{made}");
    }

    #[test]
    fn above_async_trait_it_goes_below_it() {
        let item =
            "#[allow(x)] #[a::async_trait] #[b] impl Actor for Baker { async fn handle(&mut self) {} }";
        let made = changed(TokenStream::new(), item.parse().unwrap()).unwrap().to_string();
        let at = |text: &str| made.find(text).expect(text);
        assert!(at("async_trait") < at("observed") && at("observed") < at("# [b]"), "{made}");
        assert!(made.ends_with("impl Actor for Baker { async fn handle (& mut self) { } }"), "{made}");
    }
}
