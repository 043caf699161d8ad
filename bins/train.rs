//! Trains an encoder with one of four kinds of negatives; what happens in a step is in lib/training.

#[path = "train/dev.rs"]
mod dev;
#[path = "train/loss.rs"]
mod loss;
#[path = "train/update.rs"]
mod update;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, value_parser};
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_encoder::{DeviceChoice, Encoder, Precision, Similarity, digest, prepare_process};
use hardmine_files::{Input, MappedTokens};
use hardmine_records::provenance::{
    DEV_METRIC, DEV_START, DEV_STEP, DIMENSIONS, DOCS, FILES, KEYS, MODEL, PRECISION, QUERIES, SEED,
};
use hardmine_records::{Error, Provenance};
use hardmine_text::{FolderSettings, TextKind};
use hardmine_training::data::{IdOptions, TextRows, read_negatives, read_qrels};
use hardmine_training::dev::Measured;
use hardmine_training::{
    Card, Checkpoint, Chunks, DocumentLists, Documents, Method, ModelFolder, Run, TaughtPairs, Teacher,
    TrainingSettings, identity, log, starting_model, tensorboard,
};

use dev::DevOptions;
use loss::LossOptions;
use update::UpdateOptions;

const EXAMPLE: &str = "\
Examples:
  train randneg --init start/ --queries queries.tokens.arrow --docs docs.tokens.arrow \\
    --qrels qrels.tsv -o warm/
  train star --init warm/ --queries queries.tokens.arrow --docs docs.tokens.arrow \\
    --qrels qrels.tsv --negatives negatives.parquet -o star/
  embed --model star/ docs.tokens.arrow -o docs.arrow
  train adore --init star/ --queries queries.tokens.arrow --qrels qrels.parquet \\
    --embeddings docs.arrow -o adore/";

/// Trains an encoder, and writes a model folder that embed, transformers and sentence-transformers open.
///
/// A run that was interrupted goes on from its last checkpoint when the same command is given again.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    method: Choice,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Choice {
    /// Trains with in-batch negatives: the positives of the other queries of the batch
    Inbatch {
        #[command(flatten)]
        texts: Texts,
        #[command(flatten)]
        shared: Shared,
    },
    /// Trains with documents drawn at random from the whole collection, a good start for star and adore
    Randneg {
        #[command(flatten)]
        texts: Texts,
        /// How many random negatives to draw for each query. Every query of the batch is trained against all of them.
        /// With --loss infonce, the positives of the other queries of the batch are candidates, too
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
        rand_num: u32,
        #[command(flatten)]
        shared: Shared,
    },
    /// Trains with static hard negatives, and with in-batch negatives, which keep training stable
    Star {
        #[command(flatten)]
        texts: Texts,
        /// Hard negatives of the training queries, from mine-negatives
        #[arg(long)]
        negatives: Input,
        /// How many hard negatives to draw for each query. softplus and infonce train every query of the batch against
        /// all of them, marginmse and kl each query against its own
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
        hard_num: u32,
        /// Run of another ranker that marginmse and kl learn from: a score for every relevant document and every hard
        /// negative. Without it, the file of negatives must have scores (mine-negatives --teacher)
        #[arg(long, value_name = "RUN")]
        teacher: Option<Input>,
        #[command(flatten)]
        shared: Shared,
    },
    /// Trains the query encoder alone, against what it retrieves at every step from fixed document embeddings
    Adore {
        /// Embeddings of all documents, made by the model that training starts from. They stay as they are
        #[arg(long)]
        embeddings: Input,
        /// Tokens of the documents, to look up official ids in; not needed with internal qrels (see remap-ids)
        #[arg(long)]
        docs: Option<Input>,
        /// Documents retrieved for each query at every step
        #[arg(long, default_value_t = 200, value_parser = value_parser!(i64).range(1..))]
        top_k: i64,
        /// Last position that counts in the reciprocal rank that is optimized [default: every position counts]
        #[arg(long, value_parser = value_parser!(i64).range(1..))]
        metric_cut: Option<i64>,
        #[command(flatten)]
        shared: Shared,
    },
}

/// The document side where documents are encoded, too.
#[derive(clap::Args)]
struct Texts {
    /// Tokens of the documents. An .arrow file is read in place; any other input is first copied into one
    #[arg(long)]
    docs: Input,
    /// Most tokens of a document to train on. 120 is enough for passages; documents want up to 512
    #[arg(long, default_value_t = 120)]
    max_doc_length: usize,
}

