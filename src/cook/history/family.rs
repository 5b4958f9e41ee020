//! Which entries of a pack are made from which: the way from the bases up. Pure.

use super::resolve::{Entry, NONE, index};

/// Which entries are made from which.
pub(super) struct Family {
    /// For each entry where its own begin in `children`, and the end.
    starts: Vec<u32>,
    /// Of each base in order, but the one that most depend on last.
    children: Vec<u32>,
}

impl Family {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let count = entries.len();
        let mut starts = vec![0_u32; count + 1];
        let mut weights = vec![1_u32; count];
        for (at, entry) in entries.iter().enumerate().rev() {
            if entry.base != NONE {
                starts[entry.base as usize] += 1;
                weights[entry.base as usize] += weights[at];
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        let mut children = vec![0; sum as usize];
        let mut places = starts.clone();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.base != NONE) {
            let place = &mut places[entry.base as usize];
            children[*place as usize] = index(at);
            *place += 1;
        }
        for range in starts.windows(2) {
            let own = &mut children[range[0] as usize..range[1] as usize];
            if let Some(heaviest) = (0..own.len()).max_by_key(|at| weights[own[*at] as usize]) {
                own[heaviest..].rotate_left(1);
            }
        }
        Self { starts, children }
    }

    pub(super) fn children(&self, at: u32) -> &[u32] {
        let [start, end] = [at as usize, at as usize + 1].map(|at| self.starts[at] as usize);
        &self.children[start..end]
    }
}
