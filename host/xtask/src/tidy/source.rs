//! Rules about Rust sources: where `unsafe` is, what is not finished, how long a function is, what a public type is called.
//!
//! The first two look at tokens, so that the body of a macro hides nothing; the others look at the syntax tree.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::{Failure, Tree, texts};

/// The only places with `unsafe`: compiled plugins are loaded in the first, the second says how a column is lowered into a guest, the
/// third is a folder of numeric kernels, the fourth sets the C library's allocator.
const UNSAFE: [&str; 4] = ["host/sandbox/src/aot.rs", "host/sandbox/src/host/list.rs", "host/model/src/kernel/", "host/cli/src/memory.rs"];

/// Where a plugin's manifest is put into a section of the component; the attribute that names a section says `unsafe` and runs
/// nothing.
const SECTIONS: &str = "sdk/";

/// Guests made to break rules.
const HOSTILE: &str = "tests/guests/";

/// What fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are longer, each with the reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];

/// Words that the glossary bans in the names of our public types, and what to say instead.
const BANNED: [(&str, &str); 9] = [
    ("job", "work unit or step"),
    ("workflow", "pipeline"),
    ("stage", "step or alias"),
    ("ingester", "source"),
    ("transformer", "cleaner"),
    ("scorer", "evaluator"),
    ("notifier", "alerter"),
    ("kpi", "measurement"),
    ("quota", "limit"),
];

pub fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (path, text) in texts(tree).filter(|(path, _)| path.ends_with(".rs")) {
        match (text.parse::<TokenStream>(), syn::parse_file(text)) {
            (Ok(tokens), Ok(file)) => {
                if !path.starts_with(HOSTILE) {
                    tokens_of(path, tokens, &mut failures);
                }
                let mut visitor = Visitor { path, failures: &mut failures, in_test: 0 };
                visitor.visit_file(&file);
            }
            (_, Err(error)) => failures.push(Failure::new(path, error.span().start().line, format!("not Rust: {error}"))),
            (Err(error), _) => failures.push(Failure::new(path, 1, format!("not Rust: {error}"))),
        }
    }
    failures
}

