//! Voucher codes and the keys that protect stored secrets.
//!
//! A voucher code is money to whoever reads it. So the database holds it twice, and never in clear: as a keyed
//! hash ([`Pepper`]) to find it by, and sealed ([`CodeKey`]) to show it to its owner. Phone numbers are kept the
//! same way. Keys rotate by id ([`Keyring`]): new rows use the current key, old rows name the one they used.
//!
//! Architecture Invariant: no randomness here. Entropy and nonces are arguments, drawn by the caller from a CSPRNG.
//! `Debug` of every type here shows no key, no code and no plain text.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use crate::damm;
use crate::text::{MobilePhone, PhoneLast4, digit_value};

/// Digits of a code, with the check digit.
pub const CODE_LEN: usize = 12;
/// 10^11: the number of different codes.
const CODE_SPACE: u128 = 100_000_000_000;
/// Typed input longer than this is refused unread.
const MAX_TYPED_CHARS: usize = 64;

/// Why a typed voucher code was refused. `Display` is the text for the person who typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not 12 digits, or other characters than digits, spaces and hyphens.
    #[error("券码应为 12 位数字")]
    Malformed,
    /// 12 digits whose check digit is wrong: a typing error, not worth a look-up.
    #[error("券码有误，请核对后重新输入")]
    CheckDigit,
}

/// An unguessable voucher code: 11 random digits and a Damm check digit.
///
/// There is deliberately no `Display` and no `Serialize`: who shows a code says so with [`Self::digits`] or
/// [`Self::display`]; what slips into a log is masked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VoucherCode([u8; CODE_LEN]);

impl VoucherCode {
    /// A code from 128 random bits.
    ///
    /// `entropy mod 10^11` is biased by less than 10^11 / 2^128 ≈ 3·10⁻²⁸ for any code: nothing to exploit.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the values are remainders of 10")]
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        let mut rest = u128::from_be_bytes(entropy) % CODE_SPACE;
        let mut values = [0_u8; CODE_LEN];
        for value in values[..CODE_LEN - 1].iter_mut().rev() {
            *value = u8::try_from(rest % 10).expect("a remainder of 10 fits in u8");
            rest /= 10;
        }
        values[CODE_LEN - 1] =
            damm::check_digit(&values[..CODE_LEN - 1]).expect("all values are remainders of 10");
        Self(values.map(|value| b'0' + value))
    }

    /// Reads a code as people type it: spaces and hyphens anywhere, full-width digits (０–９) allowed.
    pub fn parse(input: &str) -> Result<Self, CodeError> {
        let mut values = [0_u8; CODE_LEN];
        let mut count = 0;
        for (position, c) in input.chars().enumerate() {
            if position >= MAX_TYPED_CHARS {
                return Err(CodeError::Malformed);
            }
            if is_separator(c) {
                continue;
            }
            let value = digit_value(c).ok_or(CodeError::Malformed)?;
            *values.get_mut(count).ok_or(CodeError::Malformed)? = value;
            count += 1;
        }
        if count != CODE_LEN {
            return Err(CodeError::Malformed);
        }
        if !damm::is_valid(&values) {
            return Err(CodeError::CheckDigit);
        }
        Ok(Self(values.map(|value| b'0' + value)))
    }

    /// The 12 digits without separators.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the bytes are ASCII digits by construction")]
    pub fn digits(&self) -> &str {
        str::from_utf8(&self.0).expect("ASCII digits by construction")
    }

    /// The code as shown to people: `1234 5678 9012`.
    #[must_use]
    pub fn display(&self) -> String {
        let digits = self.digits();
        format!("{} {} {}", &digits[..4], &digits[4..8], &digits[8..])
    }

    /// The only part that may be logged or shown to staff.
    #[must_use]
    pub fn last4(&self) -> &str {
        &self.digits()[CODE_LEN - 4..]
    }
}

impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VoucherCode(********{})", self.last4())
    }
}

/// Spaces of any kind (also the full-width one) and the hyphens that keyboards offer.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FF0D}')
}

/// Keyed hash of a voucher code: what the unique index holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeHash(pub [u8; 32]);

/// Keyed hash of a mobile number (a blind index): equal numbers under one pepper have equal hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneHash(pub [u8; 32]);

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hash("CodeHash", &self.0, f)
    }
}

