//! ADORE's lists: what was retrieved for each query of a batch, what of it is relevant, and how good that is.

use tch::{Device, Tensor};

use crate::document_lists::DocumentLists;

const CUT: usize = 10;

/// Ranked lists of a batch, all padded to the longest, L.
pub struct RankedLists {
    /// (B · L) document ids; a padded place holds document 0.
    pub ids: Vec<i64>,
    /// (B, L), 1 where the document is relevant to the query.
    pub relevant: Tensor,
    /// (B, L), 1 where it is not; 0 where the list has ended.
    pub irrelevant: Tensor,
    /// Mean reciprocal rank of the retrieved lists, cut at 10.
    pub mrr_10: f32,
    /// Share of the retrieved lists with a relevant document among their first 10: recall, as the reference logs it
    /// (the two are one where each query has one relevant document).
    pub recall_10: f32,
}

impl RankedLists {
    /// Lists of what was `found` (B, top_k) for `queries`. Where nothing relevant was found, all relevant documents
    /// of the query follow at the end of the list, in the order of the judgements.
    pub fn new(found: &Tensor, queries: &[u32], relevant: &DocumentLists, device: Device) -> Self {
        let top_k = found.size()[1] as usize;
        let found: Vec<i64> = Vec::try_from(found.flatten(0, -1)).expect("ids are 64-bit integers");
        let lists: Vec<Vec<(i64, bool)>> = found
            .chunks(top_k)
            .zip(queries)
            .map(|(found, &query)| {
                let mut list: Vec<_> = found.iter().map(|&id| (id, relevant.contains(query, id as u32))).collect();
                if !list.iter().any(|&(_, relevant)| relevant) {
                    list.extend(relevant.of(query).iter().map(|&id| (i64::from(id), true)));
                }
                list
            })
            .collect();
        let length = lists.iter().map(Vec::len).max().unwrap_or(0);
        let padded = || lists.iter().flat_map(|list| (0..length).map(|place| list.get(place).copied()));
        let matrix = |wanted: bool| {
            let flags: Vec<f32> =
                padded().map(|entry| f32::from(entry.is_some_and(|(_, relevant)| relevant == wanted))).collect();
            Tensor::from_slice(&flags).view([lists.len() as i64, length as i64]).to_device(device)
        };
        let retrieved = || lists.iter().map(|list| &list[..top_k.min(CUT)]);
        let reciprocal = |list: &[(i64, bool)]| match list.iter().position(|&(_, relevant)| relevant) {
            Some(place) => 1.0 / (place + 1) as f32,
            None => 0.0,
        };
        RankedLists {
            ids: padded().map(|entry| entry.map_or(0, |(id, _)| id)).collect(),
            relevant: matrix(true),
            irrelevant: matrix(false),
            mrr_10: retrieved().map(reciprocal).sum::<f32>() / queries.len() as f32,
            recall_10: retrieved().filter(|list| list.iter().any(|&(_, relevant)| relevant)).count() as f32
                / queries.len() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevant_documents_are_appended_only_where_none_was_found() {
        let relevant = DocumentLists::new(2, 10, &[(0, 7), (0, 9), (1, 6), (1, 5)]);
        let found = Tensor::from_slice(&[3i64, 9, 4, 1, 2, 3]).view([2, 3]);
        let lists = RankedLists::new(&found, &[0, 1], &relevant, Device::Cpu);
        assert_eq!(lists.ids, [3, 9, 4, 0, 0, 1, 2, 3, 6, 5]);
        let flags = |matrix: &Tensor| Vec::<f32>::try_from(matrix.flatten(0, -1)).unwrap();
        assert_eq!(flags(&lists.relevant), [0., 1., 0., 0., 0., 0., 0., 0., 1., 1.]);
        assert_eq!(flags(&lists.irrelevant), [1., 0., 1., 0., 0., 1., 1., 1., 0., 0.]);
        assert_eq!((lists.mrr_10, lists.recall_10), (0.25, 0.5));
    }
}