fn tokens_of(path: &str, tokens: TokenStream, failures: &mut Vec<Failure>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let line = token.span().start().line;
        match token {
            TokenTree::Ident(name) => {
                let is_macro = matches!(tokens.get(index + 1), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
                let name = name.to_string();
                let names_section = path.starts_with(SECTIONS) && tokens.get(index + 1).is_some_and(is_section);
                if name == "unsafe" && !names_section && !UNSAFE.iter().any(|place| path.starts_with(place)) {
                    failures.push(Failure::new(
                        path,
                        line,
                        format!("`unsafe` stands only in {}: move it or do without", UNSAFE.join(", ")),
                    ));
                }
                if is_macro && matches!(name.as_str(), "todo" | "unimplemented" | "dbg") {
                    failures.push(Failure::new(path, line, format!("`{name}!` is not finished work: finish it or take it out")));
                }
            }
            TokenTree::Group(group) => {
                let is_attribute =
                    matches!(index.checked_sub(1).map(|before| &tokens[before]), Some(TokenTree::Punct(mark)) if mark.as_char() == '#');
                let first = group.stream().into_iter().next();
                if is_attribute
                    && group.delimiter() == Delimiter::Bracket
                    && matches!(first, Some(TokenTree::Ident(name)) if name == "ignore")
                {
                    failures.push(Failure::new(path, line, "a test that is ignored tests nothing: mend it or delete it"));
                }
                tokens_of(path, group.stream(), failures);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether a token is the `(link_section = …)` of an attribute.
fn is_section(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "link_section")
}

struct Visitor<'a> {
    path: &'a str,
    failures: &'a mut Vec<Failure>,
    /// How many modules of tests we are in: their tables may be as long as they need.
    in_test: usize,
}

impl Visitor<'_> {
    fn function(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (first, last) = (name.span().start().line, block.brace_token.span.close().end().line);
        let lines = last + 1 - first;
        let is_listed = LONG_FUNCTIONS.iter().any(|(path, function, _)| *path == self.path && name == function);
        if lines > FUNCTION_LINES_MAX && self.in_test == 0 && !is_listed {
            let message = format!("`{name}` is {lines} lines, {FUNCTION_LINES_MAX} fit a screen: give its parts names");
            self.failures.push(Failure::new(self.path, first, message));
        }
    }

    fn public_type(&mut self, visibility: &syn::Visibility, name: &syn::Ident) {
        if !matches!(visibility, syn::Visibility::Public(_)) {
            return;
        }
        for word in words(&name.to_string()) {
            if let Some((banned, instead)) = BANNED.iter().find(|(banned, _)| word == *banned || word == format!("{banned}s")) {
                let message = format!("`{name}` says {banned}: the glossary's word is {instead}");
                self.failures.push(Failure::new(self.path, name.span().start().line, message));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = item.attrs.iter().any(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "test"));
        if !is_test {
            self.function(&item.sig.ident, &item.block);
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.ident == "tests" || item.ident == "test";
        self.in_test += usize::from(is_test);
        visit::visit_item_mod(self, item);
        self.in_test -= usize::from(is_test);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.public_type(&item.vis, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.public_type(&item.vis, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.public_type(&item.vis, &item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.public_type(&item.vis, &item.ident);
    }
}

/// The words of a name in camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        if letter.is_uppercase() || words.is_empty() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree_of};
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        let shown = shown(super::check(&tree_of(&[(path, text)])));
        assert!(if expected.is_empty() { shown.is_empty() } else { shown.contains(expected) }, "`{shown}`");
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = "fn read() -> u8 {\n    unsafe { std::ptr::null::<u8>().read() }\n}\n";
        check("host/sandbox/src/aot.rs", text, "");
        check("host/model/src/kernel/adamw.rs", text, "");
        check("tests/guests/spin/src/lib.rs", text, "");
        check("host/store/src/lib.rs", text, "host/store/src/lib.rs:2: `unsafe` stands only in host/sandbox/src/aot.rs");
        check("sdk/rust/src/export.rs", "#[unsafe(link_section = \"manifest\")]\nstatic MANIFEST: u8 = 0;", "");
        check("sdk/rust/src/export.rs", "#[unsafe(no_mangle)]\nfn open() {}", ":1: `unsafe`");
        check("host/store/src/lib.rs", "#[unsafe(link_section = \"manifest\")]\nstatic MANIFEST: u8 = 0;", ":1: `unsafe`");
        check("plugins/csv/src/lib.rs", "macro_rules! hide { () => { unsafe { go() } } }", ":1: `unsafe`");
        check("host/store/src/lib.rs", "//! Nothing unsafe!\nconst WORD: &str = \"unsafe\";", "");
    }

    #[test]
    fn unfinished_work_is_found_inside_macros_too() {
        check("host/a/src/lib.rs", "fn later() {\n    vec![todo!()];\n}", "host/a/src/lib.rs:2: `todo!`");
        check("host/a/src/lib.rs", "fn look() { dbg!(1); }", "`dbg!`");
        check("host/a/src/lib.rs", "fn todo() { todo(); }", "");
    }

    #[test]
    fn an_ignored_test_is_found_with_and_without_a_reason() {
        check("host/a/src/lib.rs", "#[test]\n#[ignore]\nfn slow() {}", "host/a/src/lib.rs:2: a test that is ignored");
        check("host/a/src/lib.rs", "#[test]\n#[ignore = \"slow\"]\nfn slow() {}", "a test that is ignored");
        check("host/a/src/lib.rs", "fn ignore(list: [u8; 1]) { ignore(list) }", "");
    }

    #[test]
    fn a_function_fits_a_screen_unless_it_is_a_table_of_tests() {
        let body = "    step();\n";
        let function = |lines: usize| format!("fn long() {{\n{}}}\n", body.repeat(lines - 2));
        check("host/a/src/lib.rs", &function(70), "");
        check("host/a/src/lib.rs", &function(71), "host/a/src/lib.rs:1: `long` is 71 lines, 70 fit");
        check("host/a/src/lib.rs", &format!("mod tests {{\n{}}}", function(90)), "");
        check("host/a/src/lib.rs", &format!("struct A;\nimpl A {{\n{}}}", function(71)), "host/a/src/lib.rs:3: `long`");
    }

    #[test]
    fn a_public_type_is_called_as_the_glossary_says() {
        check("host/a/src/lib.rs", "/// A queue.\npub struct JobQueue;", "host/a/src/lib.rs:2: `JobQueue` says job");
        check("sdk/rust/src/lib.rs", "pub trait Transformer {}", "the glossary's word is cleaner");
        check("plugins/csv/src/lib.rs", "pub type Quotas = u8;", "limit");
        check("host/a/src/lib.rs", "struct Job; pub enum Backstage {} pub fn job() {}", "");
    }

    #[test]
    fn what_cannot_be_parsed_is_named() {
        check("host/a/src/lib.rs", "fn open( {", "host/a/src/lib.rs:1: not Rust");
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("WorkQueue"), ["work", "queue"]);
        assert_eq!(words("adamw"), ["adamw"]);
    }
}
