//! The arguments of `train`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, value_parser};
use hardmine_command::{Common, ForeignIds};
use hardmine_encoder::{DeviceChoice, Precision, Similarity};
use hardmine_files::Input;
use hardmine_training::{Chunks, Quantizer, TrainingSettings};

use super::codes::{ClusteringOptions, with_centroid_rate};
use super::dev::DevOptions;
use super::loss::LossOptions;
use super::open::Opened;
use super::update::{UpdateOptions, above_0};

const EXAMPLE: &str = "\
Examples:
  train randneg --init start/ --queries queries.tokens.arrow --docs docs.tokens.arrow \\
    --qrels qrels.tsv -o warm/
  train star --init warm/ --queries queries.tokens.arrow --docs docs.tokens.arrow \\
    --qrels qrels.tsv --negatives negatives.parquet -o star/
  embed --model star/ docs.tokens.arrow -o docs.arrow
  train adore --init star/ --queries queries.tokens.arrow --qrels qrels.parquet \\
    --embeddings docs.arrow -o adore/
  index docs.arrow --factory OPQ96,IVF1,PQ96x8np -o opq.faiss
  train jpq --init star/ --queries queries.tokens.arrow --qrels qrels.parquet \\
    --index opq.faiss -o jpq/
  embed --model jpq/ dev.tokens.arrow | rank --index jpq/index.faiss -o run.parquet";

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
    /// Trains the query encoder and the centroids of an index of codes (JPQ), against what is retrieved at every step
    ///
    /// The output is the query encoder's model folder, a tower, and in it index.faiss: the index with the same codes and
    /// the trained centroids.
    Jpq {
        /// Index of product quantization of all documents, such as index --factory OPQ96,IVF1,PQ96x8 makes of embeddings of
        /// the model that training starts from. Its codes stay as they are
        #[arg(long)]
        index: Input,
        /// Tokens of the documents, to look up official ids in; not needed with internal qrels (see remap-ids)
        #[arg(long)]
        docs: Option<Input>,
        /// Documents retrieved for each query at every step
        #[arg(long, default_value_t = 200, value_parser = value_parser!(i64).range(1..))]
        top_k: i64,
        /// Last position that counts in the reciprocal rank that is optimized, or 0 if every position counts. The paper has
        /// 200 for passages and 10 for documents [default: 200]
        #[arg(long, value_name = "POSITION", value_parser = value_parser!(i64).range(0..))]
        lambda_cut: Option<i64>,
        /// Learning rate of the centroids at its highest. The default goes by the bytes of a code: 5e-6 up to 24, 2e-5 for
        /// 32, and 1e-4 from 48 on. With list, unmasked-list, pair or lambda it is 2e-5
        #[arg(long, value_name = "RATE", value_parser = above_0)]
        centroid_rate: Option<f64>,
        /// Let the optimizer go on from the optimizer.safetensors that train repconc left in the folder of --init. The first
        /// update then has the rate 0
        #[arg(long, value_name = "FILE")]
        optimizer_state: Option<Input>,
        #[command(flatten)]
        shared: Shared,
    },
    /// Trains an encoder together with the centroids of codes (RepCONC, first stage), with static hard negatives
    ///
    /// The codes of a batch are chosen anew at every step so that all centroids get even shares. The output is a tower,
    /// with which embed --codes makes the codes of all documents. The second stage is train jpq --loss list.
    Repconc {
        #[command(flatten)]
        texts: Texts,
        /// Hard negatives of the training queries, from mine-negatives
        #[arg(long)]
        negatives: Input,
        #[command(flatten)]
        clustering: ClusteringOptions,
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
    /// Most tokens of a document to train on. The default is enough for passages; documents want up to 512 [default: 120;
    /// repconc 110, its release 2 128]
    #[arg(long)]
    pub(super) max_doc_length: Option<usize>,
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
    /// How many times to go over the training queries [default: 100; adore and jpq 6, repconc 10; repconc's release 2 and
    /// jpq with unmasked-list 4]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(super) epochs: Option<u64>,
    /// Stop after this many steps. A learning rate that falls would reach 0 right after it
    #[arg(long)]
    pub(super) steps: Option<u64>,
    /// Queries in each batch [default: 256; adore and jpq 32, repconc 1024, its release 2 4096; jpq with list,
    /// unmasked-list, pair or lambda 128]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(super) batch_size: Option<u64>,
    /// Most tokens of a query to train on [default: 24; adore 64, jpq 32; repconc's release 2 and jpq with unmasked-list
    /// 16]
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
    #[arg(long, default_value_t, value_parser = trainable)]
    pub(super) precision: Precision,
    #[command(flatten)]
    pub(super) loss: LossOptions,
    #[command(flatten)]
    pub(super) update: UpdateOptions,
    #[command(flatten)]
    pub(super) dev: DevOptions,
}

