//! What changes the state, and the file that remembers it.
//!
//! Every change is one `Mutation`; the file is one JSON object a line, replayed at start. Lines are
//! written before the change is visible but not synced to the disk: a simulator may lose its last
//! moments in a power cut, never in a restart.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::SimError,
    model::{Attempt, NotificationRecord, NotifyKey, Prepay, Refund, RefundStatus, Transaction},
    subscribe::SentMessage,
};

/// A merchant's number within its number space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) mchid: String,
    pub(crate) number: String,
}

impl Key {
    pub(crate) fn new(mchid: &str, number: &str) -> Self {
        Self { mchid: mchid.to_owned(), number: number.to_owned() }
    }
}

/// A mini program's access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) appid: String,
    pub(crate) secret: String,
    pub(crate) issued_at: DateTime<Utc>,
    pub(crate) forced: bool,
}

/// One change of the state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "m", rename_all = "snake_case")]
pub(crate) enum Mutation {
    OrderCreated { order: Box<Transaction> },
    PrepayIssued { key: Key, prepay: Prepay },
    OrderClosed { key: Key },
    OrderPaid { key: Key, transaction_id: String, at: DateTime<Utc> },
    RefundCreated { refund: Box<Refund> },
    RefundEnded { key: Key, status: RefundStatus, at: DateTime<Utc> },
    RefundReopened { key: Key, due_at: DateTime<Utc> },
    BalanceSet { mchid: String, fen: Option<i64> },
    ClockMoved { offset_ms: i64 },
    NotifyKeySet { key: NotifyKey },
    NotificationQueued { record: Box<NotificationRecord> },
    NotificationTried { sequence: u64, attempts: Vec<Attempt>, next_at: Option<DateTime<Utc>>, counted: bool },
    CodeUsed { code: String },
    TokenIssued { token: Token },
    MessagesAccepted { openid: String, template_id: String, count: u32 },
    MessageSent { message: SentMessage },
}

/// The file, or nothing when the state lives in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<File>,
}

impl Journal {
    /// Opens the file and returns the mutations in it. A last line without its end, or that is not
    /// JSON, was torn by a crash: it is cut off. Damage before the last line is an error.
    pub(crate) fn open(path: Option<&Path>) -> Result<(Self, Vec<Mutation>), SimError> {
        let Some(path) = path else { return Ok((Self { file: None }, Vec::new())) };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut mutations = Vec::new();
        let mut good = 0;
        while good < bytes.len() {
            let rest = &bytes[good..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
            let is_last = end + 1 == rest.len();
            match serde_json::from_slice(&rest[..end]) {
                Ok(mutation) => mutations.push(mutation),
                Err(_) if is_last => break,
                Err(e) => {
                    let line = mutations.len() + 1;
                    return Err(SimError::Journal(format!("{} line {line}: {e}", path.display())));
                }
            }
            good += end + 1;
        }
        let good = u64::try_from(good).unwrap_or(u64::MAX);
        file.set_len(good)?;
        file.seek(SeekFrom::Start(good))?;
        Ok((Self { file: Some(file) }, mutations))
    }

    /// Appends one line in one write.
    pub(crate) fn append(&mut self, mutation: &Mutation) -> Result<(), SimError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(mutation)
            .map_err(|e| SimError::Journal(format!("a mutation cannot be written: {e}")))?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(())
    }
}
