//! Opens what a method trains on, and checks that it belongs together.

use hardmine_encoder::Encoder;
use hardmine_files::{Input, MappedTokens};
use hardmine_records::Error;
use hardmine_text::{FolderSettings, TextKind};
use hardmine_training::data::{IdOptions, TextRows, read_negatives, read_qrels};
use hardmine_training::{Compressed, DocumentLists, Documents, Method, Moments, TaughtPairs, Teacher};

use super::arguments::{Choice, Shared};
use super::{dev, loss};

impl Choice {
    /// Opens the side of the documents, and says which of them are relevant, also to dev queries.
    pub(super) fn open(&self, queries: &MappedTokens, encoder: &Encoder) -> anyhow::Result<Opened> {
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
                    shared.open_negatives(negatives, teacher.as_ref(), (&queries, &rows, &judged.0), &mut notes)?;
                (Method::Star { docs, negatives, hard_num: *hard_num, teacher }, judged)
            }
            Choice::Adore { embeddings, docs, top_k, metric_cut, .. } => {
                let documents = Documents::open(embeddings, encoder.device())?;
                let tokens = docs.as_ref().map(MappedTokens::open).transpose()?;
                let of = (documents.name(), documents.rows(), documents.provenance());
                let rows = TextRows::of_vectors(of, tokens.as_ref())?;
                let judged = shared.judgements(&queries, &rows, &mut notes)?;
                (Method::Adore { documents, top_k: *top_k, metric_cut: *metric_cut }, judged)
            }
            Choice::Jpq { index, docs, top_k, lambda_cut, .. } => {
                let documents = Compressed::open(index, encoder)?;
                let tokens = docs.as_ref().map(MappedTokens::open).transpose()?;
                let of = (documents.name(), documents.rows(), documents.provenance());
                let rows = TextRows::of_vectors(of, tokens.as_ref())?;
                let judged = shared.judgements(&queries, &rows, &mut notes)?;
                let lambda_cut = Some(lambda_cut.unwrap_or(200)).filter(|&cut| cut > 0);
                (Method::Jpq { documents, top_k: *top_k, lambda_cut }, judged)
            }
            Choice::Repconc { texts, negatives, clustering, .. } => {
                let docs = MappedTokens::open(&texts.docs)?;
                let hard_num = clustering.hard_num();
                let clustering = clustering.open(encoder, &docs)?;
                let rows = TextRows::of_tokens(&docs);
                let judged = shared.judgements(&queries, &rows, &mut notes)?;
                let (negatives, _) =
                    shared.open_negatives(negatives, None, (&queries, &rows, &judged.0), &mut notes)?;
                (Method::RepConc { docs, negatives, hard_num, clustering }, judged)
            }
        };
        let moments = match self {
            Choice::Jpq { optimizer_state, .. } => optimizer_state.as_ref().map(Moments::open).transpose()?,
            _ => None,
        };
        // Before the first of many steps, and not at the end of them.
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(Opened { method, relevant, dev, moments })
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

    /// Reads hard negatives, and the teacher's scores if the loss learns from them. What the user should know of these
    /// files is added to `notes`.
    fn open_negatives(
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
pub(super) struct Opened {
    pub(super) method: Method,
    pub(super) relevant: DocumentLists,
    pub(super) dev: Option<dev::Judged>,
    /// What the optimizer goes on from.
    pub(super) moments: Option<Moments>,
}

/// Refuses texts that don't have the prompts that the starting model asks for, unless `--other-prompt` is given or it
/// asks for none. The trained model will ask for the prompts that it was trained with.
pub(super) fn take_prompts(
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
