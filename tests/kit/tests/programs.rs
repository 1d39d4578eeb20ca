//! No code of this repository starts a program that is not in the kit's table. For the Rust of the
//! workspace clippy says so as well; this reads JavaScript, Python and shell too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use throng_kit::Program;
use throng_kit::programs::root;

/// The files that look programs up, and so may start them.
const LAUNCHERS: [&str; 3] =
    ["tests/kit/src/programs.rs", "tests/kit/tests/programs.rs", "tests/js/support/programs.mjs"];
/// Folders of what others wrote, or of what is built.
const SKIPPED: [&str; 6] = ["target", "node_modules", "dist", ".git", ".venv", "results"];

#[derive(Clone, Copy, Debug)]
enum Language {
    JavaScript,
    Python,
    Rust,
    /// The Rust of xtask, which names programs by strings.
    Xtask,
    Shell,
}

#[test]
fn every_program_that_is_started_is_in_the_table() {
    let mut files = Vec::new();
    collect(root(), &mut files);
    let mut broken = Vec::new();
    let mut read = 0;
    for file in &files {
        let name = file.strip_prefix(root()).expect("it lies below").display().to_string();
        let Ok(text) = fs::read_to_string(file) else { continue };
        let Some(language) = language(&name, &text) else { continue };
        if LAUNCHERS.contains(&name.as_str()) {
            continue;
        }
        read += 1;
        broken.extend(faults(language, &text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(read > 300, "{read} files were read");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable folder").map_while(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            collect(&path, files);
        } else if kind.is_file() {
            files.push(path);
        }
    }
}

fn language(name: &str, text: &str) -> Option<Language> {
    match name.rsplit('.').next() {
        Some("mjs" | "cjs" | "js" | "ts" | "vue") => Some(Language::JavaScript),
        Some("py") => Some(Language::Python),
        Some("rs") if name.starts_with("ci/src/") => Some(Language::Xtask),
        Some("rs") => Some(Language::Rust),
        _ => {
            let first = text.lines().next().unwrap_or_default();
            let is_shell = first.starts_with("#!") && first.contains("sh");
            is_shell.then_some(Language::Shell)
        }
    }
}

fn is_known(name: &str) -> bool {
    Program::ALL.iter().any(|program| program.name() == name)
}

/// What the text does that it may not.
fn faults(language: Language, text: &str) -> Vec<String> {
    match language {
        Language::JavaScript => javascript(text),
        Language::Python => {
            let ways = ["subprocess", "os.system", "os.popen", "os.exec", "os.spawn", "pty"];
            let used = ways.iter().filter(|way| text.lines().any(|line| has_word(line, way)));
            used.map(|way| format!("{way} starts programs")).collect()
        }
        Language::Rust => rust(text),
        Language::Xtask => {
            let mut faults = rust(text);
            for function in ["command", "run", "run_command", "read", "is_installed"] {
                let named = arguments(text, function).into_iter().flatten();
                faults.extend(named.filter(|name| !name.contains('/')).filter_map(unknown));
            }
            faults
        }
        Language::Shell => {
            let functions: BTreeSet<&str> = text
                .lines()
                .filter_map(|line| line.trim().split_once("()").map(|it| it.0))
                .collect();
            let started = commands(text).into_iter();
            started.filter(|name| !functions.contains(name.as_str())).filter_map(unknown).collect()
        }
    }
}

fn unknown(name: String) -> Option<String> {
    (!is_known(&name) && !BASE.contains(&name.as_str()))
        .then(|| format!("{name} is not in tests/kit/src/programs.rs"))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let around = [line[..at].chars().next_back(), line[at + word.len()..].chars().next()];
        around.into_iter().flatten().all(|c| !c.is_alphanumeric() && c != '_')
    })
}

fn javascript(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.contains("child_process") {
        faults.push("programs are started by support/programs.mjs only".to_owned());
    }
    for path in ["/usr/", "/bin/", "/sbin/"] {
        if ['\'', '"', '`'].iter().any(|quote| text.contains(&format!("{quote}{path}"))) {
            faults.push(format!("a path below {path}: use program()"));
        }
    }
    for name in arguments(text, "program") {
        match name {
            Some(name) => faults.extend(unknown(name)),
            None => faults.push("program() takes a literal".to_owned()),
        }
    }
    faults
}

fn rust(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = |line: &str| line.contains("Command::new(") && !line.trim().starts_with("//");
    let excused = |at: usize| {
        lines[at.saturating_sub(2)..at].iter().any(|line| line.contains("disallowed_methods"))
    };
    (0..lines.len())
        .filter(|at| starts(lines[*at]) && !excused(*at))
        .map(|at| format!("line {}: use Program::command or own of throng_kit", at + 1))
        .collect()
}

/// The first argument of each call of that function: its text, if it is a literal.
fn arguments(text: &str, function: &str) -> Vec<Option<String>> {
    let call = format!("{function}(");
    let calls = text.match_indices(&call).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.')
            && !text[..*at].ends_with("fn ")
            && !text[..*at].ends_with("function ")
    });
    let literal = |rest: &str| {
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        rest[1..].split(quote).next().map(str::to_owned)
    };
    calls.map(|(at, _)| literal(&text[at + call.len()..])).collect()
}

