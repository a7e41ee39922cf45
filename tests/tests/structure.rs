//! Rules of the project's structure: files import each other in one direction, the reader's library knows nothing of its
//! program, a published crate is complete, and the documents list the commands and sizes that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::region::{HEADER_BYTES, Section};
use atomscope_layout::table::Shape;
use atomscope_layout::{Capacities, RegionMap};
use atomscope_tests::structure::{Circle, Root, Tree};
use atomscope_tests::support::atomscope;

/// What belongs to the program alone.
const OF_THE_PROGRAM: [&str; 5] = ["anstream", "anstyle", "clap", "crossterm", "ratatui"];

/// Macros that print. What a library has to say, it returns.
const PRINTING: [&str; 4] = ["eprint", "eprintln", "print", "println"];

/// The folders of the crates that can be published.
const PUBLISHED: [&str; 4] = ["layout", "probe", "probe/macros", "reader"];

const READER: Root<'static> = Root { name: "atomscope", file: "reader/src/lib.rs" };

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(workspace().join(file)).ok()
}

#[track_caller]
fn has_no_circle(roots: &[Root<'_>]) {
    let circles = Tree::read(roots, &read).circles();
    let circles: Vec<String> = circles.iter().map(Circle::to_string).collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn no_files_of_the_layout_import_each_other_in_a_circle() {
    has_no_circle(&[Root { name: "atomscope_layout", file: "layout/src/lib.rs" }]);
}

#[test]
fn no_files_of_the_probe_import_each_other_in_a_circle() {
    has_no_circle(&[Root { name: "atomscope_probe", file: "probe/src/lib.rs" }]);
    has_no_circle(&[Root { name: "atomscope_macros", file: "probe/macros/src/lib.rs" }]);
}

#[test]
fn no_files_of_the_reader_import_each_other_in_a_circle() {
    has_no_circle(&[READER, Root { name: "", file: "reader/src/main.rs" }]);
}

#[test]
fn the_readers_library_knows_neither_arguments_nor_colours_and_prints_nothing() {
    let tree = Tree::read(&[READER], &read);
    let mut wrong = Vec::new();
    for (file, words) in tree.files(READER) {
        let is_wrong =
            |text: &str, is_macro| OF_THE_PROGRAM.contains(&text) || is_macro && PRINTING.contains(&text);
        wrong.extend(
            words
                .iter()
                .filter(|word| is_wrong(&word.text, word.is_macro))
                .map(|word| format!("{file}:{}: {}", word.line, word.text)),
        );
    }
    assert!(wrong.is_empty(), "the library of `reader` names what is the program's:\n{}", wrong.join("\n"));
}

/// The Rust files below a folder, without links to elsewhere.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("its type") {
            kind if kind.is_dir() => sources(&entry.path(), found),
            kind if kind.is_file() && entry.path().extension().is_some_and(|end| end == "rs") => {
                found.push(entry.path());
            }
            _ => {}
        }
    }
}

/// Whether a path leaves the folder that it starts in, `depth` folders below the crate.
fn leaves(path: &str, depth: usize) -> bool {
    let mut depth = Some(depth);
    for part in path.split('/') {
        depth = match part {
            ".." => depth.and_then(|depth| depth.checked_sub(1)),
            "." | "" => depth,
            _ => depth.map(|depth| depth + 1),
        };
    }
    depth.is_none()
}