impl fmt::Debug for PhoneHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hash("PhoneHash", &self.0, f)
    }
}

/// Four bytes are enough to tell two hashes apart in a log.
fn fmt_hash(name: &str, hash: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}({}…)", data_encoding::HEXLOWER.encode(&hash[..4]))
}

/// A secret that has an id, so that a row can name the one it was made with.
pub trait Keyed {
    /// Unique among the keys of one [`Keyring`].
    fn id(&self) -> i16;
}

/// The secret of the keyed hashes. Without it, 10^11 codes could be tried against a stolen table in minutes.
pub struct Pepper {
    id: i16,
    key: hmac::Key,
}

impl Pepper {
    /// A pepper of 32 secret random bytes.
    #[must_use]
    pub fn new(id: i16, secret: &[u8; 32]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// `HMAC-SHA-256(pepper, the 12 digits)`.
    #[must_use]
    pub fn hash(&self, code: &VoucherCode) -> CodeHash {
        CodeHash(self.mac(&code.0))
    }

    /// `HMAC-SHA-256(pepper, "phone:" ‖ the 11 digits)`. The prefix keeps it apart from the codes' hashes.
    #[must_use]
    pub fn phone_hash(&self, phone: &MobilePhone) -> PhoneHash {
        PhoneHash(self.mac(&[b"phone:", phone.as_str().as_bytes()].concat()))
    }

    /// `HMAC-SHA-256(pepper, "phone-last4:" ‖ the 4 digits)`: what a lookup at the counter is matched by. Ten thousand
    /// numbers share each; it tells nothing without the pepper.
    #[must_use]
    pub fn last4_hash(&self, last4: &PhoneLast4) -> PhoneHash {
        PhoneHash(self.mac(&[b"phone-last4:", last4.as_str().as_bytes()].concat()))
    }

    fn mac(&self, message: &[u8]) -> [u8; 32] {
        hmac::sign(&self.key, message).as_ref().try_into().expect("a SHA-256 MAC has 32 bytes")
    }
}

impl Keyed for Pepper {
    fn id(&self) -> i16 {
        self.id
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why sealed bytes could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes name a key that is not at hand.
    #[error("sealed with unknown key {0}")]
    UnknownKey(i16),
    /// Truncated, altered, or sealed for another row (`aad`) or another kind of content.
    #[error("sealed bytes are damaged or belong elsewhere")]
    Corrupt,
}

/// What a sealed value is: part of the authenticated data, so that one kind never opens as the other.
#[derive(Clone, Copy)]
enum Content {
    Code,
    Text,
}

impl Content {
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Code => b"hexiao-sealed-code:",
            Self::Text => b"hexiao-sealed-text:",
        }
    }
}

/// Bytes of the key id in front of sealed bytes.
const KEY_ID_LEN: usize = 2;

/// An AES-256-GCM key for codes and short texts at rest.
///
/// Sealed bytes are `key id (i16 BE) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`: they name their key, so rotation needs
/// no further column. `aad` ties them to their row (pass its id): copied into another row they don't open.
///
/// The caller draws a fresh random `nonce` for each sealing: a nonce used twice under one key reveals both texts.
/// Random nonces are safe for 2^32 sealings a key; rotate before that.
pub struct CodeKey {
    id: i16,
    key: LessSafeKey,
}

