//! For each query a list of documents, all in one array: judgements and hard negatives.

/// A list of document rows for each query row.
#[derive(Debug)]
pub struct DocumentLists {
    /// Where each list starts in `docs`, and where the last one ends.
    starts: Vec<usize>,
    docs: Vec<u32>,
}

impl DocumentLists {
    /// Lists for `queries` queries, made of (query, document) pairs; documents are below `docs`. A list keeps the order
    /// of its pairs (ADORE appends relevant documents in it) and names a document once.
    pub fn new(queries: usize, docs: usize, pairs: &[(u32, u32)]) -> Self {
        let mut starts = vec![0; queries + 1];
        for &(query, _) in pairs {
            starts[query as usize + 1] += 1;
        }
        for query in 0..queries {
            starts[query + 1] += starts[query];
        }
        let mut next = starts.clone();
        let mut all = vec![0; pairs.len()];
        for &(query, doc) in pairs {
            all[next[query as usize]] = doc;
            next[query as usize] += 1;
        }
        DocumentLists { starts, docs: all }.without_repeats(docs)
    }

    fn without_repeats(mut self, docs: usize) -> Self {
        // For each document the last list it was seen in, counted from 1.
        let mut seen = vec![0u32; docs];
        let mut kept = 0;
        for query in 0..self.len() {
            let list = self.starts[query]..self.starts[query + 1];
            self.starts[query] = kept;
            for place in list {
                let doc = self.docs[place];
                if std::mem::replace(&mut seen[doc as usize], query as u32 + 1) != query as u32 + 1 {
                    self.docs[kept] = doc;
                    kept += 1;
                }
            }
        }
        let queries = self.len();
        self.starts[queries] = kept;
        self.docs.truncate(kept);
        self
    }

    /// Row numbers of the documents of the query in row `query`; empty if it has none.
    pub fn of(&self, query: u32) -> &[u32] {
        &self.docs[self.starts[query as usize]..self.starts[query as usize + 1]]
    }

    /// Where `doc` in the list of `query` stands among the documents of all lists, one list after another.
    pub fn place(&self, query: u32, doc: u32) -> Option<usize> {
        let place = self.of(query).iter().position(|&other| other == doc)?;
        Some(self.starts[query as usize] + place)
    }

    /// Number of documents in all lists.
    pub fn places(&self) -> usize {
        self.docs.len()
    }

    /// Whether `doc` is in the list of `query`.
    pub fn contains(&self, query: u32, doc: u32) -> bool {
        self.of(query).contains(&doc)
    }

    /// Number of documents that stand in the lists of the same query here and in `other`.
    pub fn shared_with(&self, other: &DocumentLists) -> usize {
        let shared = |query| self.of(query).iter().filter(|&&doc| other.contains(query, doc)).count();
        (0..self.len() as u32).map(shared).sum()
    }

    /// Number of queries, with documents or without.
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
    fn lists_keep_their_order_and_name_a_document_once() {
        let lists = DocumentLists::new(3, 10, &[(2, 5), (0, 9), (2, 1), (2, 5), (0, 5)]);
        assert_eq!((lists.of(0), lists.of(1), lists.of(2)), (&[9u32, 5][..], &[][..], &[5, 1][..]));
        assert!(lists.contains(2, 5) && !lists.contains(2, 9));
        assert_eq!(lists.queries(), [0, 2]);
        assert_eq!((lists.place(2, 1), lists.place(0, 1), lists.places()), (Some(3), None, 4));
        assert_eq!(lists.shared_with(&DocumentLists::new(3, 10, &[(2, 1), (1, 5), (0, 9)])), 2);
    }
}
