//! For each query a list of documents, all in one array: judgements and hard negatives.

/// Lists of document rows, one for each query row.
#[derive(Debug)]
pub struct Lists {
    /// Where each list starts in `docs`, and where the last one ends.
    starts: Vec<usize>,
    docs: Vec<u32>,
}

impl Lists {
    /// Lists for `queries` queries from (query, document) pairs; each list is sorted and names a document once.
    pub fn new(queries: usize, mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0; queries + 1];
        for &(query, _) in &pairs {
            starts[query as usize + 1] += 1;
        }
        for query in 0..queries {
            starts[query + 1] += starts[query];
        }
        Lists { starts, docs: pairs.into_iter().map(|(_, doc)| doc).collect() }
    }

    /// The documents of `query`, ascending.
    pub fn of(&self, query: u32) -> &[u32] {
        &self.docs[self.starts[query as usize]..self.starts[query as usize + 1]]
    }

    /// Whether `doc` is in the list of `query`.
    pub fn contains(&self, query: u32, doc: u32) -> bool {
        self.of(query).binary_search(&doc).is_ok()
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no queries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queries whose list has at least one document, ascending.
    pub fn queries(&self) -> Vec<u32> {
        (0..self.len() as u32).filter(|&query| !self.of(query).is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_name_a_document_once() {
        let lists = Lists::new(3, vec![(2, 5), (0, 9), (2, 1), (2, 5)]);
        assert_eq!((lists.of(0), lists.of(1), lists.of(2)), (&[9u32][..], &[][..], &[1, 5][..]));
        assert!(lists.contains(2, 5) && !lists.contains(0, 5));
        assert_eq!(lists.queries(), [0, 2]);
    }
}
