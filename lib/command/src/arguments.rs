//! Arguments: those that every command has, and how the types of our libraries are read from a command line. The
//! libraries know nothing of it.

use std::ffi::OsString;
use std::ops::Range;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, ValueEnum};
use hardmine_files::{Input, Output, named_twice};
use hardmine_records::IdSpace;

use crate::program_name;
use crate::stores;

/// Heading of the options that every command has.
const MESSAGES: &str = "Messages";

/// Options that every command has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = MESSAGES)]
pub struct Common {
    /// Log more: -v tells what is done, -vv tells details. RUST_LOG overrides this
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose", global = true)]
    pub(crate) quiet: bool,

    /// How log lines on standard error are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(crate) log_format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines to read
    Text,
    /// One JSON object on each line
    Json,
}

/// The option that says what integers are where a file does not: our own files tell row numbers from ids of the
/// collection by their types, but other programs make integers of all ids that look like some.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ForeignIds {
    /// What integer ids mean in Arrow and Parquet files that other programs wrote. Without this option they are taken
    /// for official ids
    #[arg(long, value_name = "SPACE", value_parser = id_space())]
    pub ids: Option<IdSpace>,
}

/// The options that say which columns of a file of texts are read.
#[derive(Args, Clone, Debug, Default)]
pub struct TextColumns {
    /// Column of the ids, where it is not called id or _id. A TSV file then begins with a line that names its columns
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,

    /// Columns that make up a text, in their order, where they are not called title and text. Repeat the option or
    /// separate the names by commas. The last column must have a value in every row; what the others have is put in
    /// front of it as a title is
    #[arg(long = "text-column", value_name = "NAME", value_delimiter = ',')]
    pub text_columns: Vec<String>,
}

/// An id space by its name.
pub fn id_space() -> impl TypedValueParser<Value = IdSpace> {
    one_of(&[
        ("internal", "Row numbers of the tokens files", IdSpace::Internal),
        ("official", "The collection's own ids", IdSpace::Official),
    ])
}

/// One of several values, each with its name on the command line and a line of help.
pub fn one_of<T: Copy + Send + Sync>(values: &'static [(&str, &str, T)]) -> impl TypedValueParser<Value = T> {
    let names = values.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(names).map(|chosen| {
        let (.., value) = values.iter().find(|(name, ..)| *name == chosen).expect("clap accepts no other name");
        *value
    })
}

/// A value that a function of the library makes of its text, which need not be UTF-8.
pub fn os_text<T, E>(parse: fn(OsString) -> Result<T, E>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    OsStringValueParser::new().try_map(parse)
}

/// An output: a file whose ending chooses its form, or `-`.
pub fn output() -> impl TypedValueParser<Value = Output> {
    os_text(|text| Output::parse(&text))
}

/// Rows from one up to another that is no longer one of them, as `0..100`.
///
/// # Errors
/// The text is no such range, or there are no rows in it.
pub fn row_range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    ends.filter(|rows| rows.start < rows.end).ok_or_else(|| "expected two numbers, such as 0..65536".into())
}

/// The options that were given on the command line, but for those `without`, as arguments of a command that does a part
/// of the work. Options of messages are never among them, nor are arguments without a name.
pub fn options_given<A: CommandFactory>(without: &[&str]) -> Vec<String> {
    let command = A::command();
    let matches = command.clone().get_matches_from(stores::arguments());
    let mut given = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let messages = argument.get_help_heading() == Some(MESSAGES);
        let Some(name) = argument.get_long().filter(|_| !messages && !without.contains(&id)) else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        match argument.get_action() {
            ArgAction::SetTrue => given.push(format!("--{name}")),
            _ => given.extend(
                matches.get_raw(id).into_iter().flatten().map(|value| format!("--{name}={}", value.to_string_lossy())),
            ),
        }
    }
    given
}

/// Ends the program as wrong usage where two of `inputs` name standard input, or the same pipe: the second reader would
/// find nothing, or every other piece.
pub fn check_inputs<A: CommandFactory>(inputs: &[&Input]) {
    if let Some(twice) = named_twice(inputs) {
        let text = format!("{twice} can be only one of the inputs: it is read once");
        wrong_usage::<A>(text);
    }
}

/// Ends the program as wrong usage: options that don't go together in a way that clap can't tell.
pub fn wrong_usage<A: CommandFactory>(text: String) -> ! {
    stores::clear();
    A::command().name(program_name()).error(ErrorKind::ArgumentConflict, text).exit()
}
