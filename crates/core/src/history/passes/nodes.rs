//! Something for each node of a graph.

use crate::flow::NodeId;

/// A value for each node, the default one until it is changed.
#[derive(Default)]
pub(in crate::history) struct PerNode<T> {
    all: Vec<T>,
}

impl<T: Clone + Default> PerNode<T> {
    /// The value of a node. (There always is one.)
    #[inline]
    pub fn at(&mut self, node: NodeId) -> Option<&mut T> {
        let at = node as usize;
        if at >= self.all.len() {
            self.grow(at);
        }
        self.all.get_mut(at)
    }

    /// The value of a node, if it was ever looked for.
    pub fn get(&self, node: NodeId) -> Option<&T> {
        self.all.get(node as usize)
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        let length = (at + 1).next_power_of_two().max(1024);
        if self.all.is_empty() {
            // Fresh memory is zero already: nothing is written for nodes that are not met.
            self.all = vec![T::default(); length];
        } else {
            self.all.resize(length, T::default());
        }
    }

    pub fn clear(&mut self) {
        self.all.clear();
    }
}