/// What all methods have. Defaults are the paper's; small collections want smaller batches and fewer steps.
#[derive(clap::Args)]
struct Shared {
    /// Model folder to start from
    #[arg(long)]
    init: PathBuf,
    /// How vectors are compared, in training and later: dot by their inner product, cosine by the angle between them.
    /// The default is cosine if the folder ends in a Normalize module, otherwise what its similarity_fn_name says, and
    /// otherwise dot.
    /// The trained model has a Normalize module if it is cosine, and none if it is dot
    #[arg(long, value_name = "dot|cosine")]
    similarity: Option<Similarity>,
    /// Tokens of the training queries
    #[arg(long)]
    queries: Input,
    /// Judgements of the training queries. Grades above 0 are relevant
    #[arg(long)]
    qrels: Input,
    #[command(flatten)]
    foreign: ForeignIds,
    /// Leave out judgements and negatives whose query or document is not in the tokens files. Their number is printed
    #[arg(long)]
    skip_unknown: bool,
    /// Accept texts whose prompt is not the one that the model asks for. The trained model
    /// then asks for the prompts of these texts
    #[arg(long)]
    other_prompt: bool,
    /// Model folder to write
    #[arg(short, long)]
    output: PathBuf,
    /// Also write the training log as an event file for TensorBoard into the model folder
    #[arg(long)]
    tensorboard: bool,
    /// How many times to go over the training queries [default: 100; adore 6]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Stop after this many steps. A learning rate that falls would reach 0 right after it
    #[arg(long)]
    steps: Option<u64>,
    /// Queries in each batch [default: 256; adore 32]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    batch_size: Option<u64>,
    /// Most tokens of a query to train on [default: 24; adore 64]
    #[arg(long)]
    max_query_length: Option<usize>,
    /// Encode this many texts at a time instead of the whole batch. This takes less memory and a third more time,
    /// because each text is encoded twice. Loss and gradient stay the same except for rounding and for what dropout
    /// draws
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    chunk_size: Option<u64>,
    /// As --chunk-size, but encode as many texts at a time as have this many tokens together
    #[arg(long, conflicts_with = "chunk_size", value_parser = value_parser!(u64).range(1..))]
    chunk_tokens: Option<u64>,
    /// Number of steps between two checkpoints
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    save_every: u64,
    /// Seed of all random draws. The same seed gives the same model on the same number of cores of the same kind
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Device to compute on: cpu, cuda or cuda:N. auto takes the first GPU if there is one, otherwise the CPU
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Number type of the encoder's matrix products: f32, bf16 or f16. Parameters, scores and losses are always float32
    #[arg(long, default_value_t)]
    precision: Precision,
    #[command(flatten)]
    loss: LossOptions,
    #[command(flatten)]
    update: UpdateOptions,
    #[command(flatten)]
    dev: DevOptions,
}

impl Choice {
    fn texts(&self) -> Option<&Texts> {
        match self {
            Choice::Inbatch { texts, .. } | Choice::Randneg { texts, .. } | Choice::Star { texts, .. } => Some(texts),
            Choice::Adore { .. } => None,
        }
    }

    fn shared(&self) -> &Shared {
        match self {
            Choice::Inbatch { shared, .. }
            | Choice::Randneg { shared, .. }
            | Choice::Star { shared, .. }
            | Choice::Adore { shared, .. } => shared,
        }
    }

