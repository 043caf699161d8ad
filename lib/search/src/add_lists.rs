//! Inverted lists for an index of codes, so that a search looks at some of its documents. Codes and centroids stay as
//! they are: a score is the same in whichever list its document is.

use faiss::Index;
use faiss::cluster::{Clustering, ClusteringParameters};
use faiss::index::flat::FlatIndex;
use hardmine_quantization::{Coarse, CodeListsBuilder, PqIndex};
use hardmine_records::{Error, Result, provenance};
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64Mcg;

use crate::faiss_build::{SEED, TRAIN_ROWS, TRAIN_ROWS_PER_LIST};
use crate::faiss_index::plain;
use crate::faiss_stderr::with_few_warnings;

/// Vectors decoded at once.
const ROWS: usize = 8192;
/// Iterations of k-means, as faiss has them for inverted lists.
const ITERATIONS: u32 = 10;

/// Gives the documents of `index`, which has one list or none, `lists` of them: spherical k-means of decoded vectors, of
/// which `train_rows` are drawn at random (by default 65,536, or 39 for each list if that is more), puts each document
/// into the list whose centroid has the largest inner product with its decoded vector. `added` is called with the number
/// of documents of each block that is put into its lists.
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
    let (codebook, documents) = (index.codebook(), index.lists().list(0));
    let (dim, size) = (codebook.dim(), codebook.subvectors());

    let rows = train_rows.unwrap_or_else(|| TRAIN_ROWS.max(TRAIN_ROWS_PER_LIST * count)).min(documents.len());
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut drawn = index::sample(&mut random, documents.len(), rows).into_vec();
    drawn.sort_unstable();
    let mut vectors = vec![0.0; drawn.len() * dim];
    for (&row, vector) in drawn.iter().zip(vectors.chunks_mut(dim)) {
        codebook.decode(&documents.codes()[row * size..(row + 1) * size], vector);
    }
    tracing::info!("training {count} lists on {} decoded vectors", drawn.len());
    let mut parameters = ClusteringParameters::new();
    parameters.set_niter(ITERATIONS);
    parameters.set_spherical(true);
    parameters.set_seed(SEED as u32);
    let mut clustering = Clustering::new_with_params(dim as u32, lists, &parameters).map_err(failed)?;
    let mut quantizer = FlatIndex::new_ip(dim as u32).map_err(failed)?;
    with_few_warnings(|| clustering.train(&vectors, &mut quantizer)).map_err(failed)?;
    let centroids = clustering.centroids().map_err(failed)?.concat();

    let mut list_of = Vec::with_capacity(documents.len());
    for codes in documents.codes().chunks(ROWS * size) {
        vectors.resize(codes.len() / size * dim, 0.0);
        codes.chunks(size).zip(vectors.chunks_mut(dim)).for_each(|(code, vector)| codebook.decode(code, vector));
        let found = quantizer.assign(&vectors, 1).map_err(failed)?;
        // faiss finds none for a vector only if its numbers overflow.
        list_of.extend(found.labels.iter().map(|list| list.get().map_or(0, |list| list as u32)));
        added(codes.len() / size);
    }
    let mut order: Vec<usize> = (0..documents.len()).collect();
    // Stable, so that the ids of a list ascend if they did before.
    order.sort_by_key(|&row| list_of[row]);
    let mut builder = CodeListsBuilder::new(size)?;
    let mut rows = order.into_iter().peekable();
    for list in 0..lists {
        while let Some(row) = rows.next_if(|&row| list_of[row] == list) {
            builder.push([documents.id(row)], &documents.codes()[row * size..(row + 1) * size])?;
        }
        builder.end_list()?;
    }
    let mut about = index.provenance().clone();
    about.stamp_index();
    about.set(provenance::SEED, SEED);
    about.set(provenance::CENTROIDS, codebook.digest());
    let (rotation, codebook) = (index.rotation().cloned(), codebook.clone());
    PqIndex::new(&name, rotation, codebook, Coarse::new(centroids), builder.finish()?, about)
}
