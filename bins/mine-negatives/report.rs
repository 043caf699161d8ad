//! What `--report` has to say, and the texts that it looks at.

use clap::Args;
use hardmine_command::{self as command, Report};
use hardmine_files::{Input, Output, Writer};
use hardmine_mining::{Miner, MiningReport};
use hardmine_records::provenance::{DOCS, QUERIES};
use hardmine_records::{Error, KeyHasher, Provenance, Result};
use hardmine_text::Corpus;

/// Options of the report.
#[derive(Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ReportArgs {
    /// File to write a report to: .parquet, .arrow or .arrows. It says how many documents each rule dropped, how the
    /// scores of positives and negatives are distributed, which queries came out short, and which negatives are most
    /// likely to be relevant. It takes 8 bytes of memory for each negative
    #[arg(long, value_name = "FILE", value_parser = command::output())]
    pub(crate) report: Option<Output>,

    /// Earlier negatives of the same queries. The report says how many of the new ones were among them, and how far
    /// their ranks have moved. They are held in memory
    #[arg(long, value_name = "NEGATIVES", requires = "report")]
    pub(crate) compare: Option<Input>,

    /// The collection, in any form that tokenize reads. The report then has the texts of suspicious negatives, and counts
    /// negatives that have the text of a relevant document. It is read twice
    #[arg(long, value_name = "COLLECTION", requires = "report")]
    pub(crate) texts: Option<Input>,

    /// The texts of the queries, for the report to show them beside suspicious negatives
    #[arg(long, value_name = "QUERIES", requires = "report")]
    pub(crate) query_texts: Option<Input>,
}

/// The texts of documents and queries, where they are given.
pub(crate) struct Texts {
    docs: Option<Input>,
    queries: Option<Input>,
}

impl Texts {
    /// Makes sure that the texts can be read twice.
    pub(crate) fn open(args: &ReportArgs) -> Result<Texts> {
        let reopenable = |input: &Option<Input>| input.as_ref().map(Input::reopenable).transpose();
        Ok(Texts { docs: reopenable(&args.texts)?, queries: reopenable(&args.query_texts)? })
    }

    /// Lets `miner` know which documents have the same text. The run is called `run`, and `from` says where it comes
    /// from.
    pub(crate) fn hear(&self, miner: &mut Miner, run: &str, from: &Provenance) -> Result<()> {
        let Some(docs) = &self.docs else { return Ok(()) };
        for_each_text(docs, (run, DOCS, from), |row, key, text| miner.add_text(row, key, text))
    }

    /// Writes the report with the texts in it, and says in the closing line what it has of scores and texts.
    pub(crate) fn write_report(
        &self,
        mut mined: MiningReport,
        writer: &mut Writer,
        run: &str,
        from: &Provenance,
        report: &mut Report,
    ) -> Result<()> {
        if let Some(docs) = &self.docs {
            for_each_text(docs, (run, DOCS, from), |row, key, text| mined.add_doc_text(row, key, text))?;
        }
        if let Some(queries) = &self.queries {
            for_each_text(queries, (run, QUERIES, from), |row, key, text| mined.add_query_text(row, key, text))?;
        }
        say_scores(&mined, report);
        writer.write(&mined.into_records()?)?;
        writer.provenance_mut().merge(from);
        Ok(())
    }
}

/// Calls `each` with the row, the official id and the text of everything in a collection. Where ids are row numbers, the
/// entry `space` of the run's `provenance` says of which texts.
///
/// # Errors
/// Those of reading a collection, and texts that are not the ones that the row numbers mean.
fn for_each_text(
    input: &Input,
    (run, space, provenance): (&str, &str, &Provenance),
    mut each: impl FnMut(usize, &str, &str),
) -> Result<()> {
    let mut keys = KeyHasher::default();
    for (row, text) in Corpus::open_collection(input)?.enumerate() {
        let text = text?;
        keys.update(&text.key);
        each(row, &text.key, &text.fields.joined());
    }
    if provenance.fingerprint(space, run)?.is_some_and(|expected| expected != keys.finish()) {
        let text = format!("its ids in their order are not those that the row numbers in {run} stand for");
        let hint = "give the file that was tokenized, or remap-ids --to official the run and the qrels first";
        return Err(Error::new(input, text).hint(hint));
    }
    Ok(())
}

/// Says in the closing line what the report has of scores and texts.
fn say_scores(mined: &MiningReport, report: &mut Report) {
    let medians = ["positive-scores", "negative-scores"].map(|section| mined.total(section, "median"));
    if let [Some(positives), Some(negatives)] = medians {
        report.note(format!("median score {positives:.3} of positives and {negatives:.3} of negatives"));
    }
    if let Some(count) = mined.total("counts", "twins-by-text").filter(|count| *count > 0.0) {
        report.note(format!("{count} negatives have the text of a relevant document"));
    }
    if let Some(share) = mined.total("overlaps", "mean") {
        report.note(format!("{:.0} % of the negatives were among the earlier ones", 100.0 * share));
    }
}
