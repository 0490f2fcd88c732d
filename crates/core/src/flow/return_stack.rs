//! The return-address stack that compressed RETs are resolved with.

/// What a call pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnSite {
    /// Address after the call.
    pub ip: u64,
    /// The graph node for that address, 0 if not looked up yet.
    pub node: u32,
}

const DEPTH: usize = 64;

/// Sixty-four entries; a push onto a full stack drops the oldest, as the processor does.
/// Source: Intel SDM volume 3C, "Return Compression"; depth as in libipt.
#[derive(Clone, Debug)]
pub struct ReturnStack {
    sites: [ReturnSite; DEPTH],
    top: u8,
    depth: u8,
}

impl Default for ReturnStack {
    fn default() -> Self {
        ReturnStack { sites: [ReturnSite::default(); DEPTH], top: 0, depth: 0 }
    }
}

impl ReturnStack {
    /// Remembers a return site.
    #[inline]
    pub fn push(&mut self, site: ReturnSite) {
        self.top = (self.top + 1) % DEPTH as u8;
        self.sites[self.top as usize % DEPTH] = site;
        self.depth = (self.depth + 1).min(DEPTH as u8);
    }

    /// Takes the newest return site; None if there is none.
    #[inline]
    pub fn pop(&mut self) -> Option<ReturnSite> {
        if self.depth == 0 {
            return None;
        }
        let site = self.sites[self.top as usize % DEPTH];
        self.top = (self.top + DEPTH as u8 - 1) % DEPTH as u8;
        self.depth -= 1;
        Some(site)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.depth = 0;
    }

    /// The addresses held, oldest first.
    pub fn addresses(&self) -> Vec<u64> {
        let depth = self.depth as usize;
        (0..depth).map(|i| self.sites[(self.top as usize + DEPTH + 1 - depth + i) % DEPTH].ip).collect()
    }

    /// A stack that holds these addresses, oldest first.
    pub fn from_addresses(addresses: &[u64]) -> Self {
        let mut stack = Self::default();
        for &ip in addresses {
            stack.push(ReturnSite { ip, node: 0 });
        }
        stack
    }

    /// Forgets the graph nodes, not the addresses.
    pub fn forget_nodes(&mut self) {
        for site in &mut self.sites {
            site.node = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_65_is_dropped() {
        let mut stack = ReturnStack::default();
        for ip in 0..65 {
            stack.push(ReturnSite { ip, node: 0 });
        }
        assert_eq!(stack.addresses(), (1..65).collect::<Vec<u64>>());
        let popped: Vec<u64> = std::iter::from_fn(|| stack.pop()).map(|site| site.ip).collect();
        assert_eq!(popped, (1..65).rev().collect::<Vec<u64>>());
        assert_eq!(stack.pop(), None);
    }

    #[test]
    fn addresses_survive_a_round_trip() {
        let stack = ReturnStack::from_addresses(&[1, 2, 3]);
        assert_eq!(ReturnStack::from_addresses(&stack.addresses()).addresses(), [1, 2, 3]);
    }
}
