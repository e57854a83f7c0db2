//! The phones that staff redeem with. A registered one has a key of its own and can be revoked from afar.

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, ParsedPublicKey};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::state::text_enum;

/// Devices that one member of staff may have in use.
pub const MAX_DEVICES: i64 = 5;

text_enum! {
    /// Whether a device may be used.
    pub enum DeviceState {
        /// In use.
        Active = "Active",
        /// Never again: its key is burnt.
        Revoked = "Revoked",
    }
}

text_enum! {
    /// What a device runs.
    pub enum DevicePlatform {
        /// An iPhone or iPad.
        Ios = "ios",
        /// Android.
        Android = "android",
        /// HarmonyOS 鸿蒙.
        Harmony = "harmony",
        /// A computer.
        Desktop = "desktop",
        /// Something else.
        Other = "other",
    }
}

/// Reads a device's public key: 64 hexadecimal digits.
pub fn parse_public_key(text: &str) -> Option<[u8; ED25519_PUBLIC_KEY_LEN]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    let bytes: [u8; ED25519_PUBLIC_KEY_LEN] = bytes.try_into().ok()?;
    ParsedPublicKey::new(&ED25519, bytes).ok().map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_hexadecimal() {
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(parse_public_key(key).unwrap()[0], 0xd7);
        assert_eq!(parse_public_key(&key.to_uppercase()), parse_public_key(key));
        for bad in ["", "d7", &key[1..], &format!("{key}00"), &key.replace('d', "g"), "钥匙"] {
            assert_eq!(parse_public_key(bad), None, "{bad}");
        }
    }
}
