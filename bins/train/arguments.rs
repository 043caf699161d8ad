//! The arguments of `train`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, value_parser};
use hardmine_command::{Common, ForeignIds};
use hardmine_encoder::{DeviceChoice, Precision, Similarity};
use hardmine_files::Input;
use hardmine_training::{Chunks, TrainingSettings};

use super::dev::DevOptions;
use super::loss::LossOptions;
use super::update::UpdateOptions;

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
    pub(super) method: Choice,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Subcommand)]
pub(super) enum Choice {
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
pub(super) struct Texts {
    /// Tokens of the documents. An .arrow file is read in place; any other input is first copied into one
    #[arg(long)]
    pub(super) docs: Input,
    /// Most tokens of a document to train on. 120 is enough for passages; documents want up to 512
    #[arg(long, default_value_t = 120)]
    pub(super) max_doc_length: usize,
}

/// What all methods have. Defaults are the paper's; small collections want smaller batches and fewer steps.
#[derive(clap::Args)]
pub(super) struct Shared {
    /// Model folder to start from
    #[arg(long)]
    pub(super) init: PathBuf,
    /// How vectors are compared, in training and later: dot by their inner product, cosine by the angle between them.
    /// The default is cosine if the folder ends in a Normalize module, otherwise what its similarity_fn_name says, and
    /// otherwise dot.
    /// The trained model has a Normalize module if it is cosine, and none if it is dot
    #[arg(long, value_name = "dot|cosine")]
    pub(super) similarity: Option<Similarity>,
    /// Tokens of the training queries
    #[arg(long)]
    pub(super) queries: Input,
    /// Judgements of the training queries. Grades above 0 are relevant
    #[arg(long)]
    pub(super) qrels: Input,
    #[command(flatten)]
    pub(super) foreign: ForeignIds,
    /// Leave out judgements and negatives whose query or document is not in the tokens files. Their number is printed
    #[arg(long)]
    pub(super) skip_unknown: bool,
    /// Accept texts whose prompt is not the one that the model asks for. The trained model
    /// then asks for the prompts of these texts
    #[arg(long)]
    pub(super) other_prompt: bool,
    /// Model folder to write
    #[arg(short, long)]
    pub(super) output: PathBuf,
    /// Also write the training log as an event file for TensorBoard into the model folder
    #[arg(long)]
    pub(super) tensorboard: bool,
    /// How many times to go over the training queries [default: 100; adore 6]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(super) epochs: Option<u64>,
    /// Stop after this many steps. A learning rate that falls would reach 0 right after it
    #[arg(long)]
    pub(super) steps: Option<u64>,
    /// Queries in each batch [default: 256; adore 32]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(super) batch_size: Option<u64>,
    /// Most tokens of a query to train on [default: 24; adore 64]
    #[arg(long)]
    pub(super) max_query_length: Option<usize>,
    /// Encode this many texts at a time instead of the whole batch. This takes less memory and a third more time,
    /// because each text is encoded twice. Loss and gradient stay the same except for rounding and for what dropout
    /// draws
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(super) chunk_size: Option<u64>,
    /// As --chunk-size, but encode as many texts at a time as have this many tokens together
    #[arg(long, conflicts_with = "chunk_size", value_parser = value_parser!(u64).range(1..))]
    pub(super) chunk_tokens: Option<u64>,
    /// Number of steps between two checkpoints
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    pub(super) save_every: u64,
    /// Seed of all random draws. The same seed gives the same model on the same number of cores of the same kind
    #[arg(long, default_value_t = 42)]
    pub(super) seed: u64,
    /// Device to compute on: cpu, cuda or cuda:N. auto takes the first GPU if there is one, otherwise the CPU
    #[arg(long, default_value_t)]
    pub(super) device: DeviceChoice,
    /// Number type of the encoder's matrix products: f32, bf16 or f16. Parameters, scores and losses are always float32
    #[arg(long, default_value_t)]
    pub(super) precision: Precision,
    #[command(flatten)]
    pub(super) loss: LossOptions,
    #[command(flatten)]
    pub(super) update: UpdateOptions,
    #[command(flatten)]
    pub(super) dev: DevOptions,
}

impl Choice {
    pub(super) fn texts(&self) -> Option<&Texts> {
        match self {
            Choice::Inbatch { texts, .. } | Choice::Randneg { texts, .. } | Choice::Star { texts, .. } => Some(texts),
            Choice::Adore { .. } => None,
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        match self {
            Choice::Inbatch { shared, .. }
            | Choice::Randneg { shared, .. }
            | Choice::Star { shared, .. }
            | Choice::Adore { shared, .. } => shared,
        }
    }

    /// The method's name on the command line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Choice::Inbatch { .. } => "inbatch",
            Choice::Randneg { .. } => "randneg",
            Choice::Star { .. } => "star",
            Choice::Adore { .. } => "adore",
        }
    }

    /// All files that are read.
    pub(super) fn inputs(&self) -> Vec<&Input> {
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
    pub(super) fn settings(&self, similarity: Similarity) -> TrainingSettings {
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
}
