//! Identifiers: one newtype per kind of row, UUIDv7 inside, TypeID (`ord_01h455vb4pex5vsknk084sn02q`) outside.
//!
//! A TypeID names its kind, so a store's id pasted where an order's belongs is refused at the edge.
//! It is at most 30 characters, which lets a payment's id be its `out_trade_no` at WeChat (limit 32).

use std::fmt;

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SUFFIX_LEN: usize = 26;

/// Why a text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("编号格式不正确，应以 {prefix}_ 开头")]
pub struct IdError {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

/// What every id type offers, for code that is generic over them.
pub trait Id: Copy + Ord + std::hash::Hash + fmt::Display + Send + Sync + 'static {
    /// The three letters before the underscore.
    const PREFIX: &'static str;
    /// The bare UUID, as the database stores it.
    fn uuid(self) -> Uuid;
    /// From a UUID that the database or a generator gave.
    fn from_uuid(uuid: Uuid) -> Self;
    /// Reads the TypeID form.
    fn parse(text: &str) -> Result<Self, IdError> {
        parse_suffix(text, Self::PREFIX).map(Self::from_uuid)
    }
}

fn encode_suffix(uuid: Uuid) -> String {
    let mut n = uuid.as_u128();
    let mut out = [0u8; SUFFIX_LEN];
    for slot in out.iter_mut().rev() {
        let digit = usize::try_from(n & 31).unwrap_or(0);
        *slot = ALPHABET[digit];
        n >>= 5;
    }
    out.iter().map(|b| char::from(*b)).collect()
}

fn parse_suffix(text: &str, prefix: &'static str) -> Result<Uuid, IdError> {
    let err = IdError { prefix };
    let suffix = text.strip_prefix(prefix).and_then(|t| t.strip_prefix('_')).ok_or(err.clone())?;
    // 26 digits of 5 bits hold 130 bits: a first digit above 7 would overflow.
    if suffix.len() != SUFFIX_LEN || suffix.as_bytes()[0] > b'7' {
        return Err(err);
    }
    let mut n: u128 = 0;
    for byte in suffix.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte).ok_or(err.clone())?;
        n = (n << 5) | u128::try_from(digit).map_err(|_| err.clone())?;
    }
    Ok(Uuid::from_u128(n))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn uuid(self) -> Uuid { self.0 }
            fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, encode_suffix(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { Self::parse(text) }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid { id.0 }
        }
    )*};
}

ids! {
    /// A merchant 商家.
    MerchantId = "mch";
    /// A store 门店.
    StoreId = "str";
    /// A member of staff.
    StaffId = "stf";
    /// A registered device of a member of staff.
    DeviceId = "dev";
    /// A customer 用户.
    CustomerId = "cus";
    /// A sign-in session.
    SessionId = "ses";
    /// A product 商品.
    ProductId = "prd";
    /// A specification of a product 规格.
    SkuId = "sku";
    /// A stock row 库存.
    StockId = "stk";
    /// What a customer pays at once.
    CheckoutId = "chk";
    /// An order 订单.
    OrderId = "ord";
    /// A line of an order.
    LineId = "oln";
    /// A payment; its TypeID is the `out_trade_no` at WeChat.
    PaymentId = "pay";
    /// An account at WeChat Pay.
    PayAccountId = "pac";
    /// A refund; its TypeID begins the `out_refund_no` at WeChat.
    RefundId = "rfd";
    /// A voucher 券.
    VoucherId = "vch";
    /// A lock that keeps uses of a voucher for a refund or a booking.
    LockId = "lck";
    /// A booking 预约.
    BookingId = "bkg";
    /// What of a store can be booked, for one product or for all.
    BookingPlanId = "bpl";
    /// A redemption 核销: one confirmed request.
    RedemptionId = "rdm";
    /// A backfill 补录: a redemption that was recorded later, or waits for approval.
    BackfillId = "bkf";
    /// One use 次 of a voucher.
    UseId = "use";
    /// A request for a customer's consent.
    ConsentId = "con";
    /// A message in a customer's inbox.
    MessageId = "msg";
    /// A job that is delayed or retried.
    JobId = "job";
    /// A webhook: where a merchant's own system is told what happens.
    WebhookId = "whk";
    /// One event for one webhook.
    DeliveryId = "whd";
    /// An event as webhooks are told of it: the same for every try and every receiver.
    EventId = "evt";
    /// A rule of the verifiers' commission.
    CommissionRuleId = "cmr";
    /// Something a person has to look at.
    ExceptionId = "exc";
    /// Something about a redemption that looks wrong.
    RiskFlagId = "rsk";
    /// A row of an append-only record (event, attempt, entry, transfer, anomaly).
    RecordId = "rec";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vector of the TypeID specification.
    #[test]
    fn matches_the_typeid_specification() {
        let uuid = Uuid::parse_str("0188bac7-4afa-78aa-bc3b-bd1eef28d881").unwrap();
        assert_eq!(encode_suffix(uuid), "01h2xcejqtf2nbrexx3vqjhp41");
        assert_eq!(parse_suffix("ord_01h2xcejqtf2nbrexx3vqjhp41", "ord").unwrap(), uuid);
    }

    #[test]
    fn refuses_other_kinds_and_malformed_text() {
        let id = OrderId::from_uuid(Uuid::from_u128(u128::MAX));
        assert_eq!(OrderId::parse(&id.to_string()), Ok(id));
        assert!(StoreId::parse(&id.to_string()).is_err());
        for bad in [
            "",
            "ord",
            "ord_",
            "ord_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "ord_01h2xcejqtf2nbrexx3vqjhp4",
            "ord_01H2XCEJQTF2NBREXX3VQJHP41",
            "ord_01h2xcejqtf2nbrexx3vqjhp4i",
        ] {
            assert!(OrderId::parse(bad).is_err(), "{bad}");
        }
        assert!(id.to_string().len() <= 30);
    }
}
