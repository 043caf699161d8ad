//! Retrieved lists: what was found for each query of a batch, what of it is relevant, and how good that is.

use tch::{Device, Tensor};

use crate::document_lists::DocumentLists;

const CUT: usize = 10;

/// What stands in a list beside what was found.
pub enum Beside<'a> {
    /// Where nothing relevant was found, all relevant documents of the query follow, in the order of the judgements.
    RelevantIfNoneFound,
    /// All relevant documents that were not found follow, ascending.
    RelevantNotFound,
    /// One relevant document of each query stands in front. Other relevant documents, and itself where it was found,
    /// count neither as relevant nor as irrelevant.
    InFront(&'a [u32]),
    /// The same, but all that was found is irrelevant, even what the judgements say is relevant.
    InFrontOfIrrelevant(&'a [u32]),
}

/// A place of a list: a document, and whether it is relevant; none where that doesn't count.
type Place = (i64, Option<bool>);

/// Ranked lists of a batch, all padded to the longest, L.
pub struct RankedLists {
    /// (B · L) document ids; a padded place holds document 0.
    pub ids: Vec<i64>,
    /// (B, L), 1 where the document is relevant to the query.
    pub relevant: Tensor,
    /// (B, L), 1 where it is not; 0 where it doesn't count or the list has ended.
    pub irrelevant: Tensor,
    /// Mean reciprocal rank of the retrieved lists, cut at 10.
    pub mrr_10: f32,
    /// Share of the retrieved lists with a relevant document among their first 10: recall, as the reference logs it
    /// (the two are one where each query has one relevant document).
    pub recall_10: f32,
}

impl RankedLists {
    /// Lists of what was `found` (B, top_k) for `queries`, and what stands `beside` it.
    pub fn new(found: &Tensor, queries: &[u32], relevant: &DocumentLists, beside: &Beside, device: Device) -> Self {
        let top_k = found.size()[1] as usize;
        let found: Vec<i64> = Vec::try_from(found.flatten(0, -1)).expect("ids are 64-bit integers");
        let firsts: Vec<Option<usize>> = found
            .chunks(top_k)
            .zip(queries)
            .map(|(found, &query)| found.iter().take(CUT).position(|&id| relevant.contains(query, id as u32)))
            .collect();
        let lists: Vec<Vec<Place>> = (0..)
            .zip(found.chunks(top_k).zip(queries))
            .map(|(row, (found, &query))| list(found, row, query, relevant, beside))
            .collect();
        let length = lists.iter().map(Vec::len).max().unwrap_or(0);
        let padded = || lists.iter().flat_map(|list| (0..length).map(|place| list.get(place).copied()));
        let matrix = |wanted: bool| {
            let counts = |(_, relevant): Place| relevant == Some(wanted);
            let flags: Vec<f32> = padded().map(|place| f32::from(place.is_some_and(counts))).collect();
            Tensor::from_slice(&flags).view([lists.len() as i64, length as i64]).to_device(device)
        };
        let queries = queries.len() as f32;
        RankedLists {
            ids: padded().map(|place| place.map_or(0, |(id, _)| id)).collect(),
            relevant: matrix(true),
            irrelevant: matrix(false),
            mrr_10: firsts.iter().map(|first| first.map_or(0.0, |place| 1.0 / (place + 1) as f32)).sum::<f32>()
                / queries,
            recall_10: firsts.iter().flatten().count() as f32 / queries,
        }
    }
}

/// The list of the query in row `row` of the batch.
fn list(found: &[i64], row: usize, query: u32, relevant: &DocumentLists, beside: &Beside) -> Vec<Place> {
    let is_relevant = |id: i64| relevant.contains(query, id as u32);
    let all = || relevant.of(query).iter().map(|&id| i64::from(id));
    let judged = found.iter().map(|&id| (id, Some(is_relevant(id))));
    let in_front = |drawn: &[u32]| (i64::from(drawn[row]), Some(true));
    match beside {
        Beside::RelevantIfNoneFound => {
            let none = !found.iter().any(|&id| is_relevant(id));
            judged.chain(all().filter(|_| none).map(|id| (id, Some(true)))).collect()
        }
        Beside::RelevantNotFound => {
            let mut missing: Vec<i64> = all().filter(|id| !found.contains(id)).collect();
            missing.sort_unstable();
            judged.chain(missing.into_iter().map(|id| (id, Some(true)))).collect()
        }
        Beside::InFront(drawn) => {
            let others = judged.map(|(id, relevant)| (id, relevant.filter(|relevant| !relevant)));
            [in_front(drawn)].into_iter().chain(others).collect()
        }
        Beside::InFrontOfIrrelevant(drawn) => {
            [in_front(drawn)].into_iter().chain(found.iter().map(|&id| (id, Some(false)))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(matrix: &Tensor) -> Vec<f32> {
        Vec::try_from(matrix.flatten(0, -1)).unwrap()
    }

    fn lists(beside: &Beside) -> RankedLists {
        let relevant = DocumentLists::new(2, 10, &[(0, 7), (0, 9), (0, 5), (1, 6), (1, 5)]);
        let found = Tensor::from_slice(&[3i64, 9, 4, 1, 2, 3]).view([2, 3]);
        let lists = RankedLists::new(&found, &[0, 1], &relevant, beside, Device::Cpu);
        assert_eq!((lists.mrr_10, lists.recall_10), (0.25, 0.5));
        lists
    }

    #[test]
    fn adore_appends_relevant_documents_only_where_none_was_found() {
        let lists = lists(&Beside::RelevantIfNoneFound);
        assert_eq!(lists.ids, [3, 9, 4, 0, 0, 1, 2, 3, 6, 5]);
        assert_eq!(flags(&lists.relevant), [0., 1., 0., 0., 0., 0., 0., 0., 1., 1.]);
        assert_eq!(flags(&lists.irrelevant), [1., 0., 1., 0., 0., 1., 1., 1., 0., 0.]);
    }

    #[test]
    fn jpq_appends_all_that_was_not_found() {
        let lists = lists(&Beside::RelevantNotFound);
        assert_eq!(lists.ids, [3, 9, 4, 5, 7, 1, 2, 3, 5, 6]);
        assert_eq!(flags(&lists.relevant), [0., 1., 0., 1., 1., 0., 0., 0., 1., 1.]);
        assert_eq!(flags(&lists.irrelevant), [1., 0., 1., 0., 0., 1., 1., 1., 0., 0.]);
    }

    #[test]
    fn the_drawn_document_stands_in_front_of_a_list_of_negatives() {
        let lists = lists(&Beside::InFront(&[9, 5]));
        assert_eq!(lists.ids, [9, 3, 9, 4, 5, 1, 2, 3]);
        assert_eq!(flags(&lists.relevant), [1., 0., 0., 0., 1., 0., 0., 0.]);
        assert_eq!(flags(&lists.irrelevant), [0., 1., 0., 1., 0., 1., 1., 1.]);
    }

    #[test]
    fn the_drawn_document_stands_in_front_of_all_that_was_found() {
        let lists = lists(&Beside::InFrontOfIrrelevant(&[9, 5]));
        assert_eq!(lists.ids, [9, 3, 9, 4, 5, 1, 2, 3]);
        assert_eq!(flags(&lists.relevant), [1., 0., 0., 0., 1., 0., 0., 0.]);
        assert_eq!(flags(&lists.irrelevant), [0., 1., 1., 1., 0., 1., 1., 1.]);
    }
}
