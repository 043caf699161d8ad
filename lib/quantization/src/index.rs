//! An index of product quantization, as faiss keeps it in a file.

use std::fmt;

use hardmine_records::{Error, Provenance, Result};

use crate::codebook::Codebook;
use crate::lists::CodeLists;
use crate::rotation::Rotation;

/// The codes of documents, and all that is needed to score them: s(q, d) = ⟨R·q, c⟩ + ⟨R·q, decode(z)⟩, where R is the
/// rotation, z the code of d, and c, which belongs to codes of residuals only, the coarse centroid of its list. The
/// codes stay in the file, in a memory map.
#[derive(Clone)]
pub struct PqIndex {
    pub(crate) name: String,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) codebook: Codebook,
    pub(crate) form: Form,
    pub(crate) lists: CodeLists,
    pub(crate) provenance: Provenance,
}

/// Which of faiss's kinds of index it is.
#[derive(Clone)]
pub(crate) enum Form {
    /// `IndexIVFPQ`: inverted lists.
    Inverted(Coarse),
    /// `IndexPQ`: all codes in the order of the documents.
    Plain(Plain),
}

/// What a file of `IndexPQ` has beside centroids and codes. It tells faiss how to search, and we only keep it.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    pub search_type: i32,
    pub encode_signs: bool,
    pub polysemous_threshold: i32,
}

/// The coarse centroids of inverted lists.
#[derive(Clone)]
pub struct Coarse {
    /// (nlist, D) row by row.
    pub(crate) centroids: Vec<f32>,
    /// Whether the lists of a query are those at the least Euclidean distance. Else they are those of the largest inner
    /// product.
    pub(crate) by_distance: bool,
    /// How many lists are searched unless one says otherwise.
    pub(crate) nprobe: usize,
    /// Whether codes stand for what is left of a vector when the centroid of its list is taken away.
    pub(crate) by_residual: bool,
    /// Whether the file names only the sizes of lists that have documents.
    pub(crate) sparse_sizes: bool,
}

impl Coarse {
    /// Coarse centroids, (nlist, D), for codes of whole vectors; the lists of a query are those of the largest inner
    /// product.
    pub fn new(centroids: Vec<f32>) -> Self {
        Coarse { centroids, by_distance: false, nprobe: 1, by_residual: false, sparse_sizes: false }
    }

    /// The same centroids for codes of residuals: of what is left of a vector when the centroid of its list is taken
    /// away.
    pub fn residual(self) -> Self {
        Coarse { by_residual: true, ..self }
    }

    /// The centroids, (nlist, D) row by row, in rotated space.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// How many lists are searched unless one says otherwise.
    pub fn nprobe(&self) -> usize {
        self.nprobe
    }

    /// Whether codes stand for what is left of a vector when the centroid of its list is taken away.
    pub fn by_residual(&self) -> bool {
        self.by_residual
    }
}