/// What a script may use without the table: the shell itself, and Debian's essential packages.
const BASE: &[&str] = &[
    "[", "[[", "break", "case", "cat", "cd", "chmod", "continue", "cp", "dirname", "done", "echo",
    "esac", "exit", "export", "false", "fi", "for", "grep", "kill", "local", "mkdir", "mktemp",
    "mv", "printf", "pwd", "read", "readonly", "return", "rm", "sed", "seq", "set", "shift",
    "sleep", "stat", "tail", "test", "touch", "trap", "true", "umask", "wait", "}",
    // The program under test of harness/calibration/run.sh.
    "$HARNESS",
];
/// After these the next word is a command.
const PREFIXES: &[&str] =
    &["!", "do", "elif", "else", "exec", "if", "setsid", "then", "time", "until", "while", "{"];

/// The first word of every command in a shell script.
fn commands(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let chars: Vec<char> = script.replace("\\\n", " ").chars().collect();
    let (mut word, mut is_command, mut is_quoted) = (String::new(), true, false);
    let (mut at, mut depth) = (0, 0_usize);
    while at <= chars.len() {
        let c = chars.get(at).copied().unwrap_or('\n');
        match c {
            '#' if word.is_empty() && !is_quoted => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
                continue;
            }
            '\'' if !is_quoted => {
                at += 1 + chars[at + 1..].iter().position(|c| *c == '\'').unwrap_or(0);
                word.push('\'');
            }
            '"' => is_quoted = !is_quoted,
            '$' if chars.get(at + 1) == Some(&'(') => {
                let end = closing(&chars, at + 1);
                let inner: String = chars[at + 2..end].iter().collect();
                if !inner.starts_with('(') {
                    found.extend(commands(&inner));
                }
                word.push_str("$()");
                at = end;
            }
            // An array, a redirection of a descriptor: no command.
            '(' if word.ends_with('=') => at = closing(&chars, at),
            '&' if matches!(chars.get(at.wrapping_sub(1)), Some('>' | '<')) => {}
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' if !is_quoted => {
                let ends = !matches!(c, ' ' | '\t' | '<' | '>');
                let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
                    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
                });
                // A word that closes no parenthesis is a pattern of `case`.
                let is_pattern = c == ')' && depth == 0;
                depth = match c {
                    '(' => depth + 1,
                    ')' => depth.saturating_sub(1),
                    _ => depth,
                };
                if !word.is_empty() && is_command && !is_pattern && !is_assignment {
                    is_command = PREFIXES.contains(&word.as_str());
                    if !is_command {
                        found.push(word.clone());
                    }
                }
                word.clear();
                is_command |= ends;
            }
            c => word.push(c),
        }
        at += 1;
    }
    found
}

/// Where the parenthesis that opens at `open` closes.
fn closing(chars: &[char], open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in chars.iter().enumerate().skip(open) {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    chars.len()
}

#[test]
fn a_program_that_is_not_in_the_table_is_found() {
    let fixtures = [
        (Language::JavaScript, "import { spawn } from 'node:child_process';"),
        (Language::JavaScript, "await run(program('memcached'), []);"),
        (Language::JavaScript, "start(program(name), [])"),
        (Language::JavaScript, "start('/usr/bin/memcached', [])"),
        (Language::Python, "import subprocess\nsubprocess.run(['memcached'])"),
        (Language::Rust, "let child = std::process::Command::new(\"memcached\").spawn();"),
        (Language::Xtask, "run(\"memcached\", &[\"-u\"], \".\")?;"),
        (Language::Shell, "memcached -u root &"),
        (Language::Shell, "set -e\nif ! memcached -h > /dev/null; then exit 1; fi"),
        (Language::Shell, "version=\"$(memcached -h)\""),
        (Language::Shell, "cd x && exec memcached \"$@\""),
        (Language::Shell, "case $1 in\n  up) memcached ;;\nesac"),
        (Language::Shell, "echo one | memcached"),
        (Language::Shell, "(cd x && memcached)"),
    ];
    for (language, text) in fixtures {
        assert_eq!(faults(language, text).len(), 1, "{language:?}: {text}");
    }
}

#[test]
fn what_is_in_the_table_or_in_every_shell_is_not_a_fault() {
    let fixtures = [
        (Language::JavaScript, "await run(program('redis-cli'), ['PING']); run(binary('throng'))"),
        (Language::Python, "import sys\n"),
        (Language::Rust, "let mut cli = Program::RedisCli.command();"),
        (Language::Xtask, "run(\"npm\", &[\"ci\"], dir)?; command(\"ci/node.sh\", &[], \".\")"),
        (
            Language::Shell,
            "# memcached\nrun=(memcached -x)\nPORT=1 node 'memcached' 2>&1 > memcached",
        ),
        (Language::Shell, "clean() {\n  rm -rf \"$dir\"\n}\ntrap clean EXIT\nclean"),
        (
            Language::Shell,
            "case \"$1\" in\n  up)\n    echo \"memcached (once)\" ;;\n  *) exit 2 ;;\nesac",
        ),
    ];
    for (language, text) in fixtures {
        assert_eq!(faults(language, text), Vec::<String>::new(), "{language:?}: {text}");
    }
}
