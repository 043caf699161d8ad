//! Inverted lists for an index of codes, so that a search looks at some of its documents. Codes and centroids stay as
//! they are: a score is the same in whichever list its document is.

use faiss::Index;
use faiss::cluster::{Clustering, ClusteringParameters};
use faiss::index::flat::FlatIndex;
use hardmine_quantization::{Coarse, CodeListsBuilder, PqIndex};
use hardmine_records::{Error, Result, provenance};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_pcg::Pcg64Mcg;

use crate::faiss_build::{SEED, TRAIN_ROWS, TRAIN_ROWS_PER_LIST};
use crate::faiss_index::plain;
use crate::faiss_stderr::with_few_warnings;

/// Vectors decoded at once.
const ROWS: usize = 8192;
/// Iterations of k-means, as faiss has them for inverted lists.
const ITERATIONS: u32 = 10;

/// Gives the documents of `index`, which has one list or none, `lists` of them: spherical k-means of decoded vectors,
/// of which `train_rows` are drawn at random (by default 65,536, or 39 for each list if that is more), puts each
/// document into the list whose centroid has the largest inner product with its decoded vector. `added` is called with
/// the number of documents of each block that is put into its lists.
///
/// # Errors
/// An index that has several lists already, and one of fewer documents than `lists`.
pub fn add_lists(
    index: PqIndex,
    lists: u32,
    train_rows: Option<usize>,
    mut added: impl FnMut(usize),
) -> Result<PqIndex> {
    let name = index.name().to_owned();
    let failed = |e: faiss::error::Error| Error::new(&name, plain(&e));
    let count = lists as usize;
    if index.lists().len() != 1 {
        let text = format!("has {} lists already", index.lists().len());
        return Err(Error::new(&name, text).hint("the index that these were added to"));
    }
    if index.len() < count {
        return Err(Error::new(&name, format!("has {} documents, fewer than {count} lists", index.len())));
    }
    let index = index.fold()?;
    let documents = index.lists().list(0);
    let rows = train_rows.unwrap_or_else(|| TRAIN_ROWS.max(TRAIN_ROWS_PER_LIST * count)).min(documents.len());
    let (mut quantizer, centroids) = train(&index, lists, rows).map_err(failed)?;
    let mut list_of = Vec::with_capacity(documents.len());
    for first in (0..documents.len()).step_by(ROWS) {
        let vectors = decoded(&index, first..documents.len().min(first + ROWS));
        let found = quantizer.assign(&vectors, 1).map_err(failed)?;
        // faiss finds none for a vector only if its numbers overflow.
        list_of.extend(found.labels.iter().map(|list| list.get().map_or(0, |list| list as u32)));
        added(found.labels.len());
    }
    let mut order: Vec<usize> = (0..documents.len()).collect();
    // Stable, so that the ids of a list ascend if they did before.
    order.sort_by_key(|&row| list_of[row]);
    let mut builder = CodeListsBuilder::new(index.codebook().subvectors())?;
    let mut rows = order.into_iter().peekable();
    for list in 0..lists {
        while let Some(row) = rows.next_if(|&row| list_of[row] == list) {
            builder.push([documents.id(row)], documents.code(row))?;
        }
        builder.end_list()?;
    }
    let mut about = index.provenance().clone();
    about.stamp_index();
    about.set(provenance::SEED, SEED);
    about.set(provenance::CENTROIDS, index.codebook().digest());
    let (rotation, codebook) = (index.rotation().cloned(), index.codebook().clone());
    PqIndex::new(&name, rotation, codebook, Coarse::new(centroids), builder.finish()?, about)
}

/// Spherical k-means of decoded vectors, of which `rows` are drawn at random; the centroids, (lists, D), and what finds
/// the one with the largest inner product.
fn train(index: &PqIndex, lists: u32, rows: usize) -> std::result::Result<(FlatIndex, Vec<f32>), faiss::error::Error> {
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut drawn = sample(&mut random, index.len(), rows).into_vec();
    drawn.sort_unstable();
    let vectors = decoded(index, drawn);
    tracing::info!("training {lists} lists on {rows} decoded vectors");
    let mut parameters = ClusteringParameters::new();
    parameters.set_niter(ITERATIONS);
    parameters.set_spherical(true);
    parameters.set_seed(SEED as u32);
    let dim = index.codebook().dim() as u32;
    let mut clustering = Clustering::new_with_params(dim, lists, &parameters)?;
    let mut quantizer = FlatIndex::new_ip(dim)?;
    with_few_warnings(|| clustering.train(&vectors, &mut quantizer))?;
    let centroids = clustering.centroids()?.concat();
    Ok((quantizer, centroids))
}

/// The vectors, (rows, D) in rotated space, that the codes of these `rows` of the only list stand for.
fn decoded(index: &PqIndex, rows: impl IntoIterator<Item = usize>) -> Vec<f32> {
    let (documents, dim) = (index.lists().list(0), index.codebook().dim());
    let rows = rows.into_iter();
    let mut vectors = Vec::with_capacity(rows.size_hint().0 * dim);
    for row in rows {
        let start = vectors.len();
        vectors.resize(start + dim, 0.0);
        index.codebook().decode(documents.code(row), &mut vectors[start..]);
    }
    vectors
}
