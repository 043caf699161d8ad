//! Writes man pages of the binaries, and completions for bash, zsh and fish, into a folder that is laid out like
//! /usr/share: `cargo run --release --example manual -- /usr/local/share`.

// The binaries are taken in for their `Args`; the rest of them is not called here.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;

#[path = "../bins/embed.rs"]
mod embed;
#[path = "../bins/index.rs"]
mod index;
#[path = "../bins/mine-negatives.rs"]
mod mine_negatives;
#[path = "../bins/rank.rs"]
mod rank;
#[path = "../bins/remap-ids.rs"]
mod remap_ids;
#[path = "../bins/report.rs"]
mod report;
#[path = "../bins/score.rs"]
mod score;
#[path = "../bins/sql.rs"]
mod sql;
#[path = "../bins/tokenize.rs"]
mod tokenize;
#[path = "../bins/train.rs"]
mod train;
#[path = "../bins/worker.rs"]
mod worker;

fn commands() -> [Command; 11] {
    [
        embed::Args::command().name("embed"),
        index::Args::command().name("index"),
        mine_negatives::Args::command().name("mine-negatives"),
        rank::Args::command().name("rank"),
        remap_ids::Args::command().name("remap-ids"),
        report::Args::command().name("report"),
        score::Args::command().name("score"),
        sql::Args::command().name("sql"),
        tokenize::Args::command().name("tokenize"),
        train::Args::command().name("train"),
        worker::Args::command().name("worker"),
    ]
}

fn main() -> ExitCode {
    let Some(share) = std::env::args_os().nth(1) else {
        eprintln!("usage: manual FOLDER");
        return ExitCode::from(2);
    };
    match write(share.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {}: {error}", share.display());
            ExitCode::FAILURE
        }
    }
}

/// Where each shell looks for what packages bring.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
    (Shell::Zsh, "zsh/site-functions"),
];

fn write(share: &Path) -> io::Result<()> {
    let man = share.join("man/man1");
    fs::create_dir_all(&man)?;
    for command in commands() {
        // What completes a command line must not offer `help` as a method to train by.
        let mut command = command.disable_help_subcommand(true);
        let name = command.get_name().to_owned();
        for (shell, folder) in COMPLETIONS {
            let folder = share.join(folder);
            fs::create_dir_all(&folder)?;
            // Bash looks for the plain name.
            let file = if shell == Shell::Bash { name.clone() } else { shell.file_name(&name) };
            clap_complete::generate(shell, &mut command, &name, &mut File::create(folder.join(file))?);
        }
        command.build();
        for page in command.get_subcommands().chain([&command]) {
            write_page(page, &man)?;
        }
    }
    Ok(())
}

/// Writes a command's page; train-star.1 is that of `train star`.
fn write_page(command: &Command, man: &Path) -> io::Result<()> {
    let examples = command.get_after_help().map(|text| text.to_string());
    let page = Man::new(command.clone().after_help(None::<&str>)).manual("hardmine");
    let mut file = File::create(man.join(page.get_filename()))?;
    page.render(&mut file)?;
    if let Some(examples) = examples {
        // Roff fills lines, and takes a dot or an apostrophe at the start of one for a request.
        writeln!(file, ".SH EXAMPLES\n.nf")?;
        let examples = examples.trim_start_matches("Example").trim_start_matches('s').trim_start_matches(':');
        for line in examples.trim_start_matches('\n').lines() {
            let line = line.strip_prefix("  ").unwrap_or(line.trim_start());
            writeln!(file, r"\&{}", line.replace('\\', r"\e").replace('-', r"\-"))?;
        }
        writeln!(file, ".fi")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_binary_has_a_page_and_completions_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let binaries = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/bins")).unwrap();
        let mut count = 0;
        for name in binaries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("rs".as_ref())) {
            let name = name.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = |path: String| fs::read_to_string(folder.path().join(&path)).expect(&path);
            let page = text(format!("man/man1/{name}.1"));
            assert!(page.contains(&format!("\\fB{}\\fR", name.replace('-', "\\-"))), "{name}: {page}");
            assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{name}: {page}");
            assert!(text(format!("bash-completion/completions/{name}")).contains("--log-format"));
            assert!(text(format!("fish/vendor_completions.d/{name}.fish")).contains(&format!("complete -c {name} ")));
            assert!(text(format!("zsh/site-functions/_{name}")).starts_with(&format!("#compdef {name}\n")));
            count += 1;
        }
        assert_eq!(count, commands().len());
        let method = fs::read_to_string(folder.path().join("man/man1/train-star.1")).unwrap();
        assert!(method.contains("train\\-star") && method.contains("\\-\\-hard\\-num"), "{method}");
    }
}