impl CodeKey {
    /// A key of 32 secret random bytes.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "only a wrong key length is refused")]
    pub fn new(id: i16, secret: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, secret).expect("an AES-256 key has 32 bytes");
        Self { id, key: LessSafeKey::new(key) }
    }

    /// Seals a voucher code: 42 bytes.
    #[must_use]
    pub fn seal(&self, code: &VoucherCode, nonce: [u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
        self.seal_bytes(Content::Code, &code.0, nonce, aad)
    }

    /// Opens what [`Self::seal`] made under this key with the same `aad`.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<VoucherCode, OpenError> {
        let plain = self.open_bytes(Content::Code, sealed, aad)?;
        VoucherCode::parse(&plain).map_err(|_| OpenError::Corrupt)
    }

    /// Seals a short text such as a phone number: 30 bytes more than the text.
    #[must_use]
    pub fn seal_text(&self, text: &str, nonce: [u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
        self.seal_bytes(Content::Text, text.as_bytes(), nonce, aad)
    }

    /// Opens what [`Self::seal_text`] made under this key with the same `aad`.
    pub fn open_text(&self, sealed: &[u8], aad: &[u8]) -> Result<String, OpenError> {
        self.open_bytes(Content::Text, sealed, aad)
    }

    fn seal_bytes(&self, content: Content, plain: &[u8], nonce: [u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
        let aad = Aad::from([content.prefix(), aad].concat());
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .expect("AES-GCM only refuses texts beyond 64 GiB");
        [&self.id.to_be_bytes()[..], &nonce, &body].concat()
    }

    fn open_bytes(&self, content: Content, sealed: &[u8], aad: &[u8]) -> Result<String, OpenError> {
        let id = sealed_key_id(sealed).ok_or(OpenError::Corrupt)?;
        if id != self.id {
            return Err(OpenError::UnknownKey(id));
        }
        let rest = &sealed[KEY_ID_LEN..];
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::Corrupt)?;
        let aad = Aad::from([content.prefix(), aad].concat());
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body)
            .map_err(|_| OpenError::Corrupt)?;
        String::from_utf8(plain.to_vec()).map_err(|_| OpenError::Corrupt)
    }
}

impl Keyed for CodeKey {
    fn id(&self) -> i16 {
        self.id
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id of the key that sealed these bytes, e.g. to find the rows that a rotation still has to re-seal.
#[must_use]
pub fn sealed_key_id(sealed: &[u8]) -> Option<i16> {
    sealed.first_chunk::<KEY_ID_LEN>().map(|id| i16::from_be_bytes(*id))
}

/// Why a keyring could not be made: a fault of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Two keys with one id.
    #[error("two keys have the id {0}")]
    Duplicate(i16),
    /// The id said to be current is not among the keys.
    #[error("the current key {0} is not among the keys")]
    MissingCurrent(i16),
}

/// Several keys of one kind by id, one of them current. New values use the current key; the others only read.
pub struct Keyring<K> {
    current: K,
    others: BTreeMap<i16, K>,
}

impl<K: Keyed> Keyring<K> {
    /// A ring of `keys` whose current one has the id `current`.
    pub fn new(current: i16, keys: impl IntoIterator<Item = K>) -> Result<Self, KeyringError> {
        let mut others = BTreeMap::new();
        for key in keys {
            let id = key.id();
            if others.insert(id, key).is_some() {
                return Err(KeyringError::Duplicate(id));
            }
        }
        let current = others.remove(&current).ok_or(KeyringError::MissingCurrent(current))?;
        Ok(Self { current, others })
    }

    /// The key for new values.
    #[must_use]
    pub fn current(&self) -> &K {
        &self.current
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: i16) -> Option<&K> {
        if id == self.current.id() { Some(&self.current) } else { self.others.get(&id) }
    }

    /// All keys, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        std::iter::once(&self.current).chain(self.others.values())
    }
}

impl Keyring<Pepper> {
    /// The hashes under which a typed code may be stored, each with its pepper's id, the current one first.
    #[must_use]
    pub fn hashes(&self, code: &VoucherCode) -> Vec<(i16, CodeHash)> {
        self.iter().map(|pepper| (pepper.id, pepper.hash(code))).collect()
    }

    /// The hashes under which a mobile number may be stored, each with its pepper's id, the current one first.
    #[must_use]
    pub fn phone_hashes(&self, phone: &MobilePhone) -> Vec<(i16, PhoneHash)> {
        self.iter().map(|pepper| (pepper.id, pepper.phone_hash(phone))).collect()
    }

    /// The hashes under which a lookup by a phone's last four digits may be stored, the current pepper's first.
    #[must_use]
    pub fn last4_hashes(&self, last4: &PhoneLast4) -> Vec<PhoneHash> {
        self.iter().map(|pepper| pepper.last4_hash(last4)).collect()
    }
}

impl Keyring<CodeKey> {
    /// Seals a code with the current key. See [`CodeKey::seal`].
    #[must_use]
    pub fn seal(&self, code: &VoucherCode, nonce: [u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
        self.current.seal(code, nonce, aad)
    }

    /// Opens a code with the key that the sealed bytes name.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<VoucherCode, OpenError> {
        self.key_of(sealed)?.open(sealed, aad)
    }

