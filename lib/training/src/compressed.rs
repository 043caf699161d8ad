//! The frozen side of JPQ: the codes of all documents, searched exactly at every step with the centroids of that
//! moment.

use hardmine_encoder::{Encoder, Workers};
use hardmine_files::{Input, OutputFile};
use hardmine_quantization::PqIndex;
use hardmine_records::provenance::CENTROIDS;
use hardmine_records::{Error, Provenance, Result};
use tch::{Device, Kind, Tensor, no_grad};

use crate::quantizer::{Quantizer, check_model, decode, rotation_of};
use crate::top;

/// Documents that are decoded at once: on a GPU as many as its arithmetic wants, and on a CPU as many as its caches
/// hold.
const BLOCK: i64 = 65_536;
const BLOCK_ON_CPU: i64 = 8192;

/// Codes of documents, ids 0, 1, 2, …; on the CPU they are a view of the memory map.
pub struct Compressed {
    index: PqIndex,
    /// (N, M) of bytes.
    codes: Tensor,
    quantizer: Quantizer,
}

impl Compressed {
    /// Opens an index for search on the device of `encoder`, and folds its coarse centroid into the others. An index
    /// that has no rotation has been made of vectors that were rotated by that of `encoder`, which must then be a
    /// tower.
    ///
    /// # Errors
    /// No index of product quantization; several lists, or ids other than 0, 1, 2, …; an index of another model, of
    /// vectors of other dimensions, or in another space.
    pub fn open(input: &Input, encoder: &Encoder) -> Result<Self> {
        let index = PqIndex::open(input)?;
        let name = index.name();
        if index.is_empty() {
            return Err(Error::new(name, "no documents"));
        }
        if !index.ids_are_rows() {
            let text = format!("its documents are in {} lists or have ids of their own", index.lists().len());
            return Err(Error::new(name, text + ", expected one list with the ids 0, 1, 2, … in order")
                .hint("an index with IVF1, or without IVF"));
        }
        check_model(name, index.provenance(), encoder)?;
        let rotation = rotation_of(&index, encoder)?;
        let index = index.fold()?;
        let quantizer = Quantizer::new(&rotation, index.codebook(), encoder.device());
        quantizer.check(encoder, index.name())?;
        let codes = codes_of(&index, encoder.device());
        Ok(Compressed { index, codes, quantizer })
    }

    /// The name of the index file in errors.
    pub fn name(&self) -> &str {
        self.index.name()
    }

    /// Number of documents.
    pub fn rows(&self) -> usize {
        self.index.len()
    }

    /// The provenance of the index.
    pub fn provenance(&self) -> &Provenance {
        self.index.provenance()
    }

    /// The rotation and the centroids.
    pub fn quantizer(&self) -> &Quantizer {
        &self.quantizer
    }

    /// Ids of the `top_k` documents (no more than there are) of highest score for each of the rotated `queries`, (B,
    /// E), best first, as (B, top_k). Equal scores are ordered by id.
    pub fn search(&self, queries: &Tensor, top_k: i64, workers: &Workers) -> Tensor {
        let size = if queries.device() == Device::Cpu { BLOCK_ON_CPU } else { BLOCK };
        let centroids = self.quantizer.centroids().detach();
        let firsts = (0..self.rows() as i64).step_by(size as usize);
        let blocks = firsts.map(|first| {
            let codes = self.codes.narrow(0, first, size.min(self.rows() as i64 - first));
            (first, codes, queries.shallow_clone(), centroids.shallow_clone())
        });
        let of_blocks =
            workers.map(blocks.collect(), |(first, codes, queries, centroids): (i64, Tensor, Tensor, Tensor)| {
                no_grad(|| {
                    let scores = queries.matmul(&decode(&centroids, &codes).tr()); // (B, n)
                    top::highest(&top::keys(&scores, first), top_k)
                })
            });
        top::ids(&top::highest(&Tensor::cat(&of_blocks, 1), top_k))
    }

    /// What the codes of the documents `ids`, which may repeat, stand for with these `centroids`: (n, E), in rotated
    /// space.
    pub fn decoded(&self, centroids: &Tensor, ids: &[i64]) -> Tensor {
        let ids = Tensor::from_slice(ids).to_device(self.codes.device());
        decode(centroids, &self.codes.index_select(0, &ids))
    }

    /// Writes the index with the centroids as they are now.
    ///
    /// # Errors
    /// Centroids that are not finite, and errors of writing.
    pub fn write(&self, output: OutputFile) -> Result<()> {
        let mut index = self.index.clone().with_codebook(self.quantizer.codebook()?)?;
        let centroids = index.codebook().digest();
        index.provenance_mut().set(CENTROIDS, centroids);
        index.provenance_mut().stamp_index();
        index.write(output)
    }
}

/// The codes of an index of one list on `device`.
fn codes_of(index: &PqIndex, device: Device) -> Tensor {
    let codes = index.codes().unwrap_or_default();
    let size = [index.len() as i64, index.codebook().subvectors() as i64];
    // SAFETY: there are as many bytes as `size` says. They lie in a memory map that `index` holds for as long as the
    // tensor lives beside it, and nothing writes to them.
    unsafe { Tensor::from_blob(codes.as_ptr(), &size, &[], Kind::Uint8, Device::Cpu) }.to_device(device)
}