#[test]
fn no_file_of_a_published_crate_names_a_path_outside_of_it() {
    assert!(leaves("../x", 0) && leaves("../../x", 1) && leaves("x/../../y", 0));
    assert!(!leaves("../x", 1) && !leaves("x/../y", 0));
    let mut wrong = Vec::new();
    for name in PUBLISHED {
        let folder = workspace().join(name);
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        if folder.join("tests").is_dir() {
            sources(&folder.join("tests"), &mut files);
        }
        for file in files {
            let below = file.strip_prefix(&folder).expect("a file of the crate");
            let text = std::fs::read_to_string(&file).expect("a file of source");
            for (number, line) in text.lines().enumerate() {
                // Such a path begins at the crate's folder, any other at the file's.
                let depth =
                    if line.contains("CARGO_MANIFEST_DIR") { 0 } else { below.components().count() - 1 };
                let paths = line.split('"').skip(1).step_by(2).filter(|text| text.starts_with("../"));
                wrong.extend(
                    paths
                        .filter(|path| leaves(path, depth))
                        .map(|path| format!("{name}/{}:{}: {path}", below.display(), number + 1)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "these paths lead out of their crates:\n{}", wrong.join("\n"));
}

/// The commands in the first column of the README's table, which has the title `command`.
fn commands_of_the_readme(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().skip_while(|line| !line.starts_with("| command |")).skip(2);
    let cells = rows.map_while(|line| line.strip_prefix('|')?.split('|').next());
    // Code stands between backticks; arguments are upper case or in brackets.
    let code = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names = code.filter_map(|code| code.split_whitespace().next());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// The commands that the help lists, but for `help` itself.
fn commands_of_the_help(help: &str) -> BTreeSet<String> {
    let rows =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = rows.filter_map(|row| row.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_readme_lists_the_commands_that_there_are() {
    let readme = read("README.md").expect("the README");
    let help = String::from_utf8(atomscope(["--help"]).stdout).expect("a text");
    let (listed, there) = (commands_of_the_readme(&readme), commands_of_the_help(&help));
    assert!(there.len() > 10, "the help lists {there:?}");
    assert_eq!(listed, there, "the table of commands in README.md and `atomscope --help` differ");
}

/// A number with a comma before each three digits.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

/// Bytes of the tables' private memory, as the probe makes them.
fn private_bytes(map: &RegionMap) -> usize {
    let of = |section: Section, lanes, hot_lines| {
        Shape { slots: section.count, stride: section.stride, lanes, hot_lines }.private_words()
    };
    8 * (of(map.actors, map.counters.count - 1, 512) + of(map.instances, 0, 16) + map.instances.count)
}

#[test]
fn the_documents_state_the_sizes_that_there_are() {
    const KIB: usize = 1 << 10;
    const MIB: f64 = (1 << 20) as f64;
    let map_of = |actors| RegionMap::for_capacities(&Capacities { actors, ..Capacities::default() }).unwrap();
    let Capacities { actors, .. } = Capacities::default();
    let (map, million) = (map_of(actors), map_of(1_000_000));
    let of = |section: Section| section.len() * 8;
    let parts = [
        ("header and directory", HEADER_BYTES),
        ("counters", of(map.counters)),
        ("metrics", of(map.metrics)),
        ("names", of(map.names)),
        ("actors", of(map.actors)),
        ("dead letters", of(map.dead_letters)),
        ("events", of(map.events)),
        ("instances", of(map.instances)),
        ("documents", of(map.documents)),
        ("histograms", of(map.histograms)),
        ("journal writes", of(map.journal_writes)),
        ("clock samples", of(map.clock_samples)),
        ("failures", of(map.failures)),
        ("panics", of(map.panics)),
        ("cells", of(map.cells)),
        ("classes", of(map.classes)),
        ("variants", of(map.variants)),
        ("handled", of(map.handled)),
        ("threads", of(map.threads)),
        ("kinds", of(map.kinds)),
        ("fields", of(map.fields)),
        ("own records", of(map.records)),
        ("the region", map.region_bytes),
        ("left of 16 MiB", 16 * KIB * KIB - map.region_bytes),
    ];
    assert_eq!(map.section_count(), parts.len() - 3, "a section is missing here");
    let rows = parts.map(|(part, bytes)| format!("| {part} | {} |", grouped(bytes.div_ceil(KIB))));
    let slots = format!("{} actors have {} slots of 320 bytes", grouped(actors), grouped(map.actors.count));
    // Lines of a document may break anywhere.
    let text_of = |file| read(file).expect("the document").split_whitespace().collect::<Vec<_>>().join(" ");
    let architecture = text_of("ARCHITECTURE.md");
    for stated in rows.into_iter().chain([slots, format!("{} KiB more", private_bytes(&map).div_ceil(KIB))]) {
        assert!(architecture.contains(&stated), "ARCHITECTURE.md does not state `{stated}`");
    }
    let mib = |bytes: usize| bytes as f64 / MIB;
    let readme = text_of("README.md");
    for stated in [
        format!("| live actors that are listed | {} |", grouped(actors)),
        format!("the {} built-in ones included", BUILTIN.len()),
        format!("A default region takes {:.1} MiB", mib(map.region_bytes)),
        format!("{:.1} MiB of private memory, mostly", mib(private_bytes(&map))),
        format!("a million actors takes {:.0} MiB", mib(million.region_bytes)),
        format!("and {:.0} MiB of private memory.", mib(private_bytes(&million))),
    ] {
        assert!(readme.contains(&stated), "README.md does not state `{stated}`");
    }
}

mod parser {
    use super::*;

    const LIBRARY: Root<'static> = Root { name: "shop", file: "src/lib.rs" };

    /// The arrows of a made-up library, each as `from:line to`, without the folder and the ending.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        tree(files)
            .arrows()
            .iter()
            .map(|arrow| {
                let short = |file: &str| file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
                format!("{}:{} {}", short(&arrow.from), arrow.line, short(&arrow.to))
            })
            .collect()
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files: BTreeMap<String, &str> =
            files.iter().map(|(name, text)| (format!("src/{name}.rs"), *text)).collect();
        let main = Root { name: "", file: "src/main.rs" };
        let roots = [LIBRARY, main];
        let count = if files.contains_key(main.file) { 2 } else { 1 };
        Tree::read(&roots[..count], &|file| files.get(file).map(|text| (*text).to_owned()))
    }

    #[test]
    fn a_circle_is_found_with_the_lines_that_make_it() {
        let circles = tree(&[
            ("lib", "mod a;\nmod b;\nmod c;\nmod apart;"),
            ("a", "use crate::b::B;\npub struct A(B);"),
            ("b", "pub struct B;\n\nfn f() { super::c::c() }"),
            ("c", "pub fn c(_: crate::a::A) {}"),
            ("apart", "use crate::a::A;"),
        ])
        .circles();
        let [circle] = circles.as_slice() else { panic!("{circles:?}") };
        assert_eq!(circle.files, ["src/a.rs", "src/b.rs", "src/c.rs"]);
        let text = circle.to_string();
        let says = "3 files import each other:
  src/a.rs -> src/b.rs
    line 1: crate::b::B
  src/b.rs -> src/c.rs
    line 3: super::c::c
  src/c.rs -> src/a.rs
    line 1: crate::a::A
";
        assert_eq!(text, says);
    }

    #[test]
    fn files_in_one_direction_make_no_circle() {
        let files = [
            ("lib", "mod a;\nmod b;\npub use a::A;"),
            ("a", "use crate::b::B;\npub struct A(B);"),
            ("b", "pub struct B;"),
        ];
        assert_eq!(arrows(&files), ["a:1 b", "lib:3 a"]);
        assert!(tree(&files).circles().is_empty());
    }

    #[test]
    fn declarations_tests_comments_and_literals_make_no_arrow() {
        let files = [
            ("lib", "mod a;\npub struct L;"),
            (
                "a",
                r##"
//! crate::L
/// [`crate::L`] /* crate::L
pub(in crate::a) struct A<'a>(&'a str, char);
/* super::L /* nested */ crate::L */
#[cfg(test)]
use crate::L;
#[cfg(all(test, loom))]
mod models;
#[cfg(test)]
mod tests { use super::super::L; }
enum E { #[cfg(test)] One(crate::L), Two }
fn f() -> A<'static> {
    #[cfg(test)]
    let _ = crate::L;
    A(r#"crate::L" "#, '"')
}
const B: &[u8] = b"crate::L\"";
"##,
            ),
        ];
        assert_eq!(arrows(&files), [""; 0]);
    }

    #[test]
    fn what_is_not_for_tests_alone_counts() {
        let files = [
            ("lib", "mod a;\npub struct L;"),
            ("a", "#[cfg(not(test))]\nuse crate::L;\n#[cfg(test)]\nfn f<A, B>() {}\nfn g() { crate::L; }"),
        ];
        assert_eq!(arrows(&files), ["a:2 lib", "a:5 lib"]);
    }

    #[test]
    fn a_path_through_a_re_export_leads_to_the_file_that_defines_the_item() {
        let files = [
            ("lib", "mod a;\nmod top;\npub use a::*;"),
            ("a", "mod b;\npub use b::{B as Bee, deep::Deep};"),
            ("a/b", "pub mod deep;\npub struct B;"),
            ("a/b/deep", "pub struct Deep;"),
            ("top", "use crate::a::Bee;\nuse crate::Deep;"),
        ];
        assert_eq!(arrows(&files), ["a:2 a/b", "a:2 a/b/deep", "lib:3 a", "top:1 a/b", "top:2 a/b/deep"]);
    }

    #[test]
    fn an_item_of_another_crate_counts_where_it_is_re_exported() {
        let files = [
            ("lib", "mod a;\nmod b;\npub use other::Z;"),
            ("a", "pub(crate) use other::X;\nuse other::Y;"),
            ("b", "use crate::a::X;\nuse crate::a::Y;\nuse crate::Z;"),
        ];
        assert_eq!(arrows(&files), ["b:1 a"]);
    }

    #[test]
    fn a_child_that_uses_a_name_of_its_parents_file_closes_a_circle() {
        let parent = "mod child;\npub use child::C;\npub struct P;\nuse std::fmt::Debug;";
        let circle = [("lib", "mod a;"), ("a", parent), ("a/child", "use super::P;\npub struct C(P);")];
        assert_eq!(tree(&circle).circles().len(), 1);
        let none = [("lib", "mod a;"), ("a", parent), ("a/child", "use super::Debug;\npub struct C;")];
        assert_eq!(arrows(&none), ["a:2 a/child"]);
    }

    #[test]
    fn a_child_that_is_called_by_its_name_is_an_arrow_from_its_parent() {
        let files = [
            ("lib", "mod a;"),
            ("a", "mod child;\nfn f() {\n    child::run::<u8>();\n    child.run();\n}"),
            ("a/child", "pub fn run<T>() {}"),
        ];
        assert_eq!(arrows(&files), ["a:3 a/child"]);
    }

    #[test]
    fn an_imported_module_leads_where_the_paths_that_begin_with_it_lead() {
        let files = [
            ("lib", "mod a;\nmod user;\nmod idle;"),
            ("a", "mod b;\npub use b::B;"),
            ("a/b", "pub struct B;"),
            ("user", "use crate::a;\nfn f() -> a::B { a::B }"),
            ("idle", "use crate::a as other;"),
        ];
        assert_eq!(arrows(&files), ["a:2 a/b", "idle:1 a", "user:2 a/b"]);
    }

    #[test]
    fn inline_modules_macros_and_attributes_are_followed() {
        let files = [
            ("lib", "mod macros;\nmod a;\npub struct L;"),
            ("macros", "#[macro_export]\nmacro_rules! m { () => { $crate::L } }"),
            (
                "a",
                "mod inner {\n    pub mod below;\n    use super::A;\n    use super::super::L;\n}\nstruct A;\n#[path = \"x.rs\"]\nmod y;\n\
                 #[command(value_parser = crate::a::inner::below::parse)]\nfn f() { crate::m!() }",
            ),
            ("a/inner/below", "pub fn parse() {}"),
            ("x", "use crate::made_by_a_macro;"),
        ];
        assert_eq!(
            arrows(&files),
            ["a:9 a/inner/below", "a:4 lib", "a:10 macros", "macros:2 lib", "x:1 lib"]
        );
    }

    #[test]
    fn the_program_reaches_the_library_by_its_name() {
        let files = [
            ("lib", "pub mod a;"),
            ("a", "pub struct A;"),
            ("main", "mod run;\nfn main() { run::run() }"),
            (
                "run",
                "use shop::a::A;\nuse std::a::A as B;\npub fn run() { eprintln!(\"\"); let a = b != c; }",
            ),
        ];
        assert_eq!(arrows(&files), ["main:2 run", "run:1 a"]);
        let tree = tree(&files);
        assert_eq!(tree.files(LIBRARY).into_keys().collect::<Vec<_>>(), ["src/a.rs", "src/lib.rs"]);
        let program = tree.files(Root { name: "", file: "src/main.rs" });
        let macros: Vec<_> =
            program["src/run.rs"].iter().filter(|word| word.is_macro).map(|word| &*word.text).collect();
        assert_eq!(macros, ["eprintln"]);
    }

    #[test]
    fn tables_of_commands_are_read() {
        let readme = "| other |\n|---|\n| `no` |\n\n| command | |\n|---|---|\n| `ps` | all |\n\
                      | `a`, `b-c` `[WHO]` | `x` |\n| `man PAGE` | |\n\n| `no` |";
        assert_eq!(commands_of_the_readme(readme).into_iter().collect::<Vec<_>>(), ["a", "b-c", "man", "ps"]);
        let help = "Usage\n\nCommands:\n  ps    List\n        more\n  help  Help\n\nOptions:\n  -x\n";
        assert_eq!(commands_of_the_help(help).into_iter().collect::<Vec<_>>(), ["ps"]);
    }
}