    /// Seals a text with the current key. See [`CodeKey::seal_text`].
    #[must_use]
    pub fn seal_text(&self, text: &str, nonce: [u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
        self.current.seal_text(text, nonce, aad)
    }

    /// Opens a text with the key that the sealed bytes name.
    pub fn open_text(&self, sealed: &[u8], aad: &[u8]) -> Result<String, OpenError> {
        self.key_of(sealed)?.open_text(sealed, aad)
    }

    fn key_of(&self, sealed: &[u8]) -> Result<&CodeKey, OpenError> {
        let id = sealed_key_id(sealed).ok_or(OpenError::Corrupt)?;
        self.get(id).ok_or(OpenError::UnknownKey(id))
    }
}

/// Ids only, whatever `K` is.
impl<K: Keyed> fmt::Debug for Keyring<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<i16> = self.others.keys().copied().collect();
        f.debug_struct("Keyring").field("current", &self.current.id()).field("others", &others).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: [u8; NONCE_LEN] = [7; NONCE_LEN];

    fn code() -> VoucherCode {
        VoucherCode::from_entropy(98_765_432_101_u128.to_be_bytes())
    }

    #[test]
    fn code_from_entropy_is_the_remainder_with_leading_zeros() {
        let code = VoucherCode::from_entropy((3 * CODE_SPACE + 572).to_be_bytes());
        assert_eq!(code.digits(), "000000005724");
        assert_eq!(code.display(), "0000 0000 5724");
        assert_eq!(code.last4(), "5724");
    }

    #[test]
    fn typed_forms_are_the_same_code() {
        for typed in [
            "000000005724",
            "0000 0000 5724",
            "0000-0000-5724",
            " 0000\u{3000}0000\u{3000}5724\n",
            "０００００００0５７２４",
            "0000－0000—5724",
        ] {
            assert_eq!(
                VoucherCode::parse(typed).map(|code| code.display()).unwrap(),
                "0000 0000 5724",
                "{typed}"
            );
        }
    }

    #[test]
    fn typing_errors_are_told_apart() {
        for malformed in
            ["", "0000 0000 572", "0000 0000 57244", "0000 0000 572x", "٠٠٠٠00005724", "0000.0000.5724"]
        {
            assert_eq!(VoucherCode::parse(malformed), Err(CodeError::Malformed), "{malformed}");
        }
        let padded = format!("{}000000005724", " ".repeat(MAX_TYPED_CHARS));
        assert_eq!(VoucherCode::parse(&padded), Err(CodeError::Malformed));
        assert_eq!(VoucherCode::parse("0000 0000 5725"), Err(CodeError::CheckDigit));
    }

    #[test]
    fn debug_shows_no_secret() {
        let code = code();
        assert_eq!(format!("{code:?}"), format!("VoucherCode(********{})", code.last4()));
        assert_eq!(format!("{:?}", Pepper::new(3, &[0xAB; 32])), "Pepper { id: 3, .. }");
        assert_eq!(format!("{:?}", CodeKey::new(4, &[0xAB; 32])), "CodeKey { id: 4, .. }");
        let ring = Keyring::new(2, [CodeKey::new(1, &[0xAB; 32]), CodeKey::new(2, &[0xCD; 32])]).unwrap();
        assert_eq!(format!("{ring:?}"), "Keyring { current: 2, others: [1] }");
        assert_eq!(format!("{:?}", CodeHash([0xAB; 32])), "CodeHash(abababab…)");
    }

