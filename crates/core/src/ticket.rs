//! The signed QR ticket of a voucher or an order: what the customer shows, and a screenshot of it, at the counter.
//!
//! `HX1` + base32 (RFC 4648, upper case, no padding, so that the QR code stays in alphanumeric mode) of
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind in the upper 2 bits, key id in the lower 6 |
//! | 8 | merchant tag |
//! | 16 | voucher id or order id |
//! | 2 | version, u16 BE |
//! | 8 | rule id, i64 BE |
//! | 4 + 4 | valid from, valid to: Unix minutes, u32 BE |
//! | 2 | uses, u16 BE |
//! | 64 | Ed25519 signature of `hexiao-ticket-v1` ‖ all bytes above |
//!
//! Promise: 178 characters, exactly what a version 7 QR code of level M holds; kind and key id share a byte because
//! one more would need a larger code. A ticket that verifies was signed by us. Whether it is still *valid* (time,
//! version, uses) is judged elsewhere: offline by the scanner, online from the voucher itself.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use data_encoding::BASE32_NOPAD;
use uuid::Uuid;

/// What every ticket begins with: product and format version.
pub const TICKET_PREFIX: &str = "HX1";
/// Characters of a ticket.
pub const TICKET_LEN: usize = 178;
/// Key ids are 0 to 63.
pub const MAX_KEY_ID: u8 = KEY_ID_MASK;

const KEY_ID_MASK: u8 = 0b0011_1111;
const KIND_SHIFT: u32 = 6;
const BODY_LEN: usize = 45;
/// A signature made for another purpose with the same key never passes as a ticket.
const DOMAIN: &[u8] = b"hexiao-ticket-v1";

/// What a ticket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TicketKind {
    /// One voucher.
    Voucher,
    /// A whole order: lists its vouchers at the counter.
    Order,
}

impl TicketKind {
    fn bits(self) -> u8 {
        match self {
            Self::Voucher => 1,
            Self::Order => 2,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Voucher),
            2 => Some(Self::Order),
            _ => None,
        }
    }
}

/// The content of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What [`Self::subject_id`] is the id of.
    pub kind: TicketKind,
    /// Tells merchants apart offline: the scanner refuses another merchant's ticket without asking.
    pub merchant_tag: [u8; 8],
    /// Id of the voucher or of the order, by [`Self::kind`].
    pub subject_id: Uuid,
    /// Counts up when the voucher changes hands or is reissued: older tickets are stale.
    pub version: u16,
    /// The redemption rule that an offline scanner judges by.
    pub rule_id: i64,
    /// First minute of validity, in minutes since 1970 UTC.
    pub valid_from_min: u32,
    /// End of validity (exclusive), in minutes since 1970 UTC.
    pub valid_to_min: u32,
    /// Uses that the voucher had in all when the ticket was signed.
    pub uses: u16,
}

/// Why a scanned text is not a ticket of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not the shape of a ticket: some other QR code.
    #[error("not a ticket")]
    Malformed,
    /// Names a key that this verifier doesn't have (retired, or newer than its key list).
    #[error("ticket signed with unknown key {0}")]
    UnknownKey(u8),
    /// Forged or altered.
    #[error("ticket signature is wrong")]
    BadSignature,
}

/// Why a signing or verifying key was refused: a fault of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketKeyError {
    /// The ticket has 6 bits for the key id.
    #[error("ticket key id {0} is above 63")]
    IdTooLarge(u8),
    /// Two keys with one id.
    #[error("two ticket keys have the id {0}")]
    Duplicate(u8),
    /// Not an Ed25519 key.
    #[error("ticket key {0} is not an Ed25519 key")]
    Invalid(u8),
}

/// The Ed25519 key that signs tickets.
pub struct TicketSigner {
    key_id: u8,
    key: Ed25519KeyPair,
}

impl TicketSigner {
    /// A signer from a 32-byte secret seed.
    pub fn from_seed(key_id: u8, seed: &[u8; 32]) -> Result<Self, TicketKeyError> {
        check_key_id(key_id)?;
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| TicketKeyError::Invalid(key_id))?;
        Ok(Self { key_id, key })
    }

    /// A signer from a PKCS#8 document (DER, version 1 as `openssl genpkey` writes it, or version 2).
    pub fn from_pkcs8(key_id: u8, der: &[u8]) -> Result<Self, TicketKeyError> {
        check_key_id(key_id)?;
        let key =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| TicketKeyError::Invalid(key_id))?;
        Ok(Self { key_id, key })
    }

    /// The id that its tickets carry.
    #[must_use]
    pub fn key_id(&self) -> u8 {
        self.key_id
    }

    /// The public key, for [`TicketVerifiers`] and for offline scanners.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "an Ed25519 public key has 32 bytes")]
    pub fn public_key(&self) -> [u8; ED25519_PUBLIC_KEY_LEN] {
        self.key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }
}

impl fmt::Debug for TicketSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The public keys whose tickets are accepted, by id: the current one and those that unexpired tickets still carry.
#[derive(Debug)]
pub struct TicketVerifiers(BTreeMap<u8, ParsedPublicKey>);

