//! What tags lead to in the end. Each is read once, however many refs lead through it: a hostile
//! repository has a chain of its tags, and a ref at each. Pure; knows no archive.

use crate::archive::ObjectType;
use crate::key::Sha1Git;
use std::collections::HashMap;

/// Tags that were followed to their ends.
#[derive(Default)]
pub(crate) struct Peeled(HashMap<Sha1Git, Sha1Git>);

impl Peeled {
    /// What `tag` leads to; `target` gives what a tag names, and the type that it says this has.
    pub(crate) fn of<E>(
        &mut self,
        tag: &Sha1Git,
        mut target: impl FnMut(&Sha1Git) -> Result<(Sha1Git, ObjectType), E>,
    ) -> Result<Sha1Git, E> {
        let (mut id, mut way) = (*tag, Vec::new());
        let end = loop {
            if let Some(end) = self.0.get(&id) {
                break *end;
            }
            let (next, object_type) = target(&id)?;
            way.push(id);
            if object_type != ObjectType::Tag {
                break next;
            }
            id = next;
        };
        self.0.extend(way.into_iter().map(|tag| (tag, end)));
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Sha1Git {
        Sha1Git::from_bytes([number; 20])
    }

    #[test]
    fn every_tag_of_a_chain_is_read_once_in_whatever_order_they_are_asked_for() {
        for order in [(1..=100).collect::<Vec<u8>>(), (1..=100).rev().collect(), vec![50, 1, 100, 2, 51, 50]] {
            let mut read = Vec::new();
            let mut peeled = Peeled::default();
            for tag in order {
                let target = |tag: &Sha1Git| {
                    read.push(*tag);
                    let next = tag.as_bytes()[0] - 1;
                    Ok::<_, ()>((id(next), if next == 0 { ObjectType::Tree } else { ObjectType::Tag }))
                };
                assert_eq!(peeled.of(&id(tag), target), Ok(id(0)));
            }
            assert_eq!(read.len(), 100);
        }
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let mut peeled = Peeled::default();
        assert_eq!(peeled.of(&id(1), |_| Err("gone")), Err("gone"));
        assert_eq!(peeled.of(&id(1), |_| Ok::<_, ()>((id(7), ObjectType::Commit))), Ok(id(7)));
    }
}
