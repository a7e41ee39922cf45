//! Which files of a crate import each other: a small parser of modules, imports and paths.
//!
//! The parser follows `mod` declarations from the root files, and resolves each `use` and each path to the file that defines
//! the item, through re-exports. It skips comments, literals and everything under `#[cfg(test)]`. It expands no macros: a
//! name that it does not find in a module counts as defined there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many re-exports and imports in a row are followed. It ends the search where two globs import each other.
const MAX_HOPS: usize = 16;

/// How many lines of each arrow a [`Circle`] shows.
const MAX_LINES: usize = 8;

/// The root file of a library or program.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// The name that other roots use in paths; empty for a program.
    pub name: &'a str,
    /// The path of the file, with `/`.
    pub file: &'a str,
}

/// A line in one file that names something that another file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The importing file.
    pub from: String,
    /// The line in it.
    pub line: usize,
    /// The path as the line has it.
    pub path: String,
    /// The file that defines the item.
    pub to: String,
}

/// Files that all reach each other, and the arrows between them.
#[derive(Debug)]
pub struct Circle {
    /// In the order of the alphabet.
    pub files: Vec<String>,
    /// Sorted by both files, then by line.
    pub arrows: Vec<Arrow>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files import each other:", self.files.len())?;
        for arrows in self.arrows.chunk_by(|one, next| one.from == next.from && one.to == next.to) {
            let Some(first) = arrows.first() else { continue };
            writeln!(f, "  {} -> {}", first.from, first.to)?;
            for Arrow { line, path, .. } in arrows.iter().take(MAX_LINES) {
                writeln!(f, "    line {line}: {path}")?;
            }
            if let Some(more @ 1..) = arrows.len().checked_sub(MAX_LINES) {
                writeln!(f, "    and {more} more")?;
            }
        }
        Ok(())
    }
}

/// A word outside of comments, literals and test code.
#[derive(Clone, Debug)]
pub struct Word {
    /// The line.
    pub line: usize,
    /// The identifier or keyword.
    pub text: String,
    /// An exclamation mark follows: a macro is called.
    pub is_macro: bool,
}

/// The modules of some roots that may name each other.
#[derive(Debug)]
pub struct Tree {
    modules: Vec<Module>,
    /// The name and the module of each root.
    roots: Vec<(String, usize)>,
}

#[derive(Debug, Default)]
struct Module {
    file: String,
    root: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What the module's own text defines.
    names: BTreeSet<String>,
    imports: BTreeMap<String, Import>,
    globs: Vec<Vec<String>>,
    mentions: Vec<Mention>,
    words: Vec<Word>,
}

#[derive(Debug)]
struct Import {
    path: Vec<String>,
    is_public: bool,
}

/// A path in the text.
#[derive(Debug)]
struct Mention {
    line: usize,
    path: Vec<String>,
    /// The name that a `use` binds.
    bound: Option<String>,
}

/// Where a path leads.
enum Found {
    Module(usize),
    /// An item that this module defines.
    Item(usize),
    /// Another crate, or a local name.
    Elsewhere,
}

