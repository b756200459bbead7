//! Does README.md say what the sources say?
//!
//! The sources are read as text, so that no NGINX is needed. A message in README is its format with `<…>` for what varies;
//! in a source it is a string literal with `{…}`. Every message of a source needs a row, and every row a message.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where messages of the error log and of `nginx -t` are written.
const SOURCES: [&str; 12] = [
    "src/nginx",
    "src/nginx/subrequest",
    "src/failure.rs",
    "src/json.rs",
    "src/jwt.rs",
    "src/settings.rs",
    "src/challenge.rs",
    "src/tls.rs",
    "src/client.rs",
    "src/worker.rs",
    "src/source.rs",
    "src/client_assertion.rs",
];

/// What stands before a literal that is a message.
const BEFORE_MESSAGE: [&str; 5] = ["format_args!(", "std::io::stderr(),", "#[error(", "Err(format!(", "|e| format!("];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of README from a heading to the next of the same level.
fn section(heading: &str) -> String {
    let readme = read("README.md");
    let start = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("README has no \"{heading}\""));
    let rest = &readme[start + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// What the first column of the section's tables has between backticks.
fn first_column(section: &str) -> Vec<String> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(cell, _)| cell.to_owned()).collect()
}

/// A string literal, and the code between it and the one before.
struct Literal {
    before: String,
    text: String,
}

/// The literals of a source, its unit tests apart.
fn literals(source: &str) -> Vec<Literal> {
    let source = source.split("#[cfg(test)]\n").next().unwrap_or_default();
    let (mut found, mut before, mut rest) = (Vec::new(), String::new(), source);
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(length) = ["'\"'", "'\\\\'", "'\\\"'", "'\\''"].iter().find(|c| rest.starts_with(**c)) {
            rest = &rest[length.len()..];
        } else if rest.starts_with("r#\"") {
            let end = rest.find("\"#").expect("the end of a raw string");
            found.push(Literal { before: std::mem::take(&mut before), text: rest[3..end].to_owned() });
            rest = &rest[end + 2..];
        } else if c == '"' {
            let (text, after) = quoted(&rest[1..]);
            found.push(Literal { before: std::mem::take(&mut before), text });
            rest = after;
        } else {
            before.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

/// What is in a string literal whose quotation mark has been read, and what follows it.
fn quoted(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &source[at + 1..]),
            '\\' => match chars.next().expect("an escaped character").1 {
                // the line goes on after the indentation
                '\n' => {
                    let next = chars.as_str().trim_start();
                    let indentation = chars.as_str().len() - next.len();
                    for _ in 0..indentation {
                        chars.next();
                    }
                }
                'n' => text.push('\n'),
                escaped => text.push(escaped),
            },
            c => text.push(c),
        }
    }
    panic!("a string literal does not end");
}

/// A text with `{}` for everything between `open` and `close`.
fn pattern(text: &str, open: char, close: char) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((literal, tail)) = rest.split_once(open) {
        out.push_str(literal);
        out.push_str("{}");
        rest = tail.split_once(close).map_or("", |(_, rest)| rest);
    }
    out + rest
}

/// Whether a row says what a format may produce: `{}` of the format stands for any part of the row.
fn matches(format: &str, row: &str) -> bool {
    let parts: Vec<&str> = format.split("{}").collect();
    let (Some((first, rest)), Some(last)) = (parts.split_first(), parts.last()) else { return false };
    if rest.is_empty() {
        return row == *first;
    }
    let Some(mut row) = row.strip_prefix(first) else { return false };
    for part in &rest[..rest.len() - 1] {
        match row.find(part) {
            Some(at) => row = &row[at + part.len()..],
            None => return false,
        }
    }
    row.ends_with(last)
}

fn files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for source in SOURCES {
        if !root.join(source).is_dir() {
            files.push(source.to_owned());
            continue;
        }
        for entry in fs::read_dir(root.join(source)).expect("a directory") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
            if name.ends_with(".rs") {
                files.push(format!("{source}/{name}"));
            }
        }
    }
    files
}

/// The level that a message is written with, where the call names it.
fn level(before: &str) -> Option<String> {
    let call = before.rsplit(['{', '}', ';']).next().unwrap_or_default();
    let mut words = call.split(|c: char| !c.is_alphanumeric());
    let levels = ["Debug", "Info", "Notice", "Warn", "Error", "Crit", "Alert"];
    words.rfind(|word| levels.contains(word)).map(str::to_lowercase)
}

