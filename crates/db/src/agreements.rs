//! The texts that a merchant's customers agree to. Every version stays; the newest one is in force, and public.

use hexiao_core::agreement::AgreementKind;
use hexiao_core::id::{MerchantId, RecordId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::{new_row, params, sql};

/// A text in force, without its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Which of the four.
    pub kind: AgreementKind,
    /// How often it was written.
    pub version: i64,
    /// Since when it is in force.
    pub published_at: Timestamp,
}

/// A text in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Which, and since when.
    pub heading: Heading,
    /// Its words: plain text.
    pub body: String,
}

impl FromRow for Heading {
    fn from_row(row: &Row) -> Result<Self> {
        let kind: String = row.get("kind")?;
        let corrupt = || crate::DbError::Corrupt { column: "kind".to_owned(), detail: kind.clone() };
        Ok(Self {
            kind: AgreementKind::from_text(&kind).ok_or_else(corrupt)?,
            version: row.get("version")?,
            published_at: row.get("published_at")?,
        })
    }
}

impl FromRow for Agreement {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { heading: Heading::from_row(row)?, body: row.get("body")? })
    }
}

/// Adds a version.
pub async fn insert(tx: &Tx, merchant: MerchantScope, id: RecordId, new: &Agreement) -> Result<()> {
    let row = new_row! {
        merchant_id: merchant.merchant_id(), id: id, kind: new.heading.kind.as_str(), version: new.heading.version,
        body: &new.body, published_at: new.heading.published_at,
    };
    sql::insert_one(tx, "agreements", row).await
}

/// The texts of a merchant that are in force, by their kind; public, so named by the merchant's id alone.
pub async fn list(c: &impl Conn, merchant_id: MerchantId) -> Result<Vec<Heading>> {
    let text = "SELECT a.kind, a.version, a.published_at FROM agreements a WHERE a.merchant_id = $1
                AND a.version = (SELECT MAX(b.version) FROM agreements b WHERE b.merchant_id = a.merchant_id AND b.kind = a.kind)";
    let mut found: Vec<Heading> = sql::list(c, text, params![merchant_id]).await?;
    found.sort_by_key(|heading| heading.kind);
    Ok(found)
}

/// One text of a merchant that is in force; public too.
pub async fn get(c: &impl Conn, merchant_id: MerchantId, kind: AgreementKind) -> Result<Option<Agreement>> {
    let text = "SELECT kind, version, body, published_at FROM agreements
                WHERE merchant_id = $1 AND kind = $2 ORDER BY version DESC LIMIT 1";
    sql::find(c, text, params![merchant_id, kind.as_str()]).await
}
