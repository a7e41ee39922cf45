//! `#[derive(Variants)]`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Data, DeriveInput, Error, Result};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let (name, variants): (_, Vec<&Ident>) = (
        &input.ident,
        match &input.data {
            Data::Enum(data) => data.variants.iter().map(|variant| &variant.ident).collect(),
            Data::Struct(_) => vec![&input.ident],
            Data::Union(data) => {
                let token = &data.union_token;
                return Err(Error::new_spanned(
                    token,
                    "a union has no variants; derive `Variants` for an enum",
                ));
            }
        },
    );
    let names = variants.iter().map(|variant| variant.unraw().to_string());
    let variant = match &input.data {
        Data::Enum(_) if variants.is_empty() => quote!(match *self {}),
        Data::Enum(_) => {
            let numbers = 0..variants.len();
            quote!(match self { #(Self::#variants { .. } => #numbers,)* })
        }
        _ => quote!(0),
    };
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        // A match names deprecated variants too.
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics ::atomscope_probe::observe::Variants for #name #type_generics #where_clause {
            const NAMES: &'static [&'static str] = &[#(#names),*];

            #[inline]
            fn variant(&self) -> usize {
                #variant
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(item: &str) -> std::result::Result<String, String> {
        let made = syn::parse_str(item).and_then(derive);
        made.map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn variants_are_numbered_in_their_order_and_named_without_the_mark_of_raw_identifiers() {
        let made = made_of("enum Msg { Add(u8), r#Move { to: u8 }, Stop }").unwrap();
        assert!(made.contains(r#"["Add" , "Move" , "Stop"]"#), "{made}");
        assert!(made.contains("Self :: r#Move { .. } => 1usize"), "{made}");
    }

    #[test]
    fn a_struct_is_its_own_variant() {
        let made = made_of("struct Tick;").unwrap();
        assert!(made.contains(r#"["Tick"]"#), "{made}");
    }

    #[test]
    fn a_union_is_refused_in_words() {
        let refused = made_of("union Bits { a: u32, b: f32 }").unwrap_err();
        assert_eq!(refused, "a union has no variants; derive `Variants` for an enum");
    }
}