#[test]
fn every_message_has_its_level() {
    let section = section("Log messages");
    let table = section.split("\nFailures:\n").next().expect("the first table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 10 && rows.iter().all(|cells| cells.len() == 4 && !cells.contains(&"")), "{rows:#?}");
    let mut checked = 0;
    for file in files() {
        for Literal { before, text } in literals(&read(&file)) {
            let format = pattern(text.strip_prefix("phantom token: ").unwrap_or(&text), '{', '}');
            let code = before.trim_end();
            if !(code.ends_with("format_args!(") || code.ends_with(',')) || format.replace("{}", "").len() < 4 {
                continue;
            }
            let row = rows.iter().find(|cells| matches(&format, &pattern(cells[0].trim_matches('`'), '<', '>')));
            if let (Some(cells), Some(level)) = (row, level(&before)) {
                assert!(cells[1].contains(&level), "{file}: \"{text}\" is {level}, README says {}", cells[1]);
                checked += 1;
            }
        }
    }
    assert!(checked >= 8, "only {checked} levels found: has the way they are written changed?");
}

/// File and format of everything that is written as a message.
fn messages() -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for file in files() {
        for Literal { before, text } in literals(&read(&file)) {
            let code = before.trim_end();
            // `log!(LOG, LEVEL, "…"` and `Refused::Value(N, "…"`
            let is_argument = ["log!(", "Refused::Value("]
                .iter()
                .any(|call| code.rsplit_once(call).is_some_and(|(_, rest)| rest.ends_with(',') && !rest.contains(';')));
            if is_argument || BEFORE_MESSAGE.iter().any(|call| code.ends_with(call)) {
                let text = text.strip_prefix("phantom token: ").unwrap_or(&text);
                messages.push((file.clone(), pattern(text, '{', '}')));
            }
        }
    }
    assert!(messages.len() > 50, "only {} messages found: has the way they are written changed?", messages.len());
    messages
}

fn rows() -> Vec<String> {
    let mut rows = first_column(&section("Log messages"));
    rows.extend(first_column(&section("Errors at `nginx -t`")));
    rows.into_iter().map(|row| pattern(&row, '<', '>')).collect()
}

#[test]
fn every_message_is_explained() {
    let rows = rows();
    let missing: Vec<_> = messages()
        .into_iter()
        .filter(|(_, format)| format.replace("{}", "").chars().any(char::is_alphabetic))
        .filter(|(_, format)| !rows.iter().any(|row| matches(format, row)))
        .collect();
    assert!(missing.is_empty(), "README's tables of messages lack: {missing:#?}");
}

#[test]
fn every_explained_message_exists() {
    let mut formats: Vec<_> = messages().into_iter().map(|(_, format)| format).collect();
    // helpers return messages of NGINX's `nginx -t` as they are
    for file in files() {
        formats.extend(literals(&read(&file)).into_iter().map(|literal| pattern(&literal.text, '{', '}')));
    }
    formats.retain(|format| format.replace("{}", "").len() > 3);
    let unknown: Vec<_> = rows().into_iter().filter(|row| !formats.iter().any(|format| matches(format, row))).collect();
    assert!(unknown.is_empty(), "no source writes what README explains: {unknown:#?}");
}

#[test]
fn every_directive_is_described() {
    let source = read("src/nginx/directives.rs");
    let table = source.split_once("pub static COMMANDS").expect("the command table").1;
    let table = table.split_once("]);").expect("the end of the command table").0;
    let commands: BTreeSet<_> = literals(table)
        .into_iter()
        .map(|literal| literal.text)
        .filter(|text| text.starts_with("phantom_token"))
        .collect();

    let section = section("Directives");
    let mut described = BTreeSet::new();
    for entry in section.split("\n### ").skip(1) {
        let (name, text) = entry.split_once('\n').expect("a description");
        for line in [&format!("- Syntax: `{name} "), "- Default: ", "- Context: http", "- Since: 0.1.0\n"] {
            assert!(text.contains(line), "{name} lacks \"{line}\"");
        }
        assert!(described.insert(name.to_owned()), "{name} is described twice");
    }
    assert_eq!(commands, described);
}

/// What the command table says of places and arguments, the descriptions say too.
#[test]
fn descriptions_agree_with_the_command_table() {
    let source = read("src/nginx/directives.rs");
    let table = source.split_once("pub static COMMANDS").expect("the command table").1;
    let commands: Vec<(&str, &str)> = table
        .split("command(")
        .filter_map(|rest| rest.trim_start().strip_prefix("c\"")?.split_once("\","))
        .map(|(name, rest)| (name, rest.trim_start().split(',').next().unwrap_or_default()))
        .collect();
    assert_eq!(commands.len(), table.matches("c\"phantom_token").count() - 1, "all but phantom_token_cache_size");
    let section = section("Directives");
    let described = |name: &str| {
        let entry = section.split("\n### ").find_map(|entry| entry.strip_prefix(name)?.strip_prefix('\n'));
        entry.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    for (name, arguments) in commands {
        let entry = described(name);
        let syntax = entry.lines().find_map(|line| line.strip_prefix("- Syntax: ")).expect("a syntax");
        assert!(entry.contains("\n- Context: http, server, location, limit_except\n"), "{name}");
        assert_eq!(syntax.contains("on | off;"), arguments == "FLAG", "{name}: {syntax}");
        assert_eq!(syntax.contains(" ...;"), arguments == "SOME", "{name}: {syntax}");
        let optional =
            ["ONE", "ONE_TO_TWO", "ONE_TO_THREE", "ONE_TO_FOUR"].iter().position(|known| *known == arguments);
        assert_eq!(syntax.matches('[').count(), optional.unwrap_or(0), "{name}: {syntax}");
    }
    assert!(described("phantom_token_cache_size").contains("\n- Context: http\n"));
}

#[test]
fn every_variable_is_described() {
    let source = read("src/nginx/variables.rs");
    let table = source.split_once("const VARIABLES").expect("the variables").1.split_once("\n];").expect("their end").0;
    let mut variables: BTreeSet<_> = literals(table)
        .into_iter()
        .filter(|literal| literal.text.starts_with("phantom_token_"))
        .map(|literal| format!("${}", literal.text))
        .collect();
    let prefix = source.split_once("const CLAIM: &str = \"").expect("the prefix").1.split_once('"').expect("its end").0;
    variables.insert(format!("${prefix}NAME"));
    let described: BTreeSet<_> = first_column(&section("Variables")).into_iter().collect();
    assert_eq!(variables, described);
}

#[test]
fn links_lead_somewhere() {
    let readme = read("README.md");
    let headings: BTreeSet<String> = readme
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    for target in readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
        match target.strip_prefix('#') {
            Some(anchor) => assert!(headings.contains(anchor), "#{anchor}"),
            None => assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(), "{target}"),
        }
    }
}