fn trainable(text: &str) -> Result<Precision, String> {
    match text.parse() {
        Ok(Precision::Int8) => Err("expected f32, bf16 or f16; int8 has no gradient, and is for embed".into()),
        Ok(precision) => Ok(precision),
        Err(_) => Err("expected f32, bf16 or f16".into()),
    }
}

impl Choice {
    pub(super) fn texts(&self) -> Option<&Texts> {
        match self {
            Choice::Inbatch { texts, .. }
            | Choice::Randneg { texts, .. }
            | Choice::Star { texts, .. }
            | Choice::Repconc { texts, .. } => Some(texts),
            Choice::Adore { .. } | Choice::Jpq { .. } => None,
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        match self {
            Choice::Inbatch { shared, .. }
            | Choice::Randneg { shared, .. }
            | Choice::Star { shared, .. }
            | Choice::Adore { shared, .. }
            | Choice::Jpq { shared, .. }
            | Choice::Repconc { shared, .. } => shared,
        }
    }

    /// The method's name on the command line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Choice::Inbatch { .. } => "inbatch",
            Choice::Randneg { .. } => "randneg",
            Choice::Star { .. } => "star",
            Choice::Adore { .. } => "adore",
            Choice::Jpq { .. } => "jpq",
            Choice::Repconc { .. } => "repconc",
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
            Choice::Jpq { index, docs, optimizer_state, .. } => {
                [index].into_iter().chain(docs).chain(optimizer_state).collect()
            }
            Choice::Repconc { texts, negatives, clustering, .. } => vec![&texts.docs, negatives, &clustering.index],
        };
        let Shared { queries, qrels, dev, .. } = self.shared();
        [vec![queries, qrels], own, dev.inputs().collect()].concat()
    }

    /// The settings of a run on what was `opened`, where vectors are compared by `similarity`.
    pub(super) fn settings(&self, similarity: Similarity, opened: &Opened) -> TrainingSettings {
        let (shared, texts) = (self.shared(), self.texts());
        let hardest = match self {
            Choice::Repconc { clustering, .. } => clustering.hardest(),
            _ => None,
        };
        let objective = shared.loss.objective(self.name(), similarity, hardest);
        let paper = match self {
            Choice::Inbatch { .. } | Choice::Randneg { .. } | Choice::Star { .. } => TrainingSettings::both_sides(),
            Choice::Adore { .. } => TrainingSettings::query_side(),
            Choice::Jpq { centroid_rate, .. } => {
                let subvectors = opened.method.quantizer().map_or(0, Quantizer::subvectors);
                let jpq = TrainingSettings::jpq(subvectors, objective.loss);
                let moments = opened.moments.as_ref().map(|moments| moments.digest().to_owned());
                TrainingSettings { moments, ..with_centroid_rate(jpq, *centroid_rate) }
            }
            Choice::Repconc { clustering, .. } => clustering.settings(),
        };
        let texts_at_once = shared.chunk_size.map(|size| Chunks::Texts(size as usize));
        let settings = TrainingSettings {
            epochs: shared.epochs.unwrap_or(paper.epochs),
            steps: shared.steps,
            batch_size: shared.batch_size.map_or(paper.batch_size, |size| size as usize),
            objective,
            max_query_length: shared.max_query_length.unwrap_or(paper.max_query_length),
            max_doc_length: texts.and_then(|texts| texts.max_doc_length).unwrap_or(paper.max_doc_length),
            chunks: texts_at_once.or(shared.chunk_tokens.map(|tokens| Chunks::Tokens(tokens as usize))),
            scale_loss: shared.precision == Precision::F16,
            seed: shared.seed,
            save_every: shared.save_every,
            ..paper
        };
        let settings = shared.update.apply(settings);
        // The length of the warm-up of some losses is a share of the run, whose length the other settings tell.
        let warmup = settings.objective.loss.warmup_share().filter(|_| !shared.update.has_warmup());
        let total = settings.total_steps(opened.relevant.queries().len());
        let warmup = warmup.map_or(settings.warmup_steps, |share| (total as f64 * share) as u64);
        TrainingSettings { warmup_steps: warmup, ..settings }
    }
}
