//! The last IP, which compressed addresses are relative to.

use super::{IpCompression, IpPayload};
use crate::error::PtError;
use serde::{Deserialize, Serialize};

/// The last IP of a stream. Source: Intel SDM volume 3C, "IP Compression".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastIp {
    ip: u64,
    known: bool,
    suppressed: bool,
}

impl LastIp {
    /// Takes in a payload. An update without a previous IP is relative to 0.
    #[inline]
    pub fn update(&mut self, payload: IpPayload) {
        const LOW16: u64 = 0xffff;
        const LOW32: u64 = 0xffff_ffff;
        const LOW48: u64 = 0xffff_ffff_ffff;
        let raw = payload.ip;
        self.ip = match payload.compression {
            IpCompression::Suppressed => {
                self.suppressed = true;
                return;
            }
            IpCompression::Update16 => self.ip & !LOW16 | raw & LOW16,
            IpCompression::Update32 => self.ip & !LOW32 | raw & LOW32,
            IpCompression::Sext48 => ((raw << 16) as i64 >> 16) as u64,
            IpCompression::Update48 => self.ip & !LOW48 | raw & LOW48,
            IpCompression::Full => raw,
        };
        self.known = true;
        self.suppressed = false;
    }

    /// The IP; `noip` if there has been none, `ip_suppressed` if the last packet had none.
    #[inline]
    pub fn ip(&self) -> Result<u64, PtError> {
        if !self.known {
            Err(PtError::Noip)
        } else if self.suppressed {
            Err(PtError::IpSuppressed)
        } else {
            Ok(self.ip)
        }
    }

    /// What an update is relative to, known or not.
    #[inline]
    pub fn base(&self) -> u64 {
        self.ip
    }

    /// What [`LastIp::ip`] would say after this payload.
    #[inline]
    pub fn after(mut self, payload: IpPayload) -> Result<u64, PtError> {
        self.update(payload);
        self.ip()
    }

    /// Forgets everything, as at PSB and OVF.
    pub fn reset(&mut self) {
        *self = LastIp::default();
    }
}
