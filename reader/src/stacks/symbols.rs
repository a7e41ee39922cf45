//! From addresses in a module's file to functions, files and lines.

use std::collections::HashMap;

use addr2line::Context;
use addr2line::gimli::{EndianSlice, LittleEndian, SectionId};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use super::class::Handler;
use super::modules::{Elf, Image};

/// Limit of a function's name, in bytes. Names with many type parameters can be of any length.
const MOST_NAME_BYTES: usize = 2048;

/// A function at an address. Several functions are there if the compiler has put one into the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub handler: Option<Handler>,
    pub is_inlined: bool,
}

/// The functions at some addresses of a file, innermost first. An address of which nothing is known is left out, and so is
/// what is left when `may_go_on` returns false.
pub(crate) fn symbols(
    image: &Image,
    addresses: &[u64],
    may_go_on: &(dyn Fn() -> bool + Sync),
) -> HashMap<u64, Vec<Symbol>> {
    let cache = image.open();
    let Ok(elf) = Elf::parse(&cache) else { return HashMap::new() };
    let table = Table::of(&elf);
    let lines = Context::from_dwarf(load(&elf)).ok();
    let of = |address: &u64| {
        let inlined = lines.as_ref().and_then(|lines| by_lines(lines, *address)).unwrap_or_default();
        let found = joined(inlined, table.at(*address));
        (!found.is_empty()).then_some((*address, found))
    };
    addresses.iter().take_while(|_| may_go_on()).filter_map(of).collect()
}

type Slice<'d> = EndianSlice<'d, LittleEndian>;

fn load<'d>(elf: &Elf<'d, '_>) -> addr2line::gimli::Dwarf<Slice<'d>> {
    let section = |id: SectionId| {
        let bytes = elf.section_by_name(id.name()).and_then(|section| section.data().ok());
        Ok::<_, std::convert::Infallible>(EndianSlice::new(bytes.unwrap_or_default(), LittleEndian))
    };
    match addr2line::gimli::Dwarf::load(section) {
        Ok(dwarf) => dwarf,
        Err(never) => match never {},
    }
}

/// The functions and lines at an address by the debug information, innermost first.
fn by_lines(lines: &Context<Slice<'_>>, address: u64) -> Option<Vec<Symbol>> {
    let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
    let mut found = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.as_ref().and_then(|name| {
            let raw = name.raw_name().ok()?;
            Some(demangled(&raw).unwrap_or_else(|| raw.into_owned()))
        });
        let location = frame.location.as_ref();
        found.push(Symbol {
            handler: name.as_deref().and_then(Handler::of),
            function: name,
            file: location.and_then(|location| location.file).map(str::to_owned),
            line: location.and_then(|location| location.line),
            is_inlined: true,
        });
    }
    Some(found)
}

/// The outermost function is the one of the symbol table, which has its whole name also where debug information does not.
fn joined(mut inlined: Vec<Symbol>, of_table: Option<Symbol>) -> Vec<Symbol> {
    match (inlined.last_mut(), of_table) {
        (Some(last), Some(symbol)) => {
            last.handler = symbol.handler;
            last.function = symbol.function;
        }
        (None, Some(symbol)) => inlined.push(symbol),
        _ => {}
    }
    if let Some(last) = inlined.last_mut() {
        last.is_inlined = false;
    }
    for symbol in &mut inlined {
        symbol.function = symbol.function.take().map(shortened);
    }
    inlined
}

fn shortened(name: String) -> String {
    if name.len() <= MOST_NAME_BYTES {
        return name;
    }
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MOST_NAME_BYTES;
    name.char_indices().take_while(fits).map(|(_, c)| c).chain(['…']).collect()
}

/// A Rust name without its hash; `None` if it is no mangled name.
fn demangled(name: &str) -> Option<String> {
    rustc_demangle::try_demangle(name).ok().map(|name| format!("{name:#}"))
}

/// The functions of a symbol table.
struct Table<'d> {
    /// Address, size and mangled name, by address.
    functions: Vec<(u64, u64, &'d str)>,
}

impl<'d> Table<'d> {
    fn of(elf: &Elf<'d, '_>) -> Self {
        let all = elf.symbols().chain(elf.dynamic_symbols());
        let functions = all.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
        let mut functions: Vec<_> = functions
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?)))
            .collect();
        functions.sort_unstable();
        functions.dedup();
        Self { functions }
    }

    fn at(&self, address: u64) -> Option<Symbol> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, ..) = *self.functions.get(after.checked_sub(1)?)?;
        let first = self.functions.partition_point(|(other, ..)| *other < start);
        let here = self.functions.get(first..after)?.iter();
        let mut here = here.filter(|(_, size, _)| *size == 0 || address - start < *size);
        let name = |(_, _, name): &(u64, u64, &str)| demangled(name).unwrap_or_else(|| (*name).to_owned());
        let function = name(here.next()?);
        // The linker may keep one function for several that are alike. Then nobody knows whose it is.
        let handler = Handler::of(&function);
        let is_one = here.all(|other| Handler::of(&name(other)) == handler);
        Some(Symbol { handler: handler.filter(|_| is_one), function: Some(function), ..Symbol::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [(u64, u64, &str); 5] = [
        (0x10, 8, "first"),
        (0x20, 0, "second"),
        (0x30, 16, "_RNvXCs1_4shopNtB2_5ClerkNtNtNtCs2_10atomr_core5actor6traits5Actor6handle"),
        (0x30, 16, "_RNvXCs1_4shopNtB2_6WorkerNtNtNtCs2_10atomr_core5actor6traits5Actor6handle"),
        (0x50, 16, "_RNvXCs1_4shopNtB2_6WorkerNtNtNtCs2_10atomr_core5actor6traits5Actor6handle"),
    ];

    fn table() -> Table<'static> {
        Table { functions: TABLE.to_vec() }
    }

    #[test]
    fn an_address_is_in_the_function_before_it_unless_that_has_ended() {
        let name = |address| table().at(address)?.function;
        assert_eq!(
            (name(0xf), name(0x10).as_deref(), name(0x17).as_deref()),
            (None, Some("first"), Some("first"))
        );
        assert_eq!((name(0x18), name(0x2f).as_deref(), name(0x40)), (None, Some("second"), None));
    }

    #[test]
    fn a_function_that_is_that_of_two_classes_names_none() {
        assert_eq!(table().at(0x50).unwrap().handler.unwrap().class, "shop::Worker");
        let both = table().at(0x30).unwrap();
        assert!(both.function.is_some() && both.handler.is_none(), "{both:?}");
    }

    #[test]
    fn the_symbol_table_names_the_outermost_function() {
        let symbol = |name: &str, line| Symbol { function: Some(name.to_owned()), line, ..Symbol::default() };
        let found = joined(
            vec![symbol("inner", Some(1)), symbol("{closure#0}", Some(2))],
            Some(symbol("whole", None)),
        );
        assert_eq!(found[1], symbol("whole", Some(2)));
        assert_eq!(joined(vec![symbol("a", None)], None), [symbol("a", None)]);
        assert_eq!(joined(Vec::new(), Some(symbol("a", None))), [symbol("a", None)]);
        assert_eq!(joined(Vec::new(), None), []);
    }

    #[test]
    fn names_are_of_limited_length() {
        let name = "é".repeat(MOST_NAME_BYTES);
        assert!(shortened(name).len() <= MOST_NAME_BYTES + '…'.len_utf8());
    }
}
