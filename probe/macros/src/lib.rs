//! The macros of `atomscope-probe`, which re-exports them with its feature `macros`.
//!
//! ```text
//!   variants.rs    #[derive(Variants)]    the names of an enum's variants, and the number of a value's variant
//!   observed.rs    #[observed]            a handler that notes its message's variant, and whether it runs or awaits
//! ```
//! What they make names `::atomscope_probe::observe` only.

mod observed;
mod variants;

use proc_macro::TokenStream;

/// Names the variants of a message, so that readers see which one an actor handles.
///
/// The names are the identifiers of an enum's variants. A struct has one variant, with its own name. Generic parameters need
/// no bounds. A union has no variants and does not compile.
#[proc_macro_derive(Variants)]
pub fn variants(item: TokenStream) -> TokenStream {
    syn::parse(item).and_then(variants::derive).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Notes the variant of each message that an actor handles, and whether the handler runs or awaits.
///
/// It belongs on `impl Actor for …`, above or below `#[async_trait]`, and changes nothing of what the handler does. It adds no
/// allocation. The variant is known if the message derives `Variants`. Actors that the probe did not spawn are not
/// observed, which costs a few nanoseconds per message.
#[proc_macro_attribute]
pub fn observed(arguments: TokenStream, item: TokenStream) -> TokenStream {
    observed::expand(arguments.into(), item.into()).into()
}