impl Tree {
    /// Reads the files of these roots. `read` gives the text of a file, if there is one.
    ///
    /// # Panics
    /// If a root or a declared module has no file.
    pub fn read(roots: &[Root<'_>], read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut tree = Self { modules: Vec::new(), roots: Vec::new() };
        for root in roots {
            let module = tree.add(root.file, None);
            tree.roots.push((root.name.to_owned(), module));
            let text = read(root.file).unwrap_or_else(|| panic!("there is no {}", root.file));
            let (folder, _) = root.file.rsplit_once('/').unwrap_or(("", root.file));
            Parser::new(&text, folder.to_owned(), read).parse(&mut tree, module);
        }
        tree
    }

    fn add(&mut self, file: &str, parent: Option<usize>) -> usize {
        let number = self.modules.len();
        let root = parent.map_or(number, |parent| self.modules[parent].root);
        self.modules.push(Module { file: file.to_owned(), root, parent, ..Module::default() });
        number
    }

    /// The files that `root` reaches through `mod` declarations, with the words of each.
    pub fn files(&self, root: Root<'_>) -> BTreeMap<&str, Vec<&Word>> {
        let mut files: BTreeMap<&str, Vec<&Word>> = BTreeMap::new();
        for module in &self.modules {
            if self.modules[module.root].file == root.file {
                files.entry(&module.file).or_default().extend(&module.words);
            }
        }
        files
    }

    /// Every arrow from one file to another.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (number, module) in self.modules.iter().enumerate() {
            for mention in &module.mentions {
                if mention.bound.is_none() && self.is_of_an_imported_item(number, &mention.path) {
                    continue;
                }
                let to = match self.resolve(number, &mention.path, 0) {
                    Found::Elsewhere => continue,
                    // An imported module makes no arrow of its own if the paths that begin with its name make some.
                    Found::Module(_)
                        if mention.bound.as_ref().is_some_and(|name| module.begins_a_path(name)) =>
                    {
                        continue;
                    }
                    Found::Module(module) | Found::Item(module) => &self.modules[module].file,
                };
                if *to != module.file {
                    let (path, from) = (mention.path.join("::"), module.file.clone());
                    arrows.push(Arrow { from, line: mention.line, path, to: to.clone() });
                }
            }
        }
        arrows.sort_by(|one, next| (&one.from, &one.to, one.line).cmp(&(&next.from, &next.to, next.line)));
        arrows.dedup();
        arrows
    }

    /// Whether the path is of an item, such as a type, that a `use` names: the `use` is an arrow already.
    fn is_of_an_imported_item(&self, module: usize, path: &[String]) -> bool {
        let Some(first) = path.first() else { return false };
        let is_item = || matches!(self.resolve(module, std::slice::from_ref(first), 0), Found::Item(_));
        path.len() > 1 && self.modules[module].imports.contains_key(first) && is_item()
    }

    /// Every group of files that all reach each other.
    pub fn circles(&self) -> Vec<Circle> {
        let arrows = self.arrows();
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for arrow in &arrows {
            next.entry(&arrow.from).or_default().insert(&arrow.to);
        }
        let reaches: BTreeMap<_, _> = next.keys().map(|&file| (file, reached(&next, file))).collect();
        let mut grouped = BTreeSet::new();
        let mut circles = Vec::new();
        for (&file, others) in &reaches {
            if grouped.contains(file) || !others.contains(file) {
                continue;
            }
            let group: BTreeSet<&str> = others
                .iter()
                .copied()
                .filter(|other| reaches.get(other).is_some_and(|back| back.contains(file)))
                .collect();
            let inside = |arrow: &&Arrow| group.contains(&*arrow.from) && group.contains(&*arrow.to);
            circles.push(Circle {
                files: group.iter().map(|&file| file.to_owned()).collect(),
                arrows: arrows.iter().filter(inside).cloned().collect(),
            });
            grouped.extend(group);
        }
        circles
    }

    fn resolve(&self, from: usize, path: &[String], hops: usize) -> Found {
        let Some((first, rest)) = path.split_first() else { return Found::Elsewhere };
        let root_of_this_name = || self.roots.iter().find(|(name, _)| name == first && !name.is_empty());
        let mut at = match &**first {
            "crate" => self.modules[from].root,
            "self" => from,
            "super" => self.modules[from].parent.unwrap_or(from),
            name => match self.look_up(from, name, rest.is_empty(), hops) {
                Some(Found::Module(module)) => module,
                Some(found) => return found,
                None => match root_of_this_name() {
                    Some((_, module)) => *module,
                    None => return Found::Elsewhere,
                },
            },
        };
        for (number, name) in rest.iter().enumerate() {
            match &**name {
                "self" => {}
                "super" => at = self.modules[at].parent.unwrap_or(at),
                name => match self.look_up(at, name, number + 1 == rest.len(), hops) {
                    Some(Found::Module(module)) => at = module,
                    Some(found) => return found,
                    // A macro may have defined it.
                    None => return Found::Item(at),
                },
            }
        }
        Found::Module(at)
    }

    fn look_up(&self, module: usize, name: &str, is_last: bool, hops: usize) -> Option<Found> {
        let (here, child) = (&self.modules[module], self.modules[module].children.get(name));
        if here.names.contains(name) && (is_last || child.is_none()) {
            return Some(Found::Item(module));
        }
        if let Some(child) = child {
            return Some(Found::Module(*child));
        }
        if hops == MAX_HOPS {
            return None;
        }
        // A `use` of the name itself would look for it here again.
        if let Some(import) = here.imports.get(name).filter(|import| import.path != [name]) {
            return Some(match self.resolve(module, &import.path, hops + 1) {
                // An item of another crate counts as defined in the module that re-exports it. Roots re-export for users.
                Found::Elsewhere if import.is_public && here.parent.is_some() => Found::Item(module),
                found => found,
            });
        }
        here.globs.iter().find_map(|path| match self.resolve(module, path, hops + 1) {
            Found::Module(other) if other != module => self.look_up(other, name, is_last, hops + 1),
            _ => None,
        })
    }
}

