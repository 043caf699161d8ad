//! `--help`, as it was when somebody last looked at it, and its examples, which must be accepted.

use std::path::{Path, PathBuf};

use crate::common::{BINARIES, Folder};

/// What is asked for help, and the name of the golden file.
fn pages() -> Vec<(String, String)> {
    let binaries = BINARIES.iter().map(|name| (name.to_string(), name.to_string()));
    let methods = ["inbatch", "randneg", "star", "adore", "jpq", "repconc"];
    let methods = methods.iter().map(|method| (format!("train {method}"), format!("train-{method}")));
    binaries.chain(methods).collect()
}

fn help(folder: &Folder, command: &str) -> String {
    folder.run(&format!("{command} --help")).without_env("COLUMNS").ok().text().to_owned()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

#[test]
fn help_is_as_it_was() {
    let folder = Folder::empty();
    for (command, name) in pages() {
        let (help, path) = (help(&folder, &command), golden(&name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, expected, "{command} --help: run with UPDATE_GOLDEN=1 to write {} anew", path.display());
    }
}

#[test]
fn help_says_something_of_every_option() {
    let folder = Folder::empty();
    for (command, name) in pages() {
        let text = help(&folder, &command);
        let lines: Vec<&str> = text.lines().collect();
        for (line, next) in lines.iter().zip(&lines[1..]) {
            let option =
                line.trim_start().starts_with("--") || line.trim_start().starts_with('-') && line.contains(", --");
            if option && line.starts_with(' ') {
                let about = line.trim().split_once("  ").map_or(next.trim(), |(_, about)| about.trim());
                assert!(about.split(' ').count() > 1, "{name}: {line} says nothing");
            }
        }
        if !name.contains('-') || name == "mine-negatives" || name == "remap-ids" {
            assert!(!examples(&text).is_empty(), "{name} has no example");
        }
    }
}

/// The commands among the lines after "Example".
fn examples(help: &str) -> Vec<String> {
    let Some((_, text)) = help.split_once("Example") else { return Vec::new() };
    let mut commands: Vec<String> = Vec::new();
    let is_open = |command: &String| command.ends_with('\\') || command.matches('"').count() % 2 == 1;
    for line in text.trim_start_matches('s').trim_start_matches(':').lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        match commands.last_mut() {
            Some(command) if is_open(command) => *command += &format!("\n{line}"),
            _ if BINARIES.contains(&first) || first == "zcat" => commands.push(line.trim().to_owned()),
            _ => {}
        }
    }
    commands
}

#[test]
fn examples_have_options_that_exist() {
    let folder = Folder::empty();
    std::fs::create_dir(folder.path("stubs")).unwrap();
    // Asked for help at the end, a command has looked at all that stands before, and does nothing.
    for name in BINARIES {
        let real = Path::new(env!("CARGO_BIN_EXE_tokenize")).with_file_name(name);
        folder.write(
            &format!("stubs/{name}"),
            format!("#!/bin/sh\nexec '{}' \"$@\" --help > /dev/null\n", real.display()),
        );
    }
    folder.write("stubs/zcat", "#!/bin/sh\n");
    let mut checked = 0;
    for (command, _) in pages() {
        for example in examples(&help(&folder, &command)) {
            folder.sh(&format!("chmod +x stubs/*; PATH=\"$PWD/stubs:$PATH\"; {example}")).ok();
            checked += 1;
        }
    }
    assert!(checked >= BINARIES.len(), "{checked} examples");
    folder
        .sh("PATH=\"$PWD/stubs:$PATH\"; embed --model M --no-such-option x")
        .fails_as_wrong_usage(&["--no-such-option"]);
}
