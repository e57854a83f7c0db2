//! The customer's inbox: what happened to their orders, in words.

use hexiao_core::id::{CustomerId, MerchantId, MessageId, OrderId};
use hexiao_core::scope::CustomerScope;
use hexiao_core::time::Timestamp;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::{new_row, params, sql};

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// From which merchant.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: MessageId,
    /// For whom.
    pub customer_id: CustomerId,
    /// The outbox topic it came from.
    pub topic: String,
    /// A few words.
    pub title: String,
    /// A sentence.
    pub body: String,
    /// About which order.
    pub order_id: Option<OrderId>,
    /// The outbox row it came from: one message for each.
    pub source_seq: i64,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it happened.
    pub at: Timestamp,
}

impl FromRow for Message {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            customer_id: row.get("customer_id")?,
            topic: row.get("topic")?,
            title: row.get("title")?,
            body: row.get("body")?,
            order_id: row.get("order_id")?,
            source_seq: row.get("source_seq")?,
            read_at: row.get("read_at")?,
            at: row.get("at")?,
        })
    }
}

/// Adds messages; one that is there already is left alone.
pub async fn insert(tx: &Tx, messages: &[Message]) -> Result<()> {
    let row = |m: &Message| {
        new_row! {
            merchant_id: m.merchant_id, id: m.id, customer_id: m.customer_id, topic: &m.topic, title: &m.title, body: &m.body,
            order_id: m.order_id, source_seq: m.source_seq, at: m.at,
        }
    };
    sql::insert_with(
        tx,
        "messages",
        messages.iter().map(row).collect(),
        "ON CONFLICT (source_seq) DO NOTHING",
    )
    .await?;
    Ok(())
}

/// A customer's messages, newest first.
pub async fn list(c: &impl Conn, customer: CustomerScope, page: &PageRequest) -> Result<Page<Message>> {
    let (at, id) = page.bounds();
    let text = "SELECT * FROM messages WHERE customer_id = $1 AND (at < $2 OR (at = $2 AND id < $3)) ORDER BY at DESC, id DESC LIMIT $4";
    let items = sql::list(c, text, params![customer.customer_id(), at, id, page.fetch()]).await?;
    Ok(Page::new(items, page, |m: &Message| Cursor { at: m.at, id: m.id.into() }))
}

/// Marks a customer's messages up to an instant as read.
pub async fn mark_read(tx: &Tx, customer: CustomerScope, until: Timestamp, now: Timestamp) -> Result<u64> {
    let text = "UPDATE messages SET read_at = $3 WHERE customer_id = $1 AND at <= $2 AND read_at IS NULL";
    sql::execute(tx, text, params![customer.customer_id(), until, now]).await
}
