//! The negatives that are most likely to be relevant.

/// How many of them are shown.
const SHOWN: usize = 50;

/// A negative beside the lowest-scoring relevant document of its query.
#[derive(Clone, Debug)]
pub(crate) struct Suspect<K> {
    pub query: K,
    pub negative: (K, f32),
    pub positive: (K, f32),
}

impl<K> Suspect<K> {
    fn difference(&self) -> f32 {
        self.positive.1 - self.negative.1
    }
}

/// The negatives that score highest beside their positive, the most suspicious first.
pub(crate) struct Suspects<K>(Vec<Suspect<K>>);

impl<K> Default for Suspects<K> {
    fn default() -> Self {
        Suspects(Vec::new())
    }
}

impl<K> Suspects<K> {
    /// Adds one. Of equals, those that came first stay.
    pub fn add(&mut self, suspect: Suspect<K>) {
        let place = self.0.partition_point(|other| other.difference() <= suspect.difference());
        if place < SHOWN {
            self.0.insert(place, suspect);
            self.0.truncate(SHOWN);
        }
    }

    /// The most suspicious first.
    pub fn into_inner(self) -> Vec<Suspect<K>> {
        self.0
    }
}