    /// The method's name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Choice::Inbatch { .. } => "inbatch",
            Choice::Randneg { .. } => "randneg",
            Choice::Star { .. } => "star",
            Choice::Adore { .. } => "adore",
        }
    }

    /// All files that are read.
    fn inputs(&self) -> Vec<&Input> {
        let own = match self {
            Choice::Inbatch { texts, .. } | Choice::Randneg { texts, .. } => vec![&texts.docs],
            Choice::Star { texts, negatives, teacher, .. } => {
                [&texts.docs, negatives].into_iter().chain(teacher).collect()
            }
            Choice::Adore { embeddings, docs, .. } => [embeddings].into_iter().chain(docs).collect(),
        };
        let Shared { queries, qrels, dev, .. } = self.shared();
        [vec![queries, qrels], own, dev.inputs().collect()].concat()
    }

    /// The settings of a run whose vectors are compared by `similarity`.
    fn settings(&self, similarity: Similarity) -> TrainingSettings {
        let (shared, texts) = (self.shared(), self.texts());
        let paper = if texts.is_some() { TrainingSettings::both_sides() } else { TrainingSettings::query_side() };
        let texts_at_once = shared.chunk_size.map(|size| Chunks::Texts(size as usize));
        let settings = TrainingSettings {
            epochs: shared.epochs.unwrap_or(paper.epochs),
            steps: shared.steps,
            batch_size: shared.batch_size.map_or(paper.batch_size, |size| size as usize),
            objective: shared.loss.objective(similarity),
            max_query_length: shared.max_query_length.unwrap_or(paper.max_query_length),
            max_doc_length: texts.map_or(paper.max_doc_length, |texts| texts.max_doc_length),
            chunks: texts_at_once.or(shared.chunk_tokens.map(|tokens| Chunks::Tokens(tokens as usize))),
            scale_loss: shared.precision == Precision::F16,
            seed: shared.seed,
            save_every: shared.save_every,
            ..paper
        };
        shared.update.apply(settings)
    }

    /// Opens the side of the documents, and says which of them are relevant, also to dev queries.
    fn open(&self, queries: &MappedTokens, encoder: &Encoder) -> anyhow::Result<Opened> {
        let shared = self.shared();
        let queries = TextRows::of_tokens(queries);
        let mut notes = Vec::new();
        let (method, (relevant, dev)) = match self {
            Choice::Inbatch { texts, .. } => {
                let docs = MappedTokens::open(&texts.docs)?;
                let judged = shared.judgements(&queries, &TextRows::of_tokens(&docs), &mut notes)?;
                (Method::InBatch { docs }, judged)
            }
            Choice::Randneg { texts, rand_num, .. } => {
                let docs = MappedTokens::open(&texts.docs)?;
                let judged = shared.judgements(&queries, &TextRows::of_tokens(&docs), &mut notes)?;
                (Method::RandNeg { docs, rand_num: *rand_num }, judged)
            }
            Choice::Star { texts, negatives, hard_num, teacher, .. } => {
                let docs = MappedTokens::open(&texts.docs)?;
                let rows = TextRows::of_tokens(&docs);
                let judged = shared.judgements(&queries, &rows, &mut notes)?;
                let (negatives, teacher) =
                    shared.open_star(negatives, teacher.as_ref(), (&queries, &rows, &judged.0), &mut notes)?;
                (Method::Star { docs, negatives, hard_num: *hard_num, teacher }, judged)
            }
            Choice::Adore { embeddings, docs, top_k, metric_cut, .. } => {
                let documents = Documents::open(embeddings, encoder.device())?;
                let tokens = docs.as_ref().map(MappedTokens::open).transpose()?;
                let rows = TextRows::of_embeddings(&documents, tokens.as_ref())?;
                let judged = shared.judgements(&queries, &rows, &mut notes)?;
                (Method::Adore { documents, top_k: *top_k, metric_cut: *metric_cut }, judged)
            }
        };
        // Before the first of many steps, and not at the end of them.
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(Opened { method, relevant, dev })
    }
}

impl Shared {
    fn reading(&self) -> IdOptions {
        IdOptions { ids: self.foreign.ids, skip_unknown: self.skip_unknown }
    }

    /// Reads which of `docs` are relevant to the training queries, and the judgements of the dev queries if there are
    /// any. What the user should know of these files is added to `notes`.
    fn judgements(
        &self,
        queries: &TextRows,
        docs: &TextRows,
        notes: &mut Vec<String>,
    ) -> Result<(DocumentLists, Option<dev::Judged>), Error> {
        let relevant = read_qrels(&self.qrels, queries, docs, self.reading())?;
        let dev = self.dev.open(docs, self.reading())?;
        notes.extend(relevant.notes);
        notes.extend(dev.iter().flat_map(|dev| dev.grades.notes.clone()));
        Ok((relevant.lists, dev))
    }

    /// Reads the hard negatives of `train star`, and the teacher's scores if the loss learns from them. What the user
    /// should know of these files is added to `notes`.
    fn open_star(
        &self,
        negatives: &Input,
        teacher: Option<&Input>,
        (queries, docs, relevant): (&TextRows, &TextRows, &DocumentLists),
        notes: &mut Vec<String>,
    ) -> Result<(DocumentLists, Option<Teacher>), Error> {
        let (mined, scored) = read_negatives(negatives, queries, docs, self.reading())?;
        notes.extend(mined.notes);
        let mined = mined.lists;
        if let both @ 1.. = mined.shared_with(relevant) {
            notes.push(format!(
                "{negatives}: {both} of its documents are relevant, and are not trained on as negatives; mine-negatives \
                 leaves them out"
            ));
        }
        if !self.loss.needs_teacher() {
            return Ok((mined, None));
        }
        let pairs = TaughtPairs { queries, docs, relevant, negatives: &mined };
        let teacher = match (teacher, &scored) {
            (Some(run), _) => {
                let (teacher, more) = Teacher::read(run, pairs, self.reading())?;
                notes.extend(more);
                teacher
            }
            (None, Some(scored)) => {
                let (teacher, note) = Teacher::beside(&negatives.to_string(), scored, pairs)?;
                notes.extend(note);
                teacher
            }
            (None, None) => return Err(loss::no_teacher(negatives)),
        };
        Ok((mined, Some(teacher)))
    }
}