    /// `printf 000000005724 | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f`
    #[test]
    fn hash_is_plain_hmac_sha256() {
        let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let hash = Pepper::new(1, &secret).hash(&VoucherCode::parse("000000005724").unwrap());
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash.0),
            "177a54d35a81d32de6ad2c18ffd42f89c69ccb7bd5a29e6a2d8eb16337fa00b2"
        );
        let hash = Pepper::new(1, &secret).phone_hash(&MobilePhone::parse("13812341234").unwrap());
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash.0),
            "375d983d0c9f14e21422a0cdfd782c53049c782bb989edfd0c9db2bd01d9aec7"
        );
    }

    #[test]
    fn hashes_differ_by_pepper_and_by_kind() {
        let ring = Keyring::new(2, [Pepper::new(1, &[1; 32]), Pepper::new(2, &[2; 32])]).unwrap();
        let hashes = ring.hashes(&code());
        assert_eq!(hashes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
        assert_ne!(hashes[0].1, hashes[1].1);
        let phone = MobilePhone::parse("13812341234").unwrap();
        assert_eq!(ring.phone_hashes(&phone)[0], (2, ring.current().phone_hash(&phone)));
        let hashes = ring.last4_hashes(&phone.last4());
        assert_eq!(hashes[0], ring.current().last4_hash(&PhoneLast4::parse("1234").unwrap()));
        assert!(hashes[0] != hashes[1] && hashes[0] != ring.current().phone_hash(&phone));
    }

    #[test]
    fn sealed_code_opens_only_where_it_belongs() {
        let key = CodeKey::new(9, &[1; 32]);
        let sealed = key.seal(&code(), NONCE, b"vch_1");
        assert_eq!(sealed.len(), 42);
        assert_eq!(sealed_key_id(&sealed), Some(9));
        assert_eq!(key.open(&sealed, b"vch_1"), Ok(code()));
        assert_eq!(key.open(&sealed, b"vch_2"), Err(OpenError::Corrupt), "another row");
        assert_eq!(key.open_text(&sealed, b"vch_1"), Err(OpenError::Corrupt), "another kind");
        assert_eq!(
            CodeKey::new(9, &[2; 32]).open(&sealed, b"vch_1"),
            Err(OpenError::Corrupt),
            "another secret"
        );
        assert_eq!(CodeKey::new(8, &[1; 32]).open(&sealed, b"vch_1"), Err(OpenError::UnknownKey(9)));
        for len in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..len], b"vch_1"), Err(OpenError::Corrupt), "cut to {len}");
        }
        for position in KEY_ID_LEN..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(key.open(&altered, b"vch_1"), Err(OpenError::Corrupt), "byte {position}");
        }
    }

    #[test]
    fn keyring_rotates_by_id() {
        let old = Keyring::new(1, [CodeKey::new(1, &[1; 32])]).unwrap();
        let sealed = old.seal_text("13812341234", NONCE, b"cus_1");
        let new = Keyring::new(2, [CodeKey::new(1, &[1; 32]), CodeKey::new(2, &[2; 32])]).unwrap();
        assert_eq!(new.open_text(&sealed, b"cus_1").unwrap(), "13812341234");
        let resealed = new.seal_text("13812341234", NONCE, b"cus_1");
        assert_eq!(sealed_key_id(&resealed), Some(2));
        assert_eq!(old.open_text(&resealed, b"cus_1"), Err(OpenError::UnknownKey(2)));
        assert_eq!(new.open(&new.seal(&code(), NONCE, b""), b""), Ok(code()));
        assert!(new.get(1).is_some() && new.get(3).is_none());
    }

    #[test]
    fn keyring_refuses_bad_configuration() {
        let keys = |ids: &[i16]| ids.iter().map(|&id| Pepper::new(id, &[1; 32])).collect::<Vec<_>>();
        assert_eq!(Keyring::new(1, keys(&[1, 1])).unwrap_err(), KeyringError::Duplicate(1));
        assert_eq!(Keyring::new(2, keys(&[1])).unwrap_err(), KeyringError::MissingCurrent(2));
        assert_eq!(Keyring::new(2, keys(&[])).unwrap_err(), KeyringError::MissingCurrent(2));
    }

    proptest! {
        #[test]
        fn every_code_reads_back(entropy: [u8; 16]) {
            let code = VoucherCode::from_entropy(entropy);
            prop_assert_eq!(VoucherCode::parse(code.digits()), Ok(code));
            prop_assert_eq!(VoucherCode::parse(&code.display()), Ok(code));
        }

        #[test]
        fn parse_never_panics(input in "\\PC*") {
            let _ = VoucherCode::parse(&input);
        }

        #[test]
        fn sealed_text_reads_back(text in "\\PC{0,40}", secret: [u8; 32], nonce: [u8; 12], aad: Vec<u8>) {
            let key = CodeKey::new(1, &secret);
            let sealed = key.seal_text(&text, nonce, &aad);
            prop_assert_eq!(sealed.len(), text.len() + 30);
            prop_assert_eq!(key.open_text(&sealed, &aad), Ok(text));
        }

        #[test]
        fn open_never_panics(sealed: Vec<u8>) {
            prop_assert!(CodeKey::new(1, &[1; 32]).open_text(&sealed, b"").is_err());
        }
    }
}
