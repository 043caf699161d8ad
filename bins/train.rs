//! Trains an encoder by one of the methods; what happens in a step is in lib/training.

#[path = "train/arguments.rs"]
mod arguments;
#[path = "train/codes.rs"]
mod codes;
#[path = "train/dev.rs"]
mod dev;
#[path = "train/loss.rs"]
mod loss;
#[path = "train/open.rs"]
mod open;
#[path = "train/update.rs"]
mod update;

use std::process::ExitCode;

use hardmine_command::{self as command, Report};
use hardmine_encoder::{digest, prepare_process};
use hardmine_files::{MappedTokens, OutputFile};
use hardmine_records::provenance::{
    DEV_METRIC, DEV_START, DEV_STEP, DIMENSIONS, DOCS, FILES, KEYS, MODEL, PRECISION, QUERIES, SEED, SPACE,
};
use hardmine_records::{Error, Provenance};
use hardmine_training::dev::Measured;
use hardmine_training::{
    Card, Checkpoint, Method, ModelFolder, Quantizer, Run, identity, log, starting_model, tensorboard,
};

pub(crate) use arguments::Args;
use arguments::{Choice, Shared};
use open::{Opened, take_prompts};

/// Name of JPQ's index in its model folder.
const INDEX: &str = "index.faiss";

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let (shared, inputs) = (args.method.shared(), args.method.inputs());
    command::check_inputs::<Args>(&inputs);
    let cuts_metric =
        matches!(args.method, Choice::Adore { metric_cut: Some(_), .. } | Choice::Jpq { lambda_cut: Some(_), .. });
    let has_teacher = matches!(args.method, Choice::Star { teacher: Some(_), .. });
    if let Err(wrong) = shared.loss.check(args.method.name(), cuts_metric, has_teacher) {
        command::wrong_usage::<Args>(wrong);
    }
    prepare_process();
    let folder = ModelFolder::create(&shared.output, &shared.init, &inputs)?;
    let device = shared.device.open()?;
    let mut encoder = starting_model(&shared.init, device, shared.precision, shared.seed, shared.similarity)?;
    shared.loss.warn_of_cosines(args.method.name(), encoder.similarity());
    let queries = MappedTokens::open(&shared.queries)?;
    let opened = args.method.open(&queries, &encoder)?;
    take_prompts(&mut encoder, shared, &queries, &opened)?;
    let settings = args.method.settings(encoder.similarity(), &opened);
    let Opened { method, relevant, dev: judged, moments } = opened;
    if encoder.tower().is_some() && method.quantizer().is_none() {
        let (init, name) = (shared.init.display(), method.name());
        tracing::warn!(
            "{init}: {name} does not train its rotation and centroids, and leaves them out: the output is no tower"
        );
    }
    let dev = judged.map(|judged| shared.dev.set(judged, (&encoder, &method), shared.seed)).transpose()?;
    if let Some(dev) = &dev {
        dev.warn_of_training_queries(&queries, &relevant);
    }
    let identity = identity(&encoder, &method, &queries, &relevant, &settings, dev.as_ref());
    let checkpoint = Checkpoint::beside(folder.path(), identity);
    let mut run = Run::start(&encoder, &method, &queries, &relevant, &settings, dev.as_ref(), checkpoint)?;
    if let Some(moments) = &moments {
        run = run.go_on_from(moments)?;
    }
    if let step @ 1.. = run.step_number() {
        report.note(format!("went on at step {step}, found in {}", run.checkpoint().path().display()));
    }
    // What could fail after the last step fails before the first one.
    encoder.save(folder.temporary())?;
    report.progress(Some(run.remaining_queries()), "queries");
    run.train(|queries| report.add(queries))?;
    let measured = run.measured();
    if let Method::RepConc { .. } = method {
        run.write_moments(folder.temporary())?;
    }
    let (log, checkpoint) = run.finish();
    measured.iter().flat_map(Measured::notes).for_each(|note| report.note(note));

    encoder.set_document_model(method.document_model());
    encoder.set_tower(method.quantizer().map(Quantizer::tower).transpose()?);
    encoder.save(folder.temporary())?;
    if let Method::Jpq { documents, .. } = &method {
        documents.write(OutputFile::create(&folder.temporary().join(INDEX))?)?;
    }
    let model = digest(folder.temporary())?;
    let card = Card {
        init: &shared.init,
        encoder: &encoder,
        method: &method,
        queries: &queries,
        relevant: &relevant,
        settings: &settings,
        dev: dev.as_ref().zip(measured.as_ref()),
        provenance: &provenance(shared, &queries, &method, &model, measured.as_ref()),
    };
    write_beside_model(&folder, &card, &log, shared.tensorboard)?;
    folder.commit()?;
    checkpoint.remove()?;
    let trained = relevant.queries().len();
    if trained < settings.batch_size {
        report.note(format!("only {trained} queries, fewer than --batch-size {}", settings.batch_size));
    }
    if let left_out @ 1.. = queries.len() - relevant.queries().len() {
        report.note(format!("{left_out} queries without a relevant document left out"));
    }
    Ok(())
}

/// What the training log says of the run that made `model`, except for the files beside it.
fn provenance(
    shared: &Shared,
    queries: &MappedTokens,
    method: &Method,
    model: &str,
    measured: Option<&Measured>,
) -> Provenance {
    let mut provenance = Provenance::default();
    provenance.set_some(QUERIES, queries.provenance().get(KEYS));
    provenance.set_some(DOCS, method.provenance().get(KEYS));
    provenance.set(MODEL, model);
    provenance.set_some(SPACE, method.quantizer().map(Quantizer::space));
    provenance.set_some(DIMENSIONS, shared.loss.dimensions());
    provenance.set(PRECISION, shared.precision);
    provenance.set(SEED, shared.seed);
    if let Some(measured) = measured {
        provenance.set(DEV_METRIC, &measured.metric);
        provenance.set(DEV_START, measured.start());
        provenance.set(DEV_STEP, measured.written.0);
    }
    provenance
}

/// Writes what stands beside the trained model in its folder: the card, the event file of TensorBoard if it is wanted,
/// and in the end the log, which lists all other files.
fn write_beside_model(folder: &ModelFolder, card: &Card, log: &[log::Row], tensorboard: bool) -> Result<(), Error> {
    card.write(folder.temporary())?;
    if tensorboard {
        let start = card.dev.map(|(_, measured)| (measured.metric.as_str(), measured.start()));
        tensorboard::write(folder.temporary(), log, start)?;
    }
    let mut provenance = card.provenance.clone();
    provenance.set(FILES, folder.files()?);
    log::write(folder.temporary(), log, provenance)
}