/// What a method trains on, and what it is measured on.
struct Opened {
    method: Method,
    relevant: DocumentLists,
    dev: Option<dev::Judged>,
}

/// Refuses texts that don't have the prompts that the starting model asks for, unless `--other-prompt` is given or it
/// asks for none. The trained model will ask for the prompts that it was trained with.
fn take_prompts(
    encoder: &mut Encoder,
    shared: &Shared,
    queries: &MappedTokens,
    Opened { method, dev, .. }: &Opened,
) -> Result<(), Error> {
    let start = FolderSettings::read(&shared.init)?;
    let check = |tokens: &MappedTokens, kind| {
        start.prompts().check(tokens.name(), tokens.provenance(), kind, shared.other_prompt)
    };
    let kind = TextKind::of(method.provenance()).filter(|&kind| kind != TextKind::Query).unwrap_or(TextKind::Passage);
    [queries]
        .into_iter()
        .chain(dev.as_ref().map(dev::Judged::queries))
        .try_for_each(|of| check(of, TextKind::Query))?;
    // The embeddings that ADORE searches were checked when they were made.
    method.docs().map_or(Ok(()), |docs| check(docs, kind))?;
    let [query, document] = [(queries.provenance(), TextKind::Query), (method.provenance(), kind)]
        .map(|(about, kind)| about.prompt().filter(|&prompt| prompt != start.prompts().of(kind)));
    encoder.set_prompts(query, document);
    Ok(())
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let (shared, inputs) = (args.method.shared(), args.method.inputs());
    command::check_inputs::<Args>(&inputs);
    let cuts_metric = matches!(args.method, Choice::Adore { metric_cut: Some(_), .. });
    let has_teacher = matches!(args.method, Choice::Star { teacher: Some(_), .. });
    if let Err(wrong) = shared.loss.check(args.method.name(), cuts_metric, has_teacher) {
        command::wrong_usage::<Args>(wrong);
    }
    prepare_process();
    let folder = ModelFolder::create(&shared.output, &shared.init, &inputs)?;
    let device = shared.device.open()?;
    let mut encoder = starting_model(&shared.init, device, shared.precision, shared.seed, shared.similarity)?;
    let settings = args.method.settings(encoder.similarity());
    shared.loss.warn_of_cosines(encoder.similarity());
    let queries = MappedTokens::open(&shared.queries)?;
    let opened = args.method.open(&queries, &encoder)?;
    take_prompts(&mut encoder, shared, &queries, &opened)?;
    let Opened { method, relevant, dev: judged } = opened;
    let dev = judged.map(|judged| shared.dev.set(judged, (&encoder, &method), shared.seed)).transpose()?;
    if let Some(dev) = &dev {
        dev.warn_of_training_queries(&queries, &relevant);
    }
    let identity = identity(&encoder, &method, &queries, &relevant, &settings, dev.as_ref());
    let checkpoint = Checkpoint::beside(folder.path(), identity);
    let mut run = Run::start(&encoder, &method, &queries, &relevant, &settings, dev.as_ref(), checkpoint)?;
    if let step @ 1.. = run.step_number() {
        report.note(format!("went on at step {step}, found in {}", run.checkpoint().path().display()));
    }
    // What could fail after the last step fails before the first one.
    encoder.save(folder.temporary())?;
    report.progress(Some(run.remaining_queries()), "queries");
    run.train(|queries| report.add(queries))?;
    let measured = run.measured();
    let (log, checkpoint) = run.finish();
    measured.iter().flat_map(Measured::notes).for_each(|note| report.note(note));

    // A model that one of the other methods makes encodes its documents itself, whatever it started from.
    let searched = method.provenance().get(MODEL).filter(|_| matches!(method, Method::Adore { .. }));
    encoder.set_document_model(searched);
    encoder.save(folder.temporary())?;
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