/// The files that arrows lead to from this one.
fn reached<'a>(next: &BTreeMap<&str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let (mut seen, mut left) = (BTreeSet::new(), Vec::new());
    let mut file = from;
    loop {
        left.extend(next.get(file).into_iter().flatten().filter(|file| seen.insert(**file)));
        match left.pop() {
            Some(another) => file = another,
            None => return seen,
        }
    }
}

impl Module {
    fn begins_a_path(&self, name: &str) -> bool {
        self.mentions.iter().any(|mention| mention.path.len() > 1 && mention.path[0] == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// The content of a string literal.
    Text(String),
    /// `::`
    Colons,
    Mark(char),
}

/// One file on its way into a tree.
struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    /// Where the files of the file's child modules are.
    folder: String,
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Parser<'a> {
    fn new(text: &str, folder: String, read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { tokens: tokens(text), folder, read }
    }

    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|(_, token)| token)
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.token(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.token(at) == Some(&Token::Mark(mark))
    }

    fn parse(&self, tree: &mut Tree, module: usize) {
        // Inline modules: the depth of braces inside each, and its name.
        let (mut inside, mut depth) = (vec![(0, module)], 0);
        let mut names: Vec<&str> = Vec::new();
        let (mut path_attribute, mut is_exported) = (None, false);
        let mut at = 0;
        while at < self.tokens.len() {
            let &(module_depth, module) = inside.last().expect("the file's module stays");
            let line = self.tokens[at].0;
            match self.token(at) {
                Some(Token::Mark('#'))
                    if self.is(at + 1, '[') || self.is(at + 1, '!') && self.is(at + 2, '[') =>
                {
                    let is_inner = self.is(at + 1, '!');
                    let start = at + 2 + usize::from(is_inner);
                    let end = self.matching(start - 1);
                    if self.is_for_tests(start, end) {
                        if is_inner {
                            return;
                        }
                        at = self.item_end(end + 1);
                        continue;
                    }
                    match (self.word(start), self.token(start + 2)) {
                        (Some("path"), Some(Token::Text(file))) => path_attribute = Some(file.clone()),
                        (Some("macro_export"), _) => is_exported = true,
                        _ => {}
                    }
                    at += 1;
                    continue;
                }
                Some(Token::Mark('{')) => depth += 1,
                Some(Token::Mark('}')) => {
                    if depth == module_depth && inside.len() > 1 {
                        inside.pop();
                        names.pop();
                    }
                    depth -= 1;
                }
                Some(Token::Word(word)) => {
                    tree.modules[module].words.push(Word {
                        line,
                        text: word.clone(),
                        is_macro: self.is(at + 1, '!') && !self.is(at + 2, '='),
                    });
                    match (&**word, self.word(at + 1)) {
                        ("mod", Some(name)) if self.is(at + 2, '{') => {
                            let file = tree.modules[module].file.clone();
                            let child = tree.add(&file, Some(module));
                            tree.modules[module].children.insert(name.to_owned(), child);
                            depth += 1;
                            inside.push((depth, child));
                            names.push(name);
                            at += 3;
                            continue;
                        }
                        ("mod", Some(name)) if self.is(at + 2, ';') => {
                            self.child(tree, module, &names, name, path_attribute.take());
                            at += 3;
                            continue;
                        }
                        ("use", _) if !self.is(at + 1, '<') => {
                            let is_public = self.is_public(at);
                            at = self.imports(&mut tree.modules[module], is_public, at + 1, &mut Vec::new());
                            continue;
                        }
                        ("macro_rules", _) => {
                            if let Some(name) = self.word(at + 2) {
                                tree.modules[module].names.insert(name.to_owned());
                                if std::mem::take(&mut is_exported) {
                                    let path = vec!["crate".to_owned(), name.to_owned()];
                                    let root = tree.modules[module].root;
                                    let own = self.own_path(tree, module, name);
                                    if own != path {
                                        let import = Import { path: own, is_public: true };
                                        tree.modules[root].imports.insert(name.to_owned(), import);
                                    }
                                }
                            }
                        }
                        (
                            "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static",
                            Some(name),
                        ) if depth == module_depth => {
                            let name = if name == "mut" { self.word(at + 2).unwrap_or(name) } else { name };
                            tree.modules[module].names.insert(name.to_owned());
                        }
                        _ => {
                            let end = self.path_end(at);
                            if end > at + 1 {
                                let path =
                                    (at..end).filter_map(|at| self.word(at)).map(str::to_owned).collect();
                                tree.modules[module].mentions.push(Mention { line, path, bound: None });
                            }
                            at = end;
                            continue;
                        }
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Returns where the path that begins with the word at `at` ends; the next token if no path begins here.
    fn path_end(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|before| self.token(before));
        let is_visibility = self.word(at.wrapping_sub(1)) == Some("in") && self.is(at.wrapping_sub(2), '(');
        if matches!(before, Some(Token::Colons | Token::Mark('.'))) || is_visibility {
            return at + 1;
        }
        let mut end = at + 1;
        while self.token(end) == Some(&Token::Colons) && self.word(end + 1).is_some() {
            end += 2;
        }
        end
    }

    /// Whether `pub`, perhaps with a restriction, stands before the token at `at`.
    fn is_public(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).and_then(|at| self.word(at));
        before(1) == Some("pub")
            || at > 0 && self.is(at - 1, ')') && (3..8).any(|back| before(back) == Some("pub"))
    }

    /// Reads a tree of imports with this start. Returns where it ends: behind its `;`, or on the `,` or `}` of its
    /// group.
    fn imports(&self, module: &mut Module, is_public: bool, mut at: usize, start: &mut Vec<String>) -> usize {
        let kept = start.len();
        let line = self.tokens.get(at).map_or(0, |(line, _)| *line);
        let mut bound = None;
        loop {
            match self.token(at) {
                Some(Token::Colons) => at += 1,
                Some(Token::Word(word)) if word == "as" => {
                    bound = self.word(at + 1).map(str::to_owned);
                    at += 2;
                }
                Some(Token::Word(word)) => {
                    start.push(word.clone());
                    at += 1;
                }
                Some(Token::Mark('*')) => {
                    module.globs.push(start.clone());
                    module.mentions.push(Mention { line, path: start.clone(), bound: None });
                    start.clear();
                    at += 1;
                }
                Some(Token::Mark('{')) => {
                    let group = start.clone();
                    at += 1;
                    while !self.is(at, '}') && at < self.tokens.len() {
                        at = self.imports(module, is_public, at, &mut group.clone());
                        at += usize::from(self.is(at, ','));
                    }
                    start.clear();
                    at += 1;
                }
                _ => break,
            }
        }
        if start.len() > kept || bound.is_some() {
            if start.last().is_some_and(|name| name == "self") && start.len() > 1 {
                start.pop();
            }
            let name = bound.or_else(|| start.last().cloned());
            if let Some(name) = name.as_ref().filter(|name| *name != "_") {
                module.imports.insert(name.clone(), Import { path: start.clone(), is_public });
            }
            module.mentions.push(Mention { line, path: start.clone(), bound: name });
        }
        start.truncate(kept);
        at + usize::from(self.is(at, ';'))
    }

    fn child(&self, tree: &mut Tree, module: usize, inline: &[&str], name: &str, attribute: Option<String>) {
        let here = tree.modules[module].file.clone();
        let own_folder = here.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder =
            std::iter::once(&*self.folder).chain(inline.iter().copied()).collect::<Vec<_>>().join("/");
        let places = match attribute {
            Some(file) => vec![(format!("{own_folder}/{file}"), own_folder.to_owned())],
            None => vec![
                (format!("{folder}/{name}.rs"), format!("{folder}/{name}")),
                (format!("{folder}/{name}/mod.rs"), format!("{folder}/{name}")),
            ],
        };
        let found = places.into_iter().find_map(|(file, below)| Some(((self.read)(&file)?, file, below)));
        let Some((text, file, below)) = found else { panic!("{here}: there is no file of `mod {name}`") };
        let child = tree.add(&file, Some(module));
        tree.modules[module].children.insert(name.to_owned(), child);
        Parser::new(&text, below, self.read).parse(tree, child);
    }

    fn own_path(&self, tree: &Tree, mut module: usize, name: &str) -> Vec<String> {
        let mut path = vec![name.to_owned()];
        while let Some(parent) = tree.modules[module].parent {
            let children = &tree.modules[parent].children;
            path.extend(children.iter().find(|(_, child)| **child == module).map(|(name, _)| name.clone()));
            module = parent;
        }
        path.push("crate".to_owned());
        path.reverse();
        path
    }

    /// The bracket that closes the one at `open`.
    fn matching(&self, open: usize) -> usize {
        let mut depth = 0;
        for at in open..self.tokens.len() {
            match self.token(at) {
                Some(Token::Mark('(' | '[' | '{')) => depth += 1,
                Some(Token::Mark(')' | ']' | '}')) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len()
    }

    /// Whether the attribute between these tokens leaves code to tests alone.
    fn is_for_tests(&self, start: usize, end: usize) -> bool {
        self.word(start) == Some("cfg")
            && (start..end).any(|at| self.word(at) == Some("test") && self.word(at - 2) != Some("not"))
    }

    /// Returns where the item, field, variant or statement that starts here ends. It may begin with more attributes.
    fn item_end(&self, mut at: usize) -> usize {
        while self.is(at, '#') {
            at = self.matching(at + 1) + 1;
        }
        if self.word(at) == Some("pub") {
            at += 1;
            if self.is(at, '(') {
                at = self.matching(at) + 1;
            }
        }
        let (ends_at_brace, ends_at_comma) = match (self.word(at), self.word(at + 1)) {
            (Some("const"), Some("fn" | "unsafe" | "async" | "extern")) => (true, false),
            (Some("use" | "const" | "static" | "let" | "type"), _) => (false, false),
            (
                Some(
                    "fn" | "mod" | "struct" | "enum" | "union" | "trait" | "impl" | "unsafe" | "async"
                    | "extern",
                ),
                _,
            )
            | (Some("macro_rules"), _) => (true, false),
            _ => (true, true),
        };
        while at < self.tokens.len() {
            match self.token(at) {
                Some(Token::Mark(';')) => return at + 1,
                Some(Token::Mark(',')) if ends_at_comma => return at + 1,
                Some(Token::Mark('}')) => return at,
                Some(Token::Mark('{')) if ends_at_brace => return self.matching(at) + 1,
                Some(Token::Mark('(' | '[' | '{')) => at = self.matching(at) + 1,
                _ => at += 1,
            }
        }
        at
    }
}

/// The tokens of Rust source with their lines, without comments and lifetimes.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = text.chars().collect();
    let is_word = |at: usize| text.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let starts = |at: usize, with: &str| with.chars().enumerate().all(|(n, c)| text.get(at + n) == Some(&c));
    let (mut found, mut line, mut at) = (Vec::new(), 1, 0);
    while at < text.len() {
        let (start, first_line) = (at, line);
        let token = match text[at] {
            '/' if starts(at, "//") => {
                at += text[at..].iter().take_while(|c| **c != '\n').count();
                None
            }
            '/' if starts(at, "/*") => {
                let mut depth = 0;
                loop {
                    match (starts(at, "/*"), starts(at, "*/")) {
                        (true, _) => (depth, at) = (depth + 1, at + 2),
                        (_, true) => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 || at >= text.len() {
                        break;
                    }
                }
                None
            }
            '\'' => {
                // A lifetime has no closing quote.
                if text.get(at + 1) == Some(&'\\') {
                    at += 3;
                    at += text[at..].iter().take_while(|c| **c != '\'').count() + 1;
                } else if text.get(at + 2) == Some(&'\'') {
                    at += 3;
                } else {
                    at += 1;
                    while is_word(at) {
                        at += 1;
                    }
                }
                None
            }
            '"' => {
                at += 1;
                while at < text.len() && text[at] != '"' {
                    at += 1 + usize::from(text[at] == '\\');
                }
                at += 1;
                Some(Token::Text(text[start + 1..at - 1].iter().collect()))
            }
            c if c.is_alphanumeric() || c == '_' => {
                while is_word(at) {
                    at += 1;
                }
                let word: String = text[start..at].iter().collect();
                let hashes = text[at..].iter().take_while(|c| **c == '#').count();
                if word.ends_with('r') && word.len() <= 2 && text.get(at + hashes) == Some(&'"') {
                    let end = format!("\"{}", "#".repeat(hashes));
                    at += hashes + 1;
                    let content = at;
                    while at < text.len() && !starts(at, &end) {
                        at += 1;
                    }
                    at += hashes + 1;
                    Some(Token::Text(text[content..at - hashes - 1].iter().collect()))
                } else if ["b", "c"].contains(&&*word) && ['"', '\''].iter().any(|c| text.get(at) == Some(c))
                {
                    // The prefix of a literal.
                    None
                } else if word == "r" && hashes == 1 {
                    at += 1;
                    None
                } else {
                    Some(Token::Word(word))
                }
            }
            ':' if starts(at, "::") => {
                at += 2;
                Some(Token::Colons)
            }
            c => {
                at += 1;
                (!c.is_whitespace()).then_some(Token::Mark(c))
            }
        };
        line += text[start..at.min(text.len())].iter().filter(|c| **c == '\n').count();
        found.extend(token.map(|token| (first_line, token)));
    }
    found
}