impl PqIndex {
    /// Makes an index of `lists` in as many lists as `coarse` has centroids.
    ///
    /// # Errors
    /// Dimensions or numbers of lists that don't agree.
    pub fn new(
        name: &str,
        rotation: Option<Rotation>,
        codebook: Codebook,
        coarse: Coarse,
        lists: CodeLists,
        provenance: Provenance,
    ) -> Result<Self> {
        let dim = codebook.dim();
        let (rotated, floats) = (rotation.as_ref().map_or(dim, Rotation::dim_out), lists.len() * dim);
        if rotated != dim || coarse.centroids.len() != floats || lists.code_size() != codebook.subvectors() {
            return Err(Error::new(name, "its rotation, centroids, lists and codes are not of the same dimensions"));
        }
        let coarse = Coarse { sparse_sizes: are_sparse(&lists), ..coarse };
        Ok(PqIndex { name: name.to_owned(), rotation, codebook, form: Form::Inverted(coarse), lists, provenance })
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// faiss's name of the layout, such as `OPQ96,IVF1,PQ96x8`.
    pub fn form(&self) -> String {
        let m = self.codebook.subvectors();
        let rotation = if self.rotation.is_some() { format!("OPQ{m},") } else { String::new() };
        let lists = if self.coarse().is_some() { format!("IVF{},", self.lists.len()) } else { String::new() };
        format!("{rotation}{lists}PQ{m}x8")
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.lists.documents()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimension of the vectors that it is made of and asked with, before they are rotated.
    pub fn dim(&self) -> usize {
        self.rotation.as_ref().map_or(self.codebook.dim(), Rotation::dim_in)
    }

    /// The rotation that queries go through; none if the index takes them as they are.
    pub fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// The centroids.
    pub fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    /// The coarse centroids; none if there are no inverted lists.
    pub fn coarse(&self) -> Option<&Coarse> {
        match &self.form {
            Form::Inverted(coarse) => Some(coarse),
            Form::Plain(_) => None,
        }
    }

    /// The codes of all documents with their ids. Without inverted lists this is one list, where ids are row numbers.
    pub fn lists(&self) -> &CodeLists {
        &self.lists
    }

    /// The codes of all documents, (N, M) row by row; none if they are in several lists.
    pub fn codes(&self) -> Option<&[u8]> {
        (self.lists.len() == 1).then(|| self.lists.list(0).codes())
    }

    /// Whether there is one list, in which the ids are 0, 1, 2, … in this order.
    pub fn ids_are_rows(&self) -> bool {
        self.lists.ids_are_rows()
    }

    /// Where the codes came from; empty if another program wrote the file.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The provenance that [`PqIndex::write`] will write.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        &mut self.provenance
    }

    /// The numbers of the `nprobe` lists to search for `query`, (D,), in rotated space, the best first; of equal ones
    /// the one with the lower number.
    pub fn best_lists(&self, query: &[f32], nprobe: usize) -> Vec<usize> {
        let Form::Inverted(coarse) = &self.form else { return vec![0] };
        let merit = |centroid: &[f32]| match coarse.by_distance {
            true => -sum_of(query, centroid, |a, b| (a - b) * (a - b)),
            false => inner_product(query, centroid),
        };
        let merits: Vec<f32> = coarse.centroids.chunks(self.codebook.dim()).map(merit).collect();
        let mut numbers: Vec<usize> = (0..merits.len()).collect();
        let nprobe = nprobe.clamp(1, numbers.len());
        let better = |a: &usize, b: &usize| merits[*b].total_cmp(&merits[*a]).then(a.cmp(b));
        numbers.select_nth_unstable_by(nprobe - 1, better);
        numbers.truncate(nprobe);
        numbers.sort_by(better);
        numbers
    }

    /// What every score in the list of this number has beside the sum of its code's table entries: ⟨q', c⟩ of `query`
    /// q', (D,), in rotated space; 0 where codes don't stand for residuals.
    pub fn offset(&self, list: usize, query: &[f32]) -> f32 {
        self.residual_of(list).map_or(0.0, |centroid| inner_product(query, centroid))
    }

    /// The vector, (D,) in rotated space, that `code` stands for in the list of this number.
    pub fn decode(&self, list: usize, code: &[u8], vector: &mut [f32]) {
        self.codebook.decode(code, vector);
        if let Some(centroid) = self.residual_of(list) {
            vector.iter_mut().zip(centroid).for_each(|(number, c)| *number += c);
        }
    }

    /// The centroid that was taken away from the vectors of the list of this number, if one was.
    fn residual_of(&self, list: usize) -> Option<&[f32]> {
        let coarse = self.coarse().filter(|coarse| coarse.by_residual)?;
        Some(&coarse.centroids[list * self.codebook.dim()..(list + 1) * self.codebook.dim()])
    }

    /// Adds the coarse centroid of the only list to the centroids, and makes it 0. No score changes by that.
    ///
    /// # Errors
    /// Codes of residuals in several lists, each of which would need its own centroids.
    pub fn fold(mut self) -> Result<Self> {
        let Form::Inverted(coarse) = &mut self.form else { return Ok(self) };
        if !coarse.by_residual {
            return Ok(self);
        }
        if self.lists.len() != 1 {
            let text =
                format!("its codes are of residuals in {} lists, which have no centroids in common", self.lists.len());
            return Err(Error::new(&self.name, text).hint("an index with IVF1, or without IVF"));
        }
        self.codebook = self.codebook.moved(&coarse.centroids);
        coarse.centroids.fill(0.0);
        Ok(self)
    }

    /// The same index with other centroids.
    ///
    /// # Errors
    /// Centroids of other dimensions.
    pub fn with_codebook(self, codebook: Codebook) -> Result<Self> {
        let of = |codebook: &Codebook| (codebook.subvectors(), codebook.dim());
        if of(&codebook) != of(&self.codebook) {
            let ((m, dim), (own_m, own_dim)) = (of(&codebook), of(&self.codebook));
            let text = format!(
                "has {own_m} subvectors of vectors of {own_dim} dimensions, but the centroids are for {m} of {dim}"
            );
            return Err(Error::new(&self.name, text));
        }
        Ok(PqIndex { codebook, ..self })
    }
}

impl fmt::Debug for PqIndex {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} of {} documents in {}", self.form(), self.len(), self.name)
    }
}

fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b)
}

/// The sum of `term` over the numbers of two vectors, in float32. Lane l sums the terms l, l+16, l+32, … in that order,
/// as a processor does with many at once; then the lanes are summed in order.
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let (a_parts, a_rest) = a.as_chunks::<16>();
    let (b_parts, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..16 {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += term(a, b);
    }
    lanes.iter().sum()
}

/// faiss names only the sizes of lists that have documents where at most half of the lists have some.
fn are_sparse(lists: &CodeLists) -> bool {
    lists.iter().filter(|list| !list.is_empty()).count() <= lists.len() / 2
}
