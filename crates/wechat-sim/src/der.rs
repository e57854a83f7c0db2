//! Reads the three things the simulator needs from an X.509 certificate: serial, validity, public key.
//!
//! Just enough DER for certificates made here or by openssl; anything unexpected is an error.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::error::SimError;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What a certificate says.
#[derive(Debug)]
pub(crate) struct CertificateFacts {
    /// Upper-case hexadecimal, without the sign byte.
    pub(crate) serial: String,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    /// SubjectPublicKeyInfo, whole.
    pub(crate) public_key: Vec<u8>,
}

/// Reads a certificate in DER.
pub(crate) fn certificate_facts(der: &[u8]) -> Result<CertificateFacts, SimError> {
    read(der).ok_or_else(|| SimError::Key("the certificate cannot be read".into()))
}

fn read(der: &[u8]) -> Option<CertificateFacts> {
    let certificate = expect(&mut &*der, SEQUENCE)?;
    let tbs = expect(&mut &*certificate, SEQUENCE)?;
    let rest = &mut &*tbs;
    if rest.first() == Some(&VERSION) {
        element(rest)?;
    }
    let serial_bytes = expect(rest, INTEGER)?;
    let serial_bytes = serial_bytes.strip_prefix(&[0]).unwrap_or(serial_bytes);
    let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
    let serial = serial_bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    element(rest)?; // signature algorithm
    element(rest)?; // issuer
    let validity = &mut expect(rest, SEQUENCE)?;
    let not_before = time(validity)?;
    let not_after = time(validity)?;
    element(rest)?; // subject
    let public_key = element(rest)?.2.to_vec();
    Some(CertificateFacts { serial, not_before, not_after, public_key })
}

/// Takes one element: its tag, its contents, and the whole of it.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let whole = *input;
    let (&tag, rest) = whole.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7F);
        if count == 0 || count > 3 {
            return None;
        }
        let (bytes, tail) = rest.split_at_checked(count)?;
        length = bytes.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        rest = tail;
    }
    let (contents, tail) = rest.split_at_checked(length)?;
    *input = tail;
    Some((tag, contents, &whole[..whole.len() - tail.len()]))
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, contents, _) = element(input)?;
    (found == tag).then_some(contents)
}

fn time(input: &mut &[u8]) -> Option<DateTime<Utc>> {
    let (tag, contents, _) = element(input)?;
    let text = std::str::from_utf8(contents).ok()?;
    let text = match tag {
        // Two-digit years: 50 to 99 mean the last century (RFC 5280).
        UTC_TIME if text < "5" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    Some(NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::pem_blocks;

    #[test]
    fn reads_what_openssl_reads() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/vectors.json")).unwrap();
        let der = pem_blocks(include_str!("../tests/vectors/platform_cert.pem"), "CERTIFICATE").unwrap();
        let facts = certificate_facts(&der[0]).unwrap();
        assert_eq!(facts.serial, vectors["certificate"]["serial"]);
        assert_eq!(facts.serial.len(), 40);
        let date =
            |name: &str| -> DateTime<Utc> { vectors["certificate"][name].as_str().unwrap().parse().unwrap() };
        assert_eq!(facts.not_before, date("not_before"));
        assert_eq!(facts.not_after, date("not_after"));
        let spki = pem_blocks(include_str!("../tests/vectors/platform_public.pem"), "PUBLIC KEY").unwrap();
        assert_eq!(facts.public_key, spki[0]);
    }

    #[test]
    fn refuses_a_torn_certificate() {
        let der = pem_blocks(include_str!("../tests/vectors/platform_cert.pem"), "CERTIFICATE").unwrap();
        for length in [0, 1, 5, 40, 200, der[0].len() - 1] {
            assert!(certificate_facts(&der[0][..length]).is_err(), "{length} bytes");
        }
    }
}
