//! What waits on a stack for an address, and how it is found.

use super::*;

impl<L: Ledger> Tracker<L> {
    /// Whether this stack may hold an item.
    pub(super) fn may_hold(&mut self, wanted: (bool, u64)) -> bool {
        let top = self.state.line.top;
        if self.index.is_none() {
            let near = self.chains.walk(top).take(SHORT).any(|(_, item)| key(&item) == wanted);
            let depth = self.chains.depth(top) as usize;
            if near || depth <= SHORT || self.is_hurried() {
                return true;
            }
            self.state.work += depth as u64;
            let mut index = Index::default();
            for (_, item) in self.chains.walk(top) {
                *index.entry(key(&item)).or_default() += 1;
            }
            self.index = Some(index);
        }
        self.index.as_ref().is_some_and(|index| index.get(&wanted).is_some_and(|&count| count > 0))
    }

    /// Searches have cost so much that they are to look no further than near the top.
    pub(super) fn is_hurried(&self) -> bool {
        self.state.work > FREE_WORK + self.state.ops * WORK
    }

    /// The innermost item that fits.
    pub(super) fn search(&mut self, fit: impl Fn(&Item) -> bool) -> Option<Link> {
        let most = if self.is_hurried() { HURRIED } else { usize::MAX };
        let mut looked = 0;
        let mut items = self.chains.walk(self.state.line.top).take(most);
        let found = items.find(|(_, item)| {
            looked += 1;
            fit(item)
        });
        let link = found.map(|(link, _)| link);
        drop(items);
        self.state.work += looked as u64;
        if link.is_none() && looked == most {
            // It may lie deeper.
            self.doubt();
        }
        link
    }

    /// The innermost call that comes back to an address, or landmark there.
    pub(super) fn find(&mut self, ip: u64, landmark: bool) -> Option<Link> {
        let fit = |item: &Item| {
            item.ip == ip && if landmark { item.kind == Kind::Landmark } else { item.is_call() }
        };
        self.may_hold((landmark, ip)).then(|| self.search(fit)).flatten()
    }

    /// What was interrupted and goes on at an address.
    pub(super) fn interrupted_at(&mut self, to: u64) -> Option<Link> {
        self.search(|item| item.kind == Kind::Interrupted && goes_on(item, to))
    }
}
