//! Writes unwind descriptors by the names of the runtime architecture's appendix B.

/// Bytes of descriptors.
#[derive(Clone, Debug, Default)]
pub struct Descriptors(pub Vec<u8>);

/// Registers of the `abreg` field.
pub mod ab {
    pub const fn gr(number: u8) -> u8 {
        number
    }
    pub const fn fr(number: u8) -> u8 {
        0x20 | number
    }
    pub const fn br(number: u8) -> u8 {
        0x40 | number
    }
    pub const PREDS: u8 = 0x60;
    pub const PSP: u8 = 0x61;
    pub const PRIUNAT: u8 = 0x62;
    pub const RP: u8 = 0x63;
    pub const BSP: u8 = 0x64;
    pub const BSPSTORE: u8 = 0x65;
    pub const RNAT: u8 = 0x66;
    pub const UNAT: u8 = 0x67;
    pub const FPSR: u8 = 0x68;
    pub const PFS: u8 = 0x69;
    pub const LC: u8 = 0x6a;
}

/// Registers of the P3 format.
pub mod p3 {
    pub const PSP: u8 = 0;
    pub const RP: u8 = 1;
    pub const PFS: u8 = 2;
    pub const PREDS: u8 = 3;
    pub const UNAT: u8 = 4;
    pub const LC: u8 = 5;
    pub const RP_BR: u8 = 6;
    pub const RNAT: u8 = 7;
    pub const BSP: u8 = 8;
    pub const BSPSTORE: u8 = 9;
    pub const FPSR: u8 = 10;
    pub const PRIUNAT: u8 = 11;
}

impl Descriptors {
    pub fn new() -> Self {
        Descriptors::default()
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn uleb(mut self, mut number: u64) -> Self {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    pub fn prologue(self, length: u64) -> Self {
        if length < 32 {
            self.put(&[length as u8])
        } else {
            self.put(&[0x60]).uleb(length)
        }
    }

    pub fn body(self, length: u64) -> Self {
        if length < 32 {
            self.put(&[0x20 | length as u8])
        } else {
            self.put(&[0x61]).uleb(length)
        }
    }

    pub fn prologue_gr(self, mask: u8, general: u8, length: u64) -> Self {
        self.put(&[0x40 | mask >> 1, mask << 7 | general]).uleb(length)
    }

    pub fn br_mem(self, mask: u8) -> Self {
        self.put(&[0x80 | mask])
    }

    pub fn br_gr(self, mask: u8, general: u8) -> Self {
        self.put(&[0xa0 | mask >> 1, mask << 7 | general])
    }

    pub fn saved_gr(self, which: u8, general: u8) -> Self {
        self.put(&[0xb0 | which >> 1, which << 7 | general])
    }

    pub fn spill_mask(self, codes: &str) -> Self {
        let code = |letter| match letter {
            'f' => 1,
            'g' => 2,
            'b' => 3,
            _ => 0,
        };
        let mut bytes = vec![0; codes.len().div_ceil(4)];
        for (slot, letter) in codes.chars().enumerate() {
            bytes[slot / 4] |= code(letter) << (6 - slot % 4 * 2);
        }
        self.put(&[0xb8]).put(&bytes)
    }

    pub fn frgr_mem(self, general: u8, float: u32) -> Self {
        self.put(&[0xb9, general << 4 | (float >> 16) as u8, (float >> 8) as u8, float as u8])
    }

    pub fn fr_mem(self, mask: u8) -> Self {
        self.put(&[0xc0 | mask])
    }

    pub fn gr_mem(self, mask: u8) -> Self {
        self.put(&[0xd0 | mask])
    }

    pub fn mem_stack_f(self, time: u64, size: u64) -> Self {
        self.put(&[0xe0]).uleb(time).uleb(size)
    }

    /// A P7 descriptor: 1 `mem_stack_v`, 2 `spill_base`, 3 `psp_sprel`, 4 `rp_when`, 5 `rp_psprel`, …
    pub fn p7(self, which: u8, number: u64) -> Self {
        self.put(&[0xe0 | which]).uleb(number)
    }

    /// A P8 descriptor: 1 `rp_sprel`, …, 16 `priunat_when_gr`, …
    pub fn p8(self, which: u8, number: u64) -> Self {
        self.put(&[0xf0, which]).uleb(number)
    }

    pub fn gr_gr(self, mask: u8, general: u8) -> Self {
        self.put(&[0xf1, mask, general])
    }

    pub fn unwabi(self, abi: u8, context: u8) -> Self {
        self.put(&[0xff, abi, context])
    }

    pub fn label_state(self, label: u64) -> Self {
        if label < 32 {
            self.put(&[0x80 | label as u8])
        } else {
            self.put(&[0xf0]).uleb(label)
        }
    }

    pub fn copy_state(self, label: u64) -> Self {
        if label < 32 {
            self.put(&[0xa0 | label as u8])
        } else {
            self.put(&[0xf8]).uleb(label)
        }
    }

    pub fn epilogue(self, time: u64, count: u64) -> Self {
        if count < 32 {
            self.put(&[0xc0 | count as u8]).uleb(time)
        } else {
            self.put(&[0xe0]).uleb(time).uleb(count)
        }
    }

    pub fn spill_psprel(self, abreg: u8, time: u64, offset: u64) -> Self {
        self.put(&[0xf9, abreg]).uleb(time).uleb(offset)
    }

    pub fn spill_sprel(self, abreg: u8, time: u64, offset: u64) -> Self {
        self.put(&[0xf9, 0x80 | abreg]).uleb(time).uleb(offset)
    }

    pub fn spill_gr(self, abreg: u8, time: u64, number: u8) -> Self {
        self.put(&[0xfa, abreg, number]).uleb(time)
    }

    pub fn spill_br(self, abreg: u8, time: u64, number: u8) -> Self {
        self.put(&[0xfa, 0x80 | abreg, number]).uleb(time)
    }

    pub fn spill_fr(self, abreg: u8, time: u64, number: u8) -> Self {
        self.put(&[0xfa, abreg, 0x80 | number]).uleb(time)
    }

    pub fn restore(self, abreg: u8, time: u64) -> Self {
        self.put(&[0xfa, abreg, 0]).uleb(time)
    }

    pub fn spill_psprel_p(self, predicate: u8, abreg: u8, time: u64, offset: u64) -> Self {
        self.put(&[0xfb, predicate, abreg]).uleb(time).uleb(offset)
    }

    pub fn spill_sprel_p(self, predicate: u8, abreg: u8, time: u64, offset: u64) -> Self {
        self.put(&[0xfb, 0x80 | predicate, abreg]).uleb(time).uleb(offset)
    }

    pub fn spill_gr_p(self, predicate: u8, abreg: u8, time: u64, number: u8) -> Self {
        self.put(&[0xfc, predicate, abreg, number]).uleb(time)
    }

    pub fn restore_p(self, predicate: u8, abreg: u8, time: u64) -> Self {
        self.put(&[0xfc, predicate, abreg, 0]).uleb(time)
    }
}