impl TicketVerifiers {
    /// Verifiers from (key id, public key) pairs.
    pub fn new(
        keys: impl IntoIterator<Item = (u8, [u8; ED25519_PUBLIC_KEY_LEN])>,
    ) -> Result<Self, TicketKeyError> {
        let mut verifiers = BTreeMap::new();
        for (id, bytes) in keys {
            check_key_id(id)?;
            let key = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| TicketKeyError::Invalid(id))?;
            if verifiers.insert(id, key).is_some() {
                return Err(TicketKeyError::Duplicate(id));
            }
        }
        Ok(Self(verifiers))
    }
}

fn check_key_id(id: u8) -> Result<(), TicketKeyError> {
    if id <= MAX_KEY_ID { Ok(()) } else { Err(TicketKeyError::IdTooLarge(id)) }
}

impl Ticket {
    /// The text of the QR code. Ed25519 is deterministic: the same ticket gives the same text.
    #[must_use]
    pub fn sign(&self, signer: &TicketSigner) -> String {
        let body = self.body(signer.key_id);
        let signature = signer.key.sign(&[DOMAIN, &body].concat());
        format!("{TICKET_PREFIX}{}", BASE32_NOPAD.encode(&[&body, signature.as_ref()].concat()))
    }

    /// Reads a scanned text and checks its signature. Surrounding white space and lower case are forgiven, because
    /// hand-held scanners that type like a keyboard add a line break and may invert case.
    pub fn parse_and_verify(text: &str, verifiers: &TicketVerifiers) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() != TICKET_LEN || !text.is_ascii() {
            return Err(TicketError::Malformed);
        }
        let text = text.to_ascii_uppercase();
        let encoded = text.strip_prefix(TICKET_PREFIX).ok_or(TicketError::Malformed)?;
        // Refuses non-zero padding bits, so each ticket has one spelling.
        let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).map_err(|_| TicketError::Malformed)?;
        let (body, signature) = bytes.split_first_chunk::<BODY_LEN>().ok_or(TicketError::Malformed)?;
        let (ticket, key_id) = Self::from_body(body).ok_or(TicketError::Malformed)?;
        let key = verifiers.0.get(&key_id).ok_or(TicketError::UnknownKey(key_id))?;
        key.verify_sig(&[DOMAIN, body].concat(), signature).map_err(|_| TicketError::BadSignature)?;
        Ok(ticket)
    }

    fn body(&self, key_id: u8) -> [u8; BODY_LEN] {
        let parts: [&[u8]; 8] = [
            &[self.kind.bits() << KIND_SHIFT | key_id],
            &self.merchant_tag,
            self.subject_id.as_bytes(),
            &self.version.to_be_bytes(),
            &self.rule_id.to_be_bytes(),
            &self.valid_from_min.to_be_bytes(),
            &self.valid_to_min.to_be_bytes(),
            &self.uses.to_be_bytes(),
        ];
        parts.concat().try_into().expect("the parts are 45 bytes in all")
    }

    fn from_body(body: &[u8; BODY_LEN]) -> Option<(Self, u8)> {
        let mut rest = &body[..];
        let [first] = take::<1>(&mut rest)?;
        let ticket = Self {
            kind: TicketKind::from_bits(first >> KIND_SHIFT)?,
            merchant_tag: take(&mut rest)?,
            subject_id: Uuid::from_bytes(take(&mut rest)?),
            version: u16::from_be_bytes(take(&mut rest)?),
            rule_id: i64::from_be_bytes(take(&mut rest)?),
            valid_from_min: u32::from_be_bytes(take(&mut rest)?),
            valid_to_min: u32::from_be_bytes(take(&mut rest)?),
            uses: u16::from_be_bytes(take(&mut rest)?),
        };
        Some((ticket, first & KEY_ID_MASK))
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: [u8; 32] = [1; 32];

    fn signer() -> TicketSigner {
        TicketSigner::from_seed(5, &SEED).unwrap()
    }

    fn verifiers() -> TicketVerifiers {
        TicketVerifiers::new([(5, signer().public_key())]).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            kind: TicketKind::Voucher,
            merchant_tag: *b"MERCHANT",
            subject_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
            version: 1,
            rule_id: 42,
            valid_from_min: 29_000_000,
            valid_to_min: 29_043_200,
            uses: 10,
        }
    }

    fn any_ticket() -> impl Strategy<Value = Ticket> {
        (any::<bool>(), any::<[u8; 8]>(), any::<u128>(), any::<(u16, i64, u32, u32, u16)>()).prop_map(
            |(voucher, merchant_tag, id, (version, rule_id, valid_from_min, valid_to_min, uses))| Ticket {
                kind: if voucher { TicketKind::Voucher } else { TicketKind::Order },
                merchant_tag,
                subject_id: Uuid::from_u128(id),
                version,
                rule_id,
                valid_from_min,
                valid_to_min,
                uses,
            },
        )
    }

    #[test]
    fn fits_the_qr_code() {
        let text = ticket().sign(&signer());
        assert_eq!(text.len(), 178);
        assert!(
            text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()),
            "QR alphanumeric mode: {text}"
        );
    }

    /// The text is a published format (printed codes, offline scanners): it must not change by accident.
    /// The same bytes signed by `openssl pkeyutl -sign -rawin` with the key of this seed.
    #[test]
    fn text_is_pinned() {
        assert_eq!(
            ticket().sign(&signer()),
            "HX1IVGUKUSDJBAU4VABSAAAAAAAOAAIAAAAAAAAAAABAAAQAAAAAAAAAABKAG5ICQABXMVAAAAKJF7LHUYY5L6YRWUOBVX2QGVR2SC6A67DTYWSQCP7BNITRGS3EZL6YWKOA4ZOPD5HWUFNWBKVRMGCHD4RSQD5XQCWBKULKA3MUNVCKBQ"
        );
    }

    #[test]
    fn scanner_quirks_are_forgiven() {
        let text = ticket().sign(&signer());
        assert_eq!(Ticket::parse_and_verify(&format!(" {text}\r\n"), &verifiers()), Ok(ticket()));
        assert_eq!(Ticket::parse_and_verify(&text.to_ascii_lowercase(), &verifiers()), Ok(ticket()));
    }

    #[test]
    fn other_texts_are_malformed() {
        let text = ticket().sign(&signer());
        let no_kind = format!("HX1{}", "A".repeat(175));
        let last_bits = format!("{}{}", &text[..177], "7");
        for wrong in [
            "",
            "HX1",
            &text[..177],
            &format!("{text}A"),
            &text.replacen("HX1", "HX2", 1),
            &no_kind,
            &last_bits,
        ] {
            assert_eq!(Ticket::parse_and_verify(wrong, &verifiers()), Err(TicketError::Malformed), "{wrong}");
        }
        let chinese = "券".repeat(59) + "A";
        assert_eq!(chinese.len(), 178);
        assert_eq!(Ticket::parse_and_verify(&chinese, &verifiers()), Err(TicketError::Malformed));
    }

    #[test]
    fn keys_rotate_by_id() {
        let next = TicketSigner::from_seed(6, &[2; 32]).unwrap();
        let text = ticket().sign(&next);
        assert_eq!(Ticket::parse_and_verify(&text, &verifiers()), Err(TicketError::UnknownKey(6)));
        let both = TicketVerifiers::new([(5, signer().public_key()), (6, next.public_key())]).unwrap();
        assert_eq!(Ticket::parse_and_verify(&text, &both), Ok(ticket()));
        assert_eq!(Ticket::parse_and_verify(&ticket().sign(&signer()), &both), Ok(ticket()));
        let same_id = TicketSigner::from_seed(5, &[2; 32]).unwrap();
        let forged = ticket().sign(&same_id);
        assert_eq!(Ticket::parse_and_verify(&forged, &both), Err(TicketError::BadSignature));
    }

    #[test]
    fn bad_keys_are_refused() {
        assert_eq!(TicketSigner::from_seed(64, &SEED).unwrap_err(), TicketKeyError::IdTooLarge(64));
        assert_eq!(TicketSigner::from_pkcs8(1, b"nonsense").unwrap_err(), TicketKeyError::Invalid(1));
        let key = signer().public_key();
        assert_eq!(TicketVerifiers::new([(1, key), (1, key)]).unwrap_err(), TicketKeyError::Duplicate(1));
        assert_eq!(TicketVerifiers::new([(64, key)]).unwrap_err(), TicketKeyError::IdTooLarge(64));
    }

    #[test]
    fn pkcs8_and_seed_give_the_same_signer() {
        // RFC 8410: SEQUENCE { version 0, Ed25519, OCTET STRING { OCTET STRING seed } }
        let header = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let from_der = TicketSigner::from_pkcs8(5, &[&header[..], &SEED].concat()).unwrap();
        assert_eq!(from_der.public_key(), signer().public_key());
    }

    #[test]
    fn signer_shows_no_secret() {
        assert_eq!(format!("{:?}", signer()), "TicketSigner { key_id: 5, .. }");
    }

    proptest! {
        #[test]
        fn every_ticket_reads_back(ticket in any_ticket(), key_id in 0..=MAX_KEY_ID, seed: [u8; 32]) {
            let signer = TicketSigner::from_seed(key_id, &seed).unwrap();
            let verifiers = TicketVerifiers::new([(key_id, signer.public_key())]).unwrap();
            let text = ticket.sign(&signer);
            prop_assert_eq!(text.len(), TICKET_LEN);
            prop_assert_eq!(Ticket::parse_and_verify(&text, &verifiers), Ok(ticket));
        }

        #[test]
        fn no_altered_ticket_passes(ticket in any_ticket(), position in 3_usize..178, replacement in "[A-Z2-7]") {
            let text = ticket.sign(&signer());
            let mut altered = text.clone();
            altered.replace_range(position..=position, &replacement);
            prop_assume!(altered != text);
            prop_assert!(Ticket::parse_and_verify(&altered, &verifiers()).is_err());
        }

        #[test]
        fn parse_never_panics(text in "HX1[A-Z2-7]{170,180}|\\PC*") {
            prop_assert!(Ticket::parse_and_verify(&text, &verifiers()).is_err());
        }
    }
}
