//! Address-space identifiers.

use serde::{Deserialize, Serialize};

/// Which address space an address belongs to: CR3 and the VMCS base.
///
/// `None` means the field is unknown and is not considered when two identifiers are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asid {
    /// Value of CR3, the page-table base.
    pub cr3: Option<u64>,
    /// Base address of the VMCS.
    pub vmcs: Option<u64>,
}

impl Asid {
    /// True if the two agree in every field that both know.
    pub fn matches(&self, other: &Asid) -> bool {
        fn agree(a: Option<u64>, b: Option<u64>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
        }
        agree(self.cr3, other.cr3) && agree(self.vmcs, other.vmcs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_matches_anything() {
        let any = Asid::default();
        let one = Asid { cr3: Some(0x1000), vmcs: None };
        let two = Asid { cr3: Some(0x2000), vmcs: Some(0x5000) };
        assert!(any.matches(&one) && one.matches(&any));
        assert!(!one.matches(&two));
        assert!(one.matches(&Asid { cr3: Some(0x1000), vmcs: Some(1) }));
    }
}
