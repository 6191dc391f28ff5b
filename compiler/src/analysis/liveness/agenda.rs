//! Nodes to look at again, in the order of the graph.

/// A set of small numbers from which the smallest is taken.
///
/// Propagation asks for nodes in order and puts back neighbours, so a bitmap with a cursor beats a heap: the scan over
/// words costs less than one comparison per node.
pub(super) struct Agenda {
    words: Vec<u64>,
    /// No member lies in a word before this one.
    cursor: usize,
}

impl Agenda {
    /// With room for the numbers below `size`.
    pub fn new(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)], cursor: 0 }
    }

    pub fn insert(&mut self, member: usize) {
        let at = member / 64;
        if let Some(word) = self.words.get_mut(at) {
            *word |= 1 << (member % 64);
            self.cursor = self.cursor.min(at);
        }
    }

    /// Takes the smallest member.
    pub fn pop(&mut self) -> Option<usize> {
        loop {
            let word = self.words.get_mut(self.cursor)?;
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.cursor * 64 + bit);
            }
            self.cursor += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Agenda;

    #[test]
    fn members_come_out_once_and_in_order() {
        let mut agenda = Agenda::new(300);
        [200, 7, 64, 7, 299].into_iter().for_each(|member| agenda.insert(member));
        assert_eq!((agenda.pop(), agenda.pop()), (Some(7), Some(64)));
        agenda.insert(3);
        agenda.insert(5_000);
        assert_eq!(std::iter::from_fn(|| agenda.pop()).collect::<Vec<_>>(), [3, 200, 299]);
    }
}
